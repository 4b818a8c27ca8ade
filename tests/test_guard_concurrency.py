"""Concurrent requests of one guard share the batches of its model, and nothing else."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from pydantic import SecretBytes

from guardrail import Guard, InputImage, Policy, Reason, Smoothing
from guardrail.callers import asking, current_caller
from guardrail.errors import ConfigurationError, QueueFullError
from guardrail.models.base import Answer, Draw, Sizes
from guardrail.models.scheduling import Scheduler
from guardrail.prompts import Prompt
from guardrail.stores import MemoryStore
from tests.kit.synthetic import ORACLE, Batching, HalfSpaceVLM

KEY = SecretBytes(b"the key of these tests")
WHITE = InputImage(np.full((4, 4, 3), 255, np.uint8))


def grey(value: int) -> InputImage:
    return InputImage(np.full((4, 4, 3), value, np.uint8))


def batching(*models: Batching) -> Guard:
    return Guard(list(models), ORACLE, smoothing=Smoothing(samples=100, looks=(20, 100), key=KEY))


class TestConcurrentRequests:
    def test_their_draws_share_batches_and_change_nothing(self) -> None:
        alone, together = Batching(10.0), Batching(10.0)
        pictures = [grey(value) for value in range(0, 256, 16)]
        with batching(alone) as one, batching(together) as many:
            expected = [one.check(image, "?") for image in pictures]
            decisions = many.check_many([(image, "?") for image in pictures])
        assert [d.certificate for d in decisions] == [d.certificate for d in expected]
        assert sum(alone.batches) == sum(together.batches)
        assert len(together.batches) < len(alone.batches) / 2
        assert max(together.batches) == 64

    def test_a_full_queue_is_a_reason_of_its_own(self) -> None:
        scheduler = Scheduler(Batching(10.0), batch_size=20, max_queue=20)
        with (
            Guard(scheduler, ORACLE, smoothing=Smoothing(samples=100, looks=(20, 100), key=KEY)) as guarded,
            ThreadPoolExecutor(32) as pool,
        ):
            decisions = list(pool.map(lambda value: guarded.check(grey(value), "?"), range(0, 256, 8)))
        scheduler.close()
        refused = [decision for decision in decisions if decision.blocked and decision.certificate is None]
        assert refused
        assert {decision.reasons for decision in refused} == {(Reason.QUEUE_FULL,)}

    async def test_whoever_waits_for_one_that_is_called_off_computes(self) -> None:
        asked, go = threading.Event(), threading.Event()

        class Held(Batching):
            def answer(self, draws: Sequence[Draw], deadline: float | None = None) -> list[Answer]:
                asked.set()
                assert go.wait(60.0)
                return super().answer(draws, deadline)

        scheduler, store = Scheduler(Held(10.0), batch_size=20), MemoryStore()
        smoothing = Smoothing(samples=100, looks=(20, 100), key=KEY)  # the first look is not enough
        with Guard(scheduler, ORACLE, smoothing=smoothing, policy=Policy(min_radius=0.5), store=store) as guarded:
            first = asyncio.create_task(guarded.acheck(grey(200), "?"))
            assert await asyncio.to_thread(asked.wait, 60.0)
            second = asyncio.create_task(guarded.acheck(grey(200), "?"))
            await asyncio.sleep(0.05)
            first.cancel()
            go.set()
            decision = await second
        scheduler.close()
        assert (decision.reasons, decision.source) == ((), "computed")

    async def test_async_ones_too(self) -> None:
        model = Batching(10.0)
        with batching(model) as guarded:
            await asyncio.gather(*(guarded.acheck(grey(value), "?") for value in range(0, 256, 16)))
        assert max(model.batches) == 64

    def test_replicas_work_side_by_side(self) -> None:
        models = [Batching(10.0), Batching(10.0)]
        with batching(*models) as guarded:
            guarded.check_many([(grey(value), "?") for value in range(0, 256, 8)])
        assert all(model.batches for model in models)

    def test_replicas_that_differ_are_refused(self) -> None:
        with pytest.raises(ConfigurationError, match="one model"):
            batching(Batching(10.0), Batching(10.0, name="another"))
        with pytest.raises(ConfigurationError, match="empty list"):
            Guard([], ORACLE)

    def test_a_closed_guard_fails_closed(self) -> None:
        guarded = batching(Batching(10.0))
        guarded.check(WHITE, "?")
        guarded.close()
        assert guarded.check(WHITE, "?").reasons == (Reason.MODEL_FAILED,)

    @pytest.mark.slow
    def test_a_guard_that_is_gone_leaves_no_thread(self) -> None:
        before = set(threading.enumerate())
        guarded = batching(Batching(10.0))
        guarded.check(WHITE, "?")
        [worker] = set(threading.enumerate()) - before
        del guarded
        gc.collect()
        worker.join(5)
        assert not worker.is_alive()

    def test_a_lone_request_waits_for_no_company(self) -> None:
        with Scheduler(HalfSpaceVLM(10.0), max_wait=1.0) as scheduler:
            guarded = Guard(scheduler, ORACLE, smoothing=Smoothing(samples=100, looks=(20, 100), key=KEY))
            guarded.check(WHITE, "?")
            start = time.monotonic()
            assert not guarded.check(grey(200), "?").blocked
            assert time.monotonic() - start < 1.0

    def test_replicas_keep_what_their_owner_pays_for(self) -> None:
        paid = [Batching(10.0), Batching(10.0)]
        for model in paid:
            model.max_draws = 10  # type: ignore[attr-defined]
        with pytest.raises(ConfigurationError, match="pays for 10 draws"):
            batching(*paid)

    @pytest.mark.slow
    def test_many_requests_with_many_draws_do_not_fill_their_own_queue(self) -> None:
        smoothing = Smoothing(samples=1500, method="fixed", key=KEY)
        with Guard(Batching(10.0), ORACLE, smoothing=smoothing) as guarded:
            decisions = guarded.check_many([(grey(value), "?") for value in range(0, 256, 32)])
        assert all(decision.certificate is not None for decision in decisions)

    def test_a_full_queue_is_told_as_one(self) -> None:
        class Full(HalfSpaceVLM):
            def answer(self, draws: Sequence[Draw], deadline: float | None = None) -> list[Answer]:
                raise QueueFullError("9 draws wait, at most 8 may: ask again later")

        assert Guard(Full(10.0), ORACLE).check(WHITE, "?").reasons == (Reason.QUEUE_FULL,)

    def test_many_requests_are_asked_for_whom_the_caller_asks(self) -> None:
        clients: set[str | None] = set()

        class Attentive(Batching):
            def check(self, prompt: Prompt, sizes: Sizes) -> None:
                caller = current_caller()
                clients.add(caller.client if caller else None)

        with batching(Attentive(10.0)) as guarded, asking("alice"):
            guarded.check_many([(WHITE, "?"), (grey(200), "?")])
        assert clients == {"alice"}

    async def test_waiting_for_a_thread_counts_towards_the_deadline(self) -> None:
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
        with batching(Batching(10.0)) as guarded:
            busy = asyncio.create_task(asyncio.to_thread(time.sleep, 0.5))
            await asyncio.sleep(0.05)
            decision = await guarded.acheck(WHITE, "?", deadline=0.3)
            await busy
        assert decision.certificate is not None
        assert decision.certificate.stop_reason == "deadline"
        assert decision.certificate.counts["failed"] == decision.certificate.draws

    @pytest.mark.slow
    def test_a_classifier_that_outlives_its_guard_works(self) -> None:
        before = set(threading.enumerate())
        classifier = batching(Batching(10.0)).classifier
        gc.collect()
        assert classifier.certify(WHITE, "?").certified_class == "harmless"
        [worker] = set(threading.enumerate()) - before
        del classifier
        gc.collect()
        worker.join(5)
        assert not worker.is_alive()

    async def test_who_waits_for_an_equal_request_and_gives_up_gives_its_thread_back(self) -> None:
        go = threading.Event()

        class Blocked(HalfSpaceVLM):
            def answer(self, draws: Sequence[Draw], deadline: float | None = None) -> list[Answer]:
                go.wait(20)
                return super().answer(draws, deadline)

        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(3))
        guarded = Guard(Blocked(10.0), ORACLE, smoothing=Smoothing(samples=20, key=KEY), store=MemoryStore())
        waiting = [asyncio.create_task(guarded.acheck(WHITE, "?")) for _ in range(3)]
        await asyncio.sleep(0.3)
        for task in waiting:
            task.cancel()
        try:
            assert await asyncio.wait_for(asyncio.to_thread(lambda: True), 5)
        finally:
            go.set()
