"""The command line, as its user runs it: in this process, or slowly in one of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ENVIRONMENT = {"HF_HUB_OFFLINE": "1", "COLUMNS": "200"}
Done = subprocess.CompletedProcess[str]


def guardrail(*arguments: str | Path, **variables: str) -> Done:
    """Run a command in this process, where its libraries are imported already; nobody's settings but these count."""
    from typer.testing import CliRunner

    from guardrail.commands.app import app

    unset = dict.fromkeys(name for name in os.environ if name.startswith("GUARDRAIL_"))
    command = [*map(str, arguments)]
    done = CliRunner().invoke(app, command, env={**unset, **ENVIRONMENT, **variables}, catch_exceptions=False)
    return subprocess.CompletedProcess(["guardrail", *command], done.exit_code, done.stdout, done.stderr)


def guardrail_process(*arguments: str | Path, **variables: str) -> Done:
    """Run a command in a process of its own: for what is settled when a library is imported."""
    return subprocess.run(
        [sys.executable, "-m", "guardrail.commands.app", *map(str, arguments)],
        capture_output=True,
        text=True,
        env={"PATH": "/usr/bin:/bin", **ENVIRONMENT, **variables},
        timeout=300,
        check=False,
    )
