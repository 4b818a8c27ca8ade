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

from langchain_guardrail.payloads import attributes, is_binary
from langchain_guardrail.refusal import METADATA_KEY

_SCALARS: tuple[type, ...] = (
    *(numbers.Number, np.bool_, dt.date, dt.time, dt.timedelta, uuid.UUID, pathlib.PurePath, type),
)
"""What `str()` writes out completely."""
_TEXT_BLOCK = {"type", "text", "id", "index"}
_OWN_ID = re.compile(r"(?:lc_)?run-+[0-9a-f-]{36}(?:-\d+)?")
"""Ids that LangChain gives to answers; they say nothing."""
_BOOKKEEPING = {
    *("model_name", "model", "model_provider", "model_id", "id", "object", "created", "created_at", "service_tier"),
    *("finish_reason", "stop_reason", "done_reason", "stop_sequence", "system_fingerprint", "logprobs"),
    *("token_usage", "usage", "input_tokens", "output_tokens", "total_duration", "eval_count", "done"),
}
"""Fields by which providers say which model answered, why it stopped, and what it cost."""
_NAME = re.compile(r"[\w./:@(), +-]{0,120}", re.ASCII)

Snapshot = tuple[type, dict[str, Any]]
"""A message at one moment, without its id, which graphs assign; it stays as it is when the message is changed."""


class Unread(Exception):  # noqa: N818 - a finding about an answer, not an error
    """Something in an answer cannot be written out, so it cannot be judged."""


def render(value: Any) -> str:  # noqa: ANN401
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


def answer_text(output: Any, asked: Iterable[Snapshot] = ()) -> str:  # noqa: ANN401
    """Return all of a chain's answer that is judged: text first, then other blocks, tool calls and extras.

    Args:
        output: what the chain gave.
        asked: the request's messages. A conversation in the output (a state with `messages`) often begins with them;
            everything else in it is the answer, whatever its role.

    Raises:
        Unread: something in it cannot be written out.
    """
    with _unread_if_it_fails(output):
        return _Writer(asked).answer(output)


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

    def __init__(self, asked: Iterable[Snapshot] = ()) -> None:
        self._asked = tuple(asked)
        self._open: set[int] = set()
        """Containers that the walk is inside of: one that holds itself cannot be written out."""

    def answer(self, value: Any) -> str:  # noqa: ANN401
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

    def value(self, value: Any) -> str:  # noqa: ANN401, PLR0911 - one per kind
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
        known = list(self._asked)
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
                if isinstance(block, dict) and block.get("type") == "text" and set(block) <= _TEXT_BLOCK:
                    yield str(block.get("text", ""))
                    yield str(block.get("id") or "")
                else:
                    yield self.answer(block) if isinstance(block, str) else self.value(block)
        yield calls_text(message)
        fields = attributes(message)
        fields["response_metadata"] = {
            k: v for k, v in message.response_metadata.items() if k != METADATA_KEY and not _bookkeeping(k, v)
        }
        for name in ("content", "type", "usage_metadata"):
            fields.pop(name, None)
        if isinstance(message.id, str) and _OWN_ID.fullmatch(message.id):
            del fields["id"]
        if rest := {name: item for name, item in fields.items() if item is not None and item not in ("", [], {})}:
            yield self.value(rest)


def _bookkeeping(key: str, value: object) -> bool:
    """Whether a field of a response's metadata is a provider's note: names, numbers, and nothing else.

    Nothing that was generated stands there, and beside an answer in words it would read as one in JSON.
    """
    return key in _BOOKKEEPING and _is_note(value)


def _is_note(value: object) -> bool:
    if isinstance(value, Mapping):
        return all(isinstance(key, str) and _NAME.fullmatch(key) and _is_note(item) for key, item in value.items())
    return (
        value is None or isinstance(value, numbers.Number) or (isinstance(value, str) and bool(_NAME.fullmatch(value)))
    )


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
