"""Looks for media in values that are no content blocks: template variables, extra keys, tool arguments, options.

What is found here has no place in the conversation, so it cannot be certified; the caller fails closed on it.
"""

from __future__ import annotations

import array
import ctypes
import dataclasses
import datetime as dt
import decimal
import functools
import pathlib
import re
import types
import uuid
from collections.abc import Collection, Iterable, Mapping, Sequence, Set
from typing import Any

import numpy as np
from langchain_core.messages import ToolMessage
from langchain_core.runnables import Runnable
from pydantic import BaseModel

_BASE64_FOLLOWS = re.compile(r";\s*base64\s*,", re.IGNORECASE)
_MEDIA_TYPE = re.compile(r":\s*(?:(?:image|audio|video|application)/|,\s*%)", re.IGNORECASE)
"""What marks data URLs, the latter after the word `data`. Both begin with a literal, so they are found fast."""
_PNG = "iVBORw0KGg"
_OTHER_MAGIC = "|".join(
    (
        *("/9j/", "R0lGOD", "UklGR", r"Qk[\w+/]{6}AAAA", "SUkqA", "TU0AK"),
        *("JVBERi", r"AAAA[\w+/]{2}Z0eX", "SUQz", "T2dnUw", "GkXfo", "PHN2Z"),
    )
)
_MAGIC = f"{_PNG}|{_OTHER_MAGIC}"
"""How base64 begins of PNG, JPEG, GIF, RIFF (WebP, WAV, AVI), BMP, TIFF; PDF, MP4 and HEIC, MP3, Ogg, Matroska, SVG."""
_MEDIA_BASE64 = re.compile(rf"(?<![\w+/])(?:{_MAGIC})[\w+/=-]{{32,}}", re.ASCII)
_OTHER_MEDIA_BASE64 = re.compile(rf"(?:{_OTHER_MAGIC})[\w+/=-]{{32,}}", re.ASCII)
"""Found wherever the former is, but for PNG, and faster: only capitals and a slash are tried, rare in texts."""
_MEDIA_INITIALS = "i/RUQSTJAGP"
_OPENING = 128
"""Characters in which a text shows whether it opens a file."""
_MEDIA_OPENING = re.compile(_MAGIC, re.ASCII)
_LONG_BASE64 = re.compile(r"[\w+/-]{40,}(?:[\r\n]+[\w+/-]+)*={0,2}", re.ASCII)
LONG = 256
"""Characters from which a value that is nothing but base64 counts as a payload."""
_SHORTEST = 36
"""Characters of the shortest base64 that is looked for."""
_SCANNED = 65_536
"""Characters by which a value is taken for base64: what begins so is not worth more time."""
_DEEPEST = 64
_LONGEST_ADDRESS = 4096
_LONG_BYTES = 64
"""Items from which a sequence of integers below 256 counts as a file."""

_MEDIA_KEY = re.compile(
    r"(?:^|[_\W])(?:images?|img|photos?|pictures?|screenshots?|audios?|videos?|pdfs?)(?:$|[_\W])", re.IGNORECASE
)
_ADDRESS = re.compile(r"\s*(?:https?|ftp|file|s3|gs|attachment|blob):", re.IGNORECASE)
_MEDIA_ADDRESS = re.compile(
    r"\s*(?:https?|ftp|file|s3|gs):\S+\."
    r"(?:png|jpe?g|gif|webp|bmp|tiff?|heic|avif|svg|pdf|mp[34]|mov|webm|wav|ogg)(?:[?#]\S*)?\s*",
    re.IGNORECASE,
)
_ATTACHED = re.compile(r"\s*(?:(?:https?|ftp|file|s3|gs|attachment|blob):|file[-_]\w)", re.IGNORECASE)
_REFERENCE_KEY = re.compile(
    r"(?:.*(?<!pro)file_?(?:ids?|data|uris?)|inline_?data|(?:input_)?(?:images?|audio|video)|input_file|image_url)",
    re.IGNORECASE,
)
_ATTACHMENT_KEY = re.compile(r"(?:.*_)?attachments?", re.IGNORECASE)
_KEPT = {
    "previous_response_id": re.compile(r"\S"),
    "conversation": re.compile(r"conv_"),
    "cached_content": re.compile(r"(?:.*/)?cachedContents/"),
}
"""Keys, and how their values begin, that name a conversation which a provider keeps, images and all."""
_MEDIA_TYPES = {"image", "image_url", "input_image", "audio", "audio_url", "input_audio", "video", "video_url", "media"}
_MEDIA_TYPES |= {"file", "input_file", "document", "input_video", "container_upload", "image_file", "non_standard"}
OPAQUE_KEYS = {"signature", "thought_signature", "encrypted_content", "__gemini_function_call_thought_signatures__"}
"""Keys of providers' sealed tokens: long base64 that no model decodes as media."""

_SIZED = {str, list, dict, tuple, set, frozenset}
_PLAIN = {type(None), bool, int, float}
_LEAVES: tuple[type, ...] = (
    *(int, float, complex, decimal.Decimal, dt.date, dt.time, dt.timedelta, uuid.UUID),
    *(np.number, np.bool_, np.datetime64, np.timedelta64, re.Pattern, type, types.ModuleType),
    *(types.FunctionType, types.BuiltinFunctionType, types.MethodType),
)
"""What is not looked into. A path is none of them: it names a file that a tool may read."""


def text_payload(text: str) -> str | None:
    """Return what media a text carries, in words; None for plain text."""
    if len(text) < _SHORTEST and ":" not in text and ";" not in text:
        return None  # as all that follows would find
    if ((_PNG in text or _OTHER_MEDIA_BASE64.search(text)) and _MEDIA_BASE64.search(text)) or _opens_a_file(text):
        return "a base64 file in text"
    if _BASE64_FOLLOWS.search(text) or (("/" in text or "%" in text) and _has_data_url(text)):
        return "a data URL in text"
    return None


def _opens_a_file(text: str) -> bool:
    """Whether a text begins as a base64 file does, however it is wrapped."""
    first = text[:1]
    if len(text) < 40 or not (first in _MEDIA_INITIALS or first.isspace()):
        return False
    return _MEDIA_OPENING.match("".join(text[:_OPENING].split())) is not None


def _has_data_url(text: str) -> bool:
    return any(_ends_in_data(text[max(0, m.start() - 16) : m.start()]) for m in _MEDIA_TYPE.finditer(text))


def _ends_in_data(text: str) -> bool:
    return "".join(text.split()).lower().endswith("data")  # URL parsers drop tabs and new lines


def string_payload(text: str, *, addresses: bool = True) -> str | None:
    """Return what media a string carries that need not be text: as `text_payload`, long base64, an address."""
    if found := text_payload(text):
        return found
    if len(text) >= LONG and _LONG_BASE64.fullmatch(text[:_SCANNED].strip()):
        return "long base64"
    if addresses and len(text) < _LONGEST_ADDRESS and _MEDIA_ADDRESS.fullmatch(text):
        return "the address of a media file"
    return None


def find_payload(
    value: Any,
    where: str,
    *,
    references: bool = False,
    addresses: bool = True,
    schema: bool = False,
    data_only: bool = False,
) -> str | None:
    """Return what a value carries, or could carry, of media, and where; None if it is nothing but text.

    Args:
        value: anything; mappings, sequences and objects' attributes are walked.
        where: how to name the value in the answer.
        references: also object to keys that name what is kept elsewhere (`file_id`, `image_url`, …).
        addresses: also object to addresses of media; False where they are text that no provider follows.
        schema: whether the value describes others, so that a mapping under such a key is its description.
        data_only: leave objects alone that are no data: clients, models and other services.
    """
    found = _Search(references, addresses, schema, data_only).walk(value, 0)
    return f"{found[0]} {where}{found[1]}" if found else None


_Found = tuple[str, str]
"""What was found, in words, and where below the value that was searched."""


class _Search:
    """One walk through a value, up to the first find."""

    def __init__(self, references: bool, addresses: bool, schema: bool, data_only: bool) -> None:
        self._references = references
        self._addresses = addresses
        self._schema = schema
        self._data_only = data_only
        self._seen: dict[int, object] = {}
        """Values by id, kept so that no other value gets the id of one that was made on the way."""

    def walk(self, value: Any, depth: int) -> _Found | None:  # noqa: PLR0911 - one per kind
        if isinstance(value, str):
            found = string_payload(value, addresses=self._addresses)
            return (f"{found} in", "") if found else None
        if _is_leaf(value) or id(value) in self._seen:
            return None
        if type(value) not in _SIZED and is_binary(value):
            return f"{type(value).__name__} in", ""
        if self._data_only and not _is_data(value):
            return None
        if depth > _DEEPEST or not _is_open(value):
            return f"what cannot be looked at ({type(value).__name__}) in", ""
        self._seen[id(value)] = value
        if isinstance(value, Mapping):
            return self._mapping(value, depth)
        if isinstance(value, Sequence | Set):
            return self._items(value, depth)
        return self._object(value, depth)

    def _mapping(self, value: Mapping[Any, Any], depth: int) -> _Found | None:
        kind = value.get("type")
        if isinstance(kind, str) and kind in _MEDIA_TYPES and len(value) > 1:
            return f"a block of type {kind!r} in", ""
        return self._fields(value, depth)

    def _items(self, value: Collection[Any], depth: int) -> _Found | None:
        if len(value) >= _LONG_BYTES and all(isinstance(item, int) and 0 <= item < 256 for item in value):
            return "a list of bytes in", ""
        for item in value:
            if found := self.walk(item, depth + 1):
                return found
        return None

    def _object(self, value: object, depth: int) -> _Found | None:
        fields = attributes(value)
        if isinstance(value, ToolMessage):
            fields.pop("artifact", None)  # never reaches a model
        if isinstance(value, functools.partial):
            fields |= {"func": value.func, "args": value.args, "keywords": value.keywords}
        return self._fields(fields, depth)

    def _fields(self, fields: Mapping[Any, Any], depth: int) -> _Found | None:
        for key, item in fields.items():
            name = str(key)
            if len(name) >= 7 and (payload := text_payload(name)):  # as long as the shortest data URL
                return f"{payload} in a key of", ""
            if found := self._field(name, item, depth):
                what, below = found
                return what, f"[{name[:40]!r}]{below}"
        return None

    def _field(self, key: str, item: Any, depth: int) -> _Found | None:
        if key in OPAQUE_KEYS:
            sealed = item.values() if isinstance(item, Mapping) else [item]
            opaque = all(isinstance(token, str | None) and not (token and text_payload(token)) for token in sealed)
            return None if opaque else ("what cannot be looked at in", "")
        if self._references and self._refers(key, item):
            return "a reference to media in", ""
        if self._addresses and isinstance(item, str) and _MEDIA_KEY.search(key) and _ADDRESS.match(item):
            return "the address of a medium in", ""
        return self.walk(item, depth + 1)

    def _refers(self, key: str, item: Any) -> bool:
        if self._schema and isinstance(item, Mapping):
            return False
        if key in _KEPT:
            name = item.get("id") if isinstance(item, Mapping) else item
            return isinstance(name, str) and _KEPT[key].match(name) is not None
        if _ATTACHMENT_KEY.fullmatch(key):
            items = item if isinstance(item, list | tuple | set) else [item]
            return any(isinstance(entry, str) and _ATTACHED.match(entry) for entry in items)
        return bool(_REFERENCE_KEY.fullmatch(key)) and not isinstance(item, int | float) and not is_empty(item)


def _is_leaf(value: object) -> bool:
    kind = type(value)
    return kind in _PLAIN or (kind not in _SIZED and isinstance(value, _LEAVES))


def _is_open(value: object) -> bool:
    """Whether a value can be looked into without using it up; an iterable of an unknown kind makes what it likes."""
    known = type(value) in _SIZED or isinstance(value, Mapping | Sequence | Set | BaseModel)
    return known or not isinstance(value, Iterable | pathlib.PurePath)


def _is_data(value: object) -> bool:
    """Whether a value holds others, rather than doing something."""
    if isinstance(value, Runnable):
        return False
    return isinstance(value, Mapping | Sequence | Set | BaseModel) or dataclasses.is_dataclass(value)


def is_empty(value: object) -> bool:
    """Whether there is nothing in a value; arrays, whose truth is in dispute, count as something."""
    return value is None or (type(value) in _SIZED and not value)


def is_binary(value: object) -> bool:
    """Whether a value is bytes, a PIL image, an array, a tensor or an open file."""
    kind = type(value)
    return isinstance(value, bytes | bytearray | memoryview | array.array | ctypes.Array | np.generic) or any(
        hasattr(kind, name) for name in ("__array_interface__", "__array__", "read")
    )


def attributes(value: object) -> dict[str, Any]:
    """Return an object's fields."""
    slots = (name for kind in type(value).__mro__ for name in getattr(kind, "__slots__", ()))
    fields = {str(name): getattr(value, name, None) for name in slots if not str(name).startswith("__")}
    fields |= getattr(value, "__dict__", {})
    fields |= getattr(value, "__pydantic_extra__", None) or {}
    return fields
