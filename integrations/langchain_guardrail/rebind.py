"""Puts a guarded model in place of the bare one inside what `bind_tools` and `with_structured_output` make of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage
from langchain_core.runnables import (
    Runnable,
    RunnableConfig,
    RunnableParallel,
    RunnableSequence,
    RunnableWithFallbacks,
)
from langchain_core.runnables.base import RunnableBindingBase

from guardrail.errors import ConfigurationError
from langchain_guardrail.blocked import is_block

Place = Callable[[BaseChatModel], Runnable[Any, Any]]


def rebind(chain: Runnable[Any, Any], place: Place) -> Runnable[Any, Any]:
    """Return what a model makes of itself, with the guarded model in its place.

    Raises:
        ConfigurationError: no model can be seen in it, so that the model would answer unchecked.
    """
    found: list[BaseChatModel] = []

    def seen(model: BaseChatModel) -> Runnable[Any, Any]:
        found.append(model)
        return place(model)

    guarded = _with_model(chain, seen)
    if not found:
        raise ConfigurationError(
            f"the model cannot be seen in the {type(chain).__name__} that it made of itself: guard that instead, "
            "by GuardedRunnable(model.bind_tools(...), guard)"
        )
    return guarded


def _with_model(chain: Runnable[Any, Any], seen: Place) -> Runnable[Any, Any]:
    match chain:
        case BaseChatModel():
            return seen(chain)
        case RunnableBindingBase():
            return chain.model_copy(update={"bound": _with_model(chain.bound, seen)})
        case RunnableSequence():
            return RunnableSequence(*(_with_model(step, seen) for step in chain.steps), name=chain.name)
        case RunnableParallel():
            steps = {name: _with_model(step, seen) for name, step in chain.steps__.items()}
            return chain.model_copy(update={"steps__": steps})
        case RunnableWithFallbacks():
            others = [_with_model(other, seen) for other in chain.fallbacks]
            return chain.model_copy(update={"runnable": _with_model(chain.runnable, seen), "fallbacks": others})
    return chain


def unless_blocked(chain: Runnable[Any, Any]) -> Runnable[Any, Any]:
    """Let a block message go round the parsers behind the model, as None: parsing it would raise, and invite retries.

    Args:
        chain: a guarded model, and parsers of its answers.
    """
    if not isinstance(chain, RunnableSequence):
        return chain
    model, *parsers = chain.steps
    parser = parsers[0] if len(parsers) == 1 else RunnableSequence(*parsers)
    return RunnableSequence(model, UnlessBlocked(parser), name=chain.name)


class UnlessBlocked(Runnable[BaseMessage, Any]):
    """Parsers that a block message passes by, as None."""

    def __init__(self, bound: Runnable[Any, Any]) -> None:
        self.bound = bound

    @property
    def OutputType(self) -> Any:
        """What the parsers yield."""
        return self.bound.OutputType

    def invoke(self, input: BaseMessage, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        """Parse an answer; None for a block message."""
        return None if is_block(input) else self.bound.invoke(input, config, **kwargs)

    async def ainvoke(self, input: BaseMessage, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        """Parse an answer where the parsers do so asynchronously; None for a block message."""
        return None if is_block(input) else await self.bound.ainvoke(input, config, **kwargs)

    def transform(
        self,
        input: Iterator[BaseMessage],
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> Iterator[Any]:
        """Parse answers while they come in; a block message comes whole."""
        for first in input:
            if is_block(first):
                yield None
            else:
                yield from self.bound.transform(_again(first, input), config, **kwargs)

    async def atransform(
        self,
        input: AsyncIterator[BaseMessage],
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[Any]:
        """Parse answers while they come in, asynchronously; a block message comes whole."""
        async for first in input:
            if is_block(first):
                yield None
            else:
                async for parsed in self.bound.atransform(_aagain(first, input), config, **kwargs):
                    yield parsed


def _again(first: BaseMessage, rest: Iterator[BaseMessage]) -> Iterator[BaseMessage]:
    yield first
    yield from rest


async def _aagain(first: BaseMessage, rest: AsyncIterator[BaseMessage]) -> AsyncIterator[BaseMessage]:
    yield first
    async for message in rest:
        yield message
