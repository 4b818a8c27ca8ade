"""Reading a chat model's message: its text, and why it ended."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from langchain_core.messages import AIMessage

_ENDED = {"stop", "end_turn", "stop_sequence", "eos", "eos_token", "tool_calls", "tool_use", "function_call"}
"""Finish reasons, in lower case, by which providers say that the model ended by itself."""
_CUT = {"length", "max_tokens", "max_output_tokens", "model_length"}
"""Finish reasons of an answer that reached the limit on tokens."""
_FINISH_KEYS = ("finish_reason", "stop_reason", "done_reason", "stopReason")


def withheld(message: AIMessage) -> str | None:
    """Return why a message is no answer of the model (`filtered`, `refusal`, …); None: it is one, perhaps cut."""
    ended = _finish(message)
    if ended not in _ENDED | _CUT:
        filtered = any(word in ended for word in ("filter", "safety", "guardrail", "prohibited", "blocklist"))
        return "filtered" if filtered else f"finish reason {ended[:40]}"
    blocks = message.content if isinstance(message.content, list) else ()
    refused = any(isinstance(block, Mapping) and block.get("type") == "refusal" for block in blocks)
    return "refusal" if refused or message.additional_kwargs.get("refusal") else None


def complete(message: AIMessage) -> bool:
    """Whether the model ended by itself rather than at the limit on tokens."""
    return _finish(message) in _ENDED


def said(message: AIMessage) -> str:
    """Return the text of a message with its tool calls, which an oracle judges too."""
    calls = [json.dumps({"tool": c["name"], "args": c["args"]}) for c in message.tool_calls]
    calls += [json.dumps({"tool": c["name"], "args": c["args"]}) for c in message.invalid_tool_calls]
    return "\n".join(filter(None, (str(message.text), *calls)))


def tokens(message: object) -> int:
    """Return how many tokens a message's model generated; 0 where it does not say."""
    usage = getattr(message, "usage_metadata", None)
    return int(usage["output_tokens"]) if usage else 0


def _finish(message: AIMessage) -> str:
    """Return the finish reason in lower case; `stop` for a provider that gives none."""
    metadata = message.response_metadata
    return str(next((metadata[key] for key in _FINISH_KEYS if key in metadata), "stop")).lower()
