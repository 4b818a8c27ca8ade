"""Text folded by its looks."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardrail.oracles.text import normalise
from guardrail.oracles.words.lookalikes import _LOOKS, lookalikes, unmarked


def test_each_letter_looks_like_one_other_and_is_met_as_it_is_written() -> None:
    letters = "".join(_LOOKS.values())
    assert len(set(letters)) == len(letters)
    assert normalise(letters) == letters, "text is normalised before it is folded"


def test_marks_stand_apart_in_one_order_each_once() -> None:
    assert lookalikes("é") == "e\u0301"
    assert lookalikes("o\u0302\u0323\u0302") == lookalikes("ộ") == "o\u0302\u0323"
    assert lookalikes("\u0301 a \u0301b") == "a b"
    assert unmarked("ÉCOLE, Ø, ộ") == "ecole, o, o"


def test_letters_of_other_scripts_are_not_taken_apart() -> None:
    for text in ("폭탄", "がば", "ทำ", "क़ि", "炸弹"):
        assert unmarked(text) == unicodedata.normalize("NFKC", text)


@pytest.mark.slow
@given(st.text(st.characters(max_codepoint=127)))
def test_plain_text_is_only_normalised(text: str) -> None:
    assert unmarked(text) == normalise(text)


LETTERS = st.characters(categories=("Lu", "Ll", "Zs"), max_codepoint=0x52F) | st.sampled_from("\u0301\u0302\u0323")


@given(st.text(LETTERS))
def test_folding_again_changes_nothing(text: str) -> None:
    assert lookalikes(lookalikes(text)) == lookalikes(text)
    assert unmarked(unmarked(text)) == unmarked(text)
