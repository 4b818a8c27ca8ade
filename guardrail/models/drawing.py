"""The noisy images of a batch of draws, made on the processor's cores at once: numpy works outside Python's lock."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from guardrail.models.base import Draw

_MOST_THREADS = 16
_WORTH_THREADS = 200_000
"""Values to draw, a few milliseconds' work, from which on threads are worth their start."""


def noisy_images(draws: Sequence[Draw]) -> list[list[NDArray[np.float32]]]:
    """Return the noisy images of each draw, as `Draw.images` gives them."""
    values = sum(3 * height * width for draw in draws for height, width in draw.sizes)
    threads = min(len(draws), os.cpu_count() or 1, _MOST_THREADS)
    if threads <= 1 or values < _WORTH_THREADS:
        return [draw.images() for draw in draws]
    with ThreadPoolExecutor(threads, "noise") as pool:
        return list(pool.map(lambda draw: draw.images(), draws))
