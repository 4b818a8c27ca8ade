"""The command line: `guardrail demo`, `certify`, `plan`, `evaluate`, `oracle`, `doctor`, `audit`, `override`."""

from __future__ import annotations

import logging
from typing import Annotated

import typer

from guardrail.commands.audit import audit
from guardrail.commands.certify import certify
from guardrail.commands.demo import demo
from guardrail.commands.doctor import doctor
from guardrail.commands.evaluate import evaluate
from guardrail.commands.oracle import oracle
from guardrail.commands.override import override
from guardrail.commands.plan import plan
from guardrail.version import __version__

app = typer.Typer(
    name="guardrail",
    help="Certified safety verdicts on the image inputs of chat applications.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (demo, certify, plan, evaluate, doctor):
    app.command()(command)
for group in (oracle, audit, override):
    app.add_typer(group)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"guardrail {__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[  # noqa: ARG001 - handled by its callback
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and leave.")
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show the log.")] = False,
) -> None:
    """Set up what all commands share."""
    logging.basicConfig(level=logging.INFO if verbose else logging.ERROR, format="%(levelname)s %(name)s: %(message)s")


if __name__ == "__main__":
    app()
