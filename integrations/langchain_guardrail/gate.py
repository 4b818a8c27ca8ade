"""The way of a request with media through any door: checked, answered out of sight, judged."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Generic, Literal, TypeVar

from langchain_core.exceptions import OutputParserException
from langchain_core.runnables import RunnableConfig
from pydantic import ValidationError

from guardrail.errors import ConfigurationError, ImageError
from guardrail.guard import Guard
from guardrail.images.pictures import InputImage, load_images
from guardrail.policy import Decision
from guardrail.stores import MemoryStore
from langchain_guardrail.blocked import REFUSAL, GuardrailBlocked, Refusal
from langchain_guardrail.blocks import is_data_url
from langchain_guardrail.content import Request, read_request
from langchain_guardrail.detached import detached
from langchain_guardrail.remote import RemoteImages
from langchain_guardrail.render import Unread, answer_text

logger = logging.getLogger(__name__)

T = TypeVar("T")

OnBlock = Literal["refuse", "raise"]
MediaInText = Literal["refuse", "ignore"]

_REMEMBERED = 64
"""Certificates that a door keeps for a guard without a store: as many conversations can be under way."""
_REMEMBERED_SECONDS = 900.0
_UNPARSED = "the chain's answer could not be parsed; it was not judged, so it is not quoted here"
_QUOTING = (OutputParserException, ValidationError, json.JSONDecodeError)
"""What quotes an answer that it could not parse."""


@dataclass(frozen=True)
class Passage(Generic[T]):
    """What became of a request with media.

    Attributes:
        decision: about the request, and about the answer where there is one.
        output: the chain's judged answer; None where it was blocked, or not asked for.
        drawn: the drawn answer that stands in its place.
    """

    decision: Decision
    output: T | None = None
    drawn: str | None = None


@dataclass(frozen=True)
class _Pictures:
    """A request's pictures; where one cannot be read, going through them says so, and the guard gives its reason."""

    loaded: tuple[InputImage, ...]
    error: ImageError | None = None

    def __iter__(self) -> Iterator[InputImage]:
        if self.error is not None:
            raise self.error
        return iter(self.loaded)


@dataclass(frozen=True)
class Gate:
    """A guard, and what a door does with its decisions.

    Attributes:
        guard: decides. Its policy holds all the rules.
        refusal: what a block says; or a function from the decision to what a block returns. None: `REFUSAL`.
        on_block: `raise` raises `GuardrailBlocked` instead.
        on_decision: is told the final decision of each request with media.
        remote: fetches remote images from listed hosts; None: none is fetched.
        media_in_text: what data URLs and base64 files in a message's text are: media that cannot be checked, or text.

    Raises:
        ConfigurationError: no guard, or no such `on_block`.
    """

    guard: Guard
    refusal: Refusal = None
    on_block: OnBlock = "refuse"
    on_decision: Callable[[Decision], None] | None = None
    remote: RemoteImages | None = None
    media_in_text: MediaInText = "refuse"

    def __post_init__(self) -> None:
        if not isinstance(self.guard, Guard):
            raise ConfigurationError(f"the guard comes second, after what it guards; got {type(self.guard).__name__}")
        if self.refusal is None:
            object.__setattr__(self, "refusal", REFUSAL)
        if self.on_block not in {"refuse", "raise"}:
            raise ConfigurationError(f"on_block is 'refuse' or 'raise', got {self.on_block!r}")
        if self.media_in_text not in {"refuse", "ignore"}:
            raise ConfigurationError(f"media_in_text is 'refuse' or 'ignore', got {self.media_in_text!r}")
        if not isinstance(self.remote, RemoteImages | None):
            raise ConfigurationError(f"remote is RemoteImages([...hosts]), got {self.remote!r}")

    def __deepcopy__(self, memo: dict[int, Any]) -> Gate:
        """Copies of a door share its guard, which holds a model, a store and locks."""
        return self

    @cached_property
    def digest(self) -> str:
        """The guard's."""
        return self.guard.digest

    def read(
        self,
        value: Any,  # noqa: ANN401
        options: Mapping[str, Any] | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> Request | None:
        """Read what a chain is invoked with; None if it carries no media at all."""
        allows = self.remote.allows if self.remote else None
        return read_request(value, options, allows, searched=self.media_in_text == "refuse", settings=settings)

    def remembering(self) -> Gate:
        """Return a gate on which the steps of an agent reuse the certificate, also where the guard has no store."""
        if self.guard.store is not None:
            return self
        return replace(self, guard=self.guard.with_store(MemoryStore(_REMEMBERED, _REMEMBERED_SECONDS)))

    @contextmanager
    def together(self) -> Iterator[Gate]:
        """Yield a gate on which the draws of concurrent requests share the model's batches."""
        with self.guard.together() as guard:
            yield replace(self, guard=guard)

    def run(
        self,
        request: Request,
        answer: Callable[[Any, RunnableConfig], T],
        write: Callable[[T], str],
        *,
        config: RunnableConfig | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> Passage[T]:
        """Check a request, have it answered where nobody can listen, and judge the answer.

        Args:
            request: what the chain was invoked with.
            answer: the chain, from its input (with the pictures that were checked) and a config without callbacks.
            write: writes out all of an answer that somebody could read.
            config: the caller's; None: that of the run which this code is part of.
            metadata: of the run, which may say who asks.
        """
        with detached(config) as inner:
            pictures = self._load(request)
            decision = self.guard.check(
                pictures, request.prompt, unchecked=request.unchecked, **_asker(config, metadata)
            )
            drawn = self.guard.drawn_answer(decision)
            if decision.blocked or drawn is not None:
                return Passage(decision, drawn=drawn)
            forwarded = self._forwarded(request, pictures)
            try:
                output = answer(forwarded, inner)
            except Exception as error:
                if tells(error) and (told := self._judged(decision, error.args, answer_text)).decision.blocked:
                    return Passage(told.decision)
                if not self._quotes(error):
                    raise
            else:
                return self._judged(decision, output, write)
        raise OutputParserException(_UNPARSED)  # outside the handler, so that it has no context

    async def arun(
        self,
        request: Request,
        answer: Callable[[Any, RunnableConfig], Awaitable[T]],
        write: Callable[[T], str],
        *,
        config: RunnableConfig | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> Passage[T]:
        """Do as `run`; the event loop stays free."""
        await asyncio.sleep(0)  # many requests may begin at once: let others have the loop between reading and checking
        with detached(config) as inner:
            pictures = await asyncio.to_thread(self._load, request)
            decision = await self.guard.acheck(
                pictures, request.prompt, unchecked=request.unchecked, **_asker(config, metadata)
            )
            drawn = self.guard.drawn_answer(decision)
            if decision.blocked or drawn is not None:
                return Passage(decision, drawn=drawn)
            forwarded = await asyncio.to_thread(self._forwarded, request, pictures)
            try:
                output = await answer(forwarded, inner)
            except Exception as error:
                if tells(error):
                    told = await asyncio.to_thread(self._judged, decision, error.args, answer_text)
                    if told.decision.blocked:
                        return Passage(told.decision)
                if not self._quotes(error):
                    raise
            else:
                return await asyncio.to_thread(self._judged, decision, output, write)
        raise OutputParserException(_UNPARSED)

    def tell(self, decision: Decision) -> None:
        """Tell the application, and raise where a block is to be an exception.

        What the application's own function raises is logged: a block stays a value, which no fallback goes round.

        Raises:
            GuardrailBlocked: blocked, with `on_block="raise"`.
        """
        if self.on_decision is not None:
            try:
                self.on_decision(decision)
            except Exception:
                logger.exception("on_decision failed on decision %s", decision.id)
        if decision.blocked and self.on_block == "raise":
            raise GuardrailBlocked(decision)

    def refused(self, decision: Decision) -> Any:  # noqa: ANN401
        """Return what a block says or returns; the usual text where the application's own function fails."""
        if not callable(self.refusal):
            return self.refusal
        try:
            return self.refusal(decision)
        except Exception:
            logger.exception("refusal failed on decision %s", decision.id)
            return REFUSAL

    def _load(self, request: Request) -> _Pictures:
        limits = self.guard.limits
        sources: list[str | bytes] = list(request.images)
        try:
            if self.remote is not None and len(sources) <= limits.max_count:
                sources = [url if is_data_url(url) else self.remote.fetch(url, limits) for url in request.images]
            return _Pictures(load_images(sources, limits))
        except ImageError as error:
            return _Pictures((), error)

    def _forwarded(self, request: Request, pictures: _Pictures) -> Any:  # noqa: ANN401
        fetched = not all(map(is_data_url, request.images))  # the model's provider would fetch something else
        canonical = pictures.loaded and (fetched or self.guard.policy.forward == "canonical")
        return request.rewrite(iter(pictures)) if canonical else request.value

    def _judged(self, decision: Decision, output: T, write: Callable[[T], str]) -> Passage[T]:
        """Judge the answer; one that cannot be written out is an error of judging."""
        try:
            decision = self.guard.screen(decision, write(output))
        except Unread as unread:
            decision = self.guard.screen(decision, "", unreadable=str(unread))
        return Passage(decision, None if decision.blocked else output)

    def _quotes(self, error: BaseException) -> bool:
        """Whether an exception, or what led to it, is a parser's, which quotes what it could not parse."""
        led: list[BaseException] = []
        todo: list[BaseException | None] = [error]
        while todo:
            last = todo.pop()
            if last is not None and last not in led:
                led.append(last)
                todo += [last.__cause__, last.__context__]
        return self.guard.policy.enforced and any(isinstance(item, _QUOTING) for item in led)


def tells(error: Exception) -> bool:
    """Whether an exception is a graph's way to say something: an interrupt's value, or an update of another graph."""
    errors = sys.modules.get("langgraph.errors")
    return errors is not None and isinstance(error, errors.GraphBubbleUp)


def _asker(config: RunnableConfig | None, metadata: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return who asks and in which conversation, by the names that LangSmith and LangGraph give them in metadata."""
    config = config or RunnableConfig()
    known = {**(config.get("configurable") or {}), **(config.get("metadata") or {}), **(metadata or {})}
    client, session = (
        next((_short(known[name]) for name in names if isinstance(known.get(name), str | int)), None)
        for names in (("user_id",), ("thread_id", "session_id", "conversation_id"))
    )
    return {"client": client, "session": session, "tags": tuple(config.get("tags") or ())}


def _short(name: str | int) -> str:
    """Return a client's or conversation's name; a number too long to write out is told by its remainder."""
    return name if isinstance(name, str) else str(name if abs(name) < 10**30 else name % 10**30)
