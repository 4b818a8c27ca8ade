"""The guard: store, smoothing, policy and audit for one request; screening of the final answer."""

from __future__ import annotations

import asyncio
import copy
import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypeAlias

from guardrail.audit import AuditSink, Overrides
from guardrail.budget import DrawBudget
from guardrail.callers import asking
from guardrail.certify.class_rules import check_meanings
from guardrail.certify.options import Smoothing
from guardrail.certify.smoothing import SmoothedClassifier
from guardrail.digests import digest_of
from guardrail.errors import (
    BudgetSpentError,
    ConfigurationError,
    GuardrailError,
    ImageError,
    ImageTooLargeError,
    OracleError,
    OtherPictureError,
    PromptTooLongError,
    QueueFullError,
    StoreError,
    TooManyImagesError,
)
from guardrail.images.limits import DEFAULT_LIMITS, ImageLimits
from guardrail.images.pictures import ImageSource, keep_still, take_images
from guardrail.lookup import Lookup, oracle_of, timed
from guardrail.models.base import Answer, ModelTraits, VisionLanguageModel, awaits, close
from guardrail.models.scheduling import Scheduler
from guardrail.near import NearHits
from guardrail.oracles.base import Judgements, Oracle, OracleTraits, RepresentativeOracle, SelectingOracle
from guardrail.policy import Action, Decision, Policy, Reason
from guardrail.prompts import Prompt
from guardrail.stores.base import Aliases, CertificateStore, SharedLocks, SignedStore
from guardrail.stores.once import OncePerKey
from guardrail.stores.outages import Outages
from guardrail.stores.seen import SeenFiles
from guardrail.stores.signing import Signer

if TYPE_CHECKING:
    from guardrail.settings import Settings

logger = logging.getLogger(__name__)

Images: TypeAlias = "ImageSource | Iterable[ImageSource]"

_AT_ONCE = 32
"""Requests that `check_many` works on at a time, or fewer, so that their draws do not fill the queue."""


class Guard:
    """Decides about requests with images: certify, look up, judge by policy, record.

    A decision is a value, also when something fails: whatever a model could see and the guard could not check falls
    under `Policy.on_error`. Safe to use from many threads.

    Draws of concurrent requests share the batches of a model that works in batches (`scheduling.Scheduler`).

    Args:
        model: what is smoothed, or replicas of it, one per GPU. A forgotten model must not guard production, so there
            is no default; `Guard.bundled()` gives the demo's.
        oracle: sorts the model's answers into classes; or finds one, as `EquivalenceOracle` does, and then the chain's
            answer is screened by the representative that the certificate keeps.
        smoothing: noise, draws and α.
        policy: rules from verdicts to actions.
        store: keeps certificates; None: every request is computed.
        audit: records decisions; None: nothing is recorded.
        overrides: images that operators allow or block, whatever their certificates; None: none.
        budget: draws that each client may cause in a minute; None: as many as it likes.
        near: lets stored certificates answer requests whose images are near theirs; None: only the same images.
        limits: bounds on images, checked before decoding.
        max_prompt_chars: longest prompt, in characters.
    """

    def __init__(
        self,
        model: VisionLanguageModel | Sequence[VisionLanguageModel],
        oracle: Oracle | RepresentativeOracle,
        *,
        smoothing: Smoothing | None = None,
        policy: Policy | None = None,
        store: CertificateStore | None = None,
        audit: AuditSink | None = None,
        overrides: Overrides | None = None,
        budget: DrawBudget | None = None,
        near: NearHits | None = None,
        limits: ImageLimits | None = None,
        max_prompt_chars: int = 32_000,
    ) -> None:
        for name, value, kind in (("smoothing", smoothing, Smoothing), ("policy", policy, Policy)):
            if not isinstance(value, kind | None):
                raise ConfigurationError(f"{name} must be a {kind.__name__}(...), got {type(value).__name__}")
        models = tuple(model) if isinstance(model, list | tuple) else (model,)
        if not models:
            raise ConfigurationError("the guard needs a model, or replicas of one; got an empty list")
        self.model: VisionLanguageModel = models[0]
        """The model that is smoothed, or the first of its replicas."""
        self._scheduler = Scheduler.of(models)
        self.oracle = oracle
        self.policy = policy or Policy()
        self.classifier = SmoothedClassifier(
            self._scheduler or self.model, oracle, smoothing, alike=self.policy.alike(oracle)
        )
        if isinstance(oracle, Oracle):
            check_meanings("all", oracle.classes, OracleTraits.of(oracle))
        if isinstance(oracle, SelectingOracle) and not isinstance(oracle, Oracle | RepresentativeOracle):
            raise ConfigurationError(
                f"oracle {oracle.name} finds its classes, and a guard must have them again from a certificate to "
                "screen the chain's answer: give it fixed_on(representative)"
            )
        self.audit = audit
        self.overrides = overrides
        self.budget = budget
        self.near = near
        self.limits = limits or DEFAULT_LIMITS
        self.max_prompt_chars = max_prompt_chars
        if near is not None and store is None:
            raise ConfigurationError("near hits come from stored certificates: name a store")
        if budget is not None and budget.per_minute < self.classifier.most_draws:
            raise ConfigurationError(
                f"a budget of {budget.per_minute} draws a minute is never enough for a decision, which may take "
                f"{self.classifier.most_draws}: raise it, or lower samples"
            )
        self._made: tuple[object, ...] = () if self._scheduler is None else (self._scheduler,)
        """What this guard has made, and closes; what it was given belongs to whoever made it."""
        self.store = store
        if undecided := self.policy.undecided(oracle):
            logger.warning("%s: %s", ", ".join(undecided), _UNDECIDED)
        if unreachable := self.classifier.unreachable_target(self.target_radius):
            logger.warning("%s", unreachable)

    @property
    def policy(self) -> Policy:
        """Rules from verdicts to actions; another may be set while the guard runs.

        Raises:
            ConfigurationError: it names a class that the oracle never says.
        """
        return self._policy

    @policy.setter
    def policy(self, policy: Policy) -> None:
        policy.check(self.oracle)
        self._policy = policy

    @property
    def store(self) -> CertificateStore | None:
        """Keeps certificates; None: every request is computed."""
        return self._store

    @store.setter
    def store(self, store: CertificateStore | None) -> None:
        self._store = store
        key = self.classifier.smoothing.key
        if isinstance(store, SignedStore) and key is not None:
            store.sign_by(Signer(key))
        self._outages = Outages(type(store).__name__, "going on without the certificate store")
        self._seen = SeenFiles(store if isinstance(store, Aliases) else None, self.limits, self._outages)
        self._once = OncePerKey(store if isinstance(store, SharedLocks) else None, self._outages)

    @property
    def _lookup(self) -> Lookup:
        """Of the parts as they are now: an application may change its guard's policy while it runs."""
        parts = (self.classifier, self.oracle, self.policy, self.store, self.near, self.budget)
        return Lookup(*parts, self._once, self._outages)

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
        overrides: Overrides | None = None,
        budget: DrawBudget | None = None,
        near: NearHits | None = None,
    ) -> Self:
        """Make a guard of the bundled model and oracle, for demonstrations and tests; it reads signs, nothing else."""
        from guardrail.bundled.model import BundledVLM
        from guardrail.bundled.oracle import bundled_oracle

        guard = cls(
            BundledVLM(),
            bundled_oracle(),
            smoothing=smoothing,
            policy=policy,
            store=store,
            audit=audit,
            overrides=overrides,
            budget=budget,
            near=near,
        )
        guard._made += (guard.model, guard.oracle)
        return guard

    @classmethod
    def from_settings(cls, settings: str | Path | Settings | None = None) -> Self:
        """Make a guard from a TOML file and `GUARDRAIL_*` variables; variables win.

        Args:
            settings: path of the file; None: the one that `GUARDRAIL_CONFIG` names; or settings that were read before.

        Raises:
            ConfigurationError: no model is named, or a setting cannot work.
        """
        from guardrail.settings import Settings

        read = settings if isinstance(settings, Settings) else Settings.load(settings)
        parts = read.parts()
        guard = cls(**parts)
        guard._made += (parts["audit"], parts["overrides"])
        guard._made += tuple(parts["model"]) if read.owns("model") else ()
        guard._made += (parts["oracle"],) if read.owns("oracle") else ()
        guard._made += (parts["store"],) if read.owns("store") else ()
        return guard

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of what decisions depend on beside requests: model, oracle, smoothing, policy; not the key."""
        parts = (self.classifier.context(Prompt(()), self.target_radius), self.policy.model_dump_json())
        return digest_of(part.encode() for part in parts).hex()

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
                They are taken before anything else is done: what the caller changes later, nobody sees.
            prompt: the text, or a conversation with a place for each image.
            unchecked: what a model could see of the request and nobody could turn into images, in words; each falls
                under `Policy.on_error`. Where that lets the request pass, the images are still checked.
            client: who asks: for the log, and for the budget of draws.
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
            with timed(timings, "total"), asking(client):
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
        """Check in a thread, so that the event loop stays free; waiting for that thread counts towards the deadline."""
        begun = time.monotonic()
        images = keep_still(images, self.limits)  # other tasks run meanwhile, and may use their buffers again

        def check() -> Decision:
            left = None if deadline is None else deadline - (time.monotonic() - begun)
            return self.check(
                images, prompt, unchecked=unchecked, client=client, session=session, tags=tags, deadline=left
            )

        with asking(client):  # a cancelled task calls off the draws that still wait
            return await asyncio.to_thread(check)

    def check_many(
        self, requests: Iterable[tuple[Images, str | Prompt]], *, client: str | None = None
    ) -> list[Decision]:
        """Decide about several requests, so many at once that their draws fill batches; decisions in their order."""
        places = ModelTraits.of(self.classifier.model).max_queue
        fit = _AT_ONCE if places is None else places // self.classifier.smoothing.samples
        asked = [(copy_context(), request) for request in requests]
        with ThreadPoolExecutor(max(1, min(_AT_ONCE, fit)), "guardrail-check") as pool:
            return list(pool.map(lambda one: one[0].run(self.check, *one[1], client=client), asked))

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
            with timed(timings, "screen"):
                if unreadable is not None:
                    raise OracleError(f"the answer cannot be judged: {unreadable}")
                oracle = oracle_of(self.oracle, decision.certificate)
                label = Judgements().of(oracle, [Answer(answer)], prompt)[0]
            screened = decision.with_reasons(self.policy.screen(decision.certificate, label, oracle))
        except Exception as error:  # noqa: BLE001 - as in check
            screened = self._fail(decision, error)
        return self._record(screened.model_copy(update={"timings": timings}))

    async def ascreen(self, decision: Decision, answer: str, *, unreadable: str | None = None) -> Decision:
        """Screen in a thread, so that the event loop stays free."""
        return await asyncio.to_thread(self.screen, decision, answer, unreadable=unreadable)

    def warmup(self) -> None:
        """Answer one draw, so that the first request does not pay for start-up.

        Raises:
            GuardrailError: the model or the oracle does not work.
        """
        from PIL import Image

        once = self.classifier.smoothing.model_copy(update={"samples": 1, "looks": None, "selection_samples": 1})
        SmoothedClassifier(self.model, self.oracle, once).certify(Image.new("RGB", (64, 64), "white"), "Warm up.")

    def with_store(self, store: CertificateStore) -> Self:
        """Return a guard like this one that keeps certificates there; it shares all other parts, and owns none."""
        other = copy.copy(self)
        other._made = ()
        other.store = store
        return other

    @contextmanager
    def together(self) -> Iterator[Self]:
        """Yield a guard like this one on which the draws of concurrent requests share the model's batches."""
        model = self.classifier.model
        if isinstance(model, Scheduler) or awaits(model):  # it packs them itself, or sends one call a draw
            yield self
            return
        with Scheduler(model) as scheduler:
            other = copy.copy(self)
            other._made = ()
            other.classifier = self.classifier.on(scheduler)
            yield other

    def close(self) -> None:
        """Close what this guard has made: the thread that packs batches, and what `from_settings` and `bundled` made.

        Model, oracle, store, audit log and overrides that it was given stay open: whoever made them closes them.
        """
        close(*self._made)

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
        with timed(timings, "images"):
            sources = take_images(images, self.limits)
        if not sources:
            return decision
        characters = Prompt.of(prompt, len(sources)).characters
        if characters > self.max_prompt_chars:
            raise PromptTooLongError(
                f"the prompt has {characters} characters, at most {self.max_prompt_chars} are checked"
            )
        with timed(timings, "images"):
            hashes = self._seen.hashes(sources)
        request = self.classifier.request(sources, prompt, self.target_radius, limits=self.limits, hashes=hashes)
        decision = decision.model_copy(update={"prompt": request.prompt})
        if hashes is None:
            with timed(timings, "images"):
                self._seen.learn(sources, request.pictures)
        override = self.overrides.of(request.hashes) if self.overrides else None
        if override is not None:
            return decision.with_reasons({Reason.OVERRIDDEN: Action(override.action)}, [override.statement])
        try:
            certificate, source = self._lookup.find(request, decision.client, until, timings)
        except OtherPictureError as error:
            self._seen.learn(sources, error.pictures)  # refused now, and known from now on
            raise
        decision = decision.model_copy(update={"certificate": certificate, "source": source})
        found = self.policy.decide(certificate, oracle_of(self.oracle, certificate))
        undecided = Reason.ABSTAINED in found and certificate.certified_class is not None and certificate.rigorous
        return decision.with_reasons(found, [f"{certificate.certified_class}: {_UNDECIDED}"] if undecided else ())

    def _fail(self, decision: Decision, error: Exception) -> Decision:
        """Turn an error into a decision by `Policy.on_error`."""
        reason = next((reason for kind, reason in _REASONS if isinstance(error, kind)), Reason.MODEL_FAILED)
        if isinstance(error, CancelledError):
            detail = "called off"
        elif isinstance(error, GuardrailError):
            own = error.__cause__ if isinstance(error, OracleError) else None  # which may say secrets: to the log alone
            said = "" if own is None or isinstance(own, GuardrailError) else f": {own}"
            logger.warning("request not checked (%s): %s%s", reason, error, said)
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


_UNDECIDED = (
    "neither harmful nor harmless, and so led to on_abstain: let the oracle say which, by harmless_classes or "
    "harmful_classes, or the policy what to do, by classes"
)
_REASONS: tuple[tuple[type[Exception], Reason], ...] = (
    (TooManyImagesError, Reason.TOO_MANY_IMAGES),
    (ImageTooLargeError, Reason.IMAGE_TOO_LARGE),
    (ImageError, Reason.UNREADABLE_IMAGE),
    (PromptTooLongError, Reason.PROMPT_TOO_LONG),
    (StoreError, Reason.STORE_REQUIRED),
    (OracleError, Reason.ORACLE_FAILED),
    (QueueFullError, Reason.QUEUE_FULL),
    (BudgetSpentError, Reason.BUDGET_SPENT),
)
"""Which reason an error gives; the first that fits. Everything else is `model_failed`."""
