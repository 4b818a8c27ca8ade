"""The noise of `guardrail.certify.noise` by torch: the same random words and formulas, for many draws at once.

On the CPU the words are numpy's; elsewhere they are computed on the device by Philox4x64-10 (Salmon et al. 2011), equal
to numpy's bit for bit. Logarithm, sine and cosine may differ from numpy's in the last bits of float64. Rounding to the
grid removes that, except for about one value in some millions, at the edge between two grid points, which moves by one
step of 2⁻¹⁶.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from guardrail.certify.noise import GRID, NoiseStream

_LOW = 0xFFFFFFFF
_MULTIPLIERS = (0xD2E7470EE14C6C93, 0xCA5A826395121157)
_WEYL = (0x9E3779B97F4A7C15, 0xBB67AE8584CAA73B)
_ROUNDS = 10


def philox(key: tuple[Tensor, Tensor], upper: tuple[Tensor, Tensor], count: int) -> Tensor:
    """Return the first words that `numpy.random.Philox(key, counter=[0, 0, *upper]).random_raw` gives, for many rows.

    Args:
        key: low and high word of each row's key, int64 [rows]: unsigned words, by their bits.
        upper: third and fourth word of each row's counter, int64 [rows].
        count: words per row.

    Returns:
        int64 [rows, count], unsigned words by their bits.
    """
    blocks = -(-count // 4)
    low_key, high_key = (word[:, None] for word in key)
    rows = len(low_key)
    counter = torch.arange(1, blocks + 1, device=low_key.device)  # numpy counts up before the first block
    a = counter.expand(rows, blocks)
    b = torch.zeros_like(counter).expand(rows, blocks)
    c, d = (word[:, None].expand(rows, blocks) for word in upper)
    for _ in range(_ROUNDS):
        high_a, low_a = _product(a, _MULTIPLIERS[0])
        high_c, low_c = _product(c, _MULTIPLIERS[1])
        a, b, c, d = high_c ^ b ^ low_key, low_c, high_a ^ d ^ high_key, low_a
        low_key, high_key = low_key + _signed(_WEYL[0]), high_key + _signed(_WEYL[1])
    return torch.stack((a, b, c, d), dim=-1).reshape(rows, -1)[:, :count]


def noisy(
    clean: Tensor, sigma: float, streams: Sequence[NoiseStream], indices: Sequence[int], image: int = 0
) -> Tensor:
    """Return `clean + σ·noise` for many draws: what `NoiseStream.noisy` returns for each.

    Args:
        clean: pictures of one shape, float64 [rows, …] on the device, or [1, …] where all rows share one.
        sigma: standard deviation of the noise.
        streams: each row's stream.
        indices: each row's index of the draw.
        image: index of the image in its request.

    Returns:
        float32 [rows, …], multiples of 2⁻¹⁶, not clipped.
    """
    size = clean[0].numel()
    half = (size + 1) // 2
    words = _stream_words(streams, indices, image, half, clean.device)
    radius = ((words >> 32) & _LOW).double().add_(0.5).mul_(2.0**-32).log_().mul_(-2.0).sqrt_()
    angle = (words & _LOW).double().add_(0.5).mul_(2.0 * math.pi * 2.0**-32)
    both = torch.cat((angle.cos().mul_(radius), angle.sin_().mul_(radius)), dim=1)[:, :size]
    total = both.reshape(len(words), *clean.shape[1:]).mul(sigma).add_(clean)
    return total.mul_(1.0 / GRID).round_().mul_(GRID).float()


def gumbel(seeds: Tensor, step: Tensor, size: int) -> Tensor:
    """Return the Gumbel noise of `guardrail.certify.noise.gumbel` for each row.

    Args:
        seeds: int64 [rows], in [0, 2⁶³).
        step: number of the token, int64 of shape [1].
        size: number of tokens of the vocabulary.

    Returns:
        float32 [rows, size].
    """
    nothing = torch.zeros_like(seeds)
    words = philox((seeds, nothing), (nothing, step.expand_as(seeds)), size)
    uniform = ((words >> 12) & (2**52 - 1)).double().add_(0.5).mul_(2.0**-52)
    return uniform.log_().neg_().log_().neg_().float()


def _stream_words(
    streams: Sequence[NoiseStream], indices: Sequence[int], image: int, count: int, device: torch.device
) -> Tensor:
    """Return the words of each row's stream, int64 [rows, count]."""
    keys = [stream.philox_key for stream in streams]
    if device.type == "cpu":
        generators = (np.random.Philox(key=k, counter=[0, 0, image, i]) for k, i in zip(keys, indices, strict=True))
        return torch.from_numpy(np.stack([generator.random_raw(count) for generator in generators]).view(np.int64))
    key = (_words([k & (2**64 - 1) for k in keys], device), _words([k >> 64 for k in keys], device))
    return philox(key, (_words([image] * len(keys), device), _words(indices, device)), count)


def _product(word: Tensor, multiplier: int) -> tuple[Tensor, Tensor]:
    """Return high and low half of the 128-bit product of unsigned words, in signed 64-bit arithmetic that wraps."""
    low, high = word & _LOW, (word >> 32) & _LOW
    m_low, m_high = multiplier & _LOW, multiplier >> 32
    lowest, cross, other = low * m_low, high * m_low, low * m_high
    middle = ((lowest >> 32) & _LOW) + (cross & _LOW) + (other & _LOW)
    top = high * m_high + ((cross >> 32) & _LOW) + ((other >> 32) & _LOW) + (middle >> 32)
    return top, word * _signed(multiplier)


def _words(values: Sequence[int], device: torch.device) -> Tensor:
    return torch.tensor([_signed(value) for value in values], dtype=torch.int64, device=device)


def _signed(word: int) -> int:
    """Return the signed number with the bits of an unsigned 64-bit word."""
    return word - 2**64 if word >= 2**63 else word
