"""Certified guardrails for LangChain: `GuardedRunnable` puts a guard in front of any chain.

This package translates messages into `(images, prompt)` and a `Decision` back. The rules are the guard's and its
policy's.
"""

from langchain_guardrail.local import LocalChatModel
from langchain_guardrail.refusal import GuardrailBlocked, get_decision
from langchain_guardrail.runnable import GuardedRunnable

__all__ = ["GuardedRunnable", "GuardrailBlocked", "LocalChatModel", "get_decision"]
