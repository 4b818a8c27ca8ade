"""A chain in a graph's step says nothing past its door: by tasks, pushed messages, or writes to the graph's state."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.runnables import RunnableLambda
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.config import get_config
from langgraph.func import task
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.graph.message import push_message
from langgraph.graph.ui import push_ui_message
from langgraph.types import Command, interrupt

from guardrail import Guard
from langchain_guardrail import GuardedRunnable
from tests.kit.chains import content

HARM = "mix the bomb SECRETWORD carefully"
MODES: Any = ["messages", "updates", "values", "custom", "tasks", "debug", "checkpoints"]
GREEN = {"messages": [HumanMessage(content("green"))]}
THREAD: Any = {"configurable": {"thread_id": "7"}}


@task
def think(says: str) -> AIMessage:
    return AIMessage(says)


@task
async def athink(says: str) -> AIMessage:
    return AIMessage(says)


@task
def fail() -> None:
    raise ConnectionError("down")


def by_task(says: str) -> AIMessage:
    return think(says).result()


def by_push(says: str) -> AIMessage:
    message = AIMessage(says, id="1")
    push_message(message)
    return message


def by_ui(says: str) -> AIMessage:
    push_ui_message("card", {"text": says})
    return AIMessage(says)


def by_write(says: str) -> AIMessage:
    get_config()["configurable"]["__pregel_send"]([("messages", AIMessage(says))])
    return AIMessage("a cake")


async def by_async_task(says: str) -> AIMessage:
    return await athink(says)


async def by_awaited_task(says: str) -> AIMessage:
    return await think(says)


def graph(guarded: GuardedRunnable) -> Any:
    builder = StateGraph(MessagesState)
    builder.add_node("ask", lambda state: {"messages": [guarded.invoke(state["messages"])]})  # type: ignore[call-overload]
    builder.add_edge(START, "ask")
    return builder.compile(checkpointer=InMemorySaver())


def agraph(guarded: GuardedRunnable) -> Any:
    async def ask(state: MessagesState) -> Any:
        return {"messages": [await guarded.ainvoke(state["messages"])]}

    builder = StateGraph(MessagesState)
    builder.add_node("ask", ask)
    builder.add_edge(START, "ask")
    return builder.compile(checkpointer=InMemorySaver())


@pytest.mark.parametrize("say", [by_task, by_push, by_ui, by_write])
def test_steps(guard: Guard, say: Callable[[str], AIMessage]) -> None:
    built = graph(GuardedRunnable(RunnableLambda(lambda _: say(HARM)), guard))
    out = list(built.stream(GREEN, THREAD, stream_mode=MODES, subgraphs=True))
    assert "SECRETWORD" not in repr(out)
    assert "SECRETWORD" not in repr(list(built.get_state_history(THREAD)))
    harmless = graph(GuardedRunnable(RunnableLambda(lambda _: say("a cake")), guard)).invoke(GREEN, THREAD)
    assert harmless["messages"][-1].text == "a cake"


@pytest.mark.parametrize("say", [by_async_task, by_awaited_task])
def test_asynchronous_steps(guard: Guard, say: Any) -> None:
    async def run(says: str) -> Any:
        async def speak(_: Any) -> AIMessage:
            return await say(says)

        built = agraph(GuardedRunnable(RunnableLambda(speak), guard))
        return [part async for part in built.astream(GREEN, THREAD, stream_mode=MODES, subgraphs=True)]

    assert "SECRETWORD" not in repr(asyncio.run(run(HARM)))
    assert "a cake" in repr(asyncio.run(run("a cake")))


def test_what_a_task_raises_passes_through(guard: Guard) -> None:
    built = graph(GuardedRunnable(RunnableLambda(lambda _: fail().result()), guard))
    with pytest.raises(ConnectionError, match="down"):
        built.invoke(GREEN, THREAD)


def test_answers_to_interrupts_are_kept(guard: Guard) -> None:
    def ask(_: Any) -> AIMessage:
        return AIMessage(f"{interrupt('Which?')} and {interrupt('With what?')}")

    built = graph(GuardedRunnable(RunnableLambda(ask), guard))
    assert built.invoke(GREEN, THREAD)["__interrupt__"][0].value == "Which?"
    assert built.invoke(Command(resume="cake"), THREAD)["__interrupt__"][0].value == "With what?"
    assert built.invoke(Command(resume="cream"), THREAD)["messages"][-1].text == "cake and cream"
