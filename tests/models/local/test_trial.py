"""A checkpoint that cannot work is refused when it is loaded, with what to do."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer

from guardrail.errors import ModelError
from guardrail.models import TransformersVLM
from tests.kit import tiny

Copy = Callable[[str], Path]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    root = tmp_path_factory.mktemp("tiny")

    @cache
    def made(kind: str) -> Path:
        (root / kind).mkdir()
        tiny.BUILDERS[kind](root / kind)
        return root / kind

    return made


@pytest.fixture
def copy(made: Callable[[str], Path], tmp_path: Path) -> Copy:
    return lambda kind: shutil.copytree(made(kind), tmp_path / kind)


def change(folder: Path, file: str, **fields: Any) -> None:
    """Write fields into a JSON file of a checkpoint; those that are None are taken out."""
    described = json.loads((folder / file).read_text()) | fields
    (folder / file).write_text(json.dumps({name: value for name, value in described.items() if value is not None}))


def refusal(folder: Path, **options: Any) -> str:
    with pytest.raises(ModelError) as caught:
        TransformersVLM(folder, device="cpu", max_new_tokens=3, **options)
    return str(caught.value)


@pytest.mark.parametrize("kind", ["llava", "llava_next"])
def test_a_processor_that_does_not_know_the_patch_size(copy: Copy, kind: str) -> None:
    folder = copy(kind)
    change(folder, "processor_config.json", patch_size=None)
    if kind == "llava_next":  # it counts tokens by the model, and needs none
        TransformersVLM(folder, device="cpu", max_new_tokens=3)
        assert "say patch_size in processor_config.json" in refusal(folder, tiling=True)
    else:
        assert "say patch_size in processor_config.json" in refusal(folder)


def test_neither_padding_nor_end_token(copy: Copy) -> None:
    folder = copy("llava")
    change(folder, "tokenizer_config.json", pad_token=None, eos_token=None)
    assert "name one as pad_token in tokenizer_config.json" in refusal(folder)


@pytest.mark.parametrize("kind", ["llava", "llava_next", "idefics3", "gemma3", "paligemma", "aya_vision", "mllama"])
@pytest.mark.parametrize("token", [9, 250])
def test_processor_and_model_that_disagree_about_image_tokens(copy: Copy, kind: str, token: int) -> None:
    folder = copy(kind)
    name = "image_token_id" if "image_token_id" in (folder / "config.json").read_text() else "image_token_index"
    change(folder, "config.json", **{name: token})
    assert f"finds pictures by token {token}, which its processor does not write: correct image_token" in refusal(
        folder
    )


def test_a_processor_that_counts_otherwise_than_the_model(copy: Copy) -> None:
    folder = copy("llava")
    change(folder, "processor_config.json", num_additional_image_tokens=0)
    assert "from one revision of the checkpoint" in refusal(folder)


def test_a_tokenizer_with_more_tokens_than_the_model(copy: Copy) -> None:
    folder = copy("llava")
    template = folder / "chat_template.jinja"
    template.write_text("<99>" + template.read_text())
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens([f"<{i}>" for i in range(100)])
    tokenizer.save_pretrained(folder)
    written = refusal(folder)
    assert "and its model knows" in written
    assert "from one revision" in written


def test_weights_that_are_no_numbers(copy: Copy) -> None:
    folder = copy("llava")
    weights = load_file(folder / "model.safetensors")
    name = next(name for name in weights if "lm_head" in name or "embed_tokens" in name)
    weights[name].fill_(float("nan"))
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    assert "not finite, in torch.float32" in refusal(folder)


def test_an_answer_that_does_not_fit_the_context(copy: Copy) -> None:
    with pytest.raises(ModelError, match="the model's context holds 512"):
        TransformersVLM(copy("llava"), device="cpu", max_new_tokens=510)


def test_a_template_that_takes_no_picture(copy: Copy) -> None:
    folder = copy("llava")
    (folder / "chat_template.jinja").write_text("{{ raise_exception('text only') }}")
    assert "cannot be asked about one picture" in refusal(folder)


def test_a_model_that_writes_apart_from_its_prompt(copy: Copy) -> None:
    folder = copy("llava")
    (folder / "config.json").write_text(json.dumps({"model_type": "florence2"}))
    assert "an encoder and a decoder" in refusal(folder)


def test_scores_are_tried_too(copy: Copy) -> None:
    folder = copy("llava")
    change(folder, "processor_config.json", patch_size=None)
    assert "say patch_size" in refusal(folder, labels=("safe", "unsafe"))
