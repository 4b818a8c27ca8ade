"""Code that comes with a checkpoint is never run, and nobody is asked whether it may be."""

from __future__ import annotations

import builtins
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from guardrail.errors import GuardrailError
from guardrail.models import TransformersVLM
from guardrail.oracles import EntailmentComparison, SafeguardOracle
from guardrail.oracles.meaning.similarity import SentenceEncoder
from tests.kit import tiny


@pytest.fixture(scope="module")
def llava(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("llava")
    tiny.llava(folder)
    return folder


@pytest.fixture
def checkpoint(llava: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkpoint with a program beside it; whoever is asked says yes."""
    folder = shutil.copytree(llava, tmp_path / "own")
    (folder / "own.py").write_text(f"open({str(tmp_path / 'run')!r}, 'w').close()\nclass Own: pass\n")

    def asked(*_: object) -> str:
        (tmp_path / "asked").touch()
        return "yes"

    monkeypatch.setattr(builtins, "input", asked)
    return folder


def vision(folder: Path) -> object:
    return TransformersVLM(folder, device="cpu", max_new_tokens=1)


def entailment(folder: Path) -> object:
    return EntailmentComparison(folder, device="cpu")


def safeguard(folder: Path) -> object:
    return SafeguardOracle(folder, device="cpu")


def embeddings(folder: Path) -> object:
    return SentenceEncoder(folder, device="cpu")


@pytest.mark.parametrize(
    ("file", "fields", "load"),
    [
        ("config.json", {"model_type": "own", "auto_map": {"AutoConfig": "own.Own"}}, vision),
        ("processor_config.json", {"processor_class": "Own", "auto_map": {"AutoProcessor": "own.Own"}}, vision),
        ("config.json", {"model_type": "own", "auto_map": {"AutoConfig": "own.Own"}}, safeguard),
        ("config.json", {"model_type": "own", "auto_map": {"AutoConfig": "own.Own"}}, entailment),
        ("config.json", {"model_type": "own", "auto_map": {"AutoConfig": "own.Own"}}, embeddings),
    ],
)
def test_a_program_in_the_checkpoint_is_not_run(
    checkpoint: Path, file: str, fields: dict[str, Any], load: Callable[[Path], object]
) -> None:
    described = json.loads((checkpoint / file).read_text())
    (checkpoint / file).write_text(json.dumps(described | fields))
    with pytest.raises(GuardrailError, match=r"which is never run here: choose .*vLLM"):
        load(checkpoint)
    assert not (checkpoint.parent / "asked").exists()
    assert not (checkpoint.parent / "run").exists()


@pytest.mark.parametrize(("file", "kind"), [("config.json", "AutoConfig"), ("tokenizer_config.json", "AutoTokenizer")])
def test_a_program_that_is_not_needed_is_left_out(checkpoint: Path, file: str, kind: str) -> None:
    described = json.loads((checkpoint / file).read_text())
    (checkpoint / file).write_text(json.dumps(described | {"auto_map": {kind: "own.Own"}}))
    vision(checkpoint)
    assert not (checkpoint.parent / "asked").exists()
    assert not (checkpoint.parent / "run").exists()
