"""Certificates of a 7B model on one GPU, in one call: what they cost, against the hardware's limit and two rivals.

    python tests/benchmarks/gpu.py            # an H200, under 8 minutes
    python tests/benchmarks/gpu.py --tiny     # the same code in seconds, on any machine: proves it, measures nothing

The model has the architecture of LLaVA-1.6-7B (Vicuna) on one tile of 336 pixels: CLIP ViT-L/14, 576 image tokens and
64 of text, with random bf16 weights built on the device. The time of a forward pass does not depend on the weights;
answers do, and random ones never end, so every row decodes all its tokens: the dearest case. One tile means no
`image_newline` and no unpadding, so the LLaVA class computes the same as the LLaVA-NeXT class would.

Measured, with noise and normalisation on the device in every row of the table:
- n = 100 draws in one batch, and the draws of early stopping when all agree (the first look), 32 and 8 new tokens;
- the naive loop: a PIL picture, the model's kind of image processor and `generate`, one by one;
- plain batches: the same pictures and processor, all at once, and the library's `generate`;
- prefill as a share of this device's measured bf16 matrix peak; the arithmetic floor stands beside.

Needs torch, transformers, numpy and Pillow alone: the modules of the device path are loaded without the package's own
`__init__`. No figures of a GPU are published from this script yet.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
import types
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

ROOT = Path(__file__).resolve().parents[2]
SIGMA, SAMPLES = 0.5, 100
WANTED = "wanted on one H200: n = 100 in 2.5 s, early in 0.8 s (32 tokens); prefill 50 % of peak; 20 times the loop"


def load_device_path() -> None:
    """Make noise and generation importable without what the packages around them need."""
    for name in ("guardrail", "guardrail.certify", "guardrail.models", "guardrail.models.local"):
        package = types.ModuleType(name)
        package.__path__ = [str(ROOT.joinpath(*name.split(".")))]
        sys.modules[name] = package


@dataclass(frozen=True)
class Shape:
    """The sizes of the model and of the prompt around its image."""

    text: dict[str, Any]
    vision: dict[str, Any]
    text_tokens: int = 64

    @property
    def side(self) -> int:
        """Height and width of the tile."""
        return int(self.vision["image_size"])

    @property
    def image_tokens(self) -> int:
        """Tokens that the image takes."""
        return (self.side // int(self.vision["patch_size"])) ** 2


FULL = Shape(
    text={
        "model_type": "llama",
        "hidden_size": 4096,
        "intermediate_size": 11008,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 32,
        "vocab_size": 32064,
        "max_position_embeddings": 4096,
    },
    vision={
        "model_type": "clip_vision_model",
        "hidden_size": 1024,
        "intermediate_size": 4096,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "image_size": 336,
        "patch_size": 14,
        "projection_dim": 768,
    },
)
TINY = Shape(
    text=FULL.text
    | {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4}
    | {"num_key_value_heads": 4, "vocab_size": 500},
    vision=FULL.vision
    | {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    | {"image_size": 56},
    text_tokens=8,
)


class Bench:
    """A model of random weights, one picture, and the ways to answer its draws."""

    def __init__(self, shape: Shape, device: torch.device, dtype: torch.dtype) -> None:
        from guardrail.certify.noise import NoiseStream
        from guardrail.models.local.loading import torchvision_works

        torchvision_works()  # before transformers asks
        from transformers import CLIPImageProcessor, LlavaConfig, LlavaForConditionalGeneration

        self.shape, self.device, self.dtype = shape, device, dtype
        self.image_token = shape.text["vocab_size"] - 1
        config = LlavaConfig(
            text_config=shape.text | {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0},
            vision_config=shape.vision,
            image_token_id=self.image_token,
            vision_feature_layer=-2,
            vision_feature_select_strategy="default",
        )
        torch.manual_seed(0)
        before = torch.get_default_dtype()
        torch.set_default_dtype(dtype)
        with device:
            self.model = LlavaForConditionalGeneration(config).eval()
        torch.set_default_dtype(before)
        self.model.generation_config.eos_token_id = None  # no row ends early
        self.processor = CLIPImageProcessor(
            size={"shortest_edge": shape.side}, crop_size={"height": shape.side, "width": shape.side}
        )
        self.stream = NoiseStream.derive(b"the key of this script", b"request", "estimation")
        self.clean = np.random.default_rng(0).random((shape.side, shape.side, 3))
        self.on_device = torch.from_numpy(self.clean).to(device)[None]
        mean, std = self.processor.image_mean, self.processor.image_std
        self.mean, self.std = (torch.tensor(v, device=device).view(1, 3, 1, 1) for v in (mean, std))
        before_image = shape.text_tokens // 2
        text = [3 + i % 50 for i in range(shape.text_tokens)]
        row = [*text[:before_image], *[self.image_token] * shape.image_tokens, *text[before_image:]]
        self.row = torch.tensor([row])

    def inputs(self, pixels: Tensor) -> dict[str, Tensor]:
        """The model's inputs for normalised pixels, one image a row."""
        prompts = {name: value.to(self.device) for name, value in self.prompts(len(pixels)).items()}
        return prompts | {"pixel_values": pixels.to(self.dtype)}

    def prompts(self, rows: int) -> dict[str, Tensor]:
        """The tokens of the prompt, once a row, on the CPU."""
        ids = self.row.repeat(rows, 1)
        return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}

    def draws(self, indices: range) -> dict[str, Tensor]:
        """Inputs of draws: noise and normalisation on the device."""
        from guardrail.models.local import device_noise

        with torch.inference_mode():
            noisy = device_noise.noisy(self.on_device, SIGMA, [self.stream] * len(indices), list(indices))
            return self.inputs((noisy.permute(0, 3, 1, 2) - self.mean) / self.std)

    def engine(self, draws: int, tokens: int) -> Tensor:
        """The answers to draws, as guardrail gets them."""
        from guardrail.models.local.generation import generate

        options: dict[str, Any] = {"temperature": 0.0, "seeds": [0] * draws, "end_tokens": (), "pad_token": 0}
        inputs = self.draws(range(draws)) | self.prompts(draws)  # prompts on the CPU, as the product has them
        return generate(self.model, inputs, max_new_tokens=tokens, **options).cpu()

    def plain(self, draws: int, tokens: int) -> Tensor:
        """The same by PIL pictures, the processor and the library's `generate`, in one batch."""
        from PIL import Image

        pictures = []
        for _ in range(draws):
            noisy = self.clean + SIGMA * np.random.default_rng().standard_normal(self.clean.shape)
            pictures.append(Image.fromarray((noisy.clip(0, 1) * 255).round().astype(np.uint8)))
        pixels = self.processor(images=pictures, return_tensors="pt")["pixel_values"].to(self.device)
        with torch.inference_mode():
            output: Tensor = self.model.generate(
                **self.inputs(pixels), max_new_tokens=tokens, do_sample=False, pad_token_id=0
            )
        return output[:, self.row.shape[1] :].cpu()

    def prefill(self, draws: int) -> Callable[[], object]:
        """One forward pass over the prompts, on inputs made ahead."""
        inputs = self.draws(range(draws))
        del inputs["attention_mask"]  # nothing is padded

        def run() -> object:
            with torch.inference_mode():
                return self.model(**inputs, use_cache=True, logits_to_keep=1).logits

        return run

    def operations(self, draws: int) -> float:
        """Floating-point operations of a prefill: matrix products, and attention where the mask is open."""

        def layer(shape: dict[str, Any], gated: bool) -> float:
            hidden, inner = shape["hidden_size"], shape["intermediate_size"]
            key_value = shape.get("num_key_value_heads", shape["num_attention_heads"]) / shape["num_attention_heads"]
            return 2.0 * (2 * hidden**2 * (1 + key_value) + (3 if gated else 2) * hidden * inner)

        text, vision = self.shape.text, self.shape.vision
        length, patches = self.row.shape[1], self.shape.image_tokens + 1
        language = text["num_hidden_layers"] * (length * layer(text, True) + 2 * length**2 * text["hidden_size"])
        seeing = (vision["num_hidden_layers"] - 1) * (
            patches * layer(vision, False) + 4 * patches**2 * vision["hidden_size"]
        )
        return float(draws) * (language + seeing)


def seconds(way: Callable[[], object], device: torch.device, repeats: int) -> float:
    """Median seconds of a call, the device's work included, after one call to warm up."""
    runs = []
    for _ in range(repeats + 1):
        synchronise(device)
        start = time.perf_counter()
        way()
        synchronise(device)
        runs.append(time.perf_counter() - start)
    return statistics.median(runs[1:])


def synchronise(device: torch.device) -> None:
    """Wait for the device."""
    if device.type == "cuda":
        torch.cuda.synchronize()


def matrix_peak(device: torch.device, dtype: torch.dtype, side: int) -> float:
    """Operations per second of a large matrix product of random numbers."""
    a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    times = 10

    def products() -> None:
        for _ in range(times):
            torch.matmul(a, b)

    return times * 2.0 * side**3 / seconds(products, device, 3)


def check(bench: Bench) -> dict[str, float]:
    """Compare the device path with its definition: noise with the pinned stream, answers with the library's loop."""
    from guardrail.models.local import device_noise
    from guardrail.models.local.generation import generate

    noisy = device_noise.noisy(bench.on_device, SIGMA, [bench.stream] * 2, [0, 7]).cpu().numpy()
    exact = np.stack([bench.stream.noisy(bench.clean, SIGMA, i, 0) for i in (0, 7)])
    inputs = bench.draws(range(8))
    options: dict[str, Any] = {"max_new_tokens": 8, "end_tokens": (), "pad_token": 0, "seeds": [0] * 8}
    ours = generate(bench.model, inputs, temperature=0.0, **options)
    with torch.inference_mode():
        theirs = bench.model.generate(**inputs, max_new_tokens=8, do_sample=False, pad_token_id=0)
    theirs = theirs[:, inputs["input_ids"].shape[1] :]
    sampled = generate(bench.model, inputs, temperature=1.0, **(options | {"seeds": list(range(8))}))
    return {
        "noise: largest difference": float(np.abs(noisy - exact).max()),
        "noise: share that differs": float((noisy != exact).mean()),
        "first tokens equal to the library's": float((ours[:, 0] == theirs[:, 0]).float().mean()),
        "all tokens equal to the library's": float((ours == theirs).float().mean()),
        "sampled rows that differ": float(len({tuple(row) for row in sampled.tolist()})),
    }


def main() -> None:
    """Check, measure, and print one table last."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiny", action="store_true", help="a tiny model, on whatever device there is")
    parser.add_argument(
        "--early", type=int, default=20, help="draws of early stopping when all agree: the first look of batch=20"
    )
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path, help="where to write the figures")
    arguments = parser.parse_args()
    load_device_path()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if not arguments.tiny and device.type != "cuda":
        parser.error("no CUDA device here: --tiny proves the script without one")
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    bench = Bench(TINY if arguments.tiny else FULL, device, dtype)
    samples, early, repeats = SAMPLES, arguments.early, arguments.repeats
    if arguments.tiny:
        samples, early = samples // 10, early // 10

    def clock(way: Callable[[], object], times: int = repeats) -> float:
        return seconds(way, device, times)

    checks = check(bench)
    peak = matrix_peak(device, dtype, 256 if arguments.tiny else 8192)
    floor = bench.operations(samples) / peak
    prefill = clock(bench.prefill(samples))
    few = 3 if arguments.tiny else 10
    rows: dict[str, float] = {
        f"noise and normalisation of n = {samples}": clock(lambda: bench.draws(range(samples))),
        f"prefill of n = {samples}": prefill,
        "arithmetic floor of that prefill": floor,
    }
    for tokens in (32, 8):
        rows |= {
            f"n = {samples}, {tokens} tokens": clock(lambda: bench.engine(samples, tokens)),  # noqa: B023
            f"early, {early} draws, {tokens} tokens": clock(lambda: bench.engine(early, tokens)),  # noqa: B023
            f"plain batch, {tokens} tokens": clock(lambda: bench.plain(samples, tokens), 1),  # noqa: B023
            f"naive loop, {tokens} tokens (x {samples} of {few})": samples
            / few
            * clock(lambda: [bench.plain(1, tokens) for _ in range(few)], 1),  # noqa: B023
        }

    name = torch.cuda.get_device_name() if device.type == "cuda" else "CPU"
    print(f"{name}, torch {torch.__version__}, {dtype}; random weights: timing does not depend on them")
    print(f"{bench.row.shape[1]} tokens of prefill, {bench.operations(samples):.3g} operations at n = {samples}")
    print(f"measured matrix peak {peak / 1e12:.3f} T/s; prefill at {floor / prefill:.1%} of it")
    if device.type == "cuda":
        print(f"most memory {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB")
    for what, value in checks.items():
        print(f"{what:<42} {value:.6g}")
    for what, value in rows.items():
        print(f"{what:<42} {value:9.4f} s")
    for tokens in (32, 8):
        ours = rows[f"n = {samples}, {tokens} tokens"]
        loop = rows[f"naive loop, {tokens} tokens (x {samples} of {few})"]
        plain = rows[f"plain batch, {tokens} tokens"]
        print(f"{tokens} tokens: {loop / ours:.1f} times the naive loop, {plain / ours:.2f} times plain batches")
    print("a tiny model: these figures mean nothing" if arguments.tiny else WANTED)
    if arguments.json:
        arguments.json.write_text(json.dumps({"device": name, "peak": peak, **checks, **rows}, indent=1))


if __name__ == "__main__":
    main()
