"""The similarity from which answers count as equivalent: chosen on labelled pairs, bound to its model."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from guardrail.errors import ConfigurationError
from guardrail.measuring.labelled_table import content_of, lines_of
from guardrail.measuring.recall import Share
from guardrail.oracles.meaning.equivalence import Pair
from guardrail.oracles.meaning.similarity import SentenceEncoder, similarities
from guardrail.statistics import clopper_pearson_upper

RECORD_VERSION = 1
COLUMNS = ("left", "right", "equivalent")
_YES, _NO = frozenset({"1", "true", "yes", "y"}), frozenset({"0", "false", "no", "n"})


@dataclass(frozen=True, slots=True)
class LabelledPair:
    """Two answers, and whether people say that they mean the same."""

    left: str
    right: str
    equivalent: bool


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


class SimilarityThreshold(BaseModel):
    """What `guardrail oracle threshold` writes: a threshold, the model it is for, and how often it errs.

    The criterion: the smallest threshold at which, with `confidence`, at most `most_false` of the pairs that are not
    equivalent count as equivalent: their one-sided Clopper–Pearson bound on the calibration half. Errors fall as the
    threshold rises, so going down from 1 until the bound is passed costs no more than the one test. The held-out
    half, of which nothing was chosen, tells both errors.

    Everything holds for independent pairs of the population that these came from.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    version: int = RECORD_VERSION
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

    @model_validator(mode="after")
    def _known_version(self) -> Self:
        if self.version != RECORD_VERSION:
            raise ValueError(f"threshold of version {self.version}, this package reads {RECORD_VERSION}")
        return self

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read the record that `guardrail oracle threshold` wrote.

        Raises:
            ConfigurationError: no such file, or it holds no record.
        """
        try:
            return cls.model_validate_json(Path(path).read_bytes())
        except (OSError, ValidationError) as error:
            what = error.strerror if isinstance(error, OSError) else f"{error.error_count()} fields are wrong"
            raise ConfigurationError(f"cannot read a threshold from {path}: {what}") from error

    def save(self, path: str | Path) -> None:
        """Write the record as JSON."""
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(self.model_dump_json(indent=2) + "\n", "utf-8")

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


def read_pairs(path: Path) -> list[LabelledPair]:
    """Read labelled pairs from a CSV file with the columns left, right, equivalent (1/0, true/false, yes/no).

    Raises:
        ConfigurationError: it cannot be read, a column or label is missing, or a pair occurs twice.
    """
    pairs: list[LabelledPair] = []
    for line, row in lines_of(content_of(path), path, COLUMNS):
        left, right, label = row["left"], row["right"], row["equivalent"].strip().casefold()
        if not left or not right or label not in _YES | _NO:
            raise ConfigurationError(
                f"{path}, line {line}: needs left, right and equivalent (1 or 0), got {left[:40]!r}, {right[:40]!r} "
                f"and {label!r}"
            )
        pairs.append(LabelledPair(left, right, label in _YES))
    if not pairs:
        raise ConfigurationError(f"{path} holds no pairs: give one a line, under {', '.join(COLUMNS)}")
    if len({frozenset((p.left, p.right)) for p in pairs}) < len(pairs):
        raise ConfigurationError(
            f"{path} holds a pair twice: it would count as two labels, and might be in both halves"
        )
    return pairs


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


def halves(pairs: Sequence[LabelledPair], seed: int) -> tuple[list[LabelledPair], list[LabelledPair]]:
    """Split the pairs of each label in two, by a hash of pair and seed: whatever their order in the file."""
    calibration: list[LabelledPair] = []
    held_out: list[LabelledPair] = []
    for label in (False, True):
        ranked = sorted((p for p in pairs if p.equivalent is label), key=lambda p: _hash(seed, p.left, p.right))
        calibration += ranked[0::2]
        held_out += ranked[1::2]
    return calibration, held_out


def score(encoder: SentenceEncoder, pairs: Sequence[LabelledPair]) -> list[ScoredPair]:
    """Return each pair's cosine with its label.

    Raises:
        ConfigurationError: a text is longer than the model reads.
    """
    scored = []
    for pair, cosine in zip(pairs, similarities(encoder, [Pair(p.left, p.right) for p in pairs]), strict=True):
        if isinstance(cosine, str):
            raise ConfigurationError(f"the pair {pair.left[:40]!r}, {pair.right[:40]!r} cannot be compared: {cosine}")
        scored.append(ScoredPair(cosine, pair.equivalent))
    return scored


def calibrate(
    encoder: SentenceEncoder,
    pairs: Sequence[LabelledPair],
    *,
    data: str,
    most_false: float = 0.05,
    confidence: float = 0.95,
    seed: int = 0,
) -> tuple[SimilarityThreshold, list[ScoredPair], list[ScoredPair]]:
    """Choose a threshold on one half of the pairs and measure it on the other.

    Args:
        encoder: the model whose similarities are cut.
        pairs: independent pairs of answers of the kind that the oracle will compare.
        data: name of the data set.
        most_false: largest rate of pairs that are not equivalent and count as such.
        confidence: that the rate is no larger; and of each interval.
        seed: of the split.

    Returns:
        The record, and the pairs of calibration and held-out half with their cosines.

    Raises:
        ConfigurationError: as `choose` and `score`.
    """
    first, second = halves(pairs, seed)
    calibration, held_out = score(encoder, first), score(encoder, second)
    if not any(s.equivalent for s in held_out):
        raise ConfigurationError(
            "the pairs hold fewer than two equivalent ones: nothing could be said about missing them"
        )
    threshold = choose(calibration, most_false, confidence)
    record = SimilarityThreshold(
        model=encoder.name,
        source=encoder.source,
        threshold=threshold,
        most_false=most_false,
        confidence=confidence,
        seed=seed,
        data=data,
        data_sha256=_hash(*sorted(f"{p.left!r} {p.right!r} {p.equivalent}" for p in pairs)),
        calibration=PairErrors.of(calibration, threshold, confidence),
        held_out=PairErrors.of(held_out, threshold, confidence),
    )
    return record, calibration, held_out


def _hash(*parts: object) -> str:
    return hashlib.sha256("\n".join(map(repr, parts)).encode()).hexdigest()
