"""What a bound on the oracle's verdict says about the true one.

Counting draws bounds `q`, the probability that the oracle *says* A. The claim we want is about `p`, the probability
that the answer *is* A. A model of the oracle's errors leads from one to the other; without one there is no statement
about `p` at all. With `a = P(oracle says A | answer is not A)` and `b = P(oracle does not say A | answer is A)`, over
the draws of one request,

    q = p·(1 − b) + (1 − p)·a .

The symmetric models are Theorems 4.1 and 4.2 of the paper (arXiv 2509.16088). Each model is conservative in one
direction of each rate, and the names of the rates say which: `_lower` and `_upper` are bounds. Draws that failed count
as 'the oracle did not say A', which is conservative in every model.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterable, Sequence
from typing import Annotated, ClassVar, Literal, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from guardrail.errors import GuardrailError
from guardrail.statistics.clopper_pearson import clopper_pearson_lower, clopper_pearson_upper

__all__ = [
    "ClassConditionalError",
    "ContradictedAssumptionError",
    "Derivation",
    "ImpossibleRateError",
    "LabelledAnswers",
    "OracleError",
    "SymmetricError",
    "UnknownSymmetricError",
    "WorstCaseError",
    "labels_needed",
    "request_id",
]


_LAST_DIGITS = 1e-9
"""By which bounds may differ that were computed by two versions of a library."""


class ImpossibleRateError(GuardrailError, ValueError):
    """Error rates under which nothing can be certified, or labels too few to bound them."""


class ContradictedAssumptionError(GuardrailError, ValueError):
    """The draws, or how they were judged, contradict the error model that was assumed: no certificate."""


class LabelledAnswer(NamedTuple):
    """One judged answer, with the truth beside the oracle's word."""

    request: Hashable
    """Identifies the request that was answered: see `request_id`."""
    truth: str
    """Class of the answer, by a label that is taken to be true."""
    judged: str | None
    """Class the oracle gave it; `failed`, `failed: why` or None for a judgement that failed."""

    @property
    def failed(self) -> bool:
        """Whether the judgement failed."""
        return self.judged is None or self.judged == "failed" or self.judged.startswith("failed: ")


class LabelledAnswers(BaseModel):
    """Counts of independent labelled answers, one per request, and where they come from.

    They bound the average error rate of the population of requests they came from. That this rate also holds for the
    request at hand is an assumption (*transfer*) that no error probability covers, and an attacker picks requests where
    the oracle errs. So the record stays with the model, and with the certificate.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    certified_class: str
    """The class A, or the cell."""
    said_a_is_a: int = Field(ge=0)
    """Answers that are A and were called A."""
    said_a_is_other: int = Field(ge=0)
    """Answers that are not A but were called A."""
    said_other_is_a: int = Field(ge=0)
    """Answers that are A but were not called A."""
    said_other_is_other: int = Field(ge=0)
    """Answers that are not A and were not called A."""
    failed_is_a: int = Field(default=0, ge=0)
    """Those of `said_other_is_a` on which the judgement failed. No lower bound on a rate counts them: where fewer
    judgements fail in use, it would claim too much."""
    population: str = Field(min_length=1)
    """What requests the answers were drawn from."""
    vlm: str = Field(min_length=1)
    """The model that gave the answers."""
    oracle: str | None = None
    """Name of the oracle that judged them; without it they serve no certificate, which is about an oracle by name."""
    labels_sha256: str = Field(pattern="^[0-9a-f]{64}$")
    """Hash of the labelled answers, 64 hexadecimal digits."""
    held_out: bool
    """The answers had no part in choosing the oracle, its threshold, or the error model."""

    @model_validator(mode="after")
    def _failed_are_missed(self) -> Self:
        if self.failed_is_a > self.said_other_is_a:
            raise ValueError(
                f"failed_is_a {self.failed_is_a} are part of said_other_is_a, which is {self.said_other_is_a}"
            )
        return self

    @classmethod
    def count(
        cls,
        answers: Iterable[LabelledAnswer | tuple[Hashable, str, str | None]],
        certified_class: str | Sequence[str],
        *,
        population: str,
        vlm: str,
        held_out: bool,
        oracle: str | None = None,
    ) -> Self:
        """Count answers, at most one per request: answers to the same request are not independent.

        Args:
            answers: triples of request, true class and judged class; of a judgement that failed, `failed`,
                `failed: why` or None, and it counts as not called A. Requests are told apart by `request_id`.
            certified_class: the class A; or the members of a cell, whose errors are those that leave it.
            population: what requests they were drawn from.
            vlm: the model that answered.
            held_out: whether they had no part in choosing the oracle, its threshold, or the error model.
            oracle: name of the oracle that judged; certificates take no labels without it.

        Raises:
            ValueError: two answers to one request.
        """
        rows = [LabelledAnswer(*answer) for answer in answers]
        requests = [request_id(row.request) for row in rows]
        if len(set(requests)) < len(rows):
            raise ValueError(
                f"{len(rows)} answers to {len(set(requests))} requests: answers to one request are not "
                "independent; keep one per request, chosen before it is labelled (the first draw, say)"
            )
        a = (certified_class,) if isinstance(certified_class, str) else tuple(certified_class)
        cells = [(row.judged in a, row.truth in a) for row in rows]
        texts = ([request, row.truth, row.judged or "failed"] for request, row in zip(requests, rows, strict=True))
        canonical = json.dumps(sorted(texts))
        return cls(
            certified_class=cell_name(a),
            said_a_is_a=cells.count((True, True)),
            said_a_is_other=cells.count((True, False)),
            said_other_is_a=cells.count((False, True)),
            said_other_is_other=cells.count((False, False)),
            failed_is_a=sum(row.failed and row.truth in a for row in rows),
            population=population,
            vlm=vlm,
            oracle=oracle,
            labels_sha256=hashlib.sha256(canonical.encode()).hexdigest(),
            held_out=held_out,
        )

    @property
    def requests(self) -> int:
        """Number of labelled answers, each to its own request."""
        return self.are_a + self.are_other

    @property
    def are_a(self) -> int:
        """Answers that are A, whatever the oracle said."""
        return self.said_a_is_a + self.said_other_is_a

    @property
    def are_other(self) -> int:
        """Answers that are not A, whatever the oracle said."""
        return self.said_a_is_other + self.said_other_is_other


class _ErrorModel(BaseModel, ABC):
    """A model of the oracle's errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    assumes_independence: ClassVar[bool]
    """Whether errors must be independent over the draws, which judgements remembered per answer are not."""

    alpha_oracle: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Probability that the rates are no bounds, spent when they were estimated; 0 if they are asserted. A certificate's
    error probability is that of its draws plus this. It is one coin for all certificates that use the same labels, not
    a fresh one for each."""
    labels: LabelledAnswers | None = None
    """The labelled answers the rates were estimated from; None if they are asserted."""

    @model_validator(mode="after")
    def _estimates_spend(self) -> Self:
        if self.labels is not None and self.alpha_oracle == 0.0:
            raise ValueError(
                "rates estimated from labels are bounds with probability below 1: alpha_oracle must be > 0"
            )
        if self.labels is not None and not self._follows_from(self.labels):
            raise ValueError(f"{self.name} claims more than its labels show: use from_labelled")
        return self

    def _follows_from(self, labels: LabelledAnswers) -> bool:  # noqa: ARG002
        """Whether labels bound the rates as they are stated, or better."""
        return True

    @property
    @abstractmethod
    def name(self) -> str:
        """Stable name with the rates."""

    @property
    @abstractmethod
    def assumption(self) -> str:
        """What is taken to be true, in a sentence, for the certificate."""

    @property
    def about(self) -> str | None:
        """The class that the rates are about; None: whichever class is certified."""
        return self.labels.certified_class if self.labels is not None else None

    @property
    def measured_on(self) -> str | None:
        """Name of the oracle that the rates are about; None leaves unchecked that it is the one in use."""
        return self.labels.oracle if self.labels is not None else None

    @property
    def rests_on(self) -> tuple[LabelledAnswers, ...]:
        """All labelled answers that the rates were estimated from."""
        return (self.labels,) if self.labels is not None else ()

    @property
    def asserted(self) -> bool:
        """Whether a rate is the caller's word, and no measurement."""
        return self.labels is None

    def elsewhere(self, vlm: str, population: str | None) -> str | None:
        """Say in what the labels are of another model or population than the certificates.

        Args:
            vlm: name of the model that certificates are about.
            population: what their requests are drawn from, in the labels' words; None: nobody says.

        Returns:
            The differences in words; None where there are none.
        """
        models = dict.fromkeys(labels.vlm for labels in self.rests_on if labels.vlm != vlm)
        populations = dict.fromkeys(labels.population for labels in self.rests_on if labels.population != population)
        said = []
        if models:
            said.append(f"answers of {', '.join(map(repr, models))}, where this model is {vlm!r}")
        if populations:
            here = "not said" if population is None else repr(population)
            said.append(f"population {', '.join(map(repr, populations))}, where that of these requests is {here}")
        return ", and on ".join(said) or None

    @property
    def transfer(self) -> str | None:
        """What is assumed when labels from elsewhere are used for this request; None if no labels are."""
        if self.labels is None:
            return None
        return (
            f"the oracle's error rates on this request are within bounds found on {self.labels.requests} requests "
            f"of population '{self.labels.population}', answered by {self.labels.vlm} "
            f"(labels sha256 {self.labels.labels_sha256})"
        )

    def correct(self, q_lower: float) -> float:
        """Lower bound on `p`, the probability that an answer *is* A, from one on the probability that it is *called* A.

        Args:
            q_lower: lower bound on `q`, in [0, 1).

        Returns:
            The bound, in [0, 1), non-decreasing in `q_lower`; 0 where the model says nothing.

        Raises:
            ContradictedAssumptionError: no `p` gives so large a `q` under this model.
            ValueError: `q_lower` outside [0, 1).
        """
        if not 0.0 <= q_lower < 1.0:
            raise ValueError(f"q_lower must lie in [0, 1), got {q_lower}")
        if q_lower > self._largest_q:
            raise ContradictedAssumptionError(
                f"the draws show that the oracle says the certified class with probability at least {q_lower:.6g}, but "
                f"{self.name} allows at most {self._largest_q:.6g}: the error model does not hold for this request"
            )
        # Below 1, so that the radius is finite: reached only where q_lower sits on the edge of a contradiction.
        return min(max(self._correct(q_lower), 0.0), math.nextafter(1.0, 0.0))

    @property
    def _largest_q(self) -> float:
        """`1 − b`: the model implies `q ≤ 1 − b`, and a bound above it is a contradiction, not a `p` of 1."""
        return 1.0

    @abstractmethod
    def _correct(self, q_lower: float) -> float: ...

    def required_q(self, target: float) -> float:
        """Smallest `q_lower` that brings both it and the bound on `p` to the target: the inverse of `correct`.

        Args:
            target: a probability in [1/2, 1).

        Returns:
            A value of at least `target`; 1 where no `q_lower` suffices without contradicting the model.

        Raises:
            ValueError: `target` outside [1/2, 1).
        """
        if not 0.5 <= target < 1.0:
            raise ValueError(f"a target for a majority lies in [1/2, 1), got {target}")
        required = max(target, self._required_q(target))
        return required if required <= self._largest_q else 1.0

    @abstractmethod
    def _required_q(self, target: float) -> float: ...

    def require_judgements(self, *, remembered: bool) -> None:
        """Refuse judgements that the model does not cover.

        An oracle that is asked once per distinct answer leaves the draws independent and the bound on `q` exact, but
        fixes its errors per answer. If one answer makes up all draws and the judge is wrong on it, every vote is wrong.

        Args:
            remembered: whether equal answers may get one judgement, by a table or by a judge that is, or may be, a
                function.

        Raises:
            ContradictedAssumptionError: they may, and the model assumes that errors are independent.
        """
        if remembered and self.assumes_independence:
            raise ContradictedAssumptionError(
                f"{self.name} assumes errors that are independent over the draws, but equal answers get one judgement, "
                "or nobody says that they do not: use WorstCaseError, or a judge that samples each time and says so "
                "(`deterministic = False`; JudgeOracle(afresh=True))"
            )


class UnknownSymmetricError(_ErrorModel):
    """Symmetric flips at an unknown rate ε < 1/2: then `p ≥ q` for `q > 1/2` (Theorem 4.2).

    Only for an oracle that *is* symmetric. With errors in one direction, `b = 0 < a`, the truth is `p < q`, and not
    having measured an oracle does not make it symmetric: a list of refusal phrases, on real answers, erred on 69 % of
    the refusals and on 2.4 % of the compliances. Leave the oracle error unset if that is what you know.
    """

    kind: Literal["unknown_symmetric"] = "unknown_symmetric"
    assumes_independence: ClassVar[bool] = True

    @model_validator(mode="after")
    def _asserted(self) -> Self:
        if self.alpha_oracle != 0.0 or self.labels is not None:
            raise ValueError(
                "an unknown symmetric error is asserted, not estimated: it takes no labels and spends no alpha_oracle; "
                "use SymmetricError.from_labelled or WorstCaseError.from_labelled"
            )
        return self

    @property
    def name(self) -> str:
        """`unknown_symmetric`."""
        return self.kind

    @property
    def assumption(self) -> str:
        """What is taken to be true."""
        return (
            "the oracle flips the class of any answer with one unknown probability below 1/2, "
            "independent of all else (asserted, not measured)"
        )

    def _correct(self, q_lower: float) -> float:
        return _at_majority(q_lower, q_lower)

    def _required_q(self, target: float) -> float:
        return target


class SymmetricError(_ErrorModel):
    """The oracle flips any answer's class with probability ε, independent of all else (Theorem 4.1).

    Then `p = (q − ε)/(1 − 2ε)`, which for `q > 1/2` *grows* with ε: an over-estimated ε claims too much, so the rate is
    bounded from below.
    """

    kind: Literal["symmetric"] = "symmetric"
    assumes_independence: ClassVar[bool] = True

    rate_lower: float = Field(ge=0.0)
    """Lower bound on ε, in [0, 1/2)."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if not self.rate_lower < 0.5:
            raise ImpossibleRateError(
                f"an oracle that flips at least {self.rate_lower} of the answers tells nothing about them: "
                "rate_lower must be below 1/2; use a better oracle"
            )
        return self

    @classmethod
    def from_labelled(cls, labels: LabelledAnswers, alpha_oracle: float) -> Self:
        """Bound ε from below by the errors among all labelled answers; a judgement that failed is none.

        Args:
            labels: independent held-out answers, one per request.
            alpha_oracle: probability that the bound is wrong, in (0, 1).

        Raises:
            ImpossibleRateError: labels that are not held out or none at all, or a rate of 1/2 or more.
        """
        errors = labels.said_a_is_other + labels.said_other_is_a - labels.failed_is_a
        _require_labels(labels, labels.requests, "answers")
        rate = clopper_pearson_lower(errors, labels.requests, alpha_oracle)
        if rate >= 0.5:
            raise ImpossibleRateError(
                f"{errors} errors on {labels.requests} labelled answers: the oracle flips at least {rate:.4f} of them, "
                "which must be below 1/2; use a better oracle"
            )
        return cls(rate_lower=rate, alpha_oracle=alpha_oracle, labels=labels)

    def _follows_from(self, labels: LabelledAnswers) -> bool:
        errors = labels.said_a_is_other + labels.said_other_is_a - labels.failed_is_a
        return self.rate_lower <= clopper_pearson_lower(errors, labels.requests, self.alpha_oracle) + _LAST_DIGITS

    @property
    def name(self) -> str:
        """For example `symmetric(rate≥0.1)`."""
        return f"symmetric(rate≥{self.rate_lower!r})"

    @property
    def assumption(self) -> str:
        """What is taken to be true."""
        return (
            "the oracle flips the class of any answer with one probability, independent of all else, "
            f"at least {self.rate_lower:g} and below 1/2" + _source(self)
        )

    @property
    def _largest_q(self) -> float:
        return 1.0 - self.rate_lower

    def _correct(self, q_lower: float) -> float:
        return _at_majority(q_lower, (q_lower - self.rate_lower) / (1.0 - 2.0 * self.rate_lower))

    def _required_q(self, target: float) -> float:
        return target  # above 1/2, p ≥ q


class ClassConditionalError(_ErrorModel):
    """The oracle errs at one rate on answers that are not A, at another on answers that are.

    Then `p = (q − a)/(1 − a − b)`, which falls with a and grows with b: a is bounded from above, b from below. `b = 0`
    is always valid.
    """

    kind: Literal["class_conditional"] = "class_conditional"
    assumes_independence: ClassVar[bool] = True

    false_a_upper: float = Field(ge=0.0, le=1.0)
    """Upper bound on `a = P(oracle says A | answer is not A)`, in [0, 1)."""
    missed_a_lower: float = Field(default=0.0, ge=0.0, le=1.0)
    """Lower bound on `b = P(oracle does not say A | answer is A)`, in [0, 1); their sum is below 1."""
    certified_class: str | None = None
    """The class A that asserted rates are about; a and b change roles between two classes, so it must be given where
    more than one class is tested. Of estimated rates, the labels say it."""

    @property
    def about(self) -> str | None:
        """The class that the rates are about."""
        return super().about or self.certified_class

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if not self.false_a_upper + self.missed_a_lower < 1.0:
            raise ImpossibleRateError(
                f"false_a_upper {self.false_a_upper} and missed_a_lower {self.missed_a_lower} sum to 1 or more: such "
                "an oracle may call an answer A as often when it is not; label more answers, or use a better oracle"
            )
        return self

    @classmethod
    def from_labelled(cls, labels: LabelledAnswers, alpha_oracle: float, *, estimate_missed: bool = False) -> Self:
        """Bound a by the answers that *are not* A (never by those the oracle called A), and b by those that are.

        Args:
            labels: independent held-out answers, one per request.
            alpha_oracle: probability that a bound is wrong, in (0, 1), for each of the rates that are estimated.
            estimate_missed: also bound b, for another `alpha_oracle`; otherwise it is 0. A judgement that failed counts
                as no miss.

        Raises:
            ImpossibleRateError: labels that are not held out, none in a class, or rates that sum to 1 or more.
        """
        _require_labels(labels, labels.are_other, f"answers that are not '{labels.certified_class}'")
        a = clopper_pearson_upper(labels.said_a_is_other, labels.are_other, alpha_oracle)
        b = 0.0
        if estimate_missed:
            _require_labels(labels, labels.are_a, f"answers that are '{labels.certified_class}'")
            b = clopper_pearson_lower(labels.said_other_is_a - labels.failed_is_a, labels.are_a, alpha_oracle)
        if a + b >= 1.0:
            raise ImpossibleRateError(
                f"the oracle said '{labels.certified_class}' on {labels.said_a_is_other} of {labels.are_other} answers "
                f"that are not: a may be {a:.4f}, b is at least {b:.4f}, and they must sum to less than 1. "
                + _remedy(labels.said_a_is_other, labels.are_other, alpha_oracle, 1.0 - b)
            )
        spent = alpha_oracle * (2 if estimate_missed else 1)
        return cls(false_a_upper=a, missed_a_lower=b, alpha_oracle=spent, labels=labels)

    def _follows_from(self, labels: LabelledAnswers) -> bool:
        each, missed = (
            self.alpha_oracle / (2 if self.missed_a_lower else 1),
            labels.said_other_is_a - labels.failed_is_a,
        )
        a = clopper_pearson_upper(labels.said_a_is_other, labels.are_other, each) if labels.are_other else 1.0
        b = clopper_pearson_lower(missed, labels.are_a, each) if labels.are_a else 0.0
        return self.false_a_upper >= a - _LAST_DIGITS and self.missed_a_lower <= b + _LAST_DIGITS

    @property
    def name(self) -> str:
        """For example `class_conditional(false_a≤0.1, missed_a≥0.0)`."""
        return f"class_conditional(false_a≤{self.false_a_upper!r}, missed_a≥{self.missed_a_lower!r})"

    @property
    def assumption(self) -> str:
        """What is taken to be true."""
        return (
            "on the draws of this request, independently over them, the oracle gives the certified class to answers "
            f"that are not of it with probability at most {self.false_a_upper:g}, and misses answers that are with "
            f"probability at least {self.missed_a_lower:g}" + _source(self)
        )

    @property
    def _largest_q(self) -> float:
        return 1.0 - self.missed_a_lower

    def _correct(self, q_lower: float) -> float:
        a, b = self.false_a_upper, self.missed_a_lower
        # If the true a + b were 1 or more, q would not exceed the true a, so this could not be positive.
        return (q_lower - a) / (1.0 - a - b)

    def _required_q(self, target: float) -> float:
        return self.false_a_upper + target * (1.0 - self.false_a_upper - self.missed_a_lower)


class Derivation(BaseModel):
    """How a rate follows from the rates of other oracles, of which the one it is about is made."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    oracle: str
    """Name of the oracle that the derived rate is about."""
    certified_class: str
    """The class A."""
    rule: str
    """The derivation, in words."""
    assumption: str | None = None
    """What it takes to be true beyond the rates it starts from; None: nothing."""
    members: tuple[WorstCaseError | ClassConditionalError, ...] = Field(min_length=1)
    """The error models it starts from, with their labels."""


class WorstCaseError(_ErrorModel):
    """`P[oracle says A and the answer is not A] ≤ ε` over one draw, whatever the pattern over answers: `p ≥ q − ε`.

    The default once an error rate is bounded, and the only model that covers remembered judgements.
    """

    kind: Literal["worst_case"] = "worst_case"
    assumes_independence: ClassVar[bool] = False

    rate_upper: float = Field(ge=0.0)
    """Upper bound on ε, in [0, 1/2)."""
    derivation: Derivation | None = None
    """Where the rate comes from if it was derived from other oracles' rates; None: it was not."""

    @model_validator(mode="after")
    def _members_spend(self) -> Self:
        if self.derivation is not None:
            spent = math.fsum(member.alpha_oracle for member in self.derivation.members)
            if self.labels is not None or self.alpha_oracle < spent:
                raise ValueError(
                    f"a derived rate has its members' labels, not its own, and spends what they spent: {spent}"
                )
        return self

    @property
    def about(self) -> str | None:
        """The class that the rate is about; None: whichever class is certified."""
        return self.derivation.certified_class if self.derivation is not None else super().about

    @property
    def measured_on(self) -> str | None:
        """Name of the oracle that the rate is about; None leaves unchecked that it is the one in use."""
        return self.derivation.oracle if self.derivation is not None else super().measured_on

    @property
    def rests_on(self) -> tuple[LabelledAnswers, ...]:
        """All labelled answers that the rate was estimated from, its members' where it was derived."""
        if self.derivation is None:
            return super().rests_on
        return tuple(labels for member in self.derivation.members for labels in member.rests_on)

    @property
    def asserted(self) -> bool:
        """Whether a rate is the caller's word, and no measurement; one of a member's suffices."""
        if self.derivation is None:
            return super().asserted
        return any(member.asserted for member in self.derivation.members)

    @property
    def transfer(self) -> str | None:
        """What is assumed when labels from elsewhere are used for this request; None if no labels are."""
        if self.derivation is None:
            return super().transfer
        return "; ".join(filter(None, (member.transfer for member in self.derivation.members))) or None

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if not self.rate_upper < 0.5:
            raise ImpossibleRateError(
                f"if up to {self.rate_upper} of the draws may be called the certified class wrongly, no majority can "
                "be certified: rate_upper must be below 1/2; label more answers, or use a better oracle"
            )
        return self

    @classmethod
    def from_labelled(cls, labels: LabelledAnswers, alpha_oracle: float) -> Self:
        """Bound ε by the answers called A that are not, among *all* labelled answers.

        Args:
            labels: independent held-out answers, one per request.
            alpha_oracle: probability that the bound is wrong, in (0, 1).

        Raises:
            ImpossibleRateError: labels that are not held out or none at all, or a bound of 1/2 or more.
        """
        _require_labels(labels, labels.requests, "answers")
        rate = clopper_pearson_upper(labels.said_a_is_other, labels.requests, alpha_oracle)
        if rate >= 0.5:
            raise ImpossibleRateError(
                f"the oracle wrongly said '{labels.certified_class}' on {labels.said_a_is_other} of {labels.requests} "
                f"labelled answers: the rate may be {rate:.4f}, and must be below 1/2. "
                + _remedy(labels.said_a_is_other, labels.requests, alpha_oracle, 0.5)
            )
        return cls(rate_upper=rate, alpha_oracle=alpha_oracle, labels=labels)

    def _follows_from(self, labels: LabelledAnswers) -> bool:
        rate = clopper_pearson_upper(labels.said_a_is_other, labels.requests, self.alpha_oracle)
        return self.rate_upper >= rate - _LAST_DIGITS

    @property
    def name(self) -> str:
        """For example `worst_case(rate≤0.1)`."""
        return f"worst_case(rate≤{self.rate_upper!r})"

    @property
    def assumption(self) -> str:
        """What is taken to be true."""
        return (
            "over a draw of this request, the oracle gives the certified class to an answer that is not of it with "
            f"probability at most {self.rate_upper:g}, whatever the pattern over answers"
            + _source(self)
            + (f" (derived: {self.derivation.rule})" if self.derivation is not None else "")
            + (f"; and that {self.derivation.assumption}" if self.derivation and self.derivation.assumption else "")
        )

    def _correct(self, q_lower: float) -> float:
        return q_lower - self.rate_upper

    def _required_q(self, target: float) -> float:
        return target + self.rate_upper


Derivation.model_rebuild()
WorstCaseError.model_rebuild()

OracleError = Annotated[
    UnknownSymmetricError | SymmetricError | ClassConditionalError | WorstCaseError, Field(discriminator="kind")
]
"""Any of the error models. None in its place means that the oracle is not measured: no statement about `p`."""


_WHOLE = re.compile(r"([+-]?\d+)\.0*")


def cell_name(members: Sequence[str]) -> str:
    """Return the name of classes that are certified as one."""
    return " or ".join(members)


def request_id(request: Hashable) -> str:
    """Return what tells requests apart, so that one request that was written in two ways counts once.

    `1`, `'1'`, `1.0` and `' 1'` are one request, as they are after a table has been read by another program; so are
    tuples of such. What is missing (None, NaN) is the same request everywhere.
    """
    if isinstance(request, tuple):
        return json.dumps([request_id(part) for part in request])
    if isinstance(request, bytes):
        request = request.decode("utf-8", "backslashreplace")
    if isinstance(request, bool | float) and math.isfinite(request) and request == int(request):
        request = int(request)
    text = unicodedata.normalize("NFC", str(request)).strip()
    whole = _WHOLE.fullmatch(text)
    return whole[1] if whole else text


def _source(error: _ErrorModel) -> str:
    return " (asserted, not measured)" if error.asserted else ""


def _at_majority(q_lower: float, p_lower: float) -> float:
    """Theorems 4.1 and 4.2 speak of q ≥ 1/2. Below, flips may have made every vote (ε = q, p = 0): no statement."""
    return p_lower if q_lower >= 0.5 else 0.0


def _require_labels(labels: LabelledAnswers, number: int, what: str) -> None:
    if not labels.held_out:
        raise ImpossibleRateError(
            "the labelled answers also chose the oracle, its threshold or the error model, so their error rate is too "
            "kind: label answers that had no part in the choice"
        )
    if number == 0:
        raise ImpossibleRateError(f"there are no labelled {what}: an error rate cannot be bounded without them")


def labels_needed(errors: int, answers: int, alpha: float, limit: float = 0.5) -> int | None:
    """Say how many labelled answers would bring the upper bound on an error rate below a limit, at the observed rate.

    Args:
        errors: wrong ones among the labelled answers, at least 0.
        answers: labelled answers so far; 0: none yet, and no error is assumed.
        alpha: error probability of the bound, in (0, 1).
        limit: what the bound must be below, in (0, 1].

    Returns:
        About the smallest number, at least `answers`; None: no number does at this rate.
    """
    if answers and errors >= limit * answers:
        return None
    rate, enough = errors / max(answers, 1), max(answers, 1)
    while clopper_pearson_upper(math.ceil(rate * enough - 1e-9), enough, alpha) >= limit:
        enough += max(1, enough // 64)
    return enough


def _remedy(errors: int, answers: int, alpha: float, limit: float) -> str:
    enough = labels_needed(errors, answers, alpha, limit)
    if enough is None:
        return "No number of labels helps at this rate: use a better oracle"
    return f"At the observed rate, about {enough} labelled answers of this kind would do"
