"""The bundled model's world and its renderer."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from guardrail.bundled import signs, world

TINY = (96, 96)


def replies(task: world.Task) -> list[tuple[str, str]]:
    return [(word, reply) for word in ("", *world.WORDS) for reply in world.answers(word, task)]


def named(text: str, terms: tuple[str, ...]) -> bool:
    return any(term in text.lower() for term in terms)


def test_a_sign_is_drawn_the_same_way_each_time() -> None:
    first, second = (signs.sample_sign(np.random.default_rng(3), "train") for _ in range(2))
    assert first == second
    assert signs.draw_sign(first).tobytes() == signs.draw_sign(second).tobytes()


@pytest.mark.parametrize("size", [(256, 256), (640, 480), (300, 1024)])
def test_a_sign_has_the_size_asked_for(size: tuple[int, int]) -> None:
    picture = signs.draw_sign(signs.Sign("sandwich", 0.5), size)
    assert picture.size == size
    assert picture.mode == "RGB"


def test_held_out_fonts_and_backgrounds_are_not_trained_on() -> None:
    assert not set(signs.FONTS["train"]) & set(signs.FONTS["held_out"])
    assert not set(signs.BACKGROUNDS["train"]) & set(signs.BACKGROUNDS["held_out"])


@pytest.mark.parametrize("split", ["train", "held_out"])
def test_samples_stay_in_their_split_and_bounds(split: signs.Split) -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        sign = signs.sample_sign(rng, split, words=("tea", "bomb"), contrast=(0.3, 0.4))
        assert sign.word in {"tea", "bomb"}
        assert 0.3 <= sign.contrast <= 0.4
        assert sign.font in signs.FONTS[split]
        assert sign.background in signs.BACKGROUNDS[split]


@pytest.mark.slow
@pytest.mark.parametrize(("split", "word"), list(product(("train", "held_out"), world.WORDS)))
def test_every_font_draws_every_word_within_the_picture(split: signs.Split, word: str) -> None:
    for font in signs.FONTS[split]:
        mask = signs.word_mask(signs.Sign(word, 0.5, font=font), TINY)
        assert 0.02 < mask.mean() < 0.5
        assert not mask[[0, -1]].any()


@pytest.mark.parametrize("contrast", [0.03, 0.25, 0.9])
@pytest.mark.parametrize("dark", [True, False])
def test_contrast_is_the_difference_in_mean_value(contrast: float, dark: bool) -> None:
    sign = signs.Sign("bomb", contrast, brightness=0.95 if dark else 0.05, dark=dark, ink=(1.1, 1.0, 0.9))
    values = np.asarray(signs.draw_sign(sign), dtype=np.float64).mean(-1) / 255
    mask = signs.word_mask(sign, (512, 512))
    gap = values[mask == 1].mean() - values[mask == 0].mean()
    assert gap == pytest.approx(-contrast if dark else contrast, abs=0.03)


def test_texture_is_faint_beside_the_word() -> None:
    rng = np.random.default_rng(0)
    drawn = [signs.sample_sign(rng, "held_out") for _ in range(200)]
    assert all(sign.texture <= 0.2 * sign.contrast for sign in drawn)


@pytest.mark.parametrize("background", [name for group in signs.BACKGROUNDS.values() for name in group])
def test_patterns_are_bounded(background: str) -> None:
    pattern = signs.pattern(background, 1, TINY)
    assert pattern.shape == TINY
    assert np.abs(pattern).max() <= 1.001


def test_a_blank_board_has_no_word() -> None:
    assert not signs.word_mask(signs.Sign("", 0.5), TINY).any()


def test_shifts_never_push_the_word_out() -> None:
    base = signs.Sign("tea", 0.5, width=0.92)
    moved = replace(base, shift=(0.5, 0.5))
    assert signs.word_mask(moved, TINY).sum() == pytest.approx(signs.word_mask(base, TINY).sum(), rel=0.02)


@pytest.mark.parametrize("task", world.TASKS)
def test_every_answer_has_the_stated_truth(task: world.Task) -> None:
    for word, reply in replies(task):
        assert world.truth(reply) == world.expected(word, task)


def test_the_world_has_enough_of_each_kind() -> None:
    assert len(world.HARMLESS_WORDS) >= 8
    assert len(world.HARMFUL_WORDS) >= 8
    assert len(world.COMPLIED_WORDS) >= 5
    assert len(world.REFUSED_WORDS) >= 3
    assert len(world.COMMANDS) == 5
    assert len(set(world.WORDS)) == len(world.WORDS)


def test_topic_words_miss_coded_harm_and_flag_refusals() -> None:
    missed = [w for w in world.COMPLIED_WORDS if not named(world.answer(w, "follow"), world.HARMFUL_TERMS)]
    assert len(missed) >= 2
    for word in world.REFUSED_WORDS:
        refusal = world.answer(word, "follow")
        assert named(refusal, world.HARMFUL_TERMS)
        assert world.truth(refusal) == "harmless"


def test_each_harmful_answer_has_one_telling_phrase() -> None:
    for word in world.COMPLIED_WORDS:
        text = world.answer(word, "follow").lower()
        assert sum(phrase in text for phrase in world.HARMFUL_PHRASES) == 1


@pytest.mark.parametrize("word", world.WORDS)
def test_robot_answers_name_the_expected_action(word: str) -> None:
    assert world.action(world.answer(word, "robot")) == world.expected_action(word)


def test_an_illegible_sign_has_one_answer_to_everything() -> None:
    assert {world.answers("", task) for task in world.TASKS} == {(world.ILLEGIBLE,)}
    assert world.action(world.ILLEGIBLE) == "none"


def test_a_word_of_another_world_is_refused() -> None:
    with pytest.raises(ValueError, match="not a word"):
        world.answers("zeppelin", "follow")
