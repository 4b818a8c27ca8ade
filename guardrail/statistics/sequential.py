"""Lower confidence bounds that may be looked at while the draws come in.

Stopping as soon as a Clopper–Pearson bound looks good inflates its error probability: with a look after each of the
draws 10 to 100, from 0.001 to 0.0068. A `ConfidenceSequence` is exact instead. Looks `n₁ < … < n_J` and the error
`s₁ ≤ … ≤ s_J = α` that may be spent up to each of them are fixed in advance; for a null `p₀`, the boundary `c_j(p₀)`
is the smallest count for which

    P_{p₀}[K_i ≥ c_i for some i ≤ j] ≤ s_j .

The joint law of the counts, with what has crossed removed, is a short dynamic programme, so there is no union bound
and nothing to approximate. Sources: error spending, Lan and DeMets (1983); exact binomial group-sequential tests,
Jennison and Turnbull, "Group Sequential Methods" (2000), chapter 12; confidence sequences for randomized smoothing,
Voráček (2024), arXiv 2406.17830.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import pairwise
from typing import ClassVar, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from guardrail.statistics.clopper_pearson import clopper_pearson_lower, partition_lower

__all__ = [
    "DEFAULT_SPENDING",
    "FUTILITY_THRESHOLD",
    "LINEAR",
    "ConfidenceSequence",
    "FixedSample",
    "LowerBound",
    "PowerSpending",
    "Spending",
    "default_looks",
    "predictive_probability",
]

_Floats = NDArray[np.float64]


# ------------------------------------------------------------------------------------------------------- spending


class Spending(Protocol):
    """How much of `alpha` may be spent once a fraction of the draw budget is drawn.

    A call takes the fraction, in (0, 1], and returns the share of `alpha`, in [0, 1], non-decreasing and 1 at 1.
    The name says everything the function depends on: it is part of a certificate and of a cache key. Hashable.
    """

    @property
    def name(self) -> str:
        """Stable name, parameters included."""

    def __call__(self, fraction: float, /) -> float:
        """Share of `alpha` that may be spent up to this fraction of the budget."""


@dataclass(frozen=True)
class PowerSpending:
    """Spend `fraction ** exponent`: the smaller the exponent, the more error is left to the early looks."""

    exponent: float
    """Positive and finite."""

    def __post_init__(self) -> None:
        if not 0.0 < self.exponent < math.inf:
            raise ValueError(f"the exponent of a spending function must be positive and finite, got {self.exponent}")

    @property
    def name(self) -> str:
        """For example `power(0.5)`."""
        return f"power({float(self.exponent)!r})"

    def __call__(self, fraction: float, /) -> float:
        """Share of `alpha` that may be spent up to this fraction of the budget."""
        return float(fraction**self.exponent)


LINEAR = PowerSpending(1.0)
DEFAULT_SPENDING = PowerSpending(0.52)
"""Found together with `default_looks` and the threshold below, on the empirical `p` of Cohen et al. (2019) at α = 0.001
and a budget of 100: a quarter of the draws, at most 0.012 of power lost. Exponents from 0.51 to 0.535 do the same.
Larger ones leave too little for the first looks: with a look after every draw, mean draws exceed Wald's bound by more.
"""

FUTILITY_THRESHOLD = 0.05
"""Give up where the predictive probability of reaching the target falls below this."""


def default_looks(budget: int, batch: int | None = None) -> tuple[int, ...]:
    """Look after 11 draws, then after about 1.25 times as many, up to the budget.

    Evidence grows with the ratio of sample sizes, so looks are evenly spaced in the logarithm. At a budget of 100:
    11, 14, 17, 21, 27, 33, 41, 52, 64, 80, 100.

    Args:
        budget: the largest number of draws, at least 1.
        batch: number of draws that cost as much as one; looks are then rounded up to multiples of it.

    Raises:
        ValueError: `budget` or `batch` below 1.
    """
    first, growth = 11, 1.25
    if budget < 1:
        raise ValueError(f"a budget of {budget} draws allows no look: give at least 1")
    if batch is not None and batch < 1:
        raise ValueError(f"a batch holds at least 1 draw, got {batch}")
    steps = max(1, round(math.log(budget / first) / math.log(growth))) if budget > first else 1
    looks = (round(first * (budget / first) ** (step / steps)) for step in range(steps + 1))
    size = batch or 1
    return tuple(sorted({min(budget, -(-look // size) * size) for look in looks}))


# --------------------------------------------------------------------------------------------------------- bounds

_PARTITION = ", partition"
"""What a bound's name says where it holds for all classes of a partition at once."""


@runtime_checkable
class LowerBound(Protocol):
    """A lower confidence bound on a success probability, valid at all of its looks together.

    Whatever the stopping rule, and even if it looks at the policy: `P_p[the bound exceeds p at some look] ≤ alpha`.
    Hashable, so that what is derived from it can be kept.
    """

    def __hash__(self) -> int:
        """Equal bounds share what is derived from them."""

    @property
    def method(self) -> str:
        """`fixed` or `sequential`."""

    @property
    def name(self) -> str:
        """All that the bound depends on: method, looks, alpha, spending."""

    @property
    def looks(self) -> Sequence[int]:
        """Numbers of draws after which the bound may be taken, increasing; the last is the budget."""

    @property
    def alpha(self) -> float:
        """Probability that the bound ever exceeds the truth, at most; over a partition, of a false certificate."""

    def lower(self, successes: int, look: int) -> float:
        """Lower bound in [0, 1) from `successes` among the first `look` draws."""

    def required_count(self, target_q: float, look: int) -> int:
        """Smallest count at this look whose bound exceeds `target_q`; `look + 1` where none does."""


@dataclass(frozen=True)
class FixedSample:
    """Clopper–Pearson as a sequence of one look: the method of the paper, and of Cohen et al. (2019)."""

    samples: int
    """Number of draws n, at least 1; all are drawn before the bound is taken."""
    alpha: float
    """Probability that the bound exceeds the truth, in (0, 1)."""
    partition: bool = False
    """See `ConfidenceSequence`."""
    method: ClassVar[str] = "fixed"

    def __post_init__(self) -> None:
        _require_looks((self.samples,), self.alpha)

    @property
    def name(self) -> str:
        """For example `fixed(samples=100, alpha=0.001)`."""
        return f"fixed(samples={self.samples}, alpha={self.alpha!r}{_PARTITION if self.partition else ''})"

    @property
    def looks(self) -> tuple[int]:
        """The one look, after all draws."""
        return (self.samples,)

    def lower(self, successes: int, look: int) -> float:
        """`Beta⁻¹(alpha; k, n − k + 1)`, see `clopper_pearson_lower` and `partition_lower`.

        Raises:
            ValueError: `look` is not `samples`, or `successes` lies outside 0 to `look`.
        """
        _require_look(self.looks, successes, look)
        return (partition_lower if self.partition else clopper_pearson_lower)(successes, look, self.alpha)

    def required_count(self, target_q: float, look: int) -> int:
        """Smallest count whose bound exceeds `target_q`; `look + 1` where none does."""
        _require_look(self.looks, 0, look)
        return bisect_right(range(look + 1), target_q, key=lambda k: self.lower(k, look))


@dataclass(frozen=True)
class ConfidenceSequence:
    """A lower bound that holds at all looks together, by exact dynamic programming.

    The bound at a look is `inf{p₀ : K < c(p₀)}`, the *first* null that is not rejected, coming from below: a bound
    above `p` then implies that `p` itself was rejected. (The largest rejected null is no bound: exact boundaries are
    not monotone in the null.) A finite family of nulls does it exactly. [0, 1] is cut into cells, each cell takes the
    boundaries of its right end, and the bound is the left end of the first cell that is not rejected. Crossing is an
    up-set of outcomes, so its probability grows with p: what holds at a cell's right end holds in the cell. The bound
    is loose by at most one cell, about 1e-4 for a budget of 100 draws and 1e-3 for 1000.

    The table costs about `cells · budget²` operations: tenths of a second at a budget of 100, up to five seconds at
    1000. It is built on first use, once per looks and levels, and kept; a bound is then read in about a microsecond.

    Raises:
        ValueError: looks, `alpha` or spending outside these ranges.
    """

    looks: Sequence[int]
    """Numbers of draws after which the bound may be taken, strictly increasing, at least 1. Fixed before the first
    draw; `K` counts the draws with *index* 1 to `look`, all of them finished."""
    alpha: float
    """Probability that the bound exceeds the truth at any look, at most; in (0, 1)."""
    spending: Spending = DEFAULT_SPENDING
    """Share of `alpha` that may be spent up to a fraction of the last look."""
    partition: bool = False
    """Whether every class of a partition is tested on the same draws. A null p₀ is then tested at level
    `alpha·max(p₀, 1/2)`, and the probability that any class is certified falsely is at most `alpha`, however many there
    are: see `ClassRule`."""
    method: ClassVar[str] = "sequential"

    def __post_init__(self) -> None:
        object.__setattr__(self, "looks", tuple(int(look) for look in self.looks))
        _require_looks(self.looks, self.alpha)
        shares = [self.spending(look / self.looks[-1]) for look in self.looks]
        if not (shares[0] >= 0.0 and shares[-1] == 1.0 and all(a <= b for a, b in pairwise(shares))):
            raise ValueError(
                f"spending {self.spending.name} gives shares {shares} of alpha at looks {self.looks}: "
                "they must start at 0 or above, never fall, and end at 1"
            )

    @property
    def name(self) -> str:
        """For example `sequential(looks=50,100, alpha=0.001, spending=power(0.52))`."""
        looks = ",".join(map(str, self.looks))
        shared = _PARTITION if self.partition else ""
        return f"sequential(looks={looks}, alpha={self.alpha!r}, spending={self.spending.name}{shared})"

    @cached_property
    def levels(self) -> tuple[float, ...]:
        """`s_j`: the error that may be spent up to each look; over a partition, that times max(p₀, 1/2)."""
        return tuple(self.alpha * self.spending(look / self.looks[-1]) for look in self.looks)

    def lower(self, successes: int, look: int) -> float:
        """Lower bound from the successes among the first `look` draws.

        Args:
            successes: 0 to `look`.
            look: a number of draws, one of `looks`.

        Returns:
            The bound, in [0, 1), non-decreasing in `successes`. The largest bound over the looks so far is valid too.

        Raises:
            ValueError: `look` is none of `looks`, or `successes` lies outside 0 to `look`.
        """
        _require_look(self.looks, successes, look)
        return self._lower[look][successes]

    def required_count(self, target_q: float, look: int) -> int:
        """Smallest count at this look whose bound exceeds `target_q`; `look + 1` where none does.

        Raises:
            ValueError: `look` is none of `looks`.
        """
        _require_look(self.looks, 0, look)
        return bisect_right(self._lower[look], target_q)

    def boundary(self, p0: float) -> tuple[int, ...]:
        """The boundaries `c_j` for this null, exactly.

        Args:
            p0: the null, in [0, 1].

        Returns:
            A count per look, the smallest that rejects `p0`; `look + 1` where no count does.

        Raises:
            ValueError: `p0` outside [0, 1].
        """
        if not 0.0 <= p0 <= 1.0:
            raise ValueError(f"a null is a probability, got {p0}")
        null = np.array([p0], dtype=np.float64)
        counts = _boundaries(null, tuple(self.looks), self.levels, null if self.partition else None)
        return tuple(int(count) for count in counts[:, 0])

    @cached_property
    def _lower(self) -> Mapping[int, list[float]]:
        return _lower_bounds(tuple(self.looks), self.levels, self.partition)


# ------------------------------------------------------------------------------------------------------- futility


def predictive_probability(
    bound: LowerBound, target_q: float, successes: int, look: int, *, prior: float = 1.0
) -> float:
    """Probability that the bound exceeds the target at this or a later look, given the draws so far.

    A Bayesian guess, with `p ~ Beta(prior, prior)` before the first draw. To stop when it falls under a threshold costs
    no error probability: whoever stops then abstains, and the bound holds under any stopping rule.

    Args:
        bound: the bound that will be looked at.
        target_q: the value it has to exceed, in [0, 1].
        successes: 0 to `look`.
        look: a number of draws, one of the looks of `bound`.
        prior: parameter of the symmetric prior, positive: 1 is uniform, 1/2 is Jeffreys'.

    Returns:
        A probability: 1 if the bound exceeds the target already, 0 at the last look otherwise.

    Raises:
        ValueError: a look that is none of the looks, a count outside its range, or a prior that is not positive.
    """
    _require_look(bound.looks, successes, look)
    if not 0.0 < prior < math.inf:
        raise ValueError(f"the prior's parameter must be positive and finite, got {prior}")
    return _predictive_table(bound, target_q, prior)[look][successes]


@lru_cache(maxsize=128)
def _predictive_table(bound: LowerBound, target_q: float, prior: float) -> Mapping[int, list[float]]:
    """Backward induction over the Pólya urn that the prior makes of the draws."""
    required = {look: bound.required_count(target_q, look) for look in bound.looks}
    budget, first = bound.looks[-1], bound.looks[0]
    reach = np.zeros(budget + 2)  # with one draw more than the budget nothing is reached
    table: dict[int, list[float]] = {}
    for drawn in range(budget, first - 1, -1):
        count = np.arange(drawn + 1)
        success = (prior + count) / (2.0 * prior + drawn)
        reach = success * reach[1:] + (1.0 - success) * reach[:-1]
        if drawn in required:
            reach[required[drawn] :] = 1.0
            table[drawn] = reach.tolist()
    return table


# ----------------------------------------------------------------------------------------------------- the tables


@lru_cache(maxsize=32)
def _lower_bounds(looks: tuple[int, ...], levels: tuple[float, ...], partition: bool) -> Mapping[int, list[float]]:
    """Lower bound for each count at each look: the left end of the first cell that is not rejected.

    Over a partition the level is that of a cell's left end, the null its right end: it holds for all between.
    """
    edges = _cell_edges(looks[-1])
    boundaries = _boundaries(edges[1:], looks, levels, edges[:-1] if partition else None)
    # The first failing cell is the first where the running maximum fails: it makes the rows monotone and changes
    # no bound. The null 1 is never rejected, so there always is such a cell.
    running = np.maximum.accumulate(boundaries, axis=1)
    return {
        look: edges[np.searchsorted(running[j], np.arange(look + 1), side="right")].tolist()
        for j, look in enumerate(looks)
    }


def _cell_edges(budget: int) -> _Floats:
    """Cut [0, 1] into cells whose width is a constant fraction of the standard error of a proportion.

    Equal steps of `arcsin √p`, widest at 1/2 and fine near 1, where the radius `Φ⁻¹(p)` is steep.
    """
    widest = min(max(1e-6 * budget, 1e-4), 1e-3)
    cells = 2 * math.ceil(math.pi / (4.0 * widest))  # even: 1/2 is an edge
    return np.asarray((1.0 - np.cos(np.linspace(0.0, math.pi, cells + 1))) / 2.0, dtype=np.float64)


def _boundaries(
    nulls: _Floats, looks: tuple[int, ...], levels: tuple[float, ...], shares: _Floats | None
) -> NDArray[np.int64]:
    """Boundaries `c_j(p₀)`, one row per look and one column per null, in blocks that stay in the cache.

    Args:
        nulls: in [0, 1].
        looks: numbers of draws.
        levels: error that may be spent up to each look.
        shares: over a partition, the class's share at which each null's level is taken; None: the whole level.
    """
    block = max(16, 2**15 // (looks[-1] + 1))
    part = np.ones(len(nulls)) if shares is None else np.maximum(shares, 0.5)
    blocks = (slice(i, i + block) for i in range(0, len(nulls), block))
    return np.concatenate([_boundaries_of_block(nulls[b], looks, levels, part[b]) for b in blocks], axis=1)


def _boundaries_of_block(
    p: _Floats, looks: tuple[int, ...], levels: tuple[float, ...], part: _Floats
) -> NDArray[np.int64]:
    q = 1.0 - p
    # Every number below is a sum of products of non-negative numbers, so nothing cancels: after n draws the relative
    # round-off is under 5n·2⁻⁵³ (two products, a sum and 1 − p per draw; one sum per count cut off). The margin is
    # more than that, so that the exact crossing probability stays within the level.
    margin = 1.0 - 4.0 * looks[-1] * float(np.finfo(np.float64).eps)
    # Counts whose mass can no longer matter are dropped from below, as if they had crossed: sound, and exact to 1e-17.
    negligible = 1e-20 * levels[-1]
    running = np.zeros((looks[-1] + 1, len(p)))  # P[K = k, no boundary crossed yet]
    running[0] = 1.0
    crossed = np.zeros(len(p))
    boundaries = np.empty((len(looks), len(p)), dtype=np.int64)
    bottom = top = 0  # running paths have these counts
    for j, (before, look) in enumerate(pairwise((0, *looks))):
        for _ in range(look - before):
            success = running[bottom : top + 1] * p
            running[bottom : top + 1] *= q
            running[bottom + 1 : top + 2] += success
            top += 1
            while bottom < top and running[bottom].max() < negligible:
                crossed += running[bottom]
                bottom += 1
        boundary = np.full(len(p), top + 1)
        lowering = np.full(len(p), levels[j] > 0.0)  # nothing to spend: not even what underflows to 0
        for count in range(top, bottom - 1, -1):
            spent = crossed + running[count]
            lowering &= spent <= levels[j] * part * margin
            if not lowering.any():
                break
            np.copyto(crossed, spent, where=lowering)
            running[count, lowering] = 0.0
            boundary[lowering] = count
        boundaries[j] = boundary
        top = int(boundary.max()) - 1
    return boundaries


def _require_looks(looks: Sequence[int], alpha: float) -> None:
    if not looks or looks[0] < 1 or any(a >= b for a, b in pairwise(looks)):
        raise ValueError(f"looks are numbers of draws, at least 1 and strictly increasing, got {tuple(looks)}")
    if not 0.0 < alpha < 1.0:
        raise ValueError(f"alpha must lie strictly between 0 and 1, got {alpha}")


def _require_look(looks: Sequence[int], successes: int, look: int) -> None:
    if look not in looks:
        raise ValueError(f"look must be one of the numbers of draws {tuple(looks)}, got {look}")
    if not 0 <= successes <= look:
        raise ValueError(f"need 0 ≤ successes ≤ {look}, the number of draws at this look, got {successes}")
