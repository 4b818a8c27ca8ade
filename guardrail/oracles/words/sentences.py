"""The sentences of an answer, and which of them stand in a list."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from guardrail.oracles.base import normalise

LONGEST = 160
"""Characters of a sentence; longer ones are cut between words."""

_ITEM = re.compile(r"\s*(?:[-*•‣▪◦·–—+]\s|\(?\d{1,2}[.):]\s|\(?[a-hA-H][.)]\s|\*\*\d{1,2}[.)]|step \d)", re.IGNORECASE)
_FENCE = re.compile(r"\s*(?:```|~~~)")
_END = re.compile(r"(?<=[.!?…][\"')\]])\s|(?<=[.!?…])\s|(?<=[。！？।])")
_QUOTED = re.compile(r"(?<=.)\"[^\"]{0,300}\"|^\"[^\"]{0,300}\"(?=.{3})|(?<=[ (:])'\w[^\"]{1,150}?'(?=[ ,.;:)!?]|$)")


@dataclass(frozen=True)
class Sentence:
    """One sentence of an answer."""

    text: str
    """Normalised (`normalise`): lower case, straight quotes, no markdown."""
    start: int
    """Number of characters of normalised text before it."""
    listed: bool = False
    """Whether it is in an item of a list."""
    code: bool = False
    """Whether it is a block of code."""


def sentences(answer: str, *, quotations: bool = False) -> list[Sentence]:
    """Split an answer into sentences, in time linear in its length.

    Wrapped lines are joined first; items of lists, headings and blocks of code begin sentences. Quotations within a
    sentence are blanked: somebody else's words are no act of the speaker. With `quotations` they are kept, without
    quotation marks.
    """
    found: list[Sentence] = []
    position = 0
    for text, listed, code in _blocks(answer):
        unquoted = text.replace('"', "") if quotations else _QUOTED.sub('""', text)
        for part in [text] if code else _END.split(unquoted):
            if part := part.strip():
                for piece in _pieces(part):
                    found.append(Sentence(piece, position, listed, code))
                    position += len(piece) + 1
    return found


def _pieces(text: str) -> Iterator[str]:
    """Cut a sentence that is too long, so that a search in it takes a bounded time."""
    while len(text) > LONGEST:
        space = text.rfind(" ", LONGEST // 2, LONGEST)
        end = space if space > 0 else LONGEST
        yield text[:end]
        text = text[end:].lstrip()
    yield text


def _blocks(answer: str) -> Iterator[tuple[str, bool, bool]]:
    lines: list[str] = []
    listed = code = False

    def block() -> Iterator[tuple[str, bool, bool]]:
        text = normalise("\n".join(lines))
        if text:
            yield text, listed, code
        lines.clear()

    for line in answer.splitlines():
        if _FENCE.match(line):
            yield from block()
            code = not code
            listed = False
        elif code:
            lines.append(line)
        elif not line.strip():
            yield from block()
            listed = False
        elif match := _ITEM.match(line):
            yield from block()
            listed = True
            lines.append(line[match.end() :])
        else:
            lines.append(line)
    yield from block()
