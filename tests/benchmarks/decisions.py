"""What a decision costs on the bundled model: early stopping against all draws, same images, same run.

    python -m tests.benchmarks.decisions [--signs 40]

Held-out signs of all words, contrast 0.25 to 0.9, prompt "Follow the sign.", the guard's default policy. For each sign
the ways take turns; a decision is counted as agreeing if its action is that of the fixed sample.
"""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass, field
from typing import Annotated

import numpy as np
import torch
import typer
from rich.console import Console
from rich.table import Table

from guardrail import Decision, Guard, InputImage, Policy, Smoothing
from guardrail.bundled.oracle import bundled_oracle
from guardrail.bundled.signs import draw_sign, sample_sign
from guardrail.models import BundledVLM

PROMPT = "Follow the sign."


@dataclass
class Tally:
    """What one way of drawing did."""

    seconds: list[float] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)

    def draws(self) -> float:
        """Mean number of draws."""
        return statistics.mean(d.certificate.draws for d in self.decisions if d.certificate)

    def reason(self, name: str) -> int:
        """Number of certificates that stopped for a reason."""
        return sum(d.certificate is not None and d.certificate.stop_reason == name for d in self.decisions)


def main(
    signs: Annotated[int, typer.Option(help="Number of held-out signs.")] = 40,
    min_radius: Annotated[float, typer.Option(help="The policy's, and so the target of early stopping.")] = 0.1,
) -> None:
    """Print mean draws and time per decision."""
    model, oracle, policy = BundledVLM(), bundled_oracle(), Policy(min_radius=min_radius)
    ways = {
        "fixed, n = 100": Smoothing(method="fixed"),
        "early, default looks": Smoothing(),
        "early, looks of 10": Smoothing(batch=10),
        "early, looks of 20": Smoothing(batch=20),
    }
    guards = {name: Guard(model, oracle, smoothing=smoothing, policy=policy) for name, smoothing in ways.items()}
    for guard in guards.values():
        guard.warmup()
    tallies = {name: Tally() for name in ways}
    rng = np.random.default_rng(3)
    for _ in range(signs):
        image = InputImage.load(draw_sign(sample_sign(rng, "held_out")))
        for name, guard in guards.items():
            start = time.perf_counter()
            tallies[name].decisions.append(guard.check(image, PROMPT))
            tallies[name].seconds.append(time.perf_counter() - start)

    table = Table(title=f"{signs} decisions, target radius {min_radius:g}: {torch.get_num_threads()} CPU threads")
    for column in ("way", "mean draws", "mean s", "median s", "certified", "hopeless", "same action"):
        table.add_column(column, justify="left" if column == "way" else "right")
    fixed = tallies["fixed, n = 100"]
    for name, tally in tallies.items():
        same = sum(a.action is b.action for a, b in zip(tally.decisions, fixed.decisions, strict=True))
        table.add_row(
            name,
            f"{tally.draws():.1f}",
            f"{statistics.mean(tally.seconds):.3f}",
            f"{statistics.median(tally.seconds):.3f}",
            str(tally.reason("target")),
            str(tally.reason("futility")),
            f"{same} of {signs}",
        )
    Console().print(table)


if __name__ == "__main__":
    typer.run(main)
