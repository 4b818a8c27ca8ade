"""Calls of a chat model: concurrent up to a bound, and repeated only where the model cannot have said anything."""

from __future__ import annotations

import asyncio
import random
import time
import weakref
from collections.abc import Awaitable, Callable, Collection, Sequence
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any, TypeVar

from guardrail.callers import current_caller
from guardrail.chat_calls import failures, replies
from guardrail.chat_calls.background import BackgroundLoop
from guardrail.chat_calls.chains import bare, map_models
from guardrail.chat_calls.seeds import seeded
from guardrail.errors import DEADLINE, ConfigurationError, ModelError

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel, LanguageModelInput
    from langchain_core.messages import AIMessage, BaseMessage
    from langchain_core.runnables import Runnable, RunnableConfig

T = TypeVar("T")

_LONGEST_WAIT = 30.0
"""Seconds between two attempts, whatever a server asks for."""


@dataclass(frozen=True, slots=True)
class Call:
    """One question to a chat model."""

    messages: Callable[[], list[BaseMessage]]
    """Makes the messages, in a thread, when the call begins."""
    seed: int | None = None
    """For the sampling of this call, if the model takes seeds."""


@dataclass(frozen=True, slots=True)
class Reply:
    """The result of one call: an output, or why there is none."""

    output: object = None
    """A chat model's message, or whatever else a chain ends in."""
    failed: str | None = None
    """`deadline`, `timeout`, `filtered`, `unreachable`, `http 500`, …; never a server's words."""
    tokens: int = 0
    """Tokens that all models of the chain generated together."""


class ChatCalls:
    """Asks a chat model, or a chain that takes messages, many questions at once.

    A call of a model within the chain is repeated, with the same messages and the same seed, only where it provably
    failed before any content: connection refused, or rejected by a rate limit. Nothing else of the chain runs twice.
    Every other failure (time-out, cut connection, error of the server) is final. Results are in the order of the calls.
    Caches, streaming and the retries of the model's client are switched off.

    Calls run on an event loop in a separate thread and in an empty context: no callback, tracer or stream of the caller
    sees an answer. Callbacks that a developer attached to `chat` itself stay. When a caller gives up
    (`guardrail.callers`) or is cancelled, its unfinished calls are cancelled.

    Args:
        chat: a chat model, or a chain that takes messages.
        seed_parameter: the parameter that takes each call's seed; None: calls are unseeded.
        max_concurrency: calls in flight, of all callers together.
        max_attempts: attempts per call of a model, where all before the last failed before any content.
        backoff: seconds before the second attempt, with jitter; doubled for each further one.
        timeout: seconds per attempt, including the rest of the chain after it.
        retry_statuses: HTTP statuses by which the server rejects a request before it generates anything.

    Raises:
        ConfigurationError: impossible options; retries or fallbacks within `chat`.
    """

    def __init__(
        self,
        chat: Runnable[Any, Any],
        *,
        seed_parameter: str | None = None,
        max_concurrency: int,
        max_attempts: int,
        backoff: float,
        timeout: float,
        retry_statuses: Collection[int],
    ) -> None:
        for option, value in (("max_concurrency", max_concurrency), ("max_attempts", max_attempts)):
            if value < 1:
                raise ConfigurationError(f"{option} must be at least 1, got {value}")
        if not (0.0 <= backoff < float("inf") and 0.0 < timeout < float("inf")):
            raise ConfigurationError(f"backoff and timeout are seconds, got {backoff} and {timeout}")
        closers: list[Callable[[], Awaitable[None]]] = []
        self._chat = map_models(chat, lambda model: bare(model, closers))
        self._seed_parameter = seed_parameter
        self._max_attempts = max_attempts
        self._backoff = backoff
        self._timeout = timeout
        self._retry_statuses = frozenset(retry_statuses)
        self._places = asyncio.Semaphore(max_concurrency)
        self._background = BackgroundLoop(closers)
        self._finalizer = weakref.finalize(self, self._background.stop)

    def ask(self, calls: Sequence[Call], read: Callable[[Reply], T], deadline: float | None = None) -> list[T]:
        """Ask all at once and wait; a call that is not done by the deadline fails with reason `deadline`.

        It may be called from any thread, also from one whose event loop is running (which it then blocks).

        Args:
            calls: any number.
            read: turns each reply into a result at once; its exceptions cancel the other calls.
            deadline: on the clock of `time.monotonic()`.

        Returns:
            One result per call, in order.

        Raises:
            ModelError: the server knows no such model or key; the calls were cancelled, or this was closed.
        """
        future = self._submit(calls, read, deadline)
        try:
            return future.result()
        except CancelledError:
            raise self._called_off() from None
        except BaseException:
            future.cancel()
            raise

    async def aask(self, calls: Sequence[Call], read: Callable[[Reply], T], deadline: float | None = None) -> list[T]:
        """Ask as `ask` does, without blocking the event loop; cancelling it cancels the calls in flight."""
        future = self._submit(calls, read, deadline)
        try:
            return await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            raise self._called_off() from None  # the calls were cancelled, not this task

    def close(self) -> None:
        """Cancel what is in flight and give the connections back. Later calls raise `ModelError`."""
        self._finalizer()

    def _submit(self, calls: Sequence[Call], read: Callable[[Reply], T], deadline: float | None) -> Future[list[T]]:
        caller = current_caller()
        future = self._background.submit(lambda: self._all(calls, read, deadline))
        if caller is not None:
            caller.watch(future)
        return future

    def _called_off(self) -> ModelError:
        return ModelError("this chat model was closed" if self._background.stopped else "the calls were called off")

    async def _all(self, calls: Sequence[Call], read: Callable[[Reply], T], deadline: float | None) -> list[T]:
        from langsmith.run_helpers import tracing_context

        async def one(call: Call) -> T:
            return read(await self._reply(call, deadline))

        with tracing_context(enabled=False):  # also where an environment variable enables tracing
            try:
                async with asyncio.TaskGroup() as group:
                    tasks = [group.create_task(one(call)) for call in calls]
            except ExceptionGroup as errors:
                raise errors.exceptions[0] from None
        return [task.result() for task in tasks]

    async def _reply(self, call: Call, deadline: float | None) -> Reply:
        """Return the one reply to a call, or how it failed."""
        if deadline is not None and time.monotonic() >= deadline:
            return Reply(failed=DEADLINE)
        try:
            async with asyncio.timeout(None if deadline is None else deadline - time.monotonic()), self._places:
                return await self._ask(call)
        except TimeoutError:
            return Reply(failed=DEADLINE)

    async def _ask(self, call: Call) -> Reply:
        messages = await asyncio.to_thread(call.messages)
        generated: list[int] = []
        try:
            async with asyncio.timeout(self._timeout) as limit:
                chain = map_models(self._chat, lambda model: self._patient(model, call.seed, limit, generated))
                output = await chain.ainvoke(messages, {"callbacks": []})
        except Exception as error:  # each provider has its exceptions; a failed call is a reply
            hopeless = failures.no_call_can_succeed(error)
            if hopeless is not None:
                raise ModelError(hopeless) from error
            return Reply(failed=failures.reason(error), tokens=sum(generated))
        return Reply(output, tokens=sum(generated) if generated else replies.tokens(output))

    def _patient(
        self, model: BaseChatModel, seed: int | None, limit: asyncio.Timeout, generated: list[int]
    ) -> Runnable[Any, Any]:
        """Return a model of the chain with this call's seed, repeated while it fails before any content.

        The time limit restarts with each attempt. The number of tokens of the answer is appended to `generated`.
        """
        from langchain_core.runnables import RunnableLambda

        with_seed = model if seed is None or self._seed_parameter is None else seeded(model, self._seed_parameter, seed)

        async def ask(messages: LanguageModelInput, config: RunnableConfig, **arguments: Any) -> AIMessage:  # noqa: ANN401
            for attempt in count(1):
                limit.reschedule(asyncio.get_running_loop().time() + self._timeout)
                try:
                    message: AIMessage = await with_seed.ainvoke(messages, config, **arguments)
                except Exception as error:  # as in _ask
                    if attempt == self._max_attempts or not failures.before_content(error, self._retry_statuses):
                        raise
                    limit.reschedule(None)
                    await asyncio.sleep(self._wait(attempt, error))
                else:
                    generated.append(replies.tokens(message))
                    return message
            raise AssertionError("unreachable")

        return RunnableLambda(ask)

    def _wait(self, attempt: int, error: Exception) -> float:
        """Return the seconds until the next attempt: exponential with jitter, at least what the server requests."""
        wait = self._backoff * 2.0 ** (attempt - 1) * random.uniform(0.5, 1.5)  # noqa: S311 - not for security
        return min(_LONGEST_WAIT, max(wait, failures.retry_after(error) or 0.0))
