"""What the guard asks of an oracle: the class of an answer."""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from guardrail.errors import OracleError
from guardrail.models.base import Answer
from guardrail.prompts import Prompt

FAILED = "failed"
"""The class of a draw without an answer or without a judgement: never the certified one, never dropped."""
HARMLESS = "harmless"
HARMFUL = "harmful"
ILLEGIBLE = "illegible"
"""The class of answers that say the picture cannot be read. It is never certified, so it leads to abstention."""


@runtime_checkable
class Oracle(Protocol):
    """Sorts answers into finitely many classes. It sees the answer and the prompt, never the clean image."""

    @property
    def name(self) -> str:
        """All that a judgement depends on: kind, version, lists or rubric (as a hash), thresholds, model."""

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes it may say, `failed` left out."""

    def classify(self, answers: Sequence[str], prompts: Sequence[Prompt]) -> list[str]:
        """Return one label per answer: a class, or `failed` for a judgement that failed.

        Raises:
            OracleError: the oracle cannot judge at all.
        """


@runtime_checkable
class SelectingOracle(Protocol):
    """An oracle whose classes are found from the selection draws, such as semantic equivalence.

    It must have no `classify`: classes found from a set of answers may not be estimated on that set.
    """

    @property
    def name(self) -> str:
        """All that its choice and its judgements depend on."""

    def fix(self, answers: Sequence[str], prompt: Prompt) -> Oracle:
        """Return the oracle for the estimation draws; its first class is the one under test.

        Raises:
            OracleError: no class can be found, for instance because every selection draw failed.
        """


def judge(
    oracle: Oracle, answers: Sequence[Answer], prompt: Prompt, remembered: dict[str, str] | None = None
) -> list[str]:
    """Return the class of each answer; failed answers are `failed` unseen.

    Args:
        oracle: says the class.
        answers: what the model said to one prompt.
        prompt: that prompt.
        remembered: judgements by text. Equal texts are then judged once, also over several calls with the same
            table, to which new judgements are added: draws stay independent given the table, but errors are fixed
            per answer. None: every answer is judged on its own.

    Raises:
        OracleError: the oracle failed as a whole, or said something that is not one of its classes.
    """
    texts = [answer.text for answer in answers if answer.failed is None]
    if remembered is not None:
        texts = [text for text in dict.fromkeys(texts) if text not in remembered]
    try:
        labels = oracle.classify(texts, [prompt] * len(texts)) if texts else []
    except OracleError:
        raise
    except Exception as error:
        raise OracleError(f"oracle {oracle.name} failed: {type(error).__name__}") from error
    if len(labels) != len(texts):
        raise OracleError(f"oracle {oracle.name} gave {len(labels)} labels for {len(texts)} answers")
    strange = set(labels) - {*oracle.classes, FAILED}
    if strange:
        raise OracleError(f"oracle {oracle.name} said {sorted(strange)}, its classes are {oracle.classes}")
    if remembered is None:
        fresh = iter(labels)
        return [FAILED if answer.failed is not None else next(fresh) for answer in answers]
    remembered.update(zip(texts, labels, strict=True))
    return [FAILED if answer.failed is not None else remembered[answer.text] for answer in answers]


_PUNCTUATION = str.maketrans(
    {
        **dict.fromkeys("’‘ʼ′`", "'"),
        **dict.fromkeys("“”", '"'),
        **dict.fromkeys("–—", "-"),
        **dict.fromkeys("*~", ""),  # emphasis, which may stand within a word
        **dict.fromkeys("_#>", " "),  # emphasis, headings and quotations, which stand around words
    }
)


_INVISIBLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
"""Characters that show nothing and are not of Unicode's category Cf."""


def normalise(text: str) -> str:
    """Fold text for matching: compatibility forms, case, quotes, invisible characters, markdown emphasis, spaces."""
    folded = unicodedata.normalize("NFKC", text).translate(_PUNCTUATION)
    visible = "".join(c for c in folded if unicodedata.category(c) != "Cf" and not _INVISIBLE.match(c))
    return " ".join(visible.casefold().split())


def fingerprint(*parts: object) -> str:
    """Return a short hash of what an oracle's judgements depend on, for its name."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=list).encode()).hexdigest()[:12]
