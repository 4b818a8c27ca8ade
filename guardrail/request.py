"""One question about pictures, as a value: made once, and taken by noise, stores, near hits and the guard."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from guardrail.certify.certificate import CERTIFICATE_VERSION
from guardrail.certify.resize import resize, resize_norm
from guardrail.digests import digest_of
from guardrail.errors import OtherPictureError
from guardrail.images.limits import ImageLimits
from guardrail.images.once import once
from guardrail.images.pictures import InputImage, Taken, load_images
from guardrail.prompts import Prompt

Source = Literal["computed", "hit", "near"]
"""Where a request's certificate comes from."""


@dataclass(frozen=True, slots=True)
class CertificateKey:
    """Image hash first, then a digest of everything else that the verdict depends on.

    A certificate is never served for another prompt, model, oracle or smoothing, and all certificates of one image
    stand together.
    """

    images: str
    """SHA-256 (hex) of the image's canonical pixels; for several images, of their hashes in order."""
    context: str
    """SHA-256 (hex) of format version, prompt, model, oracle and smoothing."""

    @classmethod
    def of(cls, hashes: Sequence[str], context: str) -> CertificateKey:
        """Make the key of images, from their hashes in order."""
        return cls(joint_hash(hashes), context)

    def __str__(self) -> str:
        return f"{self.prefix(self.images)}{self.context}"

    @staticmethod
    def prefix(images: str) -> str:
        """Return what the names of all certificates of these images begin with."""
        return f"guardrail:v{CERTIFICATE_VERSION}:certificate:{images}:"


@dataclass(frozen=True, eq=False)
class Request:
    """A question (x, t): the pictures, the text about them, and how it is asked. Made by `SmoothedClassifier.request`.

    What takes time is done when it is first needed, and once: a stored certificate is found by hashes that may be
    known without decoding.
    """

    sources: Sequence[Taken]
    """The pictures as they were taken from the caller, who can change them no more."""
    limits: ImageLimits
    prompt: Prompt
    context: str
    """SHA-256 (hex) of all that the verdict depends on beside the pictures."""
    near_context: str
    """The same for all prompts in which the same can be seen: what is refused for one is refused for the others."""
    target_radius: float | None
    """Radius that suffices; None: the largest that the draws give."""
    resolution: tuple[int, int] | None
    """Height and width at which noise is added; None: each picture's own, its longest side at most `max_side`."""
    max_side: int
    known_hashes: tuple[str, ...] | None = None
    """The pictures' hashes, where they are known from their files."""

    @once
    def pictures(self) -> tuple[InputImage, ...]:
        """The pictures, decoded.

        Raises:
            ImageError: one cannot be read.
            OtherPictureError: one is another picture than its file was known for.
        """
        pictures = load_images(self.sources, self.limits)
        if self.known_hashes not in {None, tuple(picture.sha256 for picture in pictures)}:
            raise OtherPictureError("a file was decoded to another picture than before: send it as PNG", pictures)
        return pictures

    @once
    def hashes(self) -> tuple[str, ...]:
        """SHA-256 (hex) of each picture's canonical pixels and shape."""
        return self.known_hashes or tuple(picture.sha256 for picture in self.pictures)

    @once
    def key(self) -> CertificateKey:
        """Under which its certificate is stored."""
        return CertificateKey.of(self.hashes, self.context)

    @once
    def sizes(self) -> tuple[tuple[int, int], ...]:
        """Height and width of each picture where the noise is added, from its own height and width alone."""
        return tuple(self.resolution or _bounded(p.height, p.width, self.max_side) for p in self.pictures)

    @once
    def resized(self) -> tuple[NDArray[np.float64], ...]:
        """The pictures where the noise is added, each [h, w, 3], neither rounded nor clipped."""
        return tuple(resize(picture.pixels, size) for picture, size in zip(self.pictures, self.sizes, strict=True))

    @once
    def norm(self) -> float:
        """Operator norm of that resize, of all pictures jointly: it is block-diagonal, so the largest of its blocks."""
        pairs = zip(self.pictures, self.sizes, strict=True)
        return max(resize_norm((picture.height, picture.width), size) for picture, size in pairs)

    @once
    def digest(self) -> bytes:
        """SHA-256 of the whole question, every bit of the resized pixels included: what the noise is keyed by."""
        pixels = (part for x in self.resized for part in (repr(x.shape).encode(), x.tobytes()))
        return digest_of((self.context.encode(), *pixels))


def joint_hash(hashes: Sequence[str]) -> str:
    """Return the hash that stands for a request's images: the image's own, or that of several in order."""
    return hashes[0] if len(hashes) == 1 else digest_of(one.encode() for one in hashes).hex()


def _bounded(height: int, width: int, max_side: int) -> tuple[int, int]:
    scale = min(1.0, max_side / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))
