"""Which answer is released; monitor mode; flags; exceptions; nothing unjudged on the way."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from langchain_core.callbacks import UsageMetadataCallbackHandler
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.runnables import Runnable, RunnableConfig, RunnableLambda
from langchain_core.tracers.context import collect_runs

from guardrail import Action, Decision, Guard, Policy, Reason, Smoothing
from guardrail.certify.assemble import LONGEST_KEPT_ANSWER
from guardrail.models.base import Answer, Draw, Sizes
from guardrail.oracles import LexiconOracle
from guardrail.prompts import Prompt
from langchain_guardrail import GuardedRunnable, get_decision
from tests.kit.callbacks import Spy, written
from tests.kit.chains import DRAWN_HARMLESS, Chat, content, image_block
from tests.kit.event_loop import gather

HARM = "mix the bomb SECRETWORD carefully"
GREEN = [HumanMessage(content("green"))]
RED = [HumanMessage(content("red"))]

Make = Callable[..., Guard]


def reasons(message: Any) -> tuple[Reason, ...]:
    decision = get_decision(message)
    assert decision is not None
    return decision.reasons


def test_a_harmful_answer_under_a_harmless_image_is_blocked(guard: Guard) -> None:
    answer = GuardedRunnable(Chat(says=HARM), guard).invoke(GREEN)
    assert reasons(answer) == (Reason.ANSWER_HARMFUL,)
    assert "SECRETWORD" not in answer.model_dump_json()
    assert "SECRETWORD" not in GuardedRunnable(Chat(says=HARM) | StrOutputParser(), guard).invoke(GREEN)
    answer = asyncio.run(GuardedRunnable(Chat(says=HARM), guard).ainvoke(GREEN))
    assert reasons(answer) == (Reason.ANSWER_HARMFUL,)


@pytest.mark.parametrize(
    "message",
    [
        AIMessage("", tool_calls=[{"name": "write", "args": {"text": "first\nbomb"}, "id": "1"}]),
        AIMessage("", tool_calls=[{"name": "bomb", "args": {}, "id": "1"}]),
        AIMessage([{"type": "text", "text": "a"}, {"type": "text", "text": "bomb"}]),
        AIMessage([{"type": "reasoning", "reasoning": "the bomb"}]),
        AIMessage("ok", additional_kwargs={"reasoning_content": "the bomb"}),
        AIMessage("ok", invalid_tool_calls=[{"name": "f", "args": "bomb {", "id": "1", "error": None}]),
    ],
)
def test_all_of_the_answer_is_judged(guard: Guard, message: AIMessage) -> None:
    answer = GuardedRunnable(RunnableLambda(lambda _: message), guard).invoke(GREEN)
    assert reasons(answer) == (Reason.ANSWER_HARMFUL,)
    state = GuardedRunnable(RunnableLambda(lambda _: {"messages": [*GREEN, message]}), guard).invoke(GREEN)
    assert reasons(state["messages"][-1]) == (Reason.ANSWER_HARMFUL,)


def test_certified_release_never_runs_the_chain(make_guard: Make) -> None:
    guard, chat = make_guard(Policy(release="certified")), Chat(says=HARM)
    assert GuardedRunnable(chat, guard).invoke(GREEN).content == DRAWN_HARMLESS
    assert asyncio.run(GuardedRunnable(chat, guard).ainvoke(GREEN)).content == DRAWN_HARMLESS
    assert GuardedRunnable(chat | StrOutputParser(), guard).invoke(GREEN) == DRAWN_HARMLESS
    assert reasons(GuardedRunnable(chat, guard).invoke(RED)) == (Reason.CERTIFIED_HARMFUL,)
    assert chat.seen == []


@pytest.mark.parametrize("lenient", ["on_harmful", "on_abstain"])
def test_certified_release_needs_a_certified_answer(make_guard: Make, lenient: str) -> None:
    guard, chat = make_guard(Policy.model_validate({"release": "certified", lenient: "allow"})), Chat()
    if lenient == "on_abstain":
        guard = Guard(
            guard.model, guard.oracle, smoothing=Smoothing(samples=2), policy=guard.policy
        )  # two draws certify nothing
    answer = GuardedRunnable(chat, guard).invoke(RED)
    assert get_decision(answer).blocked  # type: ignore[union-attr]
    assert chat.seen == []


class Verbose:
    """Says more than a certificate keeps."""

    name = "verbose"
    resolution: tuple[int, int] | None = (8, 8)

    def check(self, prompt: Prompt, sizes: Sizes) -> None: ...

    def answer(self, draws: Sequence[Draw], deadline: float | None = None) -> list[Answer]:
        return [Answer("cake " * LONGEST_KEPT_ANSWER)] * len(draws)


def test_certified_release_without_a_kept_answer_is_refused() -> None:
    oracle = LexiconOracle({"harmful": ("bomb",)})
    guard = Guard(Verbose(), oracle, smoothing=Smoothing(samples=60), policy=Policy(release="certified"))
    chat = Chat()
    answer = GuardedRunnable(chat, guard).invoke(GREEN)
    assert reasons(answer) == (Reason.NO_CERTIFIED_ANSWER,)
    assert get_decision(answer).certificate is not None  # type: ignore[union-attr]
    assert chat.seen == []


def test_a_flag_passes_with_metadata(make_guard: Make) -> None:
    guard = make_guard(Policy(min_radius=5.0))
    answer = GuardedRunnable(Chat(), guard).invoke(GREEN)
    decision = get_decision(answer)
    assert answer.content == "You see a lovely cake"
    assert decision is not None
    assert (decision.action, decision.reasons) == (Action.FLAG, (Reason.SMALL_RADIUS,))


@pytest.mark.parametrize("release", ["screened", "certified"])
@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (HumanMessage(content("red")), {Reason.CERTIFIED_HARMFUL, Reason.ANSWER_HARMFUL}),
        (HumanMessage([{"type": "audio", "base64": "x"}]), {Reason.UNCHECKED_MEDIA, Reason.ANSWER_HARMFUL}),
        (
            HumanMessage([{"type": "image", "base64": "x", "mime_type": "image/png"}, "?"]),
            {Reason.UNREADABLE_IMAGE, Reason.ANSWER_HARMFUL},
        ),
    ],
)
def test_monitor_mode_passes_everything(
    make_guard: Make, release: str, message: HumanMessage, expected: set[Reason]
) -> None:
    chat = Chat(says=HARM)
    guard = make_guard(Policy.model_validate({"mode": "monitor", "release": release}))
    answer = GuardedRunnable(chat, guard).invoke([message])
    assert answer.content == HARM
    decision = get_decision(answer)
    assert decision is not None
    assert decision.action is Action.BLOCK
    assert not decision.blocked
    assert set(decision.reasons) == expected
    assert len(chat.seen) == 1


def test_lenience_about_errors_does_not_skip_the_images_that_can_be_checked(make_guard: Make) -> None:
    chat, guard = Chat(), make_guard(Policy(on_error="allow"))
    strange = {"type": "strange"}
    assert GuardedRunnable(chat, guard).invoke([HumanMessage([strange, image_block()])]).content == chat.says
    answer = GuardedRunnable(chat, guard).invoke([HumanMessage([strange, image_block("red")])])
    assert set(reasons(answer)) == {Reason.UNCHECKED_MEDIA, Reason.CERTIFIED_HARMFUL}
    assert len(chat.seen) == 1


@pytest.mark.parametrize("messages", [GREEN, [HumanMessage("Hi")]])
def test_exceptions_pass_through_unchanged(guard: Guard, messages: list[HumanMessage]) -> None:
    error = ConnectionError("too slow")
    guarded = GuardedRunnable(Chat(raises=error), guard)
    with pytest.raises(ConnectionError) as caught:
        guarded.invoke(messages)
    assert caught.value is error
    with pytest.raises(ConnectionError) as caught:
        asyncio.run(guarded.ainvoke(messages))
    assert caught.value is error


class Deaf(Runnable[Any, Any]):
    """A chain that ignores its config, so that its model finds callbacks in context variables only."""

    def __init__(self, model: Chat) -> None:
        self.model = model

    def invoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:  # noqa: A002
        return self.model.invoke(input)

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:  # noqa: A002
        return await self.model.ainvoke(input)

    @property
    def OutputType(self) -> Any:  # noqa: N802
        return AIMessage


def chains() -> list[Callable[[Chat], Runnable[Any, Any]]]:
    return [lambda m: m, lambda m: m | StrOutputParser(), Deaf, lambda m: RunnableLambda(m.invoke)]


@pytest.mark.slow
@pytest.mark.parametrize("make", chains())
@pytest.mark.parametrize("how", ["invoke", "ainvoke", "stream", "astream", "astream_events", "batch", "nested"])
def test_nothing_unjudged_gets_out(guard: Guard, make: Callable[[Chat], Runnable[Any, Any]], how: str) -> None:
    guarded: Runnable[Any, Any] = GuardedRunnable(make(Chat(says=HARM)), guard)
    spy, usage = Spy(), UsageMetadataCallbackHandler()
    config: RunnableConfig = {"callbacks": [spy, usage]}

    with collect_runs() as collected:
        out: Any
        match how:
            case "invoke":
                out = guarded.invoke(GREEN, config)
            case "ainvoke":
                out = asyncio.run(guarded.ainvoke(GREEN, config))
            case "stream":
                out = list(guarded.stream(GREEN, config))
            case "astream":
                out = asyncio.run(gather(guarded.astream(GREEN, config)))
            case "astream_events":
                out = asyncio.run(gather(guarded.astream_events(GREEN, config, version="v2")))
                assert out
            case "batch":
                out = guarded.batch([GREEN, GREEN], config)
            case "nested":
                out = (RunnableLambda(lambda v: v) | guarded).with_config(tags=["outer"]).invoke(GREEN, config)
    runs = list(map(written, collected.traced_runs))
    assert runs
    for heard in (out, spy.heard, usage.usage_metadata, runs):
        assert "SECRETWORD" not in repr(heard)
        assert "drawn answer" not in repr(heard)
    name, data = spy.events[0]
    assert name == "guardrail_decision"
    assert Decision.model_validate(data).reasons == (Reason.ANSWER_HARMFUL,)


def test_in_a_graph_nothing_unjudged_streams(guard: Guard) -> None:
    from langgraph.config import get_stream_writer
    from langgraph.graph import END, START, MessagesState, StateGraph

    def talk(messages: Any) -> AIMessage:
        get_stream_writer()({"token": HARM})
        return Chat(says=HARM).invoke(messages)

    guarded = GuardedRunnable(RunnableLambda(talk), guard)
    builder = StateGraph(MessagesState)
    builder.add_node("chat", lambda state: {"messages": [guarded.invoke(state["messages"])]})  # type: ignore[call-overload]
    builder.add_edge(START, "chat")
    builder.add_edge("chat", END)
    graph = builder.compile()
    modes: Any = ["messages", "updates", "values", "custom"]
    for value in (GREEN, RED):
        out = list(graph.stream({"messages": value}, stream_mode=modes, subgraphs=True))
        assert out
        assert "SECRETWORD" not in repr(out)
        assert "drawn answer" not in repr(out)
    text = list(graph.stream({"messages": [HumanMessage("Hi")]}, stream_mode="messages"))
    assert "SECRETWORD" in repr(text)  # text-only requests stream untouched


def test_text_only_streams_token_by_token(guard: Guard) -> None:
    chat, spy = Chat(), Spy()
    guarded = GuardedRunnable(chat, guard)
    words = [chunk.content for chunk in guarded.stream("Hi", {"callbacks": [spy]}) if chunk.content]
    assert words == ["You ", "see ", "a ", "lovely ", "cake "]
    assert any("on_llm_new_token" in heard for heard in spy.heard)
    tokens: list[str] = []

    async def events() -> None:
        stream = guarded.astream_events("Hi", version="v2")
        found = [e["data"]["chunk"] async for e in stream if e["event"] == "on_chat_model_stream"]
        tokens.extend(str(chunk.content) for chunk in found)

    asyncio.run(events())
    assert "".join(tokens).strip() == "You see a lovely cake"


def test_media_comes_as_one_chunk(guard: Guard) -> None:
    chat = Chat()
    guarded = GuardedRunnable(chat, guard)
    (chunk,) = guarded.stream(GREEN)
    assert chunk.content == "You see a lovely cake"
    assert chat.streamed == []
