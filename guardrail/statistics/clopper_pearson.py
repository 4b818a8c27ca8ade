"""Exact confidence bounds for a binomial proportion, and the radius that a bound buys.

Sources: Clopper and Pearson (1934); Cohen, Rosenfeld and Kolter, "Certified Adversarial Robustness via Randomized
Smoothing" (2019), Theorem 1 with `p_B = 1 − p_A`.
"""

from __future__ import annotations

import math
from functools import lru_cache


@lru_cache(maxsize=65536)
def clopper_pearson_lower(successes: int, trials: int, alpha: float) -> float:
    """Bound a success probability from below: it is less than the bound with probability at most `alpha`.

    One-sided: `Beta⁻¹(alpha; k, n − k + 1)`, and 0 at `k = 0`. Many codes take a two-sided interval at level
    `2·alpha`: the same number.

    Args:
        successes: k, 0 to `trials`.
        trials: n, at least 1. It must be fixed before looking at any outcome (see `ConfidenceSequence` for looking).
        alpha: error probability, in (0, 1).

    Returns:
        The lower bound, in [0, 1).

    Raises:
        ValueError: a count or `alpha` outside its range.
    """
    _require_counts(successes, trials, alpha)
    if successes == 0:
        return 0.0
    from scipy.special import betaincinv

    return float(betaincinv(successes, trials - successes + 1, alpha))


@lru_cache(maxsize=65536)
def partition_lower(successes: int, trials: int, alpha: float) -> float:
    """Bound a class's probability from below where every class of a partition is tested on the same draws.

    The first null p₀ that is not rejected at level `alpha·max(p₀, 1/2)`. A class of share q above 1/2 is then given a
    bound above q with probability at most `alpha·q`, and one of share at most 1/2 a bound above 1/2 with probability
    at most `alpha·q`: added up over the classes, `alpha`, however many they are (for `alpha` below 1/2).
    Arguments and errors as `clopper_pearson_lower`.

    Returns:
        The lower bound, in [0, 1).
    """
    from scipy.optimize import brentq
    from scipy.special import betainc

    half = clopper_pearson_lower(successes, trials, alpha / 2.0)
    if half <= 0.5:
        return half

    def spent(p: float) -> float:
        """P[at least so many successes] over p, which grows with p wherever it is below 1."""
        return float(betainc(successes, trials - successes + 1, p)) - alpha * p

    return float(brentq(spent, half, clopper_pearson_lower(successes, trials, alpha), xtol=1e-15, rtol=1e-15))


def clopper_pearson_upper(successes: int, trials: int, alpha: float) -> float:
    """Bound a success probability from above: it exceeds the bound with probability at most `alpha`.

    One-sided: `Beta⁻¹(1 − alpha; k + 1, n − k)`, and 1 at `k = n`. Arguments and errors as `clopper_pearson_lower`.

    Returns:
        The upper bound, in (0, 1].

    Raises:
        ValueError: a count or `alpha` outside its range.
    """
    _require_counts(successes, trials, alpha)
    return 1.0 - clopper_pearson_lower(trials - successes, trials, alpha)


def certified_radius(q_lower: float, sigma: float) -> float:
    """Radius within which the smoothed verdict cannot change: `σ·Φ⁻¹(q)`, 0 (abstain) for `q ≤ 1/2`.

    Args:
        q_lower: lower bound on the probability of the certified class under noise, in [0, 1).
        sigma: standard deviation of the noise, in units of pixel values in [0, 1]; positive.

    Returns:
        L2 norm of the smallest change that could matter, in the same units as `sigma`.

    Raises:
        ValueError: `q_lower` outside [0, 1) (at 1 the radius would be infinite: no finite sample shows that), or
            `sigma` not positive.
    """
    if not 0.0 <= q_lower < 1.0:
        raise ValueError(f"q_lower must lie in [0, 1), got {q_lower}: a bound of 1 needs infinitely many draws")
    if not (sigma > 0.0 and math.isfinite(sigma)):
        raise ValueError(f"sigma must be positive and finite, got {sigma}")
    if q_lower <= 0.5:
        return 0.0
    from scipy.special import ndtri

    return sigma * float(ndtri(q_lower))


def _require_counts(successes: int, trials: int, alpha: float) -> None:
    if trials < 1 or not 0 <= successes <= trials:
        raise ValueError(f"need 0 ≤ successes ≤ trials and trials ≥ 1, got {successes} of {trials}")
    if not 0.0 < alpha < 1.0:
        raise ValueError(f"alpha must lie strictly between 0 and 1, got {alpha}")
