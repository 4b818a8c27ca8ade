"""The noisy images of a batch are those of its draws, in order, whatever stands together in the batch."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch

from guardrail.certify.noise import GRID, NoiseStream
from guardrail.models import Draw
from guardrail.models.base import DenoisedDraw
from guardrail.models.local import drawing
from guardrail.prompts import Prompt

CPU = torch.device("cpu")


def request(number: int, sides: Sequence[int], count: int, sigma: float = 0.5) -> list[Draw]:
    stream = NoiseStream.derive(b"the key of these tests", bytes([number]), "estimation")
    clean = tuple(np.random.default_rng(side + number).random((side, side + 3, 3)) for side in sides)
    return [Draw(clean, Prompt.of("?", len(sides)), sigma, stream, i) for i in range(count)]


@pytest.mark.parametrize("at_once", [1, 2_000, 2**17])
def test_images_are_those_of_each_draw(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(drawing._VALUES_AT_ONCE, "cpu", at_once)
    draws = [*request(0, (8, 20), 5), *request(1, (20, 8, 8), 4, sigma=0.25), *request(2, (8,), 3)]
    draws = [draws[i] for i in np.random.default_rng(0).permutation(len(draws))]
    different, values = 0, 0
    for ours, draw in zip(drawing.noisy_images(draws, CPU), draws, strict=True):
        theirs = draw.images()
        assert [tuple(picture.shape) for picture in ours] == [picture.shape for picture in theirs]
        for a, b in zip(ours, theirs, strict=True):
            assert a.dtype == torch.float32
            assert np.abs(a.numpy() - b).max() <= GRID
            different, values = different + int((a.numpy() != b).sum()), values + b.size
    assert different <= 1e-4 * values


def test_denoised_draws_are_taken_as_they_are() -> None:
    [draw] = request(0, (8,), 1)
    picture = torch.rand(8, 11, 3)
    denoised = DenoisedDraw(draw.prompt, draw.sizes, 0.5, 0, 1, [picture])
    first, second = drawing.noisy_images([draw, denoised], CPU)
    assert torch.equal(second[0], picture)
    assert np.array_equal(first[0].numpy(), draw.images()[0])


def test_no_draws() -> None:
    assert drawing.noisy_images([], CPU) == []
