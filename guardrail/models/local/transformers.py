"""Any image-text-to-text model of the transformers library, from a hub id or a local folder."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from guardrail.errors import DEADLINE, ModelError, PromptError, PromptTooLongError, TooManyImagesError
from guardrail.models.base import Answer, Draw, ModelFacts, Sizes
from guardrail.models.local.drawing import noisy_images
from guardrail.models.local.encoding import PromptEncoder, Row
from guardrail.models.local.loading import device_and_dtype, load, pinned_revision
from guardrail.models.local.overview import overview_path
from guardrail.models.local.preprocessing import (
    ProcessorPictures,
    one_tile_options,
    own_resolution,
    pixel_path,
    rough_picture,
)
from guardrail.models.local.scoring import LabelScorer
from guardrail.models.local.trial import try_out
from guardrail.prompts import Prompt

if TYPE_CHECKING:
    import torch

_EXACT = {"float32", "float64"}
"""Where rounding by the shape of a batch was never seen to move an answer."""
_MOST_ON_CPU, _MOST_ON_CUDA = 32, 256


class TransformersVLM:
    """A local model that answers draws in batches.

    Noise is added at the size of one tile of the model. With a torchvision that imports, the model's image processor
    takes the noisy floats on the device. Without it, models whose processor only rescales and normalises (CLIP, SigLIP
    and similar) still get floats; others get 8-bit pictures, clipped and rounded after the noise, which is slower and
    costs no soundness. See `preprocessing`; the path is part of `name`.

    With `labels` the model generates no text: one forward pass finds the most probable label, and that label is the
    answer. `LabelOracle` turns it into a class.

    Args:
        source: hub id or folder, in Hugging Face format, with processor and chat template.
        revision: branch, tag or commit of a hub model; for a folder, a name that stands for its content and saves
            hashing the files.
        device: torch device; None: CUDA where there is one, else the CPU.
        dtype: torch dtype by name; None: `bfloat16` on CUDA, `float32` on the CPU.
        max_new_tokens: longest answer, in tokens. A verdict needs the opening of an answer only, and speaks of no more.
        temperature: 0 for greedy decoding; above, sampled, with a seed per draw.
        batch_size: most draws per forward pass; None: 256 on CUDA, 32 on the CPU. On CUDA no more than fit the free
            memory; halved, and kept halved, when memory runs out all the same.
        resolution: height and width at which noise is added; None: one tile of the model.
        tiling: let the processor cut a picture into tiles as it would by default; else it makes one.
        max_images: images that a request may carry; None: as many as fit the context.
        labels: texts among which the model's answer is scored, such as `("safe", "unsafe")`; None: it generates.
        opening: text with which each answer begins and which the model continues, such as Llama Guard's two new lines.

    It answers one draw when it is made, so that a checkpoint which cannot work is refused there.

    Raises:
        ModelError: no such model, not an image-text-to-text model, weights missing, no chat template, unusable
            device or too little memory on it, labels that cannot be told apart, processor and weights that do not
            belong together, an answer that does not fit the context.
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
        batch_size: int | None = None,
        resolution: tuple[int, int] | None = None,
        tiling: bool = False,
        max_images: int | None = None,
        labels: Sequence[str] | None = None,
        opening: str = "",
    ) -> None:
        if max_new_tokens < 1 or (batch_size is not None and batch_size < 1) or not 0.0 <= temperature < float("inf"):
            raise ModelError(
                f"max_new_tokens and batch_size must be at least 1 and temperature at least 0, "
                f"got {max_new_tokens}, {batch_size}, {temperature}"
            )
        if max_images is not None and max_images < 1:
            raise ModelError(f"max_images must be at least 1, got {max_images}")
        from guardrail.models.local.batch_size import BatchSize

        self._device, self._dtype = device_and_dtype(device, dtype)
        self._model, self._processor = load(source, revision, self._device, self._dtype)
        self._tokenizer = self._processor.tokenizer
        self._max_new_tokens = 1 if labels is not None else max_new_tokens
        self._temperature = temperature
        self._batch_size = BatchSize(batch_size or (_MOST_ON_CUDA if self._device.type == "cuda" else _MOST_ON_CPU))
        self._max_images = max_images
        self._lock = threading.Lock()
        images = self._processor.image_processor
        self._resolution = resolution or own_resolution(images, self._model.config)
        options = {} if tiling else one_tile_options(images, self._resolution)
        overview = None if tiling else overview_path(self._model, images, self._resolution, self._device)
        if overview is None and "image_grid_pinpoints" in options:  # the model counts tiles by its configuration
            self._model.config.image_grid_pinpoints = options["image_grid_pinpoints"]
        accepted = inspect.signature(self._model.forward).parameters
        self._pixels = overview or pixel_path(images, options, accepted, self._resolution, self._device)
        from_pixels = self._pixels([[rough_picture(self._resolution)]])
        self._prompts = PromptEncoder(
            self._processor,
            self._model.config,
            options,
            size=self._resolution,
            accepted=sorted(set(accepted) - from_pixels.keys() - {"labels"}),
            opening=opening,
            image_tokens=overview.image_tokens if overview else None,
        )
        self._scorer: LabelScorer | None = None
        if labels is not None:
            self._scorer = LabelScorer(self._tokenizer, labels, self._prompts.chat(Prompt.of("?", 1)))
        decoding = f"sampled at T={temperature:g}" if temperature else "greedy"
        answer = f"scores of {list(labels)}" if labels is not None else f"{decoding}/{max_new_tokens} tokens"
        answer += f" after {opening!r}" if opening else ""
        self._name = (
            f"{Path(source).name}@{pinned_revision(source, revision)}"
            f"/{self._dtype_name}"
            f"/{answer}/{self._pixels.name}{' in tiles' if tiling else ''} {self._resolution}"
        )
        try_out(self, source, self._model, self._processor, self._prompts)

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

    @property
    def batch_size(self) -> int:
        """Most draws per forward pass; draws of several requests may share one."""
        return self._batch_size.most

    @property
    def labels(self) -> tuple[str, ...] | None:
        """The labels that are this model's only answers; None: it generates text."""
        return self._scorer.labels if self._scorer else None

    @property
    def batch_dependent(self) -> bool:
        """Whether its numbers are so coarse that their rounding, which goes by a batch's shape, can move an answer."""
        return self._dtype_name not in _EXACT

    @property
    def caveats(self) -> tuple[str, ...]:
        """What each of its certificates must warn of."""
        if not self.batch_dependent:
            return ()
        return (f"{self._dtype_name}: answers may depend on what shares their batch, and so may this certificate",)

    @property
    def facts(self) -> ModelFacts:
        """What it tells people about itself."""
        return ModelFacts(
            dtype=self._dtype_name,
            tokens_per_image=self._tokens_per_image(),
            tensors=not isinstance(self._pixels, ProcessorPictures),
        )

    def check(self, prompt: Prompt, sizes: Sizes) -> None:
        """Refuse a request that the model cannot take, before the first draw.

        Raises:
            PromptError: the text holds a token that marks images, or the model's chat template or processor refuses
                the conversation.
            PromptTooLongError: prompt, images and answer exceed the model's context.
            TooManyImagesError: more than `max_images`.
        """
        if self._max_images is not None and len(sizes) > self._max_images:
            raise TooManyImagesError(
                f"the request carries {len(sizes)} images, this model takes {self._max_images}: send fewer"
            )
        self._prompts.require_plain(prompt, tuple(sizes))
        length = len(self._prompts.row(prompt, tuple(sizes))["input_ids"]) + self._max_new_tokens
        text_config = self._model.config.get_text_config()
        longest = getattr(text_config, "max_position_embeddings", None)
        if longest is not None and length > longest:
            raise PromptTooLongError(
                f"prompt, {len(sizes)} image(s) and answer take {length} tokens, the model's context holds {longest}: "
                "shorten the prompt or send fewer images"
            )

    def answer(self, draws: Sequence[Draw], deadline: float | None = None) -> list[Answer]:
        """Answer each draw, in batches; draws of batches not begun by the deadline fail.

        Raises:
            ModelError: memory does not suffice for a single draw.
        """
        longest = max((len(self._row(draw)["input_ids"]) for draw in draws), default=0) + self._max_new_tokens
        with self._lock:
            answers = self._batch_size.over(self._model, draws, longest, self._answer_batch, deadline)
        return answers + [Answer.failure(DEADLINE)] * (len(draws) - len(answers))

    @property
    def _dtype_name(self) -> str:
        return str(self._dtype).removeprefix("torch.")

    def _tokens_per_image(self) -> str:
        """Say how many tokens one more image of one tile takes."""
        sizes = (self._resolution,)
        try:
            one, two = (len(self._prompts.row(Prompt.of("?", n), sizes * n)["input_ids"]) for n in (1, 2))
        except PromptError:
            return "not told: the model takes one image only"
        return f"{two - one}, with what the chat template puts around it"

    def _answer_batch(self, draws: Sequence[Draw]) -> list[Answer]:
        inputs = self._inputs(draws)
        if self._scorer is not None:
            return self._scorer.answers(self._model, inputs)
        return self._generate(inputs, [draw.sampling_seed for draw in draws])

    def _generate(self, inputs: dict[str, torch.Tensor], seeds: Sequence[int]) -> list[Answer]:
        import torch

        from guardrail.models.local import generation

        generated = generation.generate(
            self._model,
            inputs,
            max_new_tokens=self._max_new_tokens,
            temperature=self._temperature,
            seeds=seeds,
            end_tokens=self._end_tokens(),
            pad_token=self._tokenizer.pad_token_id,
        ).cpu()
        broken = (generated == generation.BROKEN).any(1)
        texts = self._tokenizer.batch_decode(generated.clamp(min=0), skip_special_tokens=True)
        ended = torch.isin(generated, torch.tensor(self._end_tokens())).int()
        lengths = [int(row.argmax()) if row.any() else len(row) for row in ended]
        return [
            Answer.failure("not finite") if failed else Answer(text.strip(), complete=bool(row.any()), tokens=length)
            for text, row, length, failed in zip(texts, ended, lengths, broken, strict=True)
        ]

    def _inputs(self, draws: Sequence[Draw]) -> dict[str, torch.Tensor]:
        """Return the tensors of a batch: the noisy images as the model takes them, and prompts padded on the left.

        Prompts are on the CPU, where generation can inspect them without waiting for the device.
        """
        inputs = self._prompts.batch([self._row(draw) for draw in draws])
        noisy = noisy_images(draws, self._device)
        if any(noisy):
            pixels = self._pixels(noisy)
            inputs |= {n: v.to(self._dtype) if v.is_floating_point() else v for n, v in pixels.items()}
        return inputs

    def _row(self, draw: Draw) -> Row:
        return self._prompts.row(draw.prompt, tuple(draw.sizes))

    def _end_tokens(self) -> list[int]:
        ends = self._model.generation_config.eos_token_id
        ends = self._tokenizer.eos_token_id if ends is None else ends
        return [ends] if isinstance(ends, int) else list(ends or [])
