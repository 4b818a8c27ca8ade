"""Writes answers out for the oracle: everything in them that somebody could read.

What is not known to be written out completely counts as unread, rather than being judged by its `str()`.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
import numbers
import pathlib
import re
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from typing import Any

import numpy as np
from langchain_core.messages import AIMessage, BaseMessage
from pydantic import BaseModel

from langchain_guardrail.blocked import METADATA_KEY, get_decision
from langchain_guardrail.payloads import attributes, is_binary

_SCALARS: tuple[type, ...] = (
    *(numbers.Number, np.bool_, dt.date, dt.time, dt.timedelta, uuid.UUID, pathlib.PurePath, type),
)
"""What `str()` writes out completely."""
_TEXT_BLOCK = {"type", "text", "id", "index"}
_OWN_ID = re.compile(r"(?:lc_)?run-+[0-9a-f-]{36}(?:-\d+)?|(?:chatcmpl|resp|msg|gen)[-_][\w-]{6,64}", re.ASCII)
"""Ids that LangChain and providers give to answers; they say nothing."""
_BOOKKEEPING = {
    *("model_name", "model", "model_provider", "model_id", "object", "created", "created_at", "service_tier"),
    *("finish_reason", "stop_reason", "done_reason", "stop_sequence", "system_fingerprint"),
    *("content_filter_results", "content_filter_offsets", "prompt_filter_results", "safety_ratings", "token_usage"),
}
"""Fields by which providers say which model answered, why it stopped, what it cost, and what their filters found."""
_MODEL_NAME = re.compile(r"[\w./:@(), +-]{0,120}", re.ASCII)
_WORD = re.compile(r"[\w./:@+-]{0,120}", re.ASCII)
"""One word or number: it can name something, and tell nothing."""

Snapshot = tuple[type, dict[str, Any]]
"""A message at one moment, without its id, which graphs assign; it stays as it is when the message is changed."""


class Unread(Exception):  # noqa: N818 - a finding about an answer, not an error
    """Something in an answer cannot be written out, so it cannot be judged."""


def render(value: Any) -> str:
    """Write a value as JSON, but strings as they are: an escaped new line would hide a word from a lexicon.

    Raises:
        Unread: it holds something that cannot be written out completely, such as a generator.
    """
    with _unread_if_it_fails(value):
        return _Writer().value(value)


def calls_text(message: BaseMessage) -> str:
    """Return a message's tool calls, arguments included."""
    if not isinstance(message, AIMessage):
        return ""
    return "\n".join(
        render({key: call.get(key) for key in ("name", "args")})
        for call in (*message.tool_calls, *message.invalid_tool_calls)
    )


def answer_text(output: Any, request: Iterable[Snapshot] = ()) -> str:
    """Return all of a chain's answer that is judged: text first, then other blocks, tool calls and extras.

    Args:
        output: what the chain gave.
        request: the request's messages. A conversation in the output (a state with `messages`) often begins with them;
            everything else in it is the answer, whatever its role.

    Raises:
        Unread: something in it cannot be written out.
    """
    with _unread_if_it_fails(output):
        return _Writer(request).answer(output)


def snapshot(message: BaseMessage) -> Snapshot:
    """Take a message down, to know it again in an output."""
    return type(message), message.model_dump(exclude={"id"}, warnings=False)


@contextmanager
def _unread_if_it_fails(value: object) -> Iterator[None]:
    try:
        yield
    except Unread:
        raise
    except Exception as error:  # noqa: BLE001 - objects fail in many ways when they are walked; RecursionError is one
        raise Unread(f"{type(value).__name__} cannot be read ({type(error).__name__})") from None


class _Writer:
    """One walk through an output."""

    def __init__(self, request: Iterable[Snapshot] = ()) -> None:
        self._request = tuple(request)
        self._open: set[int] = set()
        """Containers that the walk is inside of: one that holds itself cannot be written out."""

    def answer(self, value: Any) -> str:
        """Write what a chain gave: messages and their fields line by line, other values as `value` does."""
        if isinstance(value, str):
            return str.__str__(value)
        if isinstance(value, BaseMessage):
            return self._within(value, lambda: "\n".join(filter(None, self._message(value))))
        if isinstance(value, Mapping):
            return self._within(value, lambda: "\n".join(f"{_key(k)}: {self.answer(v)}" for k, v in value.items()))
        if isinstance(value, list | tuple) and any(isinstance(item, BaseMessage) for item in value):
            return self._within(value, lambda: "\n".join(map(self.answer, self._new(value))))
        return self.value(value)

    def value(self, value: Any) -> str:  # noqa: PLR0911 - one per kind
        """Write any value as JSON."""
        if value is None or isinstance(value, _SCALARS):
            return str(value)
        if isinstance(value, str):
            return f'"{str.__str__(value)}"'
        if isinstance(value, BaseMessage):
            return self.answer(value)
        if isinstance(value, enum.Enum):
            return self.value(value.value)
        if is_binary(value):
            raise Unread(f"{type(value).__name__} in an answer cannot be judged")
        if isinstance(value, Mapping):
            return self._within(
                value, lambda: "{" + ", ".join(f'"{_key(k)}": {self.value(v)}' for k, v in value.items()) + "}"
            )
        if isinstance(value, Sequence | Set):
            return self._within(value, lambda: "[" + ", ".join(map(self.value, self._new(value))) + "]")
        if _is_open(value):
            private = getattr(value, "__pydantic_private__", None) or {}
            return self._within(value, lambda: self.value({**attributes(value), **private}))
        raise Unread(f"{type(value).__name__} in an answer cannot be judged: return text, numbers, messages or models")

    def _within(self, value: object, write: Callable[[], str]) -> str:
        if id(value) in self._open:
            raise Unread(f"a {type(value).__name__} that holds itself cannot be judged")
        self._open.add(id(value))
        try:
            return write()
        finally:
            self._open.discard(id(value))

    def _new(self, items: Iterable[Any]) -> Iterator[Any]:
        """Leave the request's messages out of a conversation, each once."""
        known = list(self._request)
        for item in items:
            if known and isinstance(item, BaseMessage) and (seen := snapshot(item)) in known:
                known.remove(seen)
            else:
                yield item

    def _message(self, message: BaseMessage) -> Iterator[str]:
        """Yield a message's texts; blocks of text joined as well as apart, as either may be read."""
        yield str(message.text)
        if isinstance(message.content, list):
            for block in message.content:
                said = _filled(block) if isinstance(block, dict) else block
                if isinstance(said, dict) and said.get("type") == "text" and set(said) <= _TEXT_BLOCK:
                    yield str(said.get("text", ""))
                    yield str(said.get("id") or "")
                else:
                    yield self.answer(said) if isinstance(said, str) else self.value(said)
        yield calls_text(message)
        fields = attributes(message)
        decided = {METADATA_KEY} if get_decision(message) is not None else set()
        fields["response_metadata"] = _without_notes(
            {key: value for key, value in message.response_metadata.items() if key not in decided}
        )
        fields["additional_kwargs"] = _without_notes(message.additional_kwargs)
        for name in ("content", "type", "usage_metadata"):
            fields.pop(name, None)
        if isinstance(message.id, str) and _OWN_ID.fullmatch(message.id):
            del fields["id"]
        if rest := _filled(fields):
            yield self.value(rest)


def _filled(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: item for name, item in fields.items() if item is not None and item not in ("", [], {})}


def notes_text(metadata: Mapping[str, Any] | None) -> str:
    """Write out what a provider put beside an answer, but for its notes; empty where there is nothing else.

    Raises:
        Unread: something in it cannot be written out.
    """
    with _unread_if_it_fails(metadata):
        return _Writer().value(rest) if (rest := _without_notes(metadata or {})) else ""


def _without_notes(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out providers' notes: names, numbers, and nothing.

    Nothing that was generated stands there, and beside an answer in words it would read as one in JSON.
    """
    return {key: value for key, value in metadata.items() if not _bookkeeping(str(key), value)}


def _bookkeeping(key: str, value: object) -> bool:
    if key in {"model_name", "model"} and isinstance(value, str):
        return _MODEL_NAME.fullmatch(value) is not None
    if key == "id" and isinstance(value, str):
        return _OWN_ID.fullmatch(value) is not None
    return _WORD.fullmatch(key) is not None and _is_note(value, words=key in _BOOKKEEPING)


def _is_note(value: object, *, words: bool) -> bool:
    """Whether a value holds numbers alone, and single words where these may stand."""
    if isinstance(value, Mapping):
        keys = all(isinstance(key, str) and _WORD.fullmatch(key) for key in value)
        return keys and all(_is_note(item, words=words) for item in value.values())
    if isinstance(value, list | tuple):
        return all(_is_note(item, words=words) for item in value)
    if isinstance(value, str):
        return not value or (words and _WORD.fullmatch(value) is not None)
    return value is None or isinstance(value, bool | int | float)


def _key(key: object) -> str:
    return str.__str__(key) if isinstance(key, str) else render(key)


class _Plain:
    """What an object looks like whose state is in its `__dict__` and nowhere else."""


def _is_open(value: object) -> bool:
    """Whether an object's attributes are all there is to it: models, dataclasses, and plain objects."""
    kind = type(value)
    if isinstance(value, BaseModel) or dataclasses.is_dataclass(kind):
        return True
    return hasattr(value, "__dict__") and not callable(value) and kind.__basicsize__ <= _Plain.__basicsize__
