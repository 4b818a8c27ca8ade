"""`guardrail oracle threshold`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from guardrail.measuring.threshold import SimilarityThreshold
from tests.kit.captions import captions, write_pairs
from tests.kit.command_line import guardrail
from tests.kit.embedding_model import minilm


@pytest.mark.slow
def test_the_command_writes_record_and_plot(tmp_path: Path) -> None:
    pairs, out = write_pairs(tmp_path / "pairs.csv", captions()), tmp_path / "out" / "threshold.json"
    done = guardrail("oracle", "threshold", pairs, "--model", minilm(), "--out", out)
    assert done.returncode == 0, done.stderr
    record = SimilarityThreshold.load(out)
    assert f"{record.threshold:.4f}" in done.stdout
    assert "On the held-out half" in done.stdout
    assert "not independent" in done.stdout, "captions of one word share texts"
    assert json.loads(out.read_text())["data"] == "pairs.csv"
    assert out.with_suffix(".png").stat().st_size > 10_000
    failed = guardrail("oracle", "threshold", pairs, "--model", "none", "--out", tmp_path)
    assert failed.returncode == 2
    assert f"cannot write {tmp_path}: it is a folder" in failed.stderr
    failed = guardrail("oracle", "threshold", pairs, "--model", "none", "--out", out)
    assert "threshold.json is there already" in failed.stderr
    failed = guardrail("oracle", "threshold", pairs, "--model", "none", "--out", pairs / "threshold.json")
    assert failed.returncode == 2
    assert f"cannot write to folder {pairs}" in failed.stderr
    failed = guardrail("oracle", "threshold", tmp_path / "no.csv", "--model", minilm())
    assert failed.returncode == 2
    assert "Traceback" not in failed.stderr
    assert "no.csv" in failed.stderr
