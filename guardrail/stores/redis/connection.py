"""The way to Redis: URLs of all kinds, a bounded pool, time-outs, one retry, and a circuit breaker."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar
from urllib.parse import unquote, urlsplit

from guardrail.errors import ConfigurationError, StoreError
from guardrail.stores.redis.breaker import CircuitBreaker

T = TypeVar("T")
Client: TypeAlias = Any
"""redis-py's client, of one server or of a cluster; they share the commands used here, and no type."""
_SCHEMES = (
    "redis://, rediss:// or unix://; for Sentinel redis+sentinel://, for Cluster redis+cluster://, with TLS rediss+"
)


class RedisConnection:
    """Calls Redis, and turns every way in which that fails into a `StoreError`.

    A broken connection is tried once more, after a few milliseconds at random; a time-out is not. After three failures
    in a row the breaker opens, and calls fail at once until Redis answers again.

    Args:
        url: `redis://`, `rediss://` (TLS) or `unix://`, as redis-py reads them; `redis+cluster://host:port`; or
            `redis+sentinel://[user:password@]host:port[,host:port]/service[/db]` (user and password are those of the
            servers). The last two with TLS as `rediss+…`.
        timeout: seconds to wait for a connection, and for an answer.
        max_connections: size of the pool. When all are in use, a call waits up to `timeout` for one.

    Raises:
        ConfigurationError: redis is not installed, or the URL cannot be read.
    """

    def __init__(self, url: str, *, timeout: float = 0.5, max_connections: int = 128) -> None:
        try:
            import redis
        except ImportError as error:
            raise ConfigurationError("RedisStore needs redis: pip install 'certified-guardrail[redis]'") from error
        from redis.backoff import FullJitterBackoff
        from redis.retry import Retry

        self.timeout = timeout
        self.breaker = CircuitBreaker(self._probe)
        self._options: dict[str, Any] = {
            "socket_timeout": timeout,
            "socket_connect_timeout": timeout,
            "max_connections": max_connections,
            "retry": Retry(FullJitterBackoff(cap=0.02, base=0.005), 1, (redis.ConnectionError,)),
        }
        self._lost = (redis.ConnectionError, redis.TimeoutError, redis.RedisClusterException)
        self._refused = redis.RedisError
        self._client: Client | None = None
        self._closers: list[Callable[[], None]] = []
        self._lock = threading.Lock()
        try:
            parts = urlsplit(url)
            self.where = parts.netloc.rpartition("@")[2] or parts.path
            self._connect = self._connector(url)
        except ValueError:  # its text may quote the password
            scheme = re.match(r"[a-z+]{1,20}(?=://)", url)
            kind = f"its scheme is {scheme[0]!r}" if scheme else "it has no scheme"
            raise ConfigurationError(
                f"the Redis URL is malformed ({kind}): write redis://:password@host:port/0, special characters of the "
                f"password percent-encoded; schemes are {_SCHEMES}"
            ) from None

    def __repr__(self) -> str:
        return f"RedisConnection({self.where})"

    def call(self, do: Callable[[Client], T], what: str = "reached") -> T:
        """Return what `do` gets from Redis.

        Args:
            do: a few commands.
            what: what cannot be done if it fails: "Redis at … cannot be {what}".

        Raises:
            StoreError: Redis cannot be reached, or refused (read-only, out of memory, no permission), or the breaker
                is open.
        """
        if not self.breaker.allows():
            raise StoreError(f"Redis at {self.where} was lost and is not tried: it will be used once it answers again")
        try:
            result = do(self._connected())
        except self._lost as error:
            self.breaker.failed()
            raise self._explain(what, error, "is it running?") from error
        except self._refused as error:
            self.breaker.succeeded()
            raise self._explain(what, error, str(error)[:100]) from error
        self.breaker.succeeded()
        return result

    def close(self) -> None:
        """Close the pool; the next call would open it again."""
        with self._lock:
            self._client = None
            for close in self._closers:
                close()
            self._closers.clear()

    def _explain(self, what: str, error: Exception, why: str) -> StoreError:
        return StoreError(f"Redis at {self.where} cannot be {what}: {type(error).__name__}; {why}")

    def _probe(self) -> None:
        self._connected().ping()

    def _connected(self) -> Client:
        with self._lock:  # made on first use: a cluster's client connects when it is made
            if self._client is None:
                self._client = self._connect()
                self._closers.append(self._client.close)
            return self._client

    def _connector(self, url: str) -> Callable[[], Client]:
        """Return what makes the client.

        Raises:
            ValueError: the URL cannot be read.
        """
        import redis
        from redis.connection import parse_url

        scheme, _, rest = url.partition("://")
        tls = scheme.startswith("rediss")
        match scheme.removeprefix("rediss" if tls else "redis"):
            case "+cluster":
                plain = f"{'rediss' if tls else 'redis'}://{rest}"
                parse_url(plain)  # type: ignore[no-untyped-call]
                return lambda: redis.RedisCluster.from_url(plain, **self._options)
            case "+sentinel":
                return self._sentinel(url, tls=tls)
        parse_url(url)  # type: ignore[no-untyped-call]
        # The pool waits for a free connection instead of failing; it is this object's own.
        return lambda: redis.Redis.from_pool(
            redis.BlockingConnectionPool.from_url(url, timeout=self.timeout, **self._options)
        )

    def _sentinel(self, url: str, *, tls: bool) -> Callable[[], Client]:
        from redis.sentinel import Sentinel

        parts = urlsplit(url)
        login, _, hosts = parts.netloc.rpartition("@")
        addresses = []
        for host in hosts.split(","):
            one = urlsplit(f"//{host}")
            addresses.append((one.hostname or "localhost", one.port or 26379))
        service, _, database = parts.path.strip("/").partition("/")
        if not service:
            raise ValueError("a Sentinel URL names its service: redis+sentinel://host:port/service")
        user, _, password = login.partition(":")
        given = {"username": unquote(user), "password": unquote(password), "db": int(database or 0), "ssl": tls}

        def connect() -> Client:
            sentinel: Any = Sentinel(addresses, 0, self._options, **self._options)  # type: ignore[no-untyped-call]
            self._closers.append(sentinel.close)
            return sentinel.master_for(service, **{name: value for name, value in given.items() if value})

        return connect
