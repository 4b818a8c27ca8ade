"""An event loop in a separate thread, for calls from any thread or loop."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import threading
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from concurrent.futures import Future
from typing import Any, TypeVar

from guardrail.errors import ModelError

logger = logging.getLogger(__name__)

T = TypeVar("T")


class BackgroundLoop:
    """An event loop in a daemon thread, begun when first needed.

    One loop for all calls of a chat model: clients keep their connections bound to the loop that opened them.

    Args:
        closers: called on the loop before it ends.
    """

    def __init__(self, closers: Sequence[Callable[[], Awaitable[None]]] = ()) -> None:
        self._closers = closers
        self._lock = threading.Lock()
        self._started = threading.Event()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._end: asyncio.Event | None = None
        self._stopped = False

    def submit(self, make: Callable[[], Coroutine[Any, Any, T]]) -> Future[T]:
        """Run a coroutine on the loop, in an empty context: context variables carry callbacks, tracers and streams.

        Raises:
            ModelError: the loop was stopped, cannot start, was lost in a fork, or is the one that calls this.
        """
        with self._lock:
            if self._stopped:
                raise ModelError("this chat model was closed: make a new one")
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="guardrail-chat", daemon=True)
                self._thread.start()
                self._started.wait()
            if threading.current_thread() is self._thread:
                raise ModelError("the chat model asks itself: its chain may not contain the guard that smooths it")
            if self._loop is None or not self._thread.is_alive():
                raise ModelError(
                    "the chat model's thread is not running; after a fork none is: make the model in each worker "
                    "process, not before they start"
                )
            return contextvars.Context().run(asyncio.run_coroutine_threadsafe, make(), self._loop)

    @property
    def stopped(self) -> bool:
        """Whether `stop` was called."""
        return self._stopped

    def stop(self) -> None:
        """Cancel what runs, close the clients and end the thread. A second call does nothing."""
        with self._lock:
            running, self._stopped = not self._stopped and self._thread is not None, True
        if not running or self._thread is None or self._loop is None or self._end is None:
            return
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._end.set)
            if threading.current_thread() is not self._thread:
                self._thread.join(timeout=5.0)

    def _run(self) -> None:
        try:
            with asyncio.Runner() as runner:
                runner.run(self._serve())
        except Exception:
            logger.exception("the event loop of a chat model ended")
        finally:
            self._started.set()  # also after a failed start, or `submit` would wait for ever

    async def _serve(self) -> None:
        self._loop, self._end = asyncio.get_running_loop(), asyncio.Event()
        self._started.set()
        await self._end.wait()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        for close in self._closers:
            try:
                await close()
            except Exception as error:  # noqa: BLE001 - the other clients must still be closed
                logger.warning("a client could not be closed: %s", type(error).__name__)
