"""However many ask, one computes: within a process, and across replicas through Redis."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pytest
import redis

from guardrail import Certificate, Decision, Guard, InputImage, Reason, Smoothing
from guardrail.callers import Caller, asking
from guardrail.errors import ModelError, QueueFullError, StoreError
from guardrail.models.base import Answer, Draw
from guardrail.stores import CertificateKey, MemoryStore, RedisStore, Signer
from guardrail.stores.once import Found, OncePerKey
from guardrail.stores.redis.locks import _ACQUIRE
from tests.kit.redis_server import RedisServer
from tests.kit.synthetic import ORACLE, HalfSpaceVLM

IMAGE = InputImage(np.full((4, 4, 3), 200, np.uint8))
KEY = CertificateKey("a" * 64, "b" * 64)
SECRET = "a secret of these tests"
SMOOTHING = Smoothing(key=SECRET.encode())
CERTIFICATE = Guard(HalfSpaceVLM(0.0), ORACLE, smoothing=SMOOTHING).check(IMAGE, "?").certificate


class SlowVLM(HalfSpaceVLM):
    """Takes its time, so that others come meanwhile."""

    def answer(self, draws: Sequence[Draw], deadline: float | None = None) -> list[Answer]:
        time.sleep(0.05)
        return super().answer(draws, deadline)


def in_threads(count: int, do: Callable[[], object]) -> list[object]:
    with ThreadPoolExecutor(count) as pool:
        return [future.result() for future in [pool.submit(do) for _ in range(count)]]


def test_one_computation_within_a_process() -> None:
    model = SlowVLM(0.0)
    guard = Guard(model, ORACLE, smoothing=SMOOTHING, store=MemoryStore())
    decisions = in_threads(20, lambda: guard.check(IMAGE, "?"))
    assert all(isinstance(d, Decision) and d.certificate == CERTIFICATE for d in decisions)
    assert sum(model.batches) == CERTIFICATE.draws if CERTIFICATE else False
    assert sorted(d.source or "" for d in decisions if isinstance(d, Decision)) == ["computed"] + ["hit"] * 19


async def test_one_computation_among_tasks() -> None:
    model = SlowVLM(0.0)
    guard = Guard(model, ORACLE, smoothing=SMOOTHING, store=MemoryStore())
    decisions = await asyncio.gather(*(guard.acheck(IMAGE, "?") for _ in range(20)))
    assert sum(model.batches) == decisions[0].certificate.draws if decisions[0].certificate else False


def test_different_requests_do_not_wait_for_each_other() -> None:
    guard = Guard(SlowVLM(0.0), ORACLE, smoothing=SMOOTHING, store=MemoryStore())
    start = time.perf_counter()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda prompt: guard.check(IMAGE, prompt), "abcdefgh"))
    assert time.perf_counter() - start < 8 * 0.05 * len(guard.classifier.smoothing.sequence(0.001).looks)


def test_one_computation_across_replicas(shared_redis: RedisServer) -> None:
    models = [SlowVLM(0.0) for _ in range(3)]
    guards = [
        Guard(m, ORACLE, smoothing=SMOOTHING, store=RedisStore(shared_redis.url, signer=Signer(SECRET))) for m in models
    ]
    turns = iter(guards * 5)
    decisions = in_threads(15, lambda: next(turns).check(IMAGE, "?"))
    assert all(isinstance(d, Decision) and d.certificate == CERTIFICATE for d in decisions)
    assert sum(sum(m.batches) for m in models) == CERTIFICATE.draws if CERTIFICATE else False
    for guard in guards:
        guard.close()


def test_waiters_are_woken_when_the_owner_is_done(shared_redis: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("guardrail.stores.redis.locks._SLICE", 4.0)
    store = RedisStore(shared_redis.url, signer=Signer(SECRET), timeout=8.0)
    lock = store.acquire(KEY, 1.0)
    assert lock is not None
    released: list[float] = []

    def release() -> None:
        released.append(time.perf_counter())
        lock.release()

    threading.Timer(0.33, release).start()
    woken = in_threads(4, lambda: (store.acquire(KEY, 9.0), time.perf_counter()))
    assert all(isinstance(w, tuple) and w[0] is None and w[1] - released[0] < 1.0 for w in woken)
    again = store.acquire(KEY, 0.0)
    assert again is not None, "free again"
    again.release()
    store.close()


def test_waiting_is_bounded(shared_redis: RedisServer) -> None:
    store = RedisStore(shared_redis.url, signer=Signer(SECRET))
    lock = store.acquire(KEY, 1.0)
    assert lock is not None
    start = time.perf_counter()
    assert store.acquire(KEY, 0.3) is None
    assert 0.25 < time.perf_counter() - start < 1.0
    lock.release()
    store.close()


@pytest.mark.slow
def test_a_lock_is_renewed_while_its_owner_lives(shared_redis: RedisServer) -> None:
    store = RedisStore(shared_redis.url, signer=Signer(SECRET), lock_ttl=0.6)
    lock = store.acquire(KEY, 1.0)
    assert lock is not None
    assert store.acquire(KEY, 1.5) is None, "longer than its time to live"
    lock.release()
    store.close()


def test_only_the_owner_releases(shared_redis: RedisServer) -> None:
    store = RedisStore(shared_redis.url, signer=Signer(SECRET))
    first = store.acquire(KEY, 1.0)
    store.connection.call(lambda client: client.flushall())  # as if it had expired
    second = store.acquire(KEY, 1.0)
    assert first is not None
    assert second is not None
    first.release()
    assert store.acquire(KEY, 0.0) is None, "still the second owner's"
    second.release()
    store.close()


def test_an_owner_whose_first_answer_was_lost_has_the_lock(shared_redis: RedisServer) -> None:
    with redis.Redis.from_url(shared_redis.url) as client:
        assert client.eval(_ACQUIRE, 2, "lock", "wake", "token", 1000) == 1
        assert client.eval(_ACQUIRE, 2, "lock", "wake", "token", 1000) == 1
        assert client.eval(_ACQUIRE, 2, "lock", "wake", "another", 1000) == 0


@pytest.mark.slow
def test_a_crashed_owners_lock_expires_and_another_takes_over(shared_redis: RedisServer) -> None:
    code = (
        "from guardrail.stores import *; import sys, time\n"
        f"store = RedisStore({shared_redis.url!r}, signer=Signer({SECRET!r}), lock_ttl=0.5)\n"
        "lock = store.acquire(CertificateKey('a' * 64, 'b' * 64), 1.0)\n"
        "print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == b"held\n"
        store = RedisStore(shared_redis.url, signer=Signer(SECRET))
        assert store.acquire(KEY, 0.7) is None, "held, and renewed"
        os.kill(owner.pid, signal.SIGKILL)
        start = time.perf_counter()
        lock = store.acquire(KEY, 5.0)
        assert lock is not None
        assert time.perf_counter() - start < 1.0
        lock.release()
        store.close()


class TestWhatIsShared:
    """What the first in line finds is the others' too, but for what only its own circumstances explain."""

    def run(self, first: Callable[[], Found], then: Callable[[], Found]) -> tuple[object, object]:
        once, entered, results = OncePerKey(), threading.Event(), []

        def leader() -> Found:
            entered.set()
            time.sleep(0.1)
            return first()

        def ask(compute: Callable[[], Found]) -> object:
            try:
                return once.run(KEY, lambda: None, compute)
            except Exception as error:  # noqa: BLE001
                return error

        with ThreadPoolExecutor(2) as pool:
            one = pool.submit(ask, leader)
            entered.wait()
            two = pool.submit(ask, then)
            results = [one.result(), two.result()]
        return results[0], results[1]

    def test_an_error_of_the_model_is(self) -> None:
        def fail() -> Found:
            raise ModelError("broken")

        first, second = self.run(fail, lambda: pytest.fail("computed again"))
        assert isinstance(first, ModelError)
        assert second is first

    def test_what_fails_because_its_caller_gave_up_is_not(self) -> None:
        """Chat models say so by a `ModelError`."""
        assert CERTIFICATE is not None
        once, go = OncePerKey(), threading.Event()

        def given_up(caller: Caller) -> Found:
            go.wait()
            caller.cancel()
            raise ModelError("the calls were called off")

        def first() -> None:
            with asking() as caller, pytest.raises(ModelError):
                once.run(KEY, lambda: None, partial(given_up, caller))

        with ThreadPoolExecutor(2) as pool:
            leader = pool.submit(first)
            while not once._flights:
                time.sleep(0.01)
            follower = pool.submit(once.run, KEY, lambda: None, lambda: (CERTIFICATE, "computed"))
            time.sleep(0.05)
            go.set()
            leader.result()
            assert follower.result() == (CERTIFICATE, "computed")

    @pytest.mark.parametrize("error", [QueueFullError("full"), StoreError("down"), KeyboardInterrupt()])
    def test_other_errors_are_not(self, error: BaseException) -> None:
        assert CERTIFICATE is not None

        def fail() -> Found:
            raise error

        if isinstance(error, Exception):
            assert self.run(fail, lambda: (CERTIFICATE, "computed"))[1] == (CERTIFICATE, "computed")
        else:
            once = OncePerKey()
            with pytest.raises(KeyboardInterrupt):
                once.run(KEY, lambda: None, fail)
            assert once.run(KEY, lambda: None, lambda: (CERTIFICATE, "computed"))[1] == "computed"

    def test_what_a_deadline_cut_short_is_not(self) -> None:
        assert CERTIFICATE is not None
        cut = CERTIFICATE.model_copy(update={"stop_reason": "deadline"})
        first, second = self.run(lambda: (cut, "computed"), lambda: (CERTIFICATE, "computed"))
        assert first == (cut, "computed")
        assert second == (CERTIFICATE, "computed")

    def test_a_near_hit_stays_one(self) -> None:
        assert CERTIFICATE is not None
        near: Found = (CERTIFICATE, "near")
        assert self.run(lambda: near, lambda: pytest.fail("computed again")) == (near, near)


def test_whoever_has_waited_long_enough_computes() -> None:
    assert CERTIFICATE is not None
    found: Found = (CERTIFICATE, "computed")
    once, release = OncePerKey(patience=0.1), threading.Event()

    def slow() -> Found:
        release.wait()
        return found

    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(once.run, KEY, lambda: None, slow)
        while not once._flights:
            time.sleep(0.01)
        assert once.run(KEY, lambda: None, lambda: found) == found
        assert once.run(KEY, lambda: None, lambda: found, until=time.monotonic()) == found
        release.set()
        assert first.result() == found


def test_a_waiter_with_a_deadline_decides_by_its_deadline() -> None:
    class FrozenVLM(HalfSpaceVLM):
        def answer(self, draws: Sequence[Draw], deadline: float | None = None) -> list[Answer]:
            if deadline is None:
                release.wait()
                return super().answer(draws, deadline)
            return [Answer.failure("deadline") for _ in draws]

    release = threading.Event()
    guard = Guard(FrozenVLM(0.0), ORACLE, smoothing=SMOOTHING, store=MemoryStore())
    with ThreadPoolExecutor(1) as pool:
        patient = pool.submit(guard.check, IMAGE, "?")
        while not guard._lookup.once._flights:
            time.sleep(0.01)
        hasty = guard.check(IMAGE, "?", deadline=0.1)
        assert hasty.reasons == (Reason.DEADLINE,)
        assert hasty.blocked
        release.set()
        assert isinstance(patient.result().certificate, Certificate)
        assert not patient.result().blocked
