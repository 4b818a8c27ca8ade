"""Runs what is not judged yet where none of the caller's callbacks, tracers and streams can see it."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import var_child_runnable_config
from langchain_core.tracers.context import _configure_hooks, tracing_v2_callback_var
from langsmith.run_helpers import tracing_context

_RUN_KEYS = {"callbacks", "run_name", "run_id"}
"""Keys of a config that belong to the guarded run itself."""


@contextmanager
def detached(config: RunnableConfig | None = None) -> Iterator[RunnableConfig]:
    """Yield the config for what runs inside: the caller's, without its callbacks.

    LangChain passes callbacks on by the config, by context variables (the parent's config, tracers, handlers such as
    those of `collect_runs`), and LangGraph by streams in `configurable`. All are cut, for code that ignores the config
    too. What a developer attached to the wrapped chain itself stays.

    Args:
        config: the caller's; None: that of the run which this code is part of.
    """
    config = var_child_runnable_config.get() or RunnableConfig() if config is None else config
    inner = RunnableConfig(**{key: value for key, value in config.items() if key not in _RUN_KEYS})  # type: ignore[typeddict-item]
    inner["callbacks"] = []
    inner["configurable"] = _mute(config.get("configurable") or {})
    hidden: list[ContextVar[Any]] = [tracing_v2_callback_var, *(variable for variable, *_ in _configure_hooks)]
    tokens = [(variable, variable.set(None)) for variable in hidden]
    tokens.append((var_child_runnable_config, var_child_runnable_config.set(inner)))
    try:
        with tracing_context(enabled=False):
            yield inner
    finally:
        for variable, token in reversed(tokens):
            variable.reset(token)


def _mute(configurable: dict[str, Any]) -> dict[str, Any]:
    """Take LangGraph's ways out: streams of subgraphs and tokens, custom events, writes to the state, and tasks.

    An answer to an interrupt still goes to the state: it is the user's, and the step that waits for it asks for it
    again.
    """
    muted = {key: value for key, value in configurable.items() if not key.startswith("__pregel_stream")}
    runtime = muted.get("__pregel_runtime")
    if runtime is not None:
        muted["__pregel_runtime"] = runtime.override(stream_writer=lambda _: None)
    if "__pregel_call" in muted:
        muted["__pregel_call"] = _in_place
    send = muted.get("__pregel_send")
    if send is not None:
        muted["__pregel_send"] = lambda writes: send([write for write in writes if write[0] == "__resume__"])
    return muted


def _in_place(function: Callable[..., Any], arguments: tuple[Any, Any], **_: Any) -> Any:
    """Run a task of the graph here; as a step of the graph, its result would be streamed and kept."""
    args, kwargs = arguments
    if inspect.iscoroutinefunction(function):
        return asyncio.ensure_future(function(*args, **kwargs))
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return _done(lambda: function(*args, **kwargs))
    return asyncio.ensure_future(asyncio.to_thread(function, *args, **kwargs))


def _done(call: Callable[[], Any]) -> Future[Any]:
    future: Future[Any] = Future()
    try:
        future.set_result(call())
    except Exception as error:  # noqa: BLE001 - whoever asks for the result gets it
        future.set_exception(error)
    return future
