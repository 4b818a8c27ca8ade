"""LLaVA-NeXT and its like at one tile: the overview alone, without a second, equal picture beside it.

These models see an overview and tiles of a grid. A picture of one tile's size would be shown to them twice, as
overview and as the only tile. The model itself knows pictures without a grid (one patch, then its newline); its
processor cannot make them, so their tokens are counted by the model and their pixels normalised here.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from guardrail.models.local.preprocessing import (
    Nested,
    NormalisedTiles,
    ProcessorPictures,
    one_tile_options,
    rough_picture,
)

if TYPE_CHECKING:
    import torch

logger = logging.getLogger(__name__)

_NO_GRID = [[0, 0]]


class OverviewTiles(NormalisedTiles):
    """One normalised tile per picture, and its size, which these models want too."""

    name = "overview tensors"
    image_tokens: int = 0
    """Tokens that a picture takes in the text."""

    def __call__(self, draws: Nested) -> dict[str, torch.Tensor]:
        """Return `pixel_values` `[pictures, 3, height, width]` and `image_sizes` `[pictures, 2]`."""
        import torch

        inputs = super().__call__(draws)
        pixels = inputs["pixel_values"]
        sizes = torch.tensor([pixels.shape[-2:]] * len(pixels), device=pixels.device)
        return {**inputs, "image_sizes": sizes}


def overview_path(
    model: Any,  # noqa: ANN401
    image_processor: Any,  # noqa: ANN401
    resolution: tuple[int, int],
    device: torch.device,
) -> OverviewTiles | None:
    """Return the way to show a model overviews alone, having tried it; None where it does not work.

    Where it works, the model's configuration is left without a grid.

    Args:
        model: any model.
        image_processor: the model's.
        resolution: height and width of the noisy pictures.
        device: where the model runs.
    """
    import torch

    grid = getattr(model.config, "image_grid_pinpoints", None)
    if not grid or not getattr(image_processor, "do_normalize", False):
        return None
    path = OverviewTiles(image_processor.image_mean, image_processor.image_std, device)
    sample = [[rough_picture(resolution)]]
    try:
        inputs = path(sample)
        options = one_tile_options(image_processor, resolution)
        theirs = ProcessorPictures(image_processor, options, inputs, device)(sample)
        if not torch.allclose(inputs["pixel_values"], theirs["pixel_values"][0, :1], atol=1e-4):
            return None
        model.config.image_grid_pinpoints = _NO_GRID
        pixels = inputs["pixel_values"].to(model.dtype)
        with torch.inference_mode():
            features = model.get_image_features(pixel_values=pixels, image_sizes=inputs["image_sizes"])
        path.image_tokens = len(getattr(features, "pooler_output", features)[0])
    except Exception as error:  # noqa: BLE001  # it is not this way, then
        logger.debug("%s does not fit: %s", path.name, error)
        model.config.image_grid_pinpoints = grid
        return None
    return path
