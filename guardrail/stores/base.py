"""What the guard asks of a store of certificates."""

from __future__ import annotations

import hashlib
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from guardrail.certify.certificate import CERTIFICATE_VERSION, Certificate
from guardrail.images.pictures import InputImage
from guardrail.stores.signing import Cause, RejectedEntryError, Signer


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
    def of(cls, images: Sequence[InputImage | str], context: str) -> CertificateKey:
        """Make the key of a request, from its images or their hashes."""
        return cls(joint_hash([image if isinstance(image, str) else image.sha256 for image in images]), context)

    def __str__(self) -> str:
        return f"{self.prefix(self.images)}{self.context}"

    @staticmethod
    def prefix(images: str) -> str:
        """Return what the names of all certificates of these images begin with."""
        return f"guardrail:v{CERTIFICATE_VERSION}:certificate:{images}:"


def joint_hash(hashes: Sequence[str]) -> str:
    """Return the hash that stands for a request's images: the image's own, or that of several in order."""
    return hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest()


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


@dataclass
class StoreStats:
    """What a store has answered so far. Safe to count from many threads."""

    hits: int = 0
    misses: int = 0
    """Lookups that found nothing, rejected entries among them."""
    rejected: Counter[str] = field(default_factory=Counter)
    """Entries that were there and did not verify, by cause."""
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def hit(self) -> None:
        """Count a hit."""
        with self._lock:
            self.hits += 1

    def miss(self, cause: Cause | None = None) -> None:
        """Count a miss, and why an entry was rejected where there was one."""
        with self._lock:
            self.misses += 1
            if cause is not None:
                self.rejected[cause] += 1

    def reject(self, cause: Cause) -> None:
        """Take back a hit that turned out to be none."""
        with self._lock:
            self.hits -= 1
            self.misses += 1
            self.rejected[cause] += 1


def seal_certificate(signer: Signer, name: str, certificate: Certificate, ttl: float) -> bytes:
    """Return the entry of a certificate.

    Raises:
        RejectedEntryError: it is too large to be kept.
    """
    return signer.seal(name, certificate.to_json().encode(), ttl)


def open_certificate(signer: Signer, name: str, entry: bytes | None, stats: StoreStats) -> Certificate | None:
    """Return the certificate in an entry, counted; None for a miss, which every entry is that does not verify."""
    if entry is None:
        stats.miss()
        return None
    try:
        certificate = Certificate.from_json(signer.open(name, entry))
    except RejectedEntryError as rejected:
        stats.miss(rejected.cause)
        return None
    except ValueError:  # sealed by a version with another schema
        stats.miss("content")
        return None
    stats.hit()
    return certificate
