"""Clusters of answers around representatives: stars, which cannot chain."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Star:
    """Answers each of which is equivalent to the representative; to each other they need not be."""

    representative: str
    members: tuple[str, ...]
    """Distinct answers, in the order in which they were given; the representative is one of them."""
    votes: int
    """How often they were said, all together."""


def stars(counts: Mapping[str, int], candidates: Sequence[str], equivalent: Callable[[str, str], bool]) -> list[Star]:
    """Cover answers by stars, the largest first: take the star with most votes, leave its members out, go on.

    Merging clusters that share a member would chain, because equivalence judged by a model is not transitive; here
    every member is compared with the representative itself. The result depends on nothing but the arguments: of
    stars with equal votes the one whose representative was said more often is taken, then the first in code points.

    Args:
        counts: how often each distinct answer was said.
        candidates: answers that may be representatives. Answers that are equivalent to none are in no star.
        equivalent: whether an answer (first) is equivalent to a representative (second); every answer is to itself.
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
