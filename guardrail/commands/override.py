"""`guardrail override`: an operator's word against a certificate."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Literal

import typer

from guardrail.audit.overrides import Overrides
from guardrail.commands import look
from guardrail.commands.audit import Log, opened
from guardrail.commands.errors import clear_errors
from guardrail.commands.settings import Config
from guardrail.errors import ConfigurationError, ImageError
from guardrail.images.pictures import InputImage

override = typer.Typer(
    name="override", help="Allow or block an image for a time, whatever its certificate.", no_args_is_help=True
)

_Image = Annotated[str, typer.Argument(help="SHA-256 of the image, as its certificate has it; or an image file.")]


@override.command()
def add(  # noqa: PLR0917 - typer reads options from the signature
    image: _Image,
    action: Annotated[Literal["allow", "block"], typer.Argument(help="What to do about requests with it.")],
    reason: Annotated[str, typer.Option(help="Why; seen in decisions and in the log.")],
    days: Annotated[float, typer.Option(max=36_500.0, help="Days until it expires.")] = 7.0,
    log: Log = None,
    config: Config = None,
) -> None:
    """Allow or block an image. Where several come together, one block suffices; an allowance must name them all."""
    with clear_errors():
        sha256 = _hash(image)
        if days <= 0.0:
            raise ConfigurationError(f"--days must be above 0, got {days:g}; `guardrail override remove` ends one now")
        if not reason.strip():
            raise ConfigurationError("--reason is empty: say why, for whoever reads the log")
        expires = datetime.now(UTC) + timedelta(days=days)
        with opened(Overrides, log, config, new=True) as kept:
            made = kept.add(sha256, action, reason, expires)
    typer.echo(look.printable(made.statement))


@override.command("list")
def list_(log: Log = None, config: Config = None) -> None:
    """Show the overrides that are in force, the next to expire first."""
    table = look.table("image", "action", "expires (UTC)", "reason", folded=("reason",), ruled=False)
    with clear_errors(), opened(Overrides, log, config) as kept:
        for one in kept.in_force():
            expires = f"{one.expires:%Y-%m-%d %H:%M}"
            table.add_row(one.image_sha256, look.action(one.action), expires, look.printable(one.reason))
    if table.row_count:
        look.console(at_least=120, whole_rows=True).print(table)  # a hash in one piece, whatever the terminal's width
    typer.echo(f"{table.row_count} override(s) in force", err=True)


@override.command()
def remove(image: _Image, log: Log = None, config: Config = None) -> None:
    """Remove an override. Exit status 1 if there was none."""
    with clear_errors():
        sha256 = _hash(image)
        with opened(Overrides, log, config) as kept:
            removed = kept.remove(sha256)
    typer.echo("removed" if removed else "there was no override of this image")
    raise typer.Exit(0 if removed else 1)


def _hash(image: str) -> str:
    """Return the hash of an image that is given by it or by its file.

    Raises:
        ConfigurationError: it is neither.
    """
    if re.fullmatch("[0-9a-fA-F]{64}", image):
        return image.lower()
    if not Path(image).is_file():
        raise ConfigurationError(
            f"{image[:80]!r} is no image file, and no hash of 64 hexadecimal digits as certificates have it"
        )
    try:
        return InputImage.load(Path(image)).sha256
    except ImageError as error:
        raise ConfigurationError(f"{image}: {error}") from error
