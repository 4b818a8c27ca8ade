"""The linear resize before the noise, and how much it can stretch a perturbation.

Noise is added at the resolution of certification, but an attacker changes the original pixels. Because the
resize ``A`` is linear on float pixels (no rounding to 8 bits, no clipping), ``‖AΔ‖ ≤ ‖A‖·‖Δ‖``, and a
certificate of radius ``R`` also holds for the original pixels, with radius ``R / ‖A‖``. The resize is
separable, ``A = A_h ⊗ A_w``, so its norm is the product of the norms of two small matrices.

The kernel is the antialiased bilinear one of Pillow and PyTorch: a triangle with half-pixel centres, as wide
as two output pixels when shrinking, with rows that sum to one.
"""

from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

_ROUNDING = 1e-10  # relative; far above the error of float64 arithmetic here, far below what a radius shows
_BAND = 2**21  # numbers, 16 MB: however large a picture, no more of it stands in memory as floats at a time
_LONGEST_KEPT = 4096  # pixels of a side whose weights are kept: at most some 100 KB for a pair of sides


def _rows(n_in: int, n_out: int, rows: range | None = None) -> Iterable[tuple[int, NDArray[np.float64]]]:
    """Returns rows of the resize matrix, all or these, each as its first column and weights (non-negative, sum 1)."""
    rows = range(n_out) if rows is None else rows
    if max(n_in, n_out) <= _LONGEST_KEPT:
        return _kept_rows(n_in, n_out)[rows.start : rows.stop]
    return _computed_rows(n_in, n_out, rows)  # one at a time: whoever sends pictures chooses their sides


@lru_cache(maxsize=64)
def _kept_rows(n_in: int, n_out: int) -> tuple[tuple[int, NDArray[np.float64]], ...]:
    return tuple(_computed_rows(n_in, n_out, range(n_out)))


def _computed_rows(n_in: int, n_out: int, rows: range) -> Iterator[tuple[int, NDArray[np.float64]]]:
    scale = n_in / n_out
    support = max(scale, 1.0)
    for row in rows:
        centre = scale * (row + 0.5)
        first = max(int(centre - support + 0.5), 0)
        last = min(int(centre + support + 0.5), n_in)
        weights = np.maximum(1.0 - np.abs(np.arange(first, last) + 0.5 - centre) / support, 0.0)
        weights /= weights.sum()
        weights.flags.writeable = False  # callers may share it
        yield first, weights


def _check(*sides: int) -> None:
    if min(sides) < 1:
        raise ValueError(f"sides must be at least 1 pixel, not {sides}")


def resize_matrix(n_in: int, n_out: int) -> NDArray[np.float64]:
    """Returns the matrix that resizes one axis from ``n_in`` to ``n_out`` pixels.

    Returns:
        Dense array [n_out, n_in]; non-negative, every row sums to 1; the identity when the sizes agree.

    Raises:
        ValueError: If a size is below 1.
    """
    _check(n_in, n_out)
    matrix = np.zeros((n_out, n_in))
    for row, (first, weights) in enumerate(_rows(n_in, n_out)):
        matrix[row, first : first + len(weights)] = weights
    return matrix


def _resize_first_axis(pixels: NDArray[Any], n_out: int, rows: range) -> NDArray[np.float64]:
    """Returns these of the n_out rows: [len(rows), ...] from [n_in, ...]."""
    n_in = pixels.shape[0]
    if n_in == n_out:
        return pixels[rows.start : rows.stop].astype(np.float64)
    columns = pixels.reshape(n_in, -1)
    resized = np.empty((len(rows), columns.shape[1]))
    # Products and sums element by element, not BLAS: BLAS fuses and reorders them differently on different
    # processors, and the noise is keyed by every bit of the result, which all replicas must agree on.
    for row, (first, weights) in enumerate(_rows(n_in, n_out, rows)):
        step = max(3, _BAND // len(weights) // 3 * 3)  # whole pixels: numpy sums a single column in another order
        for left in range(0, columns.shape[1], step):
            window = columns[first : first + len(weights), left : left + step]
            np.add.reduce(weights[:, None] * window, axis=0, out=resized[row, left : left + step])
    return resized.reshape(len(rows), *pixels.shape[1:])


def resize(pixels: NDArray[Any], size: tuple[int, int]) -> NDArray[np.float64]:
    """Resizes a picture linearly: ``A_h · x · A_wᵀ`` in each channel, neither rounded nor clipped.

    Args:
        pixels: Array [H, W, C]; uint8 in 0 … 255, or floats, which are taken as they are.
        size: Height and width wanted, in pixels; the picture's own size makes this the identity.

    Returns:
        Array [h, w, C] of float64; in [0, 1] if the input is uint8 (divided by 255) or floats in [0, 1]. The
        same bits on every machine.

    Raises:
        ValueError: If the array is neither uint8 nor floating, is not [H, W, C], or a side is below 1.
    """
    if pixels.ndim != 3 or not (pixels.dtype == np.uint8 or np.issubdtype(pixels.dtype, np.floating)):
        raise ValueError(f"pixels must be uint8 or float [H, W, C], not {pixels.dtype} {list(pixels.shape)}")
    _check(*pixels.shape, *size)
    height, width = size
    resized = np.empty((height, width, pixels.shape[2]))
    band = max(1, _BAND // pixels[0].size)
    for top in range(0, height, band):
        rows_done = _resize_first_axis(pixels, height, range(top, min(top + band, height)))
        both_done = _resize_first_axis(np.ascontiguousarray(rows_done.swapaxes(0, 1)), width, range(width))
        resized[top : top + band] = both_done.swapaxes(0, 1)
    if pixels.dtype == np.uint8:
        resized /= 255.0
    return resized


@lru_cache(maxsize=4096)
def _axis_norm(n_in: int, n_out: int) -> float:
    """Returns the largest singular value of `resize_matrix(n_in, n_out)`, rounded up by 1e-10 of itself.

    At most two triangles overlap anywhere, so the smaller Gram matrix, `A·Aᵀ` when shrinking and `Aᵀ·A` when
    enlarging, is tridiagonal: never is a large matrix built.
    """
    if n_in == n_out:
        return 1.0
    diagonal, beside = np.zeros(min(n_in, n_out)), np.zeros(min(n_in, n_out))
    previous_first, previous = 0, np.zeros(0)
    for row, (first, weights) in enumerate(_rows(n_in, n_out)):
        if n_in > n_out:
            diagonal[row] = weights @ weights
            shared = previous[first - previous_first :][: len(weights)]
            beside[row - 1] = shared @ weights[: len(shared)]  # the first, empty, lands at the end
            previous_first, previous = first, weights
        else:
            diagonal[first : first + len(weights)] += weights * weights
            beside[first : first + len(weights) - 1] += weights[:-1] * weights[1:]
    largest = diagonal[0]
    if len(diagonal) > 1:
        from scipy.linalg import eigvalsh_tridiagonal

        last = len(diagonal) - 1
        (largest,) = eigvalsh_tridiagonal(diagonal, beside[:-1], select="i", select_range=(last, last))
    return float(np.sqrt(largest)) * (1.0 + _ROUNDING)


def resize_norm(size_in: tuple[int, int], size_out: tuple[int, int]) -> float:
    """Returns the operator norm ``‖A‖ = ‖A_h‖·‖A_w‖`` of ``resize`` between two sizes.

    Divide a radius at ``size_out`` by it to get the radius at ``size_in``. It is the largest singular value,
    exact but for a relative 1e-10 upwards, so that the radius is never too large.

    Args:
        size_in: Height and width of the original, in pixels.
        size_out: Height and width after ``resize``, in pixels.

    Raises:
        ValueError: If a side is below 1.
    """
    _check(*size_in, *size_out)
    return _axis_norm(size_in[0], size_out[0]) * _axis_norm(size_in[1], size_out[1])
