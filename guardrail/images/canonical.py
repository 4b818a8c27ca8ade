"""From a decoder's picture to canonical pixels: 8-bit RGB, opaque, upright."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from guardrail.errors import ImageError
from guardrail.images.files import Canvas

_OPAQUE_MODES = {"1", "L", "P", "RGB", "RGBX", "CMYK", "YCbCr", "HSV"}
_BAND = 2**20  # pixels that are converted at a time: what stands between decoder and result takes little memory
_AS_STORED: dict[int, Callable[[NDArray[np.uint8]], NDArray[np.uint8]]] = {  # EXIF orientation → view of upright pixels
    1: lambda upright: upright,
    2: lambda upright: upright[:, ::-1],
    3: lambda upright: upright[::-1, ::-1],
    4: lambda upright: upright[::-1],
    5: lambda upright: upright.transpose(1, 0, 2),
    6: lambda upright: upright[:, ::-1].transpose(1, 0, 2),
    7: lambda upright: upright[::-1, ::-1].transpose(1, 0, 2),
    8: lambda upright: upright[::-1].transpose(1, 0, 2),
}


def canonical(image: Image.Image, orientation: int = 1, canvas: Canvas | None = None) -> NDArray[np.uint8]:
    """Return a picture's pixels, an array [H, W, 3] that shares no memory with it.

    Args:
        image: loaded; it is not changed.
        orientation: EXIF's, 1 … 8.
        canvas: on which the picture lies, white elsewhere; None: it fills its own.

    Raises:
        ImageError: the mode has no fixed range, or is not known here.
    """
    width, height, left, top = canvas or (*image.size, 0, 0)
    upright = np.empty((width, height, 3) if orientation > 4 else (height, width, 3), np.uint8)
    stored = _AS_STORED[orientation](upright)
    if (width, height) != image.size:
        upright.fill(255)
        stored = stored[top : top + image.height, left : left + image.width]
    empty = _has_empty_alpha(image)
    rows = max(1, _BAND // image.width)
    for first in range(0, image.height, rows):
        band = image.crop((0, first, image.width, min(first + rows, image.height)))
        stored[first : first + rows] = np.asarray(band.convert("RGB") if empty else _flat(band))
    return upright


def _has_empty_alpha(image: Image.Image) -> bool:
    """Whether a bitmap has room for alpha and nothing in it: many writers leave it so, and browsers show it opaque."""
    if image.format not in {"BMP", "DIB"} or image.mode != "RGBA":
        return False
    return image.getchannel("A").getbbox() is None


def _flat(image: Image.Image) -> Image.Image:
    """Return a picture as opaque RGB."""
    if image.mode.startswith("I;16"):
        samples = np.asarray(image)
        grey = (samples >> 8).astype(np.uint8)
        grey[samples == image.info.get("transparency", -1)] = 255
        return Image.fromarray(grey).convert("RGB")
    if image.has_transparency_data:
        layer = image.convert("LA").convert("RGBA") if image.mode == "La" else image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), layer).convert("RGB")
    if image.mode in _OPAQUE_MODES:
        return image if image.mode == "RGB" else image.convert("RGB")
    raise ImageError(f"mode {image.mode!r} has no fixed range; scale it to 0 … 255 and convert it to 'RGB'")
