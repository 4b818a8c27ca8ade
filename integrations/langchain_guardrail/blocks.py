"""Content blocks: which are images, which are text, and which cannot be checked.

Decided by payload, not by LangChain's normalisation: a block is an image if it has exactly one payload, in one of the
forms below and nothing beside it, and text if it is of a listed kind with that kind's keys only.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from guardrail.images.pictures import InputImage
from langchain_guardrail.payloads import find_payload, text_payload
from langchain_guardrail.render import Unread, render

Block = Mapping[str, Any]
_Rebuild = Callable[[InputImage], dict[str, Any]]

_PNG = "image/png"

_BESIDE = {"type", "id", "index", "cache_control"}
"""Keys that may stand beside any block's payload."""
_COMMON = _BESIDE | {"extras", "annotations", "citations"}
_CALL = {"name", "args", "input", "arguments", "partial_json", "call_id", "tool_call_id", "status", "caller", "error"}

TEXT_KINDS: dict[str, set[str]] = {
    "text": {"text"},
    "input_text": {"text"},
    "output_text": {"text", "logprobs"},
    "text-plain": {"text", "title", "context", "mime_type"},
    "refusal": {"refusal"},
    "reasoning": {"reasoning", "summary", "content", "encrypted_content", "signature", "status"},
    "thinking": {"thinking", "signature"},
    "redacted_thinking": {"data"},
    "reasoning_content": {"reasoning_content", "signature"},
    "tool_use": _CALL,
    "tool_call": _CALL,
    "tool_call_chunk": _CALL,
    "invalid_tool_call": _CALL,
    "input_json_delta": _CALL,
    "function_call": _CALL,
    "server_tool_use": _CALL,
    "server_tool_call": _CALL,
    "server_tool_call_chunk": _CALL,
    "server_tool_result": {"tool_call_id", "output", "status"},
    "cachePoint": {"cachePoint"},
}
"""Kinds of blocks that are text, each with its own keys."""
_CALLS = {kind for kind, keys in TEXT_KINDS.items() if keys is _CALL}
_SEALED = {"signature", "encrypted_content", "data"}
_TEXT_KEYS = ("text", "refusal", "reasoning", "thinking", "reasoning_content")


@dataclass(frozen=True)
class ImageBlock:
    """An image in a content block.

    Attributes:
        url: the payload, as a data URL, or the URL of a remote image that will be fetched.
        rebuild: makes a block of the same style that carries another picture.
    """

    url: str
    rebuild: _Rebuild


def read_image(block: Block, allows: Callable[[str], bool] | None = None) -> ImageBlock | None:
    """Return the image that a block is, or None: no image, a file id, or anything beside the payload.

    Args:
        block: a content block.
        allows: whether a remote image will be fetched, by its URL; None: none is, and none is an image here.
    """
    style = _style(block)
    if style is None:
        return None
    url, own, rebuild = style
    beside = {key: value for key, value in block.items() if key not in own}
    if (
        not (is_data_url(url) or (allows is not None and allows(url)))
        or not _plain(beside, _BESIDE)
        or not _text_or_none(block.get("mime_type"))
    ):
        return None
    return ImageBlock(url, lambda picture: {**block, **rebuild(picture)})


def _style(block: Block) -> tuple[str, set[str], _Rebuild] | None:  # noqa: PLR0911 - one per style
    """Return an image block's payload as a URL, the keys of its style, and what replaces them for another picture."""
    match block:
        case {"type": "image_url", "image_url": str(url)}:
            return url, {"image_url"}, lambda p: {"image_url": p.data_url()}
        case {"type": "image_url", "image_url": {"url": str(url)} as inner} if _plain(inner, {"detail"}, but="url"):
            return url, {"image_url"}, lambda p: {"image_url": {**inner, "url": p.data_url()}}
        case {"type": "input_image", "image_url": str(url)} if _text_or_none(block.get("detail")):
            return url, {"image_url", "detail"}, lambda p: {"image_url": p.data_url()}
        case {"type": "image", "source_type": "base64", "data": str(data)}:
            own = {"source_type", "data", "mime_type"}
            return _data_url(data), own, lambda p: {"data": _base64(p), "mime_type": _PNG}
        case {"type": "image", "source_type": "url", "url": str(url)}:
            own = {"source_type", "url", "mime_type"}
            return url, own, lambda p: {"url": p.data_url(), "mime_type": _PNG}
        case {"type": "image", "source": {"type": "base64", "data": str(data)} as inner} if _plain(
            inner, {"type", "media_type"}, but="data"
        ):
            return _data_url(data), {"source"}, lambda p: {"source": {**inner, "media_type": _PNG, "data": _base64(p)}}
        case {"type": "image", "source": {"type": "url", "url": str(url)} as inner} if _plain(
            inner, {"type"}, but="url"
        ):
            return (
                url,
                {"source"},
                lambda p: {"source": {"type": "base64", "media_type": _PNG, "data": _base64(p)}},
            )
        case {"type": "image", "base64": str(data)}:
            return _data_url(data), {"base64", "mime_type"}, lambda p: {"base64": _base64(p), "mime_type": _PNG}
        case {"type": "image", "url": str(url)}:
            return url, {"url", "mime_type"}, lambda p: {"url": p.data_url(), "mime_type": _PNG}
    return None


def is_data_url(url: str) -> bool:
    """Whether a URL holds what it names."""
    return url[:5].lower() == "data:"


def read_text(block: Block, *, searched: bool = True) -> str | None:
    """Return the text of a text-like block, or None if the block could carry anything else.

    Args:
        block: a content block.
        searched: whether media written out in the text count; otherwise text is text.
    """
    kind = block.get("type")
    if kind is None and (set(block) == {"text"} or set(block) == {"cachePoint"}):
        kind = next(iter(block))
    if not isinstance(kind, str) or kind not in TEXT_KINDS or not set(block) <= TEXT_KINDS[kind] | _COMMON:
        return None
    texts = [key for key in _TEXT_KEYS if key in TEXT_KINDS[kind]]
    for key, value in block.items():
        if key in texts or key in _SEALED:
            looked_at = searched or key in _SEALED
            if value is not None and (not isinstance(value, str) or (looked_at and text_payload(value))):
                return None
        elif find_payload(value, key, references=kind not in _CALLS, addresses=kind not in _CALLS):
            return None
    if kind in _CALLS or kind == "server_tool_result":
        try:
            return render({key: value for key, value in block.items() if key in TEXT_KINDS[kind]})
        except Unread:
            return None
    return "\n".join(block[key] for key in texts if block.get(key))


def kind_of(block: object) -> str:
    """Return how to name a block that is not checked; nothing of its payload."""
    if not isinstance(block, Mapping):
        return f"content of type {type(block).__name__}"
    kind = block.get("type")
    keys = ", ".join(sorted(str(key)[:20] for key in block if key != "type")[:6])
    return f"a block of type {str(kind)[:40]!r} with keys {keys or '(none)'}"


def _plain(beside: Mapping[Any, Any], allowed: set[str], but: str | None = None) -> bool:
    """Whether a mapping has allowed keys only, none of them with media; the payload's own key is left out."""
    keys = set(beside) - {but}
    rest = {key: beside[key] for key in keys - {"type"}}
    return keys <= allowed and find_payload(rest, "a block", references=True) is None


def _text_or_none(value: object) -> bool:
    return value is None or (isinstance(value, str) and text_payload(value) is None)


def _data_url(data: str) -> str:
    return f"data:;base64,{data}"


def _base64(picture: InputImage) -> str:
    return base64.b64encode(picture.png()).decode("ascii")
