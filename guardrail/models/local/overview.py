"""LLaVA-NeXT and similar models at one tile: the overview alone, without an equal tile beside it.

These models see an overview and tiles of a grid. A picture of one tile's size would be encoded twice, as overview and
as the only tile. The models accept pictures without a grid (one patch, then its newline), but their processors cannot
make them: so here the model counts their tokens, and this module normalises their pixels.
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
    """One normalised tile per picture, and its size, which these models also take."""

    name = "overview tensors"
    image_tokens: int = 0
    """Number of tokens that a picture takes in the text."""

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
    """Try to show a model overviews alone; return the path if that works, else None.

    Where it works, the grid is removed from the model's configuration.

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
        expected = ProcessorPictures(image_processor, options, inputs, device)(sample)
        if not torch.allclose(inputs["pixel_values"], expected["pixel_values"][0, :1], atol=1e-4):
            return None
        model.config.image_grid_pinpoints = _NO_GRID
        pixels = inputs["pixel_values"].to(model.dtype)
        with torch.inference_mode():
            features = model.get_image_features(pixel_values=pixels, image_sizes=inputs["image_sizes"])
        path.image_tokens = len(getattr(features, "pooler_output", features)[0])
    except Exception as error:  # noqa: BLE001  # any failure means that this path does not fit
        logger.debug("%s does not fit: %s", path.name, error)
        model.config.image_grid_pinpoints = grid
        return None
    return path
