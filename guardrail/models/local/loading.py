"""Loads models of the transformers library, and says clearly why one cannot be loaded."""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guardrail.errors import ModelError
from guardrail.models.local import hub
from guardrail.models.local.chat_template import settled
from guardrail.models.local.generation_settings import keep_choice

if TYPE_CHECKING:
    import torch

logger = logging.getLogger(__name__)

_EXHAUSTED = ("out of memory", "can't allocate memory")


def load(source: str | Path, revision: str | None, device: torch.device, dtype: torch.dtype) -> tuple[Any, Any]:
    """Return an image-text-to-text model and its processor, ready to answer.

    Args:
        source: folder, or hub id.
        revision: branch, tag or commit of a hub model.
        device: where the model runs.
        dtype: of its weights.

    Raises:
        ModelError: no such model, a text-only model, missing weights, no processor or chat template, a processor
            that needs torchvision, not enough memory.
    """
    torchvision_works()  # before transformers looks for torchvision
    from transformers import AutoModelForImageTextToText
    from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING

    options = hub.options(source, revision)
    kind, config = "an image-text-to-text model", _config(source, options)
    if type(config) not in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING:
        raise ModelError(
            f"cannot load {source!s} as {kind}: its kind is {config.model_type!r}, which takes no images with text; "
            "choose a vision-language model"
        )
    if config.is_encoder_decoder:
        raise ModelError(
            f"cannot load {source!s}: its kind is {config.model_type!r}, which writes its answer apart from the prompt "
            "(an encoder and a decoder): choose one that continues the prompt"
        )
    processor = _processor(source, options)
    return _model(AutoModelForImageTextToText, source, options, device, dtype, kind=kind), processor


def load_text_model(
    source: str | Path,
    revision: str | None,
    device: torch.device,
    dtype: torch.dtype,
    chat_template: str | None = None,
) -> tuple[Any, Any]:
    """Return a causal language model and its tokenizer, ready to answer.

    Args:
        source: folder, or hub id.
        revision: branch, tag or commit of a hub model.
        device: where the model runs.
        dtype: of its weights.
        chat_template: replaces the tokenizer's.

    Raises:
        ModelError: no such model, one of another kind, missing weights, no tokenizer or chat template, not enough
            memory.
    """
    torchvision_works()  # before transformers looks for torchvision
    from transformers import AutoModelForCausalLM
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING

    options = hub.options(source, revision)
    kind, config = "a causal language model", _config(source, options)
    if type(config) not in MODEL_FOR_CAUSAL_LM_MAPPING:
        raise ModelError(
            f"cannot load {source!s} as {kind}: its kind is {config.model_type!r}, which writes no text; choose a "
            "safety model that answers in words"
        )
    tokenizer = _tokenizer(source, options, chat_template)
    return _model(AutoModelForCausalLM, source, options, device, dtype, kind=kind), tokenizer


def device_and_dtype(device: str | None, dtype: str | None) -> tuple[torch.device, torch.dtype]:
    """Return torch device and dtype by name; None: CUDA where there is one, else the CPU; `bfloat16` or `float32`.

    Raises:
        ModelError: no such device or dtype.
    """
    import torch

    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    dtype = dtype or ("bfloat16" if device.startswith("cuda") else "float32")
    try:
        return torch.device(device), getattr(torch, dtype)
    except (RuntimeError, AttributeError) as error:
        raise ModelError(f"no such device or dtype: {device!r}, {dtype!r}; try 'cpu' and 'float32'") from error


def torchvision_works() -> bool:
    """Whether torchvision imports.

    Transformers checks only that it is installed. A torchvision that does not import (built for another torch) would
    break every image processor, so it is hidden from transformers until this process ends.
    """
    try:
        import torchvision  # noqa: F401
    except Exception as error:  # noqa: BLE001  # RuntimeError and OSError where it does not fit torch
        if sys.modules.get("torchvision", error) is not None and importlib.util.find_spec("torchvision") is not None:
            logger.warning("torchvision is installed but does not import, and is not used: %s", error)
            sys.modules["torchvision"] = None  # type: ignore[assignment]
            _let_transformers_ask_again()
        return False
    return True


def _let_transformers_ask_again() -> None:
    """Clear what transformers, if it is imported already, remembers about torchvision."""
    if "transformers" in sys.modules:
        from transformers.utils import import_utils

        for cached in (import_utils.is_torchvision_available, import_utils.is_torchvision_v2_available):
            cached.cache_clear()


def out_of_memory(error: Exception) -> bool:
    """Whether `error` says that a device's memory is exhausted."""
    import torch

    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _EXHAUSTED)


def why_unloadable(error: Exception) -> str:
    """Say in one line why transformers could not load something, and what to do where it would run its code."""
    if "trust_remote_code" in str(error):
        return (
            "it needs program code that comes with the checkpoint, which is never run here: choose a checkpoint of an "
            "architecture that transformers knows (often called '-hf'), or serve this one elsewhere, by vLLM for "
            "instance, and ask it as a chat model"
        )
    return " ".join(str(error).split())


def pinned_revision(source: str | Path, revision: str | None) -> str:
    """Return a name of the loaded weights: for a folder the given revision or a content hash, else the hub's commit.

    Raises:
        ModelError: the commit is unknown, and no revision was given.
    """
    folder = Path(source)
    if not folder.is_dir():
        return hub.commit(str(source), revision)
    if revision is not None:
        return revision
    total = hashlib.sha256()
    for file in sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")):
        with file.open("rb") as content:
            total.update(str(file.relative_to(folder)).encode() + b"\x00")
            total.update(hashlib.file_digest(content, "sha256").digest())
    return total.hexdigest()[:16]


def _config(source: str | Path, options: dict[str, Any]) -> Any:  # noqa: ANN401
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(source, **options)
    except Exception as error:  # the library raises many kinds; each means the same to the user
        raise _unloadable(error, f"{source!s}, which must be a model in Hugging Face format") from error


def _processor(source: str | Path, options: dict[str, Any]) -> Any:  # noqa: ANN401
    from transformers import AutoProcessor

    try:
        processor: Any = AutoProcessor.from_pretrained(source, **options)  # type: ignore[no-untyped-call]
    except Exception as error:
        if "torchvision" in str(error).lower() and not torchvision_works():
            raise ModelError(
                f"the processor of {source!s} needs torchvision, which is not installed or does not fit torch: "
                "install the torchvision that belongs to your torch"
            ) from error
        raise _unloadable(error, f"the processor of {source!s}") from error
    if getattr(processor, "image_processor", None) is None or getattr(processor, "tokenizer", None) is None:
        raise ModelError(f"{source!s} has no processor for images and text: is it a vision-language model?")
    settled(processor, source)
    _pad_on_the_left(processor.tokenizer, source)
    return processor


def _tokenizer(source: str | Path, options: dict[str, Any], chat_template: str | None) -> Any:  # noqa: ANN401
    from transformers import AutoTokenizer

    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(source, **options)
    except Exception as error:
        raise _unloadable(error, f"the tokenizer of {source!s}") from error
    if chat_template is not None:
        tokenizer.chat_template = chat_template
    settled(tokenizer, source)
    _pad_on_the_left(tokenizer, source)
    return tokenizer


def _unloadable(error: Exception, what: str) -> ModelError:
    return ModelError(f"cannot load {what}: {why_unloadable(error)}")


def _pad_on_the_left(tokenizer: Any, source: str | Path) -> None:  # noqa: ANN401
    tokenizer.padding_side = "left"
    if tokenizer.pad_token_id is None:
        if tokenizer.eos_token_id is None:
            raise ModelError(
                f"the tokenizer of {source!s} has neither a padding nor an end token: name one as pad_token in "
                "tokenizer_config.json"
            )
        tokenizer.pad_token = tokenizer.eos_token


def _model(
    auto: Any,  # noqa: ANN401
    source: str | Path,
    options: dict[str, Any],
    device: torch.device,
    dtype: torch.dtype,
    *,
    kind: str,
) -> Any:  # noqa: ANN401
    try:
        model, report = auto.from_pretrained(source, dtype=dtype, output_loading_info=True, **options)
    except Exception as error:
        if out_of_memory(error):
            raise ModelError(f"not enough memory to load {source!s}: use a smaller model or dtype") from error
        raise _unloadable(error, f"{source!s} as {kind}") from error
    if missing := sorted(report["missing_keys"]):
        raise ModelError(
            f"{source!s} lacks {len(missing)} of its weights, {missing[0]} among them, which would be random: "
            "download it again"
        )
    try:
        model.to(device).eval()
    except Exception as error:
        if out_of_memory(error):
            need = sum(p.numel() * p.element_size() for p in model.parameters()) / 2**30
            raise ModelError(
                f"not enough memory on {device} for {source!s}, whose weights take {need:.1f} GiB: "
                "use a smaller model or dtype, or another device"
            ) from error
        raise ModelError(f"cannot use device {device}: {error}") from error
    keep_choice(model, source)
    return model
