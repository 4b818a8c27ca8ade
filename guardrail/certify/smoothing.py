"""Randomized smoothing of a vision-language model: the algorithm."""

from __future__ import annotations

import hashlib
import logging
import secrets
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, SecretBytes, field_validator, model_validator

from guardrail.callers import current_caller
from guardrail.certify.certificate import CERTIFICATE_VERSION, Certificate, StopReason, Verdict
from guardrail.certify.class_rules import ClassRule, Rule
from guardrail.certify.noise import NoiseStream
from guardrail.certify.resize import resize, resize_norm
from guardrail.errors import ConfigurationError, GuardrailError, ModelError, PromptError
from guardrail.images.pictures import ImageLimits, ImageSource, InputImage, load_images
from guardrail.measuring.recall import EvaluationRecord, recall_statement
from guardrail.models.base import Answer, Draw, VisionLanguageModel, past
from guardrail.oracles.base import FAILED, HARMFUL, Judgements, Oracle, SelectingOracle, fix, judges_afresh
from guardrail.prompts import Prompt
from guardrail.statistics import (
    ClassConditionalError,
    ConfidenceSequence,
    ContradictedAssumptionError,
    FixedSample,
    LowerBound,
    OracleError,
    PowerSpending,
    certified_radius,
    default_looks,
    predictive_probability,
)

logger = logging.getLogger(__name__)

LOW_ROBUSTNESS = 0.1
"""The paper's sign that a model has low robustness: a certified radius below this."""
LARGEST_SEQUENCE = 2_000
"""Largest budget with early stopping: the table of its bound grows with the budget's square (seconds at this size)."""
LONGEST_KEPT_ANSWER = 8_000
"""Characters of a drawn answer that a certificate may carry."""


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
    """Probability of a false certificate, to be read with the class rule; the oracle error's share is part of it."""
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
    spending: float = Field(default=0.52, gt=0.0, allow_inf_nan=False)
    """Exponent of the spending function: α·(n/samples)^spending may be spent by look n."""
    futility: float = Field(default=0.05, ge=0.0, lt=1.0)
    """Give up when the predictive probability of still reaching the target falls below this. It costs no α."""
    class_rule: Rule = "auto"
    """Which classes are tested at which part of α: see `ClassRule`."""
    certified_class: str | None = None
    """The class under test, for `class_rule="fixed"`."""
    selection_samples: int = Field(default=20, ge=1, le=10_000)
    """Draws on which a class is selected, where the rule or the oracle selects one. They are not counted again."""
    oracle_error: OracleError | None = None
    """How the oracle errs; None: not measured, and the certificate is about the oracle's verdict only."""
    recall: EvaluationRecord | None = None
    """What `guardrail evaluate` measured of this model, oracle and σ; None: a warning on every certificate."""
    max_side: int = Field(default=1024, ge=1)
    """Longest side, in pixels, at which noise is added for a model without a resolution of its own."""
    key: SecretBytes | None = Field(default=None, exclude=True)
    """Secret of the noise, at least 16 bytes. None: a fresh random one, so that certificates repeat only within
    this process; replicas that share a store need the same key."""

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

    def sequence(self, alpha: float) -> ConfidenceSequence:
        """Return the bound that may be looked at while the draws come in."""
        return _sequence(self.looks or default_looks(self.samples, self.batch), alpha, self.spending)


class SmoothedClassifier:
    """A vision-language model, smoothed: its verdict on an image request comes with a radius.

    If `certify` returns a class with radius R, then with confidence 1 − α no change of the images with joint L2 norm
    below R (at the certification resolution, pixel values in [0, 1]) changes the smoothed verdict (Cohen et al.
    2019, Theorem 1; arXiv 2509.16088, section 4). Given the prompt, the images reach the model, and through its
    answers the oracle, only as x + δ.

    Args:
        model: what is smoothed.
        oracle: sorts its answers; one that finds its classes (`SelectingOracle`) is fixed on draws of its own.
        smoothing: noise, budget, α, and what is assumed about the oracle's errors.

    Raises:
        ConfigurationError: the oracle has no class to certify.
        ContradictedAssumptionError: the oracle error assumes independent errors, and this oracle repeats its
            judgement for an equal answer.
    """

    def __init__(
        self, model: VisionLanguageModel, oracle: Oracle | SelectingOracle, smoothing: Smoothing | None = None
    ) -> None:
        if not isinstance(model, VisionLanguageModel) or isinstance(model, type):
            raise ConfigurationError(f"a model has name, resolution, check and answer; got {model!r}")
        if not isinstance(oracle, Oracle | SelectingOracle) or isinstance(oracle, type) or not oracle.name:
            raise ConfigurationError(f"an oracle has name, classes and classify (or fix); got {oracle!r}")
        self.model = model
        self.oracle = oracle
        self.smoothing = smoothing or Smoothing()
        key = self.smoothing.key
        self._key = key.get_secret_value() if key else secrets.token_bytes(32)
        if self.smoothing.oracle_error is not None:
            self.smoothing.oracle_error.require_judgements(remembered=not judges_afresh(oracle))
        self._rule = self._fixed_rule()
        self._check_price()
        self._check_oracle_error()

    def certify(
        self,
        images: ImageSource | Iterable[ImageSource],
        prompt: str | Prompt,
        target_radius: float | None = None,
        *,
        limits: ImageLimits | None = None,
        deadline: float | None = None,
    ) -> Certificate:
        """Certify the smoothed verdict on a request.

        Args:
            images: one or several images, in the order of their places in the prompt.
            prompt: the text, or a conversation with a place for each image.
            target_radius: radius that suffices, at least 0; None: `Smoothing.target_radius`, and if that is None too,
                the budget is spent and the largest radius reported.
            limits: bounds on images; the defaults if None.
            deadline: `time.monotonic()` after which draws not yet begun are not waited for: the last look whose draws
                are all in counts, and before the first look the missing draws count as failed.

        Returns:
            The certificate; its verdict is `abstain` where no class has a lower bound above 1/2.

        Raises:
            ImageError: an image that cannot be read or is too large; too many images.
            PromptError: the prompt does not fit the images or the model.
            ConfigurationError: an impossible target.
            ModelError: the model cannot answer at all.
            QueueFullError: as many draws wait for the model as may.
            OracleError: the oracle cannot judge at all.
            concurrent.futures.CancelledError: called off (`guardrail.callers.asking`), between two looks.
        """
        pictures = load_images(images, limits or ImageLimits())
        if not pictures:
            raise PromptError("a request without images has nothing to certify: pass at least one")
        prompt = Prompt.of(prompt, len(pictures))
        sizes = [self._resolution(picture) for picture in pictures]
        self.model.check(prompt, sizes)
        target = self.smoothing.target_radius if target_radius is None else target_radius
        if target is not None and not 0.0 <= target < float("inf"):
            raise ConfigurationError(f"target_radius must be a finite number of at least 0, got {target}")

        start = time.monotonic()
        run = self._select(pictures, prompt, target, deadline)
        draws = self.draws(pictures, prompt, range(self.smoothing.samples), target)
        for look in run.bound.looks:
            new = self._answer(draws[len(run.answers) : look], deadline)
            labels = run.judged.of(run.oracle, new, prompt, deadline)
            late = any(answer.failed == "deadline" for answer in new) or (past(deadline) and FAILED in labels)
            if late and run.looks:  # the last look whose draws are all in and judged is the last
                run.tokens += sum(answer.tokens for answer in new)
            else:
                run.count(new, labels, look)
            run.stop = "deadline" if late else self._stop(run, look, target)
            if run.stop is not None:
                break
        run.seconds = time.monotonic() - start
        return self._certificate(run, pictures, sizes, prompt)

    def draws(
        self,
        pictures: Sequence[InputImage],
        prompt: Prompt,
        indices: Iterable[int],
        target_radius: float | None = None,
        purpose: Literal["estimation", "selection"] = "estimation",
    ) -> list[Draw]:
        """Return the draws with these indices, the very ones that `certify` makes for this request and target."""
        x = self.resized(pictures)
        target = self.smoothing.target_radius if target_radius is None else target_radius
        stream = NoiseStream.derive(self._key, self._request(x, prompt, target), purpose)
        return [Draw(x, prompt, self.smoothing.sigma, stream, i) for i in indices]

    def resized(self, pictures: Sequence[InputImage]) -> tuple[NDArray[np.float64], ...]:
        """Return the images where the noise is added, each [h, w, 3], neither rounded nor clipped."""
        return tuple(resize(picture.pixels, self._resolution(picture)) for picture in pictures)

    def resize_norm(self, pictures: Sequence[InputImage]) -> float:
        """Return the operator norm of that resize, of all images jointly."""
        return _joint_norm(pictures, [self._resolution(picture) for picture in pictures])

    def context(self, prompt: Prompt, target_radius: float | None = None) -> str:
        """Return the digest (SHA-256, hex) of everything but the images that the verdict depends on."""
        smoothing = self.smoothing.model_dump_json(exclude={"key"})
        names = (self.model.name, self.oracle.name, smoothing, repr(target_radius))
        return _digest(part.encode() for part in (str(CERTIFICATE_VERSION), prompt.digest, *names)).hex()

    @property
    def most_draws(self) -> int:
        """Draws that one certificate may take, those on which a class is selected included."""
        return self.smoothing.samples + (self.smoothing.selection_samples if self._rule is None else 0)

    def prepare(self, target_radius: float | None = None) -> None:
        """Build the tables of the bound ahead of the first request: up to seconds for budgets of a thousand draws."""
        if waste := self.waste(target_radius):
            logger.warning("%s", waste)

    def waste(self, target_radius: float | None = None) -> str | None:
        """Say that no certificate reaches this target, so that each costs all draws; None: one does if all agree."""
        rule = self._rule or ClassRule(("selected",), self.smoothing.alpha_draws, "a class yet to be selected")
        fixed = isinstance(self._bound(rule, target_radius), FixedSample)
        if target_radius is None or self.smoothing.method == "fixed" or not fixed:
            return None
        return (
            f"a target radius of {target_radius:g} cannot be certified with {self.smoothing.samples} draws at sigma "
            f"{self.smoothing.sigma:g}: each certificate costs all draws; lower the target, or raise samples or sigma"
        )

    def _select(
        self, pictures: Sequence[InputImage], prompt: Prompt, target: float | None, deadline: float | None
    ) -> _Run:
        """Fix oracle, classes under test and bound; what is chosen from draws is chosen on draws of its own."""
        smoothing, oracle = self.smoothing, self.oracle
        error = smoothing.oracle_error
        judged = Judgements(remember=error is None or not error.assumes_independence)
        if self._rule is not None and isinstance(oracle, Oracle):
            return _Run(oracle, self._rule, self._bound(self._rule, target), judged)
        draws = self.draws(pictures, prompt, range(smoothing.selection_samples), target, "selection")
        answers = self._answer(draws, deadline)
        if isinstance(oracle, Oracle):
            votes = Counter(judged.of(oracle, answers, prompt, deadline))
            open_to = ClassRule.of("shared", oracle.classes, smoothing.alpha_draws).tested
            selected = max(open_to, key=lambda c: votes[c])
        else:
            begun = time.monotonic()
            oracle = fix(oracle, [answer.text for answer in answers if answer.failed is None], prompt, deadline)
            judged.seconds += time.monotonic() - begun
            selected = oracle.classes[0]
        judged.failures.clear()  # those of the estimation draws are to be told
        rule = ClassRule.of("selection", oracle.classes, smoothing.alpha_draws, selected)
        return _Run(oracle, rule, self._bound(rule, target), judged, len(draws), sum(a.tokens for a in answers))

    def _fixed_rule(self) -> ClassRule | None:
        """Return the class rule; None where classes are selected per request."""
        smoothing, oracle = self.smoothing, self.oracle
        if smoothing.class_rule == "selection" or not isinstance(oracle, Oracle):
            return None
        return ClassRule.of(smoothing.class_rule, oracle.classes, smoothing.alpha_draws, smoothing.certified_class)

    def _check_price(self) -> None:
        """Refuse a budget beyond what the model pays for, before the first draw is paid.

        Raises:
            ConfigurationError: as said.
        """
        limit: int | None = getattr(self.model, "max_draws", None)
        selection = 0 if self._rule else self.smoothing.selection_samples
        if limit is not None and self.smoothing.samples + selection > limit:
            raise ConfigurationError(
                f"model {self.model.name} pays for {limit} draws a certificate, samples takes "
                f"{self.smoothing.samples} and selecting a class {selection}: lower them, or raise max_draws"
            )

    def _check_oracle_error(self) -> None:
        """Refuse an error model of another oracle, about no class under test, or about no class in particular.

        Raises:
            ConfigurationError: as said.
        """
        error = self.smoothing.oracle_error
        if error is None:
            return
        if error.measured_on not in {None, self.oracle.name}:
            raise ConfigurationError(
                f"the oracle error was measured on oracle {error.measured_on}, this one is {self.oracle.name}"
            )
        tested = self._rule.tested if self._rule else ()
        if tested and error.about is not None and error.about not in tested:
            raise ConfigurationError(
                f"the oracle error is about class {error.about!r}; the classes tested are {tested}"
            )
        if len(tested) != 1 and error.about is None and isinstance(error, ClassConditionalError):
            raise ConfigurationError(
                f"the classes tested are {tested or 'selected per request'}: say which of them the class-conditional "
                "rates are about, by certified_class="
            )

    def _bound(self, rule: ClassRule, target: float | None) -> LowerBound:
        """Return the lower bound, chosen before the first draw: a sequence only where there is something to stop for.

        That is a target which the sequence reaches when all draws agree; beyond it, the fixed sample reaches further.
        """
        fixed = FixedSample(self.smoothing.samples, rule.alpha_each)
        if self.smoothing.method == "fixed" or target is None:
            return fixed
        if self.smoothing.samples > LARGEST_SEQUENCE:
            raise ConfigurationError(
                f"early stopping is tabulated up to samples={LARGEST_SEQUENCE}, got {self.smoothing.samples}: "
                "lower samples, or use method='fixed'"
            )
        sequence = self.smoothing.sequence(rule.alpha_each)
        last = sequence.looks[-1]
        reachable = (sequence.required_count(self._required_q(c, target), last) <= last for c in rule.tested)
        return sequence if any(reachable) else fixed

    def _stop(self, run: _Run, look: int, target: float | None) -> StopReason | None:
        """Say whether to stop at this look: certified, or hopeless. Either is sound at the bound's looks."""
        if target is None:
            return None
        needed = {c: self._required_q(c, target) for c in run.rule.tested}
        if any(run.counts[c] >= run.bound.required_count(q, look) for c, q in needed.items()):
            return "target"
        if look == run.bound.looks[-1]:
            return None
        chances = (predictive_probability(run.bound, q, run.counts[c], look) for c, q in needed.items())
        return "futility" if max(chances) < self.smoothing.futility else None

    def _required_q(self, tested: str, target: float) -> float:
        """Return the lower bound on q that brings the class's radius to the target; 1 if none does."""
        from scipy.special import ndtr

        q = float(ndtr(target / self.smoothing.sigma))
        error = self._error_of(tested)
        return 1.0 if q >= 1.0 else q if error is None else error.required_q(q)

    def _error_of(self, certified: str) -> OracleError | None:
        """Return the error model, if it speaks of this class."""
        error = self.smoothing.oracle_error
        return error if error is not None and error.about in {None, certified} else None

    def _certificate(
        self, run: _Run, pictures: Sequence[InputImage], sizes: Sequence[tuple[int, int]], prompt: Prompt
    ) -> Certificate:
        smoothing, warnings = self.smoothing, list[str]()
        leader = max(run.rule.tested, key=lambda c: run.q_lower[c])
        q_lower, p_lower, radius_true = run.q_lower[leader], None, None
        radius_oracle = certified_radius(q_lower, smoothing.sigma)
        about = self._error_of(leader)
        if about is not None and radius_oracle > 0.0:
            try:
                p_lower = about.correct(q_lower)
                radius_true = certified_radius(p_lower, smoothing.sigma)
            except ContradictedAssumptionError as contradiction:
                warnings.append(str(contradiction))
                run.stop, radius_oracle = "contradicted", 0.0
        radius = radius_oracle if radius_true is None else min(radius_oracle, radius_true)
        certified = leader if radius > 0.0 else None
        if certified is None:
            radius_oracle, radius_true = 0.0, None if radius_true is None else 0.0
        return Certificate(
            verdict=Verdict.of(certified),
            certified_class=certified,
            radius=radius,
            radius_oracle=radius_oracle,
            radius_true=radius_true,
            radius_original_pixels=radius / _joint_norm(pictures, sizes),
            q_lower=q_lower,
            p_lower=p_lower,
            counts={label: run.counts[label] for label in sorted({*run.oracle.classes, *run.counts})},
            failures=dict(sorted(run.judged.failures.items())),
            draws=len(run.answers),
            selection_draws=run.selected,
            budget=smoothing.samples,
            tokens=run.tokens + sum(answer.tokens for answer in run.answers),
            looks=tuple(run.looks),
            stop_reason=run.stop or "budget",
            method=run.bound.name,
            sigma=smoothing.sigma,
            alpha=smoothing.alpha,
            alpha_draws=smoothing.alpha_draws,
            alpha_oracle=smoothing.alpha_oracle,
            class_rule=run.rule.name,
            oracle_error=_stated(about),
            image_sha256=tuple(picture.sha256 for picture in pictures),
            resolution=tuple(sizes),
            prompt_sha256=prompt.digest,
            model=self.model.name,
            oracle=run.oracle.name,
            representative=getattr(run.oracle, "representative", None),
            oracle_time_share=min(1.0, run.judged.seconds / run.seconds) if run.seconds > 0.0 else 0.0,
            answer=_first(run.answers, run.labels, certified),
            warnings=(*warnings, *_warnings(certified, radius, run.judged.failures, about), self._recall(run.oracle)),
        )

    def _recall(self, oracle: Oracle) -> str:
        """Say what is known about the recall of harmful images."""
        return recall_statement(self.smoothing.recall, self.model.name, oracle.name, self.smoothing.sigma)

    def _request(self, x: Sequence[NDArray[np.float64]], prompt: Prompt, target: float | None) -> bytes:
        """Return the digest of the request: every bit of the resized pixels, and the context."""
        pixels = (part for image in x for part in (repr(image.shape).encode(), image.tobytes()))
        return _digest((self.context(prompt, target).encode(), *pixels))

    def _resolution(self, picture: InputImage) -> tuple[int, int]:
        if self.model.resolution is not None:
            return self.model.resolution
        scale = min(1.0, self.smoothing.max_side / max(picture.height, picture.width))
        return max(1, round(picture.height * scale)), max(1, round(picture.width * scale))

    def _answer(self, draws: Sequence[Draw], deadline: float | None) -> list[Answer]:
        caller = current_caller()
        if caller is not None and caller.cancelled:
            raise CancelledError(f"request called off after {draws[0].index if draws else 0} draws")
        try:
            answers = self.model.answer(draws, deadline)
        except (GuardrailError, CancelledError):  # what is called off is no failure of the model's
            raise
        except Exception as error:
            raise ModelError(f"model {self.model.name} failed: {type(error).__name__}: {error}") from error
        if len(answers) != len(draws):
            raise ModelError(f"model {self.model.name} gave {len(answers)} answers to {len(draws)} draws")
        if odd := next((answer for answer in answers if not isinstance(answer, Answer)), None):
            raise ModelError(f"model {self.model.name} gave a {type(odd).__name__}, not an Answer")
        return answers


@dataclass
class _Run:
    """What has been drawn for one request."""

    oracle: Oracle
    rule: ClassRule
    bound: LowerBound
    judged: Judgements
    """Judgements so far, of the selection draws too."""
    selected: int = 0
    """Draws spent on selecting a class."""
    tokens: int = 0
    """Tokens generated in draws that are not counted."""
    answers: list[Answer] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    looks: list[int] = field(default_factory=list)
    q_lower: dict[str, float] = field(default_factory=dict)
    """The best bound so far for each class under test; it holds at all looks together."""
    stop: StopReason | None = None
    seconds: float = 0.0
    """From the first draw to the last judgement."""

    def count(self, answers: Sequence[Answer], labels: Sequence[str], look: int) -> None:
        """Count the draws up to this look, by index, and look."""
        self.answers += answers
        self.labels += labels
        self.counts.update(labels)
        self.looks.append(look)
        for c in self.rule.tested:
            self.q_lower[c] = max(self.q_lower.get(c, 0.0), self.bound.lower(self.counts[c], look))


@lru_cache(maxsize=32)
def _sequence(looks: tuple[int, ...], alpha: float, spending: float) -> ConfidenceSequence:
    """Return the sequence, the same object for the same arguments: its tables are built once."""
    return ConfidenceSequence(looks, alpha, PowerSpending(spending))


def _stated(error: OracleError | None) -> str:
    if error is None:
        return "not measured: about the oracle's verdict only"
    return "; ".join(filter(None, (error.name, f"assumes that {error.assumption}", error.transfer)))


def _warnings(certified: str | None, radius: float, failures: Counter[str], error: OracleError | None) -> Iterable[str]:
    if certified is not None and radius < LOW_ROBUSTNESS:
        yield f"radius {radius:.3f} is below {LOW_ROBUSTNESS}: low robustness; a larger sigma or training may help"
    if failures:
        why = ", ".join(f"{reason} {count}" for reason, count in sorted(failures.items()))
        yield f"{failures.total()} draws failed ({why}); they count against the certified class"
    if error is None:
        yield "oracle error not measured: the radius protects the oracle's verdict, not what the answers really are"


def _joint_norm(pictures: Sequence[InputImage], sizes: Sequence[tuple[int, int]]) -> float:
    """Return the operator norm of the block-diagonal resize: the largest of its blocks'."""
    return max(resize_norm((p.height, p.width), size) for p, size in zip(pictures, sizes, strict=True))


def _first(answers: Sequence[Answer], labels: Sequence[str], certified: str | None) -> str | None:
    """Return the lowest-index answer of the certified class that is short enough to keep; none that is harmful."""
    if certified in {None, HARMFUL}:
        return None
    texts = (a.text for a, label in zip(answers, labels, strict=True) if label == certified)
    return next((text for text in texts if len(text) <= LONGEST_KEPT_ANSWER), None)


def _digest(parts: Iterable[bytes]) -> bytes:
    """Hash parts with their lengths, so that no two lists of parts collide."""
    total = hashlib.sha256()
    for part in parts:
        total.update(len(part).to_bytes(8, "little"))
        total.update(part)
    return total.digest()
