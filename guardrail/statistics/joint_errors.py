"""How often several oracles err together, from how often each of them errs."""

from __future__ import annotations

import math
from collections.abc import Sequence


def joint_rate_upper(rates: Sequence[float], together: int) -> float:
    """Bound the probability that at least `together` of several events happen, however they depend on each other.

    If m of k events happen, at least m − t of any k − t of them do. Markov's inequality for the number of those that
    happen among the k − t rarest gives `Σ rates/(m − t)`, for every t < m, and the least of these is the bound: the
    smallest rate for m = k, the sum for m = 1, and never more than the plain `Σ rates/m`. It is the best there is:
    some dependence attains it (Rüger 1978).

    Args:
        rates: upper bound on each event's probability, in [0, 1].
        together: m, from 1 to the number of events.

    Returns:
        The bound, in [0, 1].

    Raises:
        ValueError: `together` or a rate out of range.
    """
    _check(rates, together)
    rarest = sorted(rates)
    bounds = (math.fsum(rarest[: len(rarest) - t]) / (together - t) for t in range(together))
    return min(1.0, *bounds)


def independent_joint_rate(rates: Sequence[float], together: int) -> float:
    """Return the probability that at least `together` of several *independent* events happen (Poisson binomial).

    It grows with each rate, so upper bounds on the rates bound it from above.

    Args:
        rates: each event's probability, in [0, 1].
        together: from 1 to the number of events.

    Raises:
        ValueError: `together` or a rate out of range.
    """
    _check(rates, together)
    happened = [1.0] + [0.0] * len(rates)  # probability of each number of events so far
    for rate in rates:
        happened = [
            stay * (1.0 - rate) + (happened[number - 1] * rate if number else 0.0)
            for number, stay in enumerate(happened)
        ]
    return min(1.0, math.fsum(happened[together:]))


def _check(rates: Sequence[float], together: int) -> None:
    if not 1 <= together <= len(rates) or not all(0.0 <= rate <= 1.0 for rate in rates):
        raise ValueError(f"rates must lie in [0, 1] and together in 1 … {len(rates)}, got {list(rates)} and {together}")
