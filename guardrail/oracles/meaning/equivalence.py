"""Semantically equivalent answers: the class is found on the selection draws, and estimated on fresh ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

from guardrail.errors import ConfigurationError, OracleError
from guardrail.models.base import close
from guardrail.oracles.base import (
    FAILED,
    HARMLESS,
    TIMED_OUT,
    Oracle,
    OracleTraits,
    classify,
    failure,
    is_failure,
    together,
)
from guardrail.oracles.meaning.clustering import Star, stars
from guardrail.oracles.text import fingerprint
from guardrail.prompts import Prompt

EQUIVALENT = "equivalent"
DIFFERENT = "different"
TOO_LONG = f"{FAILED}: too long"
"""The label of a pair that the model would read only in part: what it does not see must not count as equivalent."""
LONGEST_REPRESENTATIVE = 8_000
"""Characters of a representative, at most: a certificate carries it."""


class Pair(NamedTuple):
    """Two answers to one question. The order matters: a comparison need not be symmetric."""

    answer: str
    """The one that is compared."""
    representative: str
    """The one that it is compared with."""
    question: str = ""
    """The text that both answer, for comparisons that read it."""


@runtime_checkable
class Comparison(Protocol):
    """Says of pairs of answers whether the first means the same as the second. It need not be transitive.

    It may have the attribute `deterministic` (`OracleTraits`): True for a function of the pair; False where it samples,
    so that its errors on equal pairs are independent.
    """

    @property
    def name(self) -> str:
        """All that a label depends on: kind, model, threshold or rubric."""

    def compare(self, pairs: Sequence[Pair], deadline: float | None = None) -> list[str]:
        """Return one label per pair: `equivalent` or `different`; for a comparison that failed, `failed: why`.

        Args:
            pairs: any number; without repetitions for a comparison that is a function.
            deadline: `time.monotonic()` after which no pair is begun; those left get `TIMED_OUT`.

        Raises:
            OracleError: no pair can be compared at all.
        """


def compare(comparison: Comparison, pairs: Sequence[Pair], deadline: float | None = None) -> list[str]:
    """Have pairs compared, and check the labels.

    A comparison that is a function is asked once about each distinct pair, every other about each pair by itself. An
    answer equal to its representative, character by character, is equivalent without a comparison, unless that says
    that it samples: its errors then stay independent.

    Raises:
        OracleError: the comparison failed as a whole, or gave something that is no label.
    """
    deterministic = OracleTraits.of(comparison).deterministic
    same = set() if deterministic is False else {pair for pair in pairs if pair.answer == pair.representative}
    open_pairs = [pair for pair in pairs if pair not in same]
    unknown = list(dict.fromkeys(open_pairs)) if deterministic is True else open_pairs
    try:
        labels = comparison.compare(unknown, deadline) if unknown else []
    except OracleError:
        raise
    except Exception as error:
        raise failure(f"comparison {comparison.name} failed", error) from error
    if len(labels) != len(unknown):
        raise OracleError(f"comparison {comparison.name} gave {len(labels)} labels for {len(unknown)} pairs")
    if strange := {label for label in labels if label not in {EQUIVALENT, DIFFERENT} and not is_failure(label)}:
        raise OracleError(f"comparison {comparison.name} said {sorted(strange)}, not {EQUIVALENT!r} or {DIFFERENT!r}")
    if deterministic is True:
        known = dict(zip(unknown, labels, strict=True))
        return [EQUIVALENT if pair in same else known[pair] for pair in pairs]
    said = iter(labels)
    return [EQUIVALENT if pair in same else next(said) for pair in pairs]


@dataclass(frozen=True)
class EquivalenceOracle:
    """Finds the meaning that most answers share, and says of every further answer whether it has that meaning.

    The selection draws are clustered around representatives, and the representative of the largest cluster is fixed.
    Fresh draws then estimate P[answer is found equivalent to the representative]: a plain Bernoulli, so the
    certificate is rigorous whatever the clustering did. It promises that answers found equivalent to *this*
    representative, which the certificate keeps, stay the majority. (The paper's Algorithm 2 counts the draws that it
    clustered: see `guardrail.experiments.algorithm2`.)

    It says nothing about harm: a harmful meaning can be as stable as any, and would be certified and released. For a
    guard of untrusted traffic give `first`, an oracle that knows harm.

    Args:
        comparison: says whether an answer means the same as the representative.
        first: an oracle that classifies answers before they are compared. An answer that it does not call harmless
            gets its class (`harmful`, `illegible`), is never clustered, and never counts as equivalent.
        candidates: number of the most frequent answers of the selection draws among which the representative is
            chosen. Each is compared with every other distinct answer.

    Raises:
        ConfigurationError: no comparison, no candidate, or a `first` whose classes cannot stand beside these.
    """

    comparison: Comparison
    first: Oracle | None = None
    candidates: int = 8

    def __post_init__(self) -> None:
        if not isinstance(self.comparison, Comparison) or isinstance(self.comparison, type):
            raise ConfigurationError(
                f"a comparison has name and compare, got {self.comparison!r}: use EmbeddingComparison, for instance"
            )
        if self.candidates < 1:
            raise ConfigurationError(f"candidates must be at least 1, got {self.candidates}")
        known = (HARMLESS,) if self.first is None else self.first.classes
        if OracleTraits.of(self.first).harmless.isdisjoint(known) or {EQUIVALENT, DIFFERENT} & set(known):
            raise ConfigurationError(
                f"the oracle that is asked first says {known}: it must know {HARMLESS!r}, and neither "
                f"{EQUIVALENT!r} nor {DIFFERENT!r}"
            )

    @property
    def name(self) -> str:
        """Kind, a hash of the options, and the names of the comparison and of the first oracle."""
        after = f" after {self.first.name}" if self.first is not None else ""
        return f"equivalence/{fingerprint('stars 1', self.candidates)} by {self.comparison.name}{after}"

    @property
    def deterministic(self) -> bool | None:
        """See `OracleTraits`; what comparison and first oracle say alike, None where they differ."""
        return together(filter(None, (self.comparison, self.first)))

    @property
    def kept_table(self) -> bool:
        """See `OracleTraits`; whether comparison or first oracle is."""
        return any(OracleTraits.of(part).kept_table for part in (self.comparison, self.first))

    @property
    def harmful_classes(self) -> tuple[str, ...]:
        """Those of the first oracle: see `OracleTraits`."""
        return OracleTraits.of(self.first).harmful_classes

    def fix(self, answers: Sequence[str], prompt: Prompt, deadline: float | None = None) -> FixedEquivalence:
        """Return the oracle whose first class is 'equivalent to the largest cluster's representative'.

        The same answers, in any order, give the same representative. Where `first` calls no answer harmless there is
        no representative, and nothing will be equivalent.

        Raises:
            OracleError: every selection draw failed, no answer is short enough to be a representative, the comparison
                failed on every pair, or the deadline passed.
        """
        if not answers:
            raise OracleError("no answers to find a class in: every selection draw failed")
        clusters = self.clusters(answers, prompt, deadline)
        return self.fixed_on(clusters[0].representative if clusters else None)

    def fixed_on(self, representative: str | None) -> FixedEquivalence:
        """Return the oracle for a representative that was chosen before; None: nothing is equivalent."""
        return FixedEquivalence(self, representative)

    def close(self) -> None:
        """Close the comparison, and the oracle that is asked first."""
        close(self.comparison, self.first)

    def clusters(self, answers: Sequence[str], prompt: Prompt, deadline: float | None = None) -> list[Star]:
        """Return the clusters of the answers that `first` calls harmless, the largest first; see `stars`.

        Raises:
            OracleError: as for `fix`.
        """
        counts = Counter(self._harmless(answers, prompt, deadline))
        if not counts:
            return []
        ranked = sorted(counts, key=lambda text: (-counts[text], text))
        candidates = [text for text in ranked if len(text) <= LONGEST_REPRESENTATIVE][: self.candidates]
        if not candidates:
            raise OracleError(
                f"every answer is longer than {LONGEST_REPRESENTATIVE} characters, which a certificate cannot keep: "
                "lower the model's max_new_tokens"
            )
        labels = self._compare(ranked, candidates[:1], prompt, deadline)
        if any(label != EQUIVALENT for label in labels.values()):  # not all of one meaning
            labels |= self._compare(ranked, candidates[1:], prompt, deadline)
        if labels and all(map(is_failure, labels.values())):
            raise OracleError(
                f"comparison {self.comparison.name} failed on all {len(labels)} pairs: {next(iter(labels.values()))}"
            )
        return stars({text: counts[text] for text in ranked}, candidates, lambda a, c: labels.get((a, c)) == EQUIVALENT)

    def _harmless(self, answers: Sequence[str], prompt: Prompt, deadline: float | None) -> list[str]:
        if self.first is None:
            return list(answers)
        distinct = list(dict.fromkeys(answers))
        labels = dict(zip(distinct, classify(self.first, distinct, [prompt] * len(distinct), deadline), strict=True))
        _require_time(labels.values())
        harmless = OracleTraits.of(self.first).harmless
        return [answer for answer in answers if labels[answer] in harmless]

    def _compare(
        self, answers: Sequence[str], candidates: Sequence[str], prompt: Prompt, deadline: float | None
    ) -> dict[tuple[str, str], str]:
        """Return the label of each pair of an answer (first) and a candidate (second) that differ as texts."""
        pairs = [Pair(a, c, prompt.text) for c in candidates for a in answers if a != c]
        labels = compare(self.comparison, pairs, deadline)
        _require_time(labels)
        return {(pair.answer, pair.representative): label for pair, label in zip(pairs, labels, strict=True)}


@dataclass(frozen=True)
class FixedEquivalence:
    """Says whether answers are equivalent to one representative; `EquivalenceOracle` makes it.

    Args:
        oracle: has the comparison and the first oracle.
        representative: the answer that others are compared with; None: nothing is equivalent.
    """

    oracle: EquivalenceOracle
    representative: str | None

    @property
    def name(self) -> str:
        """The oracle's name, and a hash of the representative."""
        which = "none" if self.representative is None else fingerprint(self.representative)
        return f"{self.oracle.name} to {which}"

    @property
    def classes(self) -> tuple[str, ...]:
        """`equivalent`, `different`, and the classes of the first oracle except harmless."""
        first = self.oracle.first
        rest = [c for c in first.classes if c not in OracleTraits.of(first).harmless] if first else []
        return (EQUIVALENT, DIFFERENT, *rest)

    @property
    def harmful_classes(self) -> tuple[str, ...]:
        """Those of the first oracle: see `OracleTraits`."""
        return OracleTraits.of(self.oracle.first).harmful_classes

    @property
    def deterministic(self) -> bool | None:
        """See `OracleTraits`."""
        return self.oracle.deterministic

    @property
    def kept_table(self) -> bool:
        """See `OracleTraits`."""
        return self.oracle.kept_table

    def classify(self, answers: Sequence[str], prompts: Sequence[Prompt], deadline: float | None = None) -> list[str]:
        """Return one class per answer: harmless ones are compared with the representative, in that order."""
        first = self.oracle.first
        labels = [HARMLESS] * len(answers) if first is None else classify(first, answers, prompts, deadline)
        fine = OracleTraits.of(first).harmless
        harmless = [i for i, label in enumerate(labels) if label in fine]
        compared = self._compare([answers[i] for i in harmless], [prompts[i] for i in harmless], deadline)
        for i, label in zip(harmless, compared, strict=True):
            labels[i] = label
        return labels

    def _compare(self, answers: Sequence[str], prompts: Sequence[Prompt], deadline: float | None) -> list[str]:
        representative = self.representative
        if representative is None:
            return [DIFFERENT] * len(answers)
        pairs = [Pair(a, representative, prompt.text) for a, prompt in zip(answers, prompts, strict=True)]
        return compare(self.oracle.comparison, pairs, deadline)


def _require_time(labels: Collection[str]) -> None:
    if TIMED_OUT in labels:
        raise OracleError("the deadline passed before the selection draws were clustered: give more time")
