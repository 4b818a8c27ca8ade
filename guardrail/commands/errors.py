"""How commands show what is wrong, and find it out before the work."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from guardrail.errors import ConfigurationError, GuardrailError, plainly

if TYPE_CHECKING:
    from guardrail.certify.smoothing import SmoothedClassifier

Force = Annotated[bool, typer.Option("--force", help="Replace what was written there before.")]


@contextmanager
def clear_errors() -> Iterator[None]:
    """Print a `GuardrailError`, or trouble with a file, as one line and leave with status 2.

    Everything else is a bug and shows itself.
    """
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")  # transformers is not imported yet, and reads it
    try:
        yield
    except GuardrailError as error:
        _leave(str(error), error)
    except OSError as error:
        if error.filename is None:
            raise
        _leave(f"cannot use {error.filename}: {plainly(error)}", error)


def _leave(complaint: str, error: Exception) -> None:
    typer.echo(f"error: {complaint}", err=True)
    raise typer.Exit(2) from error


def warn_of_unreachable_target(classifier: SmoothedClassifier, target_radius: float | None) -> None:
    """Say so where no draws can certify the radius at which drawing should stop."""
    if unreachable := classifier.unreachable_target(target_radius):
        typer.echo(f"warning: {unreachable}", err=True)


def output_folder(folder: Path) -> Path:
    """Return the folder, made if it is missing: found out before the work, not after it.

    Raises:
        ConfigurationError: it cannot be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK):
            raise PermissionError
    except OSError as error:
        raise ConfigurationError(f"cannot write to folder {folder}: {plainly(error)}; name another by --out") from error
    return folder


def output_file(file: Path, *, replace: bool) -> Path:
    """Return a file to be written, its folder made if it is missing: found out before the work, not after it.

    Raises:
        ConfigurationError: it cannot be written, or is there already and is not to be replaced.
    """
    output_folder(file.parent)
    if file.is_dir():
        raise ConfigurationError(f"cannot write {file}: it is a folder, not a file; name another by --out")
    if file.exists() and not replace:
        raise ConfigurationError(f"{file} is there already: name another by --out, or replace it by --force")
    return file
