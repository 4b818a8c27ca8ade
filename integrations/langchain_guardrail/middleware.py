"""`GuardrailMiddleware`: a guard in an agent of LangChain's `create_agent`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Literal, NotRequired

from langchain.agents.middleware.types import (
    AgentMiddleware,
    AgentState,
    ModelRequest,
    ModelResponse,
    OmitFromInput,
    hook_config,
)
from langchain.agents.structured_output import StructuredOutputError
from langchain_core.callbacks.manager import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.outputs import ChatResult
from langgraph.runtime import Runtime
from pydantic import Field

from guardrail.errors import ConfigurationError
from guardrail.guard import Guard
from guardrail.policy import Decision
from langchain_guardrail.blocked import METADATA_KEY, BlockMessage, decision_json, get_decision, is_block
from langchain_guardrail.chat_model import GuardedChatModel, mirrored
from langchain_guardrail.gate import Gate, MediaInText
from langchain_guardrail.remote import RemoteImages
from langchain_guardrail.render import Snapshot, snapshot


class GuardrailState(AgentState[Any]):
    """An agent's state, with the decision about its last request with media as plain JSON."""

    guardrail: NotRequired[Annotated[dict[str, Any] | None, OmitFromInput]]


class GuardrailMiddleware(AgentMiddleware[GuardrailState, Any, Any]):
    """Puts a guard between an agent and its model, at each of its calls.

    The model of each request is replaced by a `GuardedChatModel`, which sees what the model would: system message,
    history, tools' results, and what other middleware made of them. Everything said there holds here.

    Put it last in the list: a middleware behind it could call another model, or change a judged answer. One that does
    is found by its answer, which the guarded model did not give, and that is an error. Models that other middleware
    call for themselves (summaries, selection of tools) are not the agent's: give them a `GuardedChatModel`.

    The decision is in `response_metadata["guardrail"]` of the agent's message (`get_decision`), and in the state, as
    `guardrail`.

    Args:
        guard: decides. Its policy holds all the rules.
        exit_behavior: what a block does. `end`: the agent ends with the block message. `replace`: the message stands
            for the model's answer, and the agent goes on, until it is blocked twice in a row. `error`:
            `GuardrailBlocked` is raised; unsafe with middleware that falls back or tries again, which go round it.
        violation_message: what a block says; or a function from the decision to it.
        on_decision: is told the final decision of each model call with media.
        remote: fetches remote images from listed hosts; None: none is fetched, and they fail closed.
        media_in_text: what data URLs and base64 files in a message's text are: media that cannot be checked
            (`refuse`), or text (`ignore`), where nothing behind this door makes an image of them.

    Raises:
        ConfigurationError: no guard, or no such `exit_behavior`.
    """

    state_schema = GuardrailState

    def __init__(
        self,
        guard: Guard,
        *,
        exit_behavior: Literal["end", "error", "replace"] = "end",
        violation_message: BlockMessage = None,
        on_decision: Callable[[Decision], None] | None = None,
        remote: RemoteImages | None = None,
        media_in_text: MediaInText = "refuse",
    ) -> None:
        super().__init__()
        if exit_behavior not in {"end", "error", "replace"}:
            raise ConfigurationError(f"exit_behavior is 'end', 'error' or 'replace', got {exit_behavior!r}")
        self.exit_behavior = exit_behavior
        self.tools = []
        on_block: Literal["refuse", "raise"] = "raise" if exit_behavior == "error" else "refuse"
        self._gate = Gate(guard, violation_message, on_block, on_decision, remote, media_in_text).remembering()
        self._last: _AgentsModel | None = None

    @property
    def guard(self) -> Guard:
        """What decides."""
        return self._gate.guard

    def wrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], ModelResponse[Any]]
    ) -> ModelResponse[Any]:
        """Let the guarded model answer.

        Raises:
            GuardrailBlocked: blocked, with `exit_behavior="error"`.
            ConfigurationError: another model answered.
        """
        model = self._guarded(request.model)
        try:
            return model.checked(handler(request.override(model=model)))
        except StructuredOutputError as error:
            return model.checked(_unless_blocked(error))

    async def awrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]]
    ) -> ModelResponse[Any]:
        """Let the guarded model answer asynchronously; raises as `wrap_model_call`."""
        model = self._guarded(request.model)
        try:
            return model.checked(await handler(request.override(model=model)))
        except StructuredOutputError as error:
            return model.checked(_unless_blocked(error))

    def _guarded(self, model: BaseChatModel) -> _AgentsModel:
        """Return the guarded model of one call; how traces name it is written out once for calls of the same model."""
        last = self._last
        if last is None or last.bound is not model:
            self._last = last = _AgentsModel(bound=model, gate=self._gate)
        return last.for_one_call()

    @hook_config(can_jump_to=["end"])
    def after_model(self, state: GuardrailState, runtime: Runtime[Any]) -> dict[str, Any] | None:  # noqa: ARG002
        """Put the decision into the state, and end the agent on a block: it would ask again for structured output."""
        answers = _answers(state["messages"])
        last = get_decision(answers[-1]) if answers else None
        if last is None:
            return {"guardrail": None} if state.get("guardrail") else None
        update: dict[str, Any] = {"guardrail": decision_json(last)}
        if last.blocked and (self.exit_behavior == "end" or any(map(is_block, answers[-2:-1]))):
            update["jump_to"] = "end"
        return update

    @hook_config(can_jump_to=["end"])
    async def aafter_model(self, state: GuardrailState, runtime: Runtime[Any]) -> dict[str, Any] | None:
        """Put the decision into the state, and end the agent on a block; nothing in it waits."""
        return self.after_model(state, runtime)


class _AgentsModel(GuardedChatModel):
    """The guarded model of one model call, which knows its own answers again."""

    answers: dict[str | None, Snapshot | None] = Field(default_factory=dict, repr=False, exclude=True)
    """Its answers by their ids, and as they were where they were judged; what `bind_tools` makes of it shares them."""

    def for_one_call(self) -> _AgentsModel:
        """Return a copy that has given no answer yet, and is run as the model is now."""
        _ = self._serialized  # so that copies have it
        return self.model_copy(update={**mirrored(self.bound), "answers": {}})

    def _generate_with_cache(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return self._noted(super()._generate_with_cache(messages, stop, run_manager, **kwargs))

    async def _agenerate_with_cache(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return self._noted(await super()._agenerate_with_cache(messages, stop, run_manager, **kwargs))

    def _noted(self, result: ChatResult) -> ChatResult:
        for generation in result.generations:
            message = generation.message
            self.answers[message.id] = _as_judged(message) if METADATA_KEY in message.response_metadata else None
        return result

    def checked(self, response: ModelResponse[Any]) -> ModelResponse[Any]:
        """Return an answer that this model gave, as it was judged.

        Raises:
            ConfigurationError: it gave no such answer.
        """
        if not all(self._gave(message) for message in response.result if isinstance(message, AIMessage)):
            raise ConfigurationError(
                "an answer does not come from the guarded model: a middleware behind GuardrailMiddleware gave it, "
                "changed it, or asked another model; put GuardrailMiddleware last in the agent's list"
            )
        return response

    def _gave(self, message: AIMessage) -> bool:
        judged = self.answers.get(message.id)
        return message.id in self.answers and (judged is None or judged == _as_judged(message))


def _as_judged(message: BaseMessage) -> Snapshot:
    """Take down an answer without its name, which agents give it."""
    kind, fields = snapshot(message)
    return kind, {name: value for name, value in fields.items() if name != "name"}


def _unless_blocked(error: StructuredOutputError) -> ModelResponse[Any]:
    """Return a block message that could not be read as structured output: an exception would be tried again elsewhere.

    Raises:
        StructuredOutputError: it was no block message.
    """
    if not is_block(error.ai_message):
        raise error
    return ModelResponse(result=[error.ai_message])


def _answers(messages: list[Any]) -> list[AIMessage]:
    """Return the agent's messages since the last human turn."""
    last = max((i for i, message in enumerate(messages) if isinstance(message, HumanMessage)), default=-1)
    return [message for message in messages[last + 1 :] if isinstance(message, AIMessage)]
