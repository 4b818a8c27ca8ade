"""Scaling laws and planning: exact sums, against tables, enumeration and quadrature."""

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import beta, binom, norm

from guardrail.statistics.clopper_pearson import certified_radius, clopper_pearson_lower, partition_lower
from guardrail.statistics.scaling import (
    BetaDistribution,
    EmpiricalDistribution,
    ProbabilityDistribution,
    UniformDistribution,
    operation,
    plan,
    scaling_law,
    scaling_point,
)
from guardrail.statistics.sequential import (
    ConfidenceSequence,
    FixedSample,
    PowerSpending,
    default_looks,
    predictive_probability,
)

ALPHA = 0.001
HALF_TO_ONE = UniformDistribution(0.5, 1.0)
DISTRIBUTIONS: list[ProbabilityDistribution] = [
    HALF_TO_ONE,
    UniformDistribution(0.2, 0.9),
    BetaDistribution(6.0, 0.8),
    EmpiricalDistribution([0.3, 0.7, 0.7, 0.95, 0.999]),
]
TARGET = float(norm.cdf(0.5))  # R/σ = 0.5


# ------------------------------------------------------------------------------------------------------ fixed n


@pytest.mark.parametrize(
    ("draws", "retained", "law", "share"),
    [
        (50, 0.332, 0.283, 0.549),
        (100, 0.486, 0.493, 0.693),
        (200, 0.615, 0.642, 0.776),
        (500, 0.744, 0.773, 0.858),
        (1000, 0.815, 0.840, 0.901),
    ],
)
def test_radius_and_share_for_uniform_p(draws: int, retained: float, law: float, share: float) -> None:
    point = scaling_point(draws, ALPHA, HALF_TO_ONE)
    assert point.retained == pytest.approx(retained, abs=5e-4)
    assert point.law == pytest.approx(law, abs=5e-4)
    assert point.certified_share == pytest.approx(share, abs=5e-4)
    assert point.abstention == pytest.approx(1 - share, abs=5e-4)


@pytest.mark.slow
def test_the_law_is_negative_at_small_n_and_too_kind_at_large_n() -> None:
    assert scaling_law(25, ALPHA) < 0 < scaling_law(26, ALPHA)
    assert 1 - scaling_law(10_000, ALPHA) == pytest.approx(0.051, abs=5e-4)
    assert 1 - scaling_point(10_000, ALPHA, HALF_TO_ONE).retained == pytest.approx(0.061, abs=5e-4)


@pytest.mark.slow
@pytest.mark.parametrize("distribution", DISTRIBUTIONS, ids=repr)
def test_mean_radius_is_the_mean_over_requests_and_counts(distribution: ProbabilityDistribution) -> None:
    # requests on a fine grid of quantiles, the radius of each count weighed by its binomial probability
    n = 60
    middles = (np.arange(20_000) + 0.5) / 20_000
    match distribution:
        case UniformDistribution(low=low, high=high):
            p = low + (high - low) * middles
        case BetaDistribution(a=a, b=b):
            p = beta.ppf(middles, a, b)
        case EmpiricalDistribution(values=values):
            p = np.array(values)
        case _:
            raise AssertionError
    radius = np.array([certified_radius(clopper_pearson_lower(k, n, ALPHA), 1.0) for k in range(n + 1)])
    mass = binom.pmf(np.arange(n + 1)[:, None], n, p[None, :]).mean(axis=1)
    point = scaling_point(n, ALPHA, distribution)
    assert distribution.counts(n) == pytest.approx(mass, abs=1e-5)
    assert point.mean_radius == pytest.approx(mass @ radius, rel=1e-4)
    assert point.certified_share == pytest.approx(mass[radius > 0].sum(), rel=1e-4)
    assert point.retained == pytest.approx(point.mean_radius / distribution.limit_radius())
    assert distribution.limit_radius() == pytest.approx(np.maximum(norm.ppf(p), 0).mean(), rel=1e-3)
    assert distribution.share_above(0.69) == pytest.approx((p > 0.69).mean(), abs=1e-4)


@pytest.mark.parametrize("distribution", DISTRIBUTIONS, ids=repr)
@pytest.mark.parametrize("draws", [1, 7, 300])
def test_the_law_of_the_count_is_a_law(distribution: ProbabilityDistribution, draws: int) -> None:
    mass = distribution.counts(draws)
    assert mass.shape == (draws + 1,)
    assert np.all(mass >= -1e-12)
    assert mass.sum() == pytest.approx(1.0)


@given(st.floats(0.05, 0.9), st.floats(0.01, 0.09))
@settings(max_examples=20, deadline=None)
def test_the_uniform_limit_is_its_integral(low: float, width: float) -> None:
    integral = quad(lambda p: max(float(norm.ppf(p)), 0.0), low, low + width, points=[0.5])[0]
    assert UniformDistribution(low, low + width).limit_radius() == pytest.approx(integral / width, abs=1e-7)


def test_a_uniform_is_a_beta() -> None:
    assert BetaDistribution(1.0, 1.0).counts(50) == pytest.approx(UniformDistribution(0.0, 1.0).counts(50))
    assert BetaDistribution(1.0, 1.0).limit_radius() == pytest.approx(UniformDistribution(0.0, 1.0).limit_radius())


def test_a_plug_in_of_one_has_no_limit() -> None:
    certain = EmpiricalDistribution([0.6, 1.0])
    assert certain.counts(10)[10] == pytest.approx((0.6**10 + 1) / 2)  # at finite n it is a probability like any
    with pytest.raises(ValueError, match="cap="):
        scaling_point(100, ALPHA, certain)
    capped = EmpiricalDistribution([0.6, 1.0], cap=0.999)
    assert capped.limit_radius() == pytest.approx((norm.ppf(0.6) + norm.ppf(0.999)) / 2)
    assert 0 < scaling_point(100, ALPHA, capped).retained < 1


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: UniformDistribution(0.9, 0.5), "low < high"),
        (lambda: BetaDistribution(0.0, 1.0), "positive"),
        (lambda: EmpiricalDistribution([]), "at least one"),
        (lambda: EmpiricalDistribution([1.2]), "probabilities"),
        (lambda: EmpiricalDistribution([math.nan]), "probabilities"),
        (lambda: EmpiricalDistribution([0.5], cap=1.0), "cap"),
        (lambda: scaling_law(0, ALPHA), "at least 1 draw"),
        (lambda: scaling_law(10, 0.0), "alpha"),
        (lambda: scaling_point(10, ALPHA, UniformDistribution(0.1, 0.4)), "above 1/2"),
    ],
)
def test_what_makes_no_sense_is_refused(build: object, message: str) -> None:
    assert callable(build)
    with pytest.raises(ValueError, match=message):
        build()


# ------------------------------------------------------------------------------------------------ early stopping


@pytest.mark.parametrize("futility", [0.0, 0.2])
def test_power_and_draws_by_enumerating_all_orders(futility: float) -> None:
    bound = ConfidenceSequence((4, 6, 9, 12), 0.2)
    target, p = 0.45, 0.7
    power = mean_draws = 0.0
    for draws in product((0, 1), repeat=12):
        mass = math.prod(p if draw else 1 - p for draw in draws)
        for look in bound.looks:
            count = sum(draws[:look])
            certified = bound.lower(count, look) > target
            if certified or predictive_probability(bound, target, count, look) < futility or look == bound.looks[-1]:
                power += mass * certified
                mean_draws += mass * look
                break
    found = operation(bound, target, EmpiricalDistribution([p]), futility=futility)
    assert found.power == pytest.approx(power)
    assert found.mean_draws == pytest.approx(mean_draws)


@pytest.mark.parametrize("distribution", DISTRIBUTIONS, ids=repr)
def test_a_fixed_sample_draws_all_and_has_its_textbook_power(distribution: ProbabilityDistribution) -> None:
    found = operation(FixedSample(100, ALPHA), TARGET, distribution)
    assert found.mean_draws == pytest.approx(100.0)
    assert found.power == pytest.approx(distribution.counts(100)[84:].sum())  # 84 of 100: bound 0.7005 > 0.6915
    early = operation(ConfidenceSequence(default_looks(100), ALPHA), TARGET, distribution)
    assert early.power <= found.power
    assert early.mean_draws < 45


def test_early_stopping_is_within_fifteen_percent_of_wald_when_every_draw_may_be_a_look() -> None:
    # log(1/α)/KL(p, p₀) bounds the mean draws of any sequential test from below, at power near 1
    bound = ConfidenceSequence(range(1, 101), ALPHA)
    for p in (1.0, 0.99, 0.97, 0.95):
        divergence = p * math.log(p / TARGET) + ((1 - p) * math.log((1 - p) / (1 - TARGET)) if p < 1 else 0.0)
        wald = math.log(1 / ALPHA) / divergence
        found = operation(
            bound, TARGET, EmpiricalDistribution([p]), futility=0.0
        )  # whoever gives up may beat the bound
        assert found.power > 0.97
        assert wald < found.mean_draws <= 1.15 * wald


@pytest.mark.slow
def test_mean_draws_with_square_root_spending() -> None:
    bound = ConfidenceSequence(range(1, 101), ALPHA, PowerSpending(0.5))
    for p, mean_draws in ((1.0, 21.0), (0.99, 23.2), (0.97, 28.2), (0.95, 34.2)):
        found = operation(bound, TARGET, EmpiricalDistribution([p]), futility=0.0)
        assert found.mean_draws == pytest.approx(mean_draws, abs=0.1)


def test_giving_up_saves_draws_and_costs_power() -> None:
    bound = ConfidenceSequence(default_looks(100), ALPHA)
    patient, hasty = (operation(bound, TARGET, HALF_TO_ONE, futility=f) for f in (0.0, 0.3))
    assert hasty.mean_draws < patient.mean_draws
    assert hasty.power < patient.power
    with pytest.raises(ValueError, match="futility"):
        operation(bound, TARGET, HALF_TO_ONE, futility=1.0)


# ------------------------------------------------------------------------------------------------------ planning


def fixed_power(draws: int, target_q: float, distribution: ProbabilityDistribution) -> float:
    bounds = [partition_lower(k, draws, ALPHA) for k in range(draws + 1)]
    return float(sum(m for m, b in zip(distribution.counts(draws), bounds, strict=True) if b > target_q))


def test_the_planned_n_is_the_smallest() -> None:
    distribution = EmpiricalDistribution([0.6, 0.85, 0.93, 0.97, 0.99])
    found = plan(0.25, 0.5, ALPHA, distribution, share=0.8)
    assert found.target_q == pytest.approx(TARGET)
    assert found.attainable == pytest.approx(0.8)
    wanted = 0.8 * found.attainable
    assert found.fixed.power >= wanted
    assert found.fixed.power == pytest.approx(fixed_power(found.draws, found.target_q, distribution))
    assert all(fixed_power(n, found.target_q, distribution) < wanted for n in range(1, found.draws))
    assert found.bound.looks == default_looks(found.draws)
    assert found.early.mean_draws < 0.8 * found.draws
    assert found.fixed.power - 0.1 < found.early.power <= found.fixed.power


def test_the_fewest_draws_for_certain_requests() -> None:
    # at p = 1 every draw agrees: n is the number of draws that certify the radius at all (11, 20, 41)
    certain = EmpiricalDistribution([1.0])
    assert [plan(radius, 0.5, ALPHA, certain).draws for radius in (0.0, 0.25, 0.5)] == [11, 20, 41]


def test_a_plan_for_given_looks() -> None:
    found = plan(0.25, 0.5, ALPHA, HALF_TO_ONE, looks=(50, 100))
    assert found.draws == 100
    assert found.bound.looks == (50, 100)
    assert found.fixed.mean_draws == pytest.approx(100)
    assert found.early.mean_draws == pytest.approx(
        operation(ConfidenceSequence((50, 100), ALPHA, partition=True), found.target_q, HALF_TO_ONE).mean_draws
    )


def test_plans_that_cannot_be_met_are_refused() -> None:
    with pytest.raises(ValueError, match="no request has a true radius"):
        plan(1.0, 0.5, ALPHA, UniformDistribution(0.5, 0.9))
    with pytest.raises(ValueError, match="raise max_draws"):
        plan(0.25, 0.5, ALPHA, HALF_TO_ONE, max_draws=50)
    with pytest.raises(ValueError, match="share"):
        plan(0.25, 0.5, ALPHA, HALF_TO_ONE, share=1.0)
    with pytest.raises(ValueError, match="sigma"):
        plan(0.25, 0.0, ALPHA, HALF_TO_ONE)
