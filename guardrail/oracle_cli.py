"""The command line of oracles: `guardrail oracle threshold`."""

from __future__ import annotations

import typer

from guardrail.oracles.threshold_command import threshold

oracle_app = typer.Typer(help="What an oracle's word is worth.", no_args_is_help=True)


@oracle_app.callback()
def main() -> None:
    """Measure oracles."""


oracle_app.command()(threshold)
