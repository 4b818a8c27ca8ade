"""Settings, as every command that needs some reads them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from guardrail.settings import Settings

Config = Annotated[Path | None, typer.Option("--config", help="TOML file of settings; GUARDRAIL_* variables win.")]
AppDir = Annotated[
    Path | None, typer.Option("--app-dir", help="Folder of your modules, for settings that name objects in them.")
]


def read_settings(config: Path | None = None, app_dir: Path | None = None) -> Settings:
    """Read the settings from a file (None: the one that the environment names) and the environment.

    Raises:
        ConfigurationError: they cannot work.
    """
    from guardrail.settings import Settings

    return Settings.load(config, app_dir=app_dir)


def settings_or_bundled(config: Path | None, app_dir: Path | None, *, quiet: bool) -> Settings:
    """Read the settings; the bundled model where they name none, and say so."""
    settings = read_settings(config, app_dir)
    if settings.model is not None:
        return settings
    if not quiet:
        typer.echo("no model is configured: using the bundled one, which reads signs only", err=True)
    return settings.model_copy(update={"model": "bundled"})
