"""Whatever a store raises or gives back is an outage: computed through, and told once; a full pool is none."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import redis

from guardrail import Guard, Policy, Reason
from guardrail.budget import DrawBudget
from guardrail.errors import StoreError
from guardrail.near import NearHits
from guardrail.near.index import NearIndex
from guardrail.stores import CertificateKey, RedisStore, Signer
from guardrail.stores.redis.connection import RedisConnection
from tests.kit.redis_server import RedisServer
from tests.kit.synthetic import ORACLE, HalfSpaceVLM
from tests.stores.test_outages import SMOOTHING, becomes_true, picture

SIGNER = Signer("a secret of these tests")
KEY = CertificateKey("a" * 64, "b" * 64)
ERRORS = [
    TypeError("unexpected keyword"),
    UnicodeError("label too long"),
    OSError("disk"),
    KeyError("x"),
    StoreError("!"),
]


class FailingStore:
    """A store of one's own that can do all that a store may do, and fails at all of it while it is out."""

    def __init__(self, error: Exception) -> None:
        self.error = error
        self.out = True
        self.kept: dict[Any, Any] = {}

    def _try(self) -> None:
        if self.out:
            raise self.error

    def get(self, key: CertificateKey) -> Any:
        self._try()
        return self.kept.get(key)

    def put(self, key: CertificateKey, certificate: Any) -> None:
        self._try()
        self.kept[key] = certificate

    def get_alias(self, file: str) -> Any:
        self._try()
        return self.kept.get(file)

    def put_alias(self, file: str, image: str) -> None:
        self._try()
        self.kept[file] = image

    def acquire(self, key: CertificateKey, seconds: float) -> FailingStore:
        if isinstance(self.error, OSError):  # one that only fails to give the lock back
            return self
        self._try()
        return self

    def release(self) -> None:
        self._try()

    def take(self, name: str, draws: int, per_minute: int) -> bool:
        self._try()
        return True

    def publish(self, bucket: str, stored: Any) -> None:
        self._try()

    def news(self, bucket: str) -> list[Any]:
        self._try()
        return []

    def levels(self, bucket: str, images: str) -> None:
        self._try()

    def close(self) -> None:
        """There is nothing to give back."""


def guarded(store: Any, **options: Any) -> Guard:
    near, budget = NearHits(index=NearIndex(shared=store)), DrawBudget(1000, store)
    return Guard(HalfSpaceVLM(0.0), ORACLE, smoothing=SMOOTHING, store=store, near=near, budget=budget, **options)


def png(value: int) -> bytes:
    from io import BytesIO

    from PIL import Image

    file = BytesIO()
    Image.new("RGB", (4, 4), (value, value, value)).save(file, "png")
    return file.getvalue()


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_whatever_a_store_raises_is_computed_through(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    store = FailingStore(error)
    with guarded(store) as guard:
        for value in range(200, 203):
            decision = guard.check(png(value), "?")
            assert (decision.action, decision.source) == ("allow", "computed")
        told = Counter(record.name for record in caplog.records)
        assert told == {"guardrail.stores.outages": 3}, "store, points and budget, once each, in three requests"
        store.out = False
        caplog.clear()
        assert guard.check(png(210), "?").source == "computed"
        assert guard.check(png(210), "?").source == "hit"
        over = [record.message for record in caplog.records]
        assert sum("works again" in one for one in over) == len(over) == 3
    with guarded(FailingStore(error), policy=Policy(store_required=True)) as strict:
        assert strict.check(png(200), "?").reasons == (Reason.STORE_REQUIRED,)


@pytest.mark.parametrize("given", ["a text", {"verdict": "harmless"}, b"bytes", 7])
def test_what_is_no_certificate_is_an_outage_too(given: object) -> None:
    class Odd(FailingStore):
        def get(self, key: CertificateKey) -> Any:
            return given

    store = Odd(OSError())
    store.out = False
    with guarded(store) as guard:
        assert guard.check(png(200), "?").source == "computed"


@pytest.mark.parametrize("given", ["no hash", b"a" * 64, "A" * 64, 7])
def test_a_file_whose_image_is_no_hash_is_decoded(given: object) -> None:
    class Odd(FailingStore):
        def get_alias(self, file: str) -> Any:
            return given

    store = Odd(OSError())
    store.out = False
    with guarded(store) as guard:
        assert guard.check(png(200), "?").source == "computed"
        assert guard.check(png(200), "?").source == "hit"


@pytest.mark.parametrize("error", [TypeError("unexpected"), AttributeError("gone"), UnicodeError("label"), OSError()])
def test_whatever_redis_py_raises_is_a_store_error_and_opens_the_breaker(error: Exception) -> None:
    connection = RedisConnection("redis://127.0.0.1:1")

    def fail(_client: object) -> None:
        raise error

    for _ in range(3):
        assert not connection.breaker.open
        with pytest.raises(StoreError, match=type(error).__name__):
            connection.call(fail)
    assert connection.breaker.open
    connection.close()


def outage_messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.message for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.parametrize("how", ["stop", "freeze"])
@pytest.mark.slow
def test_an_outage_of_redis_is_told_once_and_once_that_it_is_over(
    how: str, redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    store = RedisStore(redis_server.url, signer=SIGNER, timeout=0.1)
    near, budget = NearHits(index=NearIndex(shared=store.points())), DrawBudget(100_000, store.buckets())
    options: dict[str, Any] = {"smoothing": SMOOTHING, "store": store, "near": near, "budget": budget}
    with Guard(HalfSpaceVLM(0.0), ORACLE, **options) as guard:
        guard.check(png(200), "?")
        getattr(redis_server, how)()
        for value in range(201, 206):
            assert guard.check(png(value), "?").source in {"computed", "near"}
        (said,) = outage_messages(caplog)
        assert f"127.0.0.1:{redis_server.port}" in said
        caplog.clear()
        redis_server.start() if how == "stop" else redis_server.thaw()
        assert becomes_true(lambda: guard.check(png(200), "?").source == "hit")
        assert [one.endswith("works again") for one in outage_messages(caplog)] == [True]
    store.close()


def test_a_redis_that_only_reads_is_told_once(redis_server: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    store = RedisStore(redis_server.url, signer=SIGNER)
    with Guard(HalfSpaceVLM(0.0), ORACLE, smoothing=SMOOTHING, store=store) as guard:
        guard.check(png(200), "?")
        with redis.Redis.from_url(redis_server.url) as client:
            client.config_set("maxmemory", "1")
            for value in range(201, 206):
                assert guard.check(png(value), "?").source == "computed"
                assert guard.check(png(200), "?").source == "hit"
            client.config_set("maxmemory", "0")
        assert guard.check(png(210), "?").source == "computed"
        assert [("cannot be" in one, "works again" in one) for one in outage_messages(caplog)] == [
            (True, False),
            (False, True),
        ]
    store.close()


def hold(connection: RedisConnection, seconds: float, holders: int) -> list[threading.Thread]:
    """Keep connections busy in a Redis that is well."""
    wait: Callable[[], object] = lambda: connection.call(lambda client: client.blpop(["nothing"], seconds))  # noqa: E731
    threads = [threading.Thread(target=wait) for _ in range(holders)]
    for thread in threads:
        thread.start()
    assert becomes_true(lambda: connection._turns._value == 0)
    return threads


@pytest.mark.slow
def test_waiting_for_a_free_connection_is_no_outage(redis_server: RedisServer) -> None:
    connection = RedisConnection(f"{redis_server.url}?max_connections=2", timeout=10.0)  # blpop waits in steps
    connection.call(lambda client: client.ping())
    threads = hold(connection, 0.6, 2)
    assert connection.call(lambda client: client.ping()), "it waits its turn"
    for thread in threads:
        thread.join()
    connection.timeout = 0.05
    threads = hold(connection, 0.9, 2)
    for _ in range(5):
        with pytest.raises(StoreError, match=r"2 connections are in use.*max_connections"):
            connection.call(lambda client: client.ping())
    assert not connection.breaker.open
    for thread in threads:
        thread.join()
    assert connection.call(lambda client: client.ping())
    connection.close()


def test_a_hundred_threads_on_two_connections_compute_nothing_twice(redis_server: RedisServer) -> None:
    """Two replicas, each with fewer connections than threads, most of which wait for the other's locks."""
    drawn: Counter[bytes] = Counter()

    class Slow(HalfSpaceVLM):
        def answer(self, draws: Any, deadline: float | None = None) -> Any:
            if draws[0].index == 0:
                drawn[draws[0]._clean[0].tobytes()] += 1
                time.sleep(0.02)
            return super().answer(draws, deadline)

    def replica() -> Guard:
        store = RedisStore(f"{redis_server.url}?max_connections=2", signer=SIGNER, timeout=10.0, lock_ttl=60.0)
        return Guard(Slow(0.0), ORACLE, smoothing=SMOOTHING, store=store)

    with replica() as one, replica() as two, ThreadPoolExecutor(100) as pool:
        asked = [(guard, value) for value in range(100, 150) for guard in (one, two)]
        decisions = list(pool.map(lambda pair: pair[0].check(picture(pair[1]), "?"), asked))
        for guard in (one, two):
            assert isinstance(guard.store, RedisStore)
            assert not guard.store.connection.breaker.open
    assert not any(decision.blocked for decision in decisions)
    assert sorted(drawn.values()) == [1] * 50


@pytest.mark.slow
def test_a_connection_that_was_in_use_at_a_fork_is_free_in_the_child(redis_server: RedisServer) -> None:
    connection = RedisConnection(f"{redis_server.url}?max_connections=1", timeout=1.5)
    (thread,) = hold(connection, 1.0, 1)
    child = os.fork()
    if child == 0:
        signal.alarm(10)
        try:
            os._exit(0 if connection.call(lambda client: client.ping()) else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    thread.join()
    connection.close()
