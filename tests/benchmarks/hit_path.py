"""The way of a hit: a one-megapixel PNG, Redis on loopback, and where the time goes.

python -m tests.benchmarks.hit_path
"""

from __future__ import annotations

import io
import logging
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image
from rich.console import Console
from rich.table import Table

from guardrail import Guard, Smoothing
from guardrail.bundled.oracle import bundled_oracle
from guardrail.bundled.signs import draw_sign, sample_sign
from guardrail.models import BundledVLM
from guardrail.stores import RedisStore, Signer
from guardrail.stores.seen import SeenFiles
from tests.kit.redis_server import RedisServer

SECRET = "a secret of this benchmark"
ROUNDS = 60


def photo(seed: int) -> bytes:
    """A sign of a megapixel, with the grain that makes a PNG of a photo large."""
    rng = np.random.default_rng(seed)
    sign = np.asarray(draw_sign(sample_sign(rng, "held_out", words=["tea"]), (1024, 1024)), np.float64)
    grain = rng.normal(0.0, 3.0, sign.shape)
    file = io.BytesIO()
    Image.fromarray(np.clip(sign + grain, 0, 255).astype(np.uint8)).save(file, "PNG")
    return file.getvalue()


def main() -> None:
    """Print medians, and the parts that a decision's own timings tell apart."""
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        server = RedisServer(Path(folder))
        server.start()
        store = RedisStore(server.url, signer=Signer(SECRET))
        smoothing = Smoothing(key=SECRET.encode(), target_radius=0.1)
        guard = Guard(BundledVLM(), bundled_oracle(), smoothing=smoothing, store=store)
        guard.warmup()
        file = photo(0)

        def ask(data: bytes, source: str) -> tuple[float, dict[str, float]]:
            begun = time.perf_counter()
            decision = guard.check(data, "Follow the sign.")
            seconds = time.perf_counter() - begun
            assert decision.source == source, decision
            return seconds * 1000, decision.timings

        misses = [ask(photo(seed), "computed") for seed in range(1, 6)]
        ask(file, "computed")
        seen = [ask(file, "hit") for _ in range(ROUNDS)]
        guard._seen = SeenFiles(None, guard.limits)
        unseen = [ask(file, "hit") for _ in range(ROUNDS)]
        guard.close()
        server.stop()

    table = Table(title=f"PNG of 1024 × 1024, {len(file) / 2**20:.1f} MiB; milliseconds, medians of {ROUNDS}")
    for column in ("way", "in all", "images", "store", "smoothing", "the rest", "times a seen hit"):
        table.add_column(column, justify="left" if column == "way" else "right")
    base = statistics.median(total for total, _ in seen)
    for name, runs in (("hit, bytes seen before", seen), ("hit, bytes not seen", unseen), ("miss", misses)):
        total = statistics.median(t for t, _ in runs)
        parts = [
            statistics.median(timings.get(stage, 0.0) for _, timings in runs)
            for stage in ("images", "store", "smoothing")
        ]
        cells = [f"{value:.2f}" for value in (total, *parts, total - sum(parts))]
        table.add_row(name, *cells, f"{total / base:.1f}")
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
