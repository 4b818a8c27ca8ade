"""One certificate, against what a user would write without guardrail, side by side in one run.

    python -m tests.benchmarks.certificate [--samples 100] [--repeats 5]

Rivals, on the same bundled model, the same picture and the same noise level:
- the loop: per noisy copy a PIL picture, the model's processor and `generate`, one by one;
- plain batches: PIL pictures, the model's processor and `generate` on all copies at once: the honest rival;
- bare `generate`, on tensors made ahead: what a certificate's other work is measured against.

Early stopping is a decision at the paper's threshold for low robustness, radius 0.1, on a picture whose draws agree.
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
from guardrail.bundled.oracle import bundled_oracle
from guardrail.bundled.signs import draw_sign, sample_sign
from guardrail.models import BundledVLM
from guardrail.models.base import Answer
from guardrail.models.local.generation import generate
from guardrail.oracles.base import Judgements

PROMPT = "Follow the sign."
SIGMA = 0.5
BATCH = 16
"""Draws of the first look of early stopping: the fewest that certify radius 0.1 at once when all agree."""
GUARDRAIL, EARLY, BARE, LOOP = "guardrail", "guardrail, early stopping", "bare generate", "the loop"


def main(
    samples: Annotated[int, typer.Option(help="Draws per certificate.")] = 100,
    repeats: Annotated[int, typer.Option(help="Runs of each, in turn; medians are printed.")] = 5,
    loop: Annotated[int, typer.Option(help="Copies that the loop is timed on; its time is scaled to all.")] = 100,
    cpu_time: Annotated[
        bool,
        typer.Option(help="One thread, and its CPU seconds instead of the clock's: for a machine that others use."),
    ] = False,
    describe: Annotated[bool, typer.Option(help="Say where the time of a certificate goes.")] = True,
) -> None:
    """Time the ways, in turn, and say where the time of a certificate goes."""
    clock = time.process_time if cpu_time else time.perf_counter
    if cpu_time:
        torch.set_num_threads(1)
    model = BundledVLM()
    classifier = SmoothedClassifier(model, bundled_oracle(), Smoothing(sigma=SIGMA, samples=samples))
    early = SmoothedClassifier(
        model, bundled_oracle(), Smoothing(sigma=SIGMA, samples=samples, target_radius=0.1, batch=BATCH)
    )
    sign = sample_sign(np.random.default_rng(0), "held_out", words=["tea"], contrast=(0.5, 0.5))
    image = InputImage.load(draw_sign(sign))
    inputs = model._inputs(classifier.draws(classifier.request(image, PROMPT), range(samples)))
    ways: dict[str, Callable[[], object]] = {
        GUARDRAIL: lambda: classifier.certify(image, PROMPT),
        EARLY: lambda: early.certify(image, PROMPT),
        BARE: lambda: bare_generate(model, inputs),
        "plain batches": lambda: plain_batch(model, image, samples),
        LOOP: lambda: [plain_batch(model, image, 1) for _ in range(loop)],
    }
    for certify in (classifier, early):
        print(f"{certify.certify(image, PROMPT).draws} draws")
    plain_batch(model, image, 2)
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, way in ways.items():
            seconds[name].append(timed(way, clock) * (samples / loop if name == LOOP else 1))

    medians = {name: statistics.median(runs) for name, runs in seconds.items()}
    table = Table(
        title=f"One certificate, n = {samples}: {torch.get_num_threads()} CPU threads, bundled model, greedy"
        + (", CPU time" if cpu_time else "")
    )
    for column in ("way", "median s", "min–max s", "times n = 100", "times early"):
        table.add_column(column, justify="left" if column == "way" else "right")
    for name, runs in seconds.items():
        spread = f"{min(runs):.3f}–{max(runs):.3f}"
        ratios = [f"{medians[name] / medians[way]:.2f}" for way in (GUARDRAIL, EARLY)]
        table.add_row(name, f"{medians[name]:.3f}", spread, *ratios)
    console = Console()
    console.print(table)
    if describe:
        console.print(stages(model, classifier, image, samples, clock))
    over = medians[GUARDRAIL] / medians[BARE] - 1
    console.print(
        f"the loop takes {medians[LOOP] / medians[GUARDRAIL]:.1f} times as long (wanted: 7), "
        f"{medians[LOOP] / medians[EARLY]:.1f} times a decision's (wanted: 20); "
        f"a certificate takes {over:+.0%} on bare generate (wanted: at most 10 %)"
    )


def bare_generate(model: BundledVLM, inputs: dict[str, torch.Tensor]) -> None:
    """The library's `generate` on tensors made ahead."""
    with torch.inference_mode():
        model._model.generate(**inputs, max_new_tokens=24, do_sample=False)


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


def stages(
    model: BundledVLM, classifier: SmoothedClassifier, image: InputImage, samples: int, clock: Callable[[], float]
) -> Table:
    """Where the time of one certificate goes, each stage on its own."""
    prompt = Prompt.of(PROMPT, 1)
    draws = classifier.draws(classifier.request(image, prompt), range(samples))
    answers = model.answer(draws)
    inputs = model._inputs(draws)

    options: dict[str, Any] = {"temperature": 0.0, "end_tokens": model._end_tokens(), "pad_token": 0}

    parts: dict[str, Callable[[], object]] = {
        "resize": lambda: classifier.draws(classifier.request(image, prompt), range(1)),
        "noise": lambda: [draw.images() for draw in draws],
        "noise and tensors": lambda: model._inputs(draws),
        "generate, the library's": lambda: bare_generate(model, inputs),
        "generate, ours": lambda: generate(model._model, inputs, max_new_tokens=24, seeds=[0] * samples, **options),
        "oracle": lambda: Judgements().of(classifier.oracle, [Answer(answer.text) for answer in answers], prompt),
        "whole certificate": lambda: classifier.certify(image, PROMPT),
    }
    table = Table(title="Where the time goes (each stage on its own, median of 5)")
    table.add_column("stage")
    table.add_column("ms", justify="right")
    for name, part in parts.items():
        table.add_row(name, f"{statistics.median(timed(part, clock) for _ in range(5)) * 1000:.1f}")
    return table


def timed(way: Callable[[], object], clock: Callable[[], float]) -> float:
    """Seconds that one call takes."""
    start = clock()
    way()
    return clock() - start


if __name__ == "__main__":
    typer.run(main)
