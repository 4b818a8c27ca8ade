"""A LangChain chat model on any vision-language model of guardrail's."""

from __future__ import annotations

from typing import Any

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from pydantic import Field

from guardrail.certify.noise import NoiseStream
from guardrail.certify.resize import resize
from guardrail.errors import ImageError, ModelError
from guardrail.images.pictures import InputImage, load_images
from guardrail.models.base import Draw, VisionLanguageModel
from guardrail.prompts import Prompt
from langchain_guardrail.content import Reader

_LONGEST_SIDE = 1024
"""Pixels at which a model without a resolution of its own gets its pictures."""


class LocalChatModel(BaseChatModel):
    """Answers chats with a `VisionLanguageModel`, on clean pictures, for demonstrations and tests.

    It is a chain to guard, not a guard: it has no oracle and certifies nothing.

    Args:
        vlm: the model, such as `BundledVLM()`.
    """

    vlm: VisionLanguageModel = Field(repr=False, exclude=True)

    @property
    def _llm_type(self) -> str:
        return "guardrail-local"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {"vlm": self.vlm.name}

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,  # noqa: ARG002
        **kwargs: Any,  # noqa: ARG002
    ) -> ChatResult:
        reader = Reader()
        reader.messages(messages, whole=True)
        if reader.unchecked:
            raise ImageError(f"this model takes texts, and images in standard blocks: {'; '.join(reader.unchecked)}")
        pictures = load_images(reader.images)
        prompt = Prompt.of(reader.prompt, len(pictures))
        clean = tuple(resize(picture.pixels, self._size(picture)) for picture in pictures)
        self.vlm.check(prompt, [image.shape[:2] for image in clean])
        draw = Draw(clean, prompt, 0.0, NoiseStream.derive(bytes(32), prompt.digest.encode(), "estimation"), 0)
        (answer,) = self.vlm.answer([draw])
        if answer.failed is not None:
            raise ModelError(f"model {self.vlm.name} gave no answer: {answer.failed}")
        text = answer.text
        for word in stop or ():
            text = text.split(word, 1)[0]
        reason = "stop" if answer.complete else "length"
        message = AIMessage(text, response_metadata={"model_name": self.vlm.name, "finish_reason": reason})
        return ChatResult(generations=[ChatGeneration(message=message)])

    def _size(self, picture: InputImage) -> tuple[int, int]:
        if self.vlm.resolution is not None:
            return self.vlm.resolution
        scale = min(1.0, _LONGEST_SIDE / max(picture.height, picture.width))
        return max(1, round(picture.height * scale)), max(1, round(picture.width * scale))
