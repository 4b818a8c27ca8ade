"""Images: read, limited, brought to canonical pixels, and hashed."""

from guardrail.images.pictures import ImageLimits, ImageSource, InputImage

__all__ = ["ImageLimits", "ImageSource", "InputImage"]
