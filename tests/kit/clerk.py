"""A chat model without a network that does all that LangChain's standard tests ask of one, by simple rules."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, ClassVar

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.output_parsers import JsonOutputParser, PydanticOutputParser
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import BaseModel, Field


class Clerk(BaseChatModel):
    """Greets, counts tokens, and fills in the first tool it may use from the words of the last message."""

    model_name: str = Field(default="clerk-1", alias="model")
    temperature: float | None = None
    max_tokens: int | None = None
    timeout: float | None = None
    stop: list[str] | None = None
    max_retries: int = 0

    model_config: ClassVar[Any] = {"populate_by_name": True}

    @property
    def _llm_type(self) -> str:
        return "clerk"

    def bind_tools(self, tools: Any, *, tool_choice: str | None = None, **kwargs: Any) -> Any:
        chosen = {} if tool_choice is None else {"tool_choice": tool_choice}
        return self.bind(tools=[convert_to_openai_tool(tool) for tool in tools], **chosen, **kwargs)

    def with_structured_output(
        self, schema: Any, *, include_raw: bool = False, method: str = "function_calling", **kwargs: Any
    ) -> Any:
        if method != "json_mode":
            return super().with_structured_output(schema, include_raw=include_raw, **kwargs)
        is_class = isinstance(schema, type) and issubclass(schema, BaseModel)
        parser: Any = PydanticOutputParser(pydantic_object=schema) if is_class else JsonOutputParser()
        tool = convert_to_openai_tool(schema)
        return self.bind(response_format={"type": "json_object", "schema": tool}) | parser

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=self._answer(messages, stop, kwargs))])

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        answer = self._answer(messages, stop, kwargs)
        words = re.findall(r"\S+\s*", answer.text) if answer.text else []
        for word in words:
            yield ChatGenerationChunk(message=AIMessageChunk(word))
        calls = [
            tool_call_chunk(name=call["name"], args=json.dumps(call["args"]), id=call["id"], index=i)
            for i, call in enumerate(answer.tool_calls)
        ]
        yield ChatGenerationChunk(
            message=AIMessageChunk(
                "",
                tool_call_chunks=calls,
                usage_metadata=answer.usage_metadata,
                response_metadata=answer.response_metadata,
                chunk_position="last",
            )
        )

    def _answer(self, messages: list[BaseMessage], stop: list[str] | None, options: dict[str, Any]) -> AIMessage:
        asked = str(messages[-1].text)
        text, calls = "Hello there, how are you today?", []
        if "response_format" in options:
            text = json.dumps(_arguments(options["response_format"]["schema"], asked))
        elif tools := options.get("tools"):
            chosen = options.get("tool_choice")
            named = [tool for tool in tools if tool["function"]["name"] == chosen]
            if chosen is not None or messages[-1].type == "human":
                tool = (named or tools)[0]
                name = tool["function"]["name"]
                text, calls = "", [{"name": name, "args": _arguments(tool, asked), "id": f"call-{name}"}]
        for word in stop or self.stop or ():
            text = text.split(word, 1)[0]
        spent = len(text.split()) + 1
        usage = {"input_tokens": len(asked.split()), "output_tokens": spent}
        return AIMessage(
            text,
            tool_calls=calls,
            usage_metadata={**usage, "total_tokens": sum(usage.values())},  # type: ignore[typeddict-item]
            response_metadata={"model_name": options.get("model", self.model_name)},
        )


def _arguments(tool: dict[str, Any], asked: str) -> dict[str, Any]:
    parameters = tool["function"].get("parameters", {})
    numbers = iter([int(number) for number in re.findall(r"\d+", asked)])
    quoted = re.findall(r"'([^']+)'", asked) or [asked]
    return {
        name: next(numbers, 1) if schema.get("type") == "integer" else quoted[0]
        for name, schema in parameters.get("properties", {}).items()
    }
