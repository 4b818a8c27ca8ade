"""What a request's images may cost."""

from __future__ import annotations

from dataclasses import dataclass

from guardrail.errors import ImageError, ImageTooLargeError, TooManyImagesError


@dataclass(frozen=True)
class ImageLimits:
    """What a request's images may cost, checked before anything is decoded.

    Raises:
        ValueError: a limit is below 1.
    """

    max_bytes: int = 20 * 2**20
    """Size of one file. 20 MiB is the most that large chat services take."""
    max_pixels: int = 40_000_000
    """Width × height of one picture. 40 million pixels are 120 MB as RGB, and more than ten times what vision-language
    models look at. Until they are resized they take at most 500 MB, of WebP 800, of a JPEG in CMYK and scans 550."""
    max_side: int = 65_535
    """Width or height in pixels. 65 535, the most that JPEG and GIF can say, bounds the resize."""
    max_count: int = 8
    """Images in one request."""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value < 1:
                raise ValueError(f"{name} must be at least 1, not {value}")

    def check_size(self, width: int, height: int) -> None:
        """Raise an `ImageError` for an empty picture, an `ImageTooLargeError` for one that is too large."""
        if min(width, height) < 1:
            raise ImageError(f"an image of {width}x{height} pixels is empty; send at least one pixel")
        if width * height > self.max_pixels or max(width, height) > self.max_side:
            raise ImageTooLargeError(
                f"an image of {width}x{height} pixels is above the limit of {self.max_pixels} pixels and "
                f"{self.max_side} a side; send a smaller copy"
            )

    def check_count(self, count: int) -> None:
        """Raise a `TooManyImagesError` if `count` images are too many for one request."""
        if count > self.max_count:
            raise TooManyImagesError(f"a request may carry at most {self.max_count} images; send fewer")

    def check_bytes(self, count: int) -> None:
        """Raise an `ImageTooLargeError` if `count` bytes, at least, are too many for one image."""
        if count > self.max_bytes:
            raise ImageTooLargeError(
                f"an image file of {count} bytes or more is above the limit of {self.max_bytes} bytes; "
                "send a smaller or more compressed copy"
            )


DEFAULT_LIMITS = ImageLimits()
