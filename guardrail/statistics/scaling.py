"""How many draws a certificate needs: scaling laws, and planning from a target.

Requests differ in `p`, the probability of their majority class under noise. Given how `p` is distributed over
requests, the mean certified radius, the share certified, and what early stopping costs and finds are finite sums over
counts: nothing is simulated here. The paper's law (arXiv 2509.16088, Corollary 5.4) is kept beside them to compare.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from guardrail.statistics.clopper_pearson import certified_radius, clopper_pearson_lower
from guardrail.statistics.sequential import (
    DEFAULT_SPENDING,
    FUTILITY_THRESHOLD,
    ConfidenceSequence,
    FixedSample,
    LowerBound,
    Spending,
    default_looks,
    predictive_probability,
)

__all__ = [
    "BetaDistribution",
    "EmpiricalDistribution",
    "Operation",
    "Plan",
    "ProbabilityDistribution",
    "ScalingPoint",
    "UniformDistribution",
    "operation",
    "plan",
    "scaling_law",
    "scaling_point",
]

_Floats = NDArray[np.float64]


def scaling_law(draws: int, alpha: float) -> float:
    """The paper's law: mean radius at n draws over that at n → ∞ is about `1 − 1.64·z_α/√n` (Corollary 5.4).

    A law for large n: below n = 26 it is negative at α = 0.001, and for `p` uniform on [1/2, 1) it is too kind from
    n = 100 on (at 10⁴ it says 0.051 is lost; exactly it is 0.061). `scaling_point` is exact.

    Args:
        draws: n, at least 1.
        alpha: error probability, in (0, 1).

    Raises:
        ValueError: an argument outside its range.
    """
    if draws < 1:
        raise ValueError(f"the law needs at least 1 draw, got {draws}")
    if not 0.0 < alpha < 1.0:
        raise ValueError(f"alpha must lie strictly between 0 and 1, got {alpha}")
    from scipy.special import ndtri

    return 1.0 + 1.64 * float(ndtri(alpha)) / math.sqrt(draws)


# -------------------------------------------------------------------------------------- how p varies over requests


class ProbabilityDistribution(Protocol):
    """How the probability `p` of the certified class varies over requests."""

    def counts(self, draws: int) -> _Floats:
        """`P[K = k]` for k = 0 … `draws`: the law of the count for a request drawn at random."""

    def share_above(self, q: float) -> float:
        """`P[p > q]`."""

    def limit_radius(self) -> float:
        """`E[max(Φ⁻¹(p), 0)]`: the mean radius at n → ∞, in units of σ."""


@dataclass(frozen=True)
class UniformDistribution:
    """`p` uniform on [`low`, `high`), as in the paper's analysis."""

    low: float = 0.5
    """At least 0."""
    high: float = 1.0
    """Above `low`, at most 1."""

    def __post_init__(self) -> None:
        if not 0.0 <= self.low < self.high <= 1.0:
            raise ValueError(f"need 0 ≤ low < high ≤ 1, got [{self.low}, {self.high})")

    def counts(self, draws: int) -> _Floats:
        """`∫ C(n, k) pᵏ (1 − p)ⁿ⁻ᵏ dp` over the interval, as a difference of incomplete beta functions."""
        from scipy.special import betainc

        k = np.arange(draws + 1)
        mass = betainc(k + 1, draws - k + 1, self.high) - betainc(k + 1, draws - k + 1, self.low)
        return np.asarray(mass / ((draws + 1) * (self.high - self.low)))

    def share_above(self, q: float) -> float:
        """`P[p > q]`."""
        return min(max((self.high - q) / (self.high - self.low), 0.0), 1.0)

    def limit_radius(self) -> float:
        """`E[max(Φ⁻¹(p), 0)]`, as `−φ(Φ⁻¹(p))` is an antiderivative of `Φ⁻¹(p)`."""

        def density_at_quantile(p: float) -> float:
            from scipy.special import ndtri

            return math.exp(-(float(ndtri(p)) ** 2) / 2.0) / math.sqrt(2.0 * math.pi)

        low, high = max(self.low, 0.5), max(self.high, 0.5)
        return (density_at_quantile(low) - density_at_quantile(high)) / (self.high - self.low)


@dataclass(frozen=True)
class BetaDistribution:
    """`p` beta distributed."""

    a: float
    """Weight of successes, positive."""
    b: float
    """Weight of failures, positive."""

    def __post_init__(self) -> None:
        if not (0.0 < self.a < math.inf and 0.0 < self.b < math.inf):
            raise ValueError(f"the parameters of a beta distribution must be positive, got {self.a} and {self.b}")

    def counts(self, draws: int) -> _Floats:
        """The beta-binomial law."""
        from scipy.special import betaln

        k = np.arange(draws + 1)
        log_choose = -math.log(draws + 1) - betaln(k + 1, draws - k + 1)
        return np.asarray(np.exp(log_choose + betaln(self.a + k, self.b + draws - k) - betaln(self.a, self.b)))

    def share_above(self, q: float) -> float:
        """`P[p > q]`."""
        from scipy.special import betaincc

        return float(betaincc(self.a, self.b, q))

    def limit_radius(self) -> float:
        """`E[max(Φ⁻¹(p), 0)] = ∫₀^∞ P[p > Φ(z)] dz`, where `P[p > Φ(z)]` is read from `1 − Φ(z)` to keep the tail."""
        from scipy.integrate import quad
        from scipy.special import betainc, ndtr

        return float(quad(lambda z: betainc(self.b, self.a, ndtr(-z)), 0.0, np.inf, limit=200)[0])


@dataclass(frozen=True)
class EmpiricalDistribution:
    """`p` takes each of the given values equally often: calibration requests, each with its own estimate.

    A value of exactly 1 is a fine probability at any finite n, but its radius at n → ∞ is infinite, so nothing can be
    compared with that limit: `limit_radius` refuses. Give lower bounds on `p` as values, or cap them.
    """

    values: tuple[float, ...]
    """Probabilities in [0, 1], at least one."""
    cap: float | None = None
    """Values above it are lowered to it, in (0, 1); None leaves them."""

    def __init__(self, values: ArrayLike, cap: float | None = None) -> None:
        flat = np.asarray(values, dtype=np.float64).ravel()
        if flat.size == 0 or not bool(np.all((flat >= 0.0) & (flat <= 1.0))):
            raise ValueError(f"values must be probabilities, at least one, got {flat}")
        if cap is not None and not 0.0 < cap < 1.0:
            raise ValueError(f"a cap must lie strictly between 0 and 1, got {cap}")
        object.__setattr__(self, "values", tuple(sorted(flat.tolist())))
        object.__setattr__(self, "cap", cap)

    @cached_property
    def _atoms(self) -> tuple[_Floats, _Floats]:
        """Distinct values, capped, and their weights."""
        atoms, times = np.unique(np.minimum(self.values, 1.0 if self.cap is None else self.cap), return_counts=True)
        return atoms, times / len(self.values)

    def counts(self, draws: int) -> _Floats:
        """The mean of binomial laws."""
        from scipy.special import betaln, xlog1py, xlogy

        atoms, weights = self._atoms
        k = np.arange(draws + 1)
        log_choose = -math.log(draws + 1) - betaln(k + 1, draws - k + 1)
        law = np.zeros(draws + 1)
        for p, weight in zip(atoms, weights, strict=True):
            law += weight * np.exp(log_choose + xlogy(k, p) + xlog1py(draws - k, -p))
        return law

    def share_above(self, q: float) -> float:
        """`P[p > q]`."""
        atoms, weights = self._atoms
        return float(weights[atoms > q].sum())

    def limit_radius(self) -> float:
        """`E[max(Φ⁻¹(p), 0)]`.

        Raises:
            ValueError: a value is 1, and there is no cap.
        """
        from scipy.special import ndtri

        atoms, weights = self._atoms
        if atoms[-1] == 1.0:
            raise ValueError(
                "a value of p is exactly 1, so its radius at n → ∞ is infinite: pass cap=, or give lower bounds on p"
            )
        return float(weights @ np.maximum(ndtri(atoms), 0.0))


# ----------------------------------------------------------------------------------------------------- fixed n


@dataclass(frozen=True)
class ScalingPoint:
    """What n draws of the fixed-sample method achieve."""

    draws: int
    """n, the number of draws."""
    mean_radius: float
    """Mean certified radius in units of σ, abstentions counted as 0."""
    retained: float
    """`mean_radius` over its limit at n → ∞."""
    law: float
    """What the paper's law says `retained` is."""
    certified_share: float
    """Share of requests with a bound above 1/2."""
    abstention: float
    """Share of requests without one."""


def scaling_point(draws: int, alpha: float, distribution: ProbabilityDistribution) -> ScalingPoint:
    """Mean radius, certified share and abstention of Clopper–Pearson at n draws, as sums over the count.

    Args:
        draws: n, at least 1.
        alpha: error probability of a certificate, in (0, 1).
        distribution: how `p` varies over requests.

    Raises:
        ValueError: an argument outside its range, or a distribution whose limit is infinite, or is 0 (no request has
            `p` above 1/2).
    """
    law = scaling_law(draws, alpha)
    limit = distribution.limit_radius()
    if not limit > 0.0:
        raise ValueError(f"no request of {distribution} has p above 1/2: there is no radius to retain")
    probability = distribution.counts(draws)
    radius = np.array([certified_radius(clopper_pearson_lower(k, draws, alpha), 1.0) for k in range(draws + 1)])
    mean_radius = float(probability @ radius)
    share = float(probability[radius > 0.0].sum())
    return ScalingPoint(draws, mean_radius, mean_radius / limit, law, share, 1.0 - share)


# ------------------------------------------------------------------------------------------------ early stopping


@dataclass(frozen=True)
class Operation:
    """What a design does for a request drawn at random."""

    power: float
    """Probability that the target is certified."""
    mean_draws: float
    """Expected number of draws."""


def operation(
    bound: LowerBound,
    target_q: float,
    distribution: ProbabilityDistribution,
    *,
    futility: float = FUTILITY_THRESHOLD,
    prior: float = 1.0,
) -> Operation:
    """Power and expected draws of stopping when certified, when hopeless, or at the budget; exactly.

    Given the count at a look, all orders of its successes are equally likely whatever `p` is. So the share of orders
    that stop at (look, count) is found once per design, and meets the distribution of `p` only in the law of the count.

    Args:
        bound: looks and boundaries.
        target_q: the value that the bound has to exceed, in [0, 1].
        distribution: how `p` varies over requests.
        futility: give up where the predictive probability falls under this threshold; 0 never gives up.
        prior: of the predictive probability, see `predictive_probability`.

    Raises:
        ValueError: a threshold outside [0, 1), or an argument of `predictive_probability` outside its range.
    """
    if not 0.0 <= futility < 1.0:
        raise ValueError(f"the futility threshold must lie in [0, 1), got {futility}")
    power = mean_draws = 0.0
    for look, (certified, given_up) in zip(
        bound.looks, _stopping_shares(bound, target_q, futility, prior), strict=True
    ):
        probability = distribution.counts(look)
        power += float(probability @ certified)
        mean_draws += look * float(probability @ (certified + given_up))
    return Operation(power, mean_draws)


@lru_cache(maxsize=128)
def _stopping_shares(
    bound: LowerBound, target_q: float, futility: float, prior: float
) -> tuple[tuple[_Floats, _Floats], ...]:
    """Per look and count: the shares of orders that stop there, certified and given up."""
    shares = []
    running = np.ones(1)
    drawn = 0
    for look in bound.looks:
        while drawn < look:  # the last of n draws is a success in k/n of the orders
            drawn += 1
            success = np.arange(1, drawn + 1) / drawn
            longer = np.zeros(drawn + 1)
            longer[1:] += running * success
            longer[:-1] += running * success[::-1]
            running = longer
        chance = np.array([predictive_probability(bound, target_q, k, look, prior=prior) for k in range(look + 1)])
        certified = np.arange(look + 1) >= bound.required_count(target_q, look)
        given_up = ~certified & ((chance < futility) | (look == bound.looks[-1]))
        shares.append((np.where(certified, running, 0.0), np.where(given_up, running, 0.0)))
        running = np.where(certified | given_up, 0.0, running)
    return tuple(shares)


# ------------------------------------------------------------------------------------------------------ planning


@dataclass(frozen=True)
class Plan:
    """A number of draws for a target radius, and what it costs."""

    target_radius: float
    """L2 norm, in units of pixel values in [0, 1]."""
    sigma: float
    """Standard deviation of the noise, same units."""
    alpha: float
    """Error probability of a certificate."""
    target_q: float
    """`Φ(target_radius/σ)`, which the bound has to exceed."""
    attainable: float
    """Share of requests whose true radius exceeds the target; no number of draws certifies more."""
    fixed: Operation
    """The fixed-sample method at the planned number of draws."""
    bound: ConfidenceSequence
    """The confidence sequence with that budget."""
    early: Operation
    """The same requests with early stopping."""

    @property
    def draws(self) -> int:
        """The planned number of draws: the fixed n, and the budget with early stopping."""
        return self.bound.looks[-1]


def plan(
    target_radius: float,
    sigma: float,
    alpha: float,
    distribution: ProbabilityDistribution,
    *,
    share: float = 0.9,
    max_draws: int = 10_000,
    looks: Sequence[int] | None = None,
    batch: int | None = None,
    spending: Spending = DEFAULT_SPENDING,
    futility: float = FUTILITY_THRESHOLD,
) -> Plan:
    """Find the fewest draws that certify the target for most requests that have it, and what early stopping saves.

    The bounds are those of `Smoothing()`, which tests every class of a partition at once.

    Args:
        target_radius: radius to certify, at least 0 (0: any radius at all).
        sigma: standard deviation of the noise, positive, in the units of the radius.
        alpha: error probability of a certificate, in (0, 1).
        distribution: how `p` varies over requests.
        share: the fixed-sample test shall certify at least this share, in (0, 1), of the requests whose true radius
            exceeds the target.
        max_draws: give up planning above this number of draws.
        looks: looks of the confidence sequence, the last of them the planned n; None: found here, `default_looks`.
        batch: see `default_looks`.
        spending: see `ConfidenceSequence`.
        futility: see `operation`.

    Raises:
        ValueError: an argument outside its range; no request has the target; or `max_draws` do not suffice.
    """
    from scipy.special import ndtr

    if not (0.0 <= target_radius < math.inf and 0.0 < sigma < math.inf):
        raise ValueError(f"need a target radius ≥ 0 and sigma > 0, got {target_radius} and {sigma}")
    if not 0.0 < share < 1.0:
        raise ValueError(f"the share of attainable certificates must lie strictly between 0 and 1, got {share}")
    target_q = float(ndtr(target_radius / sigma))
    attainable = distribution.share_above(target_q)
    if not attainable > 0.0:
        raise ValueError(
            f"no request has a true radius above {target_radius} at sigma {sigma} (p above {target_q:.6g}): "
            "lower the target, raise sigma, or use a model that is steadier under noise"
        )
    if looks is None:
        draws = _fewest_draws(target_q, alpha, distribution, share * attainable, max_draws)
        looks = default_looks(draws, batch)
    bound = ConfidenceSequence(looks, alpha, spending, partition=True)
    return Plan(
        target_radius=target_radius,
        sigma=sigma,
        alpha=alpha,
        target_q=target_q,
        attainable=attainable,
        fixed=operation(FixedSample(bound.looks[-1], alpha, partition=True), target_q, distribution),
        bound=bound,
        early=operation(bound, target_q, distribution, futility=futility),
    )


def _fewest_draws(
    target_q: float, alpha: float, distribution: ProbabilityDistribution, power: float, max_draws: int
) -> int:
    """Smallest n whose fixed-sample test reaches the power.

    The target is at least 1/2. It is the smallest n that allows m misses, for some m: more draws with the same misses
    allowed only lower the power.
    """
    from scipy.special import betainc

    misses, best = 0, 0.0
    for draws in range(1, max_draws + 1):
        # `draws − misses` successes reject the target: P_{target}[K ≥ k] = I_target(k, n − k + 1) < α·target
        if draws > misses and betainc(draws - misses, misses + 1, target_q) < alpha * target_q:
            best = max(best, float(distribution.counts(draws)[draws - misses :].sum()))
            if best >= power:
                return draws
            misses += 1
    raise ValueError(
        f"{max_draws} draws certify the target for a share of {best:.4f}, less than the {power:.4f} asked for: "
        "raise max_draws, lower the share, or lower the target"
    )
