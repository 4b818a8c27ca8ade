"""What a chain remembers, and how graphs pause: no model is shown what is unchecked, and nobody what is unjudged."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.chat_history import InMemoryChatMessageHistory
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.runnables import Runnable, RunnableConfig, RunnableLambda, RunnableParallel, RunnablePassthrough
from langchain_core.runnables.history import RunnableWithMessageHistory
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.errors import GraphInterrupt
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Command, interrupt

from guardrail import Guard, Policy, Reason
from guardrail.errors import ConfigurationError
from langchain_guardrail import GuardedRunnable, get_decision
from tests.kit.chains import Chat, content

pytestmark = pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainDeprecationWarning")
HARM = "mix the bomb SECRETWORD carefully"
GREEN = {"messages": [HumanMessage(content("green"))]}
TEXT = {"messages": [HumanMessage("And now?")]}
THREAD: RunnableConfig = {"configurable": {"thread_id": "7", "session_id": "7"}}
WAYS: dict[str, Callable[[Any, Any], Any]] = {
    "invoke": lambda door, value: door.invoke(value, THREAD),
    "ainvoke": lambda door, value: asyncio.run(door.ainvoke(value, THREAD)),
    "stream": lambda door, value: list(door.stream(value, THREAD))[-1],
    "batch": lambda door, value: door.batch([value], THREAD)[0],
    "abatch": lambda door, value: asyncio.run(door.abatch([value], THREAD))[0],
    "batch_as_completed": lambda door, value: next(iter(door.batch_as_completed([value], THREAD)))[1],
}


def graph(talk: Callable[[Any], Any], **options: Any) -> Any:
    builder = StateGraph(MessagesState)
    builder.add_node("talk", talk)
    builder.add_edge(START, "talk")
    return builder.compile(**options)


def remembering(chat: Chat) -> Any:
    return graph(lambda state: {"messages": [chat.invoke(state["messages"])]}, checkpointer=InMemorySaver())


def with_history(chat: Chat) -> Any:
    kept: dict[str, InMemoryChatMessageHistory] = {}

    def history(session_id: str) -> InMemoryChatMessageHistory:
        return kept.setdefault(session_id, InMemoryChatMessageHistory())

    return (lambda state: state["messages"]) | RunnableWithMessageHistory(chat, history)


CHAINS: dict[str, Callable[[Chat], Runnable[Any, Any]]] = {
    "graph": remembering,
    "agent": lambda chat: create_agent(chat, [], checkpointer=InMemorySaver()),
    "history": with_history,
    "sequence": lambda chat: RunnableLambda(lambda value: value) | remembering(chat) | (lambda state: state),
    "binding": lambda chat: remembering(chat).with_retry().with_config(tags=["x"]),
    "parallel": lambda chat: RunnableParallel(messages=remembering(chat) | (lambda state: state["messages"])),
    "assigned": lambda chat: RunnablePassthrough.assign(messages=remembering(chat) | (lambda s: s["messages"])),
}


def reasons(output: Any) -> Any:
    decision = get_decision(output["messages"][-1] if isinstance(output, dict) else output)
    return None if decision is None else decision.reasons


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("chain", CHAINS)
def test_an_image_that_the_chain_remembers_is_not_asked_about_unchecked(guard: Guard, chain: str, way: str) -> None:
    told: list[Any] = []
    chat = Chat(says="a cake")
    guarded = GuardedRunnable(CHAINS[chain](chat), guard, on_decision=told.append, refusal=lambda _: "No.")
    guarded.invoke(TEXT, THREAD)
    assert (len(chat.seen), told) == (1, [])  # no image yet
    guarded.invoke(GREEN, THREAD)
    assert (len(chat.seen), told[0].reasons) == (2, ())
    answer = WAYS[way](guarded, TEXT)
    assert told[1].reasons == (Reason.UNCHECKED_MEDIA,)
    assert "memory" in told[1].details[0]
    assert answer == "No."
    assert len(chat.seen) == 2
    other: RunnableConfig = {"configurable": {"thread_id": "8", "session_id": "8"}}
    guarded.invoke(TEXT, other)
    assert (len(chat.seen), len(told)) == (3, 2)


def test_what_is_said_after_a_lenient_policy_let_it_pass_is_judged(make_guard: Callable[..., Guard]) -> None:
    guarded = GuardedRunnable(remembering(Chat(says=HARM)), make_guard(Policy(on_error="allow")))
    for value in (GREEN, TEXT):
        assert "SECRETWORD" not in repr(guarded.invoke(value, THREAD))


@pytest.mark.parametrize("make", [remembering, with_history])
def test_a_chain_that_names_no_conversation_raises_as_it_does_bare(guard: Guard, make: Any) -> None:
    for chain in (make(Chat()), GuardedRunnable(make(Chat()), guard)):
        with pytest.raises(ValueError, match=r"thread_id|session_id"):
            chain.invoke(TEXT)


def test_a_graph_that_shares_anothers_memory_is_refused(guard: Guard) -> None:
    shared = graph(lambda state: {"messages": [AIMessage("ok")]}, checkpointer=True)
    with pytest.raises(ConfigurationError, match="checkpointer"):
        GuardedRunnable(shared, guard)


def pausing(says: str) -> Callable[[Any], Any]:
    def talk(state: MessagesState) -> Any:
        answer = Chat(says=says).invoke(state["messages"])
        return {"messages": [AIMessage(f"{answer.text}, {interrupt({'draft': answer.text})}")]}

    return talk


def outer(guarded: GuardedRunnable) -> Any:
    return graph(lambda state: {"messages": guarded.invoke(state)["messages"][-1:]}, checkpointer=InMemorySaver())


def aouter(guarded: GuardedRunnable) -> Any:
    async def talk(state: MessagesState) -> Any:
        return {"messages": (await guarded.ainvoke(state))["messages"][-1:]}

    return graph(talk, checkpointer=InMemorySaver())


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_pause_tells_nothing_unjudged(guard: Guard, asynchronous: bool) -> None:
    def run(built: Any, value: Any) -> Any:
        return asyncio.run(built.ainvoke(value, THREAD)) if asynchronous else built.invoke(value, THREAD)

    make = aouter if asynchronous else outer
    harmful = run(make(GuardedRunnable(graph(pausing(HARM)), guard)), GREEN)
    assert "SECRETWORD" not in repr(harmful)
    assert reasons(harmful) == (Reason.ANSWER_HARMFUL,)
    built = make(GuardedRunnable(graph(pausing("a cake")), guard))
    assert run(built, GREEN)["__interrupt__"][0].value == {"draft": "a cake"}
    assert run(built, Command(resume="please"))["messages"][-1].text == "a cake, please"
    alone = GuardedRunnable(graph(pausing(HARM), checkpointer=InMemorySaver()), guard)
    for value in (GREEN, Command(resume="please")):
        assert "SECRETWORD" not in repr(run(alone, value))


def test_an_update_of_another_graph_is_judged(guard: Guard) -> None:
    def talk(says: str) -> Any:
        return graph(lambda _: Command(graph=Command.PARENT, update={"messages": [AIMessage(says)]}, goto="end"))

    def build(says: str) -> Any:
        guarded = GuardedRunnable(talk(says), guard)
        builder = StateGraph(MessagesState)
        builder.add_node("ask", lambda state: {"messages": guarded.invoke(state)["messages"]})  # type: ignore[call-overload]
        builder.add_node("end", lambda state: {})
        builder.add_edge(START, "ask")
        return builder.compile()

    assert "SECRETWORD" not in repr(build(HARM).invoke(GREEN))
    assert build("a cake").invoke(GREEN)["messages"][-1].text == "a cake"


def test_monitor_mode_pauses_as_it_does_bare(make_guard: Callable[..., Guard]) -> None:
    pause = RunnableLambda(lambda _: interrupt_of(HARM))
    with pytest.raises(GraphInterrupt):
        GuardedRunnable(pause, make_guard(Policy(mode="monitor"))).invoke(GREEN)


def interrupt_of(text: str) -> Any:
    from langgraph.types import Interrupt

    raise GraphInterrupt([Interrupt(value=text)])
