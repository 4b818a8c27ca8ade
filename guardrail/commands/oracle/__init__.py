"""`guardrail oracle`: what an oracle's word is worth."""

from __future__ import annotations

import typer

from guardrail.commands.oracle.evaluate import evaluate
from guardrail.commands.oracle.threshold import threshold

oracle = typer.Typer(name="oracle", help="What an oracle's word is worth.", no_args_is_help=True)
for command in (evaluate, threshold):
    oracle.command()(command)
