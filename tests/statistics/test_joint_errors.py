"""How often several oracles err together: by enumeration, by the worst dependence there is, and by independence."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog
from scipy.stats import binom

from guardrail.statistics.joint_errors import independent_joint_rate, joint_rate_upper

rates = st.lists(st.integers(0, 100).map(lambda n: n / 100), min_size=1, max_size=5)


def worst_dependence(marginals: list[float], together: int) -> float:
    """The largest P[at least `together` events] over all joint distributions with these marginals."""
    atoms = np.array(list(product((0, 1), repeat=len(marginals))))
    wanted = (atoms.sum(axis=1) >= together).astype(float)
    solution = linprog(
        -wanted, A_eq=np.vstack((atoms.T, np.ones(len(atoms)))), b_eq=[*marginals, 1.0], bounds=(0.0, 1.0)
    )
    assert solution.success
    return -float(solution.fun)


@pytest.mark.slow
@given(rates, st.data())
@settings(max_examples=150, deadline=None)
def test_no_dependence_exceeds_the_bound_and_one_attains_it(marginals: list[float], data: st.DataObject) -> None:
    together = data.draw(st.integers(1, len(marginals)))
    assert joint_rate_upper(marginals, together) == pytest.approx(worst_dependence(marginals, together), abs=1e-7)


@given(rates, st.data())
@settings(max_examples=100, deadline=None)
def test_independence_is_one_dependence(marginals: list[float], data: st.DataObject) -> None:
    together = data.draw(st.integers(1, len(marginals)))
    exact = sum(
        np.prod([rate if happens else 1 - rate for rate, happens in zip(marginals, atom, strict=True)])
        for atom in product((0, 1), repeat=len(marginals))
        if sum(atom) >= together
    )
    rate = independent_joint_rate(marginals, together)
    assert rate == pytest.approx(exact, abs=1e-12)
    assert rate <= joint_rate_upper(marginals, together) + 1e-12
    raised = [min(1.0, marginal + 0.05) for marginal in marginals]
    assert rate <= independent_joint_rate(raised, together) + 1e-12, "so upper bounds on the rates bound it"


def test_the_cases_that_people_know() -> None:
    unequal = [0.01, 0.02, 0.4]
    assert joint_rate_upper(unequal, 3) == 0.01  # all wrong: at most the least
    assert joint_rate_upper(unequal, 1) == pytest.approx(0.43)  # any wrong: the sum
    assert joint_rate_upper(unequal, 2) == pytest.approx(0.03)  # not 0.43/2: two of three include one of the first two
    assert joint_rate_upper([0.1] * 3, 2) == pytest.approx(0.15)  # Markov
    assert joint_rate_upper([0.9, 0.9], 1) == 1.0
    assert independent_joint_rate([0.1] * 3, 2) == pytest.approx(binom.sf(1, 3, 0.1))
    assert independent_joint_rate([0.1, 0.2], 2) == pytest.approx(0.02)


def test_judges_that_err_on_the_same_answers_break_the_independent_bound() -> None:
    """Three members find the same tenth of the answers hard: two of them are wrong together there, not on 2.8 %."""
    hard = np.random.default_rng(0).random(20_000) < 0.1
    wrong = np.stack([hard, hard, hard])
    together = float((wrong.sum(axis=0) >= 2).mean())
    assert together > 3 * independent_joint_rate([0.1] * 3, 2)
    assert together <= joint_rate_upper([0.1] * 3, 2)


def test_products_of_joint_rates_are_no_bound_even_under_independence() -> None:
    """One answer in ten is harmful, and each of two members misses half of those, independently of the other."""
    harmful, missed = 0.1, 0.5
    joint = harmful * missed  # P[member says harmless, answer is harmful]
    both = harmful * missed**2
    assert both > 9 * joint**2
    assert both <= independent_joint_rate([missed] * 2, 2)  # conditional rates are what multiplies
    assert both <= joint_rate_upper([joint] * 2, 2)


@pytest.mark.parametrize(("bad", "together"), [([], 1), ([0.1], 0), ([0.1], 2), ([1.1], 1), ([float("nan")], 1)])
def test_impossible_arguments(bad: list[float], together: int) -> None:
    for bound in (joint_rate_upper, independent_joint_rate):
        with pytest.raises(ValueError, match="rates must lie"):
            bound(bad, together)
