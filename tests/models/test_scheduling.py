"""The scheduler: full batches, fairness, and that nobody is left waiting. No test asserts how fast anything is."""

from __future__ import annotations

import asyncio
import gc
import random
import subprocess
import sys
import threading
import time
import weakref
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from guardrail import Guard, SmoothedClassifier, Smoothing
from guardrail.callers import Caller, asking
from guardrail.certify.noise import NoiseStream
from guardrail.errors import ConfigurationError, ModelError
from guardrail.models.base import Answer, Draw, Sizes, VisionLanguageModel, past
from guardrail.models.scheduling import QueueFullError, Scheduler, _Call
from guardrail.prompts import Prompt
from tests.kit.synthetic import ORACLE, HalfSpaceVLM

pytestmark = pytest.mark.timeout(60)


@dataclass
class GatedVLM:
    """Says which draw it was shown, and answers a batch only when let. Draws named `bad…` make it raise."""

    name: str = "gated"
    resolution: tuple[int, int] | None = None
    repeats_draws: bool = True
    batches: list[list[str]] = field(default_factory=list)
    threads: set[str] = field(default_factory=set)
    deadlines: list[float | None] = field(default_factory=list)
    begun: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    gate: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    def check(self, prompt: Prompt, sizes: Sizes) -> None:
        if "unfit" in prompt.text:
            raise ModelError("unfit")

    def answer(self, draws: Sequence[Draw], deadline: float | None = None) -> list[Answer]:
        said = [f"{draw.prompt.text}:{draw.index}" for draw in draws]
        self.batches.append(said)
        self.deadlines.append(deadline)
        self.threads.add(threading.current_thread().name)
        self.begun.release()
        assert self.gate.acquire(timeout=10)
        if any(text.startswith("panic") for text in said):
            raise SystemExit(3)
        if any(text.startswith("bad") for text in said):
            raise ValueError("bad draw")
        if any(text.startswith("short") for text in said):
            return []
        return [Answer(text) for text in said]

    def open(self, batches: int = 10_000) -> None:
        """Let batches through."""
        self.gate.release(batches)

    def wait_for_batch(self) -> None:
        """Wait until one more batch has begun."""
        assert self.begun.acquire(timeout=10)

    def place(self, name: str) -> int:
        """Number of the batch in which a request's last draw was."""
        return max(i for i, batch in enumerate(self.batches) if any(said.split(":")[0] == name for said in batch))


ROOT = Path(__file__).resolve().parents[2]


def draws(name: str, indices: Iterable[int] = range(4)) -> list[Draw]:
    stream = NoiseStream.derive(b"k" * 16, name.encode(), "estimation")
    return [Draw((np.full((2, 2, 3), 0.5),), Prompt.of(name, 1), 0.5, stream, i) for i in indices]


def said(name: str, indices: Iterable[int] = range(4)) -> list[Answer]:
    return [Answer(f"{name}:{i}") for i in indices]


class CountingScheduler(Scheduler):
    """Counts the calls that have been queued or refused."""

    calls = 0

    def _submit(self, draws: Sequence[Draw], deadline: float | None) -> _Call:
        try:
            return super()._submit(draws, deadline)
        finally:
            self.calls += 1


@dataclass
class Desk:
    """A scheduler whose model is busy until the test opens it, so that all that is asked meanwhile waits in order."""

    scheduler: CountingScheduler
    model: GatedVLM
    pool: ThreadPoolExecutor

    def occupy(self) -> Future[list[Answer]]:
        """Keep one replica busy with a request of its own."""
        future = self.pool.submit(self.scheduler.answer, draws("busy", [0]))
        self.model.wait_for_batch()
        return future

    def ask(
        self, name: str, indices: Iterable[int] = range(4), client: str | None = None, deadline: float | None = None
    ) -> Future[list[Answer]]:
        """Ask from a thread of its own, and return once the draws are in the queue."""
        before = self.scheduler.calls
        future = self.pool.submit(self._answer, draws(name, indices), client, deadline)
        until(lambda: self.scheduler.calls > before)
        return future

    def _answer(self, asked: Sequence[Draw], client: str | None, deadline: float | None) -> list[Answer]:
        with asking(client):
            return self.scheduler.answer(asked, deadline)


def until(reached: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not reached():
        assert time.monotonic() < end, "never came"
        time.sleep(0.001)


@pytest.fixture
def make_desk() -> Iterator[Callable[..., Desk]]:
    made: list[Desk] = []

    def make(batch_size: int = 8, max_queue: int = 4096, *, repeats_draws: bool = True) -> Desk:
        model = GatedVLM(repeats_draws=repeats_draws)
        scheduler = CountingScheduler(model, batch_size=batch_size, max_queue=max_queue, max_wait=0.0)
        made.append(Desk(scheduler, model, ThreadPoolExecutor(200)))
        return made[-1]

    yield make
    for desk in made:
        desk.model.open()
        desk.scheduler.close()
        desk.pool.shutdown()


MakeDesk = Callable[..., Desk]


# ---------------------------------------------------------------------------------------------------- what it is


def test_is_a_model_under_the_name_of_its_model() -> None:
    model = GatedVLM(resolution=(4, 5))
    with Scheduler(model) as scheduler:
        assert isinstance(scheduler, VisionLanguageModel)
        assert (scheduler.name, scheduler.resolution) == ("gated", (4, 5))
        assert "gated" in repr(scheduler)
        assert scheduler.answer([]) == []
        with pytest.raises(ModelError, match="unfit"):
            scheduler.check(Prompt.of("unfit", 1), [(2, 2)])


@pytest.mark.parametrize(
    "options", [{"batch_size": 0}, {"max_queue": 0}, {"max_wait": -1.0}, {"max_wait": float("nan")}]
)
def test_numbers_out_of_range_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ConfigurationError, match="must be at least"):
        Scheduler(GatedVLM(), **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("models", [[], [GatedVLM("a"), GatedVLM("b")], [GatedVLM(), GatedVLM(resolution=(2, 2))]])
def test_replicas_that_differ_are_refused(models: list[GatedVLM]) -> None:
    with pytest.raises(ConfigurationError, match="of one model and resolution"):
        Scheduler(models)


# ---------------------------------------------------------------------------------------------------- same result


@pytest.mark.slow
def test_certificates_are_those_of_a_request_served_alone() -> None:
    """32 requests of different images and margins, with early stopping, from 32 threads at once."""
    smoothing = Smoothing(sigma=0.5, samples=60, target_radius=0.1, batch=10, key=b"0123456789abcdef")  # type: ignore[arg-type]
    images = [np.full((4, 4, 3), level, np.uint8) for level in np.linspace(100, 160, 32).astype(np.uint8)]
    threshold = 4 * 4 * 3 * 0.5
    alone = [SmoothedClassifier(HalfSpaceVLM(threshold), ORACLE, smoothing).certify(_png(x), "?") for x in images]
    model = HalfSpaceVLM(threshold)
    with Scheduler(model, batch_size=64, max_wait=0.01) as scheduler, ThreadPoolExecutor(32) as pool:
        classifier = SmoothedClassifier(scheduler, ORACLE, smoothing)
        together = list(pool.map(lambda x: classifier.certify(_png(x), "?"), images))
    assert together == alone
    assert len({certificate.verdict for certificate in alone}) > 1
    assert sum(model.batches) == sum(certificate.draws for certificate in alone)
    assert max(model.batches) > 10, "no two requests ever shared a batch"


def _png(pixels: np.ndarray) -> bytes:
    import io

    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def test_answers_come_back_to_who_asked_in_order(make_desk: MakeDesk) -> None:
    desk = make_desk(batch_size=8)
    desk.occupy()
    asked = {name: desk.ask(name, range(size)) for name, size in (("a", 3), ("b", 20), ("c", 1), ("d", 7))}
    desk.model.open()
    for name, size in (("a", 3), ("b", 20), ("c", 1), ("d", 7)):
        assert asked[name].result() == said(name, range(size))
    assert [len(batch) for batch in desk.model.batches] == [1, 8, 8, 8, 7], "every batch but the last is full"


async def test_async_callers_share_batches() -> None:
    model = GatedVLM()
    model.open()
    with Scheduler(model, batch_size=12, max_wait=10.0) as scheduler:
        answers = await asyncio.gather(*(scheduler.aanswer(draws(name)) for name in "abc"))
        assert answers == [said("a"), said("b"), said("c")]
        assert await scheduler.aanswer([]) == []
    assert len(model.batches) == 1, "one full batch, however long one that is not full would have waited"


# ------------------------------------------------------------------------------------------------------- fairness


def test_first_looks_go_before_later_ones(make_desk: MakeDesk) -> None:
    desk = make_desk(batch_size=4)
    desk.occupy()
    later, middle, first = (desk.ask(n, range(s, s + 4)) for n, s in (("later", 40), ("middle", 4), ("first", 0)))
    desk.model.open()
    assert [future.result()[0].text for future in (later, middle, first)] == ["later:40", "middle:4", "first:0"]
    assert [desk.model.place(name) for name in ("first", "middle", "later")] == [1, 2, 3]


def test_later_looks_do_not_starve_under_a_stream_of_first_ones(make_desk: MakeDesk) -> None:
    """Each batch leaves as many new requests behind as it took. The later look found 4 others and has had 8 draws, so
    it gives way to those that come within 5·8 draws: to these 40, and to the 5 calls of 4 then in the queue."""
    desk = make_desk(batch_size=4)
    desk.occupy()
    old = [desk.ask(f"old{i}") for i in range(4)]
    later = desk.ask("later", range(8, 12))
    for number in range(40):
        desk.ask(f"new{number}")
        desk.model.open(1)
        desk.model.wait_for_batch()
        if later.done():
            break
    desk.model.open()
    assert later.result() == said("later", range(8, 12))
    assert [future.result() for future in old] == [said(f"old{i}") for i in range(4)]
    assert 4 < desk.model.place("later") <= 1 + (5 * 8 + 5 * 4) // 4


def test_a_long_request_leaves_room_for_short_ones(make_desk: MakeDesk) -> None:
    desk = make_desk(batch_size=8)
    long = desk.ask("long", range(1000))
    desk.model.wait_for_batch()
    desk.model.open(3)
    for _ in range(3):
        desk.model.wait_for_batch()
    new = desk.ask("new", range(8))
    desk.model.open()
    assert new.result() == said("new", range(8))
    assert long.result() == said("long", range(1000))
    assert desk.model.place("new") == 4, "in the next batch that began"


@pytest.mark.parametrize("greedy_clients", [1, 3])
def test_a_greedy_client_delays_another_by_one_batch_each(make_desk: MakeDesk, greedy_clients: int) -> None:
    desk = make_desk(batch_size=10)
    desk.occupy()
    greedy = [
        desk.ask(f"greedy{client}-{i}", range(10), client=f"greedy{client}")
        for i in range(100 // greedy_clients)
        for client in range(greedy_clients)
    ]
    assert desk.scheduler.waiting >= 990
    desk.model.open(3)
    for _ in range(3):
        desk.model.wait_for_batch()
    for look in range(3):  # each look comes only after the one before, as a request's do
        running = len(desk.model.batches) - 1
        modest = desk.ask("modest", range(10 * look, 10 * look + 10), client="modest")
        desk.model.open(1 + greedy_clients)
        assert modest.result() == said("modest", range(10 * look, 10 * look + 10))
        assert desk.model.place("modest") <= running + 1 + greedy_clients
    desk.model.open()
    assert all(len(future.result()) == 10 for future in greedy)


def test_clients_get_equal_shares_of_draws_not_of_calls(make_desk: MakeDesk) -> None:
    desk = make_desk(batch_size=20)
    desk.occupy()
    large = [desk.ask(f"large{i}", range(20), client="large") for i in range(5)]
    small = [desk.ask(f"small{i}", range(5), client="small") for i in range(20)]
    desk.model.open()
    for future in large + small:
        future.result()
    for end in (2, 4, 6, 8, 10):
        had = Counter(text[:5] for batch in desk.model.batches[1 : 1 + end] for text in batch)
        assert abs(had["large"] - had["small"]) <= 20, "never more than a batch apart"


# ---------------------------------------------------------------------------------------------- the bounded queue


def test_a_full_queue_refuses_new_requests_but_not_those_that_have_begun(make_desk: MakeDesk) -> None:
    desk = make_desk(batch_size=8, max_queue=8)
    desk.occupy()
    a, b = desk.ask("a"), desk.ask("b")
    with pytest.raises(QueueFullError, match="8 draws wait, at most 8 may"):
        desk.ask("c").result()
    begun = desk.ask("begun", range(4, 8))
    desk.model.open()
    assert (a.result(), b.result(), begun.result()) == (said("a"), said("b"), said("begun", range(4, 8)))
    assert desk.ask("c").result() == said("c"), "and there is place again"


def test_a_full_queue_gives_up_the_newest_request_of_the_greediest_client(make_desk: MakeDesk) -> None:
    desk = make_desk(batch_size=4, max_queue=16)
    desk.occupy()
    greedy = [desk.ask(f"greedy{i}", client="greedy") for i in range(4)]
    modest = desk.ask("modest", range(6), client="modest")
    with pytest.raises(QueueFullError):
        greedy[3].result()
    with pytest.raises(QueueFullError):
        desk.ask("more", client="greedy").result()
    with pytest.raises(QueueFullError):
        desk.ask("more", range(6), client="modest").result()  # it would then have as much as the greedy one
    desk.model.open()
    assert modest.result() == said("modest", range(6))
    assert [f.result() for f in greedy[:3]] == [said(f"greedy{i}") for i in range(3)]


# ------------------------------------------------------------------------------------------------------- deadlines


def test_at_the_deadline_draws_not_begun_fail_and_the_others_are_waited_for(make_desk: MakeDesk) -> None:
    desk = make_desk(batch_size=4)
    late = desk.ask("late", range(10), deadline=time.monotonic() + 0.1)
    desk.model.wait_for_batch()
    until(lambda: desk.scheduler.waiting == 0)
    assert not late.done(), "four of its draws have begun"
    desk.model.open()
    assert late.result() == said("late") + [Answer.failure("deadline")] * 6
    assert len(desk.model.batches) == 1


def test_a_deadline_passes_while_the_model_is_busy_with_others(make_desk: MakeDesk) -> None:
    desk = make_desk()
    busy = desk.occupy()
    assert desk.ask("late", deadline=time.monotonic() + 0.05).result() == [Answer.failure("deadline")] * 4
    assert desk.ask("later", deadline=time.monotonic() - 1).result() == [Answer.failure("deadline")] * 4
    assert not busy.done()
    assert desk.ask("endless", [0], deadline=float("inf")).running()
    desk.model.open()


async def test_a_deadline_of_an_async_caller() -> None:
    model = GatedVLM()
    with Scheduler(model, batch_size=4, max_wait=0.0) as scheduler:
        task = asyncio.create_task(scheduler.aanswer(draws("late", range(6)), time.monotonic() + 0.1))
        await asyncio.to_thread(until, lambda: len(model.batches) == 1 and scheduler.waiting == 0)
        model.open()
        assert await task == said("late") + [Answer.failure("deadline")] * 2


def test_the_model_gets_a_deadline_that_is_too_early_for_nobody(make_desk: MakeDesk) -> None:
    desk = make_desk()
    desk.occupy()
    near, far = time.monotonic() + 1000, time.monotonic() + 2000
    both = [desk.ask("near", deadline=near), desk.ask("far", deadline=far)]
    desk.model.open()
    for future in both:
        future.result()
    desk.ask("none").result()
    assert desk.model.deadlines == [None, far, None]


def test_a_certificate_under_a_deadline_counts_what_is_missing_as_failed() -> None:
    model = GatedVLM()
    with Scheduler(model, batch_size=4) as scheduler, ThreadPoolExecutor(1) as pool:
        classifier = SmoothedClassifier(scheduler, ORACLE, Smoothing(samples=10))
        image = _png(np.zeros((2, 2, 3), np.uint8))
        certificate = pool.submit(classifier.certify, image, "good", deadline=time.monotonic() + 0.1)
        model.wait_for_batch()
        until(lambda: scheduler.waiting == 0)
        model.open()
    assert certificate.result().counts["failed"] == 6
    assert certificate.result().stop_reason == "deadline"


# ---------------------------------------------------------------------------------------------------- cancellation


async def test_cancelling_a_task_frees_its_place() -> None:
    model = GatedVLM()
    with Scheduler(model, batch_size=4, max_queue=8, max_wait=0.0) as scheduler:
        busy = asyncio.create_task(scheduler.aanswer(draws("busy")))
        await asyncio.to_thread(model.wait_for_batch)
        unwanted = asyncio.create_task(scheduler.aanswer(draws("unwanted", range(8))))
        await asyncio.sleep(0)
        with pytest.raises(QueueFullError):
            await scheduler.aanswer(draws("refused"))
        unwanted.cancel()
        with pytest.raises(asyncio.CancelledError):
            await unwanted
        assert scheduler.waiting == 0
        wanted = asyncio.create_task(scheduler.aanswer(draws("wanted")))
        await asyncio.sleep(0)
        model.open()
        assert (await busy, await wanted) == (said("busy"), said("wanted"))
    assert len(model.batches) == 2


async def test_cancelling_a_task_whose_draws_have_begun_harms_nobody() -> None:
    model = GatedVLM()
    with Scheduler(model, batch_size=8, max_wait=10.0) as scheduler:
        unwanted = asyncio.create_task(scheduler.aanswer(draws("unwanted")))
        wanted = asyncio.create_task(scheduler.aanswer(draws("wanted")))
        await asyncio.to_thread(model.wait_for_batch)
        unwanted.cancel()
        with pytest.raises(asyncio.CancelledError):
            await unwanted
        model.open()
        assert await wanted == said("wanted")


def test_a_caller_in_another_thread_can_be_called_off(make_desk: MakeDesk) -> None:
    desk = make_desk()
    desk.occupy()
    callers: list[Caller] = []

    def ask() -> list[Answer]:
        with asking("alice") as caller, asking() as inner:
            assert inner.client == "alice"
            callers.append(caller)
            try:
                return desk.scheduler.answer(draws("unwanted"))
            except CancelledError:
                return desk.scheduler.answer(draws("next look", range(4, 8)))

    future = desk.pool.submit(ask)
    until(lambda: desk.scheduler.waiting == 4)
    callers[0].cancel()
    with pytest.raises(CancelledError):
        future.result()
    assert desk.scheduler.waiting == 0


async def test_a_cancelled_scope_calls_off_the_thread_that_works_for_it() -> None:
    model = GatedVLM()
    with Scheduler(model, batch_size=4, max_wait=0.0) as scheduler:
        busy = asyncio.create_task(scheduler.aanswer(draws("busy")))
        await asyncio.to_thread(model.wait_for_batch)

        async def acheck() -> list[Answer]:
            with asking("alice"):
                return await asyncio.to_thread(scheduler.answer, draws("unwanted"))

        task = asyncio.create_task(acheck())
        await asyncio.to_thread(until, lambda: scheduler.waiting == 4)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert scheduler.waiting == 0
        model.open()
        await busy


# --------------------------------------------------------------------------------------------------- failing alone


@pytest.mark.parametrize(
    ("bad", "error", "message"),
    [("bad", ValueError, "bad draw"), ("short", ModelError, "0 answers to 4"), ("panic", ModelError, "SystemExit")],
)
def test_a_failing_request_fails_alone(make_desk: MakeDesk, bad: str, error: type[Exception], message: str) -> None:
    desk = make_desk(batch_size=32)
    desk.occupy()
    good = {f"good{i}": desk.ask(f"good{i}") for i in range(3)}
    failing = desk.ask(bad)
    good |= {f"good{i}": desk.ask(f"good{i}") for i in range(3, 7)}
    desk.model.open()
    with pytest.raises(error, match=message):
        failing.result()
    for name, future in good.items():
        assert future.result() == said(name)
    assert len(desk.model.batches) <= 1 + 1 + 2 * 3, "halved three times to find one of eight"
    assert desk.ask("after").result() == said("after"), "the worker lives on"


def test_what_is_left_of_a_failed_request_leaves_the_queue(make_desk: MakeDesk) -> None:
    desk = make_desk(batch_size=4)
    failing = desk.ask("bad", range(100))
    desk.model.wait_for_batch()
    desk.model.open()
    with pytest.raises(ValueError, match="bad draw"):
        failing.result()
    assert desk.scheduler.waiting == 0
    assert len(desk.model.batches) == 1


def test_a_model_that_cannot_repeat_a_draw_gets_no_second_try(make_desk: MakeDesk) -> None:
    desk = make_desk(batch_size=8, repeats_draws=False)
    desk.occupy()
    futures = [desk.ask("bad"), desk.ask("good")]
    desk.model.open()
    for future in futures:
        with pytest.raises(ModelError, match="ValueError: bad draw"):
            future.result()
    assert len(desk.model.batches) == 2


def test_no_second_try_after_the_deadline(make_desk: MakeDesk) -> None:
    desk = make_desk(batch_size=12)
    desk.occupy()
    end = time.monotonic() + 0.3
    late, bad, good = desk.ask("late", deadline=end), desk.ask("bad"), desk.ask("good")
    desk.model.open(1)
    desk.model.wait_for_batch()
    until(lambda: past(end))
    desk.model.open()
    assert late.result() == [Answer.failure("deadline")] * 4
    assert good.result() == said("good")
    with pytest.raises(ValueError, match="bad draw"):
        bad.result()


# --------------------------------------------------------------------------------------------------------- replicas


def test_batches_go_to_the_first_free_replica() -> None:
    stuck, free = GatedVLM(), GatedVLM()
    with Scheduler([stuck, free], batch_size=4, max_wait=0.0) as scheduler, ThreadPoolExecutor(8) as pool:
        first = pool.submit(scheduler.answer, draws("x"))
        until(lambda: bool(stuck.batches or free.batches))
        if free.batches:
            stuck, free = free, stuck
        free.open()
        for i in range(5):
            assert scheduler.answer(draws(f"r{i}")) == said(f"r{i}")
        assert not first.done()
        stuck.open()
        assert first.result() == said("x")
    assert (len(stuck.batches), len(free.batches)) == (1, 5)


def test_one_request_may_be_spread_over_replicas() -> None:
    models = [GatedVLM(), GatedVLM(), GatedVLM()]
    with Scheduler(models, batch_size=4, max_wait=0.0) as scheduler, ThreadPoolExecutor(1) as pool:
        future = pool.submit(scheduler.answer, draws("wide", range(12)))
        for model in models:
            model.wait_for_batch()
        for model in reversed(models):
            model.open()
        assert future.result() == said("wide", range(12))


def test_a_failed_part_that_is_late_counts_once_while_another_replica_has_the_rest() -> None:
    models = [GatedVLM(), GatedVLM()]
    with Scheduler(models, batch_size=4, max_wait=1.0) as scheduler, ThreadPoolExecutor(2) as pool:
        end = time.monotonic() + 0.5
        spread = pool.submit(scheduler.answer, draws("spread", range(6)), end)  # 4 go out, 2 wait for company
        until(lambda: any(model.batches for model in models) and scheduler.waiting == 2)
        bad = pool.submit(scheduler.answer, draws("bad", range(2)))
        for model in models:
            model.wait_for_batch()
        whole, mixed = sorted(models, key=lambda model: "bad:0" in model.batches[0])
        until(lambda: past(end))
        mixed.open()
        with pytest.raises(ValueError, match="bad draw"):
            bad.result()
        assert not spread.done()
        whole.open()
        assert spread.result(timeout=10) == said("spread") + [Answer.failure("deadline")] * 2


# --------------------------------------------------------------------------------------------------------- shutdown


def test_closing_fails_who_waits_and_lets_end_what_has_begun(make_desk: MakeDesk) -> None:
    desk = make_desk(batch_size=4)
    busy = desk.occupy()
    waiting = [desk.ask(f"w{i}") for i in range(5)]
    closing = [desk.pool.submit(desk.scheduler.close) for _ in range(3)]
    for future in waiting:
        with pytest.raises(ModelError, match="was closed"):
            future.result()
    assert not any(future.done() for future in closing)
    desk.model.open()
    assert busy.result() == said("busy", [0])
    for future in closing:
        future.result()
    with pytest.raises(ModelError, match="is closed"):
        desk.scheduler.answer(draws("after"))
    with pytest.raises(ModelError, match="is closed"):
        desk.scheduler.answer([])


def test_closing_what_was_never_used() -> None:
    Scheduler(GatedVLM()).close()


def test_closing_ends_the_threads() -> None:
    model = GatedVLM()
    model.open()
    before = set(threading.enumerate())
    with Scheduler([model, model]) as scheduler:
        scheduler.answer(draws("a"))
        assert set(threading.enumerate()) > before
    assert set(threading.enumerate()) <= before


@pytest.mark.slow
def test_a_process_ends_with_a_request_under_way_and_an_open_scheduler() -> None:
    """No thread is torn from within the model when the interpreter ends."""
    code = """
import threading, time
from PIL import Image
from guardrail import Guard
from tests.kit.synthetic import Batching, ORACLE
guard, white = Guard(Batching(10.0), ORACLE), Image.new("RGB", (4, 4), "white")
guard.check(white, "?")
threading.Thread(target=guard.check, args=(white, "?"), daemon=True).start()
time.sleep(0.005)
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_a_failing_batch_is_not_tried_again_once_closed(make_desk: MakeDesk) -> None:
    desk = make_desk(batch_size=8)
    desk.occupy()
    futures = [desk.ask("bad"), desk.ask("good")]
    desk.model.open(1)
    desk.model.wait_for_batch()
    closing = desk.pool.submit(desk.scheduler.close)
    until(lambda: desk.scheduler._closed)
    desk.model.open()
    closing.result()
    for future in futures:
        with pytest.raises(ModelError, match="was closed"):
            future.result()


# ----------------------------------------------------------------------------------------------------------- stress


@dataclass
class MoodyVLM:
    """Sometimes slow; fails on draws of requests named `bad…`."""

    rng: random.Random
    name: str = "moody"
    resolution: tuple[int, int] | None = None

    def check(self, prompt: Prompt, sizes: Sizes) -> None:
        pass

    def answer(self, draws: Sequence[Draw], deadline: float | None = None) -> list[Answer]:
        time.sleep(self.rng.choice([0.0, 0.0, 0.001, 0.004]))
        if any(draw.prompt.text.startswith("bad") for draw in draws):
            raise ValueError("bad draw")
        return [Answer(f"{draw.prompt.text}:{draw.index}") for draw in draws]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_nobody_waits_for_ever_whatever_happens(seed: int) -> None:
    """Threads and tasks that ask, fail, run late, give up, and a close in the middle of it all. The watchdog is the
    test's own time limit: each request must come to its one right end."""
    rng = random.Random(seed)
    scheduler = Scheduler(
        [MoodyVLM(random.Random(i)) for i in range(3)], batch_size=16, max_queue=200, max_wait=rng.choice([0.0, 0.002])
    )
    ends: Counter[str] = Counter()
    lock = threading.Lock()

    def note(end: str) -> None:
        with lock:
            ends[end] += 1

    def verify(name: str, indices: range, answers: list[Answer], deadline: float | None) -> None:
        for i, answer in zip(indices, answers, strict=True):
            assert answer.text == f"{name}:{i}" or (answer.failed == "deadline" and deadline is not None)
        note("late" if any(answer.failed for answer in answers) else "answered")

    def plan(rng: random.Random, number: int) -> tuple[str, range, float | None]:
        start = rng.choice([0, 0, 0, 10, 30])
        name = f"{'bad!' if rng.random() < 0.1 else 'good'}-{seed}-{number}"
        deadline = time.monotonic() + rng.uniform(0, 0.05) if rng.random() < 0.2 else None
        return name, range(start, start + rng.randint(1, 40)), deadline

    def thread(number: int) -> None:
        mine = random.Random(1000 * seed + number)
        for look in range(30):
            name, indices, deadline = plan(mine, 100 * number + look)
            try:
                with asking(mine.choice([None, "a", "b"])) as caller:
                    if mine.random() < 0.1:
                        threading.Timer(0.001, caller.cancel).start()
                    verify(name, indices, scheduler.answer(draws(name, indices), deadline), deadline)
            except (ValueError, ModelError, QueueFullError, CancelledError) as error:
                note(f"{type(error).__name__} of {name[:4]}")

    async def task(number: int) -> None:
        mine = random.Random(77_000 * (seed + 1) + number)
        for look in range(10):
            name, indices, deadline = plan(mine, 100_000 + 100 * number + look)
            patience = mine.choice([None, None, 0.002])
            try:
                answer = scheduler.aanswer(draws(name, indices), deadline)
                verify(name, indices, await asyncio.wait_for(answer, patience), deadline)
            except (ValueError, ModelError, QueueFullError, TimeoutError) as error:
                note(f"{type(error).__name__} of {name[:4]}")

    async def tasks() -> None:
        await asyncio.gather(*(task(number) for number in range(20)))

    with ThreadPoolExecutor(18) as pool:
        running = [pool.submit(thread, number) for number in range(16)]
        running.append(pool.submit(asyncio.run, tasks()))
        if seed == 2:
            until(lambda: ends.total() > 300)
            running.append(pool.submit(scheduler.close))
        for future in running:
            future.result(timeout=40)
    assert ends.total() == 16 * 30 + 20 * 10
    assert scheduler.waiting == 0
    scheduler.close()
    assert min(ends["answered"], ends["late"], ends["ValueError of bad!"]) > 0
    assert not ends["ValueError of good"]


def test_a_guard_over_a_scheduler_blocks_when_the_queue_is_full() -> None:
    model = GatedVLM()
    image = _png(np.zeros((2, 2, 3), np.uint8))
    with Scheduler(model, batch_size=1, max_queue=1, max_wait=0.0) as scheduler, ThreadPoolExecutor(1) as pool:
        guard = Guard(scheduler, ORACLE, smoothing=Smoothing(samples=10, method="fixed"))
        first = pool.submit(guard.check, image, "good")
        model.wait_for_batch()
        refused = guard.check(image, "other")
        assert refused.blocked
        model.open()
        assert first.result().certificate is not None


# --------------------------------------------------------------------------------------------- memory and processes


def test_pictures_are_let_go_with_their_request(make_desk: MakeDesk) -> None:
    """By counting references: cycles wait for a collector that does not know how large a picture is."""
    desk = make_desk()
    desk.model.open()
    picture = np.full((2, 2, 3), 0.5)
    gone = weakref.ref(picture)
    stream = NoiseStream.derive(b"k" * 16, b"request", "estimation")
    gc.disable()
    try:
        desk.scheduler.answer([Draw((picture,), Prompt.of("good", 1), 0.5, stream, i) for i in range(3)])
        del picture
        until(lambda: gone() is None)
    finally:
        gc.enable()


def test_a_fork_is_told_that_the_threads_stayed_behind(make_desk: MakeDesk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk = make_desk()
    desk.model.open()
    assert desk.ask("before").result() == said("before")
    monkeypatch.setattr("os.getpid", lambda: -1)
    with pytest.raises(ModelError, match="another process"):
        desk.ask("in the fork").result()


def test_a_thread_that_cannot_start_leaves_nobody_waiting(make_desk: MakeDesk, monkeypatch: pytest.MonkeyPatch) -> None:
    scheduler = make_desk().scheduler

    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        for _ in range(2):
            with pytest.raises(ModelError, match="can't start new thread"):
                scheduler.answer(draws("early"))
    assert scheduler.waiting == 0
