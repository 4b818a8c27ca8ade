"""The cost model of the bundled model on this machine: a plot of two curves, and their figures.

    python -m tests.benchmarks.cost_model [--plot cost_model.png]

- draws per second against the size of a batch: what a batch costs is about a + b·size, fitted by least squares;
- latency of a decision against the number of concurrent requests: through the scheduler, and one after another.

Every request is the same picture under a key of its own, so that all decisions cost alike.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from matplotlib.figure import Figure

from guardrail import InputImage, SmoothedClassifier, Smoothing
from guardrail.bundled.oracle import bundled_oracle
from guardrail.bundled.signs import draw_sign, sample_sign
from guardrail.models import BundledVLM, VisionLanguageModel
from guardrail.models.scheduling import Scheduler

PROMPT = "Follow the sign."
SIZES = (1, 2, 5, 10, 20, 50, 100)
CONCURRENCY = (1, 2, 4, 8, 16, 32)


def main(
    plot: Annotated[Path, typer.Option(help="Where the plot goes.")] = Path("cost_model.png"),
    repeats: Annotated[int, typer.Option(help="Runs of each batch size; medians are used.")] = 3,
    look: Annotated[int, typer.Option(help="Draws of a look.")] = 10,
    most: Annotated[int, typer.Option(help="Most concurrent requests.")] = 32,
) -> None:
    """Measure both curves, print them, and plot them."""
    model = BundledVLM()
    image = InputImage.load(draw_sign(sample_sign(np.random.default_rng(0), "held_out", words=["tea"])))
    batches = {size: batch_seconds(model, image, size, repeats) for size in SIZES}
    each, fixed = np.polyfit(list(batches), list(batches.values()), 1)
    print(f"{torch.get_num_threads()} CPU threads, bundled model; a batch takes {fixed:.3f} s + {each:.4f} s a draw")
    for size, seconds in batches.items():
        print(f"batch of {size:>3}: {seconds:.3f} s, {size / seconds:6.1f} draws a second")

    levels = [level for level in CONCURRENCY if level <= most]
    ways: dict[str, list[float]] = {"one after another": [], "scheduler": []}
    for level in levels:
        with Scheduler(model, batch_size=100) as scheduler:
            ways["scheduler"].append(mean_latency(scheduler, image, level, level, look))
        ways["one after another"].append(mean_latency(model, image, level, 1, look))
    for name, latencies in ways.items():
        print(f"{name}: " + ", ".join(f"{n} at once {s:.3f} s" for n, s in zip(levels, latencies, strict=True)))
    figure(batches, levels, ways, look).savefig(plot, dpi=120)


def batch_seconds(model: BundledVLM, image: InputImage, size: int, repeats: int) -> float:
    """Median seconds to answer a batch of draws, noise included."""
    classifier = SmoothedClassifier(model, bundled_oracle(), Smoothing(samples=size))
    draws = classifier.draws(classifier.request(image, PROMPT), range(size))
    model.answer(draws)
    return statistics.median(timed(lambda: model.answer(draws)) for _ in range(repeats))


def mean_latency(model: VisionLanguageModel, image: InputImage, requests: int, threads: int, look: int) -> float:
    """Mean seconds from the moment that all requests arrive at once until each has its certificate."""
    smoothing = Smoothing(target_radius=0.1, batch=look)
    classifiers = [SmoothedClassifier(model, bundled_oracle(), smoothing) for _ in range(requests)]
    for classifier in classifiers:
        classifier.unreachable_target()
    start = time.perf_counter()

    def latency(classifier: SmoothedClassifier) -> float:
        classifier.certify(image, PROMPT)
        return time.perf_counter() - start

    with ThreadPoolExecutor(threads) as pool:
        return statistics.mean(pool.map(latency, classifiers))


def figure(batches: dict[int, float], levels: list[int], ways: dict[str, list[float]], look: int) -> Figure:
    """Two panels: throughput against batch size, latency against concurrency."""
    whole = Figure(figsize=(10, 4), layout="constrained")
    left, right = whole.subplots(1, 2)
    left.plot(list(batches), [size / seconds for size, seconds in batches.items()], marker="o")
    left.set(xscale="log", ylim=(0, None), xlabel="draws in a batch", ylabel="draws per second", title="Throughput")
    left.set_xticks(list(batches), [str(size) for size in batches])
    for name, latencies in ways.items():
        right.plot(levels, latencies, marker="o", label=name)
    right.set(xscale="log", ylim=(0, None), xlabel="requests at once", ylabel="mean latency, s")
    right.set_title(f"Latency of a decision, looks of {look}")
    right.set_xticks(levels, [str(level) for level in levels])
    right.legend()
    for panel in (left, right):
        panel.minorticks_off()
    return whole


def timed(way: Callable[[], object]) -> float:
    """Seconds that one call takes."""
    start = time.perf_counter()
    way()
    return time.perf_counter() - start


if __name__ == "__main__":
    typer.run(main)
