"""What to do about a certificate: the rules, all of them here."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterable
from enum import StrEnum
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from guardrail.certify.certificate import Certificate, Verdict
from guardrail.errors import DEADLINE, ConfigurationError, did_you_mean
from guardrail.oracles.base import FAILED, ILLEGIBLE, Oracle, OracleTraits, RepresentativeOracle
from guardrail.prompts import Prompt
from guardrail.request import Source


class Action(StrEnum):
    """What a decision asks for, in rising severity."""

    ALLOW = "allow"
    FLAG = "flag"
    BLOCK = "block"

    @property
    def severity(self) -> int:
        """0 for allow, 1 for flag, 2 for block."""
        return list(Action).index(self)


class Reason(StrEnum):
    """Why a decision is not a plain allow. Codes are stable: logs, dashboards and clients rely on them."""

    CERTIFIED_HARMFUL = "certified_harmful"
    ABSTAINED = "abstained"
    SMALL_RADIUS = "small_radius"
    ANSWER_HARMFUL = "answer_harmful"
    ANSWER_MISMATCH = "answer_mismatch"
    NO_CERTIFIED_ANSWER = "no_certified_answer"
    UNREADABLE_IMAGE = "unreadable_image"
    UNCHECKED_MEDIA = "unchecked_media"
    TOO_MANY_IMAGES = "too_many_images"
    IMAGE_TOO_LARGE = "image_too_large"
    PROMPT_TOO_LONG = "prompt_too_long"
    MODEL_FAILED = "model_failed"
    ORACLE_FAILED = "oracle_failed"
    DEADLINE = "deadline"
    QUEUE_FULL = "queue_full"
    BUDGET_SPENT = "budget_spent"
    STORE_REQUIRED = "store_required"
    AUDIT_REQUIRED = "audit_required"
    OVERRIDDEN = "overridden"
    """An operator's word, not the certificate's; the details say whose, and until when."""


Choice = Literal["allow", "flag", "block"]


class Policy(BaseModel):
    """Rules from verdicts to actions.

    `on_error` covers everything that a model could see and the guard could not check. In `monitor` mode everything
    passes, errors included, and decisions record what `enforce` would have done.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    on_harmful: Choice = "block"
    classes: dict[str, Choice] = {}
    """What a class of the oracle leads to, certified or as the class of an answer: `{"no text": "allow"}`. Where this
    does not say it, a class that the oracle calls harmful leads to `on_harmful`, and one that it calls harmless is
    allowed. One that is neither leads to `on_abstain` where the oracle has harmless classes, and is allowed where it
    has none, as a robot's actions."""
    on_abstain: Choice = "block"
    min_radius: float = Field(default=0.1, ge=0.0, allow_inf_nan=False)
    """Smallest radius, at the certification resolution, that counts as robust (0.1: the paper's sign of trouble)."""
    on_small_radius: Choice = "flag"
    on_error: Choice = "block"
    mode: Literal["enforce", "monitor"] = "enforce"
    release: Literal["screened", "certified"] = "screened"
    """What the user gets: the chain's answer once judged, or the drawn answer that the certificate keeps."""
    forward: Literal["canonical", "original"] = "canonical"
    """What the chain gets: the pixels that were checked, or (opt-in) the caller's own bytes."""
    store_required: bool = False
    """Whether a store outage blocks; otherwise the guard computes without it."""
    audit_required: bool = False
    """Whether an audit outage blocks; otherwise it is logged as an error."""

    @property
    def enforced(self) -> bool:
        """Whether decisions bind."""
        return self.mode == "enforce"

    def check(self, oracle: object) -> None:
        """Refuse names of classes that the oracle never says: a misspelt one would let harm pass.

        Raises:
            ConfigurationError: there is one in `classes`.
        """
        known = oracle.fixed_on(None) if isinstance(oracle, RepresentativeOracle) else oracle
        for name in self.classes:
            if isinstance(known, Oracle) and name not in known.classes:
                raise ConfigurationError(
                    f"policy.classes names {name!r}, which oracle {known.name} never says"
                    f"{did_you_mean(name, known.classes)}: its classes are {', '.join(known.classes)}"
                )

    def undecided(self, oracle: object) -> list[str]:
        """Return the classes that lead to `on_abstain` because nobody says whether they are harmful."""
        classes = oracle.classes if isinstance(oracle, Oracle) else ()
        return [c for c in classes if self._of(c, oracle, classes)[0] is Reason.ABSTAINED]

    def alike(self, oracle: object) -> tuple[tuple[str, ...], ...]:
        """Return the oracle's groups of classes that are certified as one, parted where this policy parts them."""
        if not isinstance(oracle, Oracle):
            return ()
        parts = list[tuple[str, ...]]()
        for group in OracleTraits.of(oracle).alike:
            by_outcome: dict[tuple[Reason | None, Action], list[str]] = {}
            for name in group:
                by_outcome.setdefault(self._of(name, oracle, oracle.classes), []).append(name)
            parts += (tuple(part) for part in by_outcome.values() if len(part) > 1)
        return tuple(parts)

    def _of(self, name: str, oracle: object, known: Collection[str]) -> tuple[Reason | None, Action]:
        """Return what a class leads to, and why; no reason for a plain allow. `known` are all classes of the oracle."""
        traits = OracleTraits.of(oracle)
        if (chosen := self.classes.get(name)) is not None:
            return (None if chosen == "allow" else Reason.CERTIFIED_HARMFUL), Action(chosen)
        if name in traits.harmful:
            return Reason.CERTIFIED_HARMFUL, Action(self.on_harmful)
        if name in {*traits.harmless, ILLEGIBLE} or traits.harmless.isdisjoint(known):
            return None, Action.ALLOW
        return Reason.ABSTAINED, Action(self.on_abstain)

    def decide(self, certificate: Certificate, oracle: object = None) -> dict[Reason, Action]:
        """Return what the certificate gives reason for; empty for a plain allow.

        Args:
            certificate: of a request.
            oracle: whose classes it is about, and says what they mean; None: they mean what their names say.
        """
        found: dict[Reason, Action] = {}
        if not certificate.rigorous:
            found[Reason.ABSTAINED] = Action(self.on_abstain)
        elif certificate.verdict is Verdict.ABSTAIN and certificate.stop_reason == DEADLINE:
            found[Reason.DEADLINE] = Action(self.on_error)
        elif certificate.failed_by is not None:
            reason = Reason.ORACLE_FAILED if certificate.failed_by == "oracle" else Reason.MODEL_FAILED
            found[reason] = Action(self.on_error)
        elif certificate.verdict is Verdict.ABSTAIN:
            found[Reason.ABSTAINED] = Action(self.on_abstain)
        else:
            outcomes = [self._of(name, oracle, certificate.counts) for name in certificate.cell]
            worst, action = max(outcomes, key=lambda outcome: (outcome[1].severity, outcome[0] is not None))
            if worst is not None:
                found[worst] = action
            if any(reason is None for reason, _ in outcomes) and certificate.radius < self.min_radius:
                found[Reason.SMALL_RADIUS] = Action(self.on_small_radius)
        if self.release == "certified" and certificate.answer is None and Action.BLOCK not in found.values():
            found[Reason.NO_CERTIFIED_ANSWER] = Action(self.on_error)
        return found

    def refuses(self, certificate: Certificate, oracle: object = None) -> bool:
        """Whether the outcome is an abstention or a verdict that blocks: then it also answers requests near it.

        What is flagged or allowed says nothing of a neighbour, which may have to be blocked.
        """
        if certificate.certified_class is None:
            return self.on_abstain == "block"
        outcomes = (self._of(name, oracle, certificate.counts) for name in certificate.cell)
        return any(reason is not None and action is Action.BLOCK for reason, action in outcomes)

    def screen(self, certificate: Certificate | None, label: str, oracle: object = None) -> dict[Reason, Action]:
        """Return what the class of the chain's final answer gives reason for.

        A harmful answer under a certified-harmless image is itself evidence of an attack. Where a class other than
        harmless was certified (an action), the answer must be of that class, or harmless.
        """
        if label == FAILED:
            return {Reason.ORACLE_FAILED: Action(self.on_error)}
        counts = certificate.counts if certificate is not None else ()
        reason, action = self._of(label, oracle, oracle.classes if isinstance(oracle, Oracle) else counts)
        if reason is not None:
            return {Reason.ANSWER_HARMFUL if reason is Reason.CERTIFIED_HARMFUL else reason: action}
        if (
            certificate is not None
            and certificate.verdict is Verdict.CERTIFIED
            and label not in {*certificate.cell, *OracleTraits.of(oracle).harmless}
        ):
            return {Reason.ANSWER_MISMATCH: Action(self.on_harmful)}
        return {}


class Decision(BaseModel):
    """What to do about one request, why, and on what evidence. Plain JSON by `model_dump(mode="json")`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str = Field(default_factory=lambda: uuid.uuid4().hex)
    action: Action = Action.ALLOW
    enforced: bool = True
    """False in monitor mode: `action` is what enforcing would do, and the request passes."""
    reasons: tuple[Reason, ...] = ()
    details: tuple[str, ...] = ()
    """One sentence per reason that needs it, for operators; not for end users."""
    source: Source | None = None
    """Where the certificate came from; None where there is none."""
    certificate: Certificate | None = None
    timings: dict[str, float] = Field(default_factory=dict)
    """Milliseconds by stage."""
    client: str | None = None
    session: str | None = None
    tags: tuple[str, ...] = ()
    prompt: Prompt | None = Field(default=None, exclude=True, repr=False)
    """Kept in memory for screening the final answer; never written."""

    @property
    def blocked(self) -> bool:
        """Whether the request must not go on."""
        return self.enforced and self.action is Action.BLOCK

    def with_reasons(self, found: dict[Reason, Action], details: Iterable[str] = ()) -> Decision:
        """Add reasons; the severest action wins."""
        action = max((self.action, *found.values()), key=lambda a: a.severity)
        reasons = tuple(dict.fromkeys((*self.reasons, *found)))
        return self.model_copy(update={"action": action, "reasons": reasons, "details": (*self.details, *details)})
