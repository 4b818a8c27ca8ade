"""What the guard asks of a store of certificates."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from guardrail.certificate import CERTIFICATE_VERSION, Certificate
from guardrail.images import InputImage


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
    def of(cls, images: tuple[InputImage, ...], context: str) -> CertificateKey:
        """Make the key of a request."""
        hashes = [image.sha256 for image in images]
        joined = hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest()
        return cls(joined, context)

    def __str__(self) -> str:
        return f"guardrail:v{CERTIFICATE_VERSION}:certificate:{self.images}:{self.context}"


@runtime_checkable
class CertificateStore(Protocol):
    """Keeps certificates for a limited time. Safe to use from many threads."""

    def get(self, key: CertificateKey) -> Certificate | None:
        """Return the certificate, or None for a miss; an entry that cannot be read is a miss.

        Raises:
            StoreError: the store cannot be reached.
        """

    def put(self, key: CertificateKey, certificate: Certificate) -> None:
        """Keep a certificate for the store's time to live.

        Raises:
            StoreError: the store cannot be reached.
        """

    def close(self) -> None:
        """Give back connections."""
