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
from langchain_guardrail.blocked import get_decision

Place = Callable[[BaseChatModel], Runnable[Any, Any]]


def rebind(made: Runnable[Any, Any], place: Place) -> Runnable[Any, Any]:
    """Return what a model made of itself, with the guarded model in its place.

    Raises:
        ConfigurationError: no model can be seen in it, so that the model would answer unchecked.
    """
    found: list[BaseChatModel] = []

    def seen(model: BaseChatModel) -> Runnable[Any, Any]:
        found.append(model)
        return place(model)

    guarded = _changed(made, seen)
    if not found:
        raise ConfigurationError(
            f"the model cannot be seen in the {type(made).__name__} that it made of itself: guard that instead, "
            "by GuardedRunnable(model.bind_tools(...), guard)"
        )
    return guarded


def _changed(made: Runnable[Any, Any], seen: Place) -> Runnable[Any, Any]:
    match made:
        case BaseChatModel():
            return seen(made)
        case RunnableBindingBase():
            return made.model_copy(update={"bound": _changed(made.bound, seen)})
        case RunnableSequence():
            return RunnableSequence(*(_changed(step, seen) for step in made.steps), name=made.name)
        case RunnableParallel():
            steps = {name: _changed(step, seen) for name, step in made.steps__.items()}
            return made.model_copy(update={"steps__": steps})
        case RunnableWithFallbacks():
            others = [_changed(other, seen) for other in made.fallbacks]
            return made.model_copy(update={"runnable": _changed(made.runnable, seen), "fallbacks": others})
    return made


def unless_refused(chain: Runnable[Any, Any]) -> Runnable[Any, Any]:
    """Let a model's refusal go round the parsers behind it, as None: parsing it would raise, and that invites retries.

    Args:
        chain: a guarded model, and parsers of its answers.
    """
    if not isinstance(chain, RunnableSequence):
        return chain
    model, *parsers = chain.steps
    parser = parsers[0] if len(parsers) == 1 else RunnableSequence(*parsers)
    return RunnableSequence(model, UnlessRefused(parser), name=chain.name)


class UnlessRefused(Runnable[BaseMessage, Any]):
    """Parsers that a refusal passes by, as None."""

    def __init__(self, bound: Runnable[Any, Any]) -> None:
        self.bound = bound

    @property
    def OutputType(self) -> Any:
        """What the parsers yield."""
        return self.bound.OutputType

    def invoke(self, input: BaseMessage, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        """Parse an answer; None for a refusal."""
        return None if _refused(input) else self.bound.invoke(input, config, **kwargs)

    async def ainvoke(self, input: BaseMessage, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        """Do as `invoke`."""
        return None if _refused(input) else await self.bound.ainvoke(input, config, **kwargs)

    def transform(
        self,
        input: Iterator[BaseMessage],
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> Iterator[Any]:
        """Parse answers while they come in; a refusal comes whole."""
        for first in input:
            if _refused(first):
                yield None
            else:
                yield from self.bound.transform(_again(first, input), config, **kwargs)

    async def atransform(
        self,
        input: AsyncIterator[BaseMessage],
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[Any]:
        """Do as `transform`."""
        async for first in input:
            if _refused(first):
                yield None
            else:
                async for parsed in self.bound.atransform(_aagain(first, input), config, **kwargs):
                    yield parsed


def _refused(message: object) -> bool:
    decision = get_decision(message) if isinstance(message, BaseMessage) else None
    return decision is not None and decision.blocked


def _again(first: BaseMessage, rest: Iterator[BaseMessage]) -> Iterator[BaseMessage]:
    yield first
    yield from rest


async def _aagain(first: BaseMessage, rest: AsyncIterator[BaseMessage]) -> AsyncIterator[BaseMessage]:
    yield first
    async for message in rest:
        yield message
