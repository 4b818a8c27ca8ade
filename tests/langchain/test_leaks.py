"""No unjudged token and no drawn answer reaches a stream, an event or a callback, through any door, in any mode."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.callbacks import AsyncCallbackHandler
from langchain_core.messages import HumanMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.runnables import Runnable, RunnableLambda
from langchain_core.tracers.context import collect_runs
from langgraph.graph import END, START, MessagesState, StateGraph

from guardrail import Guard, Smoothing
from guardrail.models import ChatModelVLM
from guardrail.prompts import Prompt
from langchain_guardrail import GuardedChatModel, GuardedRunnable, GuardrailMiddleware
from tests.kit.callbacks import Spy, written
from tests.kit.chains import Chat, content
from tests.kit.event_loop import gather

pytestmark = pytest.mark.slow

SAID = "mix the SECRETWORD bomb carefully"
DRAWN = "a DRAWNWORD cake"
JUDGED = "JUDGEDWORD"
SECRETS = ("SECRETWORD", "DRAWNWORD", "JUDGEDWORD")
ASK = [HumanMessage(content("green"))]


class Judge:
    """Asks a LangChain chat model about each answer, and ignores what it says."""

    name = "judge"
    classes = ("harmless", "harmful")

    def __init__(self) -> None:
        self.chat = Chat(says=JUDGED)

    def classify(self, answers: Sequence[str], prompts: Sequence[Prompt]) -> list[str]:
        for answer in answers:
            assert self.chat.invoke(answer).text == JUDGED
        return ["harmful" if "bomb" in answer else "harmless" for answer in answers]


@pytest.fixture
def guard() -> Iterator[Guard]:
    """A guard whose model and oracle are LangChain's, so that their runs could be heard."""
    vlm = ChatModelVLM(Chat(says=DRAWN), name="drawn", resolution=(8, 8), seed=False)
    yield Guard(vlm, Judge(), smoothing=Smoothing(samples=20, method="fixed"))
    vlm.close()


def node(model: Runnable[Any, Any]) -> Any:
    builder = StateGraph(MessagesState)
    builder.add_node("chat", lambda state: {"messages": [model.invoke(state["messages"])]})  # type: ignore[call-overload]
    builder.add_edge(START, "chat")
    builder.add_edge("chat", END)
    return builder.compile()


def anode(model: Runnable[Any, Any]) -> Any:
    async def chat(state: MessagesState) -> Any:
        return {"messages": [await model.ainvoke(state["messages"])]}

    builder = StateGraph(MessagesState)
    builder.add_node("chat", chat)
    builder.add_edge(START, "chat")
    builder.add_edge("chat", END)
    return builder.compile()


DOORS: dict[str, Callable[[Guard], Any]] = {
    "model": lambda guard: GuardedChatModel(Chat(says=SAID), guard),
    "tools": lambda guard: GuardedChatModel(Chat(says=SAID), guard).bind_tools([]),
    "sequence": lambda guard: (
        RunnableLambda(lambda v: v) | GuardedChatModel(Chat(says=SAID), guard) | StrOutputParser()
    ),
    "runnable": lambda guard: GuardedRunnable(Chat(says=SAID) | StrOutputParser(), guard),
}
GRAPHS: dict[str, Callable[[Guard], Any]] = {
    "node": lambda guard: node(GuardedChatModel(Chat(says=SAID), guard)),
    "anode": lambda guard: anode(GuardedChatModel(Chat(says=SAID), guard)),
    "runnable in a node": lambda guard: node(GuardedRunnable(Chat(says=SAID), guard)),
    "agent": lambda guard: create_agent(Chat(says=SAID), [], middleware=[GuardrailMiddleware(guard)]),
    "agent of a guarded model": lambda guard: create_agent(GuardedChatModel(Chat(says=SAID), guard), []),
    "graph in a runnable": lambda guard: GuardedRunnable(node(Chat(says=SAID)), guard),
}
MODES: Any = ["messages", "updates", "values", "custom", "tasks", "debug"]


async def events_v3(door: Any, value: Any, config: Any) -> list[Any]:
    stream = await door.astream_events(value, config, version="v3")
    return [event async for event in stream]


WAYS: dict[str, Callable[[Any, Any, Any], Any]] = {
    "invoke": lambda door, value, config: door.invoke(value, config),
    "ainvoke": lambda door, value, config: asyncio.run(door.ainvoke(value, config)),
    "stream": lambda door, value, config: list(door.stream(value, config)),
    "astream": lambda door, value, config: asyncio.run(gather(door.astream(value, config))),
    "astream_events": lambda door, value, config: asyncio.run(gather(door.astream_events(value, config, version="v2"))),
    "batch": lambda door, value, config: door.batch([value, value], config),
    "abatch": lambda door, value, config: asyncio.run(door.abatch([value, value], config)),
    "batch_as_completed": lambda door, value, config: list(door.batch_as_completed([value], config)),
    "transform": lambda door, value, config: list(door.transform(iter([value]), config)),
}
STREAMS: dict[str, Callable[[Any, Any, Any], Any]] = {
    "modes": lambda graph, value, config: list(graph.stream(value, config, stream_mode=MODES, subgraphs=True)),
    "amodes": lambda graph, value, config: asyncio.run(
        gather(graph.astream(value, config, stream_mode=MODES, subgraphs=True))
    ),
    "invoke": WAYS["invoke"],
    "astream_events": WAYS["astream_events"],
}


class AsyncSpy(AsyncCallbackHandler):
    """Writes down what asynchronous callbacks bring."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        if not name.startswith("on_"):
            return found

        async def note(*args: Any, **kwargs: Any) -> None:
            self.heard.append(f"{name} {args} {kwargs}")

        return note


def hear(door: Any, value: Any, way: Callable[[Any, Any, Any], Any], handlers: list[Any]) -> str:
    """Return all that can be heard of a request, as one text."""
    with collect_runs() as runs:
        out = way(door, value, {"callbacks": handlers})
    assert out
    assert runs.traced_runs
    return repr((out, [handler.heard for handler in handlers], list(map(written, runs.traced_runs))))


def silent(heard: str) -> None:
    for secret in SECRETS:
        assert secret not in heard


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("door", DOORS)
def test_doors(guard: Guard, door: str, way: str) -> None:
    built = DOORS[door](guard)
    value = ASK
    handlers = [Spy(), AsyncSpy()] if way.startswith("a") else [Spy()]
    heard = hear(built, value, WAYS[way], handlers)
    silent(heard)
    assert "answer_harmful" in heard
    text = hear(built, [HumanMessage("Hi")], WAYS[way], handlers)
    assert "SECRETWORD" in text


@pytest.mark.parametrize(
    ("graph", "way"), [(graph, way) for graph in GRAPHS for way in STREAMS if graph != "anode" or way[0] == "a"]
)
def test_graphs(guard: Guard, graph: str, way: str) -> None:
    built = GRAPHS[graph](guard)
    handlers = [Spy(), AsyncSpy()] if way.startswith("a") else [Spy()]
    heard = hear(built, {"messages": ASK}, STREAMS[way], handlers)
    silent(heard)
    assert "answer_harmful" in heard
    assert "SECRETWORD" in hear(built, {"messages": [HumanMessage("Hi")]}, STREAMS[way], handlers)


@pytest.mark.parametrize("graph", ["node", "agent"])
def test_a_harmless_answer_is_streamed_once_it_is_judged(guard: Guard, graph: str) -> None:
    calm = Chat(says="a lovely cake")
    built = (
        node(GuardedChatModel(calm, guard))
        if graph == "node"
        else create_agent(calm, [], middleware=[GuardrailMiddleware(guard)])
    )
    tokens = [chunk for chunk, _ in built.stream({"messages": ASK}, stream_mode="messages")]
    assert [chunk.text for chunk in tokens] == ["a lovely cake"]
    words = [chunk.text for chunk, _ in built.stream({"messages": [HumanMessage("Hi")]}, stream_mode="messages")]
    assert [word for word in words if word] == ["a ", "lovely ", "cake "]


@pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainBetaWarning")
def test_typed_event_streams(guard: Guard) -> None:
    model = GuardedChatModel(Chat(says=SAID), guard)
    events = asyncio.run(events_v3(model, ASK, {}))
    assert events
    silent(repr(events))
    assert "SECRETWORD" in repr(asyncio.run(events_v3(model, "Hi", {})))
