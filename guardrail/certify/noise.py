"""Keyed, counter-based randomness: the noise and the sampling seed of every draw.

Each draw has its own noise and its own sampling seed, a function of (secret key, request, purpose, index) and of
nothing else: not of the batch it runs in, of who else asks, of the machine, or of numpy's version (raw Philox words
are stable across releases, `Generator` methods are not). Asking again gives the same draws, so asking again buys no
luckier answer; without the secret nobody can foretell them.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from guardrail.digests import framed

GRID = 2.0**-16
"""Noisy pixels are rounded to multiples of this. Sums then are exact in float32, and neither the clean picture's last
bits nor the order of operations can be read from `x + δ` (Jin et al. 2022; Voráček and Hein 2023)."""

_CACHED = 16384
"""Values worked on at a time: all intermediate results then stay in the processor's cache."""


@dataclass(frozen=True, slots=True)
class NoiseStream:
    """The randomness of one request and purpose. Its key is secret: it stays out of reprs and logs."""

    _key: bytes

    @classmethod
    def derive(cls, secret: bytes, request: bytes, purpose: str) -> NoiseStream:
        """Derive the stream of a request.

        Args:
            secret: the guard's key; at least 16 bytes for noise that nobody can foretell.
            request: everything the verdict depends on, every bit of the resized pixels included.
            purpose: `selection` or `estimation`; their draws are independent.
        """
        return cls(hmac.digest(secret, framed((purpose.encode(), request)), hashlib.sha256))

    def __repr__(self) -> str:
        return "NoiseStream(...)"

    def normal(self, index: int, image: int, shape: tuple[int, ...]) -> NDArray[np.float64]:
        """Return standard normal noise for image number `image` of draw number `index`.

        Box and Muller's transform on raw 64-bit words of Philox4x64 (Salmon et al. 2011), keyed by the stream, with
        the draw and the image in the counter's upper half: streams cannot overlap. Values reach ±6.7.
        """
        size = int(np.prod(shape))
        half = (size + 1) // 2
        words = np.random.Philox(key=self.philox_key, counter=[0, 0, image, index]).random_raw(half)
        low, high = words.astype("<u8", copy=False).view("<u4").reshape(half, 2).T
        both = np.empty((2, half))
        for start in range(0, half, _CACHED):
            part = slice(start, start + _CACHED)
            radius = high[part] + 0.5
            radius *= 2.0**-32
            np.log(radius, out=radius)
            radius *= -2.0
            np.sqrt(radius, out=radius)
            angle = low[part] + 0.5
            angle *= 2.0 * np.pi * 2.0**-32
            for row, wave in zip(both, (np.cos, np.sin), strict=True):
                wave(angle, out=row[part])
                row[part] *= radius
        return both.reshape(-1)[:size].reshape(shape)

    def noisy(self, clean: NDArray[np.float64], sigma: float, index: int, image: int) -> NDArray[np.float32]:
        """Return `clean + σ·noise`, drawn and added in float64, then rounded to the grid; not clipped."""
        total = self.normal(index, image, clean.shape)
        total *= sigma
        total += clean
        total *= 1.0 / GRID  # a power of two: exact
        np.rint(total, out=total)
        total *= GRID
        return total.astype(np.float32)

    @property
    def philox_key(self) -> int:
        """The 128-bit key of the noise, for implementations on a device. Secret."""
        return int.from_bytes(self._key[:16], "little")

    def sampling_seed(self, index: int) -> int:
        """Return the seed, in [0, 2⁶³), with which the model samples its answer to draw number `index`."""
        digest = hmac.digest(self._key, b"sampling" + index.to_bytes(8, "little"), hashlib.sha256)
        return int.from_bytes(digest[:8], "little") >> 1


def gumbel(seed: int, step: int, size: int) -> NDArray[np.float32]:
    """Return Gumbel noise for token number `step` of a draw: `argmax(logits/T + gumbel)` samples from softmax."""
    words = np.random.Philox(key=seed, counter=[0, 0, 0, step]).random_raw(size)
    uniform = ((words >> np.uint64(12)) + 0.5) * 2.0**-52
    noise: NDArray[np.float64] = -np.log(-np.log(uniform))
    return noise.astype(np.float32)
