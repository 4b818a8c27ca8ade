"""Wherever in an input an image hides, it is checked or the request fails closed; it is never passed."""

from __future__ import annotations

import base64
import dataclasses
import io
import json
import re
from collections.abc import Callable, Mapping, Set
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st
from langchain_core.documents import Document
from langchain_core.messages import AIMessage, BaseMessage, FunctionMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.prompt_values import ChatPromptValue
from PIL import Image

from guardrail import InputImage
from langchain_guardrail.content import read_request
from tests.kit.chains import file, picture
from tests.kit.forms import CHECKED, TEXT

DATA = file(picture("red"), compress_level=0)
ENCODED = base64.b64encode(DATA).decode()
MARK = ENCODED[40:90]
OTHER = InputImage.load(picture("green"))


@dataclasses.dataclass
class Held:
    value: Any


KEYS = st.sampled_from(
    [
        *("x", "text", "content", "type", "data", "source", "url", "image", "image_url", "base64", "input", "args"),
        *("extras", "id", "name", "mime_type", "cache_control", "annotations", "value", "file", "bytes", "output"),
        *("signature", "encrypted_content", "summary", "citations", "thinking", "reasoning", "tool_use_id", "detail"),
    ]
)
KINDS = st.sampled_from(
    [*(block["type"] for block in TEXT.values() if "type" in block), "image", "media", "file", "odd"]
)
FILLER = st.sampled_from(["", "x", "Look at this.", 1, None, True, 2.5])

PAYLOADS = st.sampled_from(
    [
        *(build(ENCODED) for build in CHECKED.values()),
        *(
            DATA,
            bytearray(DATA),
            memoryview(DATA),
            Image.open(io.BytesIO(DATA)),
            np.asarray(picture("red")),
        ),
        *(ENCODED, f"data:image/png;base64,{ENCODED}", f"data:;base64,{ENCODED}", f"DATA:image/png;base64,{ENCODED}"),
        "\n".join(ENCODED[i : i + 76] for i in range(0, len(ENCODED), 76)),
        {"type": "media", "mime_type": "image/png", "data": ENCODED},
        {"image": {"format": "png", "source": {"bytes": DATA}}},
        {"inline_data": {"mime_type": "image/png", "data": ENCODED}},
    ]
)
WRAPPERS: list[Callable[[Any, Any, str, str], Any]] = [
    lambda hidden, filler, key, kind: {key: hidden},
    lambda hidden, filler, key, kind: {"type": kind, key: hidden},
    lambda hidden, filler, key, kind: {"type": kind, "text": "x", key: hidden},
    lambda hidden, filler, key, kind: {key: hidden, "also": filler},
    lambda hidden, filler, key, kind: [filler, hidden],
    lambda hidden, filler, key, kind: (hidden, filler),
    lambda hidden, filler, key, kind: {"type": "tool_result", "tool_use_id": "1", "content": [hidden]},
    lambda hidden, filler, key, kind: {"type": "tool_use", "id": "1", "name": "f", "input": {key: hidden}},
    lambda hidden, filler, key, kind: {"type": "non_standard", "value": hidden},
    lambda hidden, filler, key, kind: Held(hidden),
    lambda hidden, filler, key, kind: Document("x", metadata={key: hidden}),
    lambda hidden, filler, key, kind: _written(hidden),
]


def _written(hidden: Any) -> Any:
    """Write plain values as JSON, which is text that holds the image."""
    try:
        return f"See {json.dumps(hidden)}"
    except TypeError:
        return [hidden]


@st.composite
def hidden(draw: st.DrawFn) -> Any:
    value = draw(PAYLOADS)
    for _ in range(draw(st.integers(0, 4))):
        value = draw(st.sampled_from(WRAPPERS))(value, draw(FILLER), draw(KEYS), draw(KINDS))
    return value


PLACES: list[Callable[[Any], Any]] = [
    lambda value: [HumanMessage("Hi"), _message(HumanMessage, value)],
    lambda value: [_message(SystemMessage, value), HumanMessage("Hi")],
    lambda value: [HumanMessage("Hi"), _message(AIMessage, value)],
    lambda value: [HumanMessage("Hi"), AIMessage("x", additional_kwargs={"x": value})],
    lambda value: [HumanMessage("Hi", x=value)],
    lambda value: [AIMessage("x", tool_calls=[{"name": "f", "args": {"x": value}, "id": "1"}]), HumanMessage("Hi")],
    lambda value: [HumanMessage("Hi"), _message(ToolMessage, value, tool_call_id="1")],
    lambda value: [HumanMessage("Hi"), _message(FunctionMessage, value, name="f")],
    lambda value: ChatPromptValue(messages=[_message(HumanMessage, value)]),
    lambda value: {"messages": [_message(HumanMessage, value)], "language": "en"},
    lambda value: {"messages": [HumanMessage("Hi")], "context": value},
    lambda value: {"question": "Hi", "x": value},
    lambda value: [{"role": "user", "content": [value]}],
    lambda value: [("system", "Be kind."), ("user", [{"type": "text", "text": "Hi"}, value])],
    lambda value: ("Hi", value),
    lambda value: value,
]


def _message(kind: type[BaseMessage], value: Any, **fields: Any) -> Any:
    """Put a value where blocks stand; what pydantic takes no message of is forced in, as code may do."""
    message = kind(content=["Look."], **fields)
    message.content = ["Look.", value]
    return message


def carries(value: Any) -> bool:  # noqa: PLR0911
    """Whether the image is still in a value; plainer than the search under test, and for these values only."""
    match value:
        case str():
            return MARK in re.sub(r"\\+n|\n", "", value)
        case bytes() | bytearray() | memoryview():
            return DATA[:60] in bytes(value)
        case Image.Image() | np.ndarray():
            return True
        case ChatPromptValue():
            return carries(value.messages)
        case Mapping():
            return any(carries(item) for pair in value.items() for item in pair)
        case list() | tuple() | Set():
            return any(map(carries, value))
        case BaseMessage() | Document() | Held():
            return carries({**vars(value), **(getattr(value, "model_extra", None) or {})})
    return False


@pytest.mark.slow
@given(value=hidden(), place=st.sampled_from(PLACES))
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
def test_in_inputs(value: Any, place: Callable[[Any], Any]) -> None:
    placed = place(value)
    assert carries(placed)
    note(repr(placed)[:400])
    request = read_request(placed)
    assert request is not None, "passed unseen"
    if request.unchecked:
        return
    assert request.images, "neither checked nor refused"
    assert not carries(request.rewrite(iter([OTHER] * len(request.images)))), "an image went on unchecked"
    assert all(InputImage.from_data_url(url) == InputImage.load(DATA) for url in request.images)


@given(value=hidden(), name=st.sampled_from(["images", "extra_body", "tools", "response_format", "config"]))
@settings(max_examples=100, deadline=None, derandomize=True)
def test_in_options(value: Any, name: str) -> None:
    request = read_request("Hi", {name: value})
    assert request is not None
    assert request.unchecked


@pytest.mark.slow
@given(name=st.sampled_from(sorted(TEXT)), place=st.sampled_from(PLACES[:3] + PLACES[6:10]))
@settings(max_examples=150, deadline=None, derandomize=True)
def test_text_has_none(name: str, place: Callable[[Any], Any]) -> None:
    assert read_request(place(TEXT[name])) is None
