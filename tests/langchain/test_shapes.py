"""Every shape of input and output, allowed and blocked; what the chain receives."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompt_values import ChatPromptValue
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import Runnable, RunnableLambda, RunnablePassthrough

from guardrail import Action, Decision, Guard, ImagePlace, Policy, Reason, Verdict
from guardrail.errors import ConfigurationError
from langchain_guardrail import GuardedRunnable, GuardrailBlocked, get_decision
from tests.kit.chains import Brightness, Chat, content, picture, pixels, url

SHAPES: dict[str, Callable[[Any], Any]] = {
    "message": HumanMessage,
    "messages": lambda c: [SystemMessage("Be kind."), HumanMessage(c)],
    "tuple of messages": lambda c: (HumanMessage(c),),
    "role tuple": lambda c: [("system", "Be kind."), ("user", c)],
    "dict messages": lambda c: [{"role": "system", "content": "Be kind."}, {"role": "user", "content": c}],
    "dict message": lambda c: {"role": "user", "content": c},
    "typed dict message": lambda c: [{"type": "human", "content": c}],
    "prompt value": lambda c: ChatPromptValue(messages=[HumanMessage(c)]),
    "state": lambda c: {"messages": [HumanMessage(c)], "language": "en"},
    "state of one message": lambda c: {"messages": HumanMessage(c)},
    "state of tuples": lambda c: {"messages": [("human", c)]},
    "history": lambda c: [HumanMessage("Hi"), AIMessage("Hello"), HumanMessage(c)],
    "serialised": lambda c: [
        {"lc": 1, "type": "constructor", "id": ["langchain", "HumanMessage"], "kwargs": {"content": c, "type": "human"}}
    ],
}


class Recorder:
    """A chain that keeps what it is given."""

    def __init__(self, says: Any = "a cake") -> None:
        self.given: list[Any] = []
        self.says = says

    def runnable(self) -> Runnable[Any, Any]:
        return RunnableLambda(self._run)

    def _run(self, value: Any) -> BaseMessage:
        self.given.append(value)
        return AIMessage(self.says)


def urls_in(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value] if value.startswith("data:") else []
    if isinstance(value, BaseMessage):
        return urls_in(value.content)
    if isinstance(value, ChatPromptValue):
        return urls_in(value.messages)
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    return [found for item in items for found in urls_in(item)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("asynchronous", [False, True])
def test_allowed_in_every_shape(guard: Guard, shape: str, asynchronous: bool) -> None:
    chain = Recorder()
    guarded = GuardedRunnable(chain.runnable(), guard)
    value = SHAPES[shape](content())
    answer = asyncio.run(guarded.ainvoke(value)) if asynchronous else guarded.invoke(value)
    assert answer.content == "a cake"
    decision = get_decision(answer)
    assert decision is not None
    assert (decision.action, decision.source) == (Action.ALLOW, "computed")
    (given,) = chain.given
    assert type(given) is type(value) or shape == "serialised"
    (sent,) = urls_in(given)
    assert sent != url()
    np.testing.assert_array_equal(pixels(sent), np.asarray(picture()))
    if shape == "state":
        assert given["language"] == "en"


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("asynchronous", [False, True])
def test_blocked_in_every_shape(guard: Guard, shape: str, asynchronous: bool) -> None:
    chain = Recorder()
    guarded = GuardedRunnable(chain.runnable(), guard)
    value = SHAPES[shape](content("red"))
    answer = asyncio.run(guarded.ainvoke(value)) if asynchronous else guarded.invoke(value)
    assert chain.given == []
    decision = get_decision(answer)
    assert isinstance(answer, AIMessage)
    assert decision is not None
    assert decision.reasons == (Reason.CERTIFIED_HARMFUL,)
    assert decision.blocked
    assert "drawn answer" not in answer.model_dump_json()


@pytest.mark.parametrize(
    "text_only",
    [
        "Hi",
        HumanMessage("Hi"),
        [HumanMessage([{"type": "text", "text": "Hi"}, "there"])],
        [("user", "Hi")],
        [{"role": "user", "content": "Hi"}],
        ChatPromptValue(messages=[HumanMessage("Hi")]),
        {"messages": [HumanMessage("Hi")], "docs": ["a", {"b": 1.5}], "user": object},
        {"question": "Hi, what's at https://example.com/cat.png and in data: 1, 2?"},
        [
            HumanMessage("Hi"),
            AIMessage([{"type": "thinking", "thinking": "hm", "signature": "q" * 600}], tool_calls=[]),
            AIMessage("", tool_calls=[{"name": "f", "args": {"x": [1, "y"]}, "id": "1"}]),
            ToolMessage("done", tool_call_id="1", artifact=b"never sent"),
        ],
        ("Hi",),
        {},
        [],
        None,
        3,
    ],
)
def test_text_only_is_untouched(guard: Guard, vlm: Brightness, text_only: Any) -> None:
    seen: list[Any] = []
    guarded = GuardedRunnable(RunnableLambda(lambda value: seen.append(value) or "ok"), guard)
    assert guarded.invoke(text_only) == "ok"
    assert asyncio.run(guarded.ainvoke(text_only)) == "ok"
    assert all(value is text_only for value in seen)
    assert list(guarded.stream(text_only)) == ["ok"]
    assert vlm.prompts == []


def test_a_refusal_fits_the_output(guard: Guard) -> None:
    model = Chat()
    blocked = [HumanMessage(content("red"))]
    assert isinstance(GuardedRunnable(model, guard).invoke(blocked), AIMessage)
    assert GuardedRunnable(model, guard, refusal="No.").invoke(blocked).content == "No."
    assert GuardedRunnable(model | StrOutputParser(), guard, refusal="No.").invoke(blocked) == "No."
    made = GuardedRunnable(model, guard, refusal=lambda decision: {"why": decision.reasons}).invoke(blocked)
    assert made == {"why": (Reason.CERTIFIED_HARMFUL,)}
    assert (GuardedRunnable(model, guard, refusal="No.") | StrOutputParser()).invoke(blocked) == "No."
    assert model.seen == []


def test_a_state_of_messages_gets_a_refusal_among_them(guard: Guard) -> None:
    from langchain.agents import create_agent

    guarded = GuardedRunnable(create_agent(Chat(), []), guard)
    refused = guarded.invoke({"messages": [HumanMessage(content("red"))]})
    assert get_decision(refused["messages"][-1]).blocked  # type: ignore[union-attr]
    allowed = guarded.invoke({"messages": [HumanMessage(content("green"))]})
    assert allowed["messages"][-1].content == "You see a lovely cake"


def test_an_output_that_no_refusal_fits_is_refused_at_construction(
    guard: Guard, make_guard: Callable[..., Guard]
) -> None:
    chain = RunnablePassthrough.assign(answer=Chat())
    with pytest.raises(ConfigurationError, match="refusal="):
        GuardedRunnable(chain, guard)
    GuardedRunnable(chain, guard, on_block="raise")
    GuardedRunnable(chain, guard, refusal=lambda _: {})
    with pytest.raises(ConfigurationError, match="screened"):
        GuardedRunnable(chain, make_guard(Policy(release="certified")), on_block="raise")


@pytest.mark.parametrize("asynchronous", [False, True])
def test_raises_when_asked(guard: Guard, asynchronous: bool) -> None:
    guarded = GuardedRunnable(Chat(), guard, on_block="raise")
    value = [HumanMessage(content("red"))]
    with pytest.raises(GuardrailBlocked, match="certified_harmful") as caught:
        asyncio.run(guarded.ainvoke(value)) if asynchronous else guarded.invoke(value)
    assert caught.value.decision.blocked


def test_composition(guard: Guard) -> None:
    template = ChatPromptTemplate.from_messages(
        [("user", [{"type": "text", "text": "{q}"}, {"type": "image_url", "image_url": {"url": "{picture}"}}])]
    )
    model = Chat()
    chain = template | GuardedRunnable(model, guard, refusal="No.") | StrOutputParser()
    assert chain.invoke({"q": "?", "picture": url()}) == "You see a lovely cake"
    assert chain.invoke({"q": "?", "picture": url("red")}) == "No."
    assert "".join(chain.stream({"q": "?", "picture": url("red")})) == "No."
    assert len(model.seen) == 1
    tagged = GuardedRunnable(model, guard, refusal="No.").with_config(tags=["a"]).with_retry()
    inputs = [[HumanMessage(content(colour))] for colour in ("red", "green", "red")]
    expected = ["No.", "You see a lovely cake", "No."]
    assert [message.content for message in tagged.batch(inputs)] == expected
    assert [message.content for message in asyncio.run(tagged.abatch([*inputs]))] == expected


def test_a_template_behind_the_door_fails_closed(guard: Guard) -> None:
    template = ChatPromptTemplate.from_messages(
        [("user", [{"type": "image_url", "image_url": {"url": "data:image/png;base64,{image_data}"}}])]
    )
    model = Chat()
    answer = GuardedRunnable(template | model, guard).invoke({"image_data": url().partition(",")[2]})
    assert get_decision(answer).reasons == (Reason.UNCHECKED_MEDIA,)  # type: ignore[union-attr]
    assert model.seen == []


def test_the_certified_request(guard: Guard, vlm: Brightness) -> None:
    conversation = [
        SystemMessage("Be kind."),
        HumanMessage(content("green", "First.")),
        AIMessage("", tool_calls=[{"name": "look", "args": {"at": "it"}, "id": "1"}]),
        ToolMessage("a cake", tool_call_id="1"),
        HumanMessage(["Second.", content("blue")[1]]),
        AIMessage("", tool_calls=[{"name": "late", "args": {}, "id": "2"}]),
        ToolMessage("later", tool_call_id="2"),
    ]
    assert GuardedRunnable(Chat(), guard).invoke(conversation).content
    (prompt,) = vlm.prompts
    assert [turn.role for turn in prompt.turns] == ["system", "user", "assistant", "tool", "user"]
    assert prompt.turns[1].parts == ("First.", ImagePlace(0))
    assert prompt.turns[-1].parts == ("Second.", ImagePlace(1))
    assert "look" in prompt.turns[2].text
    assert "late" not in prompt.text


def test_images_of_later_steps_join_the_last_human_turn(guard: Guard, vlm: Brightness) -> None:
    conversation = [
        HumanMessage(content("green", "Look.")),
        AIMessage("", tool_calls=[{"name": "look", "args": {}, "id": "1"}]),
        ToolMessage(["Here.", content("green")[1]], tool_call_id="1"),
        AIMessage("", tool_calls=[{"name": "look", "args": {}, "id": "2"}]),
        ToolMessage([content("green")[1]], tool_call_id="2"),
    ]
    guarded = GuardedRunnable(Recorder().runnable(), guard)
    assert guarded.invoke(conversation).content == "a cake"
    (prompt,) = vlm.prompts
    assert [turn.parts for turn in prompt.turns] == [("Look.", ImagePlace(0), ImagePlace(1), ImagePlace(2))]
    conversation[-1] = ToolMessage([content("red")[1]], tool_call_id="2")
    assert get_decision(guarded.invoke(conversation)).reasons == (Reason.CERTIFIED_HARMFUL,)  # type: ignore[union-attr]
    guarded.invoke([conversation[1], conversation[2]])
    assert [turn.role for turn in vlm.prompts[-1].turns] == ["assistant", "tool"]  # nobody asked: all of it counts
    guarded.invoke([SystemMessage("Be kind."), HumanMessage(""), conversation[1], conversation[2]])
    assert vlm.prompts[-1].turns[-1].parts == (ImagePlace(0),)
    assert [turn.role for turn in vlm.prompts[-1].turns] == ["system", "user"]


def test_images_are_checked_jointly(guard: Guard, vlm: Brightness) -> None:
    value = [HumanMessage(content("green")), AIMessage("ok"), HumanMessage(content("red"))]
    assert get_decision(GuardedRunnable(Chat(), guard).invoke(value)).blocked  # type: ignore[union-attr]
    assert vlm.images == [2]


def test_on_decision_and_metadata(guard: Guard) -> None:
    decisions: list[Decision] = []
    chain = GuardedRunnable(Chat() | StrOutputParser(), guard, on_decision=decisions.append)
    assert chain.invoke([HumanMessage(content())]) == "You see a lovely cake"
    (decision,) = decisions
    assert decision.certificate is not None
    assert decision.certificate.verdict is Verdict.HARMLESS
    assert chain.invoke("Hi") == "You see a lovely cake"
    assert len(decisions) == 1
    assert get_decision(AIMessage("x")) is None
    assert get_decision(AIMessage("x", response_metadata={"guardrail": {"id": 3}})) is None
