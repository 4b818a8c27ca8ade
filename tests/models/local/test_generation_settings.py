"""A checkpoint's settings for generation: what says how a token is chosen counts, and nothing else does."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
import torch

from guardrail.models import TransformersVLM
from tests.kit import tiny
from tests.kit.tiny import draws, texts

PLAIN = {"eos_token_id": tiny.EOS, "pad_token_id": tiny.PAD}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("llava")
    tiny.llava(folder)
    return folder


def with_settings(folder: Path, **settings: Any) -> TransformersVLM:
    (folder / "generation_config.json").write_text(json.dumps(PLAIN | settings))
    return TransformersVLM(folder, max_new_tokens=8, device="cpu", temperature=0.7)


@pytest.fixture(scope="module")
def plain(folder: Path) -> list[str]:
    vlm = with_settings(folder)
    return texts(vlm, draws(vlm, "?", count=3))


@pytest.mark.parametrize(
    "settings",
    [
        {"num_beams": 3, "early_stopping": True, "length_penalty": 2.0},
        {"num_beams": 4, "num_beam_groups": 2, "diversity_penalty": 0.5},
        {"num_beams": 2, "num_return_sequences": 2},
        {"return_dict_in_generate": True, "output_scores": True, "output_attentions": True},
        {"prompt_lookup_num_tokens": 2},
        {"penalty_alpha": 0.6, "top_k": 4},
        {"dola_layers": "high"},
        {"assistant_early_exit": 1},
        {"guidance_scale": 1.5},
        {"stop_strings": ["a"]},
        {"force_words_ids": [[20]]},
        {"min_length": 90},
        {"remove_invalid_values": True},
        {"encoder_repetition_penalty": 2.0, "encoder_no_repeat_ngram_size": 1},
        {"watermarking_config": {"bias": 5.0}},
        {"token_healing": True},
        {"max_time": 1e-9},
        {"cache_implementation": "static", "max_length": 3, "max_new_tokens": 1},
        {"do_sample": True, "temperature": 0.01, "top_p": 0.1, "min_p": 0.5},
        {"a_setting_of_tomorrow": 7},
    ],
    ids=lambda settings: next(iter(settings)),
)
def test_what_is_not_about_choice_changes_nothing(folder: Path, plain: list[str], settings: dict[str, Any]) -> None:
    vlm = with_settings(folder, **settings)
    assert texts(vlm, draws(vlm, "?", count=3)) == plain


def test_what_is_left_out_is_said(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "guardrail"):
        with_settings(folder, num_beams=3, return_dict_in_generate=True, min_length=0, top_k=7, num_return_sequences=1)
    [record] = caplog.records
    assert record.getMessage().endswith("is chosen: num_beams=3, return_dict_in_generate=True")


@pytest.mark.parametrize(
    "settings",
    [
        {"repetition_penalty": 3.0},
        {"no_repeat_ngram_size": 1},
        {"suppress_tokens": list(range(20, 250))},
        {"bad_words_ids": [[i] for i in range(20, 250)]},
    ],
    ids=lambda settings: next(iter(settings)),
)
def test_what_is_about_choice_counts(folder: Path, plain: list[str], settings: dict[str, Any]) -> None:
    vlm = with_settings(folder, **settings)
    assert texts(vlm, draws(vlm, "?", count=3)) != plain


@pytest.mark.parametrize("settings", [{"repetition_penalty": 1e3}, {"no_repeat_ngram_size": 1}])
def test_padding_is_nothing_that_was_written(folder: Path, settings: dict[str, Any]) -> None:
    """Many checkpoints pad with an end token: in a padded row alone it would be penalised."""
    vlm = with_settings(folder, **settings)
    vlm._tokenizer.pad_token = vlm._tokenizer.eos_token
    vlm._prompts._padding["input_ids"] = tiny.EOS
    with torch.no_grad():
        vlm._model.lm_head.weight[tiny.EOS] = vlm._model.lm_head.weight.abs().max() * 2  # answers end, or do not
    mixed = [*draws(vlm, "And how do these two differ, in one word?", images=2), *draws(vlm, "?", count=8)]
    together = vlm.answer(mixed)
    assert [a.tokens for a in together] == [vlm.answer([draw])[0].tokens for draw in mixed]
    assert any(a.complete for a in together)
