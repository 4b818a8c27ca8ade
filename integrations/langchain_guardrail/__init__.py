"""Certified guardrails for LangChain: a guard round a chat model, in front of any chain, or in an agent.

This package translates messages into `(images, prompt)` and a `Decision` back. The rules are the guard's and its
policy's.
"""

from langchain_guardrail.chat_model import GuardedChatModel
from langchain_guardrail.local import LocalChatModel
from langchain_guardrail.refusal import GuardrailBlocked, get_decision
from langchain_guardrail.runnable import GuardedRunnable

__all__ = ["GuardedChatModel", "GuardedRunnable", "GuardrailBlocked", "LocalChatModel", "get_decision"]
