"""Decisions in LangChain's terms: block messages that fit a chain's output, metadata, and the exception."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal, get_args, get_origin

from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.runnables import Runnable
from pydantic import ValidationError

from guardrail.errors import ConfigurationError, GuardrailError
from guardrail.policy import Decision

METADATA_KEY = "guardrail"
REFUSAL = "I can't help with this request: its images did not pass the safety check."
"""What a blocked user reads, where the application says nothing else."""

BlockMessage = str | Callable[[Decision], Any] | None
Shape = Literal["message", "text", "state"]


class GuardrailBlocked(GuardrailError):  # noqa: N818 - the name that callers rely on
    """A request or an answer was blocked, raised on request only: fallbacks and retries route round an exception.

    Attributes:
        decision: what was decided, and why.
    """

    def __init__(self, decision: Decision) -> None:
        self.decision = decision
        super().__init__(f"blocked: {', '.join(decision.reasons)} (decision {decision.id})")

    def __reduce__(self) -> tuple[type[GuardrailBlocked], tuple[Decision]]:
        return type(self), (self.decision,)


def decision_json(decision: Decision) -> dict[str, Any]:
    """Return a decision as plain JSON, without drawn answers: those of a harmful verdict are harmful."""
    return decision.model_dump(mode="json", exclude={"certificate": {"answer"}})


def get_decision(message: object) -> Decision | None:
    """Return the decision that a guarded chain left on its message; None if there is none, as on a string."""
    if not isinstance(message, BaseMessage):
        return None
    found = message.response_metadata.get(METADATA_KEY)
    try:
        return None if found is None else Decision.model_validate(found)
    except ValidationError:
        return None


def is_block(message: object) -> bool:
    """Whether a message is a block's, in place of an answer."""
    decision = get_decision(message)
    return decision is not None and decision.blocked


def attach(output: Any, decision: Decision) -> Any:
    """Put a decision on a copy of a message; other outputs cannot carry it."""
    if not isinstance(output, BaseMessage):
        return output
    metadata = {**output.response_metadata, METADATA_KEY: decision_json(decision)}
    return output.model_copy(update={"response_metadata": metadata})


def say(text: str, shape: Shape, decision: Decision) -> Any:
    """Return a text in the shape of a chain's output."""
    if shape == "text":
        return text
    message = attach(AIMessage(text), decision)
    return {"messages": [message]} if shape == "state" else message


def shape_of(bound: Runnable[Any, Any]) -> Shape | None:
    """Return the shape of a chain's output by its declared type; None if no block message of ours fits it.

    An undeclared type (`Any`, as of an untyped function) counts as a message, which is what most chains give.
    """
    try:
        declared = bound.OutputType
    except TypeError:
        declared = None
    kinds = tuple(_classes(declared))
    if kinds == (str,):
        return "text"
    if kinds and all(issubclass(kind, BaseMessage) for kind in kinds):
        return "message"
    if declared in {None, Any, object} or (not kinds):
        fields = {} if declared is Any else _fields(bound)
        return "state" if "messages" in fields else "message"
    return None


def shape_like(output: Any) -> Shape | None:
    """Return the shape of an output that is at hand."""
    match output:
        case str():
            return "text"
        case BaseMessage():
            return "message"
        case {"messages": _}:
            return "state"
        case _:
            return None


def check_shape(
    bound: Runnable[Any, Any], shape: Shape | None, message: BlockMessage, *, raises: bool, drawn: bool
) -> None:
    """Raise where something that is returned in place of the chain's answer would not be of the chain's type.

    Args:
        bound: the chain.
        shape: of its output.
        message: what a block says or returns.
        raises: whether a block raises instead.
        drawn: whether drawn answers are released, which are texts.

    Raises:
        ConfigurationError: the chain yields neither messages nor text.
    """
    if shape is not None:
        return
    if drawn:
        raise ConfigurationError(
            f"the chain yields {bound.OutputType}, but release='certified' gives text: use 'screened'"
        )
    if not raises and not callable(message):
        raise ConfigurationError(
            f"the chain yields {bound.OutputType}, which no refusal text fits: pass refusal=<function of the Decision> "
            "that makes one, or on_block='raise'"
        )


def _classes(declared: Any) -> list[type]:
    """Return the classes of a type, unions and annotations resolved."""
    if get_origin(declared) is Annotated:
        return _classes(get_args(declared)[0])
    if isinstance(declared, type) and get_origin(declared) is None:
        return [] if declared is object else [declared]
    if get_origin(declared) in {dict, list, tuple, set}:
        return [get_origin(declared)]
    return [kind for argument in get_args(declared) for kind in _classes(argument)]


def _fields(bound: Runnable[Any, Any]) -> dict[str, Any]:
    try:
        return dict(getattr(bound.get_output_schema(), "model_fields", {}))
    except TypeError:
        return {}
