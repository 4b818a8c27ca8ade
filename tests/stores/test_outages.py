"""Redis may be stopped, frozen, emptied, read-only or full: every request is decided, at once, and it recovers."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import redis

from guardrail import Decision, Guard, InputImage, Policy, Reason, Smoothing
from guardrail.errors import StoreError
from guardrail.stores import CertificateKey, RedisStore, Signer
from guardrail.stores.redis.breaker import CircuitBreaker
from guardrail.stores.redis.connection import RedisConnection
from tests.kit.redis_server import RedisServer, free_port, redis_binary
from tests.kit.synthetic import ORACLE, HalfSpaceVLM

KEY = CertificateKey("a" * 64, "b" * 64)
SIGNER = Signer("a secret of these tests")
SMOOTHING = Smoothing(key=b"a secret of these tests", samples=20)


def picture(value: int) -> InputImage:
    return InputImage(np.full((4, 4, 3), value, np.uint8))


@pytest.fixture
def guard(redis_server: RedisServer) -> Iterator[Guard]:
    store = RedisStore(redis_server.url, signer=SIGNER, timeout=0.2)
    with Guard(HalfSpaceVLM(0.0), ORACLE, smoothing=SMOOTHING, store=store) as made:
        yield made


def checked(guard: Guard, value: int) -> tuple[Decision, float]:
    start = time.perf_counter()
    decision = guard.check(picture(value), "?")
    return decision, time.perf_counter() - start


def becomes_true(condition: Callable[[], bool]) -> bool:
    until = time.monotonic() + 5.0
    while not condition() and time.monotonic() < until:
        time.sleep(0.01)
    return condition()


def recovers(guard: Guard, value: int) -> bool:
    until = time.monotonic() + 5.0
    while time.monotonic() < until:
        if guard.check(picture(value), "?").source == "hit":
            return True
        time.sleep(0.05)
    return False


@pytest.mark.slow
@pytest.mark.parametrize("how", ["stop", "freeze"])
def test_an_outage_costs_little_once_the_breaker_is_open(redis_server: RedisServer, guard: Guard, how: str) -> None:
    assert guard.check(picture(200), "?").source == "computed"
    getattr(redis_server, how)()
    for value in range(201, 206):
        decision, _ = checked(guard, value)
        assert decision.source == "computed"
        assert not decision.blocked
    assert isinstance(guard.store, RedisStore)
    assert guard.store.connection.breaker.open
    open_costs = [checked(guard, value)[1] for value in range(210, 240)]
    assert np.median(open_costs) < 0.05, "the computation included"
    assert max(open_costs) < 0.18, "none has waited for a time-out of 0.2 s: probes run in the background"
    if how == "stop":
        redis_server.start()
    else:
        redis_server.thaw()
    assert recovers(guard, 240)


def test_what_redis_refuses_does_not_open_the_breaker(redis_server: RedisServer, guard: Guard) -> None:
    guard.check(picture(200), "?")
    assert isinstance(guard.store, RedisStore)
    with redis.Redis.from_url(redis_server.url) as client:
        client.config_set("maxmemory", "1")
        for value in range(201, 211):
            decision, seconds = checked(guard, value)
            assert decision.source == "computed"
            assert seconds < 0.18
        assert guard.check(picture(200), "?").source == "hit", "reading goes on when memory is full"
        client.config_set("maxmemory", "0")
        assert guard.check(picture(205), "?").source == "computed"
        assert guard.check(picture(205), "?").source == "hit"
        client.replicaof("127.0.0.1", "1")  # a replica of nobody: read-only
        assert guard.check(picture(206), "?").source == "computed"
        assert guard.check(picture(206), "?").source == "computed"
        assert guard.check(picture(205), "?").source == "hit"
        client.replicaof("NO", "ONE")
        assert guard.check(picture(206), "?").source == "computed"
        assert guard.check(picture(206), "?").source == "hit"
    assert not guard.store.connection.breaker.open


def test_refusals_in_a_row_are_signs_of_life(redis_server: RedisServer) -> None:
    connection = RedisConnection(redis_server.url)
    for _ in range(5):
        with pytest.raises(StoreError, match="cannot be reached: ResponseError"):
            connection.call(lambda client: client.execute_command("NONSENSE"))
    assert not connection.breaker.open
    connection.close()


def test_a_required_store_blocks_in_an_outage(redis_server: RedisServer) -> None:
    store = RedisStore(redis_server.url, signer=SIGNER, timeout=0.2)
    with Guard(HalfSpaceVLM(0.0), ORACLE, policy=Policy(store_required=True), store=store) as strict:
        assert not strict.check(picture(200), "?").blocked
        redis_server.stop()
        for _ in range(5):
            assert strict.check(picture(200), "?").reasons == (Reason.STORE_REQUIRED,)


def test_an_emptied_redis_is_computed_anew(redis_server: RedisServer, guard: Guard) -> None:
    guard.check(picture(200), "?")
    redis_server.stop()
    redis_server.start()
    assert guard.check(picture(200), "?").source == "computed", "one broken connection is tried again at once"
    assert guard.check(picture(200), "?").source == "hit"


class TestBreaker:
    def test_it_opens_probes_in_the_background_and_closes(self) -> None:
        probes: list[str] = []
        well = threading.Event()

        def probe() -> None:
            probes.append(threading.current_thread().name)
            if not well.is_set():
                raise OSError

        breaker = CircuitBreaker(probe, failures=2, cooldown=0.05)
        breaker.failed()
        assert breaker.allows()
        breaker.succeeded()
        breaker.failed()
        assert breaker.allows(), "not in a row"
        breaker.failed()
        assert not breaker.allows()
        assert probes == [], "not before the cool-down"
        for _ in range(3):
            time.sleep(0.06)
            assert not breaker.allows()
            assert not breaker.allows()
        assert becomes_true(lambda: len(probes) == 3)
        assert set(probes) == {"guardrail-probe"}
        well.set()
        time.sleep(0.06)
        assert not breaker.allows(), "the one who starts the probe does not wait for it"
        assert becomes_true(breaker.allows)


@pytest.mark.slow
def test_sentinel_finds_the_server_and_the_next_one(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("one", "two", "sentinel")]
    for folder in folders:
        folder.mkdir()
    first = RedisServer(folders[0])
    second = RedisServer(folders[1], "--replicaof", "127.0.0.1", str(first.port))
    port = free_port()
    settings = folders[2] / "sentinel.conf"
    settings.write_text(
        f"port {port}\nbind 127.0.0.1\nsentinel monitor certificates 127.0.0.1 {first.port} 1\n"
        "sentinel down-after-milliseconds certificates 300\nsentinel failover-timeout certificates 2000\n"
    )
    command = [redis_binary(), str(settings), "--sentinel"]
    first.start()
    second.start()
    sentinel = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    store = RedisStore(f"redis+sentinel://127.0.0.1:{port}/certificates/0", signer=SIGNER)
    try:
        with Guard(HalfSpaceVLM(0.0), ORACLE, smoothing=SMOOTHING, store=store) as guard:
            assert recovers(guard, 200), "once the sentinel is up"
            with redis.Redis.from_url(first.url) as client:
                assert client.dbsize() > 0
            with redis.Redis(port=port) as asked:
                until = time.monotonic() + 10.0
                while not asked.execute_command("SENTINEL", "REPLICAS", "certificates"):
                    assert time.monotonic() < until
                    time.sleep(0.1)
            time.sleep(0.3)
            first.stop()
            until = time.monotonic() + 20.0
            while guard.check(picture(201), "?").source != "hit":
                assert time.monotonic() < until, "the replica takes over"
                time.sleep(0.1)
    finally:
        store.close()
        sentinel.kill()
        sentinel.wait()
        first.stop()
        second.stop()


@pytest.mark.slow
def test_cluster(tmp_path: Path) -> None:
    server = RedisServer(tmp_path, "--cluster-enabled", "yes")
    server.start()
    with redis.Redis.from_url(server.url) as client:
        client.execute_command("CLUSTER", "ADDSLOTS", *range(16384))
        until = time.monotonic() + 10.0
        while b"cluster_state:ok" not in bytes(client.execute_command("CLUSTER", "INFO")):
            assert time.monotonic() < until
            time.sleep(0.05)
    store = RedisStore(f"redis+cluster://127.0.0.1:{server.port}", signer=SIGNER)
    with Guard(HalfSpaceVLM(0.0), ORACLE, smoothing=SMOOTHING, store=store) as guard:
        assert guard.check(picture(200), "?").source == "computed"
        assert guard.check(picture(200), "?").source == "hit"
        assert len(store.of_images(picture(200).sha256)) == 1
        server.stop()
        assert guard.check(picture(201), "?").source == "computed"


@pytest.mark.parametrize(
    "url",
    [
        "rediss://user:hunter2@example.invalid:6390/2?ssl_cert_reqs=none",
        "unix:///tmp/redis.sock",
        "redis+cluster://:hunter2@example.invalid:7000",
        "rediss+cluster://example.invalid:7000",
        "redis+sentinel://user:hunter2@one.invalid:26379,two.invalid/service/3",
        "rediss+sentinel://one.invalid/service",
    ],
)
def test_urls_of_all_kinds_are_accepted(url: str) -> None:
    connection = RedisConnection(url, timeout=0.1)
    assert "hunter2" not in repr(connection)
    with pytest.raises(StoreError) as caught:
        connection.call(lambda client: client.get("a"))
    assert "hunter2" not in str(caught.value)
    connection.close()


def test_tls_is_spoken(redis_server: RedisServer) -> None:
    """To a server without TLS, whose answer to a greeting in TLS is an error: no silent fall-back to plain text."""
    connection = RedisConnection(redis_server.url.replace("redis://", "rediss://"), timeout=0.3)
    with pytest.raises(StoreError, match=r"ConnectionError|TimeoutError"):
        connection.call(lambda client: client.ping())
    connection.close()
