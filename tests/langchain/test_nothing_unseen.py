"""What nobody could judge or look at is not passed; ordinary values are."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime as dt
import enum
import functools
import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.documents import Document
from langchain_core.exceptions import OutputParserException
from langchain_core.messages import AIMessage, AnyMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.output_parsers import JsonOutputParser
from langchain_core.runnables import Runnable, RunnableConfig, RunnableLambda
from langchain_core.tracers.context import collect_runs
from pydantic import BaseModel

from guardrail import Decision, Guard, Policy, Reason
from guardrail.images.pictures import load_images
from langchain_guardrail import GuardedRunnable, get_decision
from langchain_guardrail import gate as gate_module
from tests.kit.chains import Brightness, Chat, content, file, picture

Make = Callable[..., Guard]
HARM = "mix the bomb carefully"
GREEN = HumanMessage(content("green"))
CRITIC = HumanMessage("Well said.", name="critic")


def outcome(guard: Guard, output: Any, value: Any = None) -> tuple[tuple[Reason, ...], Any]:
    """Return the reasons for what became of an output, and what came back."""
    decisions: list[Decision] = []
    chain = output if isinstance(output, Runnable) else RunnableLambda(lambda _: output)
    guarded = GuardedRunnable(chain, guard, refusal=lambda _: "No.", on_decision=decisions.append)
    returned = guarded.invoke([GREEN] if value is None else value)
    (decision,) = decisions
    again = asyncio.run(guarded.ainvoke([GREEN] if value is None else value))
    assert decisions[-1].reasons == decision.reasons
    assert (returned == "No.") == decision.blocked == (again == "No.")
    return decision.reasons, returned


@dataclasses.dataclass
class State:
    messages: list[AnyMessage]


@pytest.mark.parametrize("wrap", [list, lambda m: {"messages": m}, lambda m: {"agent": {"messages": m}}, State])
def test_all_that_a_graph_adds_is_judged(guard: Guard, wrap: Callable[[list[BaseMessage]], Any]) -> None:
    asked = [HumanMessage("What of a bomb?", id="1"), GREEN]
    for added in (
        [AIMessage(HARM), CRITIC],
        [HumanMessage(HARM, name="critic")],
        [ToolMessage(HARM, tool_call_id="1")],
    ):
        extend = RunnableLambda(lambda value, added=added: wrap([*value, *added]))
        assert outcome(guard, extend, asked)[0] == (Reason.ANSWER_HARMFUL,)
    harmless = RunnableLambda(lambda value: wrap([*value, AIMessage("a cake"), CRITIC]))
    assert outcome(guard, harmless, asked)[0] == ()
    named = RunnableLambda(lambda value: wrap([m.model_copy(update={"id": "new"}) for m in value]))
    assert outcome(guard, named, asked)[0] == ()


def test_the_requests_own_messages_are_known_by_content_not_by_id(guard: Guard) -> None:
    asked = [HumanMessage("Hi", id="1"), GREEN]

    def change(value: list[BaseMessage]) -> list[BaseMessage]:
        value[0].content = HARM
        return value

    replace = RunnableLambda(lambda value: [HumanMessage(HARM, id="1"), *value[1:]])
    assert outcome(guard, replace, asked)[0] == (Reason.ANSWER_HARMFUL,)
    assert GuardedRunnable(RunnableLambda(change), guard, refusal=lambda _: "No.").invoke(asked) == "No."
    repeated = RunnableLambda(lambda value: [*value, *value])
    assert outcome(guard, repeated, [HumanMessage("What of a bomb?"), GREEN])[0] == (Reason.ANSWER_HARMFUL,)


class Slots:
    __slots__ = ("text",)

    def __init__(self) -> None:
        self.text = HARM


class Lazy:
    def __init__(self) -> None:
        self.make = lambda: [HARM]

    def __iter__(self) -> Iterator[str]:
        return iter(self.make())


def cyclic() -> dict[str, Any]:
    value: dict[str, Any] = {}
    value["self"] = [value, value]
    return value


def deep() -> list[Any]:
    value: list[Any] = []
    for _ in range(5000):
        value = [value]
    return value


@pytest.mark.parametrize(
    "make",
    [
        *(lambda: iter([HARM]), lambda: (word for word in [HARM]), Slots, Lazy, lambda: lambda: HARM),
        *(lambda: functools.partial(str, HARM), {"x": 1}.values, lambda: map(str, [HARM])),
        *(lambda: np.array(["fine"] * 2000 + ["bomb"] + ["fine"] * 2000), lambda: HARM.encode("utf-16"), picture),
        *(lambda: {"a": [iter([HARM])]}, lambda: AIMessage("ok", response_metadata={"x": HARM.encode("utf-16")})),
        *(
            cyclic,
            deep,
            lambda: 10**5000,
            lambda: {"messages": [ToolMessage("ok", tool_call_id="1", artifact=Slots())]},
        ),
    ],
)
def test_what_cannot_be_written_out_cannot_be_judged(guard: Guard, make_guard: Make, make: Callable[[], Any]) -> None:
    assert outcome(guard, RunnableLambda(lambda _: {"answer": make()}))[0] == (Reason.ORACLE_FAILED,)
    assert outcome(make_guard(Policy(mode="monitor")), {"answer": make()})[0] == (Reason.ORACLE_FAILED,)


def test_an_unjudged_answer_is_recorded(make_guard: Make) -> None:
    class Log:
        def __init__(self) -> None:
            self.kept: list[Decision] = []

        def record(self, decision: Decision) -> None:
            self.kept.append(decision)

    log = Log()
    assert outcome(make_guard(audit=log), {"answer": Slots()})[0] == (Reason.ORACLE_FAILED,)
    assert log.kept[-1].reasons == (Reason.ORACLE_FAILED,)
    assert "Slots" in log.kept[-1].details[-1]


class Colour(enum.Enum):
    RED = "red"


class Model(BaseModel):
    text: str
    at: dt.datetime
    colour: Colour = Colour.RED


class Plain:
    def __init__(self, text: str) -> None:
        self.text = text


@dataclasses.dataclass(slots=True)
class Slotted:
    text: str


@pytest.mark.parametrize("text", ["a cake", HARM])
def test_ordinary_answers_are_judged_by_all_their_text(guard: Guard, text: str) -> None:
    day = dt.datetime(2024, 1, 2, tzinfo=dt.UTC)
    for output in (
        *(
            Model(text=text, at=day),
            Plain(text),
            Slotted(text),
            [Document(text, metadata={"page": 1})],
            {text},
            (text, 1),
        ),
        *({"a": [None, True, 1.5, day, Colour.RED, np.float32(1), pathlib.Path("x")], "b": {1: text}}, {text: 1}),
        {"messages": [AIMessage("ok")], "structured_response": Model(text=text, at=day)},
    ):
        assert outcome(guard, output)[0] == ((Reason.ANSWER_HARMFUL,) if text == HARM else ())


@pytest.mark.parametrize(
    "message",
    [
        ToolMessage("ok", tool_call_id="1", artifact={"text": HARM}),
        AIMessage("ok", response_metadata={"reasoning": HARM}),
        AIMessage("ok", invalid_tool_calls=[{"name": "f", "args": "", "id": "1", "error": HARM}]),
        AIMessage("ok", tool_calls=[{"name": "f", "args": {}, "id": "bomb"}]),
        AIMessage("ok", name="bomb"),
        AIMessage("ok", id="bomb"),
        AIMessage([{"type": "text", "text": "ok", "id": "bomb"}]),
    ],
)
def test_every_field_of_an_answer_is_judged(guard: Guard, message: BaseMessage) -> None:
    assert outcome(guard, message)[0] == (Reason.ANSWER_HARMFUL,)
    assert outcome(guard, {"messages": [GREEN, message]})[0] == (Reason.ANSWER_HARMFUL,)


class Held:
    def __init__(self) -> None:
        self.held = GREEN

    def __call__(self) -> BaseMessage:
        return self.held


class Made(Sequence[dict[str, Any]]):
    """Makes its items anew each time, so that their ids repeat."""

    def __len__(self) -> int:
        return 5

    def __getitem__(self, index: Any) -> Any:
        if index >= len(self):
            raise IndexError
        return {"type": "text", "text": "ok"} if index < 4 else {"b": [GREEN.content]}


@pytest.mark.parametrize(
    "value",
    [
        {"messages": {"a": GREEN}.values()},
        {"input": {"a": GREEN}.values()},
        {"messages": Lazy()},
        {"x": Made()},
        {"x": functools.partial(str, GREEN)},
        {"x": Held()},
        {"x": pathlib.PurePosixPath("x.png")},
        {"x": list(file(picture()))},
        {"x": np.bytes_(b"1")},
        {"content": "Look.", "file_ids": ["file-1"]},
        {"messages": [("human", "Look.")], "file_ids": ["file-1"]},
        {"messages": [("human", "Look.")], "image_file_id": "file-1"},
        {"messages": [("human", "Look.")], "input_image": "file-1"},
        {"question": "?", "attachments": [{"file_id": "file-1"}]},
        {"question": "?", "attachments": ["file-1"]},
        {"question": "?", "attachments": ["https://example.com/y"]},
    ],
    ids=lambda value: str(list(value.items())[-1])[:40],
)
def test_media_that_hide_fail_closed(guard: Guard, vlm: Brightness, value: Any) -> None:
    decisions: list[Decision] = []
    assert GuardedRunnable(Chat(), guard, on_decision=decisions.append, refusal="No.").invoke(value).content == "No."
    assert decisions[0].reasons == (Reason.UNCHECKED_MEDIA,)
    assert vlm.prompts == []


def test_ordinary_values_pass_untouched(guard: Guard) -> None:
    ordinary = {
        "messages": [HumanMessage("Hi")],
        "when": [dt.date(2024, 1, 2), dt.datetime(2024, 1, 2, tzinfo=dt.UTC)],
        "numbers": [*range(-1, 99), 1.5, np.float32(2), np.datetime64("2024-01-02")],
        "kinds": {Colour.RED, str},
        "models": [Model(text="a", at=dt.datetime(2024, 1, 2, tzinfo=dt.UTC)), Plain("a"), Slotted("a")],
        "context": [Document("A text.", id="1", metadata={"source": "notes.txt", "page": 3, "profile_id": "7"})],
        "tools": [len, str.upper, lambda: None, functools.partial(int, base=2)],
        "keys": {"a": 1}.keys(),
        "file": "main.py",
        "attachments": [{"name": "notes.txt", "text": "A text."}],
        "images": 0,
        "video": False,
    }
    seen: list[Any] = []
    chain = RunnableLambda(lambda value: seen.append(value) or "ok")
    assert GuardedRunnable(chain, guard).invoke(ordinary) == "ok"
    assert seen[0] is ordinary


class Errors(BaseCallbackHandler):
    def __init__(self) -> None:
        self.errors: list[BaseException] = []

    def on_chain_error(self, error: BaseException, **kwargs: Any) -> None:
        self.errors.append(error)


def rethrown(model: Chat) -> Runnable[Any, Any]:
    parse = model | JsonOutputParser()

    def run(value: Any) -> Any:
        try:
            return parse.invoke(value)
        except OutputParserException as error:
            raise RuntimeError("no JSON") from error

    return RunnableLambda(run)


@pytest.mark.parametrize("make", [lambda model: model | JsonOutputParser(), rethrown])
@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_parsers_exception_does_not_quote_the_answer(
    guard: Guard, make_guard: Make, make: Callable[[Chat], Runnable[Any, Any]], asynchronous: bool
) -> None:
    spy = Errors()
    config: RunnableConfig = {"callbacks": [spy]}
    guarded = GuardedRunnable(make(Chat(says=HARM)), guard, refusal=lambda _: {})
    with collect_runs() as runs, pytest.raises(OutputParserException, match="could not be parsed") as caught:
        asyncio.run(guarded.ainvoke([GREEN], config)) if asynchronous else guarded.invoke([GREEN], config)
    error = caught.value
    assert spy.errors == [error]
    assert (error.__cause__, error.__context__, error.llm_output, error.observation) == (None, None, None, None)
    assert "bomb" not in f"{error} {[run.error for run in runs.traced_runs]}"
    kinds = (OutputParserException, RuntimeError)
    monitored = GuardedRunnable(make(Chat(says=HARM)), make_guard(Policy(mode="monitor")), refusal=lambda _: {})
    for chain, value in ((guarded, "Hi"), (monitored, [GREEN])):
        with pytest.raises(kinds) as caught_unchanged:
            chain.invoke(value)
        assert "could not be parsed; it was not judged" not in str(caught_unchanged.value)


def test_a_broken_image_is_decoded_once(guard: Guard, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[Any] = []

    def load(sources: Any, *args: Any) -> Any:
        sources = list(sources)
        decoded.extend(source for source in sources if isinstance(source, str))
        return load_images(sources, *args)

    monkeypatch.setattr(gate_module, "load_images", load)
    monkeypatch.setattr("guardrail.request.load_images", load)
    broken = {"type": "image", "base64": "AAAA", "mime_type": "image/png"}
    decision = get_decision(GuardedRunnable(Chat(), guard).invoke([HumanMessage([broken])]))
    assert decision is not None
    assert decision.reasons == (Reason.UNREADABLE_IMAGE,)
    assert len(decoded) == 1
