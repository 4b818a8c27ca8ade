"""JSON objects in what a model wrote, read strictly."""

from __future__ import annotations

import json
import re
from typing import Any

_MOST_BRACES = 64
"""Opening braces that are tried, at most: a bound on time."""


def objects_in(text: str) -> tuple[list[dict[str, Any]], list[str]] | None:
    """Return the JSON objects in a text, and the texts before, between and after them; None: there are none.

    Reading stops at what begins like an object and is none (it was cut, or repeats a field): the result is then one
    empty object, so that no caller takes the text for words alone.
    """
    decoder = json.JSONDecoder(object_pairs_hook=unique_fields)
    objects: list[dict[str, Any]] = []
    around: list[str] = []
    at, tries, start = text.find("{"), 0, 0
    while at >= 0:
        tries += 1
        try:
            if tries > _MOST_BRACES:
                raise ValueError("too many")
            found, end = decoder.raw_decode(text, at)
            objects.append(found)
            around.append(text[start:at])
            at = start = end
        except (ValueError, RecursionError):
            if re.match(r'\{\s*(?:"|$)', text[at : at + 80]) or tries > _MOST_BRACES:  # it was meant to be one
                return [{}], [text[:at], ""]
            at += 1
        at = text.find("{", at)
    return (objects, [*around, text[start:]]) if objects else None


def unique_fields(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make an object of its fields: `object_pairs_hook` of `json`.

    Raises:
        ValueError: a field occurs twice. Readers differ in which of the two they take.
    """
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise ValueError("a field occurs twice")
    return fields
