"""What is fixed before the first draw that counts: classes under test, their bound, and when to stop."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from guardrail.certify.certificate import StopReason
from guardrail.certify.class_rules import ClassRule, check_meanings, partition
from guardrail.certify.options import Smoothing
from guardrail.errors import ConfigurationError
from guardrail.models.base import ModelTraits, VisionLanguageModel
from guardrail.oracles.base import Oracle, OracleTraits, SelectingOracle, samples
from guardrail.statistics import ClassConditionalError, FixedSample, LowerBound, predictive_probability

LARGEST_SEQUENCE = 2_000
"""Largest budget with early stopping: the table of its bound grows with the budget's square (seconds at this size)."""


@dataclass(frozen=True)
class Design:
    """A test of one or several classes, and its stopping rule. Stopping at any look is sound at the bound's looks."""

    rule: ClassRule
    bound: LowerBound
    needed: dict[str, float] | None
    """The lower bound on q at which each class has the target radius; None: there is no target."""
    futility: float

    @classmethod
    def of(cls, smoothing: Smoothing, rule: ClassRule, target: float | None) -> Design:
        """Choose the bound: a sequence only where there is something to stop for.

        That is a target which the sequence reaches when all draws agree; beyond it, the fixed sample reaches further.

        Raises:
            ConfigurationError: more draws than a sequence is tabulated for.
        """
        needed = None if target is None else {c: smoothing.required_q(c, target) for c in rule.tested}
        bound: LowerBound = FixedSample(smoothing.samples, rule.alpha, rule.partition)
        if smoothing.method == "sequential" and needed is not None:
            if smoothing.samples > LARGEST_SEQUENCE:
                raise ConfigurationError(
                    f"early stopping is tabulated up to samples={LARGEST_SEQUENCE}, got {smoothing.samples}: "
                    "lower samples, or use method='fixed'"
                )
            sequence = smoothing.sequence(rule.alpha, rule.partition)
            last = sequence.looks[-1]
            if any(sequence.required_count(q, last) <= last for q in needed.values()):
                bound = sequence
        return cls(rule, bound, needed, smoothing.futility)

    def stop(self, counts: Counter[str], look: int) -> StopReason | None:
        """Say whether to stop at this look: certified, or hopeless."""
        if self.needed is None:
            return None
        votes = {c: self.rule.count(counts, c) for c in self.needed}
        if any(votes[c] >= self.bound.required_count(q, look) for c, q in self.needed.items()):
            return "target"
        if look == self.bound.looks[-1]:
            return None
        chances = (predictive_probability(self.bound, q, votes[c], look) for c, q in self.needed.items())
        return "futility" if max(chances) < self.futility else None


def unreachable_target(smoothing: Smoothing, rule: ClassRule | None, target: float | None) -> str | None:
    """Say that no certificate reaches this target, so that each costs all draws; None: one does if all agree."""
    rule = rule or ClassRule({"selected": ()}, smoothing.alpha_draws, "a class yet to be selected")
    if target is None or smoothing.method == "fixed":
        return None
    if not isinstance(Design.of(smoothing, rule, target).bound, FixedSample):
        return None
    return (
        f"a target radius of {target:g} cannot be certified with {smoothing.samples} draws at sigma "
        f"{smoothing.sigma:g}: each certificate costs all draws; lower the target, or raise samples or sigma"
    )


def check_parts(model: object, oracle: object) -> None:
    """Refuse what is no model, or no oracle.

    Raises:
        ConfigurationError: as said.
    """
    if not isinstance(model, VisionLanguageModel) or isinstance(model, type):
        raise ConfigurationError(f"a model has name, resolution, check and answer; got {model!r}")
    if not isinstance(oracle, Oracle | SelectingOracle) or isinstance(oracle, type) or not oracle.name:
        raise ConfigurationError(f"an oracle has name, classes and classify (or fix); got {oracle!r}")


def class_rule(
    smoothing: Smoothing, oracle: Oracle | SelectingOracle, alike: Sequence[Sequence[str]]
) -> ClassRule | None:
    """Return the classes under test; None where they are selected on draws.

    Raises:
        ConfigurationError: no class can be tested, or nobody would know what one means.
    """
    if not isinstance(oracle, Oracle):
        return None
    check_meanings(smoothing.class_rule, oracle.classes, OracleTraits.of(oracle))
    if smoothing.class_rule == "selection":
        partition(oracle.classes, alike)
        return None
    return ClassRule.of(smoothing.class_rule, oracle.classes, smoothing.alpha_draws, smoothing.certified_class, alike)


def check_price(smoothing: Smoothing, most_draws: int, model: VisionLanguageModel) -> None:
    """Refuse a budget beyond what the model pays for, before the first draw is paid.

    Raises:
        ConfigurationError: as said.
    """
    limit = ModelTraits.of(model).max_draws
    if limit is not None and most_draws > limit:
        raise ConfigurationError(
            f"model {model.name} pays for {limit} draws a certificate, samples takes {smoothing.samples} and "
            f"selecting a class {most_draws - smoothing.samples}: lower them, or raise max_draws"
        )


def check_oracle_error(
    smoothing: Smoothing, tested: tuple[str, ...], oracle: Oracle | SelectingOracle, model: str
) -> None:
    """Refuse an error model of another oracle, about no class under test, or about no class in particular.

    Labels of another model or population are refused too, unless `Smoothing.transfer` accepts them.

    Args:
        smoothing: whose error model is looked at.
        tested: the classes under test; none where one is selected per request.
        oracle: in use.
        model: name of the model in use.

    Raises:
        ConfigurationError: as said.
        ContradictedAssumptionError: independent errors are assumed, and this oracle does not say that it samples.
    """
    error = smoothing.oracle_error
    if error is None:
        return
    error.require_judgements(remembered=not samples(oracle))
    if OracleTraits.of(oracle).kept_table and not smoothing.transfer:
        raise ConfigurationError(
            f"the errors of oracle {oracle.name} are those of a table that was drawn once: that a rate holds for it on "
            "this request is an assumption (transfer) that no alpha covers. Accept it by Smoothing(transfer=True) "
            "(`transfer = true` under [smoothing]), and every certificate warns of it"
        )
    if error.measured_on not in {None, oracle.name}:
        raise ConfigurationError(
            f"the oracle error was measured on oracle {error.measured_on}, this one is {oracle.name}"
        )
    if any(labels.oracle is None for labels in error.rests_on):
        raise ConfigurationError(
            f"the oracle error rests on labels that name no oracle, so nobody knows whether it is {oracle.name}: "
            "count them with LabelledAnswers.count(oracle=...)"
        )
    if (elsewhere := smoothing.transferred(model)) and not smoothing.transfer:
        raise ConfigurationError(
            f"the oracle error was measured on {elsewhere}: that its rates hold here is an assumption (transfer) that "
            "no alpha covers. Label this model's answers, and name their population by Smoothing(population=...); or "
            "accept the assumption by Smoothing(transfer=True) (`transfer = true` under [smoothing]), and every "
            "certificate warns of it"
        )
    if tested and error.about is not None and error.about not in tested:
        raise ConfigurationError(f"the oracle error is about class {error.about!r}; the classes tested are {tested}")
    if len(tested) != 1 and error.about is None and isinstance(error, ClassConditionalError):
        raise ConfigurationError(
            f"the classes tested are {tested or 'selected per request'}: say which of them the class-conditional "
            "rates are about, by certified_class="
        )
