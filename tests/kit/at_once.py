"""Processes that do the same thing at the same moment."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any, Self, TypeVar

T = TypeVar("T")

_barrier: Any = None


class AtOnce:
    """Processes that wait for each other before each call, and serve several calls.

    Args:
        processes: how many.
        module: what they need, imported once before they part; functions that they call must be importable.
    """

    def __init__(self, processes: int, module: str) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([module])
        self.processes = processes
        self._pool = ProcessPoolExecutor(processes, context, _keep, (context.Barrier(processes, timeout=60),))

    def call(self, function: Callable[..., T], *arguments: object) -> list[T]:
        """Call `function(index, *arguments)` in every process at once; raise the first error of any."""
        calls = [self._pool.submit(_together, function, index, *arguments) for index in range(self.processes)]
        return [call.result() for call in calls]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._pool.shutdown()


def _keep(barrier: object) -> None:
    global _barrier  # noqa: PLW0603 - what a process is started with
    _barrier = barrier


def _together(function: Callable[..., T], *arguments: object) -> T:
    _barrier.wait()
    return function(*arguments)
