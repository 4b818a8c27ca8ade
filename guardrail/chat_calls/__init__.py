"""Calls of LangChain chat models whose every answer counts: none dropped, none asked for twice, none overheard.

What the smoothed model behind a network (`ChatModelVLM`) and a chat model as judge (`ChatClassifier`) share. A network
fails in ways that depend on what is said: filters stop harmful answers, long answers time out, streams are cut. A
client that drops, repeats or overtakes such answers counts another distribution than the one it asks about.
"""

from guardrail.chat_calls.calls import DEADLINE, Call, ChatCalls, Reply

__all__ = ["DEADLINE", "Call", "ChatCalls", "Reply"]
