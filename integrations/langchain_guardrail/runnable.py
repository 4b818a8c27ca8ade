"""`GuardedRunnable`: a guard in front of any chain."""

from __future__ import annotations

import copy
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

from langchain_core.callbacks.manager import AsyncCallbackManagerForChainRun, CallbackManagerForChainRun
from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.runnables.config import var_child_runnable_config
from langchain_core.runnables.graph import Graph
from langchain_core.runnables.utils import ConfigurableFieldSpec
from langchain_core.utils.pydantic import TypeBaseModel

from guardrail.errors import ConfigurationError
from guardrail.guard import Guard
from guardrail.policy import Decision
from guardrail.prompts import Prompt
from langchain_guardrail import langgraph_keys
from langchain_guardrail.blocked import REFUSAL, BlockMessage, Shape, attach, check_shape, say, shape_like, shape_of
from langchain_guardrail.content import Request, messages_of
from langchain_guardrail.gate import Gate, MediaInText, OnBlock, Passage
from langchain_guardrail.memory import memories
from langchain_guardrail.observe import aannounce, announce
from langchain_guardrail.remote import RemoteImages
from langchain_guardrail.render import Snapshot, answer_text, snapshot
from langchain_guardrail.together import Together

_MEDIA_IN_MEMORY = (
    "media in the chain's memory of the conversation, which this door cannot certify with what is new: guard the model "
    "behind the memory, by GuardedChatModel or GuardrailMiddleware"
)


class GuardedRunnable(Together, Runnable[Any, Any]):
    """A chain behind a guard: it runs on images that were checked, and its answer is judged before anyone sees it.

    Takes what the chain takes: a string, a message, a list of messages (objects, tuples or dicts), a prompt value, or
    a dict with a `messages` key. A request without media goes to the chain as it is, streaming included. With media:

    - Images are checked jointly, with the text up to the last human turn, and go on as `Policy.forward` says. Media
      that cannot be checked is `Policy.on_error`'s.
    - The chain runs where no callback, tracer or stream of the caller sees it, nor the state of a graph around it, and
      its judged answer comes in one chunk. The answer is all of its output but the request's own messages; what cannot
      be written out for judging (a generator, bytes) is `Policy.on_error`'s, as `oracle_failed`.
    - What the chain raises passes through unchanged, but for an `OutputParserException`, which quotes the unjudged
      answer: where the policy is enforced, a new one without it is raised instead.
    - The decision is in `response_metadata["guardrail"]` of a message (`get_decision`), in a custom event
      `guardrail_decision`, and goes to `on_decision`.

    A chain that keeps conversations for itself (a graph with a checkpointer, a `RunnableWithMessageHistory`) shows its
    model what does not pass this door. Its memory is looked at before each call, and once there are images in it, a
    call is `Policy.on_error`'s; guard the model in it instead, by `GuardedChatModel` or `GuardrailMiddleware`.

    What `config["configurable"]` holds, and a graph's context, is searched as other values of the input are. Metadata
    is for traces, and is not.

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
        remote: fetches remote images from listed hosts; None: none is fetched, and they fail closed.
        media_in_text: what data URLs and base64 files in a message's text are: media that cannot be checked
            (`refuse`), or text (`ignore`), where nothing behind this door makes an image of them.
        name: the run's name in traces.

    Raises:
        ConfigurationError: the chain yields neither messages nor text, and nothing says what a block returns; or it
            is a graph with `checkpointer=True`.
    """

    def __init__(
        self,
        bound: Runnable[Any, Any],
        guard: Guard,
        *,
        refusal: BlockMessage = None,
        on_block: OnBlock = "refuse",
        on_decision: Callable[[Decision], None] | None = None,
        remote: RemoteImages | None = None,
        media_in_text: MediaInText = "refuse",
        name: str | None = None,
    ) -> None:
        if not isinstance(bound, Runnable):
            raise ConfigurationError(f"first the chain, a Runnable, then the guard; got {type(bound).__name__}")
        self.bound = bound
        self.name = name
        self._gate = Gate(guard, refusal, on_block, on_decision, remote, media_in_text)
        self._memories = memories(bound)
        self._shape = shape_of(bound)
        drawn = guard.policy.release == "certified"
        check_shape(bound, self._shape, self._gate.refusal, raises=on_block == "raise", drawn=drawn)

    @property
    def guard(self) -> Guard:
        """What decides; copies share it."""
        return self._gate.guard

    def __repr__(self) -> str:
        return f"GuardedRunnable({self.bound!r}, {self.guard!r})"

    def invoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        """Run the chain behind the guard.

        Raises:
            GuardrailBlocked: blocked, with `on_block="raise"`.
        """
        request = self._read(input, config, kwargs)
        if request is None:
            return self.bound.invoke(input, config, **kwargs)

        def guarded(_: Any, run_manager: CallbackManagerForChainRun, config: RunnableConfig) -> Any:
            return self._run(request, run_manager, config, kwargs)

        return self._call_with_config(guarded, input, config)

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        """Run the chain behind the guard while the event loop stays free; raises as `invoke`."""
        request = await self._aread(input, config, kwargs)
        if request is None:
            return await self.bound.ainvoke(input, config, **kwargs)

        async def guarded(_: Any, run_manager: AsyncCallbackManagerForChainRun, config: RunnableConfig) -> Any:
            return await self._arun(request, run_manager, config, kwargs)

        return await self._acall_with_config(guarded, input, config)

    def stream(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Iterator[Any]:
        """Stream the chain; of a request with media, the judged answer as one chunk."""
        request = self._read(input, config, kwargs)
        if request is None:
            yield from self.bound.stream(input, config, **kwargs)
            return

        def guarded(
            values: Iterator[Any], run_manager: CallbackManagerForChainRun, config: RunnableConfig
        ) -> Iterator[Any]:
            for _ in values:
                yield self._run(request, run_manager, config, kwargs)

        yield from self._transform_stream_with_config(iter([input]), guarded, config)

    async def astream(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> AsyncIterator[Any]:
        """Stream the chain asynchronously; of a request with media, the judged answer as one chunk."""
        request = await self._aread(input, config, kwargs)
        if request is None:
            async for chunk in self.bound.astream(input, config, **kwargs):
                yield chunk
            return

        async def guarded(
            values: AsyncIterator[Any], run_manager: AsyncCallbackManagerForChainRun, config: RunnableConfig
        ) -> AsyncIterator[Any]:
            async for _ in values:
                yield await self._arun(request, run_manager, config, kwargs)

        async def one() -> AsyncIterator[Any]:
            yield input

        async for chunk in self._atransform_stream_with_config(one(), guarded, config):
            yield chunk

    def _read(self, value: Any, config: RunnableConfig | None, options: dict[str, Any]) -> Request | None:
        request = self._gate.read(value, options, settings_of(config))
        return self._with_memory(request, [memory.read(config) for memory in self._memories], value)

    async def _aread(self, value: Any, config: RunnableConfig | None, options: dict[str, Any]) -> Request | None:
        request = self._gate.read(value, options, settings_of(config))
        return self._with_memory(request, [await memory.aread(config) for memory in self._memories], value)

    def _with_memory(self, request: Request | None, remembered: list[Any], value: Any) -> Request | None:
        """Add media that the chain remembers, which cannot be certified here together with what is new."""
        if all(self._gate.read(each) is None for each in remembered):
            return request
        request = request or Request((), Prompt(()), (), lambda _: value, value)
        return replace(request, unchecked=(*request.unchecked, _MEDIA_IN_MEMORY))

    @contextmanager
    def _together(self, inputs: Sequence[Any], config: Any, options: dict[str, Any]) -> Iterator[Runnable[Any, Any]]:
        configs = config if isinstance(config, Sequence) else [config] * len(inputs)
        read = (
            self._gate.read(value, options, settings_of(each)) for value, each in zip(inputs, configs, strict=False)
        )
        if len(configs) == len(inputs) and not self._memories and all(request is None for request in read):
            yield self.bound
            return
        with self._gate.together() as gate:
            guarded = copy.copy(self)
            guarded._gate = gate
            yield guarded

    def _run(
        self,
        request: Request,
        run_manager: CallbackManagerForChainRun,
        config: RunnableConfig,
        options: dict[str, Any],
    ) -> Any:
        answer = _Answer(self._shape)

        def ask(forwarded: Any, inner: RunnableConfig) -> Any:
            answer.note_request(forwarded)
            return answer.note_output(self.bound.invoke(forwarded, inner, **options))

        passage = self._gate.run(request, ask, answer.written, config=config)
        announce(passage.decision, run_manager)
        return self._released(passage, answer.shape)

    async def _arun(
        self,
        request: Request,
        run_manager: AsyncCallbackManagerForChainRun,
        config: RunnableConfig,
        options: dict[str, Any],
    ) -> Any:
        answer = _Answer(self._shape)

        async def ask(forwarded: Any, inner: RunnableConfig) -> Any:
            answer.note_request(forwarded)
            return answer.note_output(await self.bound.ainvoke(forwarded, inner, **options))

        passage = await self._gate.arun(request, ask, answer.written, config=config)
        await aannounce(passage.decision, run_manager)
        return self._released(passage, answer.shape)

    def _released(self, passage: Passage[Any], shape: Shape) -> Any:
        """Return what the caller gets."""
        decision = passage.decision
        self._gate.tell(decision)
        if decision.blocked:
            message = self._gate.block_message(decision)
            whole = callable(self._gate.refusal) and message is not REFUSAL
            return message if whole else say(message, shape, decision)
        if passage.drawn is not None:
            return say(passage.drawn, shape, decision)
        return attach(passage.output, decision)

    def get_name(self, suffix: str | None = None, *, name: str | None = None) -> str:
        """Return the run's name in traces."""
        return super().get_name(suffix, name=name or self.name or f"Guarded<{self.bound.get_name()}>")

    @property
    def InputType(self) -> Any:
        """What the chain takes."""
        return self.bound.InputType

    @property
    def OutputType(self) -> Any:
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


def settings_of(config: RunnableConfig | None) -> dict[str, Any]:
    """Return what a chain's parts can read in their config, the parent run's included; not a graph's own matters."""
    inherited = (var_child_runnable_config.get() or RunnableConfig()).get("configurable") or {}
    return langgraph_keys.settings({**inherited, **((config or RunnableConfig()).get("configurable") or {})})


class _Answer:
    """What a chain is asked and gives, on its way to the oracle."""

    def __init__(self, shape: Shape | None) -> None:
        self.shape: Shape = shape or "message"
        """What a block message is to look like: the answer, once it is known."""
        self._request: list[Snapshot] = []

    def note_request(self, value: Any) -> None:
        """Take the request's messages down before the chain can change them; one that fails will be judged."""
        for message in messages_of(value):
            with suppress(Exception):
                self._request.append(snapshot(message))

    def note_output(self, output: Any) -> Any:
        """Note what the chain gave."""
        self.shape = shape_like(output) or self.shape
        return output

    def written(self, output: Any) -> str:
        """Write the answer out."""
        return answer_text(output, self._request)
