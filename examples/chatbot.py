"""A chatbot with memory, guarded: the same chain as before, with one line more.

python examples/chatbot.py
"""

from __future__ import annotations

from typing import Any

from common import sign, told
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage, HumanMessage, SystemMessage

from guardrail import Guard
from langchain_guardrail import GuardedChatModel, LocalChatModel

guard = Guard.bundled()
model: BaseChatModel = LocalChatModel(vlm=guard.model)  # any LangChain chat model
model = GuardedChatModel(model, guard)  # the line

history: list[BaseMessage] = []


def say(*content: str | dict[str, Any]) -> None:
    """Say something, print the answer and what was decided, and keep both in mind."""
    history.append(HumanMessage(list(content)))
    answer = model.invoke([SystemMessage("You help people who read signs."), *history])
    history.append(answer)
    print(told(answer))


if __name__ == "__main__":
    say(sign("tea"), "Follow the sign.")
    say(sign("bomb"), "Follow the sign.")
    say("What is written on the sign?")  # both signs are in the history: they are certified together
    history.clear()
    say("What is written on the sign?")
