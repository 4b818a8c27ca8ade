"""Semantically equivalent answers: the class is found on the selection draws, and estimated on fresh ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

from guardrail.errors import ConfigurationError, OracleError
from guardrail.models.base import close
from guardrail.oracles.base import HARMLESS, TIMED_OUT, Oracle, classify, is_failure, judges_afresh
from guardrail.oracles.meaning.clustering import Star, stars
from guardrail.oracles.text import fingerprint
from guardrail.prompts import Prompt

EQUIVALENT = "equivalent"
DIFFERENT = "different"
LONGEST_REPRESENTATIVE = 8_000
"""Characters of a representative; a certificate carries it."""


class Pair(NamedTuple):
    """Two answers to one question. The order matters: a judge need not be symmetric."""

    answer: str
    """What is judged."""
    representative: str
    """What it is compared with."""
    question: str = ""
    """The text that both answer, for judges that read it."""


@runtime_checkable
class EquivalenceJudge(Protocol):
    """Says of pairs of answers whether the first means the same as the second. It need not be transitive."""

    @property
    def name(self) -> str:
        """All that a judgement depends on: kind, model, threshold or rubric."""

    def judge(self, pairs: Sequence[Pair], deadline: float | None = None) -> list[str]:
        """Return one label per pair: `equivalent` or `different`; for a judgement that failed, `failed: why`.

        Args:
            pairs: any number; `ask` leaves out repetitions.
            deadline: `time.monotonic()` after which judgements not yet begun fail with `TIMED_OUT`.

        Raises:
            OracleError: the judge cannot judge at all.
        """


def ask(judge: EquivalenceJudge, pairs: Sequence[Pair], deadline: float | None = None) -> list[str]:
    """Ask a judge, each pair once, and see that it says what it may say.

    An answer that is its representative, character by character, is equivalent to it, unasked. A judge that
    `judges_afresh` is asked about every single pair instead: its errors are to stay independent.

    Raises:
        OracleError: the judge failed as a whole, or said something that is no label.
    """
    known: dict[Pair, str] = {}
    asked = list(pairs)
    if not judges_afresh(judge):
        known = {pair: EQUIVALENT for pair in pairs if pair.answer == pair.representative}
        asked = [pair for pair in dict.fromkeys(pairs) if pair not in known]
    try:
        said = judge.judge(asked, deadline) if asked else []
    except OracleError:
        raise
    except Exception as error:
        raise OracleError(f"judge {judge.name} failed: {type(error).__name__}") from error
    if len(said) != len(asked):
        raise OracleError(f"judge {judge.name} gave {len(said)} labels for {len(asked)} pairs")
    if strange := {label for label in said if label not in {EQUIVALENT, DIFFERENT} and not is_failure(label)}:
        raise OracleError(f"judge {judge.name} said {sorted(strange)}, not {EQUIVALENT!r} or {DIFFERENT!r}")
    if judges_afresh(judge):
        return said
    known.update(zip(asked, said, strict=True))
    return [known[pair] for pair in pairs]


@dataclass(frozen=True)
class EquivalenceOracle:
    """Finds the meaning that most answers share, and says of every further answer whether it has that meaning.

    The selection draws are clustered around representatives; the largest cluster's is fixed, and fresh draws
    estimate P[judge(answer, representative) = equivalent]: a plain Bernoulli, so that the certificate is rigorous
    whatever the clustering did. It promises that answers judged equivalent to *this* representative, which the
    certificate keeps, stay the majority. (The paper's Algorithm 2 counts the draws that it clustered: see
    `guardrail.experiments.algorithm2`.)

    It says nothing about harm: a harmful meaning can be as stable as any, and would be kept and released. For a guard
    of untrusted traffic give `first`, an oracle that knows harm.

    Args:
        judge: says whether an answer means the same as the representative.
        first: is asked before: an answer that it does not call harmless is of the class that it says (`harmful`,
            `illegible`), is never clustered, and never counts as equivalent.
        candidates: most frequent answers of the selection draws among which the representative is chosen. Each is
            compared with every other distinct answer.

    Raises:
        ConfigurationError: no judge, no candidate, or a `first` whose classes cannot stand beside these.
    """

    judge: EquivalenceJudge
    first: Oracle | None = None
    candidates: int = 8

    def __post_init__(self) -> None:
        if not isinstance(self.judge, EquivalenceJudge) or isinstance(self.judge, type):
            raise ConfigurationError(
                f"a judge has name and judge, got {self.judge!r}: use EmbeddingJudge, for instance"
            )
        if self.candidates < 1:
            raise ConfigurationError(f"candidates must be at least 1, got {self.candidates}")
        known = (HARMLESS,) if self.first is None else self.first.classes
        if HARMLESS not in known or {EQUIVALENT, DIFFERENT} & set(known):
            raise ConfigurationError(
                f"the oracle that is asked first says {known}: it must know {HARMLESS!r}, and neither "
                f"{EQUIVALENT!r} nor {DIFFERENT!r}"
            )

    @property
    def name(self) -> str:
        """Kind, a hash of the options, the judge's name, and the name of the oracle that is asked first."""
        after = f" after {self.first.name}" if self.first is not None else ""
        return f"equivalence/{fingerprint('stars 1', self.candidates)} by {self.judge.name}{after}"

    @property
    def judges_afresh(self) -> bool:
        """Whether equal answers are judged independently: as judge and first oracle do."""
        return judges_afresh(self.judge) and (self.first is None or judges_afresh(self.first))

    def fix(self, answers: Sequence[str], prompt: Prompt, deadline: float | None = None) -> FixedEquivalence:
        """Return the oracle whose first class is 'equivalent to the largest cluster's representative'.

        The same answers, in any order, give the same representative. Where `first` leaves no answer, there is none,
        and nothing will be equivalent.

        Raises:
            OracleError: every selection draw failed, no answer is short enough to be a representative, the judge
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
        """Close the judge, and the oracle that is asked first."""
        close(self.judge, self.first)

    def clusters(self, answers: Sequence[str], prompt: Prompt, deadline: float | None = None) -> list[Star]:
        """Return the clusters of the answers that `first` lets through, the largest first; see `stars`.

        Raises:
            OracleError: as `fix`.
        """
        counts = Counter(self._let_through(answers, prompt, deadline))
        if not counts:
            return []
        ranked = sorted(counts, key=lambda text: (-counts[text], text))
        candidates = [text for text in ranked if len(text) <= LONGEST_REPRESENTATIVE][: self.candidates]
        if not candidates:
            raise OracleError(
                f"every answer is longer than {LONGEST_REPRESENTATIVE} characters, which a certificate cannot keep: "
                "lower the model's max_new_tokens"
            )
        said = self._compare(ranked, candidates[:1], prompt, deadline)
        if any(label != EQUIVALENT for label in said.values()):  # not all of one meaning
            said |= self._compare(ranked, candidates[1:], prompt, deadline)
        if said and all(map(is_failure, said.values())):
            raise OracleError(f"judge {self.judge.name} failed on all {len(said)} pairs: {next(iter(said.values()))}")
        return stars({text: counts[text] for text in ranked}, candidates, lambda a, c: said.get((a, c)) == EQUIVALENT)

    def _let_through(self, answers: Sequence[str], prompt: Prompt, deadline: float | None) -> list[str]:
        if self.first is None:
            return list(answers)
        distinct = list(dict.fromkeys(answers))
        labels = dict(zip(distinct, classify(self.first, distinct, [prompt] * len(distinct), deadline), strict=True))
        _require_time(labels.values())
        return [answer for answer in answers if labels[answer] == HARMLESS]

    def _compare(
        self, answers: Sequence[str], candidates: Sequence[str], prompt: Prompt, deadline: float | None
    ) -> dict[tuple[str, str], str]:
        """Return what the judge says of each answer (first) and candidate (second) that are not the same text."""
        pairs = [Pair(a, c, prompt.text) for c in candidates for a in answers if a != c]
        labels = ask(self.judge, pairs, deadline)
        _require_time(labels)
        return {(pair.answer, pair.representative): label for pair, label in zip(pairs, labels, strict=True)}


@dataclass(frozen=True)
class FixedEquivalence:
    """Says whether answers are equivalent to one representative; `EquivalenceOracle` makes it.

    Args:
        oracle: whose judge is asked.
        representative: what answers are compared with; None: nothing is equivalent.
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
        """`equivalent`, `different`, and what the oracle that is asked first says instead of harmless."""
        first = self.oracle.first
        return (EQUIVALENT, DIFFERENT, *(c for c in (first.classes if first else ()) if c != HARMLESS))

    @property
    def judges_afresh(self) -> bool:
        """Whether equal answers are judged independently."""
        return self.oracle.judges_afresh

    def classify(self, answers: Sequence[str], prompts: Sequence[Prompt], deadline: float | None = None) -> list[str]:
        """Return one class per answer; the judge is asked about (answer, representative), in that order."""
        first = self.oracle.first
        labels = [HARMLESS] * len(answers) if first is None else classify(first, answers, prompts, deadline)
        asked = [i for i, label in enumerate(labels) if label == HARMLESS]
        for i, label in zip(
            asked, self._judged([answers[i] for i in asked], [prompts[i] for i in asked], deadline), strict=True
        ):
            labels[i] = label
        return labels

    def _judged(self, answers: Sequence[str], prompts: Sequence[Prompt], deadline: float | None) -> list[str]:
        representative = self.representative
        if representative is None:
            return [DIFFERENT] * len(answers)
        pairs = [Pair(a, representative, prompt.text) for a, prompt in zip(answers, prompts, strict=True)]
        return ask(self.oracle.judge, pairs, deadline)


def _require_time(labels: Collection[str]) -> None:
    if TIMED_OUT in labels:
        raise OracleError("the deadline passed before the selection draws were clustered: give more time")
