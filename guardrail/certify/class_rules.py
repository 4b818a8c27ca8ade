"""Which classes are tested on the same draws: all of a partition, or one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Self

from guardrail.errors import ConfigurationError
from guardrail.oracles.base import FAILED, HARMFUL, HARMLESS, ILLEGIBLE, OracleTraits
from guardrail.statistics.oracle_error import cell_name

_VERDICTS = {"harmless", "harmful", "safe", "unsafe", "benign", "malicious"}
"""Words that a policy would have to act on; under another name than its own it would let them pass."""
Rule = Literal["all", "fixed", "selection"]


@dataclass(frozen=True, slots=True)
class ClassRule:
    """Cells under test, all on the same draws: each a class, or several that are certified as one.

    `all`, the default, tests every cell of a partition that is fixed before the draws: a null p₀ of at least 1/2 at
    level `α·p₀`. Let g(q) be the probability that a class of share q ever crosses the boundary of the null 1/2. A first
    crossing there has k > n/2, so each term `q^k·(1 − q)^(n − k)` grows with q up to 1/2, and `g(q) ≤ 2q·g(1/2) ≤ α·q`.
    A class of share at most 1/2 is certified only by such a crossing, and a majority's bound exceeds its share q with
    probability at most `α·q`. Summed over the cells, any false certificate has probability at most α, however many they
    are. Overlapping events, such as a union beside its members, are no partition, and break it.

    One class that is named beforehand (`fixed`), or chosen on draws of its own (`selection`), is tested at full α.
    """

    cells: Mapping[str, tuple[str, ...]]
    """Members of each cell under test, by its name."""
    alpha: float
    """Probability that any of them is certified falsely, at most."""
    name: str
    """The rule in words, for the certificate."""
    untested: tuple[str, ...] = ()
    """Classes that are in no cell under test, and so never certified."""

    @classmethod
    def of(
        cls,
        rule: Rule,
        classes: Sequence[str],
        alpha: float,
        certified_class: str | None = None,
        alike: Sequence[Sequence[str]] = (),
    ) -> Self:
        """Make the rule for an oracle's classes; `failed` and `illegible` are never tested.

        Args:
            rule: `all`; or `fixed` or `selection`, for the one that `certified_class` names.
            classes: what the oracle may say.
            alpha: to be spent on the draws.
            certified_class: a class or a cell, see `rule`.
            alike: groups of classes, each of which is one cell.

        Raises:
            ConfigurationError: no class can be tested, `certified_class` is not one that can, `alike` is no part of a
                partition, or all are tested at an alpha of 1/2 or more.
        """
        cells = partition(classes, alike)
        tested = cells
        if rule == "all":
            name = f"all: {', '.join(cells)}; any of them false with probability at most alpha"
            if alpha >= 0.5:
                raise ConfigurationError(f"all classes are tested at once below alpha 0.5, got {alpha}: lower alpha")
        else:
            known = cells | {c: (c,) for members in cells.values() for c in members}
            if certified_class not in known:
                raise ConfigurationError(f"certified_class {certified_class!r} is none of the classes {tuple(cells)}")
            tested = {certified_class: known[certified_class]}
            how = "fixed in advance" if rule == "fixed" else "selected on draws of its own"
            name = f"{certified_class}: {how}, at alpha"
        inside = {FAILED, *(c for members in tested.values() for c in members)}
        return cls(tested, alpha, name, tuple(c for c in classes if c not in inside))

    @classmethod
    def most_voted(
        cls, votes: Counter[str], classes: Sequence[str], alpha: float, alike: Sequence[Sequence[str]] = ()
    ) -> Self:
        """Make the rule `selection` for the cell that had most votes, in draws that are not counted again."""
        cells = partition(classes, alike)
        selected = max(cells, key=lambda cell: sum(votes[c] for c in cells[cell]))
        return cls.of("selection", classes, alpha, selected, alike)

    @property
    def tested(self) -> tuple[str, ...]:
        """Names of the cells under test."""
        return tuple(self.cells)

    @property
    def partition(self) -> bool:
        """Whether several are tested, so that the bound must hold for a partition."""
        return len(self.cells) > 1

    def count(self, counts: Counter[str], cell: str) -> int:
        """Return the draws of a cell: those of its members."""
        return sum(counts[c] for c in self.cells[cell])


def partition(classes: Sequence[str], alike: Sequence[Sequence[str]] = ()) -> dict[str, tuple[str, ...]]:
    """Return the members of each cell that can be certified, by its name.

    Args:
        classes: what the oracle may say.
        alike: groups of classes, each of which is one cell; any other class is a cell of its own.

    Raises:
        ConfigurationError: no class can be certified; or groups that overlap, or hold what cannot be certified.
    """
    open_to = [c for c in classes if c not in {FAILED, ILLEGIBLE}]
    if not open_to:
        raise ConfigurationError(f"the oracle has no class to certify among {tuple(classes)}")
    groups = [tuple(dict.fromkeys(group)) for group in alike]
    together = [c for group in groups for c in group]
    if len(set(together)) < len(together):
        raise ConfigurationError(f"cells must not overlap, or draws count for several: alike is {groups}")
    if unknown := sorted(set(together) - set(open_to)):
        raise ConfigurationError(f"alike names {unknown}: the classes that can be certified are {tuple(open_to)}")
    group_of = {c: group for group in groups for c in group}
    cells = {cell_name(members): members for members in (group_of.get(c, (c,)) for c in open_to)}
    if len(cells) < len({group_of.get(c, (c,)) for c in open_to}):
        raise ConfigurationError(f"a class has the name of a cell, among {tuple(open_to)}: rename it")
    return cells


def check_meanings(rule: Rule, classes: Sequence[str], traits: OracleTraits) -> None:
    """Refuse classes of which a policy would not know what they mean.

    Args:
        rule: where one class is named or selected, names alone are not refused.
        classes: what the oracle may say.
        traits: what it says of them.

    Raises:
        ConfigurationError: names that read like verdicts, one kind of verdict beside classes that are neither,
            `alike` groups that are no part of a partition or mix harm with anything else, or
            classes that are said to be both, or are none of its classes.
    """
    strange = sorted({*traits.harmful_classes, *traits.harmless_classes} - set(classes))
    if strange or (both := sorted(traits.harmful & traits.harmless)):
        said = f"names {strange}" if strange else f"calls {both} both"
        raise ConfigurationError(f"the oracle {said} in harmful_classes and harmless_classes; its classes: {classes}")
    for members in partition(classes, traits.alike).values():
        if not traits.harmful.isdisjoint(members) and not traits.harmful.issuperset(members):
            raise ConfigurationError(f"alike puts harmful classes beside others in {members}: that says nothing")
    if rule != "all":
        return
    open_to = tuple(c for c in classes if c not in {FAILED, ILLEGIBLE})
    judged = traits.harmful | traits.harmless
    odd = [c for c in open_to if c.strip().casefold() in _VERDICTS and c not in judged]
    if odd:
        raise ConfigurationError(
            f"the oracle's classes {odd} read like verdicts: name them exactly 'harmless' and 'harmful', or have the "
            "oracle say which they are, by harmless_classes and harmful_classes"
        )
    kinds = [not kind.isdisjoint(open_to) for kind in (traits.harmful, traits.harmless)]
    if not {HARMLESS, HARMFUL}.isdisjoint(open_to) and not all(kinds) and not judged.issuperset(open_to):
        raise ConfigurationError(
            f"the oracle's classes {open_to} hold only one of 'harmless' and 'harmful': a policy would not know what "
            "the others mean; have the oracle say it, by harmless_classes and harmful_classes"
        )
