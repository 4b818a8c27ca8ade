"""Noise made on a torch device is the noise of the pinned stream. The CPU stands for the device here."""

import numpy as np
import pytest
import torch

from guardrail.certify import noise
from guardrail.certify.noise import GRID, NoiseStream
from guardrail.models.local import device_noise

STREAMS = [NoiseStream.derive(bytes([i]) * 16, b"request", "estimation") for i in range(12)]


def test_words_are_those_of_numpy() -> None:
    rng = np.random.default_rng(0)
    keys, upper = rng.integers(0, 2**64, (2, 20), np.uint64), rng.integers(0, 2**64, (2, 20), np.uint64)
    low, high, third, fourth = (torch.from_numpy(row.view(np.int64)) for row in (*keys, *upper))
    ours = device_noise.philox((low, high), (third, fourth), 21).numpy().view(np.uint64)
    for i, row in enumerate(ours):
        key, counter = int(keys[0, i]) | int(keys[1, i]) << 64, [0, 0, int(upper[0, i]), int(upper[1, i])]
        counter_words = np.array(counter, np.uint64)
        assert np.array_equal(row, np.random.Philox(key=key, counter=counter_words).random_raw(21))


@pytest.mark.parametrize("shape", [(96, 96, 3), (5, 7, 3)])
def test_noisy_pictures_are_those_of_the_stream(shape: tuple[int, ...]) -> None:
    clean = np.random.default_rng(0).random((len(STREAMS), *shape))
    indices = [3 * i for i in range(len(STREAMS))]
    ours = device_noise.noisy(torch.from_numpy(clean), 0.5, STREAMS, indices, image=1).numpy()
    theirs = np.stack([s.noisy(c, 0.5, i, 1) for s, c, i in zip(STREAMS, clean, indices, strict=True)])
    assert np.abs(ours - theirs).max() <= GRID
    assert np.mean(ours != theirs) < 1e-4


def test_one_picture_serves_many_rows() -> None:
    clean = torch.rand(1, 6, 6, 3, dtype=torch.float64)
    rows = device_noise.noisy(clean, 0.25, STREAMS[:1] * 3, [0, 1, 2])
    assert torch.equal(rows[1:2], device_noise.noisy(clean, 0.25, STREAMS[:1], [1]))
    assert not torch.equal(rows[0], rows[1])


def test_gumbel_noise_is_that_of_the_seed() -> None:
    seeds = [0, 1, 2**63 - 1, *(stream.sampling_seed(0) for stream in STREAMS)]
    for step in (0, 7):
        ours = device_noise.gumbel(torch.tensor(seeds), torch.tensor([step]), 722).numpy()
        theirs = np.stack([noise.gumbel(seed, step, 722) for seed in seeds])
        np.testing.assert_allclose(ours, theirs, rtol=3e-7, atol=1e-7)
