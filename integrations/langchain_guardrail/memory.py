"""Conversations that a chain keeps for itself, so that they reach its model without passing the door.

A graph with a checkpointer adds the messages of earlier calls, and `RunnableWithMessageHistory` those of a session.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.runnables.base import RunnableBindingBase
from langchain_core.runnables.config import ensure_config, merge_configs

from guardrail.errors import ConfigurationError
from langchain_guardrail.langgraph_keys import in_a_graph

_DEEPEST = 16


class Memory:
    """A part of a chain that remembers.

    Args:
        part: a graph with a checkpointer, or a chain with a message history.
        config: what the chain binds to it.
    """

    def __init__(self, part: Any, config: RunnableConfig) -> None:
        self._part = part
        self._config = config

    def read(self, config: RunnableConfig | None) -> Any:
        """Return what is remembered for a call; nothing inside another graph, which starts it afresh at each step.

        Raises:
            Exception: what the part itself raises, such as for a config that names no conversation.
        """
        config = self._merged(config)
        if _has_history(self._part):
            return list(self._history(config).messages)
        return self._part.get_state(config).values if _goes_on(config) else None

    async def aread(self, config: RunnableConfig | None) -> Any:
        """Return what is remembered, by the part's asynchronous methods."""
        config = self._merged(config)
        if _has_history(self._part):
            return list(await self._history(config).aget_messages())
        return (await self._part.aget_state(config)).values if _goes_on(config) else None

    def _merged(self, config: RunnableConfig | None) -> RunnableConfig:
        return merge_configs(getattr(self._part, "config", None), self._config, ensure_config(config))

    def _history(self, config: RunnableConfig) -> Any:
        return self._part._merge_configs(config)["configurable"]["message_history"]


def memories(chain: Any) -> tuple[Memory, ...]:
    """Return all memories in a chain, as far as its parts can be seen.

    Raises:
        ConfigurationError: a graph in it shares the memory of whatever graph it is run in, which cannot be read here.
    """
    return tuple(_found(chain, RunnableConfig(), 0))


def _found(part: Any, config: RunnableConfig, depth: int) -> Iterator[Memory]:
    if depth > _DEEPEST:
        return
    if isinstance(part, list | tuple):
        for item in part:
            yield from _found(item, config, depth + 1)
    elif isinstance(part, Mapping):
        yield from _found(list(part.values()), config, depth)
    elif isinstance(part, Runnable):
        if isinstance(part, RunnableBindingBase):
            config = merge_configs(part.config, config)
        if _has_history(part):
            yield Memory(part, config)
        if hasattr(part, "checkpointer") and hasattr(part, "get_state"):
            yield from _graphs(part, config)
        else:
            yield from _found(list(vars(part).values()), config, depth + 1)


def _graphs(graph: Any, config: RunnableConfig) -> Iterator[Memory]:
    if graph.checkpointer is True:
        raise ConfigurationError(
            "a graph compiled with checkpointer=True remembers images that this door cannot see: guard the model in "
            "it, by GuardedChatModel or GuardrailMiddleware"
        )
    if graph.checkpointer:
        yield Memory(graph, config)


def _has_history(part: object) -> bool:
    return isinstance(part, RunnableBindingBase) and hasattr(part, "get_session_history")


def _goes_on(config: RunnableConfig) -> bool:
    """Whether a graph goes on with a conversation: it is named, and no other graph runs this one."""
    configurable = config.get("configurable") or {}
    return "thread_id" in configurable and not in_a_graph(configurable)
