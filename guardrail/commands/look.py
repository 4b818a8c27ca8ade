"""What may be shown on a terminal."""

from __future__ import annotations


def printable(text: str) -> str:
    """Return a stranger's text without what a terminal would obey: escapes, line ends, direction marks."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)
