"""Randomized smoothing of a vision-language model: the algorithm."""

from __future__ import annotations

import copy
import secrets
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import CancelledError
from typing import Literal, Self

from guardrail.certify import design
from guardrail.certify.assemble import Run, assemble
from guardrail.certify.certificate import CERTIFICATE_VERSION, Certificate
from guardrail.certify.class_rules import ClassRule
from guardrail.certify.noise import NoiseStream
from guardrail.certify.options import Smoothing
from guardrail.digests import digest_of
from guardrail.errors import DEADLINE, ConfigurationError, GuardrailError, PromptError
from guardrail.images.limits import DEFAULT_LIMITS, ImageLimits
from guardrail.images.pictures import ImageSource, take_images
from guardrail.models.base import Draw, ModelTraits, VisionLanguageModel, ask, past
from guardrail.oracles.base import FAILED, Judgements, Oracle, OracleTraits, SelectingOracle, fix
from guardrail.prompts import Prompt
from guardrail.request import Request


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
        alike: groups of classes that are certified as one; None: as the oracle says.

    Raises:
        ConfigurationError: no class of the oracle can be certified, or nobody knows what one means; or the oracle error
            was measured on another oracle, or on another model or population without `Smoothing.transfer`.
        ContradictedAssumptionError: independent errors are assumed of an oracle that does not say that it samples.
    """

    def __init__(
        self,
        model: VisionLanguageModel,
        oracle: Oracle | SelectingOracle,
        smoothing: Smoothing | None = None,
        alike: Sequence[Sequence[str]] | None = None,
    ) -> None:
        design.check_parts(model, oracle)
        self.model = model
        self.oracle = oracle
        self.smoothing = smoothing = smoothing or Smoothing()
        self._key = smoothing.key.get_secret_value() if smoothing.key else secrets.token_bytes(32)
        traits = OracleTraits.of(oracle)
        self._alike = traits.alike if alike is None else tuple(map(tuple, alike))
        self._meanings = repr((self._alike, traits.harmful_classes, traits.harmless_classes, traits.judgements))
        self._rule = design.class_rule(smoothing, oracle, self._alike)
        self.most_draws = smoothing.samples + (smoothing.selection_samples if self._rule is None else 0)
        """Draws that one certificate may take, those on which a class is selected included."""
        self.repeats = ModelTraits.of(model).repeatable and traits.repeats_judgements
        """Whether a request that is asked again gets the same draws and judgements; else asking is another chance."""
        design.check_price(smoothing, self.most_draws, model)
        design.check_oracle_error(smoothing, self._rule.tested if self._rule else (), oracle, model.name)

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

        Where draws or judgements cannot be had again, what fails or is called off after a look raises nothing: that
        look decides, as at a deadline.
        """
        return self.run(self.request(images, prompt, target_radius, limits=limits), deadline)

    def run(self, request: Request, deadline: float | None = None) -> Certificate:
        """Certify a request of this classifier's: see `certify`."""
        self.model.check(request.prompt, request.sizes)
        start = time.monotonic()
        run = self._select(request, deadline)
        draws = self.draws(request, range(self.smoothing.samples))
        for look in run.design.bound.looks:
            try:
                new = ask(self.model, draws[len(run.answers) : look], deadline)
                labels = run.judged.of(run.oracle, new, request.prompt, deadline)
            except (CancelledError, GuardrailError):
                if self.repeats or not run.looks:
                    raise
                run.stop = DEADLINE  # draws that cannot be had again would be another chance: the last look decides
                break
            late = any(answer.failed == DEADLINE for answer in new) or (past(deadline) and FAILED in labels)
            if late and run.looks:  # the last look whose draws are all in and judged is the last
                run.uncounted_tokens += sum(answer.tokens for answer in new)
            else:
                run.count(new, labels, look)
            run.stop = DEADLINE if late else run.design.stop(run.counts, look)
            if run.stop is not None:
                break
        run.seconds = time.monotonic() - start
        return assemble(run, request, self.smoothing, self.model.name, ModelTraits.of(self.model).caveats)

    def request(
        self,
        images: ImageSource | Iterable[ImageSource],
        prompt: str | Prompt,
        target_radius: float | None = None,
        *,
        limits: ImageLimits | None = None,
        hashes: tuple[str, ...] | None = None,
    ) -> Request:
        """Return the request as a value, its images taken from the caller, its files not decoded yet.

        The arguments are those of `certify`, and the images' hashes, where they are known from their files.
        """
        sources = take_images(images, limits := limits or DEFAULT_LIMITS)
        if not sources:
            raise PromptError("a request without images has nothing to certify: pass at least one")
        prompt = Prompt.of(prompt, len(sources))
        target = self.smoothing.target_radius if target_radius is None else target_radius
        if target is not None and not 0.0 <= target < float("inf"):
            raise ConfigurationError(f"target_radius must be a finite number of at least 0, got {target}")
        contexts, at = (self.context(prompt, target), self.context(prompt.visible, target)), self.model.resolution
        return Request(sources, limits, prompt, *contexts, target, at, self.smoothing.max_side, hashes)

    def draws(
        self, request: Request, indices: Iterable[int], purpose: Literal["estimation", "selection"] = "estimation"
    ) -> list[Draw]:
        """Return the draws with these indices, the very ones that `run` makes for this request."""
        stream = NoiseStream.derive(self._key, request.digest, purpose)
        return [Draw(request.resized, request.prompt, self.smoothing.sigma, stream, i) for i in indices]

    def context(self, prompt: Prompt, target_radius: float | None = None) -> str:
        """Return the digest (SHA-256, hex) of everything but the images that the verdict depends on."""
        smoothing = self.smoothing.model_dump_json(exclude={"key"})
        names = (self.model.name, self.oracle.name, self._meanings, smoothing, repr(target_radius))
        return digest_of(part.encode() for part in (str(CERTIFICATE_VERSION), prompt.digest, *names)).hex()

    def unreachable_target(self, target_radius: float | None = None) -> str | None:
        """Say that no certificate reaches this target, so that each costs all draws; None: one does if all agree."""
        return design.unreachable_target(self.smoothing, self._rule, target_radius)

    def on(self, model: VisionLanguageModel) -> Self:
        """Return this classifier on another way to the same model, such as a scheduler: same key, same draws."""
        other = copy.copy(self)
        other.model = model
        return other

    def _select(self, request: Request, deadline: float | None) -> Run:
        """Fix oracle, classes under test and bound; what is chosen from draws is chosen on draws of its own."""
        smoothing, oracle = self.smoothing, self.oracle
        judged = Judgements(NoiseStream.derive(self._key, request.digest, "oracle"))
        if self._rule is not None and isinstance(oracle, Oracle):
            return Run(oracle, design.Design.of(smoothing, self._rule, request.target_radius), judged)
        answers = ask(self.model, self.draws(request, range(smoothing.selection_samples), "selection"), deadline)
        if isinstance(oracle, Oracle):
            votes = Counter(judged.of(oracle, answers, request.prompt, deadline))
            rule = ClassRule.most_voted(votes, oracle.classes, smoothing.alpha_draws, self._alike)
        else:
            begun = time.monotonic()
            texts = [answer.text for answer in answers if answer.failed is None]
            oracle = fix(oracle, texts, request.prompt, deadline)
            judged.seconds += time.monotonic() - begun
            rule = ClassRule.of("selection", oracle.classes[:1], smoothing.alpha_draws, oracle.classes[0])
        judged.failures.clear()  # those of the estimation draws are to be told
        fixed = design.Design.of(smoothing, rule, request.target_radius)
        return Run(oracle, fixed, judged, len(answers), sum(answer.tokens for answer in answers))
