"""What of a text can be seen: neither white space nor characters that show nothing."""

from __future__ import annotations

import re
import unicodedata

_INVISIBLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
"""Characters that show nothing and are not of Unicode's category Cf."""


def shows(character: str) -> bool:
    """Whether a character can be seen: no white space, control, format or unassigned character, and no filler."""
    return not (character.isspace() or unicodedata.category(character)[0] == "C" or _INVISIBLE.match(character))


def visible(text: str) -> str:
    """Return the characters of a text that can be seen, in their order."""
    return "".join(filter(shows, text))


def is_blank(text: str) -> bool:
    """Whether a text says nothing: no character of it can be seen."""
    return not any(map(shows, text))
