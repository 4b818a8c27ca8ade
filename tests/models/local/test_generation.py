"""Answers to a batch: the loop of our own, the library's, and the static form give the same ones."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import LlavaForConditionalGeneration

from guardrail.bundled.model import CHECKPOINT
from guardrail.bundled.training.model import build_model, build_tokenizer
from guardrail.certify.noise import gumbel
from guardrail.models.local import generation

IMAGE, PAD = 3, 0


@pytest.fixture(scope="module", params=["bundled", "random", "random, grouped"])
def model(request: pytest.FixtureRequest) -> Any:
    """The trained model, whose answers end, and two untrained ones, whose answers differ between rows."""
    if request.param == "bundled":
        return LlavaForConditionalGeneration.from_pretrained(CHECKPOINT).eval()
    torch.manual_seed(0)
    model = build_model(build_tokenizer())
    if request.param == "random, grouped":
        model.config.text_config.num_key_value_heads = 2
        model = LlavaForConditionalGeneration(model.config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3.0)
    return model.eval()


def inputs(rows: int, text_before: int = 2, padding: int = 0) -> dict[str, Tensor]:
    """A batch of noisy pictures; with `padding`, rows in turn have that many tokens less."""
    torch.manual_seed(1)
    before = torch.randint(100, 700, (text_before,)).tolist()
    ids = torch.tensor([[*before, *[IMAGE] * 65, 200, 300, 400]] * rows)
    mask = torch.ones_like(ids)
    ids[::2, :padding] = PAD
    mask[::2, :padding] = 0
    return {"input_ids": ids, "attention_mask": mask, "pixel_values": torch.randn(rows, 3, 96, 96)}


def options(rows: int, temperature: float = 0.0, most: int = 7, ends: tuple[int, ...] = (2,)) -> dict[str, Any]:
    seeds = [1000 + i for i in range(rows)]
    return {"max_new_tokens": most, "temperature": temperature, "seeds": seeds, "end_tokens": ends, "pad_token": PAD}


def library(model: Any, batch: dict[str, Tensor], **chosen: Any) -> Tensor:
    with torch.inference_mode():
        return generation._library(model, batch, generation._Options(*chosen.values()))


def static(model: Any, batch: dict[str, Tensor], rows: int, slots: int, **chosen: Any) -> Tensor:
    with torch.inference_mode():
        decoding = generation._StaticDecoding(model, rows, slots, graph=False)
        first, again = (
            decoding.run(generation._Prompt(model, batch), generation._Answers(batch["input_ids"], options))
            for options in [generation._Options(*chosen.values())] * 2
        )
    assert torch.equal(first, again), "buffers that were used before answer the same"
    return first


@pytest.mark.slow
@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("padding", [0, 2])
def test_three_ways_give_the_same_answers(model: Any, temperature: float, padding: int) -> None:
    batch, chosen = inputs(4, padding=padding), options(4, temperature)
    assert generation.is_plain(model, batch)
    ours = generation.generate(model, batch, **chosen)
    assert torch.equal(ours, library(model, batch, **chosen))
    assert torch.equal(ours, static(model, batch, 6, 90, **chosen)), "rows and slots of no one change nothing"


@pytest.mark.slow
def test_a_batch_ends_when_all_rows_have(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    free = generation.generate(model, inputs(4), **options(4, ends=()))
    assert free.shape == (4, 7)
    ends = tuple(set(free[:, 3].tolist()))
    steps = []
    take = generation._Answers.take
    monkeypatch.setattr(generation._Answers, "take", lambda self, logits: steps.append(1) or take(self, logits))
    ended = generation.generate(model, inputs(4), **options(4, ends=ends))
    assert ended.shape[1] == len(steps) <= 4
    for row, full in zip(ended, free, strict=True):
        first = next(i for i, token in enumerate(full.tolist()) if token in ends)
        assert row[: first + 1].tolist() == full[: first + 1].tolist()
        assert (row[first + 1 :] == PAD).all()


@pytest.mark.slow
def test_text_before_the_image_is_computed_once(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    batch, chosen = inputs(4, text_before=80), options(4)
    expected = library(model, batch, **chosen)
    shapes = []
    forward = generation._Prompt._forward

    def watched(self: Any, cache: Any, ids: Tensor, positions: Tensor, **images: Tensor) -> Tensor:
        shapes.append(tuple(ids.shape))
        return forward(self, cache, ids, positions, **images)

    monkeypatch.setattr(generation._Prompt, "_forward", watched)
    assert torch.equal(generation.generate(model, batch, **chosen), expected)
    assert shapes == [(1, 80), (4, 68)]
    shapes.clear()
    batch["input_ids"][2, 70] += 1
    generation.generate(model, batch, **chosen)
    assert shapes == [(1, 70), (4, 78)], "only what all rows share"
    shapes.clear()
    generation.generate(model, inputs(4), **chosen)
    assert shapes == [(4, 70)], "a few tokens are not worth it"


def test_sampling_is_keyed_by_row_and_step(model: Any) -> None:
    batch = {name: value[:1].expand(5, *value.shape[1:]) for name, value in inputs(1).items()}
    answers = generation.generate(model, batch, **options(5, temperature=1.0))
    alone = generation.generate(
        model, {name: value[3:4] for name, value in batch.items()}, **options(1, 1.0) | {"seeds": [1003]}
    )
    assert answers[3, : alone.shape[1]].tolist() == alone[0].tolist()
    with torch.inference_mode():
        logits = model(**inputs(1)).logits[0, -1].double()
    assert answers[3, 0] == (logits + torch.from_numpy(gumbel(1003, 0, len(logits)))).argmax()


@pytest.mark.parametrize(
    ("attribute", "value"),
    [("repetition_penalty", 1.5), ("min_new_tokens", 4), ("suppress_tokens", [5, 6])],
)
def test_settings_that_change_the_choice_are_left_to_the_library(model: Any, attribute: str, value: Any) -> None:
    before = getattr(model.generation_config, attribute)
    setattr(model.generation_config, attribute, value)
    try:
        assert not generation.is_plain(model, inputs(2))
        assert generation.generate(model, inputs(2), **options(2)).shape[0] == 2
    finally:
        setattr(model.generation_config, attribute, before)


def test_architectures_with_rules_of_their_own_are_left_to_the_library(
    model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not generation.is_plain(model, inputs(2) | {"token_type_ids": torch.zeros(2, 70)})
    with monkeypatch.context() as patch:
        patch.setattr(type(model.model), "get_rope_index", lambda self: None, raising=False)
        assert not generation.is_plain(model, inputs(2))
    with monkeypatch.context() as patch:
        patch.setattr(type(model), "prepare_inputs_for_generation", lambda self: None)
        assert not generation.is_plain(model, inputs(2))
    assert generation.is_plain(model, inputs(2))


def test_buffers_waste_at_most_an_eighth() -> None:
    for rows in range(1, 300):
        bucket = generation._row_bucket(rows)
        assert rows <= bucket <= max(8, rows + 7, rows * 9 // 8)
    assert len({generation._row_bucket(rows) for rows in range(1, 129)}) == 16


@pytest.mark.slow
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_what_is_not_finite_is_no_answer(model: Any, temperature: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row whose picture is not a number, as where half precision overflows, is told from the others."""
    batch, chosen = inputs(4), options(4, temperature)
    whole = generation.generate(model, batch, **chosen)
    batch["pixel_values"][1] = torch.nan
    ours, theirs = generation.generate(model, batch, **chosen), library(model, batch, **chosen)
    fixed = static(model, batch, 6, 90, **chosen)
    for answers in (ours, theirs, fixed):
        assert (answers == generation.BROKEN).any(1).tolist() == [False, True, False, False]
        for row in (0, 2, 3):
            told, expected = answers[row].tolist(), whole[row].tolist()
            assert told[: len(expected)] == expected[: len(told)]


def test_buffers_are_given_back_when_memory_runs_out(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def exhausted(*_: Any) -> Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")

    vars(model)["_guardrail_decoding"] = {(8, 128): object()}
    monkeypatch.setattr(generation, "_decode", exhausted)
    with pytest.raises(torch.OutOfMemoryError):
        generation.generate(model, inputs(2), **options(2))
    assert not vars(model).get("_guardrail_decoding")
