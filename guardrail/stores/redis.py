"""Certificates in Redis, shared by all replicas."""

from __future__ import annotations

import logging
import math
from urllib.parse import urlsplit

from guardrail.certificate import Certificate
from guardrail.errors import ConfigurationError, StoreError
from guardrail.stores.base import CertificateKey

logger = logging.getLogger(__name__)


class RedisStore:
    """Certificates as JSON under `guardrail:v1:certificate:<image hash>:<context digest>`, with time to live.

    Entries are not signed yet: whoever can write to this Redis can forge certificates, so give it to the guard alone.

    Args:
        url: `redis://`, `rediss://` or `unix://`, with password and database as redis-py reads them.
        ttl: seconds that a certificate is kept.
        timeout: seconds to wait for Redis before the guard computes without it.
    """

    def __init__(self, url: str, *, ttl: float = 86_400.0, timeout: float = 0.5) -> None:
        try:
            import redis
        except ImportError as error:
            raise ConfigurationError("RedisStore needs redis: pip install 'certified-guardrail[redis]'") from error
        if not ttl > 0:
            raise ConfigurationError(f"ttl must be positive, got {ttl}")
        try:
            self._redis = redis.Redis.from_url(url, socket_timeout=timeout, socket_connect_timeout=timeout)
        except ValueError as error:
            raise ConfigurationError(
                f"not a Redis URL: scheme {urlsplit(url).scheme!r}; use redis://, rediss:// or unix://"
            ) from error
        options = self._redis.connection_pool.connection_kwargs
        self._where = f"{options.get('host', options.get('path', '?'))}:{options.get('port', '')}"
        self._error: type[Exception] = redis.RedisError
        self._ttl_ms = math.ceil(ttl * 1000)

    def __repr__(self) -> str:
        return "RedisStore(...)"

    def get(self, key: CertificateKey) -> Certificate | None:
        """Return the certificate, or None for a miss; an entry that cannot be read is a miss.

        Raises:
            StoreError: Redis cannot be reached or refused.
        """
        try:
            value = self._redis.get(str(key))
        except self._error as error:
            raise StoreError(
                f"Redis at {self._where} cannot be read: {type(error).__name__}; is it running?"
            ) from error
        if not isinstance(value, bytes):
            return None
        try:
            return Certificate.from_json(value)
        except ValueError:
            logger.warning("unreadable certificate under %s: treated as a miss", key)
            return None

    def put(self, key: CertificateKey, certificate: Certificate) -> None:
        """Keep a certificate.

        Raises:
            StoreError: Redis cannot be reached or refused.
        """
        try:
            self._redis.set(str(key), certificate.to_json(), px=self._ttl_ms)
        except self._error as error:
            raise StoreError(
                f"Redis at {self._where} cannot be written: {type(error).__name__}; is it running?"
            ) from error

    def ping(self) -> None:
        """Reach Redis once.

        Raises:
            StoreError: Redis cannot be reached.
        """
        try:
            self._redis.ping()
        except self._error as error:
            raise StoreError(
                f"Redis at {self._where} cannot be reached: {type(error).__name__}; is it running?"
            ) from error

    def close(self) -> None:
        """Close the connection pool."""
        self._redis.close()
