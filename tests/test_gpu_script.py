"""The script that measures on a GPU runs on whatever there is, by its tiny model; only a GPU gives figures."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.slow
def test_the_script_runs_and_its_engine_answers_as_the_library_does(tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    script = [sys.executable, str(ROOT / "tests/benchmarks/gpu.py"), "--tiny", "--repeats", "1", "--json", str(figures)]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    subprocess.run(script, check=True, capture_output=True, cwd=tmp_path, env=environment)
    measured = json.loads(figures.read_text())
    assert measured["noise: share that differs"] == 0.0
    assert measured["all tokens equal to the library's"] == 1.0
    assert measured["sampled rows that differ"] > 1
    assert measured["n = 10, 32 tokens"] > 0.0
