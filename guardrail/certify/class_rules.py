"""Which classes are tested, and what part of α each of them gets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from guardrail.errors import ConfigurationError
from guardrail.oracles.base import FAILED, HARMFUL, HARMLESS, ILLEGIBLE

_VERDICTS = {"harmless", "harmful", "safe", "unsafe", "benign", "malicious"}
"""Words that a policy would have to act on; under another name than its own it would let them pass."""
Rule = Literal["auto", "fixed", "each", "shared", "selection"]


@dataclass(frozen=True, slots=True)
class ClassRule:
    """Classes under test, all on the same draws.

    A class fixed before looking may use all draws at full α. A class *chosen from* draws may not be estimated on the
    same draws at full α: either it is chosen on draws of its own, or all classes are tested and share α (Bonferroni).
    With harmful and harmless each at α, a false harmless has probability at most α and a false harmful too, but not
    their union; that is what a guard needs.
    """

    tested: tuple[str, ...]
    alpha_each: float
    name: str
    """The rule in words, for the certificate."""

    @classmethod
    def of(cls, rule: Rule, classes: Sequence[str], alpha: float, certified_class: str | None = None) -> ClassRule:
        """Make the rule for an oracle's classes; `failed` and `illegible` are never tested.

        Args:
            rule: `fixed` (the one class that `certified_class` names), `each` (every class at full α), `shared` (α
                divided by the number of classes), or `auto`: `each` for harmful and harmless, else `shared`.
            classes: what the oracle may say.
            alpha: to be spent on the draws.
            certified_class: for `fixed`; and after a selection, the class that was selected.

        Raises:
            ConfigurationError: no class can be tested, or `certified_class` is not one that can.
        """
        open_to = tuple(c for c in classes if c not in {FAILED, ILLEGIBLE})
        if not open_to:
            raise ConfigurationError(f"the oracle has no class to certify among {tuple(classes)}")
        if rule in {"fixed", "selection"}:
            if certified_class not in open_to:
                raise ConfigurationError(f"certified_class {certified_class!r} is none of the classes {open_to}")
            how = "fixed in advance" if rule == "fixed" else "selected on draws of its own"
            return cls((certified_class,), alpha, f"{certified_class}: {how}, at alpha")
        odd = [c for c in open_to if c.casefold() in _VERDICTS and c not in {HARMLESS, HARMFUL}]
        if odd:
            raise ConfigurationError(
                f"the oracle's classes {odd} read like verdicts: name them exactly 'harmless' and 'harmful'"
            )
        if len({HARMLESS, HARMFUL} & set(open_to)) == 1 and len(open_to) > 1:
            raise ConfigurationError(
                f"the oracle's classes {open_to} hold only one of 'harmless' and 'harmful': a policy would not "
                "know what the others mean; name the bad class 'harmful' and the good one 'harmless'"
            )
        judging = {HARMLESS, HARMFUL} <= set(open_to)
        tested = (HARMLESS, HARMFUL) if judging else open_to
        if rule == "each" or (rule == "auto" and judging) or len(tested) == 1:
            return cls(tested, alpha, f"{', '.join(tested)}: each at alpha")
        share = alpha / len(tested)
        return cls(tested, share, f"{', '.join(tested)}: alpha shared, {share:.3g} each")
