"""Asking again buys no other draws: not by deadlines, cancelled calls, crowds, nor by what nobody sees in a prompt."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import pytest

from guardrail import Action, Guard, InputImage, Prompt, Reason, Smoothing, Verdict
from guardrail.callers import asking, current_caller
from guardrail.errors import ModelError, QueueFullError
from guardrail.models.base import Answer, Draw
from guardrail.near import NearHits
from guardrail.oracles import LexiconOracle
from guardrail.policy import Decision
from guardrail.prompts import ImagePlace, Turn
from guardrail.stores import CertificateKey, MemoryStore, RedisStore, Signer
from guardrail.stores.once import OncePerKey
from tests.kit.redis_server import RedisServer
from tests.kit.synthetic import ORACLE, CoinVLM, HalfSpaceVLM

KEY = b"the key of these tests"
GREY = InputImage(np.full((4, 4, 3), 128, np.uint8))
MIDDLE = float((GREY.pixels / 255).sum())
LOOSE = Smoothing(
    samples=40,
    alpha=0.05,
    target_radius=0.0,
    futility=0.0,
    class_rule="fixed",
    certified_class="harmless",
    key=KEY,
)


@dataclass
class Remote(CoinVLM):
    """A model whose draws cannot be had again; `ends` is what happens after the draws that it has time for."""

    p: float = 0.45
    in_time: int = 1000
    repeats_draws: bool = False
    batch_dependent: bool = False
    ends: Callable[[], object] | None = None
    asked: int = 0
    coins: np.random.Generator = field(default_factory=lambda: np.random.default_rng(4))

    def answer(self, draws: Sequence[Draw], deadline: float | None = None) -> list[Answer]:
        self.asked += len(draws)
        if self.ends is not None and draws[-1].index >= self.in_time:
            self.ends()
        late, said = Answer.failure("deadline"), ("good", "bad")
        return [Answer(said[self.coins.random() >= self.p]) if d.index < self.in_time else late for d in draws]


def guarded(model: Remote, **options: object) -> Guard:
    return Guard(model, ORACLE, smoothing=LOOSE, store=MemoryStore(), **options)  # type: ignore[arg-type]


def first_look(smoothing: Smoothing = LOOSE) -> int:
    return smoothing.sequence(smoothing.alpha_draws).looks[0]


def ask(guard: Guard, times: int) -> list[Decision]:
    return [guard.check(GREY, "?") for _ in range(times)]


class TestDeadlines:
    """True p = 0.45: without the rule a harmless certificate came at ask 206, at α = 0.05."""

    @pytest.mark.parametrize("why", [{}, {"repeats_draws": True, "batch_dependent": True}])
    def test_an_outcome_that_cannot_be_had_again_stands_though_a_deadline_cut_it(self, why: dict[str, bool]) -> None:
        model = Remote(in_time=30, **why)
        with guarded(model) as guard:
            decisions = ask(guard, 300)
        assert [decision.source for decision in decisions] == ["computed"] + ["hit"] * 299
        assert {decision.action for decision in decisions} == {Action.BLOCK}
        assert {decision.certificate.stop_reason for decision in decisions if decision.certificate} == {"deadline"}

    def test_asked_anew_each_time_it_would_be_certified(self) -> None:
        """What the rule is for: the same model that claims to repeat its draws, and does not."""
        with guarded(Remote(in_time=30, repeats_draws=True)) as guard:
            assert any(not decision.blocked for decision in ask(guard, 300))

    def test_near_hits_know_it_too(self) -> None:
        model = Remote(in_time=first_look() + 1)
        with guarded(model, near=NearHits()) as guard:
            guard.check(GREY, "?")
            variant = GREY.pixels.copy()
            variant[0, 0, 0] += 1
            assert guard.check(InputImage(variant), "?").source == "near"

    def test_where_the_draws_can_go_on_nothing_is_kept(self) -> None:
        model = HalfSpaceVLM(MIDDLE - 100.0)
        late = [True]

        class Late(HalfSpaceVLM):
            def answer(self, draws: Sequence[Draw], deadline: float | None = None) -> list[Answer]:
                return [Answer.failure("deadline")] * len(draws) if late[0] else model.answer(draws, deadline)

        with Guard(Late(0.0), ORACLE, smoothing=LOOSE, store=MemoryStore(), near=NearHits()) as guard:
            assert guard.check(GREY, "?").reasons == (Reason.DEADLINE,)
            late[0] = False
            assert guard.check(GREY, "?").action is Action.ALLOW

    def test_where_no_draw_was_made_there_was_no_chance_and_nothing_is_kept(self) -> None:
        model = Remote(p=1.0, in_time=0)
        with guarded(model) as guard:
            assert guard.check(GREY, "?").reasons == (Reason.DEADLINE,)
            model.in_time = 1000
            assert guard.check(GREY, "?").action is Action.ALLOW

    def test_a_judge_that_samples_is_another_chance_as_well(self) -> None:
        class Moody(LexiconOracle):
            judges_afresh = True

        class Late(HalfSpaceVLM):
            def answer(self, draws: Sequence[Draw], deadline: float | None = None) -> list[Answer]:
                answers = super().answer(draws, deadline)
                return [a if d.index < 12 else Answer.failure("deadline") for a, d in zip(answers, draws, strict=True)]

        oracle = Moody({"harmful": ["bad"], "harmless": ["good"]}, otherwise="illegible")
        with Guard(Late(MIDDLE), oracle, smoothing=LOOSE, store=MemoryStore()) as guard:
            assert [decision.source for decision in ask(guard, 3)] == ["computed", "hit", "hit"]


class TestCalledOff:
    """Whoever gives up after a look has seen that it certified nothing: that look decides."""

    @pytest.mark.parametrize("error", [CancelledError(), ModelError("calls were called off"), QueueFullError("full")])
    def test_what_ends_after_a_look_is_kept(self, error: Exception) -> None:
        def end() -> None:
            raise error

        with guarded(Remote(in_time=first_look() + 1, ends=end)) as guard:
            decisions = ask(guard, 50)
        assert [decision.source for decision in decisions] == ["computed"] + ["hit"] * 49
        assert all(decision.blocked for decision in decisions)

    def test_a_caller_who_cancels_is_answered_the_next_time(self) -> None:
        def cancel() -> None:
            caller = current_caller()
            if caller is not None:
                caller.cancel()

        model = Remote(in_time=first_look() + 1, ends=cancel)
        with guarded(model) as guard:
            with asking():
                guard.check(GREY, "?")
            asked = model.asked
            assert guard.check(GREY, "?").source == "hit"
            assert model.asked == asked

    def test_what_ends_before_the_first_look_was_no_chance(self) -> None:
        def fail() -> None:
            raise ModelError("broken")

        model = Remote(in_time=1, ends=fail)
        with guarded(model) as guard:
            assert guard.check(GREY, "?").reasons == (Reason.MODEL_FAILED,)
            model.ends, model.in_time = None, 1000
            assert guard.check(GREY, "?").source == "computed"

    def test_a_model_that_repeats_its_draws_fails_as_ever(self) -> None:
        def fail() -> None:
            raise ModelError("broken")

        with guarded(Remote(in_time=first_look() + 1, repeats_draws=True, ends=fail)) as guard:
            assert [decision.reasons for decision in ask(guard, 2)] == [(Reason.MODEL_FAILED,)] * 2


class TestCrowds:
    """The luckiest of many that draw at the same time ends first: so one draws, and the others wait in line."""

    def test_no_patience_ends_the_wait(self) -> None:
        model, go = Remote(), threading.Event()
        model.ends, model.in_time = go.wait, -1
        guard = guarded(model)
        guard._lookup.once._patience = 0.01
        with ThreadPoolExecutor(8) as pool:
            futures = [pool.submit(guard.check, GREY, "?") for _ in range(8)]
            time.sleep(0.3)
            asked = model.asked
            model.in_time = 1000
            go.set()
            sources = sorted(future.result().source or "" for future in futures)
        assert asked == first_look()
        assert sources == ["computed", *["hit"] * 7]

    def test_a_deadline_does_and_makes_no_draw(self) -> None:
        begun, go = threading.Event(), threading.Event()
        once = OncePerKey(patience=0.01)
        key = CertificateKey("a" * 64, "b" * 64)

        def slow() -> object:
            begun.set()
            go.wait()
            raise ModelError("never mind")

        with ThreadPoolExecutor(1) as pool:
            leader = pool.submit(once.run, key, lambda: None, slow, in_line=True)  # type: ignore[arg-type]
            begun.wait()
            until = time.monotonic() + 0.2
            when = once.run(key, lambda: None, time.monotonic, until, in_line=True)  # type: ignore[arg-type]
            assert when >= until, "computed when nothing can be drawn any more"  # type: ignore[operator]
            go.set()
            assert isinstance(leader.exception(), ModelError)

    def test_replicas_wait_for_each_other(self, shared_redis: RedisServer) -> None:
        go = threading.Event()
        models = [Remote(in_time=-1, ends=go.wait, name="remote, shared") for _ in range(2)]
        guards = [
            Guard(model, ORACLE, smoothing=LOOSE, store=RedisStore(shared_redis.url, signer=Signer(KEY)))
            for model in models
        ]
        for guard in guards:
            guard._lookup.once._patience = 0.01
        with ThreadPoolExecutor(2) as pool:
            futures = [pool.submit(guard.check, GREY, "?") for guard in guards]
            time.sleep(0.5)
            asked = sum(model.asked for model in models)
            for model in models:
                model.in_time = 1000
            go.set()
            sources = sorted(future.result().source or "" for future in futures)
        assert asked == first_look()
        assert sources == ["computed", "hit"]


UNSEEN = ["? ", " ?", "?\n\n", "?\u200b", "\ufeff?", "?\u00ad\u2060", "\u3164?", "?\t\U000e0041", "?\u2800"]


class TestPrompts:
    """Near refusals hold for all prompts in which the same can be seen; certificates for exactly their own."""

    def guard(self, **options: object) -> tuple[Guard, HalfSpaceVLM]:
        model = HalfSpaceVLM(MIDDLE)
        smoothing = Smoothing(samples=40, target_radius=0.4, key=KEY)
        return Guard(model, ORACLE, smoothing=smoothing, store=MemoryStore(), near=NearHits(), **options), model  # type: ignore[arg-type]

    @pytest.mark.parametrize("prompt", UNSEEN, ids=ascii)
    @pytest.mark.parametrize("level", [128, 0], ids=["abstention", "harmful"])
    def test_a_refusal_is_another_prompts_where_the_same_is_seen(self, prompt: str, level: int) -> None:
        guard, model = self.guard()
        picture = InputImage(np.full((4, 4, 3), level, np.uint8))
        refused = guard.check(picture, "?")
        assert refused.blocked
        drawn = sum(model.batches)
        again = guard.check(picture, prompt)
        assert (again.source, again.reasons) == ("near", refused.reasons)
        assert again.blocked
        assert sum(model.batches) == drawn, "no other draws"
        certificate = again.certificate
        assert certificate is not None
        assert certificate.prompt_sha256 == Prompt.of(prompt, 1).digest
        assert (certificate.radius, certificate.q_lower, certificate.answer) == (0.0, 0.0, None)
        assert any("invisible" in warning for warning in certificate.warnings)
        assert guard.check(picture, f"{prompt} !").source == "computed"

    @pytest.mark.parametrize("prompt", UNSEEN[:4], ids=ascii)
    def test_a_certificate_is_for_exactly_its_prompt(self, prompt: str) -> None:
        guard, _ = self.guard()
        white = InputImage(np.full((4, 4, 3), 250, np.uint8))
        for asked in ("?", prompt):
            decision = guard.check(white, asked)
            assert (decision.source, decision.action) == ("computed", Action.ALLOW)
        certificate = guard.check(InputImage(np.full((4, 4, 3), 249, np.uint8)), prompt).certificate
        assert certificate is not None
        assert certificate.derived_from == white.sha256
        assert certificate.prompt_sha256 == Prompt.of(prompt, 1).digest

    def test_verdicts_for_two_prompts_contradict_nothing(self) -> None:
        class Prompted(HalfSpaceVLM):
            def answer(self, draws: Sequence[Draw], deadline: float | None = None) -> list[Answer]:
                return [Answer("bad" if draw.prompt.text.endswith(" ") else "good") for draw in draws]

        white = InputImage(np.full((4, 4, 3), 250, np.uint8))
        smoothing = Smoothing(samples=40, target_radius=0.4, key=KEY)
        with Guard(Prompted(0.0), ORACLE, smoothing=smoothing, store=MemoryStore(), near=NearHits()) as guard:
            assert guard.check(white, "?").action is Action.ALLOW
            other = guard.check(white, "? ")
            assert other.certificate is not None
            assert other.certificate.verdict is Verdict.HARMFUL
            assert guard.check(white, "?").action is Action.ALLOW, "its own certificate stands"
            assert guard.check(white, "?\n").blocked, "and for others the refusal counts"

    def test_replicas_share_them(self, shared_redis: RedisServer) -> None:
        def replica() -> Guard:
            store = RedisStore(shared_redis.url, signer=Signer(KEY))
            points = store.points()
            from guardrail.near import NearIndex

            smoothing = Smoothing(samples=40, target_radius=0.4, key=KEY)
            near = NearHits(index=NearIndex(shared=points))
            return Guard(HalfSpaceVLM(MIDDLE, name="shared"), ORACLE, smoothing=smoothing, store=store, near=near)

        with replica() as one, replica() as other:
            assert one.check(GREY, "shared?").source == "computed"
            assert other.check(GREY, "shared?  ").source == "near"

    @pytest.mark.parametrize(
        "turns",
        [
            (Turn("user", (ImagePlace(0), "Follow", " the sign.")),),
            (Turn("user", (" ", ImagePlace(0), "Follow the sign.", "\u200b")),),
            (Turn("user", (ImagePlace(0),)), Turn("user", ("Follow the\n\nsign.",))),
            (Turn("assistant", (" ",)), Turn("user", (ImagePlace(0), "Followthesign."))),
        ],
    )
    def test_what_is_seen_of_a_conversation(self, turns: tuple[Turn, ...]) -> None:
        assert Prompt(turns).visible == Prompt.of("Follow the sign.", 1).visible

    @pytest.mark.parametrize(
        "turns",
        [
            (Turn("user", ("Follow the sign.", ImagePlace(0))),),
            (Turn("system", (ImagePlace(0), "Follow the sign.")),),
            (Turn("user", (ImagePlace(0), "follow the sign.")),),
            (Turn("user", (ImagePlace(0), "Follow the sign")), Turn("assistant", (".",))),
        ],
    )
    def test_what_differs_in_it(self, turns: tuple[Turn, ...]) -> None:
        assert Prompt(turns).visible != Prompt.of("Follow the sign.", 1).visible
