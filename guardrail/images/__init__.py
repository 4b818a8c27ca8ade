"""Images: read, limited, brought to canonical pixels, and hashed."""

from guardrail.images.limits import ImageLimits
from guardrail.images.pictures import ImageSource, InputImage

__all__ = ["ImageLimits", "ImageSource", "InputImage"]
