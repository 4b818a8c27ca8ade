"""One draw when a model is loaded: what cannot work is refused then, and not at each request."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import numpy as np

from guardrail.certify.noise import NoiseStream
from guardrail.errors import ModelError, PromptError
from guardrail.models.base import Draw, VisionLanguageModel
from guardrail.models.local.encoding import PromptEncoder
from guardrail.prompts import Prompt

_QUESTION = Prompt.of("?", 1)
_STREAM = NoiseStream.derive(b"a trial, whose answer nobody sees", b"trial", "estimation")
_TOGETHER = "take config.json, processor_config.json and the tokenizer's files from one revision of the checkpoint"


def try_out(vlm: VisionLanguageModel, source: str | Path, model: Any, processor: Any, prompts: PromptEncoder) -> None:  # noqa: ANN401
    """Ask a model about a grey picture under noise.

    Args:
        vlm: what is to answer, with a resolution.
        source: its name, for errors.
        model: the model of transformers in it.
        processor: its processor.
        prompts: writes its prompts.

    Raises:
        ModelError: processor and model disagree about tokens; the model cannot take one picture with a short text, or
            fails on it, or gives numbers that are not finite.
    """
    size = vlm.resolution or (1, 1)
    try:
        _require_agreement(source, model, prompts.row(_QUESTION, (size,))["input_ids"].tolist())
        vlm.check(_QUESTION, [size])
    except PromptError as error:
        unsaid = [name for name in _options_of(processor) if getattr(processor, name, 0) is None]
        remedy = f"say {' and '.join(unsaid)} in processor_config.json" if unsaid else _TOGETHER
        raise ModelError(f"{source!s} cannot be asked about one picture: {error}; {remedy}") from error
    try:
        [answer] = vlm.answer([Draw((np.full((*size, 3), 0.5),), _QUESTION, 0.5, _STREAM, 0)])
    except ModelError:
        raise
    except Exception as error:
        said = f"{type(error).__name__}: {error}"
        raise ModelError(f"{source!s} fails on a grey picture ({said:.500}); {_TOGETHER}") from error
    if answer.failed is not None:
        raise ModelError(
            f"{source!s} answers a grey picture by numbers that are not finite, in {model.dtype}: choose float32"
        )


def _require_agreement(source: str | Path, model: Any, written: list[int]) -> None:  # noqa: ANN401
    """Raise where processor and model do not mean the same tokens."""
    names = ("image_token_id", "image_token_index")
    images = {getattr(model.config, name) for name in names if getattr(model.config, name, None) is not None}
    if images and images.isdisjoint(written):
        raise ModelError(
            f"the model of {source!s} finds pictures by token {min(images)}, which its processor does not write: "
            f"correct image_token_index (or image_token_id) in config.json, or {_TOGETHER}"
        )
    known = model.get_input_embeddings().weight.shape[0]
    if (highest := max({*written} - images, default=0)) >= known:
        raise ModelError(
            f"the processor of {source!s} writes token {highest}, and its model knows {known} tokens: {_TOGETHER}"
        )


def _options_of(processor: Any) -> list[str]:  # noqa: ANN401
    """Return the names of what a processor must be told, its parts and its template apart."""
    names = inspect.signature(type(processor).__init__).parameters
    return [name for name in names if name not in {"tokenizer", "chat_template"} and not name.endswith("_processor")]
