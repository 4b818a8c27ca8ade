"""Copies of a door are guarded, and share its guard."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import HumanMessage
from langchain_core.runnables import Runnable, RunnableLambda

from guardrail import Guard, Reason
from guardrail.stores import MemoryStore
from langchain_guardrail import GuardedChatModel, GuardedRunnable, GuardrailMiddleware, get_decision
from tests.kit.chains import Brightness, Chat, content

GREEN = [HumanMessage(content("green"))]
RED = [HumanMessage(content("red"))]
COPIES: dict[str, Callable[[Any], Any]] = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "twice": lambda door: copy.deepcopy(copy.deepcopy(door)),
}


@pytest.mark.parametrize("copied", COPIES)
@pytest.mark.parametrize("door", [GuardedChatModel, GuardedRunnable])
def test_a_copy_is_guarded_by_the_same_guard(
    make_guard: Callable[..., Guard], vlm: Brightness, door: Any, copied: str
) -> None:
    original = door(Chat(), make_guard(store=MemoryStore()), refusal="No.")
    twin = COPIES[copied](original)
    assert twin.guard is original.guard
    assert (twin.bound is original.bound) == (copied == "copy")
    for ask in (twin.invoke, lambda value: asyncio.run(twin.ainvoke(value)), lambda value: twin.batch([value])[0]):
        assert get_decision(ask(RED)).reasons == (Reason.CERTIFIED_HARMFUL,)  # type: ignore[union-attr]
        assert ask(RED).text == "No."
        assert ask(GREEN).text == original.bound.says
    original.invoke(GREEN)
    assert len(vlm.prompts) == 2  # one certificate for each picture, whichever copy asks


def test_copies_of_what_holds_a_door(guard: Guard) -> None:
    chain: Runnable[Any, Any] = RunnableLambda(lambda value: value) | GuardedChatModel(Chat(), guard).bind_tools([])
    assert get_decision(copy.deepcopy(chain).invoke(RED)).blocked  # type: ignore[union-attr]
    middleware = copy.deepcopy(GuardrailMiddleware(guard))
    agent = create_agent(Chat(), [], middleware=[middleware])
    assert agent.invoke({"messages": RED})["guardrail"]["action"] == "block"
