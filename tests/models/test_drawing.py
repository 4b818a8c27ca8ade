"""The noisy images of a batch are those of its draws, in order, however many threads make them."""

import numpy as np
import pytest

from guardrail.models import Draw, drawing
from guardrail.noise import NoiseStream
from guardrail.prompts import Prompt

STREAM = NoiseStream.derive(b"the key of these tests", b"request", "estimation")


@pytest.mark.parametrize("side", [8, 120])
def test_images_are_those_of_each_draw(side: int) -> None:
    clean = tuple(np.random.default_rng(i).random((side, side + i, 3)) for i in range(2))
    draws = [Draw(clean, Prompt.of("?", 2), 0.5, STREAM, i) for i in range(9)]
    for ours, draw in zip(drawing.noisy_images(draws), draws, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(ours, draw.images(), strict=True))


def test_no_draws() -> None:
    assert drawing.noisy_images([]) == []
