"""Any image-text-to-text model of the transformers library, from a hub id or a local folder."""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from guardrail.errors import ModelError, PromptError, PromptTooLongError
from guardrail.models.base import Answer, Draw, Sizes, past
from guardrail.noise import gumbel
from guardrail.prompts import Prompt

if TYPE_CHECKING:
    import torch

logger = logging.getLogger(__name__)


class TransformersVLM:
    """A local model that answers draws in batches.

    The noisy pictures are made at the model's own resolution. Where the model takes one tile per image and its
    processor only rescales and normalises at that resolution (CLIP, SigLIP and their like; this is tried at start,
    not looked up in a list), noisy floats go to the model as tensors, unclipped. Other processors want pictures:
    the floats are clipped and rounded to 8 bits after the noise, which is slower and costs no soundness. The path
    taken is part of `name`.

    Args:
        source: hub id or folder, in Hugging Face format, with processor and chat template.
        revision: branch, tag or commit of a hub model; for a folder, a name that stands for its content and saves
            hashing the files.
        device: torch device; None: CUDA where there is one, else the CPU.
        dtype: torch dtype by name; None: `bfloat16` on CUDA, `float32` on the CPU.
        max_new_tokens: longest answer. A verdict needs an opening, not an essay, and covers no more than it.
        temperature: 0 for greedy decoding; above, sampled, each draw with its own seed.
        batch_size: draws per forward pass; halved, and kept halved, when memory runs out.
        resolution: height and width at which noise is added; None: the model's own.

    Raises:
        ModelError: no such model, not an image-text-to-text model, no chat template, unusable device.
    """

    def __init__(
        self,
        source: str | Path,
        *,
        revision: str | None = None,
        device: str | None = None,
        dtype: str | None = None,
        max_new_tokens: int = 32,
        temperature: float = 0.0,
        batch_size: int = 32,
        resolution: tuple[int, int] | None = None,
    ) -> None:
        if max_new_tokens < 1 or batch_size < 1 or not 0.0 <= temperature < float("inf"):
            raise ModelError(
                f"max_new_tokens and batch_size must be at least 1 and temperature at least 0, "
                f"got {max_new_tokens}, {batch_size}, {temperature}"
            )
        import torch

        device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        dtype = dtype or ("bfloat16" if device.startswith("cuda") else "float32")
        try:
            self._device = torch.device(device)
            self._dtype: torch.dtype = getattr(torch, dtype)
        except (RuntimeError, AttributeError) as error:
            raise ModelError(f"no such device or dtype: {device!r}, {dtype!r}; try 'cpu' and 'float32'") from error
        self._model, self._processor = _load(source, revision, self._device, self._dtype)
        self._tokenizer = self._processor.tokenizer
        self._tokenizer.padding_side = "left"
        self._max_new_tokens = max_new_tokens
        self._temperature = temperature
        self._batch_size = batch_size
        self._lock = threading.Lock()
        self._resolution = resolution or _own_resolution(self._processor.image_processor, self._model.config)
        self._normalise = _one_tile_normalisation(self._processor.image_processor, self._resolution)
        if self._normalise is None:
            logger.warning("%s: no tensor preprocessing for this model; noisy pictures are clipped to 8 bits", source)
        self._tokens = lru_cache(maxsize=256)(self._tokenise)
        decoding = f"sampled at T={temperature:g}" if temperature else "greedy"
        path = "tensor" if self._normalise is not None else "picture"
        self._name = (
            f"{Path(source).name}@{_revision(source, revision, self._model.config)}"
            f"/{dtype}/{decoding}/{max_new_tokens} tokens/{path} {self._resolution}"
        )

    def __repr__(self) -> str:
        return f"TransformersVLM({self._name!r})"

    @property
    def name(self) -> str:
        """Model, content hash or commit, dtype, decoding, length, preprocessing path and resolution."""
        return self._name

    @property
    def resolution(self) -> tuple[int, int] | None:
        """Height and width at which noise is added."""
        return self._resolution

    def check(self, prompt: Prompt, sizes: Sizes) -> None:
        """Raise before the first draw if the model cannot take this request.

        Raises:
            PromptError: the text holds the model's own image token, or its chat template refuses the conversation.
            PromptTooLongError: prompt, images and answer exceed the model's context.
        """
        image_token = getattr(self._processor, "image_token", None)
        if image_token and image_token in prompt.text:
            raise PromptError(f"the text contains {image_token!r}, which this model reads as an image: remove it")
        length = len(self._tokens(prompt, tuple(sizes))) + self._max_new_tokens
        text_config = self._model.config.get_text_config()
        longest = getattr(text_config, "max_position_embeddings", None)
        if longest is not None and length > longest:
            raise PromptTooLongError(
                f"prompt, images and answer take {length} tokens, the model's context holds {longest}: "
                "shorten the prompt"
            )

    def answer(self, draws: Sequence[Draw], deadline: float | None = None) -> list[Answer]:
        """Answer each draw, in batches; draws not begun at the deadline fail.

        Raises:
            ModelError: memory does not suffice for a single draw.
        """
        answers: list[Answer] = []
        with self._lock:
            while len(answers) < len(draws):
                if past(deadline):
                    return answers + [Answer.failure("deadline")] * (len(draws) - len(answers))
                batch = draws[len(answers) : len(answers) + self._batch_size]
                try:
                    answers += self._answer_batch(batch)
                except (MemoryError, RuntimeError) as error:
                    self._halve(len(batch), error)
        return answers

    def _halve(self, size: int, error: Exception) -> None:
        """Halve the batch size where `error` says that memory ran out; raise otherwise."""
        import torch

        exhausted = isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "can't allocate memory" in str(error)
        if not exhausted:
            raise error
        if size == 1:
            raise ModelError(f"not enough memory on {self._device} for a single draw; use a smaller model") from error
        self._batch_size = max(1, size // 2)
        logger.warning("out of memory at %d draws a batch: going on with %d", size, self._batch_size)
        if self._device.type == "cuda":
            torch.cuda.empty_cache()

    def _answer_batch(self, draws: Sequence[Draw]) -> list[Answer]:
        import torch
        from transformers import LogitsProcessorList

        inputs = self._inputs(draws)
        prompt_length = inputs["input_ids"].shape[1]
        sampling = LogitsProcessorList()
        if self._temperature:
            sampling.append(_SeededSampling([d.sampling_seed for d in draws], self._temperature, prompt_length))
        with torch.inference_mode():
            output = self._model.generate(
                **inputs,
                max_new_tokens=self._max_new_tokens,
                do_sample=False,
                logits_processor=sampling,
                pad_token_id=self._tokenizer.pad_token_id,
            )
        generated = output[:, prompt_length:].cpu()
        texts = self._tokenizer.batch_decode(generated, skip_special_tokens=True)
        ended = torch.isin(generated, torch.tensor(self._end_tokens())).int()
        lengths = [int(row.argmax()) if row.any() else len(row) for row in ended]
        return [
            Answer(text.strip(), complete=bool(row.any()), tokens=length)
            for text, row, length in zip(texts, ended, lengths, strict=True)
        ]

    def _inputs(self, draws: Sequence[Draw]) -> dict[str, torch.Tensor]:
        """Return the tensors of a batch: prompts padded on the left, one row of pixels per image."""
        import torch

        if self._normalise is None:
            pictures = [[_picture(image) for image in draw.images()] for draw in draws]
            texts = [self._chat(draw.prompt) for draw in draws]
            batch = self._processor(images=pictures, text=texts, padding=True, return_tensors="pt")
            return {
                k: v.to(self._device, self._dtype) if v.is_floating_point() else v.to(self._device)
                for k, v in batch.items()
            }
        rows = [self._tokens(draw.prompt, tuple(draw.sizes)) for draw in draws]
        longest = max(map(len, rows))
        ids = torch.full((len(rows), longest), self._tokenizer.pad_token_id)
        mask = torch.zeros_like(ids)
        for i, row in enumerate(rows):
            ids[i, longest - len(row) :] = torch.tensor(row)
            mask[i, longest - len(row) :] = 1
        inputs = {"input_ids": ids.to(self._device), "attention_mask": mask.to(self._device)}
        noisy = [image for draw in draws for image in draw.images()]
        if noisy:
            pixels = torch.from_numpy(np.stack(noisy)).to(self._device).permute(0, 3, 1, 2)
            mean, std = (torch.tensor(v, device=self._device).view(1, 3, 1, 1) for v in self._normalise)
            inputs["pixel_values"] = ((pixels - mean) / std).to(self._dtype)
        return inputs

    def _tokenise(self, prompt: Prompt, sizes: tuple[tuple[int, int], ...]) -> list[int]:
        """Return the token ids of a prompt, each image's place filled with as many tokens as it takes."""
        blanks = [_picture(np.zeros((height, width, 3), np.float32)) for height, width in sizes]
        batch = self._processor(images=[blanks] if blanks else None, text=[self._chat(prompt)])
        return cast("list[int]", list(batch["input_ids"][0]))

    def _chat(self, prompt: Prompt) -> str:
        messages = [
            {
                "role": turn.role,
                "content": [
                    {"type": "text", "text": part} if isinstance(part, str) else {"type": "image"}
                    for part in turn.parts
                ],
            }
            for turn in prompt.turns
        ]
        try:
            chat = self._processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
        except Exception as error:  # the template is the model's own program
            raise PromptError(f"the model's chat template refuses this conversation: {error}") from error
        return cast("str", chat)

    def _end_tokens(self) -> list[int]:
        ends = self._model.generation_config.eos_token_id
        return [ends] if isinstance(ends, int) else list(ends or [])


class _SeededSampling:
    """Adds Gumbel noise of each row's own seed, so that greedy choice samples: `generate` knows no seed per row."""

    def __init__(self, seeds: Sequence[int], temperature: float, prompt_length: int) -> None:
        self._seeds = seeds
        self._temperature = temperature
        self._prompt_length = prompt_length

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        import torch

        step = input_ids.shape[1] - self._prompt_length
        noise = np.stack([gumbel(seed, step, scores.shape[1]) for seed in self._seeds])
        return scores / self._temperature + torch.from_numpy(noise).to(scores.device, scores.dtype)


def _load(source: str | Path, revision: str | None, device: torch.device, dtype: torch.dtype) -> tuple[Any, Any]:
    from transformers import AutoModelForImageTextToText, AutoProcessor

    local = Path(source).is_dir()
    if isinstance(source, Path) and not local:
        raise ModelError(f"no folder {source}: give the folder of a model in Hugging Face format, or a hub id")
    options = {} if local else {"revision": revision}
    try:
        processor: Any = AutoProcessor.from_pretrained(source, **options)  # type: ignore[no-untyped-call]
        model: Any = AutoModelForImageTextToText.from_pretrained(source, dtype=dtype, **options)
        model.to(device).eval()
    except Exception as error:  # the library raises many kinds; each means the same to the user
        raise ModelError(f"cannot load {source!s} as an image-text-to-text model: {error}") from error
    if getattr(processor, "image_processor", None) is None or getattr(processor, "tokenizer", None) is None:
        raise ModelError(f"{source!s} has no processor for images and text: is it a vision-language model?")
    if not getattr(processor, "chat_template", None):
        raise ModelError(f"{source!s} has no chat template: add chat_template.jinja to its folder")
    if processor.tokenizer.pad_token_id is None:
        processor.tokenizer.pad_token = processor.tokenizer.eos_token
    return model, processor


def _revision(source: str | Path, revision: str | None, config: Any) -> str:  # noqa: ANN401
    """Return what pins the weights: the given revision of a folder, its content's hash, or the hub's commit."""
    folder = Path(source)
    if not folder.is_dir():
        return str(getattr(config, "_commit_hash", None) or revision)
    if revision is not None:
        return revision
    total = hashlib.sha256()
    for file in sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")):
        with file.open("rb") as content:
            total.update(str(file.relative_to(folder)).encode() + b"\x00")
            total.update(hashlib.file_digest(content, "sha256").digest())
    return total.hexdigest()[:16]


def _own_resolution(image_processor: Any, config: Any) -> tuple[int, int]:  # noqa: ANN401
    """Return height and width of one tile of the model."""

    def candidates() -> Iterator[Any]:
        if getattr(image_processor, "do_center_crop", False):
            yield getattr(image_processor, "crop_size", None)
        yield getattr(image_processor, "size", None)
        yield getattr(getattr(config, "vision_config", None), "image_size", None)

    for size in candidates():
        match size:
            case {"height": int(height), "width": int(width)}:
                return height, width
            case int(side):
                return side, side
            case (int(height), int(width)):
                return height, width
    raise ModelError("the model does not tell its resolution: pass resolution=(height, width)")


def _one_tile_normalisation(
    image_processor: Any,  # noqa: ANN401
    resolution: tuple[int, int],
) -> tuple[list[float], list[float]] | None:
    """Return mean and standard deviation if they are all that the processor does at this resolution, else None.

    Tried on a picture of random bytes: one tile per image, nothing but pixels, equal to `(v − mean)/std`.
    """
    sample = np.random.Generator(np.random.PCG64(0)).integers(0, 256, (*resolution, 3), dtype=np.uint8)
    normalise = getattr(image_processor, "do_normalize", False)
    mean = list(image_processor.image_mean) if normalise else [0.0] * 3
    std = list(image_processor.image_std) if normalise else [1.0] * 3
    try:
        batch = dict(image_processor(images=[_picture((sample / 255.0).astype(np.float32))], return_tensors="np"))
    except Exception as error:
        raise ModelError(f"the model's image processor failed on a plain picture: {error}") from error
    expected = ((sample / 255.0 - mean) / std).transpose(2, 0, 1)[None]
    pixels = np.asarray(batch.get("pixel_values", ()))
    same = set(batch) == {"pixel_values"} and pixels.shape == expected.shape
    return (mean, std) if same and np.allclose(pixels, expected, atol=1e-4) else None


def _picture(noisy: NDArray[np.float32]) -> Any:  # noqa: ANN401
    """Return an 8-bit picture of noisy floats, for processors that take nothing else. Clipping is part of the model."""
    from PIL import Image

    return Image.fromarray((np.clip(noisy, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8), "RGB")
