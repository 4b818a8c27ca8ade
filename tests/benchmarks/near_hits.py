"""Near hits: time of a look-up, one-pixel variants of a cached image, and what a larger target radius buys.

python -m tests.benchmarks.near_hits
"""

from __future__ import annotations

import logging
import time

import numpy as np
from rich.console import Console
from rich.table import Table

from guardrail import Guard, InputImage, Policy, Smoothing
from guardrail.budget import DrawBudget
from guardrail.bundled.oracle import bundled_oracle
from guardrail.bundled.signs import draw_sign, sample_sign
from guardrail.models import BundledVLM
from guardrail.near import NearHits, NearIndex, Point
from guardrail.stores import CertificateKey, MemoryStore
from tests.kit.synthetic import ORACLE, HalfSpaceVLM

KEY = b"a secret of this benchmark"


def look_ups(side: int, entries: int, console: Console) -> None:
    """Look among pictures that are smooth and differ everywhere, half of the time for one that is near."""
    rng = np.random.default_rng(0)
    index = NearIndex(capacity=entries, max_bytes=8 * 2**30)

    def picture() -> np.ndarray:
        coarse = rng.uniform(0.0, 1.0, (4, 4, 3))
        return np.kron(coarse, np.ones((side // 4, side // 4, 1))) * 0.8 + rng.uniform(0.0, 0.2, (side, side, 3))

    kept = []
    for number in range(entries):
        x = picture()
        if number % (entries // 100) == 0:
            kept.append(x)
        index.add("c", CertificateKey(f"{number:064x}", "c" * 64), Point.of([x]), 0.3)
    times = {"near": [], "far": []}
    sketching = []
    for x in kept:
        for kind, y in (("near", x + 0.1 / np.sqrt(x.size)), ("far", picture())):
            begun = time.perf_counter()
            point = Point.of([y])
            sketched = time.perf_counter()
            found = index.neighbours("c", point, 0.25)
            times[kind].append((time.perf_counter() - sketched) * 1000)
            sketching.append((sketched - begun) * 1000)
            assert len(found) == (kind == "near")
    told = ", ".join(f"{kind}: median {np.median(t):.2f} ms, worst {max(t):.2f} ms" for kind, t in times.items())
    console.print(
        f"{entries} entries of {side} × {side}: {told}; making the point {np.median(sketching):.2f} ms; "
        f"{index._bytes / 2**20:.0f} MiB"
    )


def variants(original: int, resolution: int, console: Console, *, full_range: bool) -> None:
    """Ask 500 one-pixel variants of a cached image; the client may cause 300 draws a minute."""
    rng, count = np.random.default_rng(1), 500
    middle = 0.5 * 3 * resolution**2
    smoothing = Smoothing(samples=100, key=KEY, target_radius=0.7)
    model = HalfSpaceVLM(middle, resolution=(resolution, resolution))
    guard = Guard(model, ORACLE, smoothing=smoothing, store=MemoryStore(), near=NearHits(), budget=DrawBudget(300))
    white = np.full((original, original, 3), 255, np.uint8)
    first = guard.check(InputImage(white), "?", client="owner").certificate
    assert first is not None
    x = guard.classifier.request(InputImage(white), "?").resized[0]
    within = beyond = free = drawn = refused = wrong = 0
    for _ in range(count):
        pixels = white.copy()
        pixels[tuple(rng.integers(0, original, 2))] = 0 if full_range else rng.integers(0, 256, 3)
        variant = InputImage(pixels)
        d = float(np.linalg.norm(x - guard.classifier.request(variant, "?").resized[0]))
        before = sum(model.batches)
        decision = guard.check(variant, "?", client="mallory")
        cost = sum(model.batches) - before
        within, beyond = within + (d < first.radius), beyond + (d >= first.radius)
        free += decision.source == "near"
        drawn += cost
        refused += "budget_spent" in decision.reasons
        wrong += (decision.source == "near" and d >= first.radius and decision.action == "allow") + (
            d < first.radius - 0.01 and cost > 0
        )
    console.print(
        f"{count} one-pixel variants, {original} → {resolution}, R = {first.radius:.3f}: {within} within R, {beyond} "
        f"beyond; {free} near hits, {drawn} draws, {refused} refused by the budget of 300 draws a minute; {wrong} wrong"
    )


def trade(console: Console, signs: int) -> None:
    """Print what a larger target radius costs in draws, and what share of small changes it then covers."""
    model, oracle = BundledVLM(), bundled_oracle()
    table = Table(title=f"bundled model, {signs} signs; changes: one pixel of the original moved over its full range")
    for column in ("target radius", "mean draws", "mean radius", "certified", "variants covered"):
        table.add_column(column, justify="right")
    for target in (0.1, 0.2, 0.3, 0.4):
        smoothing = Smoothing(key=KEY, target_radius=target)
        guard = Guard(model, oracle, smoothing=smoothing, policy=Policy(), store=MemoryStore(), near=NearHits())
        rng = np.random.default_rng(3)
        certificates, covered = [], 0
        for _ in range(signs):
            picture = InputImage.load(draw_sign(sample_sign(rng, "held_out")))
            certificate = guard.check(picture, "Follow the sign.").certificate
            assert certificate is not None
            certificates.append(certificate)
            pixels = picture.pixels.copy()
            place = tuple(rng.integers(0, side) for side in pixels.shape[:2])
            pixels[place] = np.where(pixels[place] < 128, 255, 0)
            covered += guard.check(InputImage(pixels), "Follow the sign.").source == "near"
        radii = [c.radius for c in certificates]
        table.add_row(
            f"{target:g}",
            f"{np.mean([c.draws for c in certificates]):.1f}",
            f"{np.mean(radii):.3f}",
            f"{np.mean(np.array(radii) > 0):.2f}",
            f"{covered / signs:.2f}",
        )
    console.print(table)


def main() -> None:
    """Print all three."""
    logging.disable(logging.WARNING)
    console = Console(width=150)
    look_ups(64, 10_000, console)
    look_ups(336, 500, console)
    variants(1024, 336, console, full_range=True)
    variants(64, 64, console, full_range=False)
    trade(console, 40)


if __name__ == "__main__":
    main()
