"""A client's draws are limited by the minute, whatever it sends and whichever replica it asks."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from guardrail import Guard, InputImage, Reason, Smoothing
from guardrail.budget import DrawBudget
from guardrail.errors import BudgetSpentError, ConfigurationError, QueueFullError
from guardrail.models.base import Answer, Draw
from guardrail.stores import MemoryStore
from guardrail.stores.redis.buckets import RedisBuckets
from guardrail.stores.redis.connection import RedisConnection
from tests.kit.redis_server import RedisServer
from tests.kit.synthetic import ORACLE, HalfSpaceVLM

SMOOTHING = Smoothing(samples=20, key=b"the key of these tests")


def picture(value: int) -> InputImage:
    return InputImage(np.full((4, 4, 3), value, np.uint8))


@pytest.fixture(params=["memory", "redis"])
def make(request: pytest.FixtureRequest) -> Callable[[int], DrawBudget]:
    if request.param == "memory":
        return DrawBudget
    url = request.getfixturevalue("shared_redis").url
    return lambda per_minute: DrawBudget(per_minute, RedisBuckets(RedisConnection(url)))


def spend(budget: DrawBudget, client: str | None, draws: int, used: int | None = None) -> bool:
    try:
        with budget.reserved(client, draws) as spent:
            spent.append(draws if used is None else used)
    except BudgetSpentError:
        return False
    return True


def test_a_bucket_per_client(make: Callable[[int], DrawBudget]) -> None:
    budget = make(60)
    assert spend(budget, "a", 40)
    assert not spend(budget, "a", 40)
    assert spend(budget, "a", 15)
    assert spend(budget, "b", 60)
    assert spend(budget, None, 60)
    assert not spend(budget, None, 60)
    assert spend(budget, "none", 60)


def test_what_was_not_drawn_is_given_back(make: Callable[[int], DrawBudget]) -> None:
    budget = make(100)
    assert all(spend(budget, "a", 90, used=2) for _ in range(6)), "2 each"
    assert spend(budget, "a", 88, used=88)
    assert not spend(budget, "a", 10)


def test_what_is_in_flight_is_reserved(make: Callable[[int], DrawBudget]) -> None:
    budget = make(100)
    with budget.reserved("a", 60) as spent:
        assert not spend(budget, "a", 60)
        spent.append(0)
    assert spend(budget, "a", 60)


def test_an_error_gives_nothing_back(make: Callable[[int], DrawBudget]) -> None:
    budget = make(100)
    with pytest.raises(OSError, match="broken"), budget.reserved("a", 60):
        raise OSError("broken")
    assert not spend(budget, "a", 60)
    with pytest.raises(QueueFullError), budget.reserved("b", 60):
        raise QueueFullError("before the first draw")
    assert spend(budget, "b", 60)


def test_it_fills_again_evenly_and_never_beyond_its_size(make: Callable[[int], DrawBudget]) -> None:
    budget = make(600)  # ten a second
    assert spend(budget, "a", 600)
    assert not spend(budget, "a", 30)
    time.sleep(0.65)
    assert spend(budget, "a", 6)
    assert not spend(budget, "a", 30)
    for _ in range(3):
        spend(budget, "b", 600, used=0)
    assert not spend(budget, "b", 601)


def test_asking_in_vain_does_not_keep_it_from_filling(make: Callable[[int], DrawBudget]) -> None:
    budget = make(600)
    assert spend(budget, "a", 600)
    until = time.monotonic() + 0.6
    while time.monotonic() < until:
        assert not spend(budget, "a", 60)
        time.sleep(0.01)
    assert spend(budget, "a", 5)


def test_concurrent_requests_cannot_overspend(make: Callable[[int], DrawBudget]) -> None:
    budget = make(100)
    with ThreadPoolExecutor(16) as pool:
        allowed = list(pool.map(lambda _: spend(budget, "a", 10), range(40)))
    assert sum(allowed) == 10


def test_replicas_share_a_bucket(shared_redis: RedisServer) -> None:
    one, other = (DrawBudget(100, RedisBuckets(RedisConnection(shared_redis.url))) for _ in range(2))
    assert spend(one, "a", 60)
    assert not spend(other, "a", 60)


def test_in_an_outage_each_process_counts(redis_server: RedisServer) -> None:
    budget = DrawBudget(100, RedisBuckets(RedisConnection(redis_server.url, timeout=0.2)))
    redis_server.stop()
    assert spend(budget, "a", 60)
    assert not spend(budget, "a", 60)


def test_memory_is_bounded() -> None:
    budget = DrawBudget(100, capacity=10)
    for client in range(100):
        assert spend(budget, str(client), 100)
    assert len(budget._buckets) == 10


def test_a_guard_refuses_by_its_own_reason_and_hits_are_free() -> None:
    guard = Guard(HalfSpaceVLM(24.0), ORACLE, smoothing=SMOOTHING, store=MemoryStore(), budget=DrawBudget(55))
    decisions = [guard.check(picture(value), "?", client="mallory") for value in range(200, 212)]
    passed = [d for d in decisions if not d.blocked]
    refused = [d for d in decisions if d.blocked]
    assert sum(d.certificate.draws for d in passed if d.certificate) <= 55
    assert {d.reasons for d in refused} == {(Reason.BUDGET_SPENT,)}
    assert len(passed) >= 3, "early stopping leaves more of it"
    again = guard.check(picture(200), "?", client="mallory")
    assert (again.source, again.blocked) == ("hit", False)
    assert not guard.check(picture(211), "?", client="alice").blocked


def test_a_budget_that_is_never_enough_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="never enough"):
        Guard(HalfSpaceVLM(24.0), ORACLE, smoothing=SMOOTHING, budget=DrawBudget(19))
    with pytest.raises(ConfigurationError, match="at least 1"):
        DrawBudget(0)


def test_draws_that_came_too_late_to_count_are_paid_for() -> None:
    class Late(HalfSpaceVLM):
        def answer(self, draws: Sequence[Draw], deadline: float | None = None) -> list[Answer]:
            answers = super().answer(draws, deadline)
            return answers if draws[0].index == 0 else [*answers[:-1], Answer.failure("deadline")]

    budget = DrawBudget(100)
    smoothing = Smoothing(samples=100, looks=(20, 100), target_radius=0.5, key=b"the key of these tests")
    guard = Guard(Late(24.0), ORACLE, smoothing=smoothing, budget=budget)
    certificate = guard.check(picture(255), "?", client="x", deadline=60.0).certificate
    assert certificate is not None
    assert (certificate.stop_reason, certificate.draws) == ("deadline", 20)
    assert not spend(budget, "x", 50)


def test_draws_that_selected_a_class_are_paid_for_where_the_queue_is_full() -> None:
    class Full(HalfSpaceVLM):
        def answer(self, draws: Sequence[Draw], deadline: float | None = None) -> list[Answer]:
            if self.batches:
                raise QueueFullError("full")
            return super().answer(draws, deadline)

    budget = DrawBudget(120)
    smoothing = Smoothing(samples=100, class_rule="selection", key=b"the key of these tests")
    decision = Guard(Full(24.0), ORACLE, smoothing=smoothing, budget=budget).check(picture(255), "?", client="x")
    assert decision.reasons == (Reason.QUEUE_FULL,)
    assert spend(budget, "x", 90)
    assert not spend(budget, "x", 20)
