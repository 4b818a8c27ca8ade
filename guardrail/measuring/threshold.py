"""The similarity from which answers count as equivalent: its criterion, and its record, bound to a model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field

from guardrail.errors import ConfigurationError
from guardrail.measuring.recall import Share
from guardrail.measuring.records import Record
from guardrail.statistics import clopper_pearson_upper


@dataclass(frozen=True, slots=True)
class ScoredPair:
    """A pair's cosine, and its label."""

    cosine: float
    equivalent: bool


class PairErrors(BaseModel):
    """How often a threshold errs on labelled pairs, with two-sided Clopper–Pearson intervals."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    false_equivalent: Share
    """Pairs that are not equivalent and count as such: the error that certifies what is not true."""
    missed: Share
    """Equivalent pairs that do not count as such: it costs certificates."""

    @classmethod
    def of(cls, scored: Sequence[ScoredPair], threshold: float, confidence: float) -> Self:
        """Count the errors."""
        no, yes = ([s.cosine for s in scored if s.equivalent is label] for label in (False, True))
        return cls(
            false_equivalent=Share.of(sum(c >= threshold for c in no), len(no), confidence),
            missed=Share.of(sum(c < threshold for c in yes), len(yes), confidence),
        )


class SimilarityThreshold(Record):
    """What `guardrail oracle threshold` writes: a threshold, the model it is for, and how often it errs.

    The criterion: the smallest threshold at which, with `confidence`, at most `most_false` of the pairs that are not
    equivalent count as equivalent: their one-sided Clopper–Pearson bound on the calibration half. Errors fall as the
    threshold rises, so going down from 1 until the bound is passed costs no more than the one test. The held-out
    half, of which nothing was chosen, tells both errors.

    Everything holds for independent pairs of the population that these came from.
    """

    kind: ClassVar[str] = "a similarity threshold"
    command: ClassVar[str] = "guardrail oracle threshold"

    model: str
    """The encoder's name: model with revision or hash."""
    source: str
    """Hub id or folder that it was loaded from."""
    threshold: float = Field(gt=0.0, le=1.0)
    most_false: float = Field(gt=0.0, lt=1.0)
    confidence: float = Field(ge=0.5, lt=1.0)
    seed: int
    """Of the split into halves."""
    data: str
    data_sha256: str
    """Of every pair and label, in any order."""
    calibration: PairErrors
    held_out: PairErrors

    def require_model(self, name: str) -> None:
        """Refuse to be used with another model.

        Raises:
            ConfigurationError: it was chosen for another.
        """
        if name != self.model:
            raise ConfigurationError(
                f"the threshold {self.threshold:g} was chosen for {self.model}, this model is {name}: choose one for "
                "it by `guardrail oracle threshold`"
            )


def choose(scored: Sequence[ScoredPair], most_false: float, confidence: float) -> float:
    """Return the smallest threshold, in steps of 0.0001, that keeps `SimilarityThreshold`'s criterion.

    Raises:
        ConfigurationError: too few pairs that are not equivalent, or no threshold up to 1 keeps it.
    """
    cosines = sorted((s.cosine for s in scored if not s.equivalent), reverse=True)
    total, alpha = len(cosines), 1.0 - confidence
    if total == 0 or clopper_pearson_upper(0, total, alpha) > most_false:
        needed = math.ceil(math.log(alpha) / math.log1p(-most_false))
        raise ConfigurationError(
            f"{total} pairs that are not equivalent are too few to show that at most {most_false:g} of them count as "
            f"equivalent: the calibration half needs {needed}, so the file {2 * needed}; or allow more by --most-false"
        )
    allowed = max(k for k in range(total) if clopper_pearson_upper(k, total, alpha) <= most_false)
    threshold = max(1e-4, (math.floor(cosines[allowed] * 1e4) + 1) / 1e4)  # just above the first that is one too many
    if threshold > 1.0:
        raise ConfigurationError(
            f"no threshold will do: {allowed + 1} pairs labelled as not equivalent have a cosine of "
            f"{cosines[allowed]:.4f} or more; look at their labels"
        )
    return threshold
