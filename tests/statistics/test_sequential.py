"""Early stopping: exact by enumeration, sound whatever p is, and the plausible shortcuts shown to be unsound."""

import math
import pickle
import random
from collections.abc import Callable, Sequence
from fractions import Fraction
from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from guardrail.statistics.clopper_pearson import clopper_pearson_lower
from guardrail.statistics.sequential import (
    DEFAULT_SPENDING,
    LINEAR,
    ConfidenceSequence,
    FixedSample,
    LowerBound,
    PowerSpending,
    default_looks,
    predictive_probability,
)
from tests.kit.simulations import simulations

ALPHA = 0.001
DEFAULT = ConfidenceSequence(default_looks(100), ALPHA)


def crossing_exactly(looks: Sequence[int], boundary: Sequence[int], p: Fraction) -> list[Fraction]:
    """P[some look i ≤ j has K_i ≥ c_i] for each j, in rational arithmetic, one draw at a time."""
    running, crossed, out = {0: Fraction(1)}, Fraction(0), []
    stop = dict(zip(looks, boundary, strict=True))
    for draw in range(1, looks[-1] + 1):
        after: dict[int, Fraction] = {}
        for count, mass in running.items():
            after[count] = after.get(count, Fraction(0)) + mass * (1 - p)
            after[count + 1] = after.get(count + 1, Fraction(0)) + mass * p
        if draw in stop:
            crossed += sum((mass for count, mass in after.items() if count >= stop[draw]), Fraction(0))
            after = {count: mass for count, mass in after.items() if count < stop[draw]}
            out.append(crossed)
        running = after
    return out


def crossing(looks: Sequence[int], boundary: Sequence[int], p: float) -> float:
    """The same at the last look, in floating point, one batch at a time."""
    running, crossed, drawn = np.ones(1), 0.0, 0
    for look, count in zip(looks, boundary, strict=True):
        running = np.convolve(running, binom.pmf(np.arange(look - drawn + 1), look - drawn, p))
        crossed += float(running[count:].sum())
        running, drawn = running[:count], look
    return crossed


def rejections(bound: Callable[[int, int], float], looks: Sequence[int], p: float) -> list[int]:
    """Per look, the smallest count whose bound exceeds p."""
    return [next((k for k in range(n + 1) if bound(k, n) > p), n + 1) for n in looks]


def schedules(number: int) -> list[tuple[tuple[int, ...], float, float, PowerSpending]]:
    """Random looks, nulls, alphas and spendings."""
    rng = random.Random(20250916)
    out = []
    for _ in range(number):
        looks = tuple(sorted(rng.sample(range(1, 41), rng.randint(1, 8))))
        spending = PowerSpending(rng.choice([0.3, 0.5, 0.7, 1.0, 2.0]))
        out.append((looks, rng.uniform(0.02, 0.98), rng.choice([0.001, 0.01, 0.05, 0.2]), spending))
    return out


# ------------------------------------------------------------------------------------------------------ exactness


@pytest.mark.slow
@pytest.mark.parametrize(("looks", "p0", "alpha", "spending"), schedules(40))
def test_boundaries_spend_the_error_exactly(
    looks: tuple[int, ...], p0: float, alpha: float, spending: PowerSpending
) -> None:
    sequence = ConfidenceSequence(looks, alpha, spending)
    boundary = sequence.boundary(p0)
    levels = [Fraction(level) for level in sequence.levels]
    spent = crossing_exactly(looks, boundary, Fraction(p0))
    assert all(0 <= count <= look + 1 for count, look in zip(boundary, looks, strict=True))
    assert all(s <= level for s, level in zip(spent, levels, strict=True))
    assert spent[-1] <= Fraction(alpha)
    # each boundary is the smallest that its level allows: one count lower overspends
    for j, count in enumerate(boundary):
        lower = [*boundary[:j], count - 1]
        assert crossing_exactly(looks[: j + 1], lower, Fraction(p0))[-1] > levels[j]


def test_boundaries_agree_with_all_sequences_of_twelve_draws() -> None:
    looks, alpha, p0 = (3, 5, 8, 12), 0.1, 0.4
    sequence = ConfidenceSequence(looks, alpha, LINEAR)
    boundary = sequence.boundary(p0)
    crossed = Fraction(0)
    for draws in product((0, 1), repeat=12):
        if any(sum(draws[:look]) >= count for look, count in zip(looks, boundary, strict=True)):
            crossed += Fraction(p0) ** sum(draws) * (1 - Fraction(p0)) ** (12 - sum(draws))
    assert crossed == crossing_exactly(looks, boundary, Fraction(p0))[-1]
    assert 0 < crossed <= Fraction(alpha)


def test_a_level_that_equals_a_tail_is_not_overspent_by_rounding() -> None:
    # P[K = 10 of 10] at 1/2 is 2⁻¹⁰ exactly: the margin against round-off may refuse it, but never the other way
    for n in range(1, 40):
        boundary = ConfidenceSequence((n,), 0.3**n, LINEAR).boundary(0.3)
        assert crossing_exactly((n,), boundary, Fraction(0.3))[-1] <= Fraction(0.3**n)


@pytest.mark.slow
@pytest.mark.parametrize(
    "sequence",
    [
        DEFAULT,
        ConfidenceSequence(default_looks(100), 0.05),
        ConfidenceSequence(range(1, 101), ALPHA),
        ConfidenceSequence((16, 20, 24, 30, 36, 44, 54, 66, 80, 100), ALPHA, PowerSpending(0.7)),
        ConfidenceSequence((10, 20, 50, 100), ALPHA, LINEAR),
    ],
    ids=lambda s: f"{len(s.looks)} looks, alpha {s.alpha}",
)
def test_the_bound_exceeds_the_truth_at_any_look_at_most_at_alpha(sequence: ConfidenceSequence) -> None:
    # exactly, for p over a grid that includes the ends of cells, their right neighbours and points between
    ends = {sequence.lower(k, look) for look in sequence.looks[-9::2] for k in range(look // 2, look + 1, 7)}
    grid = [*np.linspace(0.01, 0.995, 60), *ends, *(math.nextafter(e, 1.0) for e in ends), *(e + 5e-5 for e in ends)]
    worst = max(crossing(sequence.looks, [sequence.required_count(p, n) for n in sequence.looks], p) for p in grid)
    assert 0.8 * sequence.alpha < worst <= sequence.alpha * (1 + 1e-9)  # the check itself is in floating point


@pytest.mark.simulation
def test_coverage_by_simulation_which_naive_peeking_fails() -> None:
    # Derived tolerance: a check that holds exactly at `alpha` exceeds `allowed` false bounds with probability 1e-6.
    alpha, requests, budget = 0.05, simulations(20_000), 100
    allowed = binom.isf(1e-6, requests, alpha)
    looks = range(10, budget + 1)
    sequence = ConfidenceSequence(looks, alpha)
    rng = np.random.default_rng(7)
    for p in (0.5, 0.6915, 0.9):
        counts = np.cumsum(rng.random((requests, budget)) < p, axis=1)[:, looks.start - 1 :]
        exact = np.array([sequence.required_count(p, n) for n in looks])
        naive = np.array(rejections(lambda k, n: clopper_pearson_lower(k, n, alpha), looks, p))
        assert np.any(counts >= exact, axis=1).sum() <= allowed
        assert np.any(counts >= naive, axis=1).sum() > 2 * allowed


@pytest.mark.slow
def test_naive_peeking_multiplies_the_error_by_six() -> None:
    looks = range(10, 101)
    naive = rejections(lambda k, n: clopper_pearson_lower(k, n, ALPHA), looks, 0.5)
    assert crossing(looks, naive, 0.5) == pytest.approx(0.0066, abs=1e-4)
    exact = ConfidenceSequence(looks, ALPHA)
    assert crossing(looks, [exact.required_count(0.5, n) for n in looks], 0.5) <= ALPHA


@pytest.mark.slow
def test_the_largest_rejected_null_is_no_bound() -> None:
    # Exact boundaries are not monotone in the null: some null above p can be rejected where p is not. So the rule
    # 'largest null that is rejected' claims a bound above p whenever *any* null above p is rejected.
    sequence = ConfidenceSequence((10, 20, 50, 100), ALPHA)
    p = 0.524
    above = [sequence.boundary(null) for null in np.linspace(p, 0.6, 400)[1:]]
    any_rejected = [min(counts) for counts in zip(*above, strict=True)]
    assert crossing(sequence.looks, any_rejected, p) > 1.3 * ALPHA
    assert crossing(sequence.looks, [sequence.required_count(p, n) for n in sequence.looks], p) <= ALPHA


# ------------------------------------------------------------------------------------------------------ tightness


@pytest.mark.slow
@pytest.mark.parametrize(("budget", "width"), [(100, 1e-4), (1000, 1e-3)])
def test_the_bound_is_the_first_null_that_is_not_rejected_up_to_a_cell(budget: int, width: float) -> None:
    sequence = ConfidenceSequence(default_looks(budget), ALPHA)
    rng = random.Random(3)
    for _ in range(12):
        j = rng.randrange(len(sequence.looks))
        look = sequence.looks[j]
        successes = rng.randint(look // 2, look)
        bound = sequence.lower(successes, look)
        below = np.linspace(0.0, bound, 12)
        assert all(successes >= sequence.boundary(null)[j] for null in below)
        assert any(successes < sequence.boundary(null)[j] for null in np.linspace(bound, min(bound + width, 1.0), 25))


@pytest.mark.slow
@given(st.sets(st.integers(1, 60), min_size=1, max_size=8), st.sampled_from([0.3, 0.5, 1.0]), st.data())
@settings(max_examples=25, deadline=None)
def test_the_bound_grows_with_the_count_and_stays_under_clopper_pearson(
    looks: set[int], exponent: float, data: st.DataObject
) -> None:
    sequence = ConfidenceSequence(sorted(looks), 0.01, PowerSpending(exponent))
    look = data.draw(st.sampled_from(sequence.looks))
    bounds = [sequence.lower(k, look) for k in range(look + 1)]
    assert all(a <= b for a, b in pairwise(bounds))
    assert bounds[0] >= 0.0
    assert bounds[-1] < 1.0
    assert all(bound <= clopper_pearson_lower(k, look, 0.01) + 1e-12 for k, bound in enumerate(bounds))
    target = data.draw(st.floats(0.0, 1.0))
    required = sequence.required_count(target, look)
    assert [k >= required for k in range(look + 1)] == [bound > target for bound in bounds]


def test_extreme_nulls() -> None:
    assert DEFAULT.boundary(1.0) == tuple(look + 1 for look in DEFAULT.looks)  # never rejected
    assert DEFAULT.boundary(0.0) == (1,) * len(DEFAULT.looks)
    assert DEFAULT.lower(0, 100) == 0.0


def test_a_spending_that_gives_nothing_early_never_rejects_early() -> None:
    class Late:
        name = "late"

        def __call__(self, fraction: float, /) -> float:
            return float(fraction == 1.0)

    sequence = ConfidenceSequence((50, 200), ALPHA, Late())
    assert sequence.boundary(0.5)[0] == 51
    assert sequence.lower(50, 50) == 0.0
    assert sequence.lower(200, 200) == pytest.approx(clopper_pearson_lower(200, 200, ALPHA), abs=2e-4)


# ---------------------------------------------------------------------------------------------------- the interface


@pytest.mark.parametrize("bound", [DEFAULT, FixedSample(100, ALPHA)], ids=["sequential", "fixed"])
def test_both_methods_have_one_interface(bound: LowerBound) -> None:
    assert isinstance(bound, LowerBound)
    assert bound.looks[-1] == 100
    assert bound.alpha == ALPHA
    assert bound.required_count(0.0, 100) == 1
    assert bound.required_count(0.99, 100) == 101
    count = bound.required_count(0.6915, 100)
    assert bound.lower(count - 1, 100) <= 0.6915 < bound.lower(count, 100)
    assert pickle.loads(pickle.dumps(bound)) == bound  # noqa: S301  (our own bytes)
    assert hash(bound) == hash(pickle.loads(pickle.dumps(bound)))  # noqa: S301
    with pytest.raises(ValueError, match="look must be one of"):
        bound.lower(3, 7)
    with pytest.raises(ValueError, match="successes"):
        bound.lower(101, 100)


def test_fixed_sample_is_clopper_pearson() -> None:
    assert FixedSample(100, ALPHA).lower(95, 100) == clopper_pearson_lower(95, 100, ALPHA)


def test_names_say_all_that_the_bound_depends_on() -> None:
    assert ConfidenceSequence([50, 100], ALPHA).name == "sequential(looks=50,100, alpha=0.001, spending=power(0.52))"
    assert FixedSample(100, ALPHA).name == "fixed(samples=100, alpha=0.001)"
    assert DEFAULT_SPENDING.name == "power(0.52)"
    assert LINEAR.name == "power(1.0)"
    assert ConfidenceSequence([50, 100], ALPHA) == ConfidenceSequence((50, 100), ALPHA)


def test_tables_are_shared_between_equal_sequences() -> None:
    assert ConfidenceSequence((7, 9), 0.1)._lower is ConfidenceSequence((7, 9), 0.1)._lower


@pytest.mark.parametrize("looks", [(), (0, 5), (5, 5), (9, 3)])
def test_impossible_looks_are_refused(looks: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="looks"):
        ConfidenceSequence(looks, ALPHA)


@pytest.mark.parametrize("alpha", [0.0, 1.0, -0.1, math.nan])
def test_impossible_alphas_are_refused(alpha: float) -> None:
    with pytest.raises(ValueError, match="alpha"):
        ConfidenceSequence((10,), alpha)
    with pytest.raises(ValueError, match="alpha"):
        FixedSample(10, alpha)


def test_impossible_spendings_are_refused() -> None:
    class Falling:
        name = "falling"

        def __call__(self, fraction: float, /) -> float:
            return 1.0 if fraction == 1.0 else 1.5 - fraction

    with pytest.raises(ValueError, match="falling"):
        ConfidenceSequence((10, 20, 30), ALPHA, Falling())
    with pytest.raises(ValueError, match="exponent"):
        PowerSpending(0.0)


@pytest.mark.parametrize("null", [-0.1, 1.1, math.nan])
def test_impossible_nulls_are_refused(null: float) -> None:
    with pytest.raises(ValueError, match="probability"):
        DEFAULT.boundary(null)


# -------------------------------------------------------------------------------------------------- looks, futility


def test_default_looks() -> None:
    assert default_looks(100) == (11, 14, 17, 21, 27, 33, 41, 52, 64, 80, 100)
    assert default_looks(100, batch=32) == (32, 64, 96, 100)
    assert default_looks(8) == (8,)
    with pytest.raises(ValueError, match="budget"):
        default_looks(0)
    with pytest.raises(ValueError, match="batch"):
        default_looks(100, 0)


@given(st.integers(1, 3000), st.integers(1, 64))
def test_looks_fill_batches_and_end_at_the_budget(budget: int, batch: int) -> None:
    looks = default_looks(budget, batch)
    assert looks[-1] == budget
    assert all(a < b for a, b in pairwise(looks))
    assert all(look % batch == 0 for look in looks[:-1])


@pytest.mark.parametrize("prior", [1, 2])
def test_the_predictive_probability_by_enumerating_the_draws_to_come(prior: int) -> None:
    bound = ConfidenceSequence((4, 6, 9, 12), 0.2)
    look, successes, target = 4, 3, 0.4

    def reaches(draws: tuple[int, ...]) -> bool:
        counts = {n: successes + sum(draws[: n - look]) for n in bound.looks}
        return any(bound.lower(count, n) > target for n, count in counts.items())

    def chance(draws: tuple[int, ...]) -> Fraction:
        """Pólya's urn: the Beta-binomial law of the order of the draws."""
        good, bad, mass = prior + successes, prior + look - successes, Fraction(1)
        for draw in draws:
            mass *= Fraction(good if draw else bad, good + bad)
            good, bad = good + draw, bad + 1 - draw
        return mass

    expected = sum((chance(d) for d in product((0, 1), repeat=8) if reaches(d)), Fraction(0))
    assert 0 < expected < 1
    assert predictive_probability(bound, target, successes, look, prior=prior) == pytest.approx(float(expected))


def test_the_predictive_probability_at_its_ends() -> None:
    assert predictive_probability(DEFAULT, 0.5, 52, 52) == 1.0  # reached already
    assert predictive_probability(DEFAULT, 0.5, 50, 100) == 0.0  # no draws left
    assert predictive_probability(DEFAULT, 0.999, 52, 52) == 0.0  # out of reach of the budget
    chances = [predictive_probability(DEFAULT, 0.5793, k, 41) for k in range(42)]
    assert all(a <= b for a, b in pairwise(chances))
    with pytest.raises(ValueError, match="prior"):
        predictive_probability(DEFAULT, 0.5, 5, 11, prior=0.0)
    with pytest.raises(ValueError, match="look must be"):
        predictive_probability(DEFAULT, 0.5, 5, 12)


def test_giving_up_costs_no_error_probability() -> None:
    # Non-binding: whoever ignores the futility rule and goes on to the last look still has a bound. The boundaries do
    # not depend on the rule, and stopping without a claim can only lower the chance of a false one.
    target = 0.6915
    required = [DEFAULT.required_count(target, n) for n in DEFAULT.looks]
    running, false, drawn = np.ones(1), 0.0, 0
    for look, count in zip(DEFAULT.looks, required, strict=True):
        running = np.convolve(running, binom.pmf(np.arange(look - drawn + 1), look - drawn, target))[: look + 1]
        false += float(running[count:].sum())
        going_on = [predictive_probability(DEFAULT, target, k, look) >= 0.05 for k in range(min(count, len(running)))]
        running, drawn = running[:count] * going_on, look
    assert false <= crossing(DEFAULT.looks, required, target) <= ALPHA
