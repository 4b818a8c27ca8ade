"""How often an oracle errs: the record of labelled answers that it judged, which certificates rest on.

`guardrail oracle evaluate` writes it. It holds the error model with its bounds, bound to the oracle's name and to the
labels' hash, and what was counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from typing import ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from guardrail.measuring.recall import Share
from guardrail.measuring.records import Record
from guardrail.oracles.base import FAILED
from guardrail.statistics import (
    ClassConditionalError,
    ImpossibleRateError,
    LabelledAnswers,
    OracleError,
    SymmetricError,
    WorstCaseError,
    clopper_pearson_upper,
    labels_needed,
)

Kind = Literal["worst-case", "class-conditional", "symmetric"]
"""Names of the error models whose rates can be estimated from labels."""
MODELS: dict[Kind, type[WorstCaseError | ClassConditionalError | SymmetricError]] = {
    "worst-case": WorstCaseError,
    "class-conditional": ClassConditionalError,
    "symmetric": SymmetricError,
}


class Confusion(BaseModel):
    """Labelled answers by their true class, and within it by what the oracle said, `failed` among it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    counts: dict[str, dict[str, int]]

    @classmethod
    def of(cls, pairs: Iterable[tuple[str, str]], classes: Sequence[str]) -> Self:
        """Count pairs of true class and judged class; classes that do not occur are counted too, as 0."""
        seen = Counter(pairs)
        return cls(counts={truth: {said: seen[truth, said] for said in (*classes, FAILED)} for truth in classes})

    @property
    def total(self) -> int:
        """All answers."""
        return self._number()

    @property
    def failed(self) -> int:
        """Answers on which the judgement failed."""
        return self._number(said={FAILED})

    def wrong(self, confidence: float) -> Share:
        """Share of the answers that were not given their true class."""
        right = sum(self._number({label}, {label}) for label in self.counts)
        return Share.of(self.total - right, self.total, confidence)

    def false(self, a: str, confidence: float) -> Share:
        """Share of the answers that are not A which were called A."""
        return Share.of(self.false_count(a), self._number(self._others(a)), confidence)

    def missed(self, a: str, confidence: float) -> Share:
        """Share of the answers that are A which were not called A; a failed judgement is one of them."""
        return Share.of(self.missed_count(a), self._number({a}), confidence)

    def false_count(self, a: str) -> int:
        """Answers that are not A and were called A."""
        return self._number(self._others(a), {a})

    def missed_count(self, a: str) -> int:
        """Answers that are A and were not called A."""
        return self._number({a}) - self._number({a}, {a})

    def _others(self, a: str) -> set[str]:
        return self.counts.keys() - {a}

    def _number(self, truths: Collection[str] | None = None, said: Collection[str] | None = None) -> int:
        """Count the answers of these true classes that were called one of those; None: all."""
        return sum(
            number
            for truth, row in self.counts.items()
            for label, number in row.items()
            if (truths is None or truth in truths) and (said is None or label in said)
        )


class Measurement(BaseModel):
    """What was counted: at most one answer per request, chosen before it was labelled.

    Attributes:
        data: name of the file of labelled answers.
        data_sha256: of the file's bytes.
        left_out: answers that were not counted, because an earlier one was to the same request.
        confusion: of all counted answers.
        categories: the same for each category; descriptive, the error model is about all answers together.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: str
    data_sha256: str = Field(pattern="^[0-9a-f]{64}$")
    left_out: int = Field(ge=0)
    confusion: Confusion
    categories: dict[str, Confusion] = Field(default_factory=dict)


class Calibration(Record):
    """An oracle's measured error: the model that `Smoothing(oracle_error=...)` takes, and what it rests on."""

    model_config = ConfigDict(extra="forbid")

    kind: ClassVar[str] = "a calibration of an oracle"
    command: ClassVar[str] = "guardrail oracle evaluate"
    needs_digest: ClassVar[bool] = True

    error: OracleError
    measured: Measurement

    @model_validator(mode="after")
    def _is_measured(self) -> Self:
        labels = self.error.labels
        if labels is None or not labels.oracle:
            raise ValueError("the error model names no labels and no oracle: it was not measured")
        if labels.requests != self.measured.confusion.total:
            raise ValueError(f"{labels.requests} labels, but {self.measured.confusion.total} answers in the table")
        a, confusion = labels.certified_class, self.measured.confusion
        claimed = (labels.said_a_is_other, labels.said_other_is_a)
        if claimed != (counted := (confusion.false_count(a), confusion.missed_count(a))):
            raise ValueError(f"{claimed} answers falsely called {a!r} and missed, but {counted} in the table")
        return self


def error_model(
    labels: LabelledAnswers, kind: Kind, alpha_oracle: float, *, estimate_missed: bool = False
) -> WorstCaseError | ClassConditionalError | SymmetricError:
    """Bound an oracle's error by labelled answers.

    Args:
        labels: independent held-out answers, one per request. If they also chose `kind`, they are not held out.
        kind: the error model.
        alpha_oracle: probability that a bound is wrong, of all estimated rates together, in (0, 1).
        estimate_missed: for `class-conditional`, also bound from below the rate at which the oracle misses A.

    Raises:
        ImpossibleRateError: labels that are not held out, or that do not prove an error rate below 1/2; it says how
            many would.
    """
    wrong, of, what = labels.said_a_is_other, labels.requests, "labelled answers"
    if kind == "class-conditional":
        of, what = labels.are_other, f"labelled answers that are not '{labels.certified_class}'"
    elif kind == "symmetric":
        wrong += labels.said_other_is_a
    share = alpha_oracle / 2 if kind == "class-conditional" and estimate_missed else alpha_oracle
    if labels.held_out and (of == 0 or clopper_pearson_upper(wrong, of, share) >= 0.5):
        needed = labels_needed(wrong, of, share)
        remedy = (
            "at this rate no number of labels shows that: use a better oracle"
            if needed is None
            else f"at this rate about {needed} {what} are needed, each to its own request"
        )
        raise ImpossibleRateError(
            f"the oracle erred on {wrong} of {of} {what}: that does not show an error rate below 1/2; {remedy}"
        )
    if kind == "class-conditional":
        return ClassConditionalError.from_labelled(labels, share, estimate_missed=estimate_missed)
    return MODELS[kind].from_labelled(labels, share)
