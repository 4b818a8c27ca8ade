"""The paper's first-principles checks: numbers that any implementation must meet."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta, binom, norm

from guardrail.statistics import certified_radius, clopper_pearson_lower, clopper_pearson_upper

ALPHA = 0.001
SIGMA = 0.5


def radius(successes: int, trials: int) -> float:
    return certified_radius(clopper_pearson_lower(successes, trials, ALPHA), SIGMA)


def test_radius_of_a_known_probability() -> None:
    assert certified_radius(0.75, SIGMA) == pytest.approx(0.337245, abs=1e-6)


@pytest.mark.parametrize(("successes", "bound"), [(85, 0.712507), (95, 0.844633), (100, 0.933254)])
def test_clopper_pearson_at_a_hundred_draws(successes: int, bound: float) -> None:
    assert clopper_pearson_lower(successes, 100, ALPHA) == pytest.approx(bound, abs=1e-6)


@pytest.mark.parametrize(("successes", "expected"), [(95, 0.506841), (100, 0.750237)])
def test_radius_at_a_hundred_draws(successes: int, expected: float) -> None:
    assert radius(successes, 100) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("trials", "largest"), [(10, 0.0030), (100, 1.5005), (1000, 2.4633), (10_000, 3.1986), (100_000, 3.8115)]
)
def test_largest_radius_over_sigma(trials: int, largest: float) -> None:
    assert radius(trials, trials) / SIGMA == pytest.approx(largest, abs=5e-5)


@pytest.mark.parametrize(("target", "fewest"), [(0.0, 10), (0.25, 19), (0.5, 40)])
def test_fewest_draws_that_certify_a_radius(target: float, fewest: int) -> None:
    assert next(n for n in range(1, 100) if radius(n, n) > target) == fewest


def test_half_is_an_abstention() -> None:
    assert certified_radius(0.5, SIGMA) == 0.0
    assert certified_radius(0.2, SIGMA) == 0.0


@pytest.mark.parametrize("q_lower", [1.0, -0.1, 1.1, math.nan])
def test_impossible_bounds_are_refused(q_lower: float) -> None:
    with pytest.raises(ValueError, match="q_lower"):
        certified_radius(q_lower, SIGMA)


@pytest.mark.parametrize("sigma", [0.0, -1.0, math.inf, math.nan])
def test_impossible_noise_is_refused(sigma: float) -> None:
    with pytest.raises(ValueError, match="sigma"):
        certified_radius(0.9, sigma)


@pytest.mark.parametrize(("successes", "trials", "alpha"), [(-1, 10, 0.1), (11, 10, 0.1), (0, 0, 0.1), (5, 10, 0.0)])
def test_impossible_counts_are_refused(successes: int, trials: int, alpha: float) -> None:
    with pytest.raises(ValueError, match="got"):
        clopper_pearson_lower(successes, trials, alpha)


counts = st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))
levels = st.floats(1e-6, 0.4)


@given(counts, levels)
def test_lower_bound_is_monotone_in_successes_trials_and_alpha(count: tuple[int, int], alpha: float) -> None:
    k, n = count
    bound = clopper_pearson_lower(k, n, alpha)
    assert 0.0 <= bound <= k / n
    if k < n:
        assert clopper_pearson_lower(k + 1, n, alpha) > bound
    assert clopper_pearson_lower(k, n + 1, alpha) <= bound
    assert clopper_pearson_lower(k, n, alpha / 2) <= bound
    assert clopper_pearson_upper(k, n, alpha) >= k / n


@pytest.mark.slow
@given(counts, levels)
def test_bounds_agree_with_the_beta_quantiles(count: tuple[int, int], alpha: float) -> None:
    k, n = count
    lower = beta.ppf(alpha, k, n - k + 1) if k else 0.0
    upper = beta.isf(alpha, k + 1, n - k) if k < n else 1.0
    assert clopper_pearson_lower(k, n, alpha) == pytest.approx(lower, rel=1e-9, abs=1e-12)
    assert clopper_pearson_upper(k, n, alpha) == pytest.approx(upper, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("trials", [1, 10, 57, 100])
@pytest.mark.parametrize("p", [0.05, 0.5, 0.6915, 0.9, 0.999])
def test_coverage_by_enumeration(trials: int, p: float) -> None:
    """P_p[bound > p] is at most α, exactly, and so for the upper bound."""
    for alpha in (0.001, 0.05):
        too_high = sum(
            binom.pmf(k, trials, p) for k in range(trials + 1) if clopper_pearson_lower(k, trials, alpha) > p
        )
        too_low = sum(binom.pmf(k, trials, p) for k in range(trials + 1) if clopper_pearson_upper(k, trials, alpha) < p)
        assert too_high <= alpha * (1 + 1e-9)
        assert too_low <= alpha * (1 + 1e-9)


def test_the_radius_is_the_quantile_of_the_normal() -> None:
    assert certified_radius(0.9, 0.25) == pytest.approx(0.25 * norm.ppf(0.9), rel=1e-12)
