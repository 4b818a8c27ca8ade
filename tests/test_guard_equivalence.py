"""A guard whose class is found on the draws: certified, stored, and screened by the certificate's representative."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from guardrail import Action, Certificate, Guard, InputImage, Policy, Reason, Smoothing, Verdict
from guardrail.errors import ConfigurationError
from guardrail.oracles import EquivalenceOracle, LexiconOracle, Oracle, RepresentativeOracle
from guardrail.policy import Decision
from guardrail.prompts import Prompt
from guardrail.stores import CertificateKey, MemoryStore, RedisStore
from tests.kit.meanings import RuleComparison, SayingVLM, first_word
from tests.kit.redis_server import RedisServer

X = InputImage(np.full((2, 2, 3), 128, np.uint8))
FIRST = LexiconOracle({"harmful": ["poison"]})


def mostly_left(u: float) -> str:
    return f"left {u:.3f}" if u < 0.95 else "right"


def guard(
    say: SayingVLM | None = None, policy: Policy | None = None, first: Oracle | None = None, **options: object
) -> Guard:
    return Guard(
        say or SayingVLM(mostly_left),
        EquivalenceOracle(RuleComparison(first_word), first=first),
        smoothing=Smoothing(key=b"the key of these tests"),
        policy=policy,
        **options,  # type: ignore[arg-type]
    )


def certificate_of(decision: Decision) -> Certificate:
    assert decision.certificate is not None
    return decision.certificate


def test_a_stable_meaning_is_certified_and_allowed() -> None:
    decision = guard().check(X, "Which way?")
    certificate = certificate_of(decision)
    assert (decision.action, decision.reasons) == (Action.ALLOW, ())
    assert (certificate.verdict, certificate.certified_class) == (Verdict.CERTIFIED, "equivalent")
    assert certificate.representative is not None
    assert certificate.representative.startswith("left")
    assert certificate.radius >= 0.1
    assert certificate.draws < 100, "it stops early, as with any class"
    assert certificate.selection_draws == 20


def test_an_unstable_one_is_an_abstention() -> None:
    decision = guard(SayingVLM(lambda u: f"way{int(4 * u)} {u}")).check(X, "?")
    assert decision.reasons == (Reason.ABSTAINED,)
    assert certificate_of(decision).representative is not None


def test_the_chains_answer_must_be_equivalent_to_the_representative() -> None:
    guarded = guard()
    decision = guarded.check(X, "Which way?")
    assert guarded.screen(decision, "left please").reasons == ()
    screened = guarded.screen(decision, "right")
    assert screened.blocked
    assert screened.reasons == (Reason.ANSWER_MISMATCH,)
    assert guarded.oracle.comparison.asked[-1] == ("right", certificate_of(decision).representative, "Which way?")  # type: ignore[union-attr]


def test_a_failed_judgement_of_the_chains_answer_blocks() -> None:
    guarded = guard()
    decision = guarded.check(X, "?")
    guarded.oracle.comparison.rule = lambda answer, representative: 1 / 0  # type: ignore[union-attr]
    assert guarded.screen(decision, "right").reasons == (Reason.ORACLE_FAILED,)


def test_a_hit_is_screened_by_the_stored_representative(redis_server: RedisServer) -> None:
    with guard(store=RedisStore(redis_server.url)) as computing, guard(store=RedisStore(redis_server.url)) as replica:
        first, hit = computing.check(X, "Which way?"), replica.check(X, "Which way?")
        assert (first.source, hit.source) == ("computed", "hit")
        assert hit.certificate == first.certificate
        assert replica.screen(hit, "left now").reasons == ()
        assert replica.screen(hit, "right").reasons == (Reason.ANSWER_MISMATCH,)


@pytest.mark.parametrize("other", ["right", None])
def test_a_stored_certificate_about_another_representative_is_a_miss(
    other: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    class Altered(MemoryStore):
        def get(self, key: CertificateKey) -> Certificate | None:
            kept = super().get(key)
            return kept and kept.model_copy(update={"representative": other})

    guarded = guard(store=Altered())
    assert [guarded.check(X, "?").source for _ in range(2)] == ["computed", "computed"]
    assert "another request" in caplog.text


def test_a_certificate_of_another_comparison_is_a_miss() -> None:
    store = MemoryStore()
    guard(store=store).check(X, "?")
    assert guard(store=store, first=FIRST).check(X, "?").source == "computed"


def test_release_of_a_drawn_answer() -> None:
    certified = guard(policy=Policy(release="certified"))
    answer = certified.drawn_answer(certified.check(X, "?"))
    assert answer is not None
    assert answer.startswith("left")


class TestFirst:
    def test_harm_counts_against_the_class_and_is_screened(self) -> None:
        guarded = guard(SayingVLM(lambda u: f"left {u}" if u < 0.95 else "left with poison"), first=FIRST)
        decision = guarded.check(X, "?")
        assert certificate_of(decision).certified_class == "equivalent"
        assert guarded.screen(decision, "left with poison").reasons == (Reason.ANSWER_HARMFUL,)
        assert guarded.screen(decision, "left").reasons == ()

    def test_a_stable_harmful_meaning_is_no_class(self) -> None:
        """Without `first` it is as stable as any other, and allowed: the oracle of meanings knows no harm."""
        harmful = SayingVLM(lambda u: f"poison {u}")
        assert guard(harmful).check(X, "?").action is Action.ALLOW
        decision = guard(harmful, first=FIRST).check(X, "?")
        assert decision.reasons == (Reason.ABSTAINED,)
        assert certificate_of(decision).representative is None
        assert certificate_of(decision).counts["harmful"] == certificate_of(decision).draws

    def test_without_a_certificate_harm_is_still_screened(self) -> None:
        lenient = guard(policy=Policy(on_error="flag"), first=FIRST)
        decision = lenient.check(b"no image", "?")
        assert lenient.screen(decision, "poison it").blocked
        assert not lenient.screen(decision, "left").blocked


def test_every_failed_selection_draw_blocks() -> None:
    from guardrail.models.base import Answer, Draw

    class Filtered(SayingVLM):
        def answer(self, draws: Sequence[Draw], deadline: float | None = None) -> list[Answer]:
            return [Answer.failure("filtered")] * len(draws)

    assert guard(Filtered(mostly_left)).check(X, "?").reasons == (Reason.ORACLE_FAILED,)


def test_an_oracle_that_cannot_be_had_again_is_refused() -> None:
    class Forgetful:
        name = "forgetful"

        def fix(self, answers: Sequence[str], prompt: Prompt) -> Oracle:
            return FIRST

    with pytest.raises(ConfigurationError, match="fixed_on"):
        Guard(SayingVLM(mostly_left), Forgetful())  # type: ignore[arg-type]
    assert isinstance(guard().oracle, RepresentativeOracle)


def test_warm_up_works() -> None:
    guard().warmup()


def test_a_target_out_of_reach_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    guard(policy=Policy(min_radius=9.0))
    assert "cannot be certified with 100 draws" in caplog.text
