"""From noisy pictures to the tensors that a model takes.

All of this comes after the noise and is part of the model: clipping, rounding, resizing and normalising cost no
soundness. Which of three ways fits a model is tried on a picture at start, not looked up in a list of models:

1. `processor tensors`: the model's image processor takes the noisy floats on the device (it needs torchvision).
2. `tensors`: one tile that is only rescaled and normalised (CLIP, SigLIP and their like), without torchvision.
3. `pictures`: the model's image processor takes 8-bit pictures: values are clipped to [0, 1] and rounded.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from guardrail.errors import ModelError
from guardrail.models.local.loading import torchvision_works

if TYPE_CHECKING:
    import torch

logger = logging.getLogger(__name__)

FREE_SIZE = 448
"""Height and width for models of any size: a common multiple of the usual merged patches (28 and 32)."""

Noisy: TypeAlias = "NDArray[np.float32] | torch.Tensor"
"""A noisy picture: [height, width, 3], float32, not clipped; a numpy array, or a tensor on any device."""
Nested: TypeAlias = Sequence[Sequence[Noisy]]
"""The noisy pictures of each draw of a batch."""


class PixelPath(Protocol):
    """A way from noisy pictures to the image inputs of a model."""

    @property
    def name(self) -> str:
        """Name of the way, and part of the model's name: the ways differ in the last bits, or more."""

    def __call__(self, draws: Nested) -> dict[str, torch.Tensor]:
        """Return the image inputs of a batch, on the model's device, floating ones in float32."""


class NormalisedTiles:
    """One tile per picture, normalised on the device: `(v − mean)/std` per channel, `[pictures, 3, height, width]`."""

    name = "tensors"

    def __init__(self, mean: Sequence[float], std: Sequence[float], device: torch.device) -> None:
        import torch

        self._mean, self._std = (torch.tensor(v, device=device).view(1, 3, 1, 1) for v in (mean, std))

    def __call__(self, draws: Nested) -> dict[str, torch.Tensor]:
        """Return `pixel_values`."""
        pixels = stacked(draws, self._mean.device)
        return {"pixel_values": (pixels - self._mean) / self._std}


class ProcessorTensors:
    """The model's tensor image processor, on the device.

    It gets floats on the scale of 8-bit values, so that all its settings, the padding colour included, mean the same
    as for a picture; nothing is clipped or rounded before.
    """

    name = "processor tensors"

    def __init__(
        self,
        image_processor: Any,  # noqa: ANN401
        options: Mapping[str, Any],
        accepted: Collection[str],
        device: torch.device,
    ) -> None:
        self._processor = image_processor
        self._options = options
        self._accepted = accepted
        self._device = device
        self._scale = 1.0 / image_processor.rescale_factor if image_processor.do_rescale else 1.0

    def __call__(self, draws: Nested) -> dict[str, torch.Tensor]:
        """Return whatever this processor makes."""
        pictures = iter(stacked(draws, self._device) * self._scale)
        batch = self._processor(
            images=[[next(pictures) for _ in draw] for draw in draws],
            input_data_format="channels_first",
            return_tensors="pt",
            **self._options,
        )
        return _on_device(batch, self._accepted, self._device)


class ProcessorPictures:
    """The model's image processor on 8-bit pictures: correct for every model, and slower."""

    name = "pictures"

    def __init__(
        self,
        image_processor: Any,  # noqa: ANN401
        options: Mapping[str, Any],
        accepted: Collection[str],
        device: torch.device,
    ) -> None:
        self._processor = image_processor
        self._options = options
        self._accepted = accepted
        self._device = device

    def __call__(self, draws: Nested) -> dict[str, torch.Tensor]:
        """Return whatever this processor makes."""
        pictures = [[picture_of(noisy) for noisy in draw] for draw in draws]
        batch = self._processor(images=pictures, return_tensors="pt", **self._options)
        return _on_device(batch, self._accepted, self._device)


def pixel_path(
    image_processor: Any,  # noqa: ANN401
    options: Mapping[str, Any],
    accepted: Collection[str],
    resolution: tuple[int, int],
    device: torch.device,
) -> PixelPath:
    """Return the best way that, tried on a picture, does the same as the model's processor.

    Args:
        image_processor: the model's.
        options: its arguments, such as those of `one_tile_options`.
        accepted: names of the inputs that the model takes; processors make others too.
        resolution: height and width of the noisy pictures.
        device: where the model runs.

    Raises:
        ModelError: the processor fails on a plain picture.
    """
    pictures = ProcessorPictures(image_processor, options, accepted, device)
    try:
        pictures([[rough_picture(resolution)]])
    except Exception as error:  # a processor may be a program that came with the model, and raise anything
        raise ModelError(f"the model's image processor failed on a plain picture: {error}") from error

    def fits(path: PixelPath, sample: Noisy, tolerance: float) -> bool:
        try:
            return _alike(path([[sample]]), pictures([[sample]]), tolerance)
        except Exception as error:  # noqa: BLE001  # any failure means that this path does not fit
            logger.debug("%s does not fit: %s", path.name, error)
            return False

    if torchvision_works() and getattr(image_processor, "backend", None) == "torchvision":
        path = ProcessorTensors(image_processor, options, accepted, device)
        if fits(path, _smooth(resolution), 0.05):  # on pictures, not on floats, it rounds to 8 bits
            return path
    normalises = getattr(image_processor, "do_normalize", False)
    mean = list(image_processor.image_mean) if normalises else [0.0] * 3
    std = list(image_processor.image_std) if normalises else [1.0] * 3
    tiles = NormalisedTiles(mean, std, device)
    if fits(tiles, rough_picture(resolution), 1e-4):
        return tiles
    logger.warning("no tensor preprocessing for this model: noisy pictures are clipped and rounded to 8 bits, slower")
    return pictures


def one_tile_options(image_processor: Any, resolution: tuple[int, int]) -> dict[str, Any]:  # noqa: ANN401
    """Return the options with which an image processor makes one tile of a picture.

    Upscaling a noisy picture and cutting it into tiles multiplies the cost by their number and shows nothing more.
    """
    switches = ("do_image_splitting", "crop_to_patches", "do_pan_and_scan")
    options: dict[str, Any] = {switch: False for switch in switches if hasattr(image_processor, switch)}
    if "do_image_splitting" in options and getattr(image_processor, "max_image_size", None):
        options["size"] = dict(image_processor.max_image_size)  # or it is first enlarged to the size of all tiles
    if getattr(image_processor, "image_grid_pinpoints", None):
        options["image_grid_pinpoints"] = [list(resolution)]
    return options


def own_resolution(image_processor: Any, config: Any) -> tuple[int, int]:  # noqa: ANN401
    """Return height and width of one tile of the model, `FREE_SIZE` where it takes any size.

    Raises:
        ModelError: neither processor nor configuration states it.
    """

    def candidates() -> Iterator[Any]:
        if getattr(image_processor, "do_center_crop", False):
            yield getattr(image_processor, "crop_size", None)
        yield getattr(image_processor, "size", None)
        yield getattr(getattr(config, "vision_config", None), "image_size", None)

    for size in candidates():
        match size if isinstance(size, (int, list, tuple)) else dict(size or {}):
            case {"height": int(height), "width": int(width)}:
                return height, width
            case int(side):
                return side, side
            case (int(height), int(width)):
                return height, width
    if getattr(image_processor, "merge_size", None) and getattr(image_processor, "patch_size", None):
        step = image_processor.merge_size * image_processor.patch_size
        side = max(1, FREE_SIZE // step) * step
        return side, side
    raise ModelError("the model does not tell its resolution: pass resolution=(height, width)")


def stacked(draws: Nested, device: torch.device) -> torch.Tensor:
    """Return all pictures of all draws, in order: [pictures, 3, height, width], float32, on the device."""
    import torch

    pictures = [picture for draw in draws for picture in draw]
    return torch.stack([torch.as_tensor(picture, device=device) for picture in pictures]).permute(0, 3, 1, 2)


def picture_of(noisy: Noisy) -> Any:  # noqa: ANN401
    """Return noisy floats as an 8-bit picture, clipped, for processors that take nothing else."""
    from PIL import Image

    values = noisy if isinstance(noisy, np.ndarray) else noisy.cpu().numpy()
    return Image.fromarray((np.clip(values, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8), "RGB")


def _on_device(batch: Mapping[str, Any], accepted: Collection[str], device: torch.device) -> dict[str, torch.Tensor]:
    """Return the inputs that the model takes from a processor's output, on the device."""
    return {name: value.to(device) for name, value in batch.items() if name in accepted}


def rough_picture(resolution: tuple[int, int]) -> NDArray[np.float32]:
    """Return a picture of random bytes: any processing other than rescaling each pixel changes it."""
    bytes_ = np.random.Generator(np.random.PCG64(0)).integers(0, 256, (*resolution, 3), dtype=np.uint8)
    return (bytes_ / 255.0).astype(np.float32)


def _smooth(resolution: tuple[int, int]) -> NDArray[np.float32]:
    """Return a picture of waves, far enough from black and white that no resize overshoots."""
    height, width = resolution
    y, x = np.linspace(0.0, 1.0, height)[:, None, None], np.linspace(0.0, 1.0, width)[None, :, None]
    waves = 0.5 + 0.3 * np.sin(2.0 * np.pi * (x + np.array([1.0, 2.0, 3.0]) * y))
    picture: NDArray[np.float64] = np.rint(waves * 255.0) / 255.0
    return picture.astype(np.float32)


def _alike(ours: Mapping[str, torch.Tensor], theirs: Mapping[str, torch.Tensor], tolerance: float) -> bool:
    """Whether two batches have the same tensors, up to an absolute tolerance."""
    import torch

    return ours.keys() == theirs.keys() and all(
        ours[name].shape == value.shape and torch.allclose(ours[name].float(), value.float(), atol=tolerance, rtol=0.0)
        for name, value in theirs.items()
    )
