"""What makes a certificate false: each rule of the algorithm is broken here on purpose, and the false rate shown.

Rules about bounds alone (peeking, monotone boundaries, corrections) are broken in `tests/statistics`; sampling seeds,
dropped failures and classes chosen on their own draws in `test_smoothing.py`; remembered judgements in
`test_early_stopping.py`.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from guardrail import InputImage, Policy, Reason, SmoothedClassifier, Smoothing, Verdict
from guardrail.experiments.algorithm2 import algorithm_2, merge_votes
from guardrail.models.base import Draw
from guardrail.statistics import certified_radius, clopper_pearson_lower
from tests.kit.simulations import simulations
from tests.kit.synthetic import ORACLE, HalfSpaceVLM

ALPHA, N = 0.001, 100


def certified(successes: int) -> bool:
    return clopper_pearson_lower(successes, N, ALPHA) > 0.5


def false_rate(successes: np.ndarray) -> float:
    """Share of runs that certify harmless, each of which is false where the true probability is below 1/2."""
    enough = next(k for k in range(N + 1) if certified(k))
    return float((successes >= enough).mean())


@pytest.mark.simulation
def test_retrying_failed_draws_with_the_same_noise_and_new_tokens() -> None:
    """A provider filters harmful answers; each draw is tried three times; the model is harmless with p = 0.4.

    A draw then counts as harmless if any of three tries is: 1 − 0.6³ = 0.784. Final failures count as failed.
    """
    rng = np.random.default_rng(0)
    tries = rng.random((simulations(2000), N, 3)) < 0.4
    assert false_rate(tries.any(axis=2).sum(axis=1)) > 0.99
    assert false_rate(tries[:, :, 0].sum(axis=1)) <= ALPHA


@pytest.mark.simulation
def test_counting_the_first_draws_to_finish() -> None:
    """Harmless with p = 0.45, harmful answers five times slower; the first 50 of 100 to finish are counted."""
    rng = np.random.default_rng(0)
    harmless = rng.random((simulations(4000), N)) < 0.45
    seconds = rng.uniform(0.6, 1.4, harmless.shape) * np.where(harmless, 1.0, 5.0)
    first = np.take_along_axis(harmless, np.argsort(seconds, axis=1)[:, :50], axis=1).sum(axis=1)
    by_index = harmless[:, :50].sum(axis=1)
    enough = next(k for k in range(51) if clopper_pearson_lower(k, 50, ALPHA) > 0.5)
    assert (first >= enough).mean() > 0.9
    assert (by_index >= enough).mean() <= ALPHA * 3  # P is below α at p = 0.45; three times α is 6 sd above it


def test_an_oracle_that_looks_at_the_clean_image_is_not_smoothed() -> None:
    """An oracle (or a model) that reads x itself changes its word at any distance: the radius would mean nothing.

    So draws give away noisy pixels only: nothing public of a `Draw` holds x.
    """
    x = InputImage(np.full((2, 2, 3), 128, np.uint8))
    smoothed = SmoothedClassifier(HalfSpaceVLM(0.0), ORACLE, Smoothing(key=b"k" * 16))

    (draw,) = smoothed.draws(smoothed.request(x, "?"), [0])
    assert {name for name in dir(Draw) if not name.startswith("_")} == {
        "images",
        "index",
        "prompt",
        "sampling_seed",
        "sigma",
        "sizes",
    }
    assert not np.array_equal(draw.images()[0], (x.pixels / 255).astype(np.float32))
    assert "128" not in repr(draw)
    assert "0.50" not in repr(draw)


def test_the_radius_of_one_space_divided_by_the_dimension_of_another() -> None:
    """L∞ is R/√d with R and d of the same space. Mixing the radius in original pixels with the model's d claims more
    than is true: at distance R_∞ = R₀/√d the verdict of a half-space has changed."""
    model = HalfSpaceVLM(0.0, resolution=(8, 8))
    x = InputImage(np.full((64, 64, 3), 255, np.uint8))
    certificate = SmoothedClassifier(model, ORACLE, Smoothing(key=b"k" * 16)).certify(x, "?")
    right = certificate.radius_linf
    mixed = certificate.radius_original_pixels / np.sqrt(3 * 8 * 8)
    edge = certificate.radius / np.sqrt(3 * 8 * 8)  # a constant shift by this moves the sum by radius·√d
    assert right == pytest.approx(edge)
    assert mixed > 5 * edge


def test_no_change_within_the_radius_changes_the_smoothed_verdict() -> None:
    """For a half-space the worst change is known: along its normal. Just inside a perfect bound's radius the smoothed
    verdict holds, just beyond it does not."""
    for q in (0.55, 0.75, 0.99):
        distance = certified_radius(q, 0.5)
        for step, expected in ((0.999, True), (1.001, False)):
            shifted = norm.cdf((distance - step * distance) / 0.5)
            assert (shifted > 0.5) == expected


class TestAlgorithm2:
    """The paper's way with semantic classes, kept for comparison."""

    def test_a_hundred_different_answers_chain_into_one_cluster(self) -> None:
        answers = [str(i) for i in range(100)]
        (cluster,) = merge_votes(answers, lambda a, b: abs(int(a) - int(b)) <= 1)
        assert cluster.votes == 100
        against_one = sum(abs(int(a) - int(cluster.representative)) <= 1 for a in answers)
        assert against_one == 2, "to a fixed representative, hardly any of them is equivalent"

    def test_it_is_an_abstention_to_a_policy(self) -> None:
        x = InputImage(np.full((2, 2, 3), 255, np.uint8))
        smoothed = SmoothedClassifier(HalfSpaceVLM(0.0), ORACLE)
        certificate = algorithm_2(smoothed, x, "?", lambda a, b: a == b)
        assert certificate.verdict is Verdict.CERTIFIED
        assert certificate.certified_class == "good"
        assert not certificate.rigorous
        assert list(Policy().decide(certificate)) == [Reason.ABSTAINED]

    @pytest.mark.simulation
    def test_chosen_on_its_own_draws_it_is_false_more_often_than_alpha(self) -> None:
        """Two answers of probability 1/2 each: any majority is false, and the leading cluster is tested at full α.

        At n = 30 and α = 0.05, P[either count passes] = 2·P[K ≥ 20] = 0.099 by the binomial law.
        """
        rng = np.random.default_rng(0)
        enough = next(k for k in range(31) if clopper_pearson_lower(k, 30, 0.05) > 0.5)
        false, runs = 0, simulations(2000)
        for _ in range(runs):
            answers = ["yes" if coin else "no" for coin in rng.random(30) < 0.5]
            false += merge_votes(answers, lambda a, b: a == b)[0].votes >= enough
        assert false / runs > 0.075
