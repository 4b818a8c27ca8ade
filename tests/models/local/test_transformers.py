"""Local models: loading, batching, sampling, limits. A random LLaVA, built here, stands for any model of its kind."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import LlavaForConditionalGeneration

from guardrail import InputImage, SmoothedClassifier, Smoothing
from guardrail.bundled.training.model import build_model, build_processor, build_tokenizer
from guardrail.certify.noise import NoiseStream
from guardrail.errors import ModelError, PromptError, PromptTooLongError, TooManyImagesError
from guardrail.models import Draw, TransformersVLM, VisionLanguageModel
from guardrail.models.base import ModelTraits
from guardrail.models.local import generation
from guardrail.oracles import LabelOracle
from guardrail.prompts import ImagePlace, Prompt, Turn

STREAM = NoiseStream.derive(b"the key of these tests", b"request", "estimation")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LLaVA with random weights, larger than usual so that its answers differ between pictures."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("llava")
    tokenizer = build_tokenizer()
    model = build_model(tokenizer)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3.0)
    model.save_pretrained(path)
    build_processor(tokenizer).save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def vlm(folder: Path) -> TransformersVLM:
    return TransformersVLM(folder, max_new_tokens=6, device="cpu")


def draws(vlm: TransformersVLM, prompts: Sequence[Prompt], sigma: float = 0.5, images: int = 1) -> list[Draw]:
    assert vlm.resolution is not None
    rng = np.random.default_rng(0)
    pictures = tuple(rng.random((*vlm.resolution, 3)) for _ in range(images))
    return [Draw(pictures, prompt, sigma, STREAM, i) for i, prompt in enumerate(prompts)]


def texts(vlm: TransformersVLM, asked: Sequence[Draw]) -> list[str]:
    return [answer.text for answer in vlm.answer(asked)]


@pytest.mark.slow
def test_it_is_a_vision_language_model_with_a_telling_name(folder: Path, vlm: TransformersVLM, tmp_path: Path) -> None:
    assert isinstance(vlm, VisionLanguageModel)
    other = shutil.copytree(folder, tmp_path / folder.name)
    (other / "generation_config.json").write_text('{"eos_token_id": 2, "pad_token_id": 0, "top_k": 7}')
    names = {
        vlm.name,
        TransformersVLM(other, max_new_tokens=6, device="cpu").name,
        TransformersVLM(folder, max_new_tokens=7, device="cpu").name,
        TransformersVLM(folder, max_new_tokens=6, device="cpu", temperature=1.0).name,
        TransformersVLM(folder, max_new_tokens=6, device="cpu", dtype="bfloat16").name,
    }
    assert len(names) == 5, "content, length, decoding and dtype each tell models apart"
    assert TransformersVLM(folder, max_new_tokens=6, device="cpu", batch_size=3).name == vlm.name


def test_the_tensor_path_sees_what_the_processor_sees(vlm: TransformersVLM) -> None:
    from PIL import Image

    assert vlm.resolution is not None
    assert "tensor" in vlm.name
    photo = np.random.default_rng(1).integers(0, 256, (*vlm.resolution, 3), dtype=np.uint8)
    draw = Draw((photo / 255.0,), Prompt.of("?", 1), 1e-9, STREAM, 0)
    ours = vlm._inputs([draw])
    theirs = vlm._processor(images=[Image.fromarray(photo)], text=[vlm._prompts.chat(draw.prompt)], return_tensors="pt")
    assert torch.equal(ours["input_ids"], theirs["input_ids"])
    assert torch.allclose(ours["pixel_values"], theirs["pixel_values"], atol=1e-4)


def test_noise_reaches_the_model_unclipped(vlm: TransformersVLM) -> None:
    inputs = vlm._inputs(draws(vlm, [Prompt.of("?", 1)]))
    white = vlm._inputs(draws(vlm, [Prompt.of("?", 1)], sigma=1e-9))
    assert inputs["pixel_values"].max() > white["pixel_values"].max() + 1


@pytest.mark.slow
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_answers_do_not_depend_on_the_batch(folder: Path, temperature: float) -> None:
    prompts = [Prompt.of(text, 1) for text in ("?", "a much longer question than the others", "Follow the sign.")] * 5

    def answers(batch_size: int) -> list[str]:
        model = TransformersVLM(folder, max_new_tokens=6, device="cpu", temperature=temperature, batch_size=batch_size)
        return texts(model, draws(model, prompts))

    together = answers(15)
    assert together == answers(1) == answers(4)
    assert len(set(together)) > 3


def test_sampling_is_seeded_by_the_draw(folder: Path) -> None:
    vlm = TransformersVLM(folder, max_new_tokens=6, device="cpu", temperature=1.0)
    asked = draws(vlm, [Prompt.of("?", 1)] * 12, sigma=1e-9)
    first = texts(vlm, asked)
    assert first == texts(vlm, asked), "the same draws give the same answers"
    assert len(set(first)) > 6, "the same picture with other seeds gives other answers"


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_what_rounds_by_the_batch_says_so(folder: Path, vlm: TransformersVLM, dtype: str) -> None:
    coarse = TransformersVLM(folder, max_new_tokens=2, device="cpu", dtype=dtype)
    photo = np.full((32, 32, 3), 90, np.uint8)
    for model, warned in ((coarse, True), (vlm, False)):
        assert ModelTraits.of(model).repeatable is not warned
        classifier = SmoothedClassifier(model, LabelOracle(), Smoothing(samples=4))
        warnings = classifier.certify(InputImage(photo), "?").warnings
        assert any("share" in warning and dtype in warning for warning in warnings) is warned


def test_several_images_and_turns(vlm: TransformersVLM) -> None:
    conversation = Prompt(
        (
            Turn("system", ("Be brief.",)),
            Turn("user", (ImagePlace(0), "What is this?")),
            Turn("assistant", ("A sign.",)),
            Turn("user", ("And this?", ImagePlace(1))),
        )
    )
    vlm.check(conversation, [(8, 8), (8, 8)])
    mixed = [*draws(vlm, [conversation], images=2), *draws(vlm, [Prompt.of("?", 1)])]
    together = texts(vlm, mixed)
    assert together == [texts(vlm, [draw])[0] for draw in mixed]


@pytest.mark.slow
def test_out_of_memory_halves_the_batch_and_loses_no_draw(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vlm = TransformersVLM(folder, max_new_tokens=3, device="cpu", batch_size=16)
    asked = draws(vlm, [Prompt.of("?", 1)] * 20)
    expected = texts(vlm, asked)
    generate, sizes = generation.generate, []

    def cramped(model: Any, inputs: Any, **options: Any) -> Any:
        sizes.append(len(inputs["input_ids"]))
        if sizes[-1] > 5:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return generate(model, inputs, **options)

    monkeypatch.setattr(generation, "generate", cramped)
    assert texts(vlm, asked) == expected
    assert sizes == [16, 8, 4, 4, 4, 4, 4]
    assert texts(vlm, asked[:8]) == expected[:8]
    assert sizes[-2:] == [4, 4], "the batch size that fits is remembered"

    def hopeless(*_: Any, **options: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(generation, "generate", hopeless)
    with pytest.raises(ModelError, match="single row"):
        vlm.answer(asked)


def test_draws_after_the_deadline_fail(vlm: TransformersVLM) -> None:
    answers = vlm.answer(draws(vlm, [Prompt.of("?", 1)] * 3), deadline=0.0)
    assert [answer.failed for answer in answers] == ["deadline"] * 3


def test_answers_say_whether_they_are_complete(vlm: TransformersVLM) -> None:
    answers = vlm.answer(draws(vlm, [Prompt.of("?", 1)] * 8))
    assert all(answer.tokens <= 6 for answer in answers)
    assert all(answer.complete == (answer.tokens < 6) for answer in answers)


def test_a_model_that_gives_no_numbers_certifies_nothing(folder: Path) -> None:
    vlm = TransformersVLM(folder, max_new_tokens=6, device="cpu")
    with torch.no_grad():
        vlm._model.lm_head.weight[5, 0] = torch.nan
    answers = vlm.answer(draws(vlm, [Prompt.of("?", 1)] * 3))
    assert [answer.failed for answer in answers] == ["not finite"] * 3


def test_an_answer_ends_where_the_tokenizer_says_if_the_model_does_not(folder: Path) -> None:
    vlm = TransformersVLM(folder, max_new_tokens=6, device="cpu")
    vlm._model.generation_config.eos_token_id = None
    assert vlm._end_tokens() == [vlm._tokenizer.eos_token_id]


class TestBadRequests:
    def test_a_long_prompt(self, vlm: TransformersVLM) -> None:
        with pytest.raises(PromptTooLongError, match="1024"):
            vlm.check(Prompt.of("long " * 2000, 1), [(8, 8)])

    def test_the_image_token_in_the_text(self, vlm: TransformersVLM) -> None:
        with pytest.raises(PromptError, match="<image>"):
            vlm.check(Prompt.of("look: <image>", 1), [(8, 8)])

    def test_too_many_images(self, folder: Path) -> None:
        vlm = TransformersVLM(folder, device="cpu", max_images=2)
        vlm.check(Prompt.of("?", 2), [(8, 8)] * 2)
        with pytest.raises(TooManyImagesError, match="3 images, this model takes 2"):
            vlm.check(Prompt.of("?", 3), [(8, 8)] * 3)

    def test_images_beyond_the_context(self, vlm: TransformersVLM) -> None:
        with pytest.raises(PromptTooLongError, match="20 image"):
            vlm.check(Prompt.of("?", 20), [(8, 8)] * 20)

    def test_a_conversation_that_the_template_refuses(self, folder: Path, tmp_path: Path) -> None:
        strict = shutil.copytree(folder, tmp_path / "strict")
        template = strict / "chat_template.jinja"
        rule = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system turns') }}{% endif %}"
        template.write_text(rule + template.read_text())
        with pytest.raises(PromptError, match="no system turns"):
            TransformersVLM(strict, device="cpu").check(Prompt((Turn("system", ("Be brief.",)),)), [])


class TestBadModels:
    def test_no_such_folder(self, tmp_path: Path) -> None:
        with pytest.raises(ModelError, match="no folder"):
            TransformersVLM(tmp_path / "nowhere")

    def test_no_chat_template(self, folder: Path, tmp_path: Path) -> None:
        bare = shutil.copytree(folder, tmp_path / "bare")
        for template in bare.glob("chat_template*"):
            template.unlink()
        with pytest.raises(ModelError, match="chat template"):
            TransformersVLM(bare)

    def test_missing_weights(self, folder: Path, tmp_path: Path) -> None:
        empty = shutil.copytree(folder, tmp_path / "empty")
        (empty / "model.safetensors").unlink()
        with pytest.raises(ModelError, match="cannot load"):
            TransformersVLM(empty)

    def test_weights_that_lack_a_part(self, folder: Path, tmp_path: Path) -> None:
        """The library would fill in random ones, with no more than a warning."""
        partial = shutil.copytree(folder, tmp_path / "partial")
        weights = load_file(partial / "model.safetensors")
        lost = next(name for name in weights if "vision" in name)
        del weights[lost]
        save_file(weights, partial / "model.safetensors", metadata={"format": "pt"})
        with pytest.raises(ModelError, match="lacks 1 of its weights"):
            TransformersVLM(partial)

    def test_a_text_only_model(self, tmp_path: Path) -> None:
        (tmp_path / "config.json").write_text('{"model_type": "llama", "architectures": ["LlamaForCausalLM"]}')
        with pytest.raises(ModelError, match="'llama', which takes no images"):
            TransformersVLM(tmp_path)

    def test_a_folder_that_holds_no_model(self, tmp_path: Path) -> None:
        with pytest.raises(ModelError, match="cannot load"):
            TransformersVLM(tmp_path)

    def test_a_device_without_memory(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def full(*_: Any, **__: Any) -> None:
            raise torch.OutOfMemoryError("CUDA out of memory")

        monkeypatch.setattr(LlavaForConditionalGeneration, "to", full)
        with pytest.raises(ModelError, match=r"not enough memory on cpu.* GiB"):
            TransformersVLM(folder, device="cpu")

    @pytest.mark.parametrize(
        "wrong", [{"max_new_tokens": 0}, {"batch_size": 0}, {"temperature": -1.0}, {"max_images": 0}]
    )
    def test_impossible_options(self, folder: Path, wrong: dict[str, Any]) -> None:
        with pytest.raises(ModelError, match="at least"):
            TransformersVLM(folder, **wrong)

    def test_an_unknown_device(self, folder: Path) -> None:
        with pytest.raises(ModelError, match="warp"):
            TransformersVLM(folder, device="warp")
