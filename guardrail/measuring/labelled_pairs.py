"""Labelled pairs of answers: read, scored by a model, and a threshold chosen on one half of them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from guardrail.errors import ConfigurationError
from guardrail.measuring.labelled_table import content_of, lines_of
from guardrail.measuring.threshold import PairErrors, ScoredPair, SimilarityThreshold, choose
from guardrail.oracles.meaning.equivalence import Pair
from guardrail.oracles.meaning.similarity import SentenceEncoder, similarities

COLUMNS = ("left", "right", "equivalent")
_YES, _NO = frozenset({"1", "true", "yes", "y"}), frozenset({"0", "false", "no", "n"})


@dataclass(frozen=True, slots=True)
class LabelledPair:
    """Two answers, and whether people say that they mean the same."""

    left: str
    right: str
    equivalent: bool


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
