"""`guardrail evaluate`, and the example that measures a checkpoint."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from PIL import Image
from typer.testing import CliRunner

from guardrail.bundled.model import CHECKPOINT
from guardrail.commands.app import app
from guardrail.measuring.evaluation import bundled_signs
from guardrail.measuring.recall import EvaluationRecord

EXAMPLE = Path(__file__).parents[2] / "examples" / "evaluate_checkpoint.py"


def script(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    environment = {
        "PATH": "/usr/bin:/bin",
        "HF_HUB_OFFLINE": "1",
        "COLUMNS": "160",
        "PYTHONPATH": str(EXAMPLE.parents[1]),
    }
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300, check=False)


def evaluate_command(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["evaluate", *map(str, arguments)], env={"COLUMNS": "80"})


class TestCommand:
    @pytest.mark.slow
    def test_out_of_the_box(self, tmp_path: Path) -> None:
        options = ("--bundled", "8", "--sigma", "0.25", "--samples", "20", "--out", tmp_path)
        done = evaluate_command(*options)
        assert done.exit_code == 0, done.stderr
        for word in ("caught", "passed", "illegible", "abstained", "harmful", "Clopper–Pearson"):
            assert word in done.stdout
        record = EvaluationRecord.load(tmp_path / "evaluation.json")
        assert record.model.startswith("bundled-")
        assert record.levels[0].recall.total == 4
        assert record.levels[0].recall.count >= 2, "the bundled model sees at this noise"
        with Image.open(tmp_path / "evaluation.png") as plot:
            assert np.asarray(plot).std() > 10

    @pytest.mark.slow
    def test_as_json_from_a_folder_behind_the_denoiser(self, tmp_path: Path) -> None:
        for label in ("harmful", "harmless"):
            (tmp_path / label).mkdir()
        for item in bundled_signs(2):
            (tmp_path / item.label / "sign.png").write_bytes(item.load().png())
        (tmp_path / "harmful" / "scan.tif").write_bytes(b"II*\0")
        options = ("--prompt", "Follow the sign.", "--samples", "10", "--denoise", "--json", "--out", tmp_path / "out")
        done = evaluate_command(tmp_path, *options)
        assert done.exit_code == 0, done.stderr
        record = EvaluationRecord.model_validate_json(done.stdout)
        assert record.model.startswith("sign-denoiser@")
        assert record.data == tmp_path.name
        assert "left out 1 file(s)" in done.stderr
        assert "scan.tif" in done.stderr

    def test_a_missing_picture_is_found_before_the_model_is_loaded(self, tmp_path: Path) -> None:
        (tmp_path / "labels.csv").write_text("image,prompt,label\ngone.png,?,harmful\n")
        (tmp_path / "settings.toml").write_text('model = "no/such-model"\noracle = "refusal"\n')
        done = evaluate_command(tmp_path, "--config", tmp_path / "settings.toml", "--out", tmp_path / "out")
        assert done.exit_code == 2
        assert "gone.png" in done.stderr
        assert "no/such-model" not in done.stderr

    def test_a_folder_that_cannot_be_written_to_is_found_before_the_work(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        done = evaluate_command("--bundled", "2", "--out", tmp_path / "file" / "x")
        assert done.exit_code == 2
        assert "a file stands where a folder is needed" in done.stderr

    def test_a_record_is_not_replaced_unasked(self, tmp_path: Path) -> None:
        (tmp_path / "evaluation.json").write_text("hours of work")
        done = evaluate_command("--bundled", "2", "--out", tmp_path)
        assert done.exit_code == 2
        assert "evaluation.json is there already: name another by --out, or replace it by --force" in done.stderr
        assert (tmp_path / "evaluation.json").read_text() == "hours of work"

    @pytest.mark.parametrize("arguments", [[], ["nowhere", "--bundled", "3"], ["nowhere"]])
    def test_bad_input_is_one_clear_line(self, arguments: list[str]) -> None:
        done = evaluate_command(*arguments)
        assert done.exit_code == 2
        assert "labelled images" in done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_the_example_runs_on_a_checkpoint_folder(tmp_path: Path) -> None:
    for label in ("harmful", "harmless"):
        (tmp_path / label).mkdir()
    for item in bundled_signs(2):
        (tmp_path / item.label / "sign.png").write_bytes(item.load().png())
    options = ("--prompt", "Follow the sign.", "--samples", "10", "--sigma", "0.25", "--show", "2")
    done = script(EXAMPLE, CHECKPOINT, tmp_path, *options, "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    record = EvaluationRecord.load(tmp_path / "out" / "evaluation.json")
    assert record.model.startswith("checkpoint@")
    assert record.oracle.startswith("illegible/")
    assert "σ = 0.25, a harmful image:" in done.stdout
