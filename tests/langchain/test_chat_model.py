"""The guarded chat model: nothing unchecked goes in, nothing unjudged comes out, and else it is the model."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.callbacks import BaseCallbackHandler, UsageMetadataCallbackHandler
from langchain_core.globals import set_llm_cache
from langchain_core.language_models import BaseChatModel
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, trim_messages
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.rate_limiters import InMemoryRateLimiter
from langchain_core.runnables import ConfigurableField, RunnableLambda
from langchain_core.tools import tool
from langchain_core.tracers.context import collect_runs
from pydantic import BaseModel, Field, SecretStr, ValidationError

from guardrail import Decision, Guard, Policy, Reason
from guardrail.errors import ConfigurationError
from langchain_guardrail import GuardedChatModel, GuardrailBlocked, get_decision
from tests.kit.chains import DRAWN_HARMLESS, Chat, content, file, picture, pixels, url
from tests.kit.event_loop import gather

Make = Callable[..., Guard]
HARM = "mix the bomb SECRETWORD carefully"
GREEN = [HumanMessage(content("green"))]
RED = [HumanMessage(content("red"))]


WAYS: dict[str, Callable[..., AIMessage]] = {
    "invoke": lambda model, value, config=None: model.invoke(value, config),
    "ainvoke": lambda model, value, config=None: asyncio.run(model.ainvoke(value, config)),
    "stream": lambda model, value, config=None: _joined(list(model.stream(value, config))),
    "astream": lambda model, value, config=None: _joined(asyncio.run(gather(model.astream(value, config)))),
    "batch": lambda model, value, config=None: model.batch([value, "Hi"], config)[0],
    "abatch": lambda model, value, config=None: asyncio.run(model.abatch([value, "Hi"], config))[0],
    "generate": lambda model, value, config=None: model.generate([value], **(config or {})).generations[0][0].message,
    "chain": lambda model, value, config=None: (RunnableLambda(lambda v: v) | model).invoke(value, config),
}


def _joined(chunks: list[Any]) -> Any:
    total = chunks[0]
    for chunk in chunks[1:]:
        total += chunk
    return total


def reasons(message: BaseMessage) -> tuple[Reason, ...]:
    decision = get_decision(message)
    assert decision is not None
    return decision.reasons


@pytest.mark.parametrize("way", WAYS)
def test_checked_judged_and_released(guard: Guard, way: str) -> None:
    chat = Chat()
    model = GuardedChatModel(chat, guard)
    allowed = WAYS[way](model, GREEN)
    assert (allowed.text, reasons(allowed)) == (chat.says, ())
    (message,) = next(messages for messages in chat.seen if isinstance(messages[0].content, list))
    sent = message.content[1]["image_url"]["url"]  # type: ignore[index]
    np.testing.assert_array_equal(pixels(sent), np.asarray(picture()))
    assert sent != url()
    calls = len(chat.seen)
    assert reasons(WAYS[way](model, RED)) == (Reason.CERTIFIED_HARMFUL,)
    assert len(chat.seen) == calls + ("batch" in way)  # "Hi" alone
    blocked = WAYS[way](GuardedChatModel(Chat(says=HARM), guard), GREEN)
    assert reasons(blocked) == (Reason.ANSWER_HARMFUL,)
    assert "SECRETWORD" not in blocked.model_dump_json()


def test_text_is_untouched(guard: Guard) -> None:
    chat = Chat()
    model = GuardedChatModel(chat, guard)
    for name, way in WAYS.items():
        if name != "generate":
            answer = way(model, "Hi")
            assert answer.text.strip() == chat.says
            assert "guardrail" not in answer.response_metadata
    assert [chunk.text for chunk in model.stream("Hi") if chunk.text] == ["You ", "see ", "a ", "lovely ", "cake "]
    assert not guard.model.prompts  # type: ignore[attr-defined]


def test_a_model_that_does_not_stream_is_not_made_to(guard: Guard) -> None:
    class Plain(Chat):
        _stream = BaseChatModel._stream  # type: ignore[assignment]

    model = GuardedChatModel(Plain(), guard)
    assert [chunk.text for chunk in model.stream("Hi")] == ["You see a lovely cake"]
    assert [chunk.text for chunk in model.stream(GREEN)] == ["You see a lovely cake"]
    assert asyncio.run(gather(model.astream(RED)))[0].response_metadata["guardrail"]["action"] == "block"


def test_runs_as_the_model_does(guard: Guard) -> None:
    limiter = InMemoryRateLimiter(requests_per_second=1000)
    chat = Chat(
        rate_limiter=limiter, tags=["a"], metadata={"b": 1}, output_version="v1", profile={"image_inputs": True}
    )
    model = GuardedChatModel(chat, guard)
    for name in ("rate_limiter", "tags", "metadata", "output_version", "profile", "callbacks", "disable_streaming"):
        assert getattr(model, name) == getattr(chat, name), name
    assert model.invoke("Hi").content == chat.invoke("Hi").content == [{"type": "text", "text": chat.says}]
    assert model.invoke(GREEN).content == chat.invoke("Hi").content
    assert (model._llm_type, model._get_ls_params()) == (chat._llm_type, chat._get_ls_params())
    assert model.get_num_tokens_from_messages.__func__ is not BaseChatModel.get_num_tokens_from_messages


class Counting(Chat):
    """Remembers what it counted, as a model that asks its provider would have sent it."""

    counted: list[Any] = Field(default_factory=list)

    def get_num_tokens_from_messages(self, messages: Any, tools: Any = None) -> int:
        self.counted.append((messages, tools))
        return 1000 * len(messages)


def test_media_go_nowhere_to_be_counted(guard: Guard) -> None:
    chat = Counting()
    model = GuardedChatModel(chat, guard)
    history = [HumanMessage("Hi"), AIMessage("Hello")]
    assert model.get_num_tokens_from_messages(history) == 2000
    assert model.get_num_tokens_from_messages(history, tools=[look]) == 2000
    assert chat.counted == [(history, None), (history, [look])]
    strange = [HumanMessage([{"type": "image", "file_id": "file-1"}])]
    tool = {"type": "function", "function": {"name": "f", "description": url("red"), "parameters": {}}}
    for messages, tools in ((GREEN, None), (RED, [look]), (strange, None), (history, [tool])):
        assert 0 < model.get_num_tokens_from_messages(messages, tools=tools) < 1000
    assert model.get_num_tokens_from_messages(GREEN) < model.get_num_tokens_from_messages([*GREEN, *GREEN])
    assert trim_messages([*history, *GREEN], max_tokens=95, token_counter=model, strategy="last") == GREEN
    assert all(counted == history or len(counted) == 0 for counted, _ in chat.counted)


def test_settings_can_be_read_but_methods_that_go_round_the_guard_cannot(guard: Guard) -> None:
    class Named(Chat):
        model_name: str = "named-1"
        api_key: SecretStr = SecretStr("hidden-1234")
        header: str = "hidden-5678"

        def ask_directly(self, value: Any) -> Any:
            return self.invoke(value)

    model = GuardedChatModel(Named(), guard)
    assert model.model_name == "named-1"
    with pytest.raises(AttributeError, match="ask_directly"):
        model.ask_directly(GREEN)
    assert "hidden" not in f"{model!r} {model} {model._identifying_params}"
    assert "Named" in repr(model)


def test_the_guards_digest_is_among_the_parameters(guard: Guard, make_guard: Make) -> None:
    digests = {
        GuardedChatModel(Chat(), g)._identifying_params["guardrail"]
        for g in (guard, make_guard(), make_guard(Policy(min_radius=0.2)))
    }
    assert len(digests) == 2
    with collect_runs() as runs:
        GuardedChatModel(Chat(), guard).invoke("Hi")
    assert runs.traced_runs[0].extra["invocation_params"]["guardrail"] == guard.digest


@pytest.fixture
def global_cache() -> Iterator[InMemoryCache]:
    cache = InMemoryCache()
    set_llm_cache(cache)
    yield cache
    set_llm_cache(None)


def test_langchains_cache_skips_no_check_and_keeps_serving_text(make_guard: Make, global_cache: InMemoryCache) -> None:
    decisions: list[Decision] = []
    chat = Chat()
    model = GuardedChatModel(chat, make_guard(), on_decision=decisions.append)
    for _ in range(2):
        assert model.invoke(GREEN).text == chat.says
        assert asyncio.run(model.ainvoke(GREEN)).text == chat.says
    assert (len(decisions), len(chat.seen)) == (4, 4)
    assert not global_cache._cache
    assert model.invoke("Hi").text == model.invoke("Hi").text == asyncio.run(model.ainvoke("Hi")).text
    assert len(chat.seen) == 5
    assert chat.invoke("Hi").text == chat.says
    assert len(chat.seen) == 5  # the model's own entry


@tool
def look(at: str) -> str:
    """Look at something."""
    return at


def test_bind_tools_stays_behind_the_guard(guard: Guard) -> None:
    chat = Chat(calls=[{"name": "look", "args": {"at": "cake"}, "id": "1"}])
    bound = GuardedChatModel(chat, guard).bind_tools([look], tool_choice="any")
    assert bound.kwargs == chat.bind_tools([look], tool_choice="any").kwargs  # type: ignore[attr-defined]
    assert bound.invoke(GREEN).tool_calls[0]["name"] == "look"
    assert reasons(bound.invoke(RED)) == (Reason.CERTIFIED_HARMFUL,)
    assert bound.invoke(RED).tool_calls == []
    chat.calls[0]["args"] = {"at": "bomb"}
    assert reasons(bound.invoke(GREEN)) == (Reason.ANSWER_HARMFUL,)


class Seen(BaseModel):
    """What is seen."""

    thing: str


def test_structured_output_stays_behind_the_guard(guard: Guard) -> None:
    chat = Chat(calls=[{"name": "Seen", "args": {"thing": "cake"}, "id": "1"}])
    structured = GuardedChatModel(chat, guard).with_structured_output(Seen)
    assert structured.invoke("Hi") == structured.invoke(GREEN) == Seen(thing="cake")
    assert structured.invoke(RED) is None
    assert asyncio.run(structured.ainvoke(RED)) is None
    assert list(structured.stream(RED)) == asyncio.run(gather(structured.astream(RED))) == [None]
    assert list(structured.stream(GREEN)) == asyncio.run(gather(structured.astream(GREEN))) == [Seen(thing="cake")]
    raw = GuardedChatModel(chat, guard).with_structured_output(Seen, include_raw=True).invoke(RED)
    assert reasons(raw["raw"]) == (Reason.CERTIFIED_HARMFUL,)
    assert raw["parsed"] is None


class Own(Chat):
    """Structures its answers by a parser that raises on what is no answer, as some providers do."""

    def with_structured_output(self, schema: Any, *, include_raw: bool = False, **kwargs: Any) -> Any:
        def parse(message: AIMessage) -> Any:
            if not message.tool_calls:
                raise ValueError(f"not parsed: {message.text}")
            return message.tool_calls[0]["args"]

        return self.bind(strict=True).with_fallbacks([self]) | RunnableLambda(parse)


def test_a_block_is_no_exception_for_parsers_fallbacks_and_retries(guard: Guard) -> None:
    chat = Own(calls=[{"name": "Seen", "args": {"thing": "cake"}, "id": "1"}])
    structured = GuardedChatModel(chat, guard).with_structured_output(Seen)
    assert structured.invoke(GREEN) == {"thing": "cake"}
    asked: list[Any] = []
    other = RunnableLambda(asked.append)
    assert structured.with_retry().with_fallbacks([other]).invoke(RED) is None
    guarded = GuardedChatModel(Chat(), guard).with_retry().with_fallbacks([other])
    assert reasons(guarded.invoke(RED)) == (Reason.CERTIFIED_HARMFUL,)
    assert asked == []


def test_a_model_that_hides_in_what_it_makes_is_refused(guard: Guard) -> None:
    class Hidden(Chat):
        def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
            return RunnableLambda(self.invoke)

    with pytest.raises(ConfigurationError, match="GuardedRunnable"):
        GuardedChatModel(Hidden(), guard).bind_tools([look])


def test_a_changed_copy_of_the_model_is_guarded_too(guard: Guard) -> None:
    class Copied(Chat):
        def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
            return self.model_copy(update={"says": "a bomb"})

    bound = GuardedChatModel(Copied(), guard).bind_tools([look])
    assert bound.invoke("Hi").text == "a bomb"
    assert reasons(bound.invoke(GREEN)) == (Reason.ANSWER_HARMFUL,)


def test_tool_schemas_are_no_media(guard: Guard) -> None:
    @tool
    def fetch(image_url: str, file_id: str, attachments: list[str]) -> str:
        """Fetch an image, say from https://example.com/cat.png, and look at it."""
        return image_url

    class Picture(BaseModel):
        image: str
        video: dict[str, str]

    model = GuardedChatModel(Chat(), guard)
    for bound in (model.bind_tools([fetch, Picture]), model.bind(response_format={"schema": fetch.args_schema})):
        assert get_decision(bound.invoke("Hi")) is None
    called = [
        HumanMessage("Look at it."),
        AIMessage("", tool_calls=[{"name": "fetch", "args": {"image_url": "https://example.com/x.png"}, "id": "1"}]),
    ]
    assert get_decision(model.invoke(called)) is None
    for options in (
        {"tools": [{"type": "code_interpreter", "container": {"type": "auto", "file_ids": ["file-1"]}}]},
        {"tools": [{"type": "function", "function": {"description": content()[1]["image_url"]["url"]}}]},  # type: ignore[index]
        {"response_format": {"x": file(picture())}},
    ):
        assert reasons(model.invoke("Hi", **options)) == (Reason.UNCHECKED_MEDIA,)


class Heard(BaseCallbackHandler):
    def __init__(self) -> None:
        self.decisions: list[Decision] = []
        self.runs: list[Any] = []

    def on_custom_event(self, name: str, data: Any, *, run_id: Any, **kwargs: Any) -> None:
        assert name == "guardrail_decision"
        self.runs.append(run_id)
        self.decisions.append(Decision.model_validate(data))


@pytest.mark.parametrize("way", [way for way in WAYS if way != "generate"])
def test_decisions_are_observable(guard: Guard, way: str) -> None:
    heard = Heard()
    told: list[Decision] = []
    with collect_runs() as runs:
        answer = WAYS[way](GuardedChatModel(Chat(), guard, on_decision=told.append), RED, {"callbacks": [heard]})
    (decision,) = heard.decisions
    assert get_decision(answer) == decision == told[0].model_copy(update={"prompt": None})
    run = next(r for r in _all(runs.traced_runs) if r.id == heard.runs[0])
    assert run.run_type == "llm"
    assert run.metadata["guardrail_action"] == "block"
    assert run.metadata["guardrail_reasons"] == ["certified_harmful"]
    assert run.metadata["guardrail_decision"] == decision.id


def _all(runs: list[Any]) -> Iterator[Any]:
    for run in runs:
        yield run
        yield from _all(run.child_runs)


def test_who_asks_is_recorded(guard: Guard) -> None:
    config = {"metadata": {"user_id": "alice", "thread_id": 7}}
    decision = get_decision(GuardedChatModel(Chat(), guard).invoke(GREEN, config))
    assert decision is not None
    assert (decision.client, decision.session) == ("alice", "7")


class Several(Chat):
    """Gives two answers, with something beside them."""

    says: str = "a cake"
    other: str = "a bun"
    info: dict[str, Any] = {}  # noqa: RUF012
    beside: dict[str, Any] = {}  # noqa: RUF012

    def _generate(self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any) -> ChatResult:
        first = ChatGeneration(message=AIMessage(self.says), generation_info=self.info)
        second = ChatGeneration(message=AIMessage(self.other))
        return ChatResult(generations=[first, second], llm_output=self.beside)


@pytest.mark.parametrize(
    "model",
    [Several(other="a bomb"), Several(info={"logprobs": [{"token": "bomb"}]}), Several(beside={"raw": "a bomb"})],
)
def test_all_of_a_result_is_judged(guard: Guard, model: Several) -> None:
    result = GuardedChatModel(model, guard).generate([GREEN])
    (generation,) = result.generations[0]
    assert reasons(generation.message) == (Reason.ANSWER_HARMFUL,)  # type: ignore[attr-defined]
    assert "bomb" not in repr(result)


def test_several_harmless_answers_are_released(guard: Guard) -> None:
    result = GuardedChatModel(Several(), guard).generate([GREEN])
    assert [generation.text for generation in result.generations[0]] == ["a cake", "a bun"]


def test_usage_is_counted(guard: Guard) -> None:
    usage = {"input_tokens": 3, "output_tokens": 4, "total_tokens": 7}
    answer = AIMessage("a cake", usage_metadata=usage, response_metadata={"model_name": "m"})
    for value in ("Hi", GREEN):
        handler = UsageMetadataCallbackHandler()
        model = GuardedChatModel(GenericFakeChatModel(messages=iter([answer])), guard)
        assert model.invoke(value, {"callbacks": [handler]}).usage_metadata == usage
        assert handler.usage_metadata["m"] == usage


def test_certified_release_never_asks_the_model(make_guard: Make) -> None:
    chat = Chat(says=HARM)
    model = GuardedChatModel(chat, make_guard(Policy(release="certified")))
    assert model.invoke(GREEN).text == DRAWN_HARMLESS
    assert [chunk.text for chunk in model.stream(GREEN)] == [DRAWN_HARMLESS]
    assert chat.seen == []


def test_monitor_mode_passes_everything(make_guard: Make) -> None:
    answer = GuardedChatModel(Chat(says=HARM), make_guard(Policy(mode="monitor"))).invoke(RED)
    assert answer.text == HARM
    assert reasons(answer) == (Reason.CERTIFIED_HARMFUL, Reason.ANSWER_HARMFUL)


def test_refusals(guard: Guard) -> None:
    assert GuardedChatModel(Chat(), guard, refusal="No.").invoke(RED).text == "No."
    made = GuardedChatModel(Chat(), guard, refusal=lambda decision: f"No: {decision.reasons[0]}").invoke(RED)
    assert made.text == "No: certified_harmful"
    own = AIMessage("No.", name="guard")
    assert GuardedChatModel(Chat(), guard, refusal=lambda _: own).invoke(RED).name == "guard"
    with pytest.raises(GuardrailBlocked):
        GuardedChatModel(Chat(), guard, on_block="raise").invoke(RED)


@pytest.mark.parametrize("value", [GREEN, "Hi"])
def test_exceptions_pass_through_unchanged(guard: Guard, value: Any) -> None:
    error = ConnectionError("too slow")
    model = GuardedChatModel(Chat(raises=error), guard)
    with pytest.raises(ConnectionError) as caught:
        model.invoke(value)
    assert caught.value is error
    with pytest.raises(ConnectionError) as caught:
        asyncio.run(model.ainvoke(value))
    assert caught.value is error


def test_an_exception_does_not_quote_the_answer(guard: Guard) -> None:
    try:
        Seen.model_validate_json(f'{{"thing": ["{HARM}"]}}')
    except ValidationError as error:
        quoting = error
    assert "SECRETWORD" in str(quoting)
    with pytest.raises(Exception, match="could not be parsed") as caught:
        GuardedChatModel(Chat(raises=quoting), guard).invoke(GREEN)
    assert "SECRETWORD" not in f"{caught.value!r} {caught.value.__cause__} {caught.value.__context__}"
    with pytest.raises(ValidationError):
        GuardedChatModel(Chat(raises=quoting), guard).invoke("Hi")


def test_a_template_upstream_is_seen(guard: Guard) -> None:
    template = ChatPromptTemplate.from_messages(
        [("user", [{"type": "image_url", "image_url": {"url": "data:image/png;base64,{image_data}"}}])]
    )
    chain = template | GuardedChatModel(Chat(), guard)
    data = content("red")[1]["image_url"]["url"].partition(",")[2]  # type: ignore[index]
    assert reasons(chain.invoke({"image_data": data})) == (Reason.CERTIFIED_HARMFUL,)


def test_it_can_be_configured_and_copied(guard: Guard) -> None:
    model = GuardedChatModel(Chat(), guard, refusal="No.").configurable_fields(
        bound=ConfigurableField(id="model"),
    )
    other = {"configurable": {"model": Chat(says="Hello")}}
    assert model.invoke("Hi", other).text == "Hello"
    assert model.invoke(RED, other).text == "No."
    assert GuardedChatModel(Chat(), guard).model_copy().invoke("Hi").text == Chat().says


@pytest.mark.parametrize("bound", [RunnableLambda(str), "gpt", None])
def test_only_chat_models_go_in(guard: Guard, bound: Any) -> None:
    with pytest.raises(ConfigurationError, match="GuardedRunnable"):
        GuardedChatModel(bound, guard)
    with pytest.raises(ConfigurationError, match="guard"):
        GuardedChatModel(Chat(), bound)
