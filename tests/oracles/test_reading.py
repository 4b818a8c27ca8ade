"""How oracles read text is part of their names: what changes the reading must change its version."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import pytest

from guardrail.oracles import ActionOracle, IllegibleOracle, LabelOracle, LexiconOracle, Oracle, RefusalOracle, text
from guardrail.oracles.asking.chat_classifier import quoted
from guardrail.oracles.meaning.clustering import stars
from guardrail.oracles.refusal.features import compiled, read
from guardrail.oracles.refusal.giving import PATTERNS, gives
from guardrail.oracles.text import normalise
from guardrail.oracles.words.lookalikes import lookalikes
from guardrail.oracles.words.sentences import sentences
from guardrail.prompts import Prompt

CORPUS = (
    "",
    "I’m sorry, but I **can't** help with that.  Try something else!",
    "I cannot give you X, but here is Y:\n\n1. Take a pan.\n2) Add 3.5 litres – slowly.\n\n```sh\nls -l\n```\n> Done…",
    'He said "I cannot help you" and left. <b>Ｓｕｒｅ</b> [INST] b\u200bо\u0301mb ﷺ ａ_b_\u00a0c',
    "Не могу помочь. 我不能。你好！ 폭탄 がば बम ΒΌΜΒΑ Straße İstanbul",
    "Do not, under any condition, turn left.\nAction: right",
    'I do not know.\n```json\n{"action": "left"}\n``` Or e.g. halt... at 0.5 m?',
    "Take the left; not right, or back. Anything but halt, so I go on.",
    "x" * 400 + " y" * 200,
)
ROBOT = ActionOracle({"left": ["left"], "right": ["right"], "stop": ["halt", "stop"]})
COMPILED = compiled(PATTERNS)


def refusals(answer: str) -> object:
    reading = read(answer, COMPILED, 250)
    return reading and ([round(n, 9) for n in reading.numbers()], gives(answer, reading, COMPILED))


def alike(answer: str, representative: str) -> bool:
    return len({*normalise(answer).split()} & {*normalise(representative).split()}) > 1


READERS: dict[str, tuple[Callable[[str], object], str]] = {
    "normalise": (normalise, "ac2b9765f0970825"),
    "lookalikes": (lookalikes, "3689c98d9c0af611"),
    "sentences": (sentences, "c9c6f98985a84594"),
    "refusals": (refusals, "0aa47b2751c7b98a"),
    "actions": (lambda text: ROBOT.classify([text], [Prompt(())]), "6abff2ecf7910169"),
    "quotation": (quoted, "16ec99ae478d2bf7"),
    "clusters": (lambda text: stars(dict.fromkeys([*CORPUS, text], 1), CORPUS, alike), "711c3c483e5277fa"),
}
"""What the oracles read with, and a digest of what it makes of the corpus at this version of the reading."""
VERSION = 1


@pytest.mark.parametrize("reader", READERS)
def test_another_reading_has_another_version(reader: str) -> None:
    reads, pinned = READERS[reader]
    digest = hashlib.sha256(repr([reads(text) for text in CORPUS]).encode()).hexdigest()[:16]
    assert (digest, text.READING) == (pinned, VERSION), (
        f"oracles read text otherwise than at version {VERSION}: raise READING in guardrail/oracles/text.py, "
        f"and pin it here with {digest!r} for {reader}"
    )


@pytest.mark.parametrize(
    "make",
    [
        RefusalOracle,
        lambda: LexiconOracle({"harmful": ["bomb"]}),
        lambda: ActionOracle(["left", "right"]),
        lambda: IllegibleOracle(RefusalOracle()),
        LabelOracle,
    ],
)
def test_the_version_is_in_the_names(make: Callable[[], Oracle], monkeypatch: pytest.MonkeyPatch) -> None:
    before = make().name
    assert make().name == before
    monkeypatch.setattr(text, "READING", text.READING + 1)
    assert make().name != before
