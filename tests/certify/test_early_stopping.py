"""Stopping early in the algorithm: sound, cheaper, and said on the certificate."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from scipy.stats import binom, norm

from guardrail import Guard, InputImage, Policy, Prompt, SmoothedClassifier, Smoothing, Verdict
from guardrail.errors import ConfigurationError, OracleError
from guardrail.models.base import Answer, Draw
from guardrail.oracles import LexiconOracle, Oracle
from guardrail.oracles.base import Judgements
from guardrail.statistics import (
    ClassConditionalError,
    ContradictedAssumptionError,
    LabelledAnswers,
    SymmetricError,
    UnknownSymmetricError,
    WorstCaseError,
    certified_radius,
)
from tests.kit.simulations import simulations
from tests.kit.synthetic import ORACLE, HalfSpaceVLM

KEY = b"the key of these tests"
IMAGE = InputImage(np.full((1, 1, 3), 128, np.uint8))
SUM = float((IMAGE.pixels / 255).sum())


def vlm(q: float, sigma: float = 0.5) -> HalfSpaceVLM:
    """A model that says `good` about IMAGE with probability q under noise."""
    return HalfSpaceVLM(SUM - sigma * float(norm.ppf(q)) * np.sqrt(3))


def classifier(model: object, oracle: object = ORACLE, **smoothing: object) -> SmoothedClassifier:
    return SmoothedClassifier(model, oracle, Smoothing.model_validate({"key": KEY, **smoothing}))  # type: ignore[arg-type]


class TestStopping:
    def test_a_clear_image_stops_at_the_target(self) -> None:
        model = vlm(1 - 1e-9)
        certificate = classifier(model).certify(IMAGE, "?", 0.1)
        assert certificate.verdict is Verdict.HARMLESS
        assert certificate.stop_reason == "target"
        assert certificate.radius >= 0.1
        assert certificate.draws == sum(model.batches) == certificate.looks[-1] < 25
        assert certificate.looks == (11, 14, 17)
        assert certificate.budget == 100
        assert certificate.method.startswith("sequential(looks=11,14,17,21,")

    def test_a_hopeless_image_is_given_up(self) -> None:
        certificate = classifier(vlm(0.5)).certify(IMAGE, "?", 0.25)
        assert certificate.stop_reason == "futility"
        assert certificate.verdict is Verdict.ABSTAIN
        assert certificate.draws < 60
        stubborn = classifier(vlm(0.5), futility=0.0).certify(IMAGE, "?", 0.25)
        assert (stubborn.draws, stubborn.stop_reason) == (100, "budget")

    def test_harmful_stops_too(self) -> None:
        certificate = classifier(vlm(1e-9)).certify(IMAGE, "?", 0.1)
        assert (certificate.verdict, certificate.stop_reason) == (Verdict.HARMFUL, "target")

    def test_without_a_target_the_budget_is_spent_on_the_largest_radius(self) -> None:
        certificate = classifier(vlm(1 - 1e-9)).certify(IMAGE, "?")
        assert (certificate.draws, certificate.looks, certificate.stop_reason) == (100, (100,), "budget")
        assert certificate.method == "fixed(samples=100, alpha=0.001, partition)"
        assert certificate.radius == pytest.approx(0.747732, abs=1e-6)

    def test_a_target_out_of_reach_is_nothing_to_stop_for(self) -> None:
        certificate = classifier(vlm(1 - 1e-9)).certify(IMAGE, "?", 2.0)
        assert (certificate.draws, certificate.verdict) == (100, Verdict.HARMLESS)

    def test_fixed_stays_the_paper_s(self) -> None:
        certificate = classifier(vlm(1 - 1e-9), method="fixed").certify(IMAGE, "?", 0.1)
        assert (certificate.draws, certificate.looks) == (100, (100,))

    @pytest.mark.slow
    def test_looks_can_be_given_or_fit_batches(self) -> None:
        assert classifier(vlm(1 - 1e-9), looks=(20, 100)).certify(IMAGE, "?", 0.1).looks == (20,)
        batched = classifier(vlm(1 - 1e-9), batch=16).certify(IMAGE, "?", 0.1)
        assert all(look % 16 == 0 for look in batched.looks)
        with pytest.raises(ValueError, match="last of the looks"):
            Smoothing(looks=(10, 50))
        with pytest.raises(ValueError, match="strictly increasing"):
            Smoothing(looks=(50, 10, 100))

    def test_the_guard_s_target_is_the_policy_s_min_radius(self) -> None:
        def draws(policy: Policy, smoothing: Smoothing) -> int:
            guard = Guard(vlm(1 - 1e-9), ORACLE, policy=policy, smoothing=smoothing)
            certificate = guard.check(IMAGE, "?").certificate
            assert certificate is not None
            return certificate.draws

        assert draws(Policy(min_radius=0.1), Smoothing()) == 17
        assert draws(Policy(min_radius=0.5), Smoothing()) > 30
        assert draws(Policy(min_radius=0.1), Smoothing(target_radius=0.5)) > 30

    def test_impossible_targets_and_budgets_are_refused(self) -> None:
        for target in (-1.0, float("nan"), float("inf")):
            with pytest.raises(ConfigurationError, match="target_radius"):
                classifier(vlm(0.9)).certify(IMAGE, "?", target)
        with pytest.raises(ConfigurationError, match="samples=2000"):
            Guard(vlm(0.9), ORACLE, smoothing=Smoothing(samples=2001))
        assert classifier(vlm(0.9), samples=2001, method="fixed").certify(IMAGE, "?", 0.1).draws == 2001

    def test_another_target_is_another_request(self) -> None:
        smoothed = classifier(vlm(0.9))
        prompt = Prompt.of("?", 1)
        assert smoothed.context(prompt, 0.1) != smoothed.context(prompt, 0.2) != smoothed.context(prompt)
        requests = (smoothed.request(IMAGE, prompt, target) for target in (0.1, 0.2))
        first, second = (smoothed.draws(request, [0])[0].images()[0] for request in requests)
        assert not np.array_equal(first, second)


@pytest.mark.simulation
@pytest.mark.slow
def test_certificates_that_stop_early_are_false_at_most_at_rate_alpha() -> None:
    """As for fixed n: false iff the radius exceeds the known distance; tolerance: the 1 − 1e-6 binomial quantile.

    Stopping as soon as a fixed-sample bound looks good, on the very same draws, is false too often: the test can tell.
    """
    alpha, runs, q = 0.05, simulations(1500), 0.55
    model = vlm(q)
    distance = 0.5 * float(norm.ppf(q))
    smoothed = classifier(model, samples=60, alpha=alpha, looks=tuple(range(5, 61)), futility=0.0)
    false = naive = 0
    for run in range(runs):
        certificate = smoothed.certify(IMAGE, f"run {run}", distance)
        false += certificate.verdict is Verdict.HARMLESS and certificate.radius > distance
        draws = smoothed.draws(smoothed.request(IMAGE, f"run {run}", distance), range(60))
        good = np.cumsum([answer.text == "good" for answer in model.answer(draws)])
        naive += any(binom.sf(k - 1, n, q) < alpha for n, k in enumerate(good.tolist(), 1) if n >= 5)
    limit = binom.ppf(1 - 1e-6, runs, alpha)
    assert 0 < false <= limit
    assert naive > limit


def test_a_deadline_falls_back_on_the_last_look_that_is_complete() -> None:
    class Slow(HalfSpaceVLM):
        """Answers in time up to draw 17; of later batches only the first draw, which would flatter the count."""

        def answer(self, draws: Sequence[Draw], deadline: float | None = None) -> list[Answer]:
            answers = super().answer(draws, deadline)
            late = Answer.failure("deadline")
            return [
                a if d.index < 17 or d.index == draws[0].index else late for a, d in zip(answers, draws, strict=True)
            ]

    smoothed = classifier(Slow(SUM - 100), samples=100)
    certificate = smoothed.certify(IMAGE, "?", 0.3, deadline=time.monotonic() + 9)
    assert certificate.stop_reason == "deadline"
    assert certificate.looks == (11, 14, 17)
    assert certificate.draws == 17
    assert "failed" not in certificate.counts


class TestClassRules:
    ACTIONS = LexiconOracle({"left": ["good"], "right": ["bad"]}, otherwise="no action")

    def test_a_class_fixed_in_advance(self) -> None:
        rule = {"class_rule": "fixed", "certified_class": "harmless"}
        assert classifier(vlm(1 - 1e-9), **rule).certify(IMAGE, "?").class_rule.startswith("harmless: fixed")
        assert classifier(vlm(1e-9), **rule).certify(IMAGE, "?").verdict is Verdict.ABSTAIN
        with pytest.raises(ConfigurationError, match="'nothing'"):
            classifier(vlm(0.5), class_rule="fixed", certified_class="nothing")

    def test_one_class_at_full_alpha_has_a_slightly_larger_radius_and_names_what_it_leaves_out(self) -> None:
        one = classifier(vlm(1 - 1e-9), class_rule="fixed", certified_class="harmless").certify(IMAGE, "?")
        every = classifier(vlm(1 - 1e-9)).certify(IMAGE, "?")
        assert (one.radius, every.radius) == (pytest.approx(0.750237, abs=1e-6), pytest.approx(0.747732, abs=1e-6))
        assert "never certified, whatever the draws: harmful" in one.warnings
        assert not any("never certified" in warning for warning in every.warnings)

    def test_selection_uses_draws_of_its_own(self) -> None:
        model = vlm(1 - 1e-9)
        certificate = classifier(model, self.ACTIONS, class_rule="selection").certify(IMAGE, "?")
        assert certificate.certified_class == "left"
        assert (certificate.selection_draws, certificate.draws) == (20, 100)
        assert sum(certificate.counts.values()) == 100
        assert certificate.q_lower == pytest.approx(0.001 ** (1 / 100)), "one class at full alpha"
        smoothed = classifier(model, self.ACTIONS, class_rule="selection")
        prompt = Prompt.of("?", 1)
        estimation, selection = (
            smoothed.draws(smoothed.request(IMAGE, prompt), [0], purpose)[0].images()[0]
            for purpose in ("estimation", "selection")
        )
        assert not np.array_equal(estimation, selection)

    def test_no_draw_selects_a_class_and_is_counted_for_it(self) -> None:
        seen: list[bytes] = []

        class Watched(HalfSpaceVLM):
            def answer(self, draws: Sequence[Draw], deadline: float | None = None) -> list[Answer]:
                seen.extend(draw.images()[0].tobytes() for draw in draws)
                return super().answer(draws, deadline)

        classifier(Watched(SUM), self.ACTIONS, class_rule="selection").certify(IMAGE, "?")
        assert len(seen) == len(set(seen)) == 120

    def test_an_oracle_that_finds_its_class_on_the_selection_draws(self) -> None:
        @dataclass
        class Same:
            representative: str
            name: str = "same"
            classes: tuple[str, ...] = ("equivalent", "different")

            def classify(self, answers: Sequence[str], prompts: Sequence[Prompt]) -> list[str]:
                return ["equivalent" if answer == self.representative else "different" for answer in answers]

        @dataclass
        class Majority:
            name: str = "majority"

            def fix(self, answers: Sequence[str], prompt: Prompt) -> Oracle:
                if not answers:
                    raise OracleError("no answer to choose from")
                return Same(max(set(answers), key=answers.count))

        certificate = classifier(vlm(0.95), Majority()).certify(IMAGE, "?", 0.1)
        assert certificate.certified_class == "equivalent"
        assert certificate.verdict is Verdict.CERTIFIED
        assert certificate.selection_draws == 20
        assert "selected" in certificate.class_rule


@dataclass
class NoisyOracle:
    """Flips the class of every answer with probability ε, independently for every judgement."""

    rate: float
    deterministic: bool | None = False
    name: str = "noisy"
    classes: tuple[str, ...] = ("harmful", "harmless")

    def __post_init__(self) -> None:
        self.coins = np.random.default_rng(0)
        self.asked = 0

    def classify(self, answers: Sequence[str], prompts: Sequence[Prompt]) -> list[str]:
        self.asked += len(answers)
        right = ["harmless" if answer == "good" else "harmful" for answer in answers]
        other = {"harmless": "harmful", "harmful": "harmless"}
        return [other[label] if self.coins.random() < self.rate else label for label in right]


class TestOracleError:
    def test_both_radii_and_their_minimum(self) -> None:
        error = WorstCaseError(rate_upper=0.1)
        certificate = classifier(vlm(0.95), oracle_error=error).certify(IMAGE, "?")
        assert certificate.p_lower == pytest.approx(certificate.q_lower - 0.1)
        assert certificate.radius_true == pytest.approx(certified_radius(certificate.q_lower - 0.1, 0.5))
        assert certificate.radius == certificate.radius_true < certificate.radius_oracle
        assert "whatever the pattern" in certificate.oracle_error
        assert not any("not measured: the radius" in warning for warning in certificate.warnings)

    def test_the_target_is_the_smaller_radius(self) -> None:
        error = WorstCaseError(rate_upper=0.1)
        certificate = classifier(vlm(1 - 1e-9), oracle_error=error).certify(IMAGE, "?", 0.1)
        plain = classifier(vlm(1 - 1e-9)).certify(IMAGE, "?", 0.1)
        assert certificate.radius >= 0.1
        assert certificate.draws > plain.draws

    def test_alpha_is_shared_and_the_parts_are_shown(self) -> None:
        triples = [(i, "harmless", "harmless") for i in range(400)]
        labels = LabelledAnswers.count(
            triples, "harmless", population="p", vlm="half-space", oracle=ORACLE.name, held_out=True
        )
        error = WorstCaseError.from_labelled(labels, 0.0004)
        certificate = classifier(vlm(1 - 1e-9), oracle_error=error, population="p").certify(IMAGE, "?")
        assert certificate.alpha == 0.001
        assert certificate.alpha_oracle == 0.0004
        assert certificate.alpha_draws == pytest.approx(0.0006)
        assert certificate.q_lower == pytest.approx(0.0006 ** (1 / 99)), "q^100 = 0.0006 q"
        assert labels.labels_sha256 in certificate.oracle_error, "the transfer assumption is recorded"
        harmful = classifier(vlm(1e-9), oracle_error=error, population="p").certify(IMAGE, "?")
        assert harmful.radius_true is None, "these labels say nothing about the harmful class"
        with pytest.raises(ValueError, match="leaves nothing"):
            Smoothing(alpha=0.0004, oracle_error=error)

    def test_rates_are_about_one_class(self) -> None:
        """a and b change roles between harmful and harmless: rates asserted for one may not be used for the other."""
        rates = {"false_a_upper": 0.01, "missed_a_lower": 0.3}
        with pytest.raises(ConfigurationError, match="certified_class"):
            classifier(vlm(0.9), NoisyOracle(0.0), oracle_error=ClassConditionalError(**rates))
        error = ClassConditionalError(**rates, certified_class="harmful")
        certificate = classifier(vlm(1 - 1e-9), NoisyOracle(0.0), oracle_error=error).certify(IMAGE, "?")
        assert certificate.certified_class == "harmless"
        assert certificate.radius_true is None
        assert "not measured" in certificate.oracle_error

    def test_an_error_about_no_class_or_another_oracle_is_refused(self) -> None:
        triples = [(i, "harmless", "harmless") for i in range(400)]
        about = {"population": "p", "vlm": "v", "held_out": True}
        typo = LabelledAnswers.count(triples, "harmles", oracle=ORACLE.name, **about)  # type: ignore[arg-type]
        with pytest.raises(ConfigurationError, match="'harmles'"):
            classifier(vlm(0.9), oracle_error=WorstCaseError.from_labelled(typo, 0.0005), transfer=True)
        other = LabelledAnswers.count(triples, "harmless", oracle="another", **about)  # type: ignore[arg-type]
        with pytest.raises(ConfigurationError, match="another"):
            classifier(vlm(0.9), oracle_error=WorstCaseError.from_labelled(other, 0.0005), transfer=True)
        nameless = LabelledAnswers.count(triples, "harmless", **about)  # type: ignore[arg-type]
        with pytest.raises(ConfigurationError, match="name no oracle"):
            classifier(vlm(0.9), oracle_error=WorstCaseError.from_labelled(nameless, 0.0005), transfer=True)

    def test_data_that_contradict_the_assumption_certify_nothing(self) -> None:
        oracle = NoisyOracle(rate=0.0)
        error = SymmetricError(rate_lower=0.2)
        certificate = classifier(vlm(1 - 1e-9), oracle, oracle_error=error).certify(IMAGE, "?")
        assert certificate.verdict is Verdict.ABSTAIN
        assert certificate.stop_reason == "contradicted"
        assert certificate.radius == 0.0
        assert any("does not hold" in warning for warning in certificate.warnings)

    @pytest.mark.parametrize("error", [SymmetricError(rate_lower=0.1), UnknownSymmetricError()])
    def test_remembered_judgements_exclude_independence(self, error: object) -> None:
        with pytest.raises(ContradictedAssumptionError, match="afresh"):
            classifier(vlm(0.9), ORACLE, oracle_error=error)
        oracle = NoisyOracle(rate=0.1)
        classifier(vlm(0.9), oracle, oracle_error=error).certify(IMAGE, "?")
        assert oracle.asked == 100, "every draw is judged afresh"

    def test_errors_fixed_per_answer_would_break_the_symmetric_model(self) -> None:
        """A judge that remembers is wrong on all draws at once: with one answer on all draws and ε = 0.2, a fifth of
        such tables certify the wrong class. Judged afresh, the same error rate certifies nothing false."""
        wrong = {"remembered": 0, "afresh": 0}
        oracle, said_function = NoisyOracle(rate=0.2), NoisyOracle(rate=0.2, deterministic=True)
        answers = [Answer("bad")] * 100
        for _ in range(200):
            remembered = Judgements().of(said_function, answers, Prompt(()))
            afresh = Judgements().of(oracle, answers, Prompt(()))
            wrong["remembered"] += remembered.count("harmless") > 90
            wrong["afresh"] += afresh.count("harmless") > 50
        assert wrong["afresh"] == 0
        assert 20 <= wrong["remembered"] <= 60  # Binomial(200, 0.2): both ends beyond four standard deviations
