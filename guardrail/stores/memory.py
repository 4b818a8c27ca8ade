"""Certificates in this process."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict

from guardrail.certify.certificate import Certificate
from guardrail.errors import ConfigurationError
from guardrail.request import CertificateKey
from guardrail.stores.base import CERTIFICATE_TTL, StoreStats


class MemoryStore:
    """A bounded store with time to live; the entry that was used longest ago leaves first.

    Args:
        capacity: largest number of certificates.
        ttl: seconds that a certificate is kept.
    """

    def __init__(self, capacity: int = 10_000, ttl: float = CERTIFICATE_TTL) -> None:
        if capacity < 1 or not ttl > 0:
            raise ConfigurationError(f"capacity and ttl must be positive, got {capacity} and {ttl}")
        self.capacity = capacity
        self.ttl = ttl
        self.stats = StoreStats()
        self._entries: OrderedDict[CertificateKey, tuple[float, Certificate]] = OrderedDict()
        self._files: OrderedDict[str, tuple[float, str]] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._entries)

    def __repr__(self) -> str:
        return f"MemoryStore(capacity={self.capacity}, ttl={self.ttl})"

    def get(self, key: CertificateKey) -> Certificate | None:
        """Return the certificate, or None for a miss."""
        with self._lock:
            expiry, certificate = self._entries.get(key, (0.0, None))
            if certificate is not None and time.monotonic() >= expiry:
                del self._entries[key]
                certificate = None
            if certificate is None:
                self.stats.miss()
            else:
                self._entries.move_to_end(key)
            return certificate

    def put(self, key: CertificateKey, certificate: Certificate) -> None:
        """Keep a certificate."""
        with self._lock:
            self._entries[key] = (time.monotonic() + self.ttl, certificate)
            self._entries.move_to_end(key)
            while len(self._entries) > self.capacity:
                self._entries.popitem(last=False)

    def get_alias(self, file: str) -> str | None:
        """Return the hash of the image that a file is; None if it is unknown."""
        with self._lock:
            expiry, image = self._files.get(file, (0.0, None))
            return image if time.monotonic() < expiry else None

    def put_alias(self, file: str, image: str) -> None:
        """Keep the hash of the image that a file is."""
        with self._lock:
            self._files.pop(file, None)
            self._files[file] = (time.monotonic() + self.ttl, image)
            while len(self._files) > self.capacity:
                self._files.popitem(last=False)

    def of_images(self, images: str) -> list[Certificate]:
        """Return all certificates of an image (`CertificateKey.images`), whatever their context."""
        with self._lock:
            now = time.monotonic()
            return [c for key, (expiry, c) in self._entries.items() if key.images == images and now < expiry]

    def close(self) -> None:
        """Forget everything."""
        with self._lock:
            self._entries.clear()
            self._files.clear()
