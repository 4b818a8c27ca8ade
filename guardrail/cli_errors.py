"""How commands show errors."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from guardrail.errors import GuardrailError


@contextmanager
def clear_errors() -> Iterator[None]:
    """Print a `GuardrailError` as one line and leave with status 2; everything else is a bug and shows itself."""
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")  # transformers is not imported yet, and reads it
    try:
        yield
    except GuardrailError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from error
