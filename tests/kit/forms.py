"""Forms of content blocks, and what becomes of each: `python -m tests.kit.forms` writes them down."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, ChatMessage, HumanMessage, SystemMessage, ToolMessage

import langchain_guardrail
from langchain_guardrail.content import read_request
from tests.kit.chains import b64, image_block, picture, url

REMOTE = "https://example.com/cat.png"
GREEN, RED = b64(), b64("red")

CHECKED: dict[str, Callable[[str], Any]] = {
    "image_url": lambda d: {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{d}"}},
    "image_url with detail": lambda d: {
        "type": "image_url",
        "image_url": {"url": f"data:image/png;base64,{d}", "detail": "low"},
    },
    "image_url bare": lambda d: {"type": "image_url", "image_url": f"data:image/png;base64,{d}"},
    "image_url of another type": lambda d: {"type": "image_url", "image_url": f"data:text/plain;base64,{d}"},
    "v1": lambda d: {"type": "image", "base64": d, "mime_type": "image/png"},
    "v1 with id": lambda d: {"type": "image", "base64": d, "mime_type": "image/png", "id": "x", "index": 1},
    "v1 url": lambda d: {"type": "image", "url": f"data:image/png;base64,{d}"},
    "v0": lambda d: {"type": "image", "source_type": "base64", "data": d, "mime_type": "image/png"},
    "v0 url": lambda d: {"type": "image", "source_type": "url", "url": f"data:image/png;base64,{d}"},
    "anthropic": lambda d: {
        "type": "image",
        "source": {"type": "base64", "media_type": "image/png", "data": d},
        "cache_control": {"type": "ephemeral"},
    },
    "responses": lambda d: {"type": "input_image", "image_url": f"data:image/png;base64,{d}", "detail": "auto"},
    "tool_result": lambda d: {
        "type": "tool_result",
        "tool_use_id": "1",
        "content": [{"type": "text", "text": "Seen:"}, {"type": "image", "base64": d, "mime_type": "image/png"}],
    },
}

UNCHECKED: dict[str, Any] = {
    "remote": {"type": "image_url", "image_url": {"url": REMOTE}},
    "remote bare": {"type": "image_url", "image_url": REMOTE},
    "remote v1": {"type": "image", "url": REMOTE},
    "remote v0": {"type": "image", "source_type": "url", "url": REMOTE},
    "remote anthropic": {"type": "image", "source": {"type": "url", "url": REMOTE}},
    "file id v1": {"type": "image", "file_id": "file-1"},
    "file id v0": {"type": "image", "source_type": "id", "id": "file-1"},
    "file id anthropic": {"type": "image", "source": {"type": "file", "file_id": "file-1"}},
    "file id responses": {"type": "input_image", "file_id": "file-1"},
    "path": {"type": "image_url", "image_url": {"url": "/etc/hostname"}},
    "file url": {"type": "image_url", "image_url": {"url": "file:///etc/hostname"}},
    "padded data url": {"type": "image_url", "image_url": {"url": f" data:image/png;base64,{GREEN}"}},
    "two payloads": {"type": "image", "base64": GREEN, "url": REMOTE},
    "two payloads, both data": {"type": "image", "base64": GREEN, "url": f"data:image/png;base64,{RED}"},
    "two payloads, file": {"type": "image", "base64": GREEN, "file_id": "file-1"},
    "two payloads, image_url": {"type": "image_url", "image_url": {"url": url()}, "base64": RED},
    "two payloads inside": {"type": "image_url", "image_url": {"url": url(), "data": RED}},
    "two payloads in source": {"type": "image", "source": {"type": "base64", "data": GREEN, "file_id": "1"}},
    "payload in extras": {"type": "image", "base64": GREEN, "extras": {"url": REMOTE}},
    "payload in detail": {"type": "image_url", "image_url": {"url": url(), "detail": url("red")}},
    "payload in cache_control": {**CHECKED["v1"](GREEN), "cache_control": {"data": f"data:image/png;base64,{RED}"}},
    "bytes": {"type": "image", "base64": base64.b64decode(GREEN)},
    "pil": {"type": "image", "image": picture()},
    "pil in image_url": {"type": "image_url", "image_url": picture()},
    "google media": {"type": "media", "mime_type": "image/png", "data": GREEN},
    "bedrock": {"image": {"format": "png", "source": {"bytes": base64.b64decode(GREEN)}}},
    "gemini": {"inline_data": {"mime_type": "image/png", "data": GREEN}},
    "pdf": {"type": "file", "base64": GREEN, "mime_type": "application/pdf"},
    "pdf openai": {"type": "file", "file": {"file_data": f"data:application/pdf;base64,{GREEN}"}},
    "pdf anthropic": {"type": "document", "source": {"type": "base64", "data": GREEN}},
    "input_file": {"type": "input_file", "file_id": "file-1"},
    "audio": {"type": "audio", "base64": GREEN, "mime_type": "audio/wav"},
    "input_audio": {"type": "input_audio", "input_audio": {"data": GREEN, "format": "wav"}},
    "video": {"type": "video", "url": "https://example.com/x.mp4"},
    "video_url": {"type": "video_url", "video_url": {"url": "https://example.com/x.mp4"}},
    "non_standard": {"type": "non_standard", "value": image_block()},
    "unknown": {"type": "hologram", "hologram": "x"},
    "no type": {"url": url()},
    "type is no text": {"type": ["text"], "text": "x"},
    "text with image": {"type": "text", "text": "x", "image": GREEN},
    "text with unknown key": {"type": "text", "text": "x", "more": "y"},
    "text that is a block": {"type": "text", "text": image_block()},
    "text with payload in extras": {"type": "text", "text": "x", "extras": {"image_url": REMOTE}},
    "text that is a data url": {"type": "text", "text": f"see {url()}"},
    "text that is a broken data url": {"type": "text", "text": f"see da\nta:image/png;base64,{GREEN}"},
    "text that is base64": {"type": "text", "text": f"see {GREEN}"},
    "text-plain of a file": {"type": "text-plain", "file_id": "file-1", "mime_type": "text/plain"},
    "plain string data url": f"![x]({url()})",
    "tool_use with image": {"type": "tool_use", "id": "1", "name": "f", "input": {"x": f"{url()}"}},
    "tool_use with bytes": {"type": "tool_use", "id": "1", "name": "f", "input": {"x": [b"1"]}},
    "tool_result with pdf": {"type": "tool_result", "tool_use_id": "1", "content": [{"type": "document"}]},
    "tool_result with image beside": {**CHECKED["tool_result"](GREEN), "image": GREEN},
    "tool_result with bytes": {"type": "tool_result", "tool_use_id": "1", "content": {"x": b"1"}},
    "tool_result with data url": {"type": "tool_result", "tool_use_id": "1", "content": url()},
    "server result with image": {"type": "server_tool_result", "tool_call_id": "1", "output": [image_block()]},
    "thinking with data url": {"type": "thinking", "thinking": "x", "signature": url()},
}


TEXT: dict[str, Any] = {
    "text": {"type": "text", "text": "x", "annotations": [{"type": "citation", "cited_text": "y"}]},
    "text with cache_control": {"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}},
    "text of bedrock": {"text": "x"},
    "input_text": {"type": "input_text", "text": "x"},
    "output_text": {"type": "output_text", "text": "x", "annotations": []},
    "text-plain": {"type": "text-plain", "text": "x", "title": "t", "mime_type": "text/plain"},
    "refusal": {"type": "refusal", "refusal": "x"},
    "reasoning": {"type": "reasoning", "reasoning": "x", "summary": [{"type": "summary_text", "text": "y"}]},
    "reasoning, sealed": {"type": "reasoning", "summary": [], "encrypted_content": "q" * 400},
    "thinking": {"type": "thinking", "thinking": "x", "signature": "q" * 400},
    "redacted_thinking": {"type": "redacted_thinking", "data": "q" * 400},
    "tool_use": {"type": "tool_use", "id": "1", "name": "f", "input": {"image_url": REMOTE}},
    "tool_call": {"type": "tool_call", "id": "1", "name": "f", "args": {"x": [1, "y"]}},
    "function_call": {"type": "function_call", "id": "1", "call_id": "2", "name": "f", "arguments": "{}"},
    "server_tool_call": {"type": "server_tool_call", "id": "1", "name": "web_search", "args": {"query": "cats"}},
    "server_tool_result": {"type": "server_tool_result", "tool_call_id": "1", "status": "success", "output": "x"},
    "tool_result of text": {"type": "tool_result", "tool_use_id": "1", "content": "x"},
    "cachePoint": {"cachePoint": {"type": "default"}},
    "plain string": "x",
    "plain string with an address": f"see {REMOTE}",
}
"""Blocks that are text and pass as they are."""

Place = Callable[[list[Any]], list[BaseMessage]]

POSITIONS: dict[str, Place] = {
    "user": lambda c: [HumanMessage(c)],
    "system": lambda c: [SystemMessage(c), HumanMessage("Look.")],
    "history": lambda c: [HumanMessage("Hi"), AIMessage(c), HumanMessage("And?")],
    "earlier user": lambda c: [HumanMessage(c), AIMessage("ok"), HumanMessage("And?")],
    "developer": lambda c: [ChatMessage(role="developer", content=c), HumanMessage("Look.")],
    "tool": lambda c: [HumanMessage("Look."), AIMessage("", tool_calls=[CALL]), ToolMessage(c, tool_call_id="1")],
    "earlier tool": lambda c: [HumanMessage("Look."), ToolMessage(c, tool_call_id="1"), HumanMessage("And?")],
    "after the last human turn": lambda c: [HumanMessage("Look."), AIMessage(c)],
}
"""Where a block stands."""
CALL: Any = {"name": "look", "args": {}, "id": "1"}


_COLUMNS = {"user": "user", "assistant": "history", "system": "system", "tool": "tool"}
_OPENING = """# What becomes of each form of content

Blocks are judged by their payload. **Checked**: decoded, certified, and sent on as the pixels that were checked.
**Text**: passes, and is part of the certified text. **Refused**: a model could see what the guard cannot check, so
`Policy.on_error` decides, which blocks by default (`unchecked_media`). Whatever is not here is refused.

| form | example | user | assistant | system | tool |
|---|---|---|---|---|---|
"""
_ENDING = """
The four columns are the message that holds the block; nested blocks (in a `tool_result`), tool arguments,
`additional_kwargs`, options of the call and other values of the input are searched in the same way. A `ToolMessage`'s
artifact never reaches a model and is left alone.

An option that names a conversation which the provider keeps, images and all (`previous_response_id`, `conversation`,
`cached_content`), is refused: send the messages instead.

`GuardedRunnable` searches `config["configurable"]` and a graph's context as well, as its chain could put them into a
prompt: text, containers and data classes in them, not clients, models and other services. `config["metadata"]` is for
traces; no part of LangChain puts it into a prompt, and it is not searched.

Written by `python -m tests.kit.forms`, from what the tests run.
"""


def document() -> str:
    """Return the table of forms, each read in four positions."""
    forms = {name: (build("…"), build(GREEN)) for name, build in CHECKED.items()}
    forms |= {name: (block, block) for name, block in (TEXT | UNCHECKED).items()}
    rows = (
        f"| {name} | `{_shown(shown)}` | {' | '.join(_outcomes(block))} |" for name, (shown, block) in forms.items()
    )
    return _OPENING + "\n".join(rows) + "\n" + _ENDING


def _outcomes(block: Any) -> list[str]:
    return [_outcome(block, POSITIONS[position]) for position in _COLUMNS.values()]


def _outcome(block: Any, place: Place) -> str:
    try:
        request = read_request(place(["Look.", block]))
    except ValueError:
        return "no message"
    if request is None:
        return "text"
    return "refused" if request.unchecked else "checked"


def _shown(block: Any) -> str:
    """Write a block for a reader, its payloads cut short."""
    if isinstance(block, str):
        return (block if len(block) < 60 else f"{block[:24]}…").replace("\n", "\\n")
    if isinstance(block, dict):
        return "{" + ", ".join(f"{key}: {_shown(value)}" for key, value in block.items()) + "}"
    if isinstance(block, list):
        return "[" + ", ".join(map(_shown, block)) + "]"
    return f"<{type(block).__name__}>" if isinstance(block, bytes) or hasattr(block, "pixels") else _plain(block)


def _plain(value: Any) -> str:
    return str(value) if isinstance(value, int | float) else f"<{type(value).__name__}>"


if __name__ == "__main__":
    (Path(langchain_guardrail.__file__).parent / "CONTENT.md").write_text(document())
