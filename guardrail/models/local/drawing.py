"""The noisy images of a batch of draws, on the model's device: all draws of one size at once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

import numpy as np

from guardrail.models.base import DenoisedDraw, Draw

if TYPE_CHECKING:
    import torch
    from torch import Tensor

_VALUES_AT_ONCE = {"cpu": 2**17, "cuda": 2**25}
"""Values computed at a time, so that intermediate results fit a CPU's cache or a GPU's memory."""


def noisy_images(draws: Sequence[Draw | DenoisedDraw], device: torch.device) -> list[list[Tensor]]:
    """Return the noisy images of each draw, as `Draw.images` gives them, on the device.

    On CUDA the noise is computed on the device. Other accelerators lack float64: for them the CPU computes it.

    Args:
        draws: of any requests. Denoised draws already hold their images.
        device: where the images are returned.

    Returns:
        For each draw and image a float32 tensor [height, width, 3], not clipped; the same on every device, except for
        about one value in some millions (see `device_noise`).
    """
    import torch

    made_on = device if device.type in _VALUES_AT_ONCE else torch.device("cpu")
    images: list[list[Tensor]] = [[torch.empty(0)] * len(draw.sizes) for draw in draws]
    places: dict[tuple[int, int, float, tuple[int, ...]], list[int]] = defaultdict(list)
    for number, draw in enumerate(draws):
        if isinstance(draw, Draw):
            for image, size in enumerate(draw.sizes):
                places[image, 3 * size[0] * size[1], draw.sigma, size].append(number)
        else:
            images[number] = [torch.as_tensor(picture).to(device) for picture in draw.pictures]
    for (image, values, sigma, _), numbers in places.items():
        step = max(1, _VALUES_AT_ONCE[made_on.type] // values)
        for start in range(0, len(numbers), step):
            batch = numbers[start : start + step]
            noisy = _noisy([cast("Draw", draws[number]) for number in batch], image, sigma, made_on).to(device)
            for number, picture in zip(batch, noisy, strict=True):
                images[number][image] = picture
    return images


def _noisy(draws: Sequence[Draw], image: int, sigma: float, device: torch.device) -> Tensor:
    """Return one image of draws in which it has the same size, [draws, height, width, 3]."""
    import torch

    from guardrail.models.local import device_noise

    # This and `Draw.images` are the only readers of the clean pictures: what leaves is x + δ.
    clean = {id(draw._clean): draw._clean[image] for draw in draws}
    pictures = torch.from_numpy(np.stack(list(clean.values()))).to(device)
    if len(clean) > 1:
        place = {key: i for i, key in enumerate(clean)}
        pictures = pictures[[place[id(draw._clean)] for draw in draws]]
    return device_noise.noisy(pictures, sigma, [d._stream for d in draws], [d.index for d in draws], image)
