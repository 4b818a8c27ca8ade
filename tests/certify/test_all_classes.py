"""Every class of a partition tested at once: any false certificate has probability at most α, at almost no price."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from typing import ClassVar

import numpy as np
import pytest
from scipy.stats import binom

from guardrail import Action, Guard, InputImage, Policy, Reason, SmoothedClassifier, Smoothing, Verdict
from guardrail.certify import ClassRule
from guardrail.errors import ConfigurationError
from guardrail.models.base import Answer, Draw, Sizes
from guardrail.oracles import LabelOracle
from guardrail.oracles.base import Oracle
from guardrail.prompts import Prompt
from guardrail.statistics import ConfidenceSequence, FixedSample, LabelledAnswers, LowerBound, WorstCaseError
from guardrail.statistics.clopper_pearson import partition_lower
from guardrail.statistics.scaling import EmpiricalDistribution, operation
from guardrail.stores import MemoryStore
from tests.kit.simulations import simulations

ALPHA = 0.05
LOOKS = (5, 8, 12, 16, 20)
SHARES = [
    (0.5, 0.5),
    (0.6, 0.4),
    (0.9, 0.1),
    (0.5, 0.3, 0.2),
    (1 / 3, 1 / 3, 1 / 3),
    (0.7, 0.2, 0.1),
    (0.5, 0.125, 0.125, 0.125, 0.125),
    (0.2, 0.2, 0.2, 0.2, 0.2),
    (0.75, 0.25, 0.0, 0.0, 0.0),
]


def designs(partition: bool) -> list[LowerBound]:
    return [ConfidenceSequence(LOOKS, ALPHA, partition=partition), FixedSample(LOOKS[-1], ALPHA, partition)]


def falsely_certified(bound: LowerBound, shares: Sequence[float]) -> float:
    """Return the exact probability that some class is certified falsely at some look.

    The joint law of all counts is enumerated. False is a bound above the class's share, where that makes a radius.
    """
    classes = len(shares)
    law = np.zeros((bound.looks[-1] + 1,) * classes)
    law[(0,) * classes] = 1.0
    false, drawn = 0.0, 0
    for look in bound.looks:
        for _ in range(look - drawn):
            law = sum(share * np.roll(law, 1, axis=c) for c, share in enumerate(shares))  # no count is full before
        drawn = look
        counts = np.indices(law.shape, sparse=True)
        wrong = [counts[c] >= bound.required_count(max(share, 0.5), look) for c, share in enumerate(shares)]
        crossed = np.broadcast_to(np.logical_or.reduce(np.broadcast_arrays(*wrong)), law.shape)
        false += float(law[crossed].sum())
        law = np.where(crossed, 0.0, law)
    return false


@pytest.mark.parametrize("shares", SHARES, ids=str)
@pytest.mark.slow
def test_any_false_certificate_of_a_partition_has_probability_at_most_alpha(shares: tuple[float, ...]) -> None:
    for bound in designs(partition=True):
        assert falsely_certified(bound, shares) <= ALPHA


def test_two_classes_at_a_half_nearly_attain_it_and_each_at_full_alpha_exceeds_it() -> None:
    for together, each in (
        (ConfidenceSequence(LOOKS, ALPHA, partition=True), ConfidenceSequence(LOOKS, ALPHA)),
        (FixedSample(100, ALPHA, partition=True), FixedSample(100, ALPHA)),
    ):
        assert falsely_certified(together, (0.5, 0.5)) > 0.6 * ALPHA
        assert falsely_certified(each, (0.5, 0.5)) > 1.2 * ALPHA


def test_at_the_defaults_and_the_papers_alpha() -> None:
    smoothing = Smoothing()
    together, each = smoothing.sequence(smoothing.alpha), smoothing.sequence(smoothing.alpha, partition=False)
    assert falsely_certified(together, (0.5, 0.5)) <= 0.001 < falsely_certified(each, (0.5, 0.5))


def test_overlapping_classes_break_it() -> None:
    """Categories that a draw may have several of are no partition: three independent ones, at 1/2 each."""
    bound = FixedSample(100, 0.001, partition=True)
    enough = bound.required_count(0.5, 100)
    one = float(binom.sf(enough - 1, 100, 0.5))
    assert 1.0 - (1.0 - one) ** 3 > 0.001 >= 2.0 * one


@pytest.mark.parametrize("target", [0.5, 0.6915])
def test_the_price_in_power_is_small(target: float) -> None:
    """At q = 0.95, against one class at full α, at looks and at fixed n."""
    often, smoothing = EmpiricalDistribution([0.95]), Smoothing()
    for together, one in (
        (smoothing.sequence(0.001), smoothing.sequence(0.001, partition=False)),
        (FixedSample(100, 0.001, partition=True), FixedSample(100, 0.001)),
    ):
        assert operation(together, target, often).power >= 0.9 * operation(one, target, often).power


@pytest.mark.parametrize(("successes", "expected"), [(85, 0.707640), (95, 0.842572), (100, 0.932603)])
def test_bounds_of_one_look(successes: int, expected: float) -> None:
    bound = partition_lower(successes, 100, 0.001)
    assert bound == pytest.approx(expected, abs=1e-6)
    assert binom.sf(successes - 1, 100, bound) == pytest.approx(0.001 * bound, rel=1e-9)


def test_below_a_half_it_is_a_bound_at_half_the_level() -> None:
    assert [partition_lower(k, 100, 0.001) for k in (0, 1, 60)] == pytest.approx(
        [FixedSample(100, 0.0005).lower(k, 100) for k in (0, 1, 60)]
    )
    bounds = [partition_lower(k, 100, 0.001) for k in range(101)]
    assert bounds == sorted(bounds)


def test_a_sequence_bounds_as_its_boundaries_say() -> None:
    sequence = ConfidenceSequence(LOOKS, ALPHA, partition=True)
    for null in (0.3, 0.5, 0.61, 0.8, 0.95):
        exact = sequence.boundary(null)
        assert all(
            sequence.lower(count - 1, look) <= null for count, look in zip(exact, LOOKS, strict=True) if count
        ), "what does not reject the null bounds no higher"


# ------------------------------------------------------------------------------------------ through the guard


@dataclass
class Dice:
    """Says one of several labels, each with its probability, whatever the picture."""

    shares: Sequence[float]
    labels: Sequence[str] = ("a", "b", "c", "d", "e")
    name: str = "dice"
    resolution: tuple[int, int] | None = (1, 1)

    def check(self, prompt: Prompt, sizes: Sizes) -> None:
        pass

    def answer(self, draws: Sequence[Draw], deadline: float | None = None) -> list[Answer]:
        edges = np.cumsum(self.shares)
        thrown = np.searchsorted(edges, [draw.sampling_seed / 2**63 for draw in draws], side="right")
        return [Answer(self.labels[min(k, len(edges) - 1)]) for k in thrown]


def says(*classes: str, **meanings: Sequence[object]) -> Oracle:
    return LabelOracle({c: c for c in classes}, **meanings)  # type: ignore[arg-type]


def pictures(number: int) -> list[InputImage]:
    return [InputImage(np.array([[[i >> 16, i >> 8 & 255, i & 255]]], np.uint8)) for i in range(number)]


@pytest.mark.slow
@pytest.mark.simulation
@pytest.mark.parametrize("shares", [(0.5, 0.5), (0.5, 0.25, 0.25), (0.5, 0.125, 0.125, 0.125, 0.125)], ids=len)
def test_decisions_are_false_at_most_at_rate_alpha(shares: tuple[float, ...]) -> None:
    """`make test-long` asks 210,000 times in all; α is higher in CI, where fewer requests must show the same."""
    number, alpha = (2_000, 0.05) if simulations(1) == 1 else (70_000, 0.001)
    smoothing = Smoothing(alpha=alpha, samples=60, key=b"the key of these tests")
    guard = Guard(Dice(shares), says(*"abcde"[: len(shares)]), smoothing=smoothing)
    certified = Counter(guard.check(picture, "?").reasons for picture in pictures(number))
    false = number - certified[Reason.ABSTAINED,]
    assert false <= alpha * number + 4.0 * sqrt(alpha * number), "four standard deviations above α"


class TestCells:
    HALF = Dice((0.5, 0.5), ("harmless", "no text"))
    MEANING: ClassVar = {"harmless_classes": ["no text"]}

    def test_a_page_that_is_one_or_the_other_abstains_unless_they_are_alike(self) -> None:
        classes = ("harmless", "harmful", "no text")
        apart = SmoothedClassifier(self.HALF, says(*classes, **self.MEANING)).certify(pictures(1), "?", 0.1)
        alike = says(*classes, **self.MEANING, alike=[["harmless", "no text"]])
        together = SmoothedClassifier(self.HALF, alike).certify(pictures(1), "?", 0.1)
        assert apart.verdict is Verdict.ABSTAIN
        assert (together.verdict, together.certified_class) == (Verdict.HARMLESS, "harmless or no text")
        assert together.cell == ("harmless", "no text")
        assert together.counts["harmless"] + together.counts["no text"] == together.draws
        assert 0 < together.counts["no text"] < together.draws
        assert together.answer in together.cell
        assert together.class_rule.startswith("all: harmless or no text, harmful;")

    def test_a_third_class_is_tested_and_costs_nothing(self) -> None:
        only = Dice((1.0,), ("no text",))
        classes = says("harmless", "harmful", "no text")
        third = SmoothedClassifier(only, classes).certify(pictures(1), "?")
        first = SmoothedClassifier(Dice((1.0,), ("harmless",)), says("harmless", "harmful")).certify(pictures(1), "?")
        assert (third.certified_class, third.verdict) == ("no text", Verdict.CERTIFIED)
        assert third.q_lower == first.q_lower

    @pytest.mark.parametrize(
        ("policy", "meaning", "action", "reasons"),
        [
            (Policy(), {}, Action.BLOCK, (Reason.ABSTAINED,)),
            (Policy(on_abstain="flag"), {}, Action.FLAG, (Reason.ABSTAINED,)),
            (Policy(classes={"no text": "allow"}), {}, Action.ALLOW, ()),
            (Policy(classes={"no text": "flag"}), {}, Action.FLAG, (Reason.CERTIFIED_HARMFUL,)),
            (Policy(), {"harmless_classes": ["no text"]}, Action.ALLOW, ()),
            (Policy(), {"harmful_classes": ["no text"]}, Action.BLOCK, (Reason.CERTIFIED_HARMFUL,)),
            (Policy(classes={"no text": "allow"}), {"harmful_classes": ["no text"]}, Action.ALLOW, ()),
        ],
    )
    def test_what_a_third_class_leads_to(
        self, policy: Policy, meaning: dict[str, Sequence[str]], action: Action, reasons: tuple[Reason, ...]
    ) -> None:
        oracle = says("harmless", "harmful", "no text", **meaning)
        with Guard(Dice((1.0,), ("no text",)), oracle, policy=policy) as guard:
            decision = guard.check(pictures(1), "?")
            screened = guard.screen(decision, "no text")
        assert (decision.action, decision.reasons) == (action, reasons)
        assert any("harmless_classes" in detail for detail in decision.details) == (Reason.ABSTAINED in reasons)
        assert screened.blocked == (action is Action.BLOCK)

    def test_a_guard_parts_what_its_policy_does_not_treat_alike(self) -> None:
        oracle = says("harmless", "harmful", "no text", **self.MEANING, alike=[["harmless", "no text"]])
        with (
            Guard(self.HALF, oracle) as kept,
            Guard(self.HALF, oracle, policy=Policy(classes={"no text": "flag"})) as parted,
        ):
            one, other = kept.check(pictures(1), "?").certificate, parted.check(pictures(1), "?").certificate
            assert one is not None
            assert other is not None
            assert (one.verdict, other.verdict) == (Verdict.HARMLESS, Verdict.ABSTAIN)
            prompt = Prompt.of("?", 1)
            assert kept.classifier.context(prompt) != parted.classifier.context(prompt), "the partition is in the key"

    def test_a_policy_that_parts_a_cell_later_acts_by_its_strictest_member(self) -> None:
        oracle = says("harmless", "harmful", "no text", **self.MEANING, alike=[["harmless", "no text"]])
        with Guard(self.HALF, oracle, store=MemoryStore(), policy=Policy(release="certified")) as guard:
            allowed = guard.check(pictures(1), "?")
            assert guard.drawn_answer(allowed) in {"harmless", "no text"}
            guard.policy = Policy(release="certified", classes={"no text": "block"})
            stored = guard.check(pictures(1), "?")
        assert (stored.source, stored.reasons) == ("hit", (Reason.CERTIFIED_HARMFUL,))
        assert stored.blocked
        assert guard.drawn_answer(stored) is None

    def test_a_cell_leads_to_the_strictest_of_what_its_members_lead_to(self) -> None:
        oracle = says("harmless", "harmful", "no text", alike=[["harmless", "no text"]])
        certificate = SmoothedClassifier(self.HALF, oracle).certify(pictures(1), "?", 0.1)
        assert certificate.verdict is Verdict.CERTIFIED, "nobody said that 'no text' is harmless"
        assert Policy(classes={"no text": "flag"}).decide(certificate, oracle) == {
            Reason.CERTIFIED_HARMFUL: Action.FLAG
        }
        assert Policy().decide(certificate, oracle) == {Reason.ABSTAINED: Action.BLOCK}
        assert Policy(classes={"no text": "allow"}).decide(certificate, oracle) == {}

    def test_an_error_model_is_about_the_cell(self) -> None:
        oracle = says("harmless", "harmful", "no text", **self.MEANING, alike=[["harmless", "no text"]])
        rows = [(i, "no text", "harmless" if i % 2 else "no text") for i in range(400)]
        rows += [(400 + i, "harmful", "harmful") for i in range(400)]

        def certified(about: str | Sequence[str]) -> float | None:
            labels = LabelledAnswers.count(rows, about, population="p", vlm="dice", held_out=True, oracle=oracle.name)
            error = WorstCaseError.from_labelled(labels, 0.0005)
            smoothing = Smoothing(oracle_error=error, population="p")
            return SmoothedClassifier(self.HALF, oracle, smoothing).certify(pictures(1), "?", 0.1).radius_true

        assert certified(["harmless", "no text"]), "one for the other is no error of the cell"
        with pytest.raises(ConfigurationError, match="about class 'harmless'"):
            certified("harmless")

    @pytest.mark.parametrize(
        ("alike", "message"),
        [
            ([["a", "b"], ["b", "c"]], "must not overlap"),
            ([["a", "d"]], r"alike names \['d'\]"),
            ([["a", "failed"]], r"alike names \['failed'\]"),
            ([["a", "illegible"]], r"alike names \['illegible'\]"),
        ],
    )
    def test_what_is_no_partition_is_refused(self, alike: Sequence[Sequence[str]], message: str) -> None:
        with pytest.raises(ConfigurationError, match=message):
            ClassRule.of("all", ("a", "b", "c", "illegible"), 0.001, alike=alike)

    def test_a_class_named_like_a_cell_is_refused(self) -> None:
        with pytest.raises(ConfigurationError, match="name of a cell"):
            ClassRule.of("all", ("a", "b", "a or b"), 0.001, alike=[["a", "b"]])

    def test_an_alpha_for_which_the_proof_does_not_hold_is_refused(self) -> None:
        with pytest.raises(ConfigurationError, match=r"got 0\.5"):
            ClassRule.of("all", ("a", "b"), 0.5)
        ClassRule.of("fixed", ("a", "b"), 0.5, "a")

    @pytest.mark.parametrize(
        ("meaning", "message"),
        [
            ({"harmful_classes": ["violent"]}, r"names \['violent'\]"),
            ({"harmless_classes": ["harmful"]}, r"calls \['harmful'\] both"),
            ({"alike": [["harmless", "no txt"]]}, r"alike names \['no txt'\]"),
            ({"alike": [["harmless", "no text"], ["no text", "harmful"]]}, "must not overlap"),
            ({"alike": [["harmless", "harmful"]]}, "puts harmful classes beside others"),
        ],
    )
    def test_meanings_that_contradict_each_other_are_refused(self, meaning: dict[str, list[str]], message: str) -> None:
        oracle = says("harmless", "harmful", "no text", **meaning)
        for rule in ({}, {"class_rule": "fixed", "certified_class": "harmless"}, {"class_rule": "selection"}):
            with pytest.raises(ConfigurationError, match=message):
                SmoothedClassifier(self.HALF, oracle, Smoothing.model_validate(rule))
        with pytest.raises(ConfigurationError, match=message):
            Guard(self.HALF, oracle)

    def test_a_member_that_is_flagged_hides_no_small_radius_of_another(self) -> None:
        oracle = says("harmless", "harmful", "no text", **self.MEANING, alike=[["harmless", "no text"]])
        certificate = SmoothedClassifier(self.HALF, oracle).certify(pictures(1), "?", 0.1)
        policy = Policy(classes={"no text": "flag"}, min_radius=5.0, on_small_radius="block")
        assert policy.decide(certificate, oracle)[Reason.SMALL_RADIUS] is Action.BLOCK

    @pytest.mark.parametrize("policy", [Policy(), Policy(on_abstain="flag"), Policy(classes={"no text": "flag"})])
    def test_what_does_not_block_answers_for_no_neighbour(self, policy: Policy) -> None:
        oracle = says("harmless", "harmful", "no text")
        certified = SmoothedClassifier(Dice((1.0,), ("no text",)), oracle).certify(pictures(1), "?", 0.1)
        torn = SmoothedClassifier(Dice((0.5, 0.5), ("harmless", "harmful")), oracle).certify(pictures(1), "?", 0.1)
        for certificate in (certified, torn):
            blocks = Action.BLOCK in policy.decide(certificate, oracle).values()
            assert policy.refuses(certificate, oracle) == blocks

    @pytest.mark.parametrize("classes", [("safe", "unsafe"), ("harmful", "x"), ("Harmless", "Harmful")])
    def test_a_guard_must_know_what_classes_mean_under_every_rule(self, classes: tuple[str, str]) -> None:
        for rule in ({"class_rule": "fixed", "certified_class": classes[1]}, {"class_rule": "selection"}):
            with pytest.raises(ConfigurationError, match="harmful"):
                Guard(self.HALF, says(*classes), smoothing=Smoothing.model_validate(rule))

    def test_a_selection_may_choose_a_cell(self) -> None:
        oracle = says("harmless", "harmful", "no text", **self.MEANING, alike=[["harmless", "no text"]])
        chosen = SmoothedClassifier(self.HALF, oracle, Smoothing(class_rule="selection")).certify(pictures(1), "?", 0.1)
        assert chosen.cell == ("harmless", "no text")
        assert "never certified, whatever the draws: harmful" in chosen.warnings
