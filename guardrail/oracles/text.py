"""How oracles read text: folded for matching, and named by what they look for."""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Callable, Iterable

from guardrail.errors import ConfigurationError
from guardrail.visible import shows

READING = 1
"""Version of how oracles read text: folding, sentences, features, JSON, replies, quotation, clusters.

It is in the names of all that do. Raise it with every change of that code by which some answer may get another class:
names then differ, and neither error rates measured before nor certificates computed before are used with the new code.
`tests/oracles/test_reading.py` notices most such changes.
"""

_PUNCTUATION = str.maketrans(
    {
        **dict.fromkeys("’‘ʼ′`", "'"),
        **dict.fromkeys("“”", '"'),
        **dict.fromkeys("–—", "-"),
        **dict.fromkeys("\ufdfa\ufdfb", " "),  # one letter each, of up to eighteen: time, and no word to look for
        **dict.fromkeys("*~", ""),  # emphasis, which may stand within a word
        **dict.fromkeys("_#>", " "),  # emphasis, headings and quotations, which stand around words
    }
)


def normalise(text: str) -> str:
    """Fold text for matching: compatibility forms, case, quotes, invisible characters, markdown emphasis, spaces."""
    folded = unicodedata.normalize("NFKC", text.translate(_PUNCTUATION)).translate(_PUNCTUATION)
    return " ".join("".join(c for c in folded if c.isspace() or shows(c)).casefold().split())


def distinct(terms: Iterable[str], fold: Callable[[str], str] = normalise) -> tuple[str, ...]:
    """Return words and phrases, folded for matching, each once.

    Raises:
        ConfigurationError: a text in the place of a list, whose letters would be taken for its terms.
    """
    if isinstance(terms, str):
        raise ConfigurationError(f"give terms as a list, even a single one: [{terms!r}], not {terms!r}")
    return tuple(dict.fromkeys(filter(None, map(fold, terms))))


def fingerprint(*parts: object) -> str:
    """Return a short hash of what an oracle's judgements depend on, for its name; `READING` is part of it."""
    return hashlib.sha256(json.dumps((READING, parts), sort_keys=True, default=list).encode()).hexdigest()[:12]
