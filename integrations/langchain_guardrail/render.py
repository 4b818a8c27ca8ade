"""Writes answers out for the oracle: everything in them that somebody could read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage


def render(value: Any) -> str:  # noqa: ANN401
    """Write a value as JSON, but strings as they are: an escaped new line would hide a word from a lexicon."""
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, BaseMessage):
        return answer_text(value)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f'"{key}": {render(item)}' for key, item in value.items()) + "}"
    if isinstance(value, Sequence | Set) and not isinstance(value, bytes | bytearray | memoryview):
        return "[" + ", ".join(render(item) for item in value) + "]"
    if fields := getattr(value, "__dict__", None):
        return render({key: item for key, item in fields.items() if not callable(item)})
    return str(value)


def calls_text(message: BaseMessage) -> str:
    """Return a message's tool calls, arguments included."""
    if not isinstance(message, AIMessage):
        return ""
    return "\n".join(
        render({key: call.get(key) for key in ("name", "args")})
        for call in (*message.tool_calls, *message.invalid_tool_calls)
    )


def answer_text(output: Any) -> str:  # noqa: ANN401
    """Return all of a chain's answer that is judged: text first, then other blocks, tool calls and extras.

    Of a conversation (a state with `messages`), what comes after the last human message is the answer.
    """
    if isinstance(output, str):
        return output
    if isinstance(output, BaseMessage):
        return "\n".join(part for part in _parts(output) if part)
    if isinstance(output, list) and any(isinstance(item, BaseMessage) for item in output):
        return "\n".join(map(answer_text, output[_after_last_human(output) :]))
    if isinstance(output, Mapping):
        return "\n".join(f"{key}: {answer_text(value)}" for key, value in output.items())
    return render(output)


def _after_last_human(items: Sequence[Any]) -> int:
    return max((i + 1 for i, item in enumerate(items) if isinstance(item, HumanMessage)), default=0)


def _parts(message: BaseMessage) -> Iterator[str]:
    """Yield the texts of a message that are judged; blocks of text joined as well as apart, as either may be read."""
    yield str(message.text)
    if isinstance(message.content, list):
        for block in message.content:
            if isinstance(block, str):
                yield block
            elif block.get("type") == "text" and set(block) <= {"type", "text", "id", "index"}:
                yield str(block.get("text", ""))
            else:
                yield render(block)
    yield calls_text(message)
    if message.additional_kwargs:
        yield render(message.additional_kwargs)
