"""`GuardedRunnable`: a guard in front of any chain."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

from langchain_core.callbacks.manager import (
    AsyncCallbackManagerForChainRun,
    CallbackManagerForChainRun,
    adispatch_custom_event,
    dispatch_custom_event,
)
from langchain_core.exceptions import OutputParserException
from langchain_core.messages import BaseMessage
from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.runnables.graph import Graph
from langchain_core.runnables.utils import ConfigurableFieldSpec
from langchain_core.utils.pydantic import TypeBaseModel

from guardrail.errors import ConfigurationError, ImageError
from guardrail.guard import Guard
from guardrail.images import InputImage, load_images
from guardrail.policy import Decision
from langchain_guardrail.content import Request, messages_of, read_request
from langchain_guardrail.detached import detached
from langchain_guardrail.refusal import (
    REFUSAL,
    GuardrailBlocked,
    Refusal,
    attach,
    check_shape,
    decision_json,
    say,
    shape_like,
    shape_of,
)
from langchain_guardrail.render import Snapshot, Unread, answer_text, snapshot

EVENT = "guardrail_decision"
"""Name of the custom callback event that carries each decision as plain JSON."""
_UNPARSED = "the chain's answer could not be parsed; it was not judged, so it is not quoted here"


@dataclass(frozen=True)
class _Pictures:
    """A request's pictures; where one cannot be read, going through them says so, and the guard gives its reason."""

    loaded: tuple[InputImage, ...]
    error: ImageError | None = None

    def __iter__(self) -> Iterator[InputImage]:
        if self.error is not None:
            raise self.error
        return iter(self.loaded)


class GuardedRunnable(Runnable[Any, Any]):
    """A chain behind a guard: it runs on images that were checked, and its answer is judged before anyone sees it.

    Takes what the chain takes: a string, a message, a list of messages (objects, tuples or dicts), a prompt value, or
    a dict with a `messages` key. A request without media goes to the chain as it is, streaming included. With media:

    - Images are checked jointly, with the text up to the last human turn, and go on as `Policy.forward` says. Media
      that cannot be checked is `Policy.on_error`'s.
    - The chain runs where no callback, tracer or stream of the caller sees it, and its judged answer comes in one
      chunk. The answer is all of its output but the request's own messages; what cannot be written out for judging
      (a generator, bytes) is `Policy.on_error`'s, as `oracle_failed`.
    - What the chain raises passes through unchanged, but for an `OutputParserException`, which quotes the unjudged
      answer: where the policy is enforced, a new one without it is raised instead.
    - The decision is in `response_metadata["guardrail"]` of a message (`get_decision`), in a custom event
      `guardrail_decision`, and goes to `on_decision`.

    This door sees what passes through it: put it behind whatever makes images out of text, such as prompt templates
    (`template | GuardedRunnable(model, guard)`), and not before. It cannot see what the chain fetches by itself, what
    tools bring up in it, or images in its answer.

    Args:
        bound: the chain.
        guard: decides. Its policy holds all the rules.
        refusal: what a block says; or a function from the decision to what a block returns. A text becomes an
            `AIMessage`, a string, or a state with `messages`, whichever the chain yields by its declared type. A
            chain of undeclared type gets an `AIMessage`.
        on_block: `raise` raises `GuardrailBlocked` instead. Unsafe with fallbacks and retries: they route round it.
        on_decision: is told the final decision of each request with media, in the thread or task of the request.
        name: the run's name in traces.

    Raises:
        ConfigurationError: the chain yields neither messages nor text, and nothing says what a block returns.
    """

    def __init__(
        self,
        bound: Runnable[Any, Any],
        guard: Guard,
        *,
        refusal: Refusal = None,
        on_block: Literal["refuse", "raise"] = "refuse",
        on_decision: Callable[[Decision], None] | None = None,
        name: str | None = None,
    ) -> None:
        if not isinstance(bound, Runnable) or not isinstance(guard, Guard):
            raise ConfigurationError(
                f"first the chain, a Runnable, then the guard; got {type(bound).__name__} and {type(guard).__name__}"
            )
        if on_block not in {"refuse", "raise"}:
            raise ConfigurationError(f"on_block is 'refuse' or 'raise', got {on_block!r}")
        self.bound = bound
        self.guard = guard
        self.name = name
        self._refusal = REFUSAL if refusal is None else refusal
        self._raises = on_block == "raise"
        self._on_decision = on_decision
        self._shape = shape_of(bound)
        drawn = guard.policy.release == "certified"
        check_shape(bound, self._shape, self._refusal, raises=self._raises, drawn=drawn)

    def __repr__(self) -> str:
        return f"GuardedRunnable({self.bound!r}, {self.guard!r})"

    def invoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:  # noqa: A002, ANN401
        """Run the chain behind the guard.

        Raises:
            GuardrailBlocked: blocked, with `on_block="raise"`.
        """
        request = read_request(input, kwargs)
        if request is None:
            return self.bound.invoke(input, config, **kwargs)

        def guarded(value: Any, run_manager: CallbackManagerForChainRun, config: RunnableConfig) -> Any:  # noqa: ANN401, ARG001
            output = None
            with detached(config) as inner:
                pictures = self._load(request)
                decision = self.guard.check(pictures, request.prompt, unchecked=request.unchecked)
                drawn = self.guard.drawn_answer(decision)
                if drawn is not None:
                    output = say(drawn, self._shape or "message", decision)
                elif not decision.blocked:
                    forwarded = self._forwarded(request, pictures, value)
                    asked = _snapshots(messages_of(forwarded))
                    output = self._answer(forwarded, inner, kwargs)
                    decision = self._screen(decision, output, asked)
            dispatch_custom_event(EVENT, decision_json(decision), config=config)
            return self._after(decision, output)

        return self._call_with_config(guarded, input, config)

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:  # noqa: A002, ANN401
        """Do as `invoke`; the event loop stays free."""
        request = read_request(input, kwargs)
        if request is None:
            return await self.bound.ainvoke(input, config, **kwargs)

        async def guarded(value: Any, run_manager: AsyncCallbackManagerForChainRun, config: RunnableConfig) -> Any:  # noqa: ANN401, ARG001
            output = None
            with detached(config) as inner:
                pictures = await asyncio.to_thread(self._load, request)
                decision = await self.guard.acheck(pictures, request.prompt, unchecked=request.unchecked)
                drawn = self.guard.drawn_answer(decision)
                if drawn is not None:
                    output = say(drawn, self._shape or "message", decision)
                elif not decision.blocked:
                    forwarded = await asyncio.to_thread(self._forwarded, request, pictures, value)
                    asked = _snapshots(messages_of(forwarded))
                    output = await self._aanswer(forwarded, inner, kwargs)
                    decision = await asyncio.to_thread(self._screen, decision, output, asked)
            await adispatch_custom_event(EVENT, decision_json(decision), config=config)
            return self._after(decision, output)

        return await self._acall_with_config(guarded, input, config)

    def stream(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Iterator[Any]:  # noqa: A002, ANN401
        """Stream the chain; of a request with media, the judged answer as one chunk."""
        if read_request(input, kwargs) is None:
            yield from self.bound.stream(input, config, **kwargs)
        else:
            yield self.invoke(input, config, **kwargs)

    async def astream(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> AsyncIterator[Any]:  # noqa: A002, ANN401
        """Do as `stream`."""
        if read_request(input, kwargs) is None:
            async for chunk in self.bound.astream(input, config, **kwargs):
                yield chunk
        else:
            yield await self.ainvoke(input, config, **kwargs)

    def _load(self, request: Request) -> _Pictures:
        try:
            return _Pictures(load_images(request.images, self.guard.limits))
        except ImageError as error:
            return _Pictures((), error)

    def _forwarded(self, request: Request, pictures: _Pictures, value: Any) -> Any:  # noqa: ANN401
        canonical = pictures.loaded and self.guard.policy.forward == "canonical"
        return request.rewrite(iter(pictures)) if canonical else value

    def _answer(self, value: Any, config: RunnableConfig, options: dict[str, Any]) -> Any:  # noqa: ANN401
        """Run the chain; nothing that it raises quotes its answer."""
        try:
            return self.bound.invoke(value, config, **options)
        except Exception as error:
            if not self._quotes(error):
                raise
        raise OutputParserException(_UNPARSED)  # outside the handler, so that it has no context

    async def _aanswer(self, value: Any, config: RunnableConfig, options: dict[str, Any]) -> Any:  # noqa: ANN401
        """Do as `_answer`."""
        try:
            return await self.bound.ainvoke(value, config, **options)
        except Exception as error:
            if not self._quotes(error):
                raise
        raise OutputParserException(_UNPARSED)

    def _quotes(self, error: BaseException) -> bool:
        """Whether an exception, or what led to it, is a parser's, which quotes what it could not parse."""
        led: list[BaseException] = []
        todo: list[BaseException | None] = [error]
        while todo:
            last = todo.pop()
            if last is not None and last not in led:
                led.append(last)
                todo += [last.__cause__, last.__context__]
        return self.guard.policy.enforced and any(isinstance(item, OutputParserException) for item in led)

    def _screen(self, decision: Decision, output: Any, asked: list[Snapshot]) -> Decision:  # noqa: ANN401
        """Judge the answer; one that cannot be written out is an error of judging."""
        try:
            return self.guard.screen(decision, answer_text(output, asked))
        except Unread as unread:
            return self.guard.screen(decision, "", unreadable=str(unread))

    def _after(self, decision: Decision, output: Any) -> Any:  # noqa: ANN401
        if self._on_decision is not None:
            self._on_decision(decision)
        if not decision.blocked:
            return attach(output, decision)
        if self._raises:
            raise GuardrailBlocked(decision)
        if callable(self._refusal):
            return self._refusal(decision)
        return say(self._refusal, shape_like(output) or self._shape or "message", decision)

    def get_name(self, suffix: str | None = None, *, name: str | None = None) -> str:
        """Return the run's name in traces."""
        return super().get_name(suffix, name=name or self.name or f"Guarded<{self.bound.get_name()}>")

    @property
    def InputType(self) -> Any:  # noqa: ANN401, N802
        """What the chain takes."""
        return self.bound.InputType

    @property
    def OutputType(self) -> Any:  # noqa: ANN401, N802
        """What the chain yields."""
        return self.bound.OutputType

    def get_input_schema(self, config: RunnableConfig | None = None) -> TypeBaseModel:
        """Return the chain's."""
        return self.bound.get_input_schema(config)

    def get_output_schema(self, config: RunnableConfig | None = None) -> TypeBaseModel:
        """Return the chain's."""
        return self.bound.get_output_schema(config)

    def get_graph(self, config: RunnableConfig | None = None) -> Graph:
        """Return the chain's."""
        return self.bound.get_graph(config)

    @property
    def config_specs(self) -> list[ConfigurableFieldSpec]:
        """The chain's."""
        return self.bound.config_specs


def _snapshots(messages: list[BaseMessage]) -> list[Snapshot]:
    """Take the request's messages down before the chain can change them; one that fails will be judged."""
    taken = []
    for message in messages:
        with suppress(Exception):
            taken.append(snapshot(message))
    return taken
