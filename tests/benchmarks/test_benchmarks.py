"""What `make bench` runs, and what measures judges, goes through, on a fraction of its work."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.long
@pytest.mark.parametrize(
    ("command", "shown"),
    [
        (("certificate", "--samples", "20", "--repeats", "1", "--loop", "5"), "guardrail, early stopping"),
        (("decisions", "--signs", "5"), "early, default looks"),
        (("judgements", "--signs", "2", "--seconds", "0.01"), "every draw"),
    ],
    ids=["certificate", "decisions", "judgements"],
)
def test_a_benchmark_prints_its_figures(command: tuple[str, ...], shown: str) -> None:
    name, *options = command
    script = [sys.executable, "-m", f"tests.benchmarks.{name}", *options]
    done = subprocess.run(
        script, cwd=ROOT, capture_output=True, text=True, check=False, env=os.environ | {"COLUMNS": "120"}
    )
    assert done.returncode == 0, done.stderr
    assert shown in done.stdout
