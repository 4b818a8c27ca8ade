"""Any chat model that LangChain can call, or a chain that takes messages, as the smoothed model.

This is the way to hosted models and to clusters (vLLM, or whatever speaks the OpenAI protocol). A network fails in
ways that depend on what is said: filters stop harmful answers, long answers time out, streams are cut. A client that
drops, repeats or overtakes such draws counts another distribution than the one it certifies; this one does not.
"""

from __future__ import annotations

import asyncio
import base64
import contextvars
import hashlib
import io
import json
import logging
import random
import socket
import threading
import time
import weakref
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from guardrail.errors import ConfigurationError, ModelError, PromptError, TooManyImagesError
from guardrail.models.base import Answer, Draw, Sizes, past
from guardrail.prompts import ImagePlace, Prompt, Turn

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel
    from langchain_core.messages import AIMessage, BaseMessage
    from langchain_core.runnables import Runnable

logger = logging.getLogger(__name__)

T = TypeVar("T")

_ENDED = {"stop", "end_turn", "stop_sequence", "eos", "eos_token", "tool_calls", "tool_use", "function_call"}
"""Finish reasons, in lower case, by which providers say that the model ended by itself."""
_CUT = {"length", "max_tokens", "max_output_tokens", "model_length"}
"""Finish reasons of an answer that reached the limit on tokens."""
_FINISH_KEYS = ("finish_reason", "stop_reason", "done_reason", "stopReason")
_NAMED = ("temperature", "top_p", "max_tokens", "max_completion_tokens")
"""Parameters that are shown in the name; all others enter it as a hash."""
_ENDPOINTS = ("openai_api_base", "azure_endpoint", "base_url", "endpoint_url", "endpoint")
_BESIDE = {
    *("callbacks", "tags", "metadata", "verbose", "name", "cache", "rate_limiter", "custom_get_token_ids"),
    *("streaming", "stream_usage", "disable_streaming", "max_retries", "request_timeout", "timeout", "seed"),
    *("default_headers", "openai_proxy", "http_socket_options", *_ENDPOINTS),
}
"""Fields of chat models that say how they are called, not what they answer, or that may hold secrets as plain text."""
_LONGEST_WAIT = 30.0
"""Seconds between two attempts, whatever a server asks for."""


class ChatModelVLM:
    """A chat model behind a network that answers draws one call each, with bounded concurrency.

    Noisy copies are sent as PNG data URLs: clipped to [0, 1] and rounded to 8 bits after the noise, which is part of
    the model and of its name and costs no soundness. A call is repeated, with the same noise and the same seed, only
    where it provably failed before any content: connection refused, or rejected by a rate limit. Every other failure
    (time-out, cut connection, error of the server, content filter, refusal field, empty answer) is final: the draw is
    of class `failed`. Answers come back by index, whichever ends first. Retries of the model's own client are
    switched off, as they repeat what failed because of its content.

    Calls run on an event loop in a thread of their own and in an empty context: no callback, tracer or stream of the
    caller sees a drawn answer. Callbacks that a developer attached to `chat` itself stay.

    Args:
        chat: a chat model, or a chain that takes messages and ends in a message (or text, which hides the reason why
            an answer ended).
        name: stands for model, revision and parameters in place of what `chat` tells of itself; needed for a chain.
        resolution: height and width at which noise is added; None: each image's own size, bounded.
        max_concurrency: calls in flight, of all requests together.
        max_attempts: calls per draw, where all before the last failed before any content.
        backoff: seconds before the second attempt, with jitter; doubled for each further one.
        timeout: seconds per call; a call that takes longer is a failed draw.
        seed: whether each draw sends its own sampling seed. True: by the chat model's `seed` field if it has one; a
            string: by the parameter of this name. A model without seeds is 'unseeded' in its name: asking again is
            then another draw, and only stored decisions keep an attacker from asking until the answer suits.
        max_draws: draws per request and purpose that may be paid for; None: no limit.
        max_images: images per request that the model takes; None: not known.
        retry_statuses: HTTP statuses by which the server rejects a request before it generates anything. A 503 counts
            where it says when to come back (`Retry-After`); others can hide an answer that broke the server.

    Raises:
        ConfigurationError: impossible options; retries, fallbacks or a fixed seed within `chat`; a chain without name.
    """

    def __init__(
        self,
        chat: Runnable[Any, Any],
        *,
        name: str | None = None,
        resolution: tuple[int, int] | None = None,
        max_concurrency: int = 16,
        max_attempts: int = 4,
        backoff: float = 0.5,
        timeout: float = 60.0,
        seed: bool | str = True,
        max_draws: int | None = None,
        max_images: int | None = None,
        retry_statuses: Sequence[int] = (429,),
    ) -> None:
        counts = {"max_concurrency": max_concurrency, "max_attempts": max_attempts}
        counts |= {k: v for k, v in (("max_draws", max_draws), ("max_images", max_images)) if v is not None}
        counts |= {} if resolution is None else {"height": resolution[0], "width": resolution[1]}
        for option, value in counts.items():
            if value < 1:
                raise ConfigurationError(f"{option} must be at least 1, got {value}")
        if not (0.0 <= backoff < float("inf") and 0.0 < timeout < float("inf")):
            raise ConfigurationError(f"backoff and timeout are seconds, got {backoff} and {timeout}")
        models = list(_models(chat))
        self._seed_parameter = _seed_parameter(models, seed)
        _refuse_fixed_seeds(chat, self._seed_parameter)
        closers: list[Callable[[], Awaitable[None]]] = []
        self._chat = _map_models(chat, lambda model: _bare(model, closers))
        self._resolution = resolution
        self._max_attempts = max_attempts
        self._backoff = backoff
        self._timeout = timeout
        self._retry_statuses = frozenset(retry_statuses)
        self._max_images = max_images
        self.max_draws = max_draws
        size = "own size" if resolution is None else f"{resolution}"
        seeded = "unseeded" if self._seed_parameter is None else f"seeded by {self._seed_parameter!r}"
        self._name = f"{name or _identity(chat)}/png 8 bit {size}/{seeded}"
        self._places = asyncio.Semaphore(max_concurrency)
        self._background = _Background(closers)
        self._finalizer = weakref.finalize(self, self._background.stop)

    def __repr__(self) -> str:
        return f"ChatModelVLM({self._name!r})"

    @property
    def name(self) -> str:
        """Model, parameters (hashed but for the telling ones), preprocessing, and how it is seeded; no secrets."""
        return self._name

    @property
    def resolution(self) -> tuple[int, int] | None:
        """Height and width at which noise is added; None: each image's own size, bounded."""
        return self._resolution

    def check(self, prompt: Prompt, sizes: Sizes) -> None:
        """Raise before the first draw if the request cannot be sent. The server is not asked.

        Raises:
            PromptError: places and images do not match; an image in a turn that chat models take no images in; a
                conversation without a last turn to answer.
            TooManyImagesError: more than `max_images`.
        """
        if self._max_images is not None and len(sizes) > self._max_images:
            raise TooManyImagesError(f"the model takes {self._max_images} images, the request has {len(sizes)}")
        if not sizes:
            raise PromptError("a request without images has nothing to certify: pass at least one")
        Prompt.of(prompt, len(sizes))
        for turn in prompt.turns:
            if turn.role in {"system", "assistant"} and any(isinstance(part, ImagePlace) for part in turn.parts):
                raise PromptError(f"chat models take no image in a {turn.role} turn: move it to a user turn")
        if prompt.turns[-1].role not in {"user", "tool"}:
            raise PromptError(f"the conversation ends with a {prompt.turns[-1].role} turn: there is nothing to answer")

    def answer(self, draws: Sequence[Draw], deadline: float | None = None) -> list[Answer]:
        """Answer each draw, in order; those that have no answer by the deadline fail with reason `deadline`.

        It may be called from any thread, also from one whose event loop is running (which it then blocks).

        Raises:
            ModelError: a draw beyond `max_draws`, before any of `draws` is sent; the server knows no such model or
                key; the chain does not end in a message or text; the model was closed.
        """
        future = self._submit(draws, deadline)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    async def aanswer(self, draws: Sequence[Draw], deadline: float | None = None) -> list[Answer]:
        """Answer each draw as `answer` does; cancelling it cancels the calls in flight."""
        return await asyncio.wrap_future(self._submit(draws, deadline))

    def close(self) -> None:
        """Cancel what is in flight and give the connections back. Later calls raise `ModelError`."""
        self._finalizer()

    def _submit(self, draws: Sequence[Draw], deadline: float | None) -> Future[list[Answer]]:
        beyond = [draw.index for draw in draws if self.max_draws is not None and draw.index >= self.max_draws]
        if beyond:
            raise ModelError(
                f"the request needs draw number {max(beyond) + 1}, max_draws allows {self.max_draws}: "
                "lower Smoothing.samples, or pay for more"
            )
        return self._background.submit(lambda: self._answer(draws, deadline))

    async def _answer(self, draws: Sequence[Draw], deadline: float | None) -> list[Answer]:
        from langsmith.run_helpers import tracing_context

        with tracing_context(enabled=False):  # also where an environment variable switches it on
            try:
                async with asyncio.TaskGroup() as group:
                    tasks = [group.create_task(self._draw(draw, deadline)) for draw in draws]
            except ExceptionGroup as errors:
                raise errors.exceptions[0] from None
        answers = [task.result() for task in tasks]
        failures = Counter(answer.failed for answer in answers if answer.failed is not None)
        if failures:
            logger.warning("%s: of %d draws failed %s", self._name, len(draws), dict(failures))
        return answers

    async def _draw(self, draw: Draw, deadline: float | None) -> Answer:
        """Return the one answer of a draw, or how it failed."""
        if past(deadline):
            return Answer.failure("deadline")
        try:
            async with asyncio.timeout(None if deadline is None else deadline - time.monotonic()), self._places:
                return await self._attempts(draw)
        except TimeoutError:
            return Answer.failure("deadline")

    async def _attempts(self, draw: Draw) -> Answer:
        chat = self._chat if self._seed_parameter is None else _seeded(self._chat, self._seed_parameter, draw)
        messages = await asyncio.to_thread(_messages, draw)
        for attempt in range(1, self._max_attempts + 1):
            try:
                async with asyncio.timeout(self._timeout):
                    output = await chat.ainvoke(messages, {"callbacks": []})
            except Exception as error:  # every chat model raises its own; a failed draw is an answer
                if _status(error) in {401, 404}:
                    raise ModelError(_cannot_answer(error)) from error
                if not self._before_content(error) or attempt == self._max_attempts:
                    return Answer.failure(_reason(error))
                await asyncio.sleep(self._wait(attempt, error))
            else:
                return _read(output)
        raise AssertionError("unreachable")

    def _before_content(self, error: Exception) -> bool:
        """Whether a call provably failed before the model said anything (theory: only then may it be repeated)."""
        status = _status(error)
        if status is not None:
            return status in self._retry_statuses or (status == 503 and _retry_after(error) is not None)
        return _refused(error)

    def _wait(self, attempt: int, error: Exception) -> float:
        """Return seconds to wait: exponential with jitter, and no less than the server asks for."""
        wait = self._backoff * 2.0 ** (attempt - 1) * random.uniform(0.5, 1.5)  # noqa: S311 - not for security
        return min(_LONGEST_WAIT, max(wait, _retry_after(error) or 0.0))


class _Background:
    """An event loop in a daemon thread, begun when first needed.

    One loop for all requests of a model: clients keep their connections bound to the loop that opened them.
    """

    def __init__(self, closers: Sequence[Callable[[], Awaitable[None]]]) -> None:
        self._closers = closers
        self._lock = threading.Lock()
        self._started = threading.Event()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._end: asyncio.Event | None = None
        self._stopped = False

    def submit(self, make: Callable[[], Coroutine[Any, Any, T]]) -> Future[T]:
        """Run a coroutine there, in an empty context: context variables carry callbacks, tracers and streams."""
        with self._lock:
            if self._stopped:
                raise ModelError("this chat model was closed: make a new one")
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="guardrail-chat", daemon=True)
                self._thread.start()
                self._started.wait()
            if self._loop is None or threading.current_thread() is self._thread:
                raise ModelError("the chat model asks itself: its chain may not contain the guard that smooths it")
            return contextvars.Context().run(asyncio.run_coroutine_threadsafe, make(), self._loop)

    def stop(self) -> None:
        """Cancel what runs, close the clients and end the thread."""
        with self._lock:
            running, self._stopped = not self._stopped and self._thread is not None, True
        if running and self._thread is not None and self._loop is not None and self._end is not None:
            self._loop.call_soon_threadsafe(self._end.set)
            if threading.current_thread() is not self._thread:
                self._thread.join(timeout=5.0)

    def _run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self._loop, self._end = asyncio.get_running_loop(), asyncio.Event()
        self._started.set()
        await self._end.wait()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        for close in self._closers:
            await close()


# ------------------------------------------------------------------------------------------ what is sent


def _messages(draw: Draw) -> list[BaseMessage]:
    urls = [_data_url(image) for image in draw.images()]
    return [_message(turn, urls) for turn in draw.prompt.turns]


def _message(turn: Turn, urls: Sequence[str]) -> BaseMessage:
    from langchain_core.messages import AIMessage, HumanMessage, SystemMessage

    if turn.role == "system":
        return SystemMessage(turn.text)
    if turn.role == "assistant":
        return AIMessage(turn.text)
    content: list[str | dict[str, Any]] = [
        {"type": "text", "text": part}
        if isinstance(part, str)
        else {"type": "image_url", "image_url": {"url": urls[part.index]}}
        for part in turn.parts
    ]
    if turn.role == "tool":  # providers take a tool's message only after the call that it answers
        content.insert(0, {"type": "text", "text": "Result of a tool:"})
    return HumanMessage(content)


def _data_url(noisy: NDArray[np.float32]) -> str:
    """Return a picture [height, width, 3] as a PNG data URL: clipped to [0, 1], then rounded to 8 bits."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray((np.clip(noisy, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8), "RGB").save(
        file, "PNG", compress_level=1
    )
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode("ascii")


# -------------------------------------------------------------------------------------- what comes back


def _read(output: object) -> Answer:
    """Return a model's output as an answer: failed where it was filtered, refused by field, or empty."""
    from langchain_core.messages import AIMessage

    if isinstance(output, str):
        return Answer(output) if output.strip() else Answer.failure("empty")
    if not isinstance(output, AIMessage):
        raise ModelError(f"the chain ends in {type(output).__name__}, not in a message or text: leave out its parser")
    tokens = output.usage_metadata["output_tokens"] if output.usage_metadata else 0

    def failure(reason: str) -> Answer:
        return Answer("", failed=reason, complete=False, tokens=tokens)

    finish = next((output.response_metadata[key] for key in _FINISH_KEYS if key in output.response_metadata), "stop")
    ended = str(finish).lower()
    if ended not in _ENDED | _CUT:
        filtered = any(word in ended for word in ("filter", "safety", "guardrail", "prohibited", "blocklist"))
        return failure("filtered" if filtered else f"finish reason {ended[:40]}")
    if output.additional_kwargs.get("refusal") or any(_kind(block) == "refusal" for block in output.content):
        return failure("refusal")
    text = _text(output)
    return Answer(text, complete=ended in _ENDED, tokens=tokens) if text.strip() else failure("empty")


def _kind(block: object) -> object:
    return block.get("type") if isinstance(block, Mapping) else None


def _text(message: AIMessage) -> str:
    """Return what was said, tool calls included: an oracle judges them too."""
    calls = [json.dumps({"tool": c["name"], "args": c["args"]}) for c in message.tool_calls]
    calls += [json.dumps({"tool": c["name"], "args": c["args"]}) for c in message.invalid_tool_calls]
    return "\n".join(filter(None, (str(message.text), *calls)))


# ------------------------------------------------------------------------------------------ what failed


def _status(error: Exception) -> int | None:
    """Return the HTTP status of an error, as the clients of most providers carry it."""
    for holder in (error, getattr(error, "response", None)):
        status = getattr(holder, "status_code", None)
        if isinstance(status, int):
            return status
    return None


def _retry_after(error: Exception) -> float | None:
    """Return the seconds after which the server wants to be asked again; None if it does not say."""
    headers = getattr(getattr(error, "response", None), "headers", None)
    try:
        return max(0.0, float(headers.get("retry-after"))) if headers is not None else None
    except (TypeError, ValueError):
        return None


def _refused(error: Exception) -> bool:
    """Whether no connection came about, so that no request was sent."""
    link: BaseException | None = error
    while link is not None:
        if isinstance(link, (ConnectionRefusedError, socket.gaierror)):
            return True
        if type(link).__name__ in {"ConnectError", "ClientConnectorError"}:  # httpx and aiohttp, not imported here
            return True
        link = link.__cause__
    return False


def _reason(error: Exception) -> str:
    """Return why a draw failed, for counts and logs; never a message, which could quote the request."""
    status = _status(error)
    if getattr(error, "code", None) == "content_filter":
        return "filtered"
    if status is not None:
        return f"http {status}"
    if _refused(error):
        return "unreachable"
    if isinstance(error, TimeoutError) or "Timeout" in type(error).__name__:
        return "timeout"
    return "connection cut" if "Connection" in type(error).__name__ else f"error {type(error).__name__}"


def _cannot_answer(error: Exception) -> str:
    if _status(error) == 401:
        return "the server refuses the API key (HTTP 401): set a valid one"
    return "the server knows no such model or path (HTTP 404): check the model's name and the base URL"


# --------------------------------------------------------------------------------- the chat model within a chain


def _models(chat: Runnable[Any, Any]) -> Iterator[BaseChatModel]:
    found: list[BaseChatModel] = []

    def collect(model: BaseChatModel) -> BaseChatModel:
        found.append(model)
        return model

    _map_models(chat, collect)
    yield from found


def _map_models(chat: Runnable[Any, Any], change: Callable[[BaseChatModel], Runnable[Any, Any]]) -> Runnable[Any, Any]:
    """Return a chain with each chat model that can be seen in it changed.

    Raises:
        ConfigurationError: no runnable, a text-only model, or a part that asks again or elsewhere after a failure.
    """
    from langchain_core.language_models import BaseChatModel, BaseLanguageModel
    from langchain_core.runnables import Runnable, RunnableSequence, RunnableWithFallbacks
    from langchain_core.runnables.base import RunnableBindingBase
    from langchain_core.runnables.retry import RunnableRetry

    match chat:
        case BaseChatModel():
            return change(chat)
        case RunnableRetry() | RunnableWithFallbacks():
            raise ConfigurationError(
                f"{type(chat).__name__} asks again after any failure, also one that came of the answer's content: "
                "leave it out, max_attempts repeats what may be repeated"
            )
        case BaseLanguageModel():
            raise ConfigurationError(f"{type(chat).__name__} completes text and sees no image: pass a chat model")
        case RunnableSequence():
            return RunnableSequence(*(_map_models(step, change) for step in chat.steps), name=chat.name)
        case RunnableBindingBase():
            return chat.model_copy(update={"bound": _map_models(chat.bound, change)})
        case Runnable():
            return chat
    raise ConfigurationError(f"{type(chat).__name__} is not a LangChain chat model or chain")


def _bare(model: BaseChatModel, closers: list[Callable[[], Awaitable[None]]]) -> BaseChatModel:
    """Return a copy of a model without retries of its own, without caching and without streaming.

    Clients of OpenAI's kind keep connections of other event loops for reuse; the copy gets connections of its own,
    unless a developer passed a client.

    Raises:
        ConfigurationError: the retries cannot be switched off from here.
    """
    fields = type(model).model_fields
    update: dict[str, Any] = {"cache": False, "disable_streaming": True}
    if "streaming" in fields:
        update["streaming"] = False
    client: Any = getattr(model, "root_async_client", None)
    if client is not None and hasattr(client, "with_options"):
        options: dict[str, Any] = {"max_retries": 0}
        if getattr(model, "http_async_client", None) is None:
            from openai import DefaultAsyncHttpxClient

            http = DefaultAsyncHttpxClient()
            closers.append(http.aclose)
            options["http_client"] = http
        update |= {"max_retries": 0, "root_async_client": client.with_options(**options)}
        update["async_client"] = update["root_async_client"].chat.completions
    elif getattr(model, "max_retries", 0) != 0:
        raise ConfigurationError(
            f"{type(model).__name__} repeats failed calls itself, also those that failed because of what was said: "
            "construct it with max_retries=0"
        )
    return model.model_copy(update=update)


def _seed_parameter(models: Sequence[BaseChatModel], seed: bool | str) -> str | None:
    """Return the name of the parameter that takes a draw's seed; None: unseeded."""
    if isinstance(seed, str):
        if not models:
            raise ConfigurationError(f"no chat model can be seen in the chain, so none takes {seed!r}: pass seed=False")
        return seed
    return "seed" if seed and models and all("seed" in type(model).model_fields for model in models) else None


def _seeded(chat: Runnable[Any, Any], parameter: str, draw: Draw) -> Runnable[Any, Any]:
    """Return the chain with the draw's own sampling seed in each of its models."""

    def change(model: BaseChatModel) -> Runnable[Any, Any]:
        if parameter in type(model).model_fields:
            return model.model_copy(update={parameter: draw.sampling_seed})
        return model.bind(**{parameter: draw.sampling_seed})

    return _map_models(chat, change)


def _refuse_fixed_seeds(chat: Runnable[Any, Any], parameter: str | None) -> None:
    """Refuse a seed that all draws would share: they would agree by construction, and certify nothing.

    Raises:
        ConfigurationError: there is one.
    """
    names = {"seed", "random_seed", parameter or "seed"}
    fixed: set[str] = set()

    def look(model: BaseChatModel) -> BaseChatModel:
        for options in ("model_kwargs", "extra_body"):
            fixed.update(names & set(getattr(model, options, None) or ()))
        fixed.update(n for n in names - {parameter} if getattr(model, n, None) is not None)
        return model

    _map_models(chat, look)
    fixed.update(name for kwargs in _bound(chat) for name in names & set(kwargs))
    if fixed:
        raise ConfigurationError(
            f"the chat model has a fixed {', '.join(sorted(fixed))}, with which all draws would agree "
            "whatever the model: leave it out, each draw sends its own"
        )


def _bound(chat: Runnable[Any, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield the arguments bound to parts of a chain, from the outside in."""
    from langchain_core.runnables import RunnableSequence
    from langchain_core.runnables.base import RunnableBindingBase

    if isinstance(chat, RunnableBindingBase):
        yield chat.kwargs
        yield from _bound(chat.bound)
    elif isinstance(chat, RunnableSequence):
        for step in chat.steps:
            yield from _bound(step)


def _identity(chat: Runnable[Any, Any]) -> str:
    """Return what tells a chat model apart: class, model, telling parameters, and a hash of all parameters.

    Raises:
        ConfigurationError: a chain, of whose parts nothing reliable is known.
    """
    from langchain_core.language_models import BaseChatModel
    from langchain_core.runnables.base import RunnableBindingBase

    arguments: dict[str, Any] = {}
    inner = chat
    while isinstance(inner, RunnableBindingBase):
        arguments = {**inner.kwargs, **arguments}
        inner = inner.bound
    if not isinstance(inner, BaseChatModel):
        raise ConfigurationError(
            f"what {type(inner).__name__} answers cannot be told from it: pass name=, which stands for all that the "
            "answers depend on (models, revisions, prompts)"
        )
    model = next((v for f in ("model_name", "model", "deployment_name") if (v := getattr(inner, f, None))), "")
    known = {**{f: getattr(inner, f, None) for f in _NAMED}, **arguments}
    shown = [f"{field} {known[field]}" for field in _NAMED if known.get(field) is not None]
    parts = (
        f"{type(inner).__module__}.{type(inner).__qualname__}",
        {field: getattr(inner, field) for field in type(inner).model_fields if field not in _BESIDE},
        inner._identifying_params,
        arguments,
        [_endpoint(inner, field) for field in _ENDPOINTS],
    )
    written = json.dumps(parts, sort_keys=True, default=lambda o: getattr(o, "__qualname__", type(o).__qualname__))
    digest = hashlib.sha256(written.encode()).hexdigest()[:12]
    return "/".join((f"{' '.join(filter(None, (type(inner).__name__, model)))}@{digest}", *shown))


def _endpoint(model: BaseChatModel, field: str) -> str | None:
    """Return host, port and path of a model's server, without whatever else its URL holds."""
    url = getattr(model, field, None)
    if not isinstance(url, str):
        return None
    parts = urlsplit(url)
    return f"{parts.hostname}:{parts.port}{parts.path}"
