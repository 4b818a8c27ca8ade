"""No two lists of parts give the same digest, wherever parts are hashed together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardrail.digests import digest_of, framed
from guardrail.near import Point
from guardrail.near.index import bucket_of
from guardrail.prompts import Prompt, Turn
from guardrail.request import joint_hash

PARTS = st.lists(st.binary(max_size=9), max_size=4)


@given(PARTS, PARTS)
def test_other_parts_other_digests(one: list[bytes], other: list[bytes]) -> None:
    assert (framed(one) == framed(other)) == (one == other)
    assert (digest_of(one) == digest_of(other)) == (one == other)


@pytest.mark.parametrize(
    ("one", "other"),
    [(["ab", "c"], ["a", "bc"]), (["a", "b"], ["ab", ""]), (["a" * 64, "b" * 64], ["a" * 64 + "b" * 64, ""])],
)
def test_hashes_of_several_pictures_do_not_run_together(one: Sequence[str], other: Sequence[str]) -> None:
    assert joint_hash(one) != joint_hash(other)


def test_nor_do_context_and_sizes_of_points() -> None:
    point = Point.of([np.zeros((2, 3, 3))])
    assert len({bucket_of(context, point) for context in ("c", "c ((2, 3),)", "", " c")}) == 4


@pytest.mark.parametrize(
    ("one", "other"),
    [("\ud83d\ude00", "😀"), ("a\ud835\udc00", "a𝐀"), ('","', '\\",\\"'), ("\\ud83d", "\ud83d")],
    ids=ascii,
)
def test_texts_that_differ_are_other_prompts(one: str, other: str) -> None:
    """Two halves of a surrogate pair are no character, though JSON writes both alike."""
    assert one != other
    assert Prompt.of(one, 1).digest != Prompt.of(other, 1).digest


def test_nor_do_parts_and_turns_run_together() -> None:
    forms = [
        (Turn("user", ("a", "b")),),
        (Turn("user", ("a", "b", "")),),
        (Turn("user", ('a","b',)),),
        (Turn("user", ("a",)), Turn("user", ("b",))),
        (Turn("user", ("ab",)),),
    ]
    assert len({Prompt(form).digest for form in forms}) == len(forms)
