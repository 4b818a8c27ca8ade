"""Equivalence of answers by a chat model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from guardrail.errors import ConfigurationError
from guardrail.oracles.asking.judge import bundled_rubric
from guardrail.oracles.base import together
from guardrail.oracles.meaning.equivalence import DIFFERENT, EQUIVALENT, Pair


class Labeller(Protocol):
    """Says which of its labels fits some data, as `ChatClassifier` does: a chat model with a rubric.

    It may say whether it is `deterministic` (`OracleTraits`).
    """

    @property
    def name(self) -> str:
        """Model, parameters, rubric and labels."""

    def classify(self, data: Sequence[Mapping[str, str]], deadline: float | None = None) -> list[str]:
        """Return one label per piece of data, or `failed: why`."""


class ChatComparison:
    """Has a chat model judge whether two answers to a question mean the same.

    Args:
        labeller: says `equivalent` or `different` of `{"question": …, "reference": …, "answer": …}`, by a rubric such
            as `equivalence_rubric()`: `ChatClassifier(chat, equivalence_rubric(), ("equivalent", "different"))`.
        afresh: declares that labels of equal pairs are independent, which error models with independent errors need;
            refused unless the labeller is known to sample.

    Raises:
        ConfigurationError: a labeller with other labels; `afresh` with one that is not known to sample.
    """

    def __init__(self, labeller: Labeller, *, afresh: bool = False) -> None:
        labels = getattr(labeller, "labels", (EQUIVALENT, DIFFERENT))
        if set(labels) != {EQUIVALENT, DIFFERENT}:
            raise ConfigurationError(f"the labels must be {EQUIVALENT!r} and {DIFFERENT!r}, got {tuple(labels)}")
        if afresh and not getattr(labeller, "sampled", False):
            raise ConfigurationError(
                f"afresh=True needs a judge that is known to sample, and {labeller.name} is not: raise its temperature"
            )
        self._labeller = labeller
        self.deterministic = False if afresh else together([labeller])
        """See `OracleTraits`."""

    @property
    def name(self) -> str:
        """The labeller's name, and whether it judges afresh."""
        return f"chat equivalence{' afresh' if self.deterministic is False else ''}/{self._labeller.name}"

    def compare(self, pairs: Sequence[Pair], deadline: float | None = None) -> list[str]:
        """Return one label per pair, each from a separate call; `failed: why` where a call gave none.

        Raises:
            OracleError: the chat model cannot be asked at all.
        """
        return self._labeller.classify(
            [{"question": pair.question, "reference": pair.representative, "answer": pair.answer} for pair in pairs],
            deadline,
        )


def equivalence_rubric() -> str:
    """Return the rubric that comes with the package: what `equivalent` and `different` mean."""
    return bundled_rubric("equivalence.md")
