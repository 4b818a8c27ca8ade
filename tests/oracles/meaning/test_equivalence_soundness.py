"""Certificates of a class that was found on the draws: false at most as often as they may be, and never by chaining."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from scipy.stats import binom

from guardrail import Certificate, InputImage, SmoothedClassifier, Smoothing, Verdict
from guardrail.experiments.algorithm2 import algorithm_2, merge_votes
from guardrail.oracles import EquivalenceOracle
from guardrail.statistics import ContradictedAssumptionError, SymmetricError, clopper_pearson_lower
from tests.kit.meanings import RuleComparison, SayingVLM, entails, first_word, neighbours
from tests.kit.simulations import simulations

X = InputImage(np.full((1, 1, 3), 128, np.uint8))
ALPHA, N, SELECTION, RUNS = 0.05, 30, 5, simulations(2000)
MOST = int(binom.isf(1e-6, RUNS, ALPHA))
"""False certificates among RUNS that a sound method exceeds with probability 10⁻⁶."""


def certify(say: SayingVLM, comparison: RuleComparison, key: int, n: int = N, alpha: float = ALPHA) -> Certificate:
    smoothing = Smoothing(key=b"%16d" % key, samples=n, alpha=alpha, selection_samples=SELECTION, method="fixed")
    return SmoothedClassifier(say, EquivalenceOracle(comparison), smoothing).certify(X, "?")


@pytest.mark.simulation
@pytest.mark.slow
@pytest.mark.parametrize("p", [0.5, 0.7])
def test_bounds_are_false_at_most_as_often_as_alpha(p: float) -> None:
    """Answers mean 'left' with probability p, else 'right', in wordings of which hardly two are the same.

    Whichever meaning was selected, its probability is known, and the bound exceeds it with probability α at most. At
    p = 1/2 that is a false certificate, whichever it is.
    """
    say = SayingVLM(lambda u: f"left {u:.3f}" if u < p else f"right {u:.3f}")
    false = certified = 0
    for key in range(RUNS):
        certificate = certify(say, RuleComparison(first_word), key)
        assert certificate.representative is not None
        truth = p if certificate.representative.startswith("left") else 1 - p
        false += certificate.q_lower > truth
        certified += certificate.verdict is Verdict.CERTIFIED
    assert false <= MOST
    if p == 0.5:
        assert certified == false
    else:
        assert certified > RUNS / 4, "with p = 0.7, most runs select the majority, and P[K ≥ 20] = 0.73 of them certify"


@pytest.mark.simulation
def test_counting_the_draws_that_found_the_class_is_false_more_often() -> None:
    """The rule broken on purpose: the same model at p = 1/2, the largest cluster counted on its own draws.

    Either meaning may win, so P[false] = 2·P[K ≥ 20 of 30] = 0.099.
    """
    rng = np.random.default_rng(0)
    enough = next(k for k in range(N + 1) if clopper_pearson_lower(k, N, ALPHA) > 0.5)
    false = 0
    for _ in range(RUNS):
        answers = [f"left {u:.3f}" if u < 0.5 else f"right {u:.3f}" for u in rng.random(N)]
        false += merge_votes(answers, first_word)[0].votes >= enough
    assert false > MOST


def test_a_chain_of_different_answers_is_not_certified() -> None:
    """A hundred answers, each like its ten neighbours on either side: a majority to Algorithm 2, though no answer is
    equivalent to more than 21 of them."""
    say = SayingVLM(lambda u: str(int(100 * u)))
    near = partial(neighbours, distance=10)
    smoothing = Smoothing(key=b"k" * 16, samples=300, alpha=0.001, selection_samples=100)
    comparison = RuleComparison(near)
    naive = algorithm_2(SmoothedClassifier(say, EquivalenceOracle(comparison), smoothing), X, "?", near)
    assert naive.verdict is Verdict.CERTIFIED
    assert not naive.rigorous
    certificate = SmoothedClassifier(say, EquivalenceOracle(comparison, candidates=100), smoothing).certify(X, "?")
    assert certificate.verdict is Verdict.ABSTAIN
    assert certificate.counts["equivalent"] <= binom.isf(1e-6, 300, 0.21)
    assert certificate.representative is not None, "an abstention keeps it, too"


def test_an_asymmetric_comparison_is_estimated_in_its_direction() -> None:
    """'red car' with probability 0.6, else 'car'. All answers entail 'car'; 0.6 of them entail 'red car'.

    In the right order the class of 'car' has probability 1. Swapped, it would have 0.4 (or 'red car' would be chosen,
    to which 'car' does not belong).
    """
    certificate = certify(SayingVLM(lambda u: "red car" if u < 0.6 else "car"), RuleComparison(entails), 0)
    assert certificate.representative == "car"
    assert certificate.counts == {"different": 0, "equivalent": N}


def test_remembered_judgements_refuse_independent_errors() -> None:
    smoothing = Smoothing(oracle_error=SymmetricError(rate_lower=0.05))
    say = SayingVLM(lambda u: "left")
    with pytest.raises(ContradictedAssumptionError):
        SmoothedClassifier(say, EquivalenceOracle(RuleComparison(first_word)), smoothing)
    sampled = EquivalenceOracle(RuleComparison(first_word, deterministic=False))
    certificate = SmoothedClassifier(say, sampled, smoothing).certify(X, "?")
    assert certificate.radius_true is not None
