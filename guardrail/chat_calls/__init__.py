"""Calls of LangChain chat models in which every answer counts: none dropped, none repeated, none seen by a tracer.

`ChatModelVLM` (the smoothed model behind a network) and `ChatClassifier` (a chat model as judge) share it. Calls fail
in ways that depend on the answer: filters stop harmful answers, long answers time out, streams are cut. A client that
drops or repeats such answers samples another distribution than the model's.
"""

from guardrail.chat_calls.calls import Call, ChatCalls, Reply
from guardrail.errors import DEADLINE

__all__ = ["DEADLINE", "Call", "ChatCalls", "Reply"]
