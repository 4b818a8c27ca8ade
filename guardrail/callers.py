"""For whom the model is asked: the client among whom it is shared, and whether the answer is still wanted."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any


@dataclass(eq=False)
class Caller:
    """For whom draws are asked, and whether they still are wanted. Made by `asking`."""

    client: str | None = None
    """Clients share the model equally, however much each asks for; all without a name count as one."""
    _outer: Caller | None = field(default=None, repr=False)
    _cancelled: bool = field(default=False, repr=False)
    _futures: set[Future[Any]] = field(default_factory=set, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def cancel(self) -> None:
        """Call off, from any thread, what was asked and what will be: draws that wait make room at once."""
        with self._lock:
            self._cancelled = True
            futures = list(self._futures)
        for future in futures:
            future.cancel()

    @property
    def cancelled(self) -> bool:
        """Whether the answer is no longer wanted, here or in an outer scope."""
        return self._cancelled or (self._outer is not None and self._outer.cancelled)

    def watch(self, future: Future[Any]) -> None:
        """Let `cancel` reach this call."""
        with self._lock:
            self._futures.add(future)
            cancelled = self._cancelled
        future.add_done_callback(self._forget)
        if cancelled:
            future.cancel()
        if self._outer is not None:
            self._outer.watch(future)

    def _forget(self, future: Future[Any]) -> None:
        with self._lock:
            self._futures.discard(future)


_CALLER: ContextVar[Caller | None] = ContextVar("guardrail_caller", default=None)


@contextmanager
def asking(client: str | None = None) -> Iterator[Caller]:
    """Say for whom the draws inside are asked, here and in what starts from here (tasks, `asyncio.to_thread`).

    Leaving by an exception, a cancelled task's included, calls off what still waits. Scopes nest: the outer one reaches
    the calls of the inner one, which takes its client unless it names its own.
    """
    outer = _CALLER.get()
    caller = Caller(client if client is not None or outer is None else outer.client, outer)
    token = _CALLER.set(caller)
    try:
        yield caller
    except BaseException:
        caller.cancel()
        raise
    finally:
        _CALLER.reset(token)


def current_caller() -> Caller | None:
    """Return the innermost `asking`; None outside of any."""
    return _CALLER.get()
