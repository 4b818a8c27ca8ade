"""Clusters of answers around representatives: stars, which cannot chain."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Star:
    """Answers that are all equivalent to the representative, though not always to each other."""

    representative: str
    members: tuple[str, ...]
    """Distinct answers, in the order of the counts; the representative is one of them."""
    votes: int
    """Number of draws whose answer is a member."""


def stars(counts: Mapping[str, int], candidates: Sequence[str], equivalent: Callable[[str, str], bool]) -> list[Star]:
    """Cover answers by stars: take the star with most votes, remove its members, and repeat with the rest.

    Merging clusters that share a member would chain, because equivalence found by a model is not transitive; here
    every member is compared with the representative. Ties are broken by the arguments alone: of stars with equal
    votes the one with the more frequent representative is taken, then the first in order of code points.

    Args:
        counts: number of draws with each distinct answer.
        candidates: answers that may be representatives. An answer equivalent to none of them is in no star.
        equivalent: whether an answer (first) is equivalent to a representative (second). It is not called for an
            answer and itself.

    Returns:
        The stars, largest first.
    """
    around = {c: [a for a in counts if a == c or equivalent(a, c)] for c in candidates}
    left, found = dict(counts), list[Star]()
    while open_to := [c for c in candidates if c in left]:
        votes = {c: sum(left.get(a, 0) for a in around[c]) for c in open_to}
        best = min(open_to, key=lambda c: (-votes[c], -counts[c], c))
        members = tuple(a for a in around[best] if a in left)
        found.append(Star(best, members, votes[best]))
        for member in members:
            del left[member]
    return found
