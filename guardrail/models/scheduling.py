"""Packs the draws of concurrent requests into full batches: fairly, first look first, to the first free replica."""

from __future__ import annotations

import asyncio
import os
import threading
import time
import weakref
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Future, InvalidStateError, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from types import TracebackType
from typing import Self, cast

from guardrail.callers import current_caller
from guardrail.errors import ConfigurationError, ModelError, QueueFullError
from guardrail.models.base import Answer, Draw, ModelTraits, ModelWrapper, VisionLanguageModel, past


@dataclass(eq=False, slots=True, weakref_slot=True)
class _Call:
    """The draws that one call of `answer` hands in; everything but the future is under the scheduler's lock."""

    draws: Sequence[Draw]
    deadline: float | None
    client: str | None
    since: float
    """When it came, on the monotonic clock."""
    arrived_at_draw: int = 0
    """When it came, in draws begun by the scheduler."""
    rivals: int = 1
    """Calls of its client that waited then, itself among them."""
    begun: int = 0
    missing: int = 0
    answers: list[Answer | None] = field(default_factory=list)
    future: Future[list[Answer]] = field(default_factory=Future)

    def __post_init__(self) -> None:
        self.missing = len(self.draws)
        self.answers = [None] * len(self.draws)

    @property
    def left(self) -> int:
        """Number of draws that wait."""
        return len(self.draws) - self.begun

    @property
    def first(self) -> int:
        """Number of draws that its request has had before."""
        return self.draws[0].index

    def fill(self, start: int, answers: Sequence[Answer]) -> None:
        """Put answers in their places, whatever order they come in; the last missing one ends the call."""
        self.answers[start : start + len(answers)] = answers
        self.missing -= len(answers)
        if not self.missing:
            with suppress(InvalidStateError):  # cancelled meanwhile
                self.future.set_result(cast("list[Answer]", self.answers))


@dataclass(frozen=True, slots=True)
class _Part:
    """Some draws of a call, on their way through the model."""

    call: _Call
    start: int
    draws: Sequence[Draw]


class Scheduler(ModelWrapper):
    """A model that many requests share: their draws go through it, or through its replicas, in full batches.

    Each draw has its own noise and seed, so that it does not matter with whom it shares a batch: certificates are
    those of a request served alone, unless the model's answers depend on their batch (`ModelTraits.batch_dependent`).

    Who is next: the client (`asking`) that has had least since it came back to the queue; of its requests, a first look
    before a later one. A later look gives way to new requests only until each call that it found waiting could have had
    as many draws as its own request, so nobody starves. A client's call waits for at most one call, of at most one
    batch, of each other client, beside the batches that have begun.

    A batch that fails is halved and tried again, the very same draws, until the requests that fail alone are found;
    only they get the error. A model that cannot repeat a draw (a remote one without sampling seed) must say so by an
    attribute `repeats_draws = False`: a second try would then be a luckier draw, and the whole batch fails instead.

    Safe to use from many threads and event loops. Worker threads start with the first call.

    Args:
        models: the model, or replicas of it (one per GPU): same name, same resolution.
        batch_size: draws per batch.
        max_queue: a new request is refused once so many draws wait. One that has begun is let in. A client with less
            in the queue pushes out the newest request of the one with most.
        max_wait: seconds that a batch which is not full waits for company, counted from its oldest draw. After a batch
            that one request had to itself there is none to wait for.

    Raises:
        ConfigurationError: no model, replicas that differ, a number out of range.
    """

    def __init__(
        self,
        models: VisionLanguageModel | Sequence[VisionLanguageModel],
        *,
        batch_size: int = 32,
        max_queue: int = 4096,
        max_wait: float = 0.002,
    ) -> None:
        super().__init__(*((models,) if isinstance(models, VisionLanguageModel) else models))
        if odd := [model for model in self._models if not isinstance(model, VisionLanguageModel)]:
            raise ConfigurationError(f"a model has name, resolution, check and answer; got {odd[0]!r}")
        kinds = {(model.name, model.resolution) for model in self._models}
        if len(kinds) != 1:
            raise ConfigurationError(f"replicas must be of one model and resolution, got {sorted(map(str, kinds))}")
        if batch_size < 1 or max_queue < 1 or not 0.0 <= max_wait < float("inf"):
            raise ConfigurationError(
                f"batch_size and max_queue must be at least 1 and max_wait at least 0, "
                f"got {batch_size}, {max_queue}, {max_wait}"
            )
        self._batch_size = batch_size
        self._max_queue = max_queue
        self._max_wait = max_wait
        self._changed = threading.Condition()
        """Guards all that follows; told whenever there is more to do."""
        self._calls: list[_Call] = []
        """Calls with draws that wait, oldest first."""
        self._waiting = 0
        self._begun = 0
        self._levels: dict[str | None, int] = {}
        """Draws that each client has had, by start-time fair queueing (Goyal et al. 1996)."""
        self._last_batch_was_shared = True
        """Whether the last batch held several requests, or left some waiting: they are likely to be back soon."""
        self._level = 0
        """Where a client starts: the level of the one served last."""
        self._idle = list(self._models)
        """Replicas without a thread that works for them; one gets it when there is something to do."""
        self._threads = ThreadPoolExecutor(len(self._models), "guardrail-batches")
        self._process = os.getpid()
        """Where the threads are: a fork has none of them."""
        self._closed = False

    @classmethod
    def of(cls, models: Sequence[VisionLanguageModel]) -> Self | None:
        """Return a scheduler for a model that works in batches (it has a `batch_size`), or for several replicas.

        None for one model that does not, such as one behind a network, and for one that is a scheduler already.
        """
        batch_size = ModelTraits.of(models[0]).batch_size
        if len(models) == 1 and batch_size is None:
            return None
        return cls(models, batch_size=batch_size or 32)

    def __repr__(self) -> str:
        return f"Scheduler({self.name!r}, replicas={len(self._models)}, batch_size={self._batch_size})"

    @property
    def name(self) -> str:
        """The model's own: with whom a draw shares a batch changes no verdict."""
        return self._models[0].name

    @property
    def batch_size(self) -> None:
        """None: it packs draws of several requests itself."""

    @property
    def max_queue(self) -> int:
        """Draws that may wait before new requests are refused."""
        return self._max_queue

    @property
    def waiting(self) -> int:
        """Number of draws in the queue, those that have begun not counted."""
        with self._changed:
            return self._waiting

    def answer(self, draws: Sequence[Draw], deadline: float | None = None) -> list[Answer]:
        """Answer each draw, in order; draws not begun at the deadline fail with reason `deadline`, and that is final.

        Raises:
            QueueFullError: no place in the queue.
            ModelError: the scheduler is closed, or the model cannot answer at all.
            concurrent.futures.CancelledError: called off by `Caller.cancel`.
        """
        call = self._submit(draws, deadline)
        try:
            with suppress(TimeoutError):  # the deadline's; a model's own comes again
                return call.future.result(_seconds_until(deadline))
            self._expire(call)
            return call.future.result()
        except BaseException:
            call.future.cancel()
            raise

    async def aanswer(self, draws: Sequence[Draw], deadline: float | None = None) -> list[Answer]:
        """Do as `answer`, without a thread. Cancelling the task takes its draws out of the queue."""
        call = self._submit(draws, deadline)
        try:
            answers = asyncio.wrap_future(call.future)
            await asyncio.wait({answers}, timeout=_seconds_until(deadline))
            if not answers.done():
                self._expire(call)
            return await answers
        except BaseException:
            call.future.cancel()
            raise

    def close(self) -> None:
        """Fail what waits, let what has begun end, and stop. Afterwards `answer` raises `ModelError`.

        The models stay open: they may serve elsewhere.
        """
        with self._changed:
            self._closed = True
            for call in list(self._calls):
                self._fail(call, ModelError("the scheduler was closed while this request waited"))
            self._changed.notify_all()
        self._threads.shutdown()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # ------------------------------------------------------------------------------------------------- the queue

    def _submit(self, draws: Sequence[Draw], deadline: float | None) -> _Call:
        """Queue a call. Cancelling its future is all it takes to withdraw it."""
        if self._process != os.getpid():
            raise ModelError("this scheduler's threads stayed behind in another process: make the guard after a fork")
        caller = current_caller()
        call = _Call(tuple(draws), deadline, caller.client if caller else None, time.monotonic())
        with self._changed:
            if self._closed:
                raise ModelError("this scheduler is closed: make a new one")
            if not call.draws:
                call.fill(0, ())
                return call
            self._make_room(call)
            call.arrived_at_draw = self._begun
            call.rivals += sum(other.client == call.client for other in self._calls)
            self._levels.setdefault(call.client, self._level)
            self._calls.append(call)
            self._waiting += call.left
            self._start(call)
            self._changed.notify_all()
        call.future.add_done_callback(partial(self._withdraw, weakref.ref(call)))  # no cycle: it holds pictures
        if caller is not None:
            caller.watch(call.future)
        return call

    def _start(self, call: _Call) -> None:
        """Give one more replica a thread; where the system refuses one and none works, the call is not queued."""
        if not self._idle:
            return
        try:
            self._threads.submit(self._work, self._idle[-1])
        except RuntimeError as error:
            if len(self._idle) == len(self._models):
                self._drop(call)
                raise ModelError(f"no thread to work in: {error}") from error
        else:
            self._idle.pop()

    def _make_room(self, call: _Call) -> None:
        """Refuse a new request when the queue is full, unless another client's place is to be given up first."""
        while not call.first and self._waiting >= self._max_queue:
            held = Counter[str | None]()
            for other in self._calls:
                held[other.client] += other.left
            greedy, most = held.most_common(1)[0]
            new = (c for c in reversed(self._calls) if c.client == greedy and not c.first and not c.begun)
            victim = next(new, None)
            full = QueueFullError(f"{self._waiting} draws wait, at most {self._max_queue} may: ask again later")
            if victim is None or held[call.client] + call.left >= most:
                raise full
            self._fail(victim, full)

    def _order(self, call: _Call) -> tuple[int, int, int]:
        """Return the place in the queue: least first. A call longer than a batch queues anew after each batch of it."""
        had = call.first + call.begun // self._batch_size * self._batch_size
        return self._levels[call.client], call.arrived_at_draw + call.rivals * had, had

    def _drop(self, call: _Call) -> int:
        """Take what is left of a call out of the queue, and return how much that was."""
        left = call.left
        if left:
            self._calls.remove(call)
            self._waiting -= left
            call.begun = len(call.draws)
        return left

    def _withdraw(self, waits: weakref.ref[_Call], future: Future[list[Answer]]) -> None:
        call = waits()
        if call is not None and future.cancelled():
            with self._changed:
                self._drop(call)

    def _expire(self, call: _Call) -> None:
        """Fail the draws that have not begun; the others are waited for."""
        with self._changed:
            start = call.begun
            call.fill(start, [Answer.failure("deadline")] * self._drop(call))

    def _fail(self, call: _Call, error: Exception) -> None:
        with self._changed, suppress(InvalidStateError):  # cancelled meanwhile
            self._drop(call)
            call.future.set_exception(error)

    # ---------------------------------------------------------------------------------------------- the replicas

    def _work(self, model: VisionLanguageModel) -> None:
        """Answer batches until nothing waits: an idle scheduler has no thread at work, and ends with its last user."""
        while batch := self._next_batch(model):
            self._answer(model, batch)
            del batch  # what waits for company should hold no pictures

    def _next_batch(self, model: VisionLanguageModel) -> list[_Part]:
        """Return a batch once it is full or old enough; empty, and the replica is idle, where nothing waits."""
        with self._changed:
            while self._calls:
                wait = self._max_wait if self._last_batch_was_shared else 0.0
                delay = self._calls[0].since + wait - time.monotonic()
                if delay > 0.0 and self._waiting < self._batch_size:
                    self._changed.wait(delay)
                elif batch := self._pack():
                    if self._calls:
                        self._start(self._calls[0])
                    return batch
            self._idle.append(model)
        return []

    def _pack(self) -> list[_Part]:
        """Take the next batch out of the queue; empty if all that waited was too late."""
        batch: list[_Part] = []
        room = self._batch_size
        while room and self._calls:
            call = min(self._calls, key=self._order)
            if past(call.deadline):
                self._expire(call)
                continue
            start, stop = call.begun, call.begun + min(room, call.left)
            batch.append(_Part(call, start, call.draws[start:stop]))
            call.begun = stop
            if not call.left:
                self._calls.remove(call)
            self._level = self._levels[call.client]
            self._levels[call.client] += stop - start
            self._begun += stop - start
            self._waiting -= stop - start
            room -= stop - start
        self._last_batch_was_shared = len(batch) > 1 or bool(self._calls)
        present = {call.client for call in self._calls}
        ahead = self._level if present else float("inf")  # with nobody left to compare with, all start equal again
        self._levels = {client: had for client, had in self._levels.items() if client in present or had > ahead}
        return batch

    def _answer(self, model: VisionLanguageModel, parts: Sequence[_Part]) -> None:
        """Answer parts of several calls at once; if that fails, in halves, until those that fail alone are found."""
        draws = [draw for part in parts for draw in part.draws]
        deadlines = [part.call.deadline for part in parts]
        latest = max((d for d in deadlines if d is not None), default=None)
        try:
            answers = model.answer(draws, None if None in deadlines else latest)
            if len(answers) != len(draws):
                raise ModelError(f"model {model.name} gave {len(answers)} answers to {len(draws)} draws")
        except BaseException as error:  # noqa: BLE001 - a worker that ended would leave its callers waiting for ever
            self._find_failing(model, parts, error)
            return
        rest = iter(answers)
        with self._changed:
            for part in parts:
                part.call.fill(part.start, [next(rest) for _ in part.draws])

    def _find_failing(self, model: VisionLanguageModel, parts: Sequence[_Part], error: BaseException) -> None:
        if len(parts) == 1 and isinstance(error, Exception):
            self._fail(parts[0].call, error)
        elif len(parts) == 1 or not ModelTraits.of(model).repeats_draws:
            for part in parts:
                failure = ModelError(f"model {model.name} failed: {type(error).__name__}: {error}")
                failure.__cause__ = error
                self._fail(part.call, failure)
        else:
            for half in (parts[: len(parts) // 2], parts[len(parts) // 2 :]):
                wanted = [part for part in half if not self._too_late(part)]
                if wanted:
                    self._answer(model, wanted)

    def _too_late(self, part: _Part) -> bool:
        """Whether there is no second try for a part; its draws then have failed, for good."""
        call = part.call
        if self._closed:
            self._fail(call, ModelError("the scheduler was closed while this request was tried again"))
        elif past(call.deadline):
            with self._changed:
                self._expire(call)
                call.fill(part.start, [Answer.failure("deadline")] * len(part.draws))
            return True  # filled once: other parts of the call may still be with other replicas
        return call.future.done()


def _seconds_until(deadline: float | None) -> float | None:
    return None if deadline is None else min(max(0.0, deadline - time.monotonic()), threading.TIMEOUT_MAX)
