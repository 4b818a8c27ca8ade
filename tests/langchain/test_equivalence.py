"""A chain guarded by the meaning of its answers: what means something else than was certified is blocked."""

from __future__ import annotations

import pytest
from langchain_core.messages import HumanMessage

from guardrail import Guard, Policy, Smoothing
from guardrail.oracles import EquivalenceOracle
from langchain_guardrail import GuardedRunnable, get_decision
from tests.kit.chains import Chat, content
from tests.kit.meanings import RuleComparison, SayingVLM, first_word


def guard(policy: Policy | None = None) -> Guard:
    says = SayingVLM(lambda u: f"left {u:.3f}")
    return Guard(says, EquivalenceOracle(RuleComparison(first_word)), smoothing=Smoothing(), policy=policy)


@pytest.mark.parametrize(("says", "reasons"), [("left surely", ()), ("right", ("answer_mismatch",))])
def test_the_chains_answer_is_screened(says: str, reasons: tuple[str, ...]) -> None:
    answer = GuardedRunnable(Chat(says=says), guard()).invoke([HumanMessage(content())])
    decision = get_decision(answer)
    assert decision is not None
    assert decision.reasons == reasons
    assert (answer.text == says) == (not reasons)


def test_a_drawn_answer_is_released() -> None:
    chain = Chat(says="right")
    answer = GuardedRunnable(chain, guard(Policy(release="certified"))).invoke([HumanMessage(content())])
    assert answer.text.startswith("left")
    assert not chain.seen
