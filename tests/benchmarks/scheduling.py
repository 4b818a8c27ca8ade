"""Requests that share batches against one after another, on the bundled model, in turn in one run.

    python -m tests.benchmarks.scheduling [--requests 32] [--repeats 3]

Held-out signs, prompt "Follow the sign.", early stopping at the policy's target radius of 0.1, looking after every 10
and after every 20 draws. All requests come at once, each from a thread of its own. A request's fair share is when it
would end if the model worked for all of them in equal parts, draw by draw, at the speed it had in that run: `Σ_j
min(d_j, d_i)` draws for one of `d_i` draws. Latency is printed over that, and over the time that the request took
alone times the number of requests.
"""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
import typer
from pydantic import SecretBytes
from rich.console import Console
from rich.table import Table

from guardrail import Certificate, InputImage, SmoothedClassifier, Smoothing
from guardrail.bundled.oracle import bundled_oracle
from guardrail.bundled.signs import draw_sign, sample_sign
from guardrail.models import BundledVLM
from guardrail.models.base import VisionLanguageModel
from guardrail.models.scheduling import Scheduler

PROMPT = "Follow the sign."


@dataclass
class Run:
    """All requests, served in one of the two ways."""

    seconds: float
    latencies: list[float]
    certificates: list[Certificate]

    @property
    def fair_shares(self) -> list[float]:
        """Seconds after which each request would end under equal sharing."""
        draws = [certificate.draws for certificate in self.certificates]
        return [sum(min(other, mine) for other in draws) / sum(draws) * self.seconds for mine in draws]


def main(
    requests: Annotated[int, typer.Option(help="Concurrent requests.")] = 32,
    repeats: Annotated[int, typer.Option(help="Runs of each way, in turn; medians are printed.")] = 3,
    batch_size: Annotated[int, typer.Option(help="Draws per batch of the scheduler.")] = 64,
) -> None:
    """Print both ways side by side, per length of look."""
    model, rng = BundledVLM(), np.random.default_rng(5)
    images = [InputImage.load(draw_sign(sample_sign(rng, "held_out"))) for _ in range(requests)]
    table = Table(
        title=f"{requests} requests at once, batches of {batch_size}: {torch.get_num_threads()} CPU threads, greedy"
    )
    columns = (
        "looks",
        "draws",
        "one by one, s",
        "together, s",
        "times faster",
        "per run",
        "worst latency / fair share",
    )
    for column in (*columns, "worst / (alone × requests)"):
        table.add_column(column, justify="right")
    for look in (10, 20):
        looks = tuple(range(look, 101, look))
        smoothing = Smoothing(samples=100, target_radius=0.1, looks=looks, key=SecretBytes(b"benchmark-secret"))
        alone, together = list[Run](), list[Run]()
        serve(model, smoothing, images[:2], 1)
        for _ in range(repeats):
            alone.append(serve(model, smoothing, images, 1))
            with Scheduler(model, batch_size=batch_size) as scheduler:
                together.append(serve(scheduler, smoothing, images, requests))
        assert all(a.counts == b.counts for a, b in zip(alone[0].certificates, together[0].certificates, strict=True))
        runs = list(zip(alone, together, strict=True))
        ratios = [a.seconds / b.seconds for a, b in runs]
        table.add_row(
            str(look),
            str(sum(certificate.draws for certificate in alone[0].certificates)),
            f"{statistics.median(run.seconds for run in alone):.2f}",
            f"{statistics.median(run.seconds for run in together):.2f}",
            f"{statistics.median(ratios):.2f}",
            " ".join(f"{ratio:.2f}" for ratio in ratios),
            f"{max(worst(run.latencies, run.fair_shares) for run in together):.2f}",
            f"{max(worst(b.latencies, [requests * t for t in a.latencies]) for a, b in runs):.2f}",
        )
    Console(width=140).print(table)


def serve(model: VisionLanguageModel, smoothing: Smoothing, images: Sequence[InputImage], threads: int) -> Run:
    """Certify all images, so many at once."""
    classifier = SmoothedClassifier(model, bundled_oracle(), smoothing)
    classifier.unreachable_target(smoothing.target_radius)
    start_together = threading.Barrier(threads)

    def one(image: InputImage) -> tuple[float, Certificate]:
        start_together.wait()
        start = time.perf_counter()
        certificate = classifier.certify(image, PROMPT)
        return time.perf_counter() - start, certificate

    with ThreadPoolExecutor(threads) as pool:
        begin = time.perf_counter()
        done = list(pool.map(one, images))
        seconds = time.perf_counter() - begin
    return Run(seconds, [latency for latency, _ in done], [certificate for _, certificate in done])


def worst(latencies: Sequence[float], shares: Sequence[float]) -> float:
    """The largest latency in units of its share."""
    return max(latency / share for latency, share in zip(latencies, shares, strict=True))


if __name__ == "__main__":
    typer.run(main)
