"""The guard in LangChain's agents: every call of the model, tools' images, structured output, other middleware."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import (
    AgentMiddleware,
    HumanInTheLoopMiddleware,
    ModelFallbackMiddleware,
    ModelRequest,
    ModelResponse,
    ModelRetryMiddleware,
    PIIMiddleware,
    hook_config,
)
from langchain.agents.structured_output import ProviderStrategy, StructuredOutputValidationError, ToolStrategy
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import tool
from langchain_core.tracers.context import collect_runs
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command
from pydantic import BaseModel

from guardrail import Decision, Guard, Policy, Reason
from guardrail.errors import ConfigurationError
from langchain_guardrail import GuardedChatModel, GuardrailBlocked, GuardrailMiddleware, get_decision
from tests.kit.chains import Brightness, Chat, Script, call, content, image_block

Make = Callable[..., Guard]
GREEN = {"messages": [HumanMessage(content("green"))]}
RED = {"messages": [HumanMessage(content("red"))]}


@tool
def photo(colour: str = "green") -> list[Any]:
    """Take a photo."""
    return [{"type": "text", "text": "Here it is."}, image_block(colour)]


def agent(chat: Any, guard: Guard, *others: Any, **options: Any) -> Any:
    exit_behavior = options.pop("exit_behavior", "end")
    tools = options.pop("tools", [photo])
    guardrail = GuardrailMiddleware(guard, exit_behavior=exit_behavior, **options.pop("guardrail", {}))
    return create_agent(chat, tools, middleware=[*others, guardrail], **options)


def run(built: Any, value: Any, config: Any = None, *, asynchronous: bool = False) -> Any:
    return asyncio.run(built.ainvoke(value, config)) if asynchronous else built.invoke(value, config)


def reasons(state: Any) -> tuple[Reason, ...]:
    decision = get_decision(state["messages"][-1])
    assert decision is not None
    return decision.reasons


@pytest.mark.parametrize("asynchronous", [False, True])
def test_an_agent_is_guarded(guard: Guard, asynchronous: bool) -> None:
    chat = Script(answers=[AIMessage("a cake")])
    allowed = run(agent(chat, guard), GREEN, asynchronous=asynchronous)
    assert (allowed["messages"][-1].text, reasons(allowed)) == ("a cake", ())
    blocked = run(agent(chat, guard), RED, asynchronous=asynchronous)
    assert reasons(blocked) == (Reason.CERTIFIED_HARMFUL,)
    assert len(chat.seen) == 1
    assert Decision.model_validate(json.loads(json.dumps(blocked["guardrail"]))) == get_decision(
        blocked["messages"][-1]
    )
    harmful = run(agent(Script(answers=[AIMessage("a bomb")]), guard), GREEN, asynchronous=asynchronous)
    assert reasons(harmful) == (Reason.ANSWER_HARMFUL,)
    text = run(agent(chat, guard), {"messages": [HumanMessage("Hi")]}, asynchronous=asynchronous)
    assert text["messages"][-1].text == "a cake"
    assert "guardrail" not in text


def test_the_system_message_is_seen(guard: Guard) -> None:
    built = agent(Script(answers=[AIMessage("a cake")]), guard, system_prompt=SystemMessage(content("red")))
    assert reasons(built.invoke({"messages": [HumanMessage("Hi")]})) == (Reason.CERTIFIED_HARMFUL,)


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_tools_image_is_checked(guard: Guard, vlm: Brightness, asynchronous: bool) -> None:
    chat = Script(answers=[call(), call(), AIMessage("a cake")])
    state = run(agent(chat, guard), {"messages": [HumanMessage("Look.")]}, asynchronous=asynchronous)
    assert (state["messages"][-1].text, reasons(state)) == ("a cake", ())
    assert vlm.images == [1, 2]  # text first, then one image, then two
    chat = Script(answers=[call(), call(colour="red"), AIMessage("a cake")])
    state = run(agent(chat, guard), {"messages": [HumanMessage("Look.")]}, asynchronous=asynchronous)
    assert reasons(state) == (Reason.CERTIFIED_HARMFUL,)
    assert len(chat.seen) == 2
    assert isinstance(state["messages"][-2], ToolMessage)


def test_a_tool_that_hides_its_image_in_text_fails_closed(guard: Guard) -> None:
    @tool
    def shoot() -> list[Any]:
        """Take a photo; LangChain writes a list that is not all blocks as JSON."""
        return ["Here it is.", image_block("green")]

    state = agent(Script(answers=[call("shoot"), AIMessage("a cake")]), guard, tools=[shoot]).invoke(GREEN)
    assert reasons(state) == (Reason.UNCHECKED_MEDIA,)


def test_steps_reuse_the_certificate(guard: Guard, vlm: Brightness) -> None:
    @tool
    def think(about: str) -> str:
        """Think."""
        return "ok"

    decisions: list[Decision] = []
    answers = [call("think", about="cake"), call("think", about="it"), AIMessage("a cake")]
    built = agent(Script(answers=answers), guard, tools=[think], guardrail={"on_decision": decisions.append})
    state = built.invoke(GREEN)
    assert [decision.source for decision in decisions] == ["computed", "hit", "hit"]
    assert len(vlm.prompts) == 1
    built.invoke({"messages": [*state["messages"], HumanMessage("Again?")]})
    assert decisions[3].source == "computed"
    assert len(vlm.prompts) == 2


def test_arguments_of_tool_calls_are_judged(guard: Guard) -> None:
    ran: list[str] = []

    @tool
    def write(text: str) -> str:
        """Write."""
        ran.append(text)
        return "ok"

    built = agent(Script(answers=[call("write", text="a bomb"), AIMessage("ok")]), guard, tools=[write])
    assert reasons(built.invoke(GREEN)) == (Reason.ANSWER_HARMFUL,)
    assert ran == []


class Seen(BaseModel):
    """What is seen."""

    thing: str


@pytest.mark.parametrize(
    ("behaviour", "tools", "refusals"),
    [("end", [], 1), ("end", [photo], 1), ("replace", [], 2), ("replace", [photo], 1)],
)
def test_a_refusal_ends_an_agent_with_structured_output(
    guard: Guard, behaviour: str, tools: list[Any], refusals: int
) -> None:
    chat = Script(answers=[call("Seen", thing="cake")])
    built = agent(chat, guard, tools=tools, response_format=ToolStrategy(Seen), exit_behavior=behaviour)
    state = built.invoke(RED, {"recursion_limit": 20})
    assert sum(isinstance(message, AIMessage) for message in state["messages"]) == refusals
    assert reasons(state) == (Reason.CERTIFIED_HARMFUL,)
    assert state.get("structured_response") is None
    assert built.invoke(GREEN)["structured_response"] == Seen(thing="cake")


def test_replace_lets_the_agent_go_on(guard: Guard) -> None:
    class Nudge(AgentMiddleware):
        @hook_config(can_jump_to=["model"])
        def after_model(self, state: Any, runtime: Any) -> Any:
            return (
                {"messages": [HumanMessage("Then say hi.")], "jump_to": "model"} if len(state["messages"]) < 4 else None
            )

    built = agent(Script(answers=[AIMessage("hi")]), guard, Nudge(), exit_behavior="replace")
    assert len(built.invoke(RED)["messages"]) == 4


@pytest.mark.parametrize("asynchronous", [False, True])
def test_error_raises(guard: Guard, asynchronous: bool) -> None:
    built = agent(Script(answers=[AIMessage("a cake")]), guard, exit_behavior="error")
    with pytest.raises(GuardrailBlocked, match="certified_harmful"):
        run(built, RED, asynchronous=asynchronous)


def test_options(guard: Guard) -> None:
    built = agent(Script(answers=[AIMessage("hi")]), guard, guardrail={"violation_message": "No."})
    assert built.invoke(RED)["messages"][-1].text == "No."
    with pytest.raises(ConfigurationError, match="exit_behavior"):
        GuardrailMiddleware(guard, exit_behavior="stop")  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="guard"):
        GuardrailMiddleware("guard")  # type: ignore[arg-type]


class Inject(AgentMiddleware):
    """Puts an image into the request on the way to the model."""

    def wrap_model_call(self, request: ModelRequest, handler: Any) -> ModelResponse:
        return handler(request.override(messages=[*request.messages, HumanMessage([image_block("red")])]))

    async def awrap_model_call(self, request: ModelRequest, handler: Any) -> ModelResponse:
        return await handler(request.override(messages=[*request.messages, HumanMessage([image_block("red")])]))


class Swap(AgentMiddleware):
    """Asks another model."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def wrap_model_call(self, request: ModelRequest, handler: Any) -> ModelResponse:
        return handler(request.override(model=self.model))

    async def awrap_model_call(self, request: ModelRequest, handler: Any) -> ModelResponse:
        return await handler(request.override(model=self.model))


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("last", [False, True])
def test_images_of_other_middleware_are_seen_wherever_it_stands(guard: Guard, last: bool, asynchronous: bool) -> None:
    chat = Script(answers=[AIMessage("a cake")])
    middleware = [GuardrailMiddleware(guard), Inject()]
    built = create_agent(chat, [], middleware=middleware if last else middleware[::-1])
    state = run(built, {"messages": [HumanMessage("Hi")]}, asynchronous=asynchronous)
    assert reasons(state) == (Reason.CERTIFIED_HARMFUL,)
    assert chat.seen == []


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("value", [GREEN, {"messages": [HumanMessage("Hi")]}])
def test_a_model_swapped_behind_the_guard_is_found(guard: Guard, value: Any, asynchronous: bool) -> None:
    other = Script(answers=[AIMessage("a bomb")])
    built = create_agent(
        Script(answers=[AIMessage("a cake")]), [], middleware=[GuardrailMiddleware(guard), Swap(other)]
    )
    with pytest.raises(ConfigurationError, match="last"):
        run(built, value, asynchronous=asynchronous)
    swapped = agent(Script(answers=[AIMessage("a cake")]), guard, Swap(other))
    assert reasons(run(swapped, GREEN, asynchronous=asynchronous)) == (Reason.ANSWER_HARMFUL,)


def test_a_fallback_behind_the_guard_is_found(guard: Guard) -> None:
    broken = Chat(raises=ConnectionError("down"))
    fallback = ModelFallbackMiddleware(Script(answers=[AIMessage("a bomb")]))
    built = create_agent(broken, [], middleware=[GuardrailMiddleware(guard), fallback])
    with pytest.raises(ConfigurationError, match="last"):
        built.invoke(GREEN)
    assert reasons(agent(broken, guard, fallback).invoke(GREEN)) == (Reason.ANSWER_HARMFUL,)


class Edit(AgentMiddleware):
    """Changes the answer on its way back."""

    def __init__(self, change: Callable[[AIMessage], AIMessage]) -> None:
        super().__init__()
        self.change = change

    def wrap_model_call(self, request: ModelRequest, handler: Any) -> ModelResponse:
        response = handler(request)
        return ModelResponse(result=[self.change(message) for message in response.result])


def _in_place(message: AIMessage) -> AIMessage:
    message.content = "a bomb"
    return message


@pytest.mark.parametrize(
    "change", [_in_place, lambda m: m.model_copy(update={"content": "a bomb"}), lambda m: AIMessage("a bomb", id=m.id)]
)
def test_a_judged_answer_changed_behind_the_guard_is_found(guard: Guard, change: Any) -> None:
    chat = Script(answers=[AIMessage("a cake")])
    built = create_agent(chat, [], middleware=[GuardrailMiddleware(guard), Edit(change)], name="cook")
    with pytest.raises(ConfigurationError, match="last"):
        built.invoke(GREEN)
    unchanged = create_agent(chat, [], middleware=[GuardrailMiddleware(guard), Edit(lambda m: m)], name="cook")
    assert unchanged.invoke(GREEN)["messages"][-1].text == "a cake"


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_refusal_is_no_exception_where_the_provider_structures_answers(guard: Guard, asynchronous: bool) -> None:
    chat, other = Script(answers=[AIMessage('{"thing": "cake"}')]), Script(answers=[AIMessage('{"thing": "bun"}')])
    around = [ModelFallbackMiddleware(other), ModelRetryMiddleware(max_retries=2, initial_delay=0.0)]
    for exit_behavior in ("end", "replace"):
        options: Any = {"tools": [], "response_format": ProviderStrategy(Seen), "exit_behavior": exit_behavior}
        built = agent(chat, guard, *around, **options)
        state = run(built, RED, asynchronous=asynchronous)
        assert reasons(state) == (Reason.CERTIFIED_HARMFUL,)
        assert state.get("structured_response") is None
        assert run(built, GREEN, asynchronous=asynchronous)["structured_response"] == Seen(thing="cake")
    assert other.seen == []
    broken = agent(Script(answers=[AIMessage("a cake")]), guard, tools=[], response_format=ProviderStrategy(Seen))
    with pytest.raises(StructuredOutputValidationError):
        run(broken, GREEN, asynchronous=asynchronous)


def test_fallbacks_and_retries_do_not_route_round_a_block(guard: Guard) -> None:
    other = Script(answers=[AIMessage("a cake")])
    retry = ModelRetryMiddleware(max_retries=2, initial_delay=0.0)
    built = agent(Script(answers=[AIMessage("a cake")]), guard, ModelFallbackMiddleware(other), retry)
    assert reasons(built.invoke(RED)) == (Reason.CERTIFIED_HARMFUL,)
    assert other.seen == []


def test_what_traces_call_the_model_is_written_out_once(guard: Guard, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[Guard] = []
    monkeypatch.setattr(Guard, "__repr__", lambda self: written.append(self) or "Guard()")
    built = agent(Script(answers=[call(), call(), AIMessage("a cake")]), guard)
    for _ in range(3):
        built.invoke({"messages": [HumanMessage("Hi")]})
    assert len(written) == 1


def test_each_call_is_run_as_its_model_is_then(guard: Guard) -> None:
    first, second = Script(answers=[AIMessage("one")]), Script(answers=[AIMessage("two")])

    class Choose(AgentMiddleware):
        def wrap_model_call(self, request: ModelRequest, handler: Any) -> ModelResponse:
            chosen = second if request.messages[-1].text == "two" else first
            return handler(request.override(model=chosen))

    built = agent(first, guard, Choose())
    for word in ("one", "two", "one"):
        assert built.invoke({"messages": [HumanMessage(word)]})["messages"][-1].text == word
    first.tags = ["new"]
    with collect_runs() as runs:
        built.invoke({"messages": [HumanMessage("one")]})
    assert "new" in next(run for run in _all(runs.traced_runs) if run.run_type == "llm").tags


def _all(runs: list[Any]) -> Iterator[Any]:
    for run in runs:
        yield run
        yield from _all(run.child_runs)


def test_with_a_checkpointer(guard: Guard) -> None:
    saver = InMemorySaver()
    built = agent(Script(answers=[AIMessage("a cake")]), guard, checkpointer=saver)
    config: Any = {"configurable": {"thread_id": "7"}}
    first = built.invoke(GREEN, config)
    assert get_decision(first["messages"][-1]).session == "7"  # type: ignore[union-attr]
    second = built.invoke({"messages": [HumanMessage("And?")]}, config)
    assert reasons(second) == ()
    kept = built.get_state(config).values
    assert kept["guardrail"] == second["guardrail"]
    assert get_decision(kept["messages"][1]) == get_decision(first["messages"][-1])
    blocked = built.invoke(RED, config)
    assert reasons(blocked) == (Reason.CERTIFIED_HARMFUL,)


def test_the_state_forgets_an_old_decision(guard: Guard) -> None:
    built = agent(Script(answers=[AIMessage("a cake")]), guard, checkpointer=InMemorySaver())
    config: Any = {"configurable": {"thread_id": "7"}}
    built.invoke(GREEN, config)

    class Forget(AgentMiddleware):
        def before_model(self, state: Any, runtime: Any) -> Any:
            from langchain_core.messages import RemoveMessage

            return {"messages": [RemoveMessage(message.id) for message in state["messages"][:-1]]}

    built = agent(Script(answers=[AIMessage("a cake")]), guard, Forget(), checkpointer=InMemorySaver())
    built.invoke(GREEN, config)
    assert built.invoke({"messages": [HumanMessage("Hi")]}, config)["guardrail"] is None


def test_with_a_human_in_the_loop(guard: Guard) -> None:
    chat = Script(answers=[call(), AIMessage("a cake")])
    human = HumanInTheLoopMiddleware(interrupt_on={"photo": True})
    built = agent(chat, guard, human, checkpointer=InMemorySaver())
    config: Any = {"configurable": {"thread_id": "7"}}
    assert "__interrupt__" in built.invoke(GREEN, config)
    state = built.invoke(Command(resume={"decisions": [{"type": "approve"}]}), config)
    assert (state["messages"][-1].text, reasons(state)) == ("a cake", ())
    refused = agent(Script(answers=[call()]), guard, human, checkpointer=InMemorySaver()).invoke(RED, config)
    assert "__interrupt__" not in refused


def test_with_other_middleware(guard: Guard) -> None:
    built = agent(Script(answers=[AIMessage("a cake")]), guard, PIIMiddleware("email"))
    said = HumanMessage([*content(), {"type": "text", "text": "I am a@example.com"}])
    assert reasons(built.invoke({"messages": [said]})) == ()


def test_a_guarded_model_guards_an_agent_too(guard: Guard) -> None:
    built = create_agent(GuardedChatModel(Script(answers=[call(colour="red"), AIMessage("a cake")]), guard), [photo])
    assert reasons(built.invoke(GREEN)) == (Reason.CERTIFIED_HARMFUL,)
    assert reasons(built.invoke(RED)) == (Reason.CERTIFIED_HARMFUL,)


def test_monitor_mode_and_certified_release(make_guard: Make) -> None:
    state = agent(Script(answers=[AIMessage("a bomb")]), make_guard(Policy(mode="monitor"))).invoke(RED)
    assert state["messages"][-1].text == "a bomb"
    assert state["guardrail"]["action"] == "block"
    chat = Script(answers=[AIMessage("a bomb")])
    state = agent(chat, make_guard(Policy(release="certified"))).invoke(GREEN)
    assert state["messages"][-1].text == "a drawn answer about cake"
    assert chat.seen == []
