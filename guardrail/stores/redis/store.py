"""Certificates in Redis, shared by all replicas."""

from __future__ import annotations

import logging
import math

from guardrail.certify.certificate import Certificate
from guardrail.errors import ConfigurationError
from guardrail.request import CertificateKey
from guardrail.stores.base import CERTIFICATE_TTL, REDIS_TIMEOUT, StoreStats, open_certificate, seal_certificate
from guardrail.stores.redis.buckets import RedisBuckets
from guardrail.stores.redis.connection import RedisConnection
from guardrail.stores.redis.locks import RedisLock, acquire
from guardrail.stores.redis.points import RedisPoints
from guardrail.stores.signing import RejectedEntryError, Signed, Signer

logger = logging.getLogger(__name__)


class RedisStore(Signed):
    """Signed certificates with time to live, one string each; locks, for one computation per key; points and buckets.

    Redis 6.2 suffices. The schema, version 1, beside the names of `RedisPoints` and `RedisBuckets`:

    | name | type | content |
    |---|---|---|
    | `guardrail:v3:certificate:<image hash>:<context digest>` | string | a certificate's entry, see `signing` |
    | `guardrail:v1:file:<hash of a file and how it is decoded>` | string | an entry: the image's hash |
    | `guardrail:v1:lock:{<certificate's name>}` | string | the token of the owner who computes it |
    | `guardrail:v1:wake:{<certificate's name>}` | list | one element, for a second, when the owner is done |

    The 3 is `CERTIFICATE_VERSION`. Every name expires. Whoever can write to this Redis can delete, delay, and put an
    entry back under its own name while it lasts, also over one that withdrew it. Entries that do not verify are misses,
    counted in `stats`.

    Args:
        url: as `RedisConnection` reads it.
        signer: seals the entries; None: one of the guard's noise key, or a generated one that no other process shares.
        ttl: seconds that a certificate is kept.
        timeout: seconds to wait for Redis before the guard computes without it.
        lock_ttl: seconds after which the lock of a crashed owner expires and another computes.

    Raises:
        ConfigurationError: redis is not installed, or the URL cannot be read.
    """

    def __init__(
        self,
        url: str,
        *,
        signer: Signer | None = None,
        ttl: float = CERTIFICATE_TTL,
        timeout: float = REDIS_TIMEOUT,
        lock_ttl: float = 5.0,
    ) -> None:
        if not (ttl > 0 and timeout > 0 and lock_ttl > 0):
            raise ConfigurationError(f"ttl, timeout and lock_ttl must be positive, got {ttl}, {timeout}, {lock_ttl}")
        self.connection = RedisConnection(url, timeout=timeout)
        super().__init__(signer)
        self.ttl = ttl
        self.stats = StoreStats()
        self._lock_ttl = lock_ttl

    def __repr__(self) -> str:
        return f"RedisStore({self.connection.where})"

    def get(self, key: CertificateKey) -> Certificate | None:
        """Return the certificate, or None for a miss; an entry that does not verify is a miss.

        Raises:
            StoreError: Redis cannot be reached or refused.
        """
        name = str(key)
        entry = self.connection.call(lambda client: client.get(name), "read")
        return open_certificate(self.signer, name, entry, self.stats)

    def put(self, key: CertificateKey, certificate: Certificate) -> None:
        """Keep a certificate.

        Raises:
            StoreError: Redis cannot be reached or refused.
        """
        name = str(key)
        try:
            entry = seal_certificate(self.signer, name, certificate, self.ttl)
        except RejectedEntryError:
            logger.warning("a certificate is too large to be stored: %s", name)
            return
        self.connection.call(lambda client: client.set(name, entry, px=math.ceil(self.ttl * 1000)), "written")

    def of_images(self, images: str) -> list[Certificate]:
        """Return all certificates of an image (`CertificateKey.images`), whatever their context.

        It goes through all names: for operators, not for requests.

        Raises:
            StoreError: Redis cannot be reached or refused.
        """
        pattern = f"{CertificateKey.prefix(images)}*"
        names = self.connection.call(lambda client: list(client.scan_iter(pattern, count=1000)), "searched")
        found = (self.get(CertificateKey(images, name.decode().rpartition(":")[2])) for name in sorted(names))
        return [certificate for certificate in found if certificate is not None]

    def get_alias(self, file: str) -> str | None:
        """Return the hash of the image that a file is; None if it is unknown, or the entry does not verify.

        Raises:
            StoreError: Redis cannot be reached or refused.
        """
        name = f"guardrail:v1:file:{file}"
        entry = self.connection.call(lambda client: client.get(name), "read")
        if entry is None:
            return None
        try:
            return self.signer.open(name, entry).hex()
        except RejectedEntryError as rejected:
            self.stats.miss(rejected.cause)
            return None

    def put_alias(self, file: str, image: str) -> None:
        """Keep the hash of the image that a file is.

        Raises:
            StoreError: Redis cannot be reached or refused.
        """
        name = f"guardrail:v1:file:{file}"
        entry = self.signer.seal(name, bytes.fromhex(image), self.ttl)
        self.connection.call(lambda client: client.set(name, entry, px=math.ceil(self.ttl * 1000)), "written")

    def acquire(self, key: CertificateKey, seconds: float) -> RedisLock | None:
        """Wait for the lock of a key; None if another owner has just released it, or time is up.

        Raises:
            StoreError: Redis cannot be reached or refused.
        """
        return acquire(self.connection, str(key), seconds, self._lock_ttl)

    def points(self) -> RedisPoints:
        """Return where replicas share the points of near hits."""
        return RedisPoints(self.connection, self.signer, ttl=self.ttl)

    def buckets(self) -> RedisBuckets:
        """Return where replicas share clients' budgets."""
        return RedisBuckets(self.connection)

    def ping(self) -> None:
        """Reach Redis once.

        Raises:
            StoreError: Redis cannot be reached.
        """
        self.connection.call(lambda client: client.ping())

    def close(self) -> None:
        """Close the connection pool."""
        self.connection.close()
