"""How an answer is cut into sentences."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guardrail.oracles.text import normalise
from guardrail.oracles.words.sentences import LONGEST, sentences


def texts(answer: str) -> list[str]:
    return [sentence.text for sentence in sentences(answer)]


def test_sentences_end_at_full_stops_and_blocks() -> None:
    assert texts("I can’t.  Can\nyou? Yes!\n\n# Title\nText") == ["i can't.", "can you?", "yes!", "title text"]
    assert texts("3.5 litres of wine") == ["3.5 litres of wine"]
    assert texts("我不能。你好！") == ["我不能。", "你好!"]


def test_items_of_lists_stand_alone() -> None:
    found = sentences("Take:\n- a *pan*\n- an egg\n\n1. Heat it.\n2) Stir.\n\nDone.")
    assert [(sentence.text, sentence.listed) for sentence in found] == [
        ("take:", False),
        ("a pan", True),
        ("an egg", True),
        ("heat it.", True),
        ("stir.", True),
        ("done.", False),
    ]


def test_code_is_one_piece_of_its_own() -> None:
    found = sentences("Run:\n```sh\nls. -l\ncd\n```\nDone.")
    assert [(sentence.text, sentence.code) for sentence in found] == [
        ("run:", False),
        ("ls. -l cd", True),
        ("done.", False),
    ]


def test_what_others_say_is_blanked() -> None:
    assert texts('He said "I cannot help you" and left.') == ['he said "" and left.']
    assert texts('"I cannot help you," he said.') == ['"" he said.']
    assert texts('"I cannot help you."') == ['"i cannot help you."']
    assert texts("They say 'I can't do it' too often.") == ['they say "" too often.']
    assert texts("I can't do the dogs' work, and I won't.") == ["i can't do the dogs' work, and i won't."]


@pytest.mark.slow
@settings(max_examples=50)
@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=1000))
def test_nothing_is_lost_and_nothing_is_long(answer: str) -> None:
    found = sentences(answer)
    assert all(0 < len(sentence.text) <= LONGEST for sentence in found)
    starts = [sentence.start for sentence in found]
    assert starts == sorted(set(starts))
    if not any(mark in answer for mark in "\"'`“”‘’ʼ′~＂＇｀～") and normalise(answer):
        letters = {c for c in normalise(answer) if c.isalpha() and c not in "abcdefghstep"}
        assert letters <= set("".join(texts(answer)))
