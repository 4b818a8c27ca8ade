"""Noise is normal, keyed, and a function of nothing but its key, the draw and the image."""

import hashlib
import hmac
import struct

import numpy as np
import pytest
from scipy import stats

from guardrail.certify.noise import GRID, NoiseStream, gumbel

STREAM = NoiseStream.derive(b"a secret of the guard", b"a request", "estimation")
SHAPE = (31, 17, 3)


def test_noise_is_standard_normal() -> None:
    values = np.concatenate([STREAM.normal(i, 0, (100, 100, 3)).ravel() for i in range(10)])
    # Fixed seed; the p-value of a right generator is uniform, so this bound fails one generator in a million.
    assert stats.kstest(values, "norm").pvalue > 1e-6
    assert abs(values.mean()) < 5 / np.sqrt(values.size)
    assert abs(values.var() - 1) < 5 * np.sqrt(2 / values.size)


def test_neighbouring_values_draws_and_images_are_uncorrelated() -> None:
    first, second = STREAM.normal(0, 0, (300, 300)), STREAM.normal(1, 0, (300, 300))
    other = STREAM.normal(0, 1, (300, 300))
    half = first.ravel()[: first.size // 2], first.ravel()[first.size // 2 :]  # cosines and sines of the same angles
    for a, b in ((first, second), (first, other), half, (first[:, 1:], first[:, :-1]), (half[0] ** 2, half[1] ** 2)):
        assert abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) < 5 / np.sqrt(a.size)


def test_the_same_draw_has_the_same_noise_whatever_came_before() -> None:
    alone = STREAM.normal(7, 2, SHAPE)
    for i in range(5):
        STREAM.normal(i, 0, (5, 5))
    assert np.array_equal(STREAM.normal(7, 2, SHAPE), alone)


@pytest.mark.parametrize(
    "other",
    [
        NoiseStream.derive(b"another secret here", b"a request", "estimation"),
        NoiseStream.derive(b"a secret of the guard", b"another request", "estimation"),
        NoiseStream.derive(b"a secret of the guard", b"a request", "selection"),
    ],
    ids=["secret", "request", "purpose"],
)
def test_secret_request_and_purpose_change_noise_and_seed(other: NoiseStream) -> None:
    assert abs(np.corrcoef(STREAM.normal(0, 0, SHAPE).ravel(), other.normal(0, 0, SHAPE).ravel())[0, 1]) < 0.15
    assert other.sampling_seed(0) != STREAM.sampling_seed(0)


def test_each_draw_has_its_own_sampling_seed() -> None:
    seeds = {STREAM.sampling_seed(i) for i in range(1000)}
    assert len(seeds) == 1000
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_the_stream_is_pinned() -> None:
    """Replicas of other versions of numpy must draw the same: these words must never change."""
    stream = NoiseStream(hmac.digest(b"k" * 16, b"estimation\x00r", hashlib.sha256))
    assert stream.normal(3, 1, (4,)).round(12).tolist() == PINNED
    assert stream.sampling_seed(3) == PINNED_SEED


def test_the_derivation_is_pinned_and_each_part_stands_after_its_length() -> None:
    written_out = struct.pack("<Q10sQ1s", 10, b"estimation", 1, b"r")
    expected = NoiseStream(hmac.digest(b"k" * 16, written_out, hashlib.sha256))
    assert NoiseStream.derive(b"k" * 16, b"r", "estimation") == expected


@pytest.mark.parametrize(
    ("one", "other"),
    [((b"b\x00c", "a"), (b"c", "a\x00b")), ((b"nr", "selectio"), (b"r", "selection")), ((b"", "ab"), (b"ab", ""))],
)
def test_no_purpose_reaches_into_a_request(one: tuple[bytes, str], other: tuple[bytes, str]) -> None:
    assert NoiseStream.derive(b"k" * 16, *one) != NoiseStream.derive(b"k" * 16, *other)


def test_noisy_pixels_lie_on_the_grid_exactly_in_float32() -> None:
    noisy = STREAM.noisy(np.full(SHAPE, 0.3), 0.5, 0, 0)
    assert noisy.dtype == np.float32
    units = noisy.astype(np.float64) / GRID
    assert np.array_equal(units, np.rint(units))
    assert np.max(np.abs(noisy.astype(np.float64) - 0.3 - 0.5 * STREAM.normal(0, 0, SHAPE))) <= GRID / 2 + 1e-12


def test_the_key_is_in_no_repr() -> None:
    assert "secret" not in repr(STREAM)
    assert STREAM._key.hex() not in repr(STREAM)


def test_gumbel_noise_samples_from_the_softmax() -> None:
    logits = np.log([0.5, 0.3, 0.15, 0.05])
    picks = [int(np.argmax(logits + gumbel(seed, 0, 4))) for seed in range(4000)]
    assert stats.chisquare(np.bincount(picks, minlength=4), 4000 * np.exp(logits)).pvalue > 1e-6


def test_gumbel_noise_differs_by_seed_and_step() -> None:
    assert np.array_equal(gumbel(1, 2, 8), gumbel(1, 2, 8))
    assert not np.array_equal(gumbel(1, 2, 8), gumbel(1, 3, 8))
    assert not np.array_equal(gumbel(1, 2, 8), gumbel(2, 2, 8))


PINNED = [1.752117746283, -0.092923912477, -0.417590640836, -1.626703571964]
PINNED_SEED = 2986458882860699691
