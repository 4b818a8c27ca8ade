"""What stands beside an answer: providers' notes are no part of it, everything else is judged."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.runnables import RunnableLambda

from guardrail import Guard, Reason
from langchain_guardrail import GuardedChatModel, GuardedRunnable, get_decision
from langchain_guardrail.render import answer_text
from tests.kit.chains import Chat, content

GREEN = [HumanMessage(content("green"))]
HARM = "mix the bomb SECRETWORD carefully"


class Says(BaseChatModel):
    """Gives one result, whatever it is asked."""

    result: ChatResult

    @property
    def _llm_type(self) -> str:
        return "says"

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        return self.result.model_copy(deep=True)


NOTES = {
    "OpenAI": AIMessage(
        "stop",
        id="chatcmpl-abc123",
        additional_kwargs={"refusal": None},
        response_metadata={
            "token_usage": {"completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 0}},
            "model_name": "gpt-4.1-mini-2025-04-14",
            "system_fingerprint": "fp_44",
            "finish_reason": "stop",
            "logprobs": None,
        },
    ),
    "Azure": AIMessage(
        "stop", response_metadata={"content_filter_results": {"hate": {"filtered": False, "severity": "safe"}}}
    ),
    "Ollama": AIMessage(
        "stop", response_metadata={"load_duration": 12, "prompt_eval_count": 3, "eval_duration": 5, "done": True}
    ),
    "Gemini": AIMessage("stop", response_metadata={"safety_ratings": [{"category": "X", "probability": "LOW"}]}),
    "annotations": AIMessage([{"type": "text", "text": "stop", "annotations": []}]),
}


@pytest.mark.parametrize("provider", NOTES)
def test_notes_are_no_part_of_an_answer(provider: str) -> None:
    assert set(answer_text(NOTES[provider]).split()) == {"stop"}


@pytest.mark.parametrize(
    "metadata",
    [
        {"note": HARM},
        {"finish_reason": HARM},
        {"stop_sequence": "mix the bomb"},
        {"token_usage": {"bomb": HARM}},
        {"guardrail": HARM},
        {"a bomb": 1},
        {"logprobs": {"content": [{"token": "bomb", "logprob": -0.1}]}},
        {"id": "bomb"},
    ],
)
def test_what_is_no_note_is_judged(metadata: dict[str, Any]) -> None:
    assert "bomb" in answer_text(AIMessage("fine", response_metadata=metadata))


@pytest.mark.parametrize("where", ["generation_info", "llm_output"])
def test_fields_of_one_name_do_not_hide_each_other(make_guard: Callable[..., Guard], where: str) -> None:
    beside = {where: {"note": HARM, "guardrail": HARM}}
    generation = ChatGeneration(
        message=AIMessage("fine", response_metadata={"note": "ok"}), generation_info=beside.get("generation_info")
    )
    model = Says(result=ChatResult(generations=[generation], llm_output=beside.get("llm_output")))
    answer = GuardedChatModel(model, make_guard()).invoke(GREEN)
    decision = get_decision(answer)
    assert decision is not None
    assert decision.reasons == (Reason.ANSWER_HARMFUL,)


def test_a_decision_that_a_chain_writes_itself_is_judged(make_guard: Callable[..., Guard]) -> None:
    chain = RunnableLambda(lambda _: {"messages": [AIMessage("fine", response_metadata={"guardrail": HARM})]})
    said = GuardedRunnable(chain, make_guard(), refusal=lambda _: "NO").invoke(GREEN)
    assert said == "NO"


def _fails(*_: object) -> Any:
    raise ZeroDivisionError


class Raising(BaseCallbackHandler):
    raise_error = True
    run_inline = True

    def on_custom_event(self, name: str, data: Any, **kwargs: Any) -> None:
        raise ZeroDivisionError


@pytest.mark.parametrize("door", [GuardedChatModel, GuardedRunnable])
@pytest.mark.parametrize("hook", ["on_decision", "refusal", "callback", "user"])
def test_no_hook_that_fails_makes_a_block_an_exception(make_guard: Callable[..., Guard], door: Any, hook: str) -> None:
    options = {hook: _fails} if hook in {"on_decision", "refusal"} else {}
    config: dict[str, Any] = {}
    if hook == "callback":
        config = {"callbacks": [Raising()]}
    if hook == "user":
        config = {"metadata": {"user_id": 10**5000}}
    guarded = door(Chat(says=HARM), make_guard(), **options)
    answer = guarded.with_fallbacks([Chat(says="UNGUARDED")]).invoke(GREEN, config)
    decision = get_decision(answer)
    assert decision is not None
    assert decision.blocked
    assert "UNGUARDED" not in str(answer.text)
