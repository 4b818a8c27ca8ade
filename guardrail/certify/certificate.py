"""What was established about a request, and under which assumptions."""

from __future__ import annotations

from collections.abc import Collection
from enum import StrEnum
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from guardrail.oracles.base import JudgementKind, OracleTraits

CERTIFICATE_VERSION = 4
"""Raised whenever the meaning of a field changes; part of every cache key."""
SLOW_ORACLE = "the oracle took "
"""Begins the warning of an oracle that took more than half of the time."""


class Verdict(StrEnum):
    """The verdict of the smoothed model.

    `CERTIFIED` is a class that is neither harmful nor harmless, such as an action, or a cell that holds several kinds.
    """

    HARMLESS = "harmless"
    HARMFUL = "harmful"
    CERTIFIED = "certified"
    ABSTAIN = "abstain"

    @classmethod
    def of(cls, cell: Collection[str], traits: OracleTraits) -> Verdict:
        """Return the verdict that the members of a certified cell stand for; none are an abstention."""
        if not cell:
            return cls.ABSTAIN
        kinds = ((cls.HARMLESS, traits.harmless), (cls.HARMFUL, traits.harmful))
        return next((verdict for verdict, kind in kinds if kind.issuperset(cell)), cls.CERTIFIED)


StopReason = Literal["target", "futility", "budget", "deadline", "contradicted"]
"""Why drawing ended: the target was certified, or hopeless; the budget or the time was spent; or the counts
contradict what was assumed about the oracle, or another certificate, and there is no certificate."""


class Certificate(BaseModel):
    """With confidence 1 − `alpha`: no change to the pixels smaller than `radius` changes the verdict.

    It speaks of the ideal smoothed verdict at the changed image, given the same text, model and oracle; a guard run
    there may still abstain. It says nothing about changes to the text, nothing beyond the radius, nothing about the
    raw model's answer on this image, and nothing about harm that the model cannot see under noise. That any class is
    certified falsely has probability at most `alpha`, error assumptions granted.

    Radii are L2 norms of the joint change of all images, in units of pixel values in [0, 1].
    """

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    version: int = CERTIFICATE_VERSION
    verdict: Verdict
    certified_class: str | None
    """The class that was certified, or the cell: 'harmless or no text'; None for an abstention."""
    cell: tuple[str, ...] = ()
    """Classes that were certified as one; none for an abstention. Their own counts are no claim."""
    radius: float = Field(ge=0.0)
    """The smaller of `radius_oracle` and `radius_true` where the latter exists; 0 for an abstention."""
    radius_oracle: float = Field(ge=0.0)
    """The oracle's verdict cannot change within it (Cohen et al. 2019)."""
    radius_true: float | None = Field(default=None, ge=0.0)
    """What the answers really are cannot change within it (the paper's radius); None: the oracle was not measured."""
    radius_original_pixels: float = Field(ge=0.0)
    """`radius` seen from the decoded picture before its resize: `radius` over the resize's operator norm."""
    q_lower: float = Field(ge=0.0, lt=1.0)
    """Lower bound on P[oracle says the class]; for an abstention, of the class that came nearest."""
    p_lower: float | None = Field(default=None, ge=0.0, lt=1.0)
    """Lower bound on P[the answer is of the class]; None: the oracle was not measured."""
    counts: dict[str, int]
    """Estimation draws by class, `failed` among them; they sum to `draws`."""
    failures: dict[str, int] = Field(default_factory=dict)
    """Why draws failed: the model's reasons (`filtered`, `deadline`, …), and the oracle's after `oracle: `."""
    draws: int = Field(ge=0)
    selection_draws: int = Field(default=0, ge=0)
    budget: int = Field(ge=0)
    """Draws that might have been spent."""
    tokens: int = Field(default=0, ge=0)
    """Tokens that the model generated for all draws together."""
    looks: tuple[int, ...]
    """Numbers of draws at which the counts were looked at."""
    stop_reason: StopReason
    method: str
    """The lower bound: its looks, its α and how it is spent."""
    rigorous: bool = True
    """False for the paper's Algorithm 2, which estimates and does not certify; a policy treats it as an abstention."""
    sigma: float = Field(gt=0.0)
    alpha: float = Field(gt=0.0, lt=1.0)
    """The whole error probability, `alpha_draws + alpha_oracle`, of all classes that `class_rule` tests together."""
    alpha_draws: float = Field(gt=0.0, lt=1.0)
    alpha_oracle: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Spent on estimating the oracle's error: one coin for all certificates that use the same labels."""
    class_rule: str
    oracle_error: str
    """How the oracle is assumed to err, and on what labels that rests (the transfer assumption)."""
    image_sha256: tuple[str, ...]
    """Hash of each image's canonical pixels and shape."""
    resolution: tuple[tuple[int, int], ...]
    """Height and width of each image where the noise was added."""
    prompt_sha256: str
    model: str
    oracle: str
    judgements: JudgementKind = "afresh"
    """Whether equal answers were judged once, by an oracle that is a function; or every draw's answer by itself; or
    once, by a table that was drawn once for good from a judge that samples: then `q_lower` is about this table."""
    representative: str | None = None
    """The answer, in words, that a class found on selection draws is about: `equivalent` means to this one. It is an
    answer of the model, abstentions keep it too, and nobody has screened it for harm unless the oracle did."""
    oracle_time_share: float = Field(default=0.0, ge=0.0, le=1.0)
    """Share of the time between the first draw and the last judgement that was spent in the oracle. Neither it nor the
    warning of a slow oracle is part of what makes two certificates equal."""
    answer: str | None = None
    """The lowest-index drawn answer of the certified class that is short enough: what `release="certified"` gives.
    None for an abstention, and for a harmful verdict, of which no answer is kept."""
    derived_from: str | None = None
    """For a near hit: the images' hash (`CertificateKey.images`) of the stored certificate that covers this request,
    with its counts. Never stored."""
    distance: float = Field(default=0.0, ge=0.0)
    """For a near hit: upper bound on the L2 distance to those images, by which radii and bounds are smaller."""
    warnings: tuple[str, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _of_one_class(cls, data: object) -> object:
        if isinstance(data, dict) and data.get("certified_class") and not data.get("cell"):
            return {**data, "cell": (data["certified_class"],)}
        return data

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Certificate):
            return NotImplemented
        return self._without_times() == other._without_times()

    __hash__ = None  # type: ignore[assignment]

    def _without_times(self) -> dict[str, Any]:
        warnings = tuple(warning for warning in self.warnings if not warning.startswith(SLOW_ORACLE))
        return self.model_dump(exclude={"oracle_time_share"}) | {"warnings": warnings}

    @property
    def failed_by(self) -> Literal["model", "oracle"] | None:
        """Whose failures made the abstention, at least half of the draws having failed; None: no such thing."""
        failed = sum(self.failures.values())
        if self.certified_class is not None or not failed or 2 * failed < self.draws:
            return None
        oracle = sum(count for reason, count in self.failures.items() if reason.startswith("oracle: "))
        return "oracle" if 2 * oracle >= failed else "model"

    @property
    def radius_linf(self) -> float:
        """L∞ radius at the certification resolution: `radius/√d`, with d the number of values there."""
        values = sum(3 * height * width for height, width in self.resolution)
        return float(self.radius / values**0.5) if values else 0.0

    def to_json(self) -> str:
        """Write as JSON; `from_json` gives back an equal certificate, floats to the last bit."""
        return self.model_dump_json()

    @classmethod
    def from_json(cls, text: str | bytes) -> Certificate:
        """Read what `to_json` wrote.

        Raises:
            pydantic.ValidationError: not a certificate of this version's schema.
        """
        return cls.model_validate_json(text)
