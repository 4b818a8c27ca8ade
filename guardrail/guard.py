"""The guard: store, smoothing, policy and audit for one request; screening of the final answer."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self, TypeAlias

from guardrail.audit import AuditSink
from guardrail.callers import asking
from guardrail.certificate import CERTIFICATE_VERSION, Certificate
from guardrail.errors import (
    ConfigurationError,
    GuardrailError,
    ImageError,
    ImageTooLargeError,
    OracleError,
    PromptTooLongError,
    QueueFullError,
    StoreError,
    TooManyImagesError,
)
from guardrail.images import ImageLimits, ImageSource, InputImage, load_images
from guardrail.models.base import Answer, VisionLanguageModel
from guardrail.oracles.base import Judgements, Oracle
from guardrail.policy import Action, Decision, Policy, Reason, Source
from guardrail.prompts import Prompt
from guardrail.smoothing import SmoothedClassifier, Smoothing
from guardrail.stores.base import CertificateKey, CertificateStore

logger = logging.getLogger(__name__)

Images: TypeAlias = "ImageSource | Iterable[ImageSource]"


class Guard:
    """Decides about requests with images: certify, look up, judge by policy, record.

    A decision is a value, also when something fails: whatever a model could see and the guard could not check falls
    under `Policy.on_error`. Safe to use from many threads.

    Args:
        model: what is smoothed. A forgotten model must not guard production, so there is no default;
            `Guard.bundled()` gives the demo's.
        oracle: sorts the model's answers into classes.
        smoothing: noise, draws and α.
        policy: rules from verdicts to actions.
        store: keeps certificates; None: every request is computed.
        audit: records decisions; None: nothing is recorded.
        limits: bounds on images, checked before decoding.
        max_prompt_chars: longest prompt, in characters.
    """

    def __init__(
        self,
        model: VisionLanguageModel,
        oracle: Oracle,
        *,
        smoothing: Smoothing | None = None,
        policy: Policy | None = None,
        store: CertificateStore | None = None,
        audit: AuditSink | None = None,
        limits: ImageLimits | None = None,
        max_prompt_chars: int = 32_000,
    ) -> None:
        for name, value, kind in (("smoothing", smoothing, Smoothing), ("policy", policy, Policy)):
            if not isinstance(value, kind | None):
                raise ConfigurationError(f"{name} must be a {kind.__name__}(...), got {type(value).__name__}")
        self.classifier = SmoothedClassifier(model, oracle, smoothing)
        self.oracle = oracle
        self.policy = policy or Policy()
        self.store = store
        self.audit = audit
        self.limits = limits or ImageLimits()
        self.max_prompt_chars = max_prompt_chars
        self.classifier.prepare(self.target_radius)

    def __repr__(self) -> str:
        return f"Guard({self.model.name!r}, {self.oracle.name!r}, {self.policy.mode})"

    @classmethod
    def bundled(
        cls,
        *,
        smoothing: Smoothing | None = None,
        policy: Policy | None = None,
        store: CertificateStore | None = None,
        audit: AuditSink | None = None,
    ) -> Self:
        """Make a guard of the bundled model and oracle, for demonstrations and tests; it reads signs, nothing else."""
        from guardrail.models.bundled import BundledVLM
        from guardrail.oracles.bundled import bundled_oracle

        return cls(BundledVLM(), bundled_oracle(), smoothing=smoothing, policy=policy, store=store, audit=audit)

    @classmethod
    def from_settings(cls, path: str | Path | None = None) -> Guard:
        """Make a guard from a TOML file and `GUARDRAIL_*` variables; variables win.

        Raises:
            ConfigurationError: no model is named, or a setting cannot work.
        """
        from guardrail.settings import Settings

        return Settings.load(path).guard()

    @property
    def model(self) -> VisionLanguageModel:
        """The model that is smoothed."""
        return self.classifier.model

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of what decisions depend on beside requests: model, oracle, smoothing, policy; not the key."""
        parts = (self.classifier.context(Prompt(()), self.target_radius), self.policy.model_dump_json())
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    @property
    def target_radius(self) -> float:
        """Radius at which drawing stops: the smoothing's own, else the policy's `min_radius`."""
        target = self.classifier.smoothing.target_radius
        return self.policy.min_radius if target is None else target

    def check(
        self,
        images: Images,
        prompt: str | Prompt,
        *,
        unchecked: Sequence[str] = (),
        client: str | None = None,
        session: str | None = None,
        tags: Sequence[str] = (),
        deadline: float | None = None,
    ) -> Decision:
        """Decide about a request.

        Args:
            images: one or several images, in the order of their places in the prompt. None at all: allowed, unseen.
            prompt: the text, or a conversation with a place for each image.
            unchecked: what a model could see of the request and nobody could turn into images, in words; each falls
                under `Policy.on_error`. Where that lets the request pass, the images are still checked.
            client: who asks, for the log.
            session: which conversation it belongs to, for the log.
            tags: free labels, for the log.
            deadline: seconds from now; draws not begun by then count as failed.

        Returns:
            The decision; `decision.blocked` says whether to stop.
        """
        decision = Decision(enforced=self.policy.enforced)
        timings: dict[str, float] = {}
        try:
            decision = Decision(
                id=decision.id, enforced=decision.enforced, client=client, session=session, tags=tuple(tags)
            )
            with _timed(timings, "total"), asking(client):
                if unchecked:
                    decision = decision.with_reasons({Reason.UNCHECKED_MEDIA: Action(self.policy.on_error)}, unchecked)
                if not decision.blocked:
                    decision = self._decide(decision, images, prompt, deadline, timings)
        except Exception as error:  # noqa: BLE001 - an error must become a block, never a way round one
            decision = self._fail(decision, error)
        return self._record(decision.model_copy(update={"timings": timings}))

    async def acheck(
        self,
        images: Images,
        prompt: str | Prompt,
        *,
        unchecked: Sequence[str] = (),
        client: str | None = None,
        session: str | None = None,
        tags: Sequence[str] = (),
        deadline: float | None = None,
    ) -> Decision:
        """Do as `check`, in a thread, so that the event loop stays free."""
        with asking(client):  # a cancelled task calls off the draws that still wait
            return await asyncio.to_thread(
                self.check,
                images,
                prompt,
                unchecked=unchecked,
                client=client,
                session=session,
                tags=tags,
                deadline=deadline,
            )

    def check_many(
        self, requests: Iterable[tuple[Images, str | Prompt]], *, client: str | None = None
    ) -> list[Decision]:
        """Decide about several requests, in order."""
        return [self.check(images, prompt, client=client) for images, prompt in requests]

    def drawn_answer(self, decision: Decision) -> str | None:
        """Return the judged answer to release instead of asking the chain; None if the chain is to be asked.

        That is `release="certified"`: the lowest-index drawn answer of the certified class.
        """
        if decision.blocked or decision.certificate is None or not self.policy.enforced:
            return None
        if self.policy.release == "screened":
            return None
        return decision.certificate.answer

    def screen(self, decision: Decision, answer: str, *, unreadable: str | None = None) -> Decision:
        """Judge the chain's final answer before anyone sees it.

        A decision without certificate and reasons had no media: it comes back as it is. So does a block.

        Args:
            decision: what `check` decided about the request.
            answer: the whole final answer, tool-call arguments included.
            unreadable: why the answer, or a part of it, cannot be written out for judging: an `oracle_failed`.
        """
        if decision.blocked or not (decision.certificate or decision.reasons):
            return decision
        prompt = decision.prompt or Prompt(())
        timings = dict(decision.timings)
        try:
            with _timed(timings, "screen"):
                if unreadable is not None:
                    raise OracleError(f"the answer cannot be judged: {unreadable}")
                label = Judgements().of(self.oracle, [Answer(answer)], prompt)[0]
            screened = decision.with_reasons(self.policy.screen(decision.certificate, label))
        except Exception as error:  # noqa: BLE001 - as in check
            screened = self._fail(decision, error)
        return self._record(screened.model_copy(update={"timings": timings}))

    async def ascreen(self, decision: Decision, answer: str) -> Decision:
        """Do as `screen`, in a thread."""
        return await asyncio.to_thread(self.screen, decision, answer)

    def warmup(self) -> None:
        """Answer one draw, so that the first request does not pay for start-up.

        Raises:
            GuardrailError: the model or the oracle does not work.
        """
        from PIL import Image

        once = self.classifier.smoothing.model_copy(update={"samples": 1, "looks": None})
        SmoothedClassifier(self.model, self.oracle, once).certify(Image.new("RGB", (64, 64), "white"), "Warm up.")

    def close(self) -> None:
        """Close the store."""
        if self.store is not None:
            self.store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _decide(
        self,
        decision: Decision,
        images: Images,
        prompt: str | Prompt,
        deadline: float | None,
        timings: dict[str, float],
    ) -> Decision:
        until = None if deadline is None else time.monotonic() + deadline
        with _timed(timings, "images"):
            pictures = load_images(images, self.limits)
        if not pictures:
            return decision
        prompt = Prompt.of(prompt, len(pictures))
        if prompt.characters > self.max_prompt_chars:
            raise PromptTooLongError(
                f"the prompt has {prompt.characters} characters, at most {self.max_prompt_chars} are checked"
            )
        key = CertificateKey.of(pictures, self.classifier.context(prompt, self.target_radius))
        with _timed(timings, "store"):
            certificate = self._get(key, pictures, prompt)
        source: Source = "hit"
        if certificate is None:
            source = "computed"
            with _timed(timings, "smoothing"):
                certificate = self.classifier.certify(pictures, prompt, self.target_radius, deadline=until)
            with _timed(timings, "store"):
                self._put(key, certificate)
        decision = decision.model_copy(update={"certificate": certificate, "source": source, "prompt": prompt})
        return decision.with_reasons(self.policy.judge(certificate))

    def _get(self, key: CertificateKey, pictures: Sequence[InputImage], prompt: Prompt) -> Certificate | None:
        if self.store is None:
            return None
        try:
            certificate = self.store.get(key)
        except Exception as error:  # noqa: BLE001 - whatever a store raises, the guard can do without
            self._without_store(error)
            return None
        if certificate is not None and not self._is_about(certificate, pictures, prompt):
            logger.error("the store gave a certificate of another request for %s: treated as a miss", key)
            return None
        return certificate

    def _is_about(self, certificate: Certificate, pictures: Sequence[InputImage], prompt: Prompt) -> bool:
        """Whether a stored certificate says by itself that it is about this request."""
        smoothing = self.classifier.smoothing
        said = (certificate.image_sha256, certificate.prompt_sha256, certificate.model, certificate.oracle)
        wanted = (tuple(p.sha256 for p in pictures), prompt.digest, self.model.name, self.oracle.name)
        said_how = (certificate.version, certificate.sigma, certificate.alpha)
        return said == wanted and said_how == (CERTIFICATE_VERSION, smoothing.sigma, smoothing.alpha)

    def _put(self, key: CertificateKey, certificate: Certificate) -> None:
        """Store what was computed: abstentions and harmful verdicts too, but nothing that a deadline cut short."""
        if self.store is None or certificate.stop_reason == "deadline":
            return
        try:
            self.store.put(key, certificate)
        except Exception as error:  # noqa: BLE001 - as in _get
            self._without_store(error)

    def _without_store(self, error: Exception) -> None:
        if self.policy.store_required:
            raise StoreError(f"the certificate store failed: {error}") from error
        logger.warning("going on without the certificate store: %s: %s", type(error).__name__, error)

    def _fail(self, decision: Decision, error: Exception) -> Decision:
        """Turn an error into a decision by `Policy.on_error`."""
        reason = next((reason for kind, reason in _REASONS if isinstance(error, kind)), Reason.MODEL_FAILED)
        if isinstance(error, CancelledError):
            detail = "called off"
        elif isinstance(error, GuardrailError):
            logger.warning("request not checked (%s): %s", reason, error)
            detail = str(error)
        else:
            logger.exception("request not checked (%s)", reason)
            detail = f"unexpected {type(error).__name__}; see the log"
        return decision.with_reasons({reason: Action(self.policy.on_error)}, [detail])

    def _record(self, decision: Decision) -> Decision:
        if self.audit is None:
            return decision
        try:
            self.audit.record(decision)
        except Exception:
            logger.exception("decision %s was not recorded", decision.id)
            if self.policy.audit_required:
                return decision.with_reasons(
                    {Reason.AUDIT_REQUIRED: Action(self.policy.on_error)}, ["the audit log could not be written"]
                )
        return decision


_REASONS: tuple[tuple[type[Exception], Reason], ...] = (
    (TooManyImagesError, Reason.TOO_MANY_IMAGES),
    (ImageTooLargeError, Reason.IMAGE_TOO_LARGE),
    (ImageError, Reason.UNREADABLE_IMAGE),
    (PromptTooLongError, Reason.PROMPT_TOO_LONG),
    (StoreError, Reason.STORE_REQUIRED),
    (OracleError, Reason.ORACLE_FAILED),
    (QueueFullError, Reason.QUEUE_FULL),
)
"""Which reason an error gives; the first that fits. Everything else is `model_failed`."""


@contextmanager
def _timed(timings: dict[str, float], stage: str) -> Iterator[None]:
    start = time.perf_counter()
    try:
        yield
    finally:
        timings[stage] = timings.get(stage, 0.0) + (time.perf_counter() - start) * 1000.0
