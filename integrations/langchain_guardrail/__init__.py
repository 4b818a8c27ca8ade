"""Certified guardrails for LangChain: a guard round a chat model, in front of any chain, or in an agent.

This package translates messages into `(images, prompt)` and a `Decision` back. The rules are the guard's and its
policy's.
"""

from typing import TYPE_CHECKING, Any

from langchain_guardrail.blocked import GuardrailBlocked, get_decision
from langchain_guardrail.chat_model import GuardedChatModel
from langchain_guardrail.local import LocalChatModel
from langchain_guardrail.remote import RemoteImages
from langchain_guardrail.runnable import GuardedRunnable

if TYPE_CHECKING:
    from langchain_guardrail.decision_oracle import DecisionModelOracle
    from langchain_guardrail.middleware import GuardrailMiddleware

__all__ = [
    "DecisionModelOracle",
    "GuardedChatModel",
    "GuardedRunnable",
    "GuardrailBlocked",
    "GuardrailMiddleware",
    "LocalChatModel",
    "RemoteImages",
    "get_decision",
]


def __getattr__(name: str) -> Any:
    """Import the middleware when it is asked for, as agents take a second to import; and what is new in LangChain."""
    if name == "DecisionModelOracle":
        from langchain_guardrail.decision_oracle import DecisionModelOracle

        return DecisionModelOracle
    if name == "GuardrailMiddleware":
        from langchain_guardrail.middleware import GuardrailMiddleware

        return GuardrailMiddleware
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
