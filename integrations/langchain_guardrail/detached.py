"""Runs what is not judged yet where none of the caller's callbacks, tracers and streams can see it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import var_child_runnable_config
from langchain_core.tracers.context import _configure_hooks, tracing_v2_callback_var
from langsmith.run_helpers import tracing_context

from langchain_guardrail.langgraph_keys import muted

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
    inner["configurable"] = muted(config.get("configurable") or {})
    hidden: list[ContextVar[Any]] = [tracing_v2_callback_var, *(variable for variable, *_ in _configure_hooks)]
    tokens = [(variable, variable.set(None)) for variable in hidden]
    tokens.append((var_child_runnable_config, var_child_runnable_config.set(inner)))
    try:
        with tracing_context(enabled=False):
            yield inner
    finally:
        for variable, token in reversed(tokens):
            variable.reset(token)
