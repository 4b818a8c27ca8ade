"""What a store is asked: for certificates, and for what it may keep or share beside them.

A store must be a `CertificateStore`. Whatever else it may be is a protocol of its own, and who needs it asks for that
protocol, never for a class: `Aliases`, `CountingStore`, `SignedStore`, `SharedLocks`, and `SharedStore` with its
`SharedPoints` and `SharedBuckets`.
"""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from guardrail.certify.certificate import Certificate
from guardrail.request import CertificateKey
from guardrail.stores.signing import Cause, RejectedEntryError, Signer

CERTIFICATE_TTL = 86_400.0
"""Seconds that a certificate is kept, unless somebody says otherwise: a day."""
REDIS_TIMEOUT = 0.5
"""Seconds to wait for Redis, unless somebody says otherwise."""


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


@runtime_checkable
class Aliases(Protocol):
    """A store that keeps, beside certificates, which image a file is."""

    def get_alias(self, file: str) -> str | None:
        """Return the SHA-256 (hex) of the image's canonical pixels; None if the file is unknown.

        Raises:
            StoreError: the store cannot be reached.
        """

    def put_alias(self, file: str, image: str) -> None:
        """Keep it for the store's time to live.

        Raises:
            StoreError: the store cannot be reached.
        """


@runtime_checkable
class SignedStore(Protocol):
    """A store that authenticates what it keeps."""

    def sign_by(self, signer: Signer) -> None:
        """Use the guard's signer, unless the store was given one of its own."""


class Lock(Protocol):
    """A lock that is held."""

    def release(self) -> None:
        """Give it back and wake whoever waits; never raises."""


@runtime_checkable
class SharedLocks(Protocol):
    """A store whose locks hold across replicas."""

    def acquire(self, key: CertificateKey, seconds: float) -> Lock | None:
        """Wait for the lock of a key; None if another owner has just released it, or time is up.

        Raises:
            StoreError: the store cannot be reached.
        """


@dataclass(frozen=True, eq=False)
class StoredPoint:
    """A request's images in certification space as they are kept: 16 bits a value, and how far that is from the truth.

    Attributes:
        key: of the request's certificate.
        levels: [N] of uint16, multiples of 1/65535; None: not here, but where it can be fetched.
        sketch: [K] of float64, of the point itself.
        residual: upper bound on the L2 norm of what rounding to 16 bits changed.
        radius: of the certificate.
    """

    key: CertificateKey
    levels: NDArray[np.uint16] | None
    sketch: NDArray[np.float64]
    residual: float
    radius: float


class SharedPoints(Protocol):
    """Where replicas share the points of near hits; whatever fails there is missing meanwhile."""

    def publish(self, bucket: str, stored: StoredPoint) -> None:
        """Let others know a point."""

    def news(self, bucket: str) -> list[StoredPoint]:
        """Return the points that have come to a bucket since it was last asked, without their levels."""

    def levels(self, bucket: str, key: CertificateKey) -> NDArray[np.uint16] | None:
        """Return the levels of a point, None if they are gone.

        Raises:
            StoreError: whether they are cannot be told now.
        """


class SharedBuckets(Protocol):
    """Where replicas share the buckets that clients pay draws from."""

    def take(self, name: str, draws: int, per_minute: int) -> bool:
        """Take draws out of a bucket, or put them back where they are negative; False if it does not hold as many.

        Args:
            name: whose bucket; a new one is full.
            draws: to take.
            per_minute: what the bucket holds, and what flows in, evenly, each minute.

        Raises:
            StoreError: the buckets cannot be reached.
        """


@runtime_checkable
class SharedStore(Protocol):
    """A store that all replicas share, and what else they may share there."""

    def points(self) -> SharedPoints | None:
        """Return where points of near hits are shared, for as long as certificates are kept; None: nowhere."""

    def buckets(self) -> SharedBuckets | None:
        """Return where clients' budgets are shared; None: nowhere."""

    def ping(self) -> None:
        """Reach it once.

        Raises:
            StoreError: the store cannot be reached.
        """


@dataclass
class StoreStats:
    """What came of the lookups so far. Safe to count from many threads.

    A store counts the misses that it knows of. The guard counts the rest: only it can tell whether a certificate is
    about its request.
    """

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


@runtime_checkable
class CountingStore(Protocol):
    """A store whose lookups are counted: misses by itself, hits and certificates of other requests by the guard."""

    @property
    def stats(self) -> StoreStats:
        """The counts so far."""


def seal_certificate(signer: Signer, name: str, certificate: Certificate, ttl: float) -> bytes:
    """Return the entry of a certificate.

    Raises:
        RejectedEntryError: it is too large to be kept.
    """
    return signer.seal(name, certificate.to_json().encode(), ttl)


def open_certificate(signer: Signer, name: str, entry: bytes | None, stats: StoreStats) -> Certificate | None:
    """Return the certificate in an entry; None for a miss, counted, which every entry is that does not verify."""
    if entry is None:
        stats.miss()
        return None
    try:
        return Certificate.from_json(signer.open(name, entry))
    except RejectedEntryError as rejected:
        stats.miss(rejected.cause)
    except ValueError:  # sealed by a version with another schema
        stats.miss("content")
    return None
