"""What the guard asks of a store of certificates."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from guardrail.certify.certificate import Certificate
from guardrail.request import CertificateKey
from guardrail.stores.signing import Cause, RejectedEntryError, Signer


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
