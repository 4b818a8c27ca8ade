"""Every way to run a guarded chain, and every way to compose one."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import ConfigurableField, Runnable, RunnableConfig, RunnableLambda, RunnablePassthrough
from langchain_core.tracers.context import collect_runs
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from pydantic import BaseModel

from guardrail import Guard, Reason
from guardrail.models.base import Answer, Draw
from langchain_guardrail import GuardedChatModel, GuardedRunnable, get_decision
from tests.kit.chains import Brightness, Chat, b64, content, file, picture, url
from tests.kit.event_loop import gather

GREEN = [HumanMessage(content("green"))]
RED = [HumanMessage(content("red"))]
MIXED = [GREEN, "Hi", RED, [HumanMessage(content("green", "And?"))]]
EXPECTED = [(), None, (Reason.CERTIFIED_HARMFUL,), ()]


def reasons(answer: Any) -> Any:
    decision = get_decision(answer)
    return None if decision is None else decision.reasons


def test_batches(guard: Guard) -> None:
    guarded = GuardedRunnable(Chat(), guard)
    assert list(map(reasons, guarded.batch(MIXED))) == EXPECTED
    assert list(map(reasons, asyncio.run(guarded.abatch(MIXED)))) == EXPECTED
    assert [reasons(a) for _, a in sorted(guarded.batch_as_completed(MIXED), key=lambda r: r[0])] == EXPECTED
    completed = asyncio.run(gather(guarded.abatch_as_completed(MIXED)))
    assert [reasons(a) for _, a in sorted(completed, key=lambda r: r[0])] == EXPECTED
    assert guarded.batch([]) == []
    assert list(map(reasons, guarded.batch(MIXED, {"max_concurrency": 1}))) == EXPECTED
    tagged = guarded.batch([GREEN, RED], [{"tags": ["a"]}, {"tags": ["b"]}])
    assert [get_decision(answer).tags for answer in tagged] == [("a",), ("b",)]  # type: ignore[union-attr]


def test_exceptions_in_batches(guard: Guard) -> None:
    guarded = GuardedRunnable(Chat(raises=ConnectionError("down")), guard)
    got = guarded.batch([GREEN, RED], return_exceptions=True)
    assert isinstance(got[0], ConnectionError)
    assert reasons(got[1]) == (Reason.CERTIFIED_HARMFUL,)
    with pytest.raises(ConnectionError):
        asyncio.run(guarded.abatch([GREEN, RED]))


class Packed(Brightness):
    """Waits a little, as a device does, and remembers who shared its batches."""

    def __init__(self) -> None:
        super().__init__()
        self.shared: list[int] = []

    def answer(self, draws: Sequence[Draw], deadline: float | None = None) -> list[Answer]:
        self.shared.append(len({draw.prompt for draw in draws}))
        return super().answer(draws, deadline)


@pytest.mark.parametrize("door", [GuardedRunnable, GuardedChatModel])
def test_batches_certify_together(guard: Guard, door: Any) -> None:
    vlm = Packed()
    together = Guard(vlm, guard.oracle, smoothing=guard.classifier.smoothing)
    guarded = door(Chat(), together)
    inputs = [[HumanMessage(content("green", f"Number {i}"))] for i in range(6)]
    answers = guarded.batch(inputs)
    assert max(vlm.shared) > 1
    alone = [door(Chat(), together).invoke(value) for value in inputs]
    for one, other in zip(answers, alone, strict=True):
        assert _counts(one) == _counts(other)
    vlm.shared.clear()
    asyncio.run(door(Chat(), together).abatch(inputs))
    assert max(vlm.shared) > 1
    vlm.shared.clear()
    guarded.batch([GREEN])
    assert max(vlm.shared) == 1


def _counts(answer: Any) -> Any:
    certificate = get_decision(answer).certificate  # type: ignore[union-attr]
    return certificate.counts, certificate.radius, certificate.model


def test_text_goes_to_the_chains_own_batch(guard: Guard) -> None:
    class Batched(Runnable[Any, Any]):
        asked: list[str] = []  # noqa: RUF012

        def invoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:  # noqa: A002
            return AIMessage("one")

        def batch(self, inputs: Any, config: Any = None, **kwargs: Any) -> Any:
            return ["batched"] * len(inputs)

        async def abatch(self, inputs: Any, config: Any = None, **kwargs: Any) -> Any:
            return ["batched"] * len(inputs)

    guarded = GuardedRunnable(Batched(), guard)
    assert guarded.batch(["Hi", "Ho"]) == asyncio.run(guarded.abatch(["Hi", "Ho"])) == ["batched"] * 2
    assert guarded.batch(["Hi", GREEN])[0].content == "one"


def test_transform(guard: Guard) -> None:
    guarded = GuardedRunnable(Chat() | StrOutputParser(), guard, refusal="No.")
    assert list(guarded.transform(iter([RED]))) == ["No."]
    assert "".join(guarded.transform(iter(["Hi ", "there"]))).strip() == "You see a lovely cake"
    halves = [url("red")[:100], url("red")[100:]]  # an image in two chunks
    assert list(guarded.transform(iter(halves))) == ["No."]

    async def several() -> AsyncIterator[Any]:
        for half in halves:
            yield half

    assert asyncio.run(gather(guarded.atransform(several()))) == ["No."]
    assert list((RunnablePassthrough() | guarded).stream(RED)) == ["No."]


def test_events(guard: Guard) -> None:
    guarded = GuardedRunnable(Chat(), guard)
    events = asyncio.run(gather(guarded.astream_events(RED, version="v2")))
    names = [event["event"] for event in events]
    assert names == ["on_chain_start", "on_custom_event", "on_chain_stream", "on_chain_end"]
    assert events[1]["data"]["reasons"] == ["certified_harmful"]
    assert events[1]["run_id"] == events[0]["run_id"]


def test_config_tags_and_runs_are_passed_on(guard: Guard) -> None:
    with collect_runs() as runs:
        GuardedRunnable(Chat(), guard).with_config(tags=["a"], metadata={"b": 1}, run_name="door").invoke(RED)
        GuardedRunnable(Chat(), guard).with_config(tags=["a"], metadata={"b": 1}, run_name="model").invoke("Hi")
    blocked, text = runs.traced_runs
    assert (blocked.name, blocked.tags, blocked.metadata["b"]) == ("door", ["a"], 1)
    assert (blocked.metadata["guardrail_action"], blocked.run_type) == ("block", "chain")
    assert (text.name, text.tags, text.run_type) == ("model", ["a"], "llm")


def test_retries_and_fallbacks_do_not_go_round_it(guard: Guard) -> None:
    chat, other = Chat(says="a bomb"), Chat()
    guarded = GuardedRunnable(chat, guard)
    composed = guarded.with_retry(stop_after_attempt=3).with_fallbacks([other])
    assert reasons(composed.invoke(GREEN)) == (Reason.ANSWER_HARMFUL,)
    assert reasons(composed.invoke([HumanMessage([{"type": "hologram"}])])) == (Reason.UNCHECKED_MEDIA,)
    assert (len(chat.seen), other.seen) == (1, [])
    broken = GuardedRunnable(Chat(raises=ConnectionError("down")), guard)
    assert broken.with_fallbacks([other]).invoke("Hi").text == "You see a lovely cake"


class Flaky(Brightness):
    def answer(self, draws: Sequence[Draw], deadline: float | None = None) -> list[Answer]:
        raise RuntimeError("out of memory")


def test_an_error_of_the_guard_is_a_value_too(guard: Guard) -> None:
    other = Chat()
    flaky = Guard(Flaky(), guard.oracle)
    answer = GuardedRunnable(Chat(), flaky).with_retry().with_fallbacks([other]).invoke(GREEN)
    assert reasons(answer) == (Reason.MODEL_FAILED,)
    assert other.seen == []


def test_composition_on_either_side(guard: Guard) -> None:
    guarded = GuardedRunnable(Chat(), guard, refusal="No.")
    chain = RunnableLambda(lambda value: value) | guarded | StrOutputParser() | (lambda text: text.upper())
    assert chain.invoke(RED) == "NO."
    both = {"a": guarded, "b": RunnablePassthrough()} | RunnableLambda(lambda both: both["a"].content)
    assert both.invoke(RED) == "No."
    parallel = RunnablePassthrough.assign(answer=(lambda value: value["messages"]) | guarded)
    assert parallel.invoke({"messages": RED})["answer"].content == "No."
    assert guarded.pipe(StrOutputParser()).invoke(RED) == "No."
    assert (guarded | StrOutputParser()).with_listeners(on_end=lambda run: None).invoke(RED) == "No."
    assert guarded.map().invoke([RED, "Hi"])[0].content == "No."


def test_schemas_graph_and_fields_are_the_chains(guard: Guard) -> None:
    prompt = ChatPromptTemplate.from_messages([("user", "{question}")])
    chain = prompt | Chat() | StrOutputParser()
    guarded = GuardedRunnable(chain, guard)
    assert guarded.input_schema.model_json_schema() == chain.input_schema.model_json_schema()
    assert guarded.output_schema.model_json_schema() == chain.output_schema.model_json_schema()
    assert guarded.get_graph().draw_mermaid() == chain.get_graph().draw_mermaid()
    configurable = Chat().configurable_fields(says=ConfigurableField(id="says"))
    assert [spec.id for spec in GuardedRunnable(configurable, guard).config_specs] == ["says"]
    said = GuardedRunnable(configurable, guard).invoke(GREEN, {"configurable": {"says": "a bomb"}})
    assert reasons(said) == (Reason.ANSWER_HARMFUL,)


TEMPLATE = ChatPromptTemplate.from_messages(
    [("user", [{"type": "image_url", "image_url": {"url": "data:image/png;base64,{image_data}"}}])]
)


@pytest.mark.parametrize(
    "variables",
    [
        {"image_data": b64("red")},
        {"image_data": b64("red"), "question": "What is it?"},
        {"image_data": file(picture("red"))},
        {"image_data": picture("red")},
        {"image_data": url("red")},
        {"nested": {"image_data": [b64("red")]}},
        ("What is it?", b64("red")),
        ("What is it?", file(picture("red"))),
        [b64("red")],
        {"image_data": base64.b64encode(b"\0" * 300).decode()},
        {"image_data": base64.urlsafe_b64encode(b"\xfb\xff" * 300).decode()},
    ],
    ids=lambda value: str(type(value)),
)
def test_variables_of_a_template_behind_the_door_fail_closed(guard: Guard, variables: Any) -> None:
    chat = Chat()
    chain = RunnableLambda(lambda value: TEMPLATE.invoke({"image_data": str(value)})) | chat
    guarded = GuardedRunnable(chain, guard)
    for answer in (guarded.invoke(variables), asyncio.run(guarded.ainvoke(variables)), *guarded.batch([variables])):
        assert reasons(answer) == (Reason.UNCHECKED_MEDIA,)
    assert chat.seen == []


def test_a_template_before_the_door_is_checked(guard: Guard) -> None:
    chain = TEMPLATE | GuardedRunnable(Chat(), guard)
    assert reasons(chain.invoke({"image_data": b64("red")})) == (Reason.CERTIFIED_HARMFUL,)
    assert reasons(chain.invoke({"image_data": b64("green")})) == ()


class Sketch(BaseModel):
    note: str
    drawing: Any = None


CONFIGURED: dict[str, Any] = {
    "base64": {"picture": b64("red")},
    "bytes": {"picture": file(picture("red"))},
    "PIL": {"picture": picture("red")},
    "data URL": {"system": f"Look at {url('red')}"},
    "nested": {"persona": [{"avatar": {"data": b64("red")}}]},
    "message": {"example": HumanMessage(content("red"))},
    "model": {"sketch": Sketch(note="?", drawing=file(picture("red")))},
    "file id": {"image_file_id": "file-1"},
}
WAYS_OF_ONE: dict[str, Callable[[Runnable[Any, Any], RunnableConfig], Any]] = {
    "invoke": lambda door, config: door.invoke("Hi", config),
    "ainvoke": lambda door, config: asyncio.run(door.ainvoke("Hi", config)),
    "stream": lambda door, config: next(iter(door.stream("Hi", config))),
    "astream": lambda door, config: asyncio.run(gather(door.astream("Hi", config)))[0],
    "batch": lambda door, config: door.batch(["Hi"], config)[0],
    "batch of configs": lambda door, config: door.batch(["Hi", "Ho"], [{}, config])[1],
    "abatch": lambda door, config: asyncio.run(door.abatch(["Hi"], [config]))[0],
    "batch_as_completed": lambda door, config: next(iter(door.batch_as_completed(["Hi"], config)))[1],
    "bound config": lambda door, config: door.with_config(config).invoke("Hi"),
    "inherited": lambda door, config: RunnableLambda(lambda value: door.invoke(value)).invoke("Hi", config),  # noqa: PLW0108 - or it is passed on
}


@pytest.mark.parametrize("way", WAYS_OF_ONE)
@pytest.mark.parametrize("configured", CONFIGURED)
def test_media_in_the_config_fail_closed(guard: Guard, configured: str, way: str) -> None:
    asked: list[Any] = []

    def ask(value: Any, config: RunnableConfig) -> AIMessage:
        asked.append(config.get("configurable"))
        return AIMessage("ok")

    config: RunnableConfig = {"configurable": CONFIGURED[configured]}
    assert reasons(WAYS_OF_ONE[way](GuardedRunnable(RunnableLambda(ask), guard), config)) == (Reason.UNCHECKED_MEDIA,)
    assert CONFIGURED[configured] not in asked


def test_a_field_that_the_config_fills_is_no_way_round(guard: Guard) -> None:
    template = ChatPromptTemplate.from_messages([("user", [{"type": "image_url", "image_url": {"url": "{picture}"}}])])
    prompts = template.configurable_fields(partial_variables=ConfigurableField(id="variables"))
    guarded = GuardedRunnable(prompts | Chat(), guard)
    answer = guarded.invoke({}, {"configurable": {"variables": {"picture": url("red")}}})
    assert reasons(answer) == (Reason.UNCHECKED_MEDIA,)


def test_services_in_the_config_are_left_alone(guard: Guard) -> None:
    class Client:
        def __init__(self) -> None:
            self.key = b"secret"
            self.cache = {"logo": url()}

    settings = {
        "thread_id": "7",
        "user": Client(),
        "root": Path("notes"),
        "model": Chat(says=url()),
        "n": [1, {"a": 2}],
    }
    config: RunnableConfig = {"configurable": settings, "metadata": {"logo": url()}}
    answer = GuardedRunnable(Chat(), guard).invoke("Hi", config)
    assert get_decision(answer) is None
    assert reasons(GuardedRunnable(Chat(), guard).invoke(GREEN, config)) == ()


def test_a_graphs_own_matters_are_no_media_but_its_context_is_searched(guard: Guard) -> None:
    guarded = GuardedRunnable(Chat(), guard)

    def chat(state: MessagesState, config: RunnableConfig) -> Any:
        return {"messages": [guarded.invoke(state["messages"], config)]}

    builder = StateGraph(MessagesState, context_schema=dict)
    builder.add_node("chat", chat)  # type: ignore[call-overload]
    builder.add_edge(START, "chat")
    graph = builder.compile(checkpointer=InMemorySaver())
    config: RunnableConfig = {"configurable": {"thread_id": "7"}}
    said = graph.invoke({"messages": [HumanMessage("Hi")]}, config, context={"tone": "kind"})["messages"][-1]
    assert get_decision(said) is None
    shown = graph.invoke({"messages": [HumanMessage("Hi")]}, config, context={"picture": b64("red")})["messages"][-1]
    assert reasons(shown) == (Reason.UNCHECKED_MEDIA,)


def test_streams_of_one(guard: Guard) -> None:
    def words(value: Any) -> Iterator[str]:
        yield "a "
        yield "cake"

    guarded = GuardedRunnable(RunnableLambda(words) | StrOutputParser(), guard, refusal="No.")
    assert list(guarded.stream(GREEN)) == ["a cake"]
    assert list(guarded.stream("Hi")) == ["a ", "cake"]
