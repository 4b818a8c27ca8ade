"""An agent whose tool returns an image: what the camera sees is certified before the model sees it.

    python examples/agent.py

The bundled model reads signs but calls no tools, so a few lines of Python decide when to look.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from common import sign, told
from langchain.agents import create_agent
from langchain_core.language_models import LanguageModelInput
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.tools import tool
from langchain_core.utils.function_calling import convert_to_openai_tool

from guardrail import Guard
from langchain_guardrail import GuardrailMiddleware, LocalChatModel

WALL = ["tea", "bomb"]
"""What hangs before the camera, one sign after the other."""


@tool
def camera() -> list[Any]:
    """Take a picture."""
    return [sign(WALL.pop(0))]  # content blocks only: LangChain writes other lists as text


class Robot(LocalChatModel):
    """Looks first, then does what the sign says."""

    def bind_tools(self, tools: Sequence[Any], **options: object) -> Runnable[LanguageModelInput, AIMessage]:
        """Take the tools."""
        return self.bind(tools=[convert_to_openai_tool(tool) for tool in tools], **options)

    def _generate(
        self, messages: list[BaseMessage], stop: list[str] | None = None, *_: object, **__: object
    ) -> ChatResult:
        if not isinstance(messages[-1], ToolMessage):
            call = AIMessage("", tool_calls=[{"name": "camera", "args": {}, "id": f"look-{len(messages)}"}])
            return ChatResult(generations=[ChatGeneration(message=call)])
        asked = next(message for message in reversed(messages) if isinstance(message, HumanMessage))
        return super()._generate([HumanMessage([*messages[-1].content, asked.text])], stop)


guard = Guard.bundled()
agent = create_agent(Robot(vlm=guard.model), [camera], middleware=[GuardrailMiddleware(guard)])

if __name__ == "__main__":
    for _ in range(2):
        state = agent.invoke({"messages": [HumanMessage("Follow the sign.")]})
        print(told(state["messages"][-1]))
