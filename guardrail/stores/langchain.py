"""LangChain's byte stores: any of them can hold certificates, and Redis as the guard uses it can serve as one."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from langchain_core.stores import BaseStore

from guardrail.certify.certificate import Certificate
from guardrail.errors import ConfigurationError, StoreError
from guardrail.request import CertificateKey
from guardrail.stores.base import CERTIFICATE_TTL, REDIS_TIMEOUT, StoreStats, open_certificate, seal_certificate
from guardrail.stores.redis.connection import RedisConnection
from guardrail.stores.signing import MAX_ENTRY, RejectedEntryError, Signed, Signer

_NAMES = "guardrail:v1:bytes:"


class LangChainStore(Signed):
    """Certificates in any LangChain byte store. Time to live is part of the signed entry; there is no lock.

    Nothing removes entries that have expired: they are misses until they are overwritten.

    Args:
        store: where they are kept.
        signer: seals the entries; None: one of the guard's noise key, or a generated one that no other process shares.
        ttl: seconds that a certificate is kept.
    """

    def __init__(
        self, store: BaseStore[str, bytes], *, signer: Signer | None = None, ttl: float = CERTIFICATE_TTL
    ) -> None:
        if not isinstance(store, BaseStore):
            raise ConfigurationError(f"store must be a LangChain BaseStore[str, bytes], got {type(store).__name__}")
        if not ttl > 0:
            raise ConfigurationError(f"ttl must be positive, got {ttl}")
        self.store = store
        self.ttl = ttl
        self.stats = StoreStats()
        super().__init__(signer)

    def __repr__(self) -> str:
        return f"LangChainStore({type(self.store).__name__})"

    def get(self, key: CertificateKey) -> Certificate | None:
        """Return the certificate, or None for a miss; an entry that does not verify is a miss.

        Raises:
            StoreError: the store failed.
        """
        name = _path(key)
        try:
            (entry,) = self.store.mget([name])
        except Exception as error:
            raise StoreError(f"{self!r} cannot be read: {type(error).__name__}") from error
        if entry is not None and not isinstance(entry, bytes):
            self.stats.miss("malformed")
            return None
        return open_certificate(self.signer, name, entry, self.stats)

    def put(self, key: CertificateKey, certificate: Certificate) -> None:
        """Keep a certificate.

        Raises:
            StoreError: the store failed, or the certificate is too large.
        """
        name = _path(key)
        try:
            self.store.mset([(name, seal_certificate(self.signer, name, certificate, self.ttl))])
        except Exception as error:
            raise StoreError(f"{self!r} cannot be written: {type(error).__name__}") from error

    def of_images(self, images: str) -> list[Certificate]:
        """Return all certificates of an image (`CertificateKey.images`), whatever their context."""
        names = self.store.yield_keys(prefix=_path(CertificateKey(images, "")))
        found = (self.get(CertificateKey(images, name.rpartition("/")[2])) for name in sorted(names))
        return [certificate for certificate in found if certificate is not None]

    def close(self) -> None:
        """Leave the store as it is: it belongs to whoever made it."""


def _path(key: CertificateKey) -> str:
    """Return the key's name, of letters that are fit for file names, which some stores make of it."""
    return str(key).replace(":", "/")


class RedisByteStore(BaseStore[str, bytes]):
    """Bytes in Redis as a LangChain store: signed, bounded, with time to live; what does not verify is missing.

    Args:
        url: as `RedisConnection` reads it.
        signer: seals the values.
        ttl: seconds that a value is kept.
        limit: largest value, in bytes.
        timeout: seconds to wait for Redis.
    """

    def __init__(
        self,
        url: str,
        *,
        signer: Signer,
        ttl: float = CERTIFICATE_TTL,
        limit: int = MAX_ENTRY,
        timeout: float = REDIS_TIMEOUT,
    ) -> None:
        self.stats = StoreStats()
        self._connection = RedisConnection(url, timeout=timeout)
        self._signer = signer
        self._ttl = ttl
        self._limit = limit

    def mget(self, keys: Sequence[str]) -> list[bytes | None]:
        """Return the value of each key, None where there is none that verifies.

        Raises:
            StoreError: Redis cannot be reached or refused.
        """
        names = [_NAMES + key for key in keys]
        entries = self._connection.call(lambda client: [client.get(name) for name in names], "read")
        return [self._open(name, entry) for name, entry in zip(names, entries, strict=True)]

    def mset(self, key_value_pairs: Sequence[tuple[str, bytes]]) -> None:
        """Keep values.

        Raises:
            RejectedEntryError: a value is too large.
            StoreError: Redis cannot be reached or refused.
        """
        named = [(_NAMES + key, value) for key, value in key_value_pairs]
        entries = [(name, self._signer.seal(name, value, self._ttl, limit=self._limit)) for name, value in named]
        milliseconds = math.ceil(self._ttl * 1000)
        self._connection.call(
            lambda client: [client.set(name, entry, px=milliseconds) for name, entry in entries], "written"
        )

    def mdelete(self, keys: Sequence[str]) -> None:
        """Delete values; those that are not there do not matter.

        Raises:
            StoreError: Redis cannot be reached or refused.
        """
        self._connection.call(lambda client: [client.delete(_NAMES + key) for key in keys], "written")

    def yield_keys(self, prefix: str | None = None) -> Iterator[str]:
        """Yield the keys that begin with `prefix`, whether or not their values verify.

        Raises:
            StoreError: Redis cannot be reached or refused.
        """
        start = _NAMES + (prefix or "")
        escaped = "".join(f"\\{letter}" if letter in "*?[]^\\" else letter for letter in start)
        names = self._connection.call(lambda client: set(client.scan_iter(f"{escaped}*", count=1000)), "searched")
        for name in names:
            yield name.decode().removeprefix(_NAMES)

    def close(self) -> None:
        """Close the connection pool."""
        self._connection.close()

    def _open(self, name: str, entry: bytes | None) -> bytes | None:
        if entry is None:
            self.stats.miss()
            return None
        try:
            value = self._signer.open(name, entry, limit=self._limit)
        except RejectedEntryError as rejected:
            self.stats.miss(rejected.cause)
            return None
        self.stats.hit()
        return value
