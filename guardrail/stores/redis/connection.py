"""The way to Redis: URLs of all kinds, a bounded number of connections, time-outs, one retry, a circuit breaker."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar

from guardrail.errors import ConfigurationError, StoreError
from guardrail.stores.base import REDIS_TIMEOUT
from guardrail.stores.outages import Outages
from guardrail.stores.redis.address import RedisAddress
from guardrail.stores.redis.breaker import CircuitBreaker

T = TypeVar("T")
Client: TypeAlias = Any
"""redis-py's client, of one server or of a cluster; they share the commands used here, and no type."""


class RedisConnection:
    """Calls Redis, and turns every way in which that fails into a `StoreError`.

    A broken connection is tried once more, after a few milliseconds at random; a time-out is not. After three failures
    in a row the breaker opens, and calls fail at once until Redis answers again. The log tells of an outage once, and
    once when it is over.

    Args:
        url: `redis://`, `rediss://` (TLS) or `unix://`; `redis+cluster://host:port[,host:port]`; or
            `redis+sentinel://[user:password@]host:port[,host:port]/service[/db]` (user and password are those of the
            servers; `?sentinel_username=…&sentinel_password=…` those of the Sentinels). The last two with TLS as
            `rediss+…`, the Sentinels included unless `sentinel_tls=false`. Options that `address` does not know are
            refused.
        timeout: seconds to wait for a connection, and for an answer.
        max_connections: calls at a time, unless the URL says how many. Others wait up to `timeout` for their turn.

    Raises:
        ConfigurationError: redis is not installed, or the URL cannot be read, or has options that cannot work.
    """

    def __init__(self, url: str, *, timeout: float = REDIS_TIMEOUT, max_connections: int = 128) -> None:
        try:
            import redis
        except ImportError as error:
            raise ConfigurationError("RedisStore needs redis: pip install 'certified-guardrail[redis]'") from error
        from redis.backoff import FullJitterBackoff
        from redis.retry import Retry

        address = RedisAddress.parse(url)
        self.timeout = timeout
        self.where = address.where
        self.breaker = CircuitBreaker(self._probe)
        self._most = address.max_connections or max_connections
        self._options: dict[str, Any] = {
            "socket_timeout": timeout,
            "socket_connect_timeout": timeout,
            "retry": Retry(FullJitterBackoff(cap=0.02, base=0.005), 1, (redis.ConnectionError,)),
            # Here as many calls wait for their turn as there are connections: a pool is never found empty.
            "max_connections": self._most + 1,  # the probe takes no turn
        }
        self._lost = (redis.ConnectionError, redis.TimeoutError, redis.RedisClusterException)
        self._refused = redis.RedisError
        self._client: Client | None = None
        self._closers: list[Callable[[], None]] = []
        self._inherited: list[object] = []
        self._outage = Outages(f"Redis at {self.where}", "doing without it until it answers again")
        self._begin()
        try:
            self._connect = self._connector(address)
        except ConfigurationError:
            raise
        except (TypeError, ValueError, redis.RedisError) as error:
            raise ConfigurationError(
                f"the options of the Redis URL cannot be used ({type(error).__name__}): does this version of redis "
                f"({redis.__version__}) know all of {', '.join(sorted(address.options))}?"
            ) from None

    def __repr__(self) -> str:
        return f"RedisConnection({self.where})"

    def call(self, do: Callable[[Client], T], what: str = "reached") -> T:
        """Return what `do` gets from Redis.

        Args:
            do: a few commands, one after another.
            what: what cannot be done if it fails: "Redis at … cannot be {what}".

        Raises:
            StoreError: Redis cannot be reached, or refused (read-only, out of memory, no permission), or the breaker
                is open, or all connections were in use for as long as a call may take, which is no outage.
        """
        if self._pid != os.getpid():
            self._begin()
        turns = self._turns
        if not self.breaker.allows():
            raise self._given_up()
        if not turns.acquire(timeout=self.timeout):
            raise StoreError(
                f"Redis at {self.where} cannot be {what} now: its {self._most} connections are in use; if that happens "
                "often, raise max_connections in its URL"
            )
        try:
            if self.breaker.open:  # while this call waited
                raise self._given_up()
            result = do(self._connected())
        except StoreError:
            raise
        except Exception as error:
            if isinstance(error, self._refused) and not isinstance(error, self._lost):
                self._answered()
                raise self._explain(what, error, str(error)[:100]) from error
            failure = self._explain(what, error, _advice(error))
            self.breaker.failed()
            self._outage.failed("reached", failure)
            failure.told = True
            raise failure from error
        finally:
            turns.release()
        self._answered()
        return result

    def sleep(self, do: Callable[[Client], T]) -> T | None:
        """Return what `do`, a command that waits in Redis, gets there; None, at once, if too many do already.

        Half of the connections are kept for calls that do not wait.

        Raises:
            StoreError: as `call` does.
        """
        beds = self._beds
        if not beds.acquire(blocking=False):
            return None
        try:
            return self.call(do, "waited for")
        finally:
            beds.release()

    def close(self) -> None:
        """Close the pool; the next call would open it again."""
        with self._lock:
            self._client = None
            for close in self._closers:
                close()
            self._closers.clear()

    def _begin(self) -> None:
        """Start afresh: at first, and in a process that was forked while other threads were calling.

        What is inherited, locks that nobody will open among it, is never touched, not even to be closed.
        """
        self._inherited += [self._client, self._closers]
        self._client, self._closers = None, []
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._turns = threading.Semaphore(self._most)
        self._beds = threading.Semaphore(self._most // 2)

    def _answered(self) -> None:
        self.breaker.succeeded()
        self._outage.worked("reached")

    def _given_up(self) -> StoreError:
        error = StoreError(f"Redis at {self.where} was lost and is not tried: it will be used once it answers again")
        error.told = True
        return error

    def _explain(self, what: str, error: Exception, why: str) -> StoreError:
        return StoreError(f"Redis at {self.where} cannot be {what}: {type(error).__name__}; {why}")

    def _probe(self) -> None:
        self._connected().ping()
        self._outage.worked("reached")

    def _connected(self) -> Client:
        with self._lock:  # made on first use: a cluster's client connects when it is made
            if self._client is None:
                self._client = self._connect()
                self._closers.append(self._client.close)
            return self._client

    def _connector(self, address: RedisAddress) -> Callable[[], Client]:
        """Return what makes the client.

        Raises:
            TypeError, ValueError, redis.RedisError: redis-py takes no such options.
        """
        import redis
        from redis.cluster import REDIS_ALLOWED_KEYS, ClusterNode
        from redis.connection import SSLConnection, UnixDomainSocketConnection
        from redis.sentinel import Sentinel

        options = {**self._options, **address.options}
        plain: Any = UnixDomainSocketConnection if address.kind == "socket" else redis.Connection
        kind: Any = SSLConnection if address.tls else plain
        kind(**{name: value for name, value in options.items() if name != "max_connections"})  # it does not connect yet
        if address.kind == "cluster":
            options |= {"ssl": True} if address.tls else {}
            if dropped := options.keys() - set(REDIS_ALLOWED_KEYS):
                raise ConfigurationError(
                    f"redis-py would drop {', '.join(sorted(dropped))} on the way to a cluster: leave it out"
                )
            return lambda: redis.RedisCluster(
                startup_nodes=[ClusterNode(host, port) for host, port in address.hosts],  # type: ignore[no-untyped-call]
                **options,
            )
        if address.kind == "sentinel":
            options |= {"ssl": True} if address.tls else {}
            sentinel_options = {**self._options, **address.sentinel}

            def connect() -> Client:
                sentinel: Any = Sentinel(address.hosts, 0, sentinel_options, **options)  # type: ignore[no-untyped-call]
                self._closers.append(sentinel.close)
                return sentinel.master_for(address.service)

            return connect
        for host, port in address.hosts:
            options |= {"host": host, "port": port}
        return lambda: redis.Redis.from_pool(redis.ConnectionPool(connection_class=kind, **options))


def _advice(error: Exception) -> str:
    from redis.exceptions import AuthenticationError
    from redis.sentinel import MasterNotFoundError

    if isinstance(error, AuthenticationError):
        return "check its user and password"
    if isinstance(error, MasterNotFoundError):
        return "is it running, do the Sentinels know the service, and do they want a sentinel_password?"
    return "is it running?"
