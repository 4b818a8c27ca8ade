"""Folds text by its looks, so that letters of other scripts and accents hide no word from a list of words."""

from __future__ import annotations

import re
import unicodedata

from guardrail.oracles.base import normalise

MARKS = "\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f"
"""Marks that can stand on letters of any script (Unicode's combining diacritical marks). Marks of a single script, such
as vowels of Hindi and Thai, are part of its words, and are dropped after a Latin letter."""

_LOOKS = {
    "a": "ɑαаᴀᎪꓮ⍺",
    "b": "βвьʙᏴᏏꓐƅ",
    "c": "сᴄⲥᏟꓚ",
    "d": "ԁᴅᎠᏧꓓ",
    "e": "εеҽᴇᎬꓰ℮ɛ",
    "f": "ϝքꜰꓝ",
    "g": "ɡɢցԍᏀꓖ",
    "h": "ηнһʜհᎻᏂⲏꓧ",
    "i": "ıɩɪιіᎥ⍳ꙇⲓ",
    "j": "ϳјᴊᎫꓙ",
    "k": "κкᴋᏦⲕꓗ",
    "l": "ӏʟᏞꓡǀ",
    "m": "μмᴍᎷⲙꓟ",
    "n": "ոռɴⲛꓠ",
    "o": "οоσօᴏⲟꓳ",
    "p": "ρрᴘᏢⲣꓑ",
    "q": "ԛգզ",
    "r": "гʀᎡᏒⲅꓣ",
    "s": "ѕꜱտᏕᏚꓢ",
    "t": "τтᴛᎢⲧꓔ",
    "u": "υսᴜʋꓴ",
    "v": "νѵᴠᏙꓦ",
    "w": "ѡԝաᴡᏔᎳωꓪ",
    "x": "χхⲭꓫ",
    "y": "уүγʏⲩᎩᎽꓬ",
    "z": "ζᴢᏃꓜ",
    # strokes count as marks
    "b\u0335": "ƀ",
    "d\u0335": "đ",
    "g\u0335": "ǥ",
    "h\u0335": "ħ",
    "i\u0335": "ɨ",
    "l\u0335": "ł",
    "o\u0335": "øө",
    "t\u0335": "ŧ",
    "u\u0335": "ʉ",
    "z\u0335": "ƶ",
}
"""Small letters (case is folded before) by the Latin letter that they or their capitals look like. A letter stands for
one Latin letter: Greek nu, whose capital looks like N, counts as the v that the small one looks like."""
_TABLE = {
    **{ord(other): latin for latin, others in _LOOKS.items() for other in others},
    # white letters on black circles and squares, and regional indicators: no compatibility form folds them
    **{start + i: chr(ord("a") + i) for start in (0x1F150, 0x1F170, 0x1F1E6) for i in range(26)},
}
_RUN = re.compile(rf"(\w?)([{MARKS}]+)")


def lookalikes(text: str) -> str:
    """Normalise text, write letters that look Latin as Latin ones, and split letters from their marks.

    The marks of a letter are sorted, each kept once; marks without a letter are dropped. Text in another script is
    folded too, so terms must be folded in the same way before they are searched in it.
    """
    text = normalise(text)
    if text.isascii():
        return text
    apart = "".join(c if c.isascii() else _apart(c) for c in text.translate(_TABLE)).translate(_TABLE)
    ordered = _RUN.sub(lambda run: run[1] and run[1] + "".join(sorted(set(run[2]))), _without_strange_marks(apart))
    return " ".join(ordered.split())


def unmarked(text: str) -> str:
    """Fold text as `lookalikes` does, and drop all marks."""
    return re.sub(f"[{MARKS}]", "", lookalikes(text))


def _without_strange_marks(text: str) -> str:
    """Drop marks of other scripts after a Latin letter."""
    kept: list[str] = []
    latin = False
    for c in text:
        if c.isascii() or unicodedata.category(c)[0] != "M":
            latin = c.isalpha() and c.isascii()
        elif latin and not re.match(f"[{MARKS}]", c):
            continue
        kept.append(c)
    return "".join(kept)


def _apart(letter: str) -> str:
    """Split a letter from its marks; a letter composed of anything else (Hangul, kana) stays as it is."""
    apart = unicodedata.normalize("NFD", letter)
    return apart if re.fullmatch(f".[{MARKS}]*", apart, re.DOTALL) else letter
