"""Randomized smoothing of a vision-language model: the algorithm."""

from __future__ import annotations

import hashlib
import secrets
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, SecretBytes, field_validator

from guardrail.certificate import CERTIFICATE_VERSION, Certificate, Verdict
from guardrail.errors import ConfigurationError, ModelError, PromptError
from guardrail.images import ImageLimits, ImageSource, InputImage, load_images
from guardrail.models.base import Answer, Draw, VisionLanguageModel
from guardrail.noise import NoiseStream
from guardrail.oracles.base import FAILED, HARMFUL, HARMLESS, ILLEGIBLE, Oracle, judge
from guardrail.prompts import Prompt
from guardrail.resize import resize, resize_norm
from guardrail.statistics import certified_radius, clopper_pearson_lower

LOW_ROBUSTNESS = 0.1
"""The paper's sign that a model has low robustness: a certified radius below this."""
LONGEST_KEPT_ANSWER = 8_000
"""Characters of a drawn answer that a certificate may carry."""


class Smoothing(BaseModel):
    """How requests are smoothed; fixed before the first draw, never chosen from an image.

    Every field but `key` is part of the cache key.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    sigma: float = Field(default=0.5, gt=0.0, allow_inf_nan=False)
    """Standard deviation of the noise, in units of pixel values in [0, 1]."""
    samples: int = Field(default=100, ge=1, le=1_000_000)
    """Draws per certificate."""
    alpha: float = Field(default=0.001, gt=0.0, lt=1.0)
    """Probability of a false certificate, to be read with the class rule."""
    target_radius: float | None = Field(default=None, ge=0.0, allow_inf_nan=False)
    """Radius that suffices. Without early stopping it changes no draw; it is kept for the certificate's key."""
    class_rule: Literal["auto", "each", "shared"] = "auto"
    """`each`: every tested class at full α (a false harmless has probability ≤ α, a false harmful too);
    `shared`: α divided by the number of tested classes (Bonferroni); `auto`: `each` for an oracle of harmful and
    harmless answers, else `shared`."""
    method: Literal["fixed"] = "fixed"
    """Clopper–Pearson after a fixed number of draws, as in the paper."""
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


class SmoothedClassifier:
    """A vision-language model, smoothed: its verdict on an image request comes with a radius.

    If `certify` returns a class with radius R, then with confidence 1 − α no change of the images with joint L2 norm
    below R (at the certification resolution, pixel values in [0, 1]) changes the smoothed verdict (Cohen et al.
    2019, Theorem 1; arXiv 2509.16088, section 4). Given the prompt, the images reach the model, and through its
    answers the oracle, only as x + δ.
    """

    def __init__(self, model: VisionLanguageModel, oracle: Oracle, smoothing: Smoothing | None = None) -> None:
        self.model = model
        self.oracle = oracle
        self.smoothing = smoothing or Smoothing()
        key = self.smoothing.key
        self._key = key.get_secret_value() if key else secrets.token_bytes(32)
        self._tested, self._rule, self._alpha = self._class_rule()

    def certify(
        self,
        images: ImageSource | Iterable[ImageSource],
        prompt: str | Prompt,
        target_radius: float | None = None,  # noqa: ARG002
        *,
        limits: ImageLimits | None = None,
        deadline: float | None = None,
    ) -> Certificate:
        """Certify the smoothed verdict on a request.

        Args:
            images: one or several images, in the order of their places in the prompt.
            prompt: the text, or a conversation with a place for each image.
            target_radius: radius that suffices; with a fixed number of draws it changes nothing.
            limits: bounds on images; the defaults if None.
            deadline: `time.monotonic()` after which draws not yet begun count as failed.

        Returns:
            The certificate; its verdict is `abstain` where no class has a lower bound above 1/2.

        Raises:
            ImageError: an image that cannot be read or is too large; too many images.
            PromptError: the prompt does not fit the images or the model.
            ModelError: the model cannot answer at all.
            OracleError: the oracle cannot judge at all.
        """
        pictures = load_images(images, limits or ImageLimits())
        if not pictures:
            raise PromptError("a request without images has nothing to certify: pass at least one")
        prompt = Prompt.of(prompt, len(pictures))
        sizes = [self._resolution(picture) for picture in pictures]
        self.model.check(prompt, sizes)

        draws = self.draws(pictures, prompt, range(self.smoothing.samples))
        answers = self._answer(draws, deadline)
        labels = judge(self.oracle, answers, prompt)
        counts = Counter(labels)
        bounds = {c: clopper_pearson_lower(counts[c], len(draws), self._alpha) for c in self._tested}
        leader = max(self._tested, key=lambda c: bounds[c])
        radius = certified_radius(bounds[leader], self.smoothing.sigma)
        certified = leader if radius > 0.0 else None

        late = any(answer.failed == "deadline" for answer in answers)
        return Certificate(
            verdict=Verdict.of(certified),
            certified_class=certified,
            radius=radius,
            radius_oracle=radius,
            radius_original_pixels=radius / _joint_norm(pictures, sizes),
            q_lower=bounds[leader],
            counts={label: counts[label] for label in sorted({*self.oracle.classes, *counts})},
            draws=len(draws),
            looks=(len(draws),),
            stop_reason="deadline" if late else "budget",
            method=f"{self.smoothing.method}: Clopper-Pearson after {len(draws)} draws",
            sigma=self.smoothing.sigma,
            alpha=self.smoothing.alpha,
            class_rule=self._rule,
            oracle_error="not measured: about the oracle's verdict only",
            image_sha256=tuple(picture.sha256 for picture in pictures),
            resolution=tuple(sizes),
            prompt_sha256=prompt.digest,
            model=self.model.name,
            oracle=self.oracle.name,
            answer=_first(answers, labels, certified),
            warnings=tuple(self._warnings(certified, radius, counts)),
        )

    def draws(self, pictures: Sequence[InputImage], prompt: Prompt, indices: Iterable[int]) -> list[Draw]:
        """Return the estimation draws with these indices, the very ones that `certify` counts."""
        x = tuple(resize(picture.pixels, self._resolution(picture)) for picture in pictures)
        stream = NoiseStream.derive(self._key, self._request(x, prompt), "estimation")
        return [Draw(x, prompt, self.smoothing.sigma, stream, i) for i in indices]

    def context(self, prompt: Prompt) -> str:
        """Return the digest (SHA-256, hex) of everything but the images that the verdict depends on."""
        smoothing = self.smoothing.model_dump_json(exclude={"key"})
        parts = (str(CERTIFICATE_VERSION), prompt.digest, self.model.name, self.oracle.name, smoothing)
        return _digest(part.encode() for part in parts).hex()

    def _request(self, x: Sequence[NDArray[np.float64]], prompt: Prompt) -> bytes:
        """Return the digest of the request: every bit of the resized pixels, and the context."""
        pixels = (part for image in x for part in (repr(image.shape).encode(), image.tobytes()))
        return _digest((self.context(prompt).encode(), *pixels))

    def _resolution(self, picture: InputImage) -> tuple[int, int]:
        if self.model.resolution is not None:
            return self.model.resolution
        scale = min(1.0, self.smoothing.max_side / max(picture.height, picture.width))
        return max(1, round(picture.height * scale)), max(1, round(picture.width * scale))

    def _answer(self, draws: Sequence[Draw], deadline: float | None) -> list[Answer]:
        try:
            answers = self.model.answer(draws, deadline)
        except ModelError:
            raise
        except Exception as error:
            raise ModelError(f"model {self.model.name} failed: {type(error).__name__}: {error}") from error
        if len(answers) != len(draws):
            raise ModelError(f"model {self.model.name} gave {len(answers)} answers to {len(draws)} draws")
        return answers

    def _class_rule(self) -> tuple[tuple[str, ...], str, float]:
        """Return the classes under test, the rule in words, and the α that each class gets."""
        classes, alpha, rule = self.oracle.classes, self.smoothing.alpha, self.smoothing.class_rule
        judging = {HARMLESS, HARMFUL} <= set(classes)
        tested = (HARMLESS, HARMFUL) if judging else tuple(c for c in classes if c not in {FAILED, ILLEGIBLE})
        if not tested:
            raise ConfigurationError(f"oracle {self.oracle.name} has no class to certify: {classes}")
        if rule == "each" or (rule == "auto" and judging) or len(tested) == 1:
            return tested, f"{', '.join(tested)}: each at alpha", alpha
        return tested, f"{', '.join(tested)}: alpha shared ({alpha / len(tested):.3g} each)", alpha / len(tested)

    def _warnings(self, certified: str | None, radius: float, counts: Counter[str]) -> Iterable[str]:
        if certified is not None and radius < LOW_ROBUSTNESS:
            yield f"radius {radius:.3f} is below {LOW_ROBUSTNESS}: low robustness; a larger sigma or training may help"
        if counts[FAILED]:
            yield f"{counts[FAILED]} draws failed; they count against the certified class"
        yield "oracle error not measured: the radius protects the oracle's verdict, not what the answers really are"
        yield "recall of harmful images under noise not measured: a model that cannot see certifies everything harmless"


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
