"""One certificate, against what a user would write without guardrail, side by side in one run.

    python -m tests.benchmarks.certificate [--samples 100] [--repeats 5]

Rivals, on the same bundled model, the same picture and the same noise level:
- the loop: per noisy copy a PIL picture, the model's processor and `generate`, one by one;
- plain batches: PIL pictures, the model's processor and `generate` on all copies at once.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Annotated, Any

import numpy as np
import torch
import typer
from PIL import Image
from rich.console import Console
from rich.table import Table

from guardrail import InputImage, Prompt, SmoothedClassifier, Smoothing
from guardrail.models import BundledVLM
from guardrail.models.base import Answer
from guardrail.models.bundled.signs import draw_sign, sample_sign
from guardrail.oracles.base import judge
from guardrail.oracles.bundled import bundled_oracle

PROMPT = "Follow the sign."
SIGMA = 0.5


def main(
    samples: Annotated[int, typer.Option(help="Draws per certificate.")] = 100,
    repeats: Annotated[int, typer.Option(help="Runs of each, in turn; medians are printed.")] = 5,
) -> None:
    """Time the three, in turn, and say where the time of a certificate goes."""
    model = BundledVLM()
    classifier = SmoothedClassifier(model, bundled_oracle(), Smoothing(sigma=SIGMA, samples=samples))
    sign = sample_sign(np.random.default_rng(0), "held_out", words=["tea"], contrast=(0.5, 0.5))
    image = InputImage.load(draw_sign(sign))
    ways: dict[str, Callable[[], object]] = {
        "guardrail": lambda: classifier.certify(image, PROMPT),
        "plain batches": lambda: plain_batch(model, image, samples),
        "the loop": lambda: [plain_batch(model, image, 1) for _ in range(samples)],
    }
    classifier.certify(image, PROMPT)
    plain_batch(model, image, 2)
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, way in ways.items():
            seconds[name].append(timed(way))

    ours = statistics.median(seconds["guardrail"])
    table = Table(title=f"One certificate, n = {samples}: {torch.get_num_threads()} CPU threads, bundled model, greedy")
    for column in ("way", "median s", "min–max s", "times guardrail"):
        table.add_column(column, justify="left" if column == "way" else "right")
    for name, runs in seconds.items():
        median = statistics.median(runs)
        table.add_row(name, f"{median:.3f}", f"{min(runs):.3f}–{max(runs):.3f}", f"{median / ours:.2f}")
    console = Console()
    console.print(table)
    console.print(stages(model, classifier, image, samples))


def plain_batch(model: BundledVLM, image: InputImage, copies: int) -> list[str]:
    """Noisy PIL copies through the model's own processor and `generate`, as its documentation shows."""
    processor: Any = model._processor
    clean = image.pixels / 255.0
    pictures = []
    for _ in range(copies):
        noisy = clean + SIGMA * np.random.default_rng().standard_normal(clean.shape)
        pictures.append(Image.fromarray((noisy.clip(0, 1) * 255).round().astype(np.uint8)))
    messages = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": PROMPT}]}]
    text = processor.apply_chat_template(messages, add_generation_prompt=True)
    inputs = processor(images=pictures, text=[text] * copies, padding=True, return_tensors="pt")
    with torch.inference_mode():
        output = model._model.generate(**inputs, max_new_tokens=24, do_sample=False)
    answers: list[str] = processor.batch_decode(output[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
    return answers


def stages(model: BundledVLM, classifier: SmoothedClassifier, image: InputImage, samples: int) -> Table:
    """Where the time of one certificate goes, each stage on its own."""
    prompt = Prompt.of(PROMPT, 1)
    draws = classifier.draws([image], prompt, range(samples))
    answers = model.answer(draws)
    inputs = model._inputs(draws)

    def generate() -> None:
        with torch.inference_mode():
            model._model.generate(**inputs, max_new_tokens=24, do_sample=False)

    parts: dict[str, Callable[[], object]] = {
        "resize": lambda: classifier.draws([image], prompt, range(1)),
        "noise": lambda: [draw.images() for draw in draws],
        "noise and tensors": lambda: model._inputs(draws),
        "generate, bare": generate,
        "oracle": lambda: judge(classifier.oracle, [Answer(answer.text) for answer in answers], prompt),
        "whole certificate": lambda: classifier.certify(image, PROMPT),
    }
    table = Table(title="Where the time goes (each stage on its own, median of 5)")
    table.add_column("stage")
    table.add_column("ms", justify="right")
    for name, part in parts.items():
        table.add_row(name, f"{statistics.median(timed(part) for _ in range(5)) * 1000:.1f}")
    return table


def timed(way: Callable[[], object]) -> float:
    """Seconds that one call takes."""
    start = time.perf_counter()
    way()
    return time.perf_counter() - start


if __name__ == "__main__":
    typer.run(main)
