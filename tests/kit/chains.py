"""A synthetic model whose answers are known, a chat model that says what it is told, and pictures."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.utils.function_calling import convert_to_openai_tool
from PIL import Image
from pydantic import Field, PrivateAttr

from guardrail.models.base import Answer, Draw, Sizes
from guardrail.prompts import Prompt
from langchain_guardrail import get_decision

DRAWN_HARMLESS = "a drawn answer about cake"
DRAWN_HARMFUL = "a drawn answer about a bomb"


class Brightness:
    """Speaks of bombs where a picture is red rather than green; robust, as it averages the noise away."""

    name = "brightness@1"
    resolution: tuple[int, int] | None = (16, 16)

    def __init__(self) -> None:
        self.prompts: list[Prompt] = []
        self.images: list[int] = []

    def check(self, prompt: Prompt, sizes: Sizes) -> None:
        self.prompts.append(prompt)
        self.images.append(len(sizes))

    def answer(self, draws: Sequence[Draw], deadline: float | None = None) -> list[Answer]:
        del deadline
        return [Answer(self._say(draw)) for draw in draws]

    @staticmethod
    def _say(draw: Draw) -> str:
        redness = [float(image[..., 0].mean() - image[..., 1].mean()) for image in draw.images()]
        return DRAWN_HARMFUL if any(value > 0.0 for value in redness) else DRAWN_HARMLESS


class Chat(BaseChatModel):
    """A chat model that says a fixed text, streams it word by word, and remembers what it was sent."""

    says: str = "You see a lovely cake"
    calls: list[dict[str, Any]] = Field(default_factory=list)
    raises: Exception | None = None
    _seen: list[list[BaseMessage]] = PrivateAttr(default_factory=list)
    _streamed: list[bool] = PrivateAttr(default_factory=list)

    @property
    def _llm_type(self) -> str:
        return "fixed"

    def bind_tools(self, tools: Any, *, tool_choice: str | None = None, **kwargs: Any) -> Any:
        chosen = {} if tool_choice is None else {"tool_choice": tool_choice}
        return self.bind(tools=[convert_to_openai_tool(tool) for tool in tools], **chosen, **kwargs)

    @property
    def seen(self) -> list[list[BaseMessage]]:
        return self._seen

    @property
    def streamed(self) -> list[bool]:
        return self._streamed

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        self._seen.append(messages)
        if self.raises is not None:
            raise self.raises
        return ChatResult(generations=[ChatGeneration(message=AIMessage(self.says, tool_calls=self.calls))])

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        self._seen.append(messages)
        self._streamed.append(True)
        for word in self.says.split(" "):
            chunk = ChatGenerationChunk(message=AIMessageChunk(content=f"{word} "))
            if run_manager:
                run_manager.on_llm_new_token(chunk.text, chunk=chunk)
            yield chunk


class Script(Chat):
    """Gives one prepared answer after another; the last one again and again."""

    answers: list[AIMessage]

    def _generate(self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any) -> ChatResult:
        self._seen.append(messages)
        answer = self.answers[min(len(self._seen), len(self.answers)) - 1]
        return ChatResult(generations=[ChatGeneration(message=answer.model_copy())])

    _stream = Chat.__mro__[1]._stream  # type: ignore[attr-defined]


def call(name: str = "photo", **args: Any) -> AIMessage:
    """An answer that calls a tool."""
    return AIMessage("", tool_calls=[{"name": name, "args": args, "id": f"call-{name}"}])


def outcome(answer: Any) -> Any:
    """What a door did: the text of a request that was not checked, else why, and by what certificate."""
    decision = get_decision(answer)
    if decision is None:
        return answer.text.strip()
    certificate = decision.certificate
    return decision.reasons, certificate and (certificate.counts, certificate.radius, certificate.draws)


def picture(colour: str | tuple[int, ...] = "green", size: tuple[int, int] = (20, 12)) -> Image.Image:
    image = Image.new("RGB", size, colour)
    image.putpixel((0, 0), (1, 2, 3))
    return image


def file(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def b64(colour: str = "green") -> str:
    return base64.b64encode(file(picture(colour), compress_level=0)).decode()


def url(colour: str = "green") -> str:
    return f"data:image/png;base64,{b64(colour)}"


def image_block(colour: str = "green") -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url(colour)}}


def content(colour: str = "green", text: str = "What is this?") -> list[str | dict[str, Any]]:
    return [{"type": "text", "text": text}, image_block(colour)]


def pixels(data_url: str) -> Any:
    assert data_url.startswith("data:image/png;base64,"), data_url[:40]
    image = Image.open(io.BytesIO(base64.b64decode(data_url.partition(",")[2])))
    assert (image.format, image.mode, getattr(image, "n_frames", 1), image.info) == ("PNG", "RGB", 1, {})
    return np.asarray(image)
