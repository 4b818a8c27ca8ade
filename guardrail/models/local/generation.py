"""Answers of a transformers model to a batch of rows: greedy, or sampled with a seed per row.

There are two ways, with the same answers up to rounding. A plain decoder runs in the loop here: one prefill, then one
forward pass per token, with nothing rebuilt from step to step. Long text that all rows share before the first image is
computed once. On CUDA the decode step is captured as a graph over buffers with fixed addresses, and the host looks for
the end of a batch some steps late, so that the device never waits for it. Special architectures (encoder and decoder,
position ids in several dimensions, inputs prepared in a special way) go through the library's `generate`.

This module needs torch, transformers and numpy alone.
"""

from __future__ import annotations

import inspect
import logging
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from guardrail.models.local.roomy_cache import roomy_cache
from guardrail.models.local.scores import Finite, SeededSampling, Written, gumbel

logger = logging.getLogger(__name__)

_PLAIN_INPUTS = {"input_ids", "attention_mask", "pixel_values", "pixel_attention_mask", "image_sizes"}
_PLAIN_LAYERS = {"full_attention", "sliding_attention"}
_PLAIN_ARGUMENTS = {"attention_mask", "position_ids", "past_key_values", "logits_to_keep"}
_HARMLESS_SETTINGS = {
    *("bos_token_id", "eos_token_id", "pad_token_id", "max_length", "max_new_tokens", "transformers_version"),
    *("do_sample", "temperature", "top_k", "top_p", "min_p", "typical_p", "use_cache", "_from_model_config"),
}
"""Settings of a generation config that do not change greedy choice, or that the arguments of `generate` replace."""

BROKEN = -1
"""In place of a token, marks and ends an answer where the logits are not finite, so that none can be chosen."""

_SHARED = 64
"""Fewest tokens of shared text before the first image that are worth a separate forward pass."""
_SLOTS = 64
"""The lengths of a graph's buffers are multiples of this, so that prompts of similar length share a graph."""
_GRAPHS = 4
"""Number of batch sizes whose buffers and graphs are kept at the same time."""
_LAG = 2
"""Steps by which the host, on CUDA, looks late for the end of a batch: the device works on queued steps meanwhile."""


def generate(
    model: Any,  # noqa: ANN401
    inputs: dict[str, Tensor],
    *,
    max_new_tokens: int,
    temperature: float,
    seeds: Sequence[int],
    end_tokens: Sequence[int],
    pad_token: int,
) -> Tensor:
    """Generate the answer of each row.

    Args:
        model: an image-text-to-text model of transformers, in evaluation mode.
        inputs: its inputs, padded on the left; `input_ids` and `attention_mask` are [rows, length]. Inputs on
            the CPU are inspected there and then copied to the device, so nothing waits for it before the first token.
        max_new_tokens: longest answer.
        temperature: 0 for greedy decoding; above, sampled.
        seeds: each row's seed, in [0, 2⁶³); not used at temperature 0.
        end_tokens: tokens that end an answer.
        pad_token: what follows the end of an answer.

    Returns:
        int64 [rows, at most max_new_tokens], as many columns as the longest answer has tokens, its end included;
        `BROKEN` in a row without an answer.
    """
    with torch.inference_mode():
        options = _Options(max_new_tokens, temperature, tuple(seeds), tuple(end_tokens), pad_token)
        try:
            return _generate(model, inputs, options)
        except torch.OutOfMemoryError:
            vars(model).pop("_guardrail_decoding", None)  # a smaller batch needs the memory, and other buffers
            raise


def _generate(model: Any, inputs: dict[str, Tensor], options: _Options) -> Tensor:  # noqa: ANN401
    if not is_plain(model, inputs):
        return _library(model, _on_device(model, inputs), options)
    prompt = _Prompt(model, inputs)
    answers = _Answers(prompt.ids, options)
    if answers.device.type == "cuda" and options.max_new_tokens > 1 and _has_static_form(model):
        static = _static_decoding(model, len(options.seeds), prompt.length + options.max_new_tokens)
        if static is not None:
            return static.run(prompt, answers)
    return _decode(model, prompt, answers)


def is_plain(model: Any, inputs: dict[str, Tensor]) -> bool:  # noqa: ANN401
    """Whether the loop of this module may run a model: it is an ordinary decoder with a cache."""
    from transformers import GenerationMixin

    config = model.config.get_text_config(decoder=True)
    settings = model.generation_config.to_diff_dict()
    return (
        set(inputs) <= _PLAIN_INPUTS
        and "attention_mask" in inputs
        and set(inspect.signature(model.forward).parameters) >= _PLAIN_ARGUMENTS
        and type(model).prepare_inputs_for_generation is GenerationMixin.prepare_inputs_for_generation
        and not model.config.is_encoder_decoder
        and not any(hasattr(part, "get_rope_index") for part in (model, getattr(model, "model", None)))
        and set(getattr(config, "layer_types", None) or ()) <= _PLAIN_LAYERS
        and all(name in _HARMLESS_SETTINGS or not value for name, value in settings.items())
    )


@dataclass(frozen=True, slots=True)
class _Options:
    """How a batch is decoded: see `generate`."""

    max_new_tokens: int
    temperature: float
    seeds: tuple[int, ...]
    end_tokens: tuple[int, ...]
    pad_token: int


class _Answers:
    """The tokens of a batch so far. All state is on the device and changed in place."""

    def __init__(self, prompts: Tensor, options: _Options) -> None:
        rows, self.device = len(prompts), prompts.device
        self.most = options.max_new_tokens
        self._places = torch.arange(rows, device=self.device)
        """Indices in the batch of the rows that are still decoded."""
        self._done = prompts.new_full((rows, self.most), options.pad_token)
        self.last = prompts.new_full((rows, 1), options.pad_token)
        self.ended = torch.zeros(rows, dtype=torch.bool, device=self.device)
        self._temperature = options.temperature
        self._pad_token = options.pad_token
        self._seeds = torch.tensor(options.seeds, dtype=torch.int64, device=self.device)
        self._ends = torch.tensor(options.end_tokens, dtype=torch.int64, device=self.device)
        self._tokens = prompts.new_full((rows, self.most), options.pad_token)
        self._longest = prompts.new_zeros(1)
        self._step = torch.zeros(1, dtype=torch.int64, device=self.device)

    def take(self, logits: Tensor) -> None:
        """Choose the next token of each row from its logits, [rows, vocabulary]."""
        scores = logits.float()
        if self._temperature:
            scores = scores / self._temperature + gumbel(self._seeds, self._step, scores.shape[-1])
        chosen = scores.argmax(-1)  # the index of a NaN, if there is one
        broken = ~(scores.gather(1, chosen[:, None])[:, 0].isfinite() | self.ended)
        chosen = chosen.masked_fill(self.ended, self._pad_token)
        self._tokens.index_copy_(1, self._step, chosen.masked_fill(broken, BROKEN)[:, None])
        self.last.copy_(chosen[:, None])
        self._longest.add_(~self.ended.all())
        self.ended.logical_or_((chosen[:, None] == self._ends).any(1) | broken)
        self._step.add_(1)

    def leave_out(self) -> Tensor | None:
        """Drop ended rows, once half of all have ended; return the indices of the rows that stay, None for all.

        On CUDA all stay: a step there costs little more for a hundred rows than for one, and the check would make the
        host wait.
        """
        if self.device.type == "cuda" or 2 * int(self.ended.sum()) < len(self.ended):
            return None
        self._done[self._places] = self._tokens
        going = (~self.ended).nonzero()[:, 0]
        self._places, self._tokens, self._seeds = self._places[going], self._tokens[going], self._seeds[going]
        self.last, self.ended = self.last[going], self.ended[going]
        return going

    def result(self) -> Tensor:
        """Return the tokens [rows, length of the longest answer]."""
        self._done[self._places] = self._tokens
        return self._done[:, : int(self._longest)]


class _AllEnded:
    """Says whether all rows have ended: at once on the CPU; on CUDA some steps late, so that it never idles."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._pending: deque[tuple[Tensor, torch.cuda.Event]] = deque()

    def __call__(self, ended: Tensor) -> bool:
        if self._device.type != "cuda":
            return bool(ended.all())
        flag = torch.empty((), dtype=torch.bool, pin_memory=True)
        flag.copy_(ended.all(), non_blocking=True)
        arrived = torch.cuda.Event()  # type: ignore[no-untyped-call]
        arrived.record()
        self._pending.append((flag, arrived))
        if len(self._pending) <= _LAG:
            return False
        flag, arrived = self._pending.popleft()
        arrived.synchronize()
        return bool(flag)


class _Prompt:
    """The prompts of a batch: their prefill, and the positions of what follows."""

    def __init__(self, model: Any, inputs: dict[str, Tensor]) -> None:  # noqa: ANN401
        self._model = model
        self.rows, self.length = inputs["input_ids"].shape
        self.padded = not bool(inputs["attention_mask"].all())
        self._shared = 0 if self.padded else _shared_text(model, inputs["input_ids"])
        self._images = _on_device(model, inputs)
        self.ids, self.mask = self._images.pop("input_ids"), self._images.pop("attention_mask")
        self.positions = (self.mask.cumsum(1) - 1).clamp(min=0)

    def prefill(self, room: int = 0) -> tuple[Any, Tensor]:
        """Return the prompts' cache, with room for that many more tokens, and the logits of the first new token."""
        shared = self._shared
        cache = roomy_cache(self._model.config, room)
        if shared:
            self._forward(cache, self.ids[:1, :shared], self.positions[:1, :shared])
            cache.batch_repeat_interleave(self.rows)
        return cache, self._forward(cache, self.ids[:, shared:], self.positions[:, shared:], **self._images)

    def _forward(self, cache: Any, ids: Tensor, positions: Tensor, **images: Tensor) -> Tensor:  # noqa: ANN401
        output = self._model(
            input_ids=ids,
            attention_mask=self.mask if self.padded else None,
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
            **images,
        )
        logits: Tensor = output.logits[:, -1]
        return logits


def _shared_text(model: Any, ids: Tensor) -> int:  # noqa: ANN401
    """Return the number of text tokens before the first image to compute once for all rows; 0 if not worth it."""
    rows, length = ids.shape
    image_token = getattr(model.config, "image_token_id", None)
    if rows == 1 or image_token is None or length <= _SHARED:
        return 0
    differing = ((ids != ids[:1]) | (ids == image_token)).any(0).nonzero()
    shared = int(differing[0]) if len(differing) else 0
    return shared if shared >= _SHARED and 4 * shared >= length else 0


def _on_device(model: Any, inputs: dict[str, Tensor]) -> dict[str, Tensor]:  # noqa: ANN401
    return {name: value.to(model.device, non_blocking=True) for name, value in inputs.items()}


def _decode(model: Any, prompt: _Prompt, answers: _Answers) -> Tensor:  # noqa: ANN401
    """Decode with a cache that grows."""
    cache, logits = prompt.prefill(room=answers.most)
    all_ended = _AllEnded(answers.device)
    answers.take(logits)
    mask, position = prompt.mask, prompt.positions[:, -1:]
    for _ in range(answers.most - 1):
        if all_ended(answers.ended):
            break
        going = answers.leave_out()
        if going is not None:
            cache.batch_select_indices(going)
            mask, position = mask[going], position[going]
        position = position + 1
        if prompt.padded:
            mask = torch.cat((mask, mask.new_ones(len(mask), 1)), dim=1)
        output = model(
            input_ids=answers.last,
            attention_mask=mask if prompt.padded else None,
            position_ids=position,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        answers.take(output.logits[:, -1])
    return answers.result()


class _StaticDecoding:
    """Decoding over buffers with fixed addresses, so that a CUDA graph can replay a step.

    The prefill runs on a separate cache, without padding and with the fast causal attention, and is then copied.
    """

    def __init__(self, model: Any, rows: int, slots: int, *, graph: bool) -> None:  # noqa: ANN401
        from transformers import StaticCache

        self._model = model
        self.rows, self.slots = rows, slots
        self._cache: Any = StaticCache(config=model.config.get_text_config(decoder=True), max_cache_len=slots)
        self._token = torch.zeros(rows, 1, dtype=torch.int64, device=model.device)
        self._position = torch.zeros_like(self._token)
        self._slot = torch.zeros(1, dtype=torch.int64, device=model.device)
        self._mask = torch.zeros(rows, 1, 1, slots, dtype=torch.bool, device=model.device)
        self._graph: torch.cuda.CUDAGraph | None = None
        self._logits = self._forward()  # builds the cache's buffers
        if graph:
            self._capture()

    def run(self, prompt: _Prompt, answers: _Answers) -> Tensor:
        """Answer a batch of at most as many rows as the buffers have."""
        cache, logits = prompt.prefill()
        all_ended = _AllEnded(answers.device)
        answers.take(logits)
        self._load(cache, prompt)
        for _ in range(answers.most - 1):
            if all_ended(answers.ended):
                break
            self._token[: prompt.rows].copy_(answers.last)
            if self._graph is None:
                self._logits = self._forward()
            else:
                self._graph.replay()
            answers.take(self._logits[: prompt.rows])
        return answers.result()

    def _load(self, cache: Any, prompt: _Prompt) -> None:  # noqa: ANN401
        for ours, theirs in zip(self._cache.layers, cache.layers, strict=True):
            ours.keys[: prompt.rows, :, : prompt.length].copy_(theirs.keys)
            ours.values[: prompt.rows, :, : prompt.length].copy_(theirs.values)
            ours.cumulative_length.fill_(prompt.length)
            theirs.keys = theirs.values = None  # free the prefill's memory layer by layer
        self._mask.zero_()
        self._mask[: prompt.rows, 0, 0, : prompt.length].copy_(prompt.mask)
        self._mask[prompt.rows :, ..., : prompt.length] = True  # unused rows: a mask without a True would give NaN
        self._slot.fill_(prompt.length)
        self._position[: prompt.rows].copy_(prompt.positions[:, -1:] + 1)

    def _forward(self) -> Tensor:
        """Run one step on the contents of the buffers, and move to the next slot."""
        self._mask.index_fill_(3, self._slot, True)
        output = self._model(
            input_ids=self._token,
            attention_mask=self._mask,
            position_ids=self._position,
            past_key_values=self._cache,
            use_cache=True,
            logits_to_keep=1,
        )
        self._slot.add_(1)
        self._position.add_(1)
        logits: Tensor = output.logits[:, -1]
        return logits

    def _capture(self) -> None:
        aside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            self._forward()
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self._logits = self._forward()
        self._graph = graph


def _has_static_form(model: Any) -> bool:  # noqa: ANN401
    """Whether every layer attends to everything before it, and takes a ready mask."""
    config = model.config.get_text_config(decoder=True)
    full = set(getattr(config, "layer_types", None) or ()) <= {"full_attention"}
    windowed = getattr(config, "sliding_window", None) is not None and getattr(config, "use_sliding_window", True)
    return full and not windowed and config._attn_implementation in {"sdpa", "eager"}


def _static_decoding(model: Any, rows: int, slots: int) -> _StaticDecoding | None:  # noqa: ANN401
    """Return the model's buffers and graph for batches of this size, made on first use; None where capture failed.

    They are kept on the model, because the graph holds the addresses of its weights.
    """
    known: dict[tuple[int, int], _StaticDecoding | None] = vars(model).setdefault("_guardrail_decoding", {})
    size = (_row_bucket(rows), -(-slots // _SLOTS) * _SLOTS)
    if size not in known:
        for other in [other for other in known if other[1] != size[1]] or list(known)[: len(known) + 1 - _GRAPHS]:
            del known[other]
        try:
            known[size] = _StaticDecoding(model, *size, graph=True)
        except torch.OutOfMemoryError:
            known.clear()
            torch.cuda.empty_cache()
            return None
        except RuntimeError as error:
            logger.warning("no CUDA graph for batches of %d rows, decoding without: %s", size[0], error)
            known[size] = None
    return known[size]


def _row_bucket(rows: int) -> int:
    """Return `rows` rounded up to a multiple of 8, or of an eighth of the power of two below it if that is more."""
    step: int = max(8, 1 << max(0, rows.bit_length() - 4))
    return -(-rows // step) * step


def _library(model: Any, inputs: dict[str, Tensor], options: _Options) -> Tensor:  # noqa: ANN401
    """Generate with the library's loop."""
    from transformers import LogitsProcessorList

    length = inputs["input_ids"].shape[1]
    written = Written.of(model, inputs)
    sampling = [SeededSampling(options.seeds, options.temperature, length)] if options.temperature else []
    finite = Finite(inputs["input_ids"])
    output = model.generate(
        **inputs,
        max_new_tokens=options.max_new_tokens,
        do_sample=False,
        logits_processor=LogitsProcessorList([*written, *sampling, finite]),
        repetition_penalty=1.0,
        no_repeat_ngram_size=0,
        eos_token_id=list(options.end_tokens) or None,
        pad_token_id=options.pad_token,
    )
    generated: Tensor = output[:, length:]
    return generated.masked_fill(finite.broken, BROKEN)
