"""What a guard sees under noise: the record of an evaluation on labelled images, which certificates can cite.

A certificate says nothing about a guard that cannot see: recall of harmful images is measured apart from it, by
`guardrail evaluate`, and stated on it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, computed_field

from guardrail.measuring.records import Record
from guardrail.statistics import clopper_pearson_lower, clopper_pearson_upper

Label = Literal["harmful", "harmless"]
"""What a labelled image is: whether the guard should catch it."""
Outcome = Literal["harmful", "harmless", "illegible", "abstained"]
"""What became of it: certified harmful; certified as another class, so that it passes; no certificate, with
`illegible` the most frequent class of its draws; no certificate otherwise."""
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)

NOT_MEASURED = (
    "recall of harmful images under noise not measured: a model that cannot see certifies everything harmless"
)


class Share(BaseModel):
    """A share of labelled images or answers, with its two-sided Clopper–Pearson interval."""

    model_config = ConfigDict(frozen=True)

    count: int
    total: int
    lower: float
    upper: float

    @classmethod
    def of(cls, count: int, total: int, confidence: float) -> Self:
        """Return the share and its interval; from 0 to 1 where there is nothing at all."""
        if total == 0:
            return cls(count=0, total=0, lower=0.0, upper=1.0)
        half = (1.0 - confidence) / 2.0
        lower, upper = clopper_pearson_lower(count, total, half), clopper_pearson_upper(count, total, half)
        return cls(count=count, total=total, lower=lower, upper=upper)

    @property
    def share(self) -> float:
        """The share itself; 0 of nothing."""
        return self.count / self.total if self.total else 0.0


class Level(BaseModel):
    """What became of the labelled images at one noise level."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    sigma: float = Field(gt=0.0)
    samples: int = Field(ge=1)
    """Largest number of draws per image."""
    alpha: float = Field(gt=0.0, lt=1.0)
    target_radius: float | None = None
    confidence: float = Field(default=0.95, gt=0.0, lt=1.0)
    """Of each interval by itself."""
    counts: dict[Label, dict[Outcome, int]]
    """Images by label and outcome."""

    def share(self, label: Label, outcome: Outcome) -> Share:
        """Return the share of the images of a label that had an outcome."""
        counts = self.counts.get(label, {})
        return Share.of(counts.get(outcome, 0), sum(counts.values()), self.confidence)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def shares(self) -> dict[Label, dict[Outcome, Share]]:
        """All shares, for readers of the file; reading a record computes them anew."""
        return {label: {o: self.share(label, o) for o in OUTCOMES} for label in get_args(Label)}

    @property
    def recall(self) -> Share:
        """Share of harmful images that are caught: certified harmful."""
        return self.share("harmful", "harmful")

    @property
    def missed(self) -> Share:
        """Share of harmful images that are certified as another class, and pass."""
        return self.share("harmful", "harmless")


class EvaluationRecord(Record):
    """Measured recall of one model and oracle on one labelled data set, at one or several noise levels.

    The intervals speak of the population that the images came from, as independent draws; requests that an attacker
    chooses come from another.
    """

    kind: ClassVar[str] = "an evaluation"
    command: ClassVar[str] = "guardrail evaluate"

    model: str
    oracle: str
    data: str
    """Name of the data set."""
    data_sha256: str
    """Of every image's canonical pixels, prompt and label, in any order."""
    levels: tuple[Level, ...] = Field(min_length=1)

    def level(self, model: str, oracle: str, sigma: float) -> Level | None:
        """Return what was measured for a guard with this model, oracle and σ; None: nothing."""
        if (self.model, self.oracle) != (model, oracle):
            return None
        return next((level for level in self.levels if level.sigma == sigma), None)


def recall_statement(record: EvaluationRecord | None, model: str, oracle: str, sigma: float) -> str:
    """Say, for a certificate's warnings, what is known about the recall of harmful images.

    Args:
        record: of an evaluation; None: there was none.
        model: name of the model that is smoothed.
        oracle: name of its oracle.
        sigma: of the noise.
    """
    if record is None:
        return NOT_MEASURED
    level = record.level(model, oracle, sigma)
    if level is None or level.recall.total == 0:
        return f"{NOT_MEASURED} (the evaluation {record.data_sha256[:12]} is of another model, oracle or sigma)"
    caught, missed = level.recall, level.missed
    return (
        f"recall of harmful images under noise: {caught.count} of {caught.total} caught "
        f"(at least {caught.lower:.3f}), {missed.count} certified harmless (at most {missed.upper:.3f}), "
        f"{level.confidence:.0%} intervals, by up to {level.samples} draws an image, "
        f"images like those of {record.data} {record.data_sha256[:12]}"
    )


def tally(outcomes: Mapping[Label, Mapping[Outcome, int]]) -> dict[Label, dict[Outcome, int]]:
    """Return counts of every label and outcome, zeros included."""
    return {label: {o: outcomes.get(label, {}).get(o, 0) for o in OUTCOMES} for label in get_args(Label)}
