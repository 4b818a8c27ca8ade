"""How requests are smoothed: the options."""

from __future__ import annotations

from functools import lru_cache
from typing import Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    SecretBytes,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError

from guardrail.certify.class_rules import Rule
from guardrail.measuring.recall import EvaluationRecord
from guardrail.statistics import ConfidenceSequence, OracleError, PowerSpending, default_looks
from guardrail.statistics.sequential import DEFAULT_SPENDING, FUTILITY_THRESHOLD


class Smoothing(BaseModel):
    """How requests are smoothed; fixed before the first draw, never chosen from an image.

    Every field but `key` is part of the cache key.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    sigma: float = Field(default=0.5, gt=0.0, allow_inf_nan=False)
    """Standard deviation of the noise, in units of pixel values in [0, 1]."""
    samples: int = Field(default=100, ge=1, le=1_000_000)
    """Largest number of draws per certificate: the budget."""
    alpha: float = Field(default=0.001, gt=0.0, lt=1.0)
    """Probability of any false certificate of a request; the oracle error's share is part of it."""
    target_radius: float | None = Field(default=None, ge=0.0, allow_inf_nan=False)
    """Radius that suffices: drawing stops once it is certified or hopeless. None: a guard takes its policy's
    `min_radius`; a bare classifier spends the budget."""
    method: Literal["sequential", "fixed"] = "sequential"
    """`sequential` looks at the counts while they come in and stops early, at the same α. Without a target there is
    nothing to stop for, and it is `fixed`: Clopper–Pearson after all draws, as in the paper."""
    looks: tuple[int, ...] | None = None
    """Numbers of draws at which the counts are looked at; the last is `samples`. None: `default_looks`."""
    batch: int | None = Field(default=None, ge=1)
    """Number of draws that cost as much as one on this device; the default looks are then multiples of it."""
    spending: float = Field(default=DEFAULT_SPENDING.exponent, gt=0.0, allow_inf_nan=False)
    """Exponent of the spending function: α·(n/samples)^spending may be spent by look n."""
    futility: float = Field(default=FUTILITY_THRESHOLD, ge=0.0, lt=1.0)
    """Give up when the predictive probability of still reaching the target falls below this. It costs no α."""
    class_rule: Rule = "all"
    """Which classes are tested on the draws: see `ClassRule`."""
    certified_class: str | None = None
    """The class or cell under test, for `class_rule="fixed"`."""
    selection_samples: int = Field(default=20, ge=1, le=10_000)
    """Draws on which a class is selected, where the rule or the oracle selects one. They are not counted again."""
    oracle_error: OracleError | None = None
    """How the oracle errs; None: not measured, and the certificate is about the oracle's verdict only."""
    population: str | None = None
    """What requests are drawn from, in the words of the oracle error's labels; None: nobody says, and then labels of
    any population are another's."""
    transfer: bool = False
    """Accept an oracle error whose labels are of another model or population. That its rates hold here is then an
    assumption which no α covers; `oracle_error` and a warning of every certificate say so."""
    recall: EvaluationRecord | None = None
    """What `guardrail evaluate` measured of this model, oracle and σ; None: a warning on every certificate."""
    max_side: int = Field(default=1024, ge=1)
    """Longest side, in pixels, at which noise is added for a model without a resolution of its own."""
    key: SecretBytes | None = Field(default=None, exclude=True)
    """Secret of the noise, at least 16 bytes. None: a fresh random one, so that certificates repeat only within
    this process; replicas that share a store need the same key."""

    @model_validator(mode="wrap")
    @classmethod
    def _name_values(cls, given: object, validate: ModelWrapValidatorHandler[Self]) -> Self:
        """Name wrong values in errors, where pydantic hides all lest it shows the key."""
        try:
            return validate(given)
        except ValidationError as error:
            wrong = [_with_value(one) for one in error.errors()]
            raise ValidationError.from_exception_data(cls.__name__, wrong, hide_input=True) from None

    @field_validator("key")
    @classmethod
    def _long_enough(cls, key: SecretBytes | None) -> SecretBytes | None:
        if key is not None and len(key.get_secret_value()) < 16:
            raise ValueError("the noise key needs at least 16 bytes; make one with `openssl rand -hex 32`")
        return key

    @model_validator(mode="after")
    def _consistent(self) -> Smoothing:
        if self.looks is not None:
            ConfidenceSequence(self.looks, self.alpha)  # says what is wrong with them
            if self.looks[-1] != self.samples:
                raise ValueError(f"the last of the looks {self.looks} must be samples, {self.samples}")
        if self.alpha_draws <= 0.0:
            raise ValueError(
                f"the oracle error was estimated at alpha_oracle {self.alpha_oracle}, which leaves nothing of alpha "
                f"{self.alpha} for the draws: raise alpha, or estimate at a smaller alpha_oracle"
            )
        return self

    @property
    def alpha_oracle(self) -> float:
        """The part of α that estimating the oracle's error has spent."""
        return self.oracle_error.alpha_oracle if self.oracle_error else 0.0

    @property
    def alpha_draws(self) -> float:
        """The part of α that is left for the draws."""
        return self.alpha - self.alpha_oracle

    def error_about(self, tested: str) -> OracleError | None:
        """Return the error model, if it speaks of this class."""
        return self.oracle_error if self.oracle_error and self.oracle_error.about in {None, tested} else None

    def transferred(self, model: str) -> str | None:
        """Say in what the oracle error's labels are of another model or population; None: in nothing."""
        return self.oracle_error.elsewhere(model, self.population) if self.oracle_error else None

    def required_q(self, tested: str, radius: float) -> float:
        """Return the lower bound on q that brings the radius of a class to this one; 1 if none does."""
        from scipy.special import ndtr

        q, error = float(ndtr(radius / self.sigma)), self.error_about(tested)
        return 1.0 if q >= 1.0 else q if error is None else error.required_q(q)

    def sequence(self, alpha: float, partition: bool = True) -> ConfidenceSequence:
        """Return the bound that may be looked at while the draws come in, for one class or all of a partition."""
        return _sequence(self.looks or default_looks(self.samples, self.batch), alpha, self.spending, partition)


def _with_value(wrong: ErrorDetails) -> InitErrorDetails:
    value, shown = wrong["input"], wrong["loc"] and wrong["loc"][0] != "key"
    got = f", got {value!r:.80}" if shown and isinstance(value, str | int | float) else ""
    text = wrong["msg"].removeprefix("Value error, ") + got
    return InitErrorDetails(type=PydanticCustomError(wrong["type"], text), loc=wrong["loc"], input=value)


@lru_cache(maxsize=32)
def _sequence(looks: tuple[int, ...], alpha: float, spending: float, partition: bool) -> ConfidenceSequence:
    """Return the sequence, the same object for the same arguments: its tables are built once."""
    return ConfidenceSequence(looks, alpha, PowerSpending(spending), partition)
