"""`GuardedChatModel`: a chat model that answers nothing unchecked, and is itself in every other respect."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from langchain_core.callbacks import AsyncCallbackManager, CallbackManager
from langchain_core.callbacks.manager import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.messages.utils import count_tokens_approximately
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.runnables.config import ensure_config
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import Field

from guardrail.errors import ConfigurationError
from guardrail.guard import Guard
from guardrail.policy import Decision
from langchain_guardrail.blocked import BlockMessage, attach
from langchain_guardrail.content import Request
from langchain_guardrail.gate import Gate, MediaInText, OnBlock, Passage
from langchain_guardrail.observe import Run, Started, aannounce, announce
from langchain_guardrail.rebind import rebind, unless_blocked
from langchain_guardrail.remote import RemoteImages
from langchain_guardrail.render import answer_text, notes_text
from langchain_guardrail.together import Together

_MIRRORED = (
    *("name", "tags", "metadata", "callbacks", "verbose", "custom_get_token_ids"),
    *("rate_limiter", "disable_streaming", "output_version", "profile"),
)
"""Fields of every chat model that say how it is run; the guarded model is run in the same way."""
_CALL = "guardrail_call"
"""Option by which a `_Call` comes to the methods that answer; LangChain does not tell a stream its run."""


@dataclass(frozen=True)
class _Call:
    """What is known of a call already: its run, and the request, where these very messages have been read."""

    run: Run | None
    request: Request | None = None


class GuardedChatModel(Together, BaseChatModel):
    """A chat model behind a guard: its images were checked, and its answers are judged before anyone sees them.

    Use it wherever the model was used: in chains, agents, with `bind_tools` and `with_structured_output`. Whatever
    builds images upstream (prompt templates, middleware, tools) has done so by the time the request is here.

    - A request without media goes to the model as it is, streaming, caching and usage included.
    - With media, images are checked jointly, with the text up to the last human turn, and go on as `Policy.forward`
      says. What cannot be checked is `Policy.on_error`'s. The model's run is in the caller's trace, with its judged
      answer, which streams as one chunk. LangChain's caches are not asked.
    - Steps of an agent reuse the conversation's certificate: from the guard's store, or from a short memory of this
      model's where the guard has none. A new image or human turn makes a new one. Every answer is judged.
    - A block is an `AIMessage`, its decision in `response_metadata["guardrail"]` (`get_decision`), in a custom event
      `guardrail_decision` and in the run's metadata. With `with_structured_output`, it is None, or the message as
      `raw` with `include_raw=True`.
    - What the model raises passes through unchanged, but for an exception that quotes the unjudged answer.
    - Tokens of messages with media are estimated: to count them, a model could show them to its provider.

    Images that a provider's own tools fetch, or that the model generates, are not seen.

    Args:
        model: the chat model.
        guard: decides. Its policy holds all the rules.
        refusal: what a block says; or a function from the decision to a text or an `AIMessage`.
        on_block: `raise` raises `GuardrailBlocked` instead. Unsafe with fallbacks and retries: they route round it.
        on_decision: is told the final decision of each request with media, in the thread or task of the request.
        remote: fetches remote images from listed hosts; None: none is fetched, and they fail closed.
        media_in_text: what data URLs and base64 files in a message's text are: media that cannot be checked
            (`refuse`), or text (`ignore`), where nothing behind this door makes an image of them.

    Raises:
        ConfigurationError: not a chat model (put a chain into a `GuardedRunnable`), or no guard.
    """

    bound: BaseChatModel = Field(repr=False)
    """The model behind the guard."""
    gate: Gate = Field(repr=False, exclude=True)
    """The guard, and what is done with its decisions."""

    def __init__(
        self,
        model: BaseChatModel | None = None,
        guard: Guard | None = None,
        *,
        refusal: BlockMessage = None,
        on_block: OnBlock = "refuse",
        on_decision: Callable[[Decision], None] | None = None,
        remote: RemoteImages | None = None,
        media_in_text: MediaInText = "refuse",
        **fields: Any,
    ) -> None:
        bound = fields.pop("bound", model)
        if not isinstance(bound, BaseChatModel):
            raise ConfigurationError(
                f"first a chat model, then the guard; got {type(bound).__name__}: a chain goes into a GuardedRunnable"
            )
        gate = fields.pop("gate", None)
        if gate is None:
            gate = Gate(guard, refusal, on_block, on_decision, remote, media_in_text).remembering()  # type: ignore[arg-type]
        super().__init__(**{**mirrored(bound), **fields, "bound": bound, "gate": gate, "cache": False})

    def __getattr__(self, name: str) -> Any:
        """Read a plain setting of the model, such as its name. Its methods are not here: they go round the guard."""
        if not name.startswith("_") and "bound" in self.__dict__:
            value = getattr(self.__dict__["bound"], name, None)
            if isinstance(value, str | int | float | bool):
                return value
        return super().__getattr__(name)  # type: ignore[misc]

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        """Name the model's class only: its fields may hold secrets."""
        yield None, type(self.bound)
        yield None, self.gate.guard

    @property
    def guard(self) -> Guard:
        """What decides; copies share it."""
        return self.gate.guard

    # ------------------------------------------------------------------------------------------- with media or not

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        call = self._call(messages, stop, run_manager, kwargs)
        if call.request is None:
            return self.bound._generate(messages, stop=stop, run_manager=run_manager, **kwargs)
        kwargs.pop("stream", None)
        passage = self.gate.run(
            call.request,
            lambda checked, _: self.bound._generate(checked, stop=stop, **kwargs),
            _written,
            metadata=_metadata(call.run),
        )
        announce(passage.decision, call.run)
        return self._released(passage)

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        call = self._call(messages, stop, run_manager, kwargs)
        if call.request is None:
            return await self.bound._agenerate(messages, stop=stop, run_manager=run_manager, **kwargs)
        kwargs.pop("stream", None)
        passage = await self.gate.arun(
            call.request,
            lambda checked, _: self.bound._agenerate(checked, stop=stop, **kwargs),
            _written,
            metadata=_metadata(call.run),
        )
        await aannounce(passage.decision, call.run)
        return self._released(passage)

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        call = self._call(messages, stop, run_manager, kwargs)
        if call.request is None:
            yield from self.bound._stream(messages, stop=stop, run_manager=run_manager, **kwargs)
        else:
            kwargs[_CALL] = call
            yield _chunk(self._generate(messages, stop, **kwargs))

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        call = self._call(messages, stop, run_manager, kwargs)
        if call.request is None:
            async for chunk in self.bound._astream(messages, stop=stop, run_manager=run_manager, **kwargs):
                yield chunk
        else:
            kwargs[_CALL] = call
            yield _chunk(await self._agenerate(messages, stop, **kwargs))

    def _generate_with_cache(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        """Give text to the model's own cache, rate limiter and streaming; this model's cache is off."""
        call = self._call(messages, stop, run_manager, kwargs)
        if call.request is None:
            return self.bound._generate_with_cache(messages, stop=stop, run_manager=run_manager, **kwargs)
        kwargs[_CALL] = call
        return super()._generate_with_cache(messages, stop=stop, run_manager=run_manager, **kwargs)

    async def _agenerate_with_cache(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        """Give text to the model's own cache, rate limiter and streaming, asynchronously."""
        call = self._call(messages, stop, run_manager, kwargs)
        if call.request is None:
            return await self.bound._agenerate_with_cache(messages, stop=stop, run_manager=run_manager, **kwargs)
        kwargs[_CALL] = call
        return await super()._agenerate_with_cache(messages, stop=stop, run_manager=run_manager, **kwargs)

    def stream(
        self,
        input: LanguageModelInput,
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> Iterator[AIMessageChunk]:
        """Stream the model; of a request with media, the judged answer as one chunk."""
        if self.gate.read(input, kwargs) is not None:
            config = ensure_config(config)
            manager = CallbackManager.configure(config.get("callbacks"), self.callbacks, self.verbose)
            config, started = Started.observe(config, manager)
            kwargs[_CALL] = _Call(started)
        yield from super().stream(input, config, stop=stop, **kwargs)

    async def astream(
        self,
        input: LanguageModelInput,
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[AIMessageChunk]:
        """Stream the model asynchronously; of a request with media, the judged answer as one chunk."""
        if self.gate.read(input, kwargs) is not None:
            config = ensure_config(config)
            manager = AsyncCallbackManager.configure(config.get("callbacks"), self.callbacks, self.verbose)
            config, started = Started.observe(config, manager)
            kwargs[_CALL] = _Call(started)
        async for chunk in super().astream(input, config, stop=stop, **kwargs):
            yield chunk

    def _call(
        self, messages: list[BaseMessage], stop: list[str] | None, run: Run | None, options: dict[str, Any]
    ) -> _Call:
        """Take what is known of a call out of its options, and read its request if that is still to be done."""
        call: _Call = options.pop(_CALL, None) or _Call(run)
        if call.request is not None:
            return call
        return replace(call, request=self.gate.read(messages, {**options, "stop": stop} if stop else options))

    @contextmanager
    def _together(
        self,
        inputs: Sequence[Any],
        config: Any,  # noqa: ARG002
        options: dict[str, Any],
    ) -> Iterator[Runnable[Any, Any]]:
        if all(self.gate.read(value, options) is None for value in inputs):
            yield self
            return
        with self.gate.together() as gate:
            yield self.model_copy(update={"gate": gate})

    def _released(self, passage: Passage[ChatResult]) -> ChatResult:
        """Return what the caller gets."""
        decision = passage.decision
        self.gate.tell(decision)
        if decision.blocked:
            message = self.gate.block_message(decision)
            return _result([message if isinstance(message, AIMessage) else AIMessage(str(message))], decision)
        if passage.drawn is not None:
            return _result([AIMessage(passage.drawn)], decision)
        result = passage.output or ChatResult(generations=[])
        for generation in result.generations:
            generation.message = attach(generation.message, decision)
        return result

    # --------------------------------------------------------------------------------------- the model's own ways

    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: str | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """Bind tools as the model does, behind the guard."""
        if tool_choice is not None:
            kwargs["tool_choice"] = tool_choice
        return rebind(self.bound.bind_tools(tools, **kwargs), self._in_place_of)

    def with_structured_output(
        self,
        schema: dict[str, Any] | type,
        *,
        include_raw: bool = False,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, Any]:
        """Structure answers as the model does, behind the guard. A block is None; `include_raw` gives its message."""
        chain = self.bound.with_structured_output(schema, include_raw=include_raw, **kwargs)
        guarded = rebind(chain, self._in_place_of)
        return guarded if include_raw else unless_blocked(guarded)

    def _in_place_of(self, model: BaseChatModel) -> BaseChatModel:
        """Return the guarded model that stands in for the model, or for a changed copy of it."""
        return self if model is self.bound else self.model_copy(update={"bound": model})

    def get_num_tokens(self, text: str) -> int:
        """Return the model's own count."""
        return self.bound.get_num_tokens(text)

    def get_num_tokens_from_messages(
        self,
        messages: list[BaseMessage],
        tools: Sequence[Any] | None = None,
        **kwargs: Any,
    ) -> int:
        """Return the model's own count; of messages with media an estimate, `count_tokens_approximately`.

        To count tokens, some models send the messages to their provider, or fetch the images. Nothing is checked for
        a count, so media go nowhere.
        """
        described: list[BaseTool | dict[str, Any]] = [convert_to_openai_tool(tool) for tool in tools or ()]
        if self.gate.read(messages, {**kwargs, "tools": described}) is not None:
            return count_tokens_approximately(messages, tools=described)
        if tools is not None:
            kwargs["tools"] = tools
        return self.bound.get_num_tokens_from_messages(messages, **kwargs)

    def get_token_ids(self, text: str) -> list[int]:
        """Return the model's own tokens."""
        return self.bound.get_token_ids(text)

    @property
    def _llm_type(self) -> str:
        return self.bound._llm_type

    @cached_property
    def _serialized(self) -> dict[str, Any]:
        """How traces name it: by its repr, as the model's own fields may hold secrets."""
        return dict(self.to_json())

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {**self.bound._identifying_params, "guardrail": self.gate.digest}

    def _get_invocation_params(self, stop: list[str] | None = None, **kwargs: Any) -> dict[str, Any]:
        kwargs.pop(_CALL, None)
        params = self.bound._get_invocation_params(stop=stop, **kwargs)
        return {**params, "guardrail": self.gate.digest}

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> Any:
        kwargs.pop(_CALL, None)
        return self.bound._get_ls_params(stop=stop, **kwargs)

    def _combine_llm_outputs(self, llm_outputs: list[dict[str, Any] | None], /) -> dict[str, Any]:
        return self.bound._combine_llm_outputs(llm_outputs)

    def _should_stream(self, *, async_api: bool, run_manager: Any = None, **kwargs: Any) -> bool:
        return self.bound._should_stream(async_api=async_api, run_manager=run_manager, **kwargs)

    def _should_use_protocol_streaming(self, *, async_api: bool, run_manager: Any = None, **kwargs: Any) -> bool:
        return self.bound._should_use_protocol_streaming(async_api=async_api, run_manager=run_manager, **kwargs)


def mirrored(bound: BaseChatModel) -> dict[str, Any]:
    """Return the fields by which a guarded model is run as its model is."""
    return {name: getattr(bound, name) for name in _MIRRORED}


def _metadata(run: Run | None) -> dict[str, Any]:
    return {} if run is None else dict(run.metadata)


def _written(result: ChatResult) -> str:
    """Write out all that a result will put into its messages, and what callbacks will see beside them."""
    beside = [result.llm_output, *(generation.generation_info for generation in result.generations)]
    said = answer_text([generation.message for generation in result.generations])
    return "\n".join(filter(None, (said, *map(notes_text, beside))))


def _result(messages: Sequence[AIMessage], decision: Decision) -> ChatResult:
    return ChatResult(generations=[ChatGeneration(message=attach(message, decision)) for message in messages])


def _chunk(result: ChatResult) -> ChatGenerationChunk:
    """Return the first answer of a result as the one chunk of a stream."""
    (generation, *_) = result.generations
    message = _message_chunk(generation.message)
    return ChatGenerationChunk(message=message, generation_info=generation.generation_info)


def _message_chunk(message: BaseMessage) -> AIMessageChunk:
    return AIMessageChunk(**message.model_dump(exclude={"type", "chunk_position"}), chunk_position="last")
