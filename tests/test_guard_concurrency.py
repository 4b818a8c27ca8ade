"""Concurrent requests of one guard share the batches of its model, and nothing else."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from pydantic import SecretBytes

from guardrail import Guard, InputImage, Reason, Smoothing
from guardrail.errors import ConfigurationError
from guardrail.models.base import Answer, Draw
from guardrail.scheduling import Scheduler
from guardrail.stores import MemoryStore
from tests.synthetic import ORACLE, HalfSpaceVLM

KEY = SecretBytes(b"the key of these tests")
WHITE = InputImage(np.full((4, 4, 3), 255, np.uint8))


@dataclass
class Batching(HalfSpaceVLM):
    """A model that works in batches, one at a time, and takes a while for each."""

    batch_size: int = 64

    def answer(self, draws: Sequence[Draw], deadline: float | None = None) -> list[Answer]:
        time.sleep(0.01)
        return super().answer(draws, deadline)


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
        with Guard(scheduler, ORACLE, smoothing=Smoothing(samples=100, looks=(20, 100), key=KEY)) as guarded:
            decisions = guarded.check_many([(grey(value), "?") for value in range(0, 256, 8)])
        scheduler.close()
        refused = [decision for decision in decisions if decision.blocked and decision.certificate is None]
        assert refused
        assert {decision.reasons for decision in refused} == {(Reason.QUEUE_FULL,)}

    async def test_whoever_waits_for_one_that_is_called_off_computes(self) -> None:
        scheduler, store = Scheduler(Batching(10.0), batch_size=20), MemoryStore()
        smoothing = Smoothing(samples=100, looks=(20, 100), key=KEY)
        with Guard(scheduler, ORACLE, smoothing=smoothing, store=store) as guarded:
            busy = [asyncio.create_task(guarded.acheck(grey(value), "?")) for value in range(3)]
            first = asyncio.create_task(guarded.acheck(grey(200), "?"))
            await asyncio.sleep(0.02)
            second = asyncio.create_task(guarded.acheck(grey(200), "?"))
            await asyncio.sleep(0.01)
            first.cancel()
            decision = await second
            await asyncio.gather(*busy)
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
