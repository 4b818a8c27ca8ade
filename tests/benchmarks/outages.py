"""Redis stopped, frozen, restarted empty, read-only and full, under load: what each costs a request.

    python -m tests.benchmarks.outages

Several threads ask without pause about pictures of which half were seen before. The model is a sum, so that what
Redis adds can be seen: a decision takes a millisecond or two.
"""

from __future__ import annotations

import itertools
import logging
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import redis
from rich.console import Console
from rich.table import Table

from guardrail import Decision, Guard, InputImage, Smoothing
from guardrail.stores import RedisStore, Signer
from tests.kit.redis_server import RedisServer
from tests.kit.synthetic import ORACLE, HalfSpaceVLM

SECRET = "a secret of this benchmark"
THREADS = 4
SECONDS = 3.0


class Load:
    """Asks without pause until it is stopped."""

    def __init__(self, guard: Guard) -> None:
        self.guard = guard
        self.log: list[tuple[float, float, Decision]] = []
        self.going = True
        self._numbers = itertools.count()

    def run(self) -> None:
        while self.going:
            number = next(self._numbers)
            shade = number // 2 * 7 if number % 2 else number % 40  # new ones and old ones
            pixels = np.full((8, 8, 3), 200, np.uint8)
            pixels[0, 0] = (shade % 256, shade // 256 % 256, number % 2)
            begun = time.perf_counter()
            decision = self.guard.check(InputImage(pixels), "?")
            self.log.append((time.monotonic(), time.perf_counter() - begun, decision))


def row(table: Table, name: str, log: list[tuple[float, float, Decision]], after: float, baseline: float) -> None:
    """Summarize requests that ended in a phase; `after`: when its breaker, if any, had opened."""
    seconds = np.array([s for _, s, _ in log]) * 1000
    settled = np.array([s for at, s, _ in log if at > after]) * 1000
    hits = sum(d.source == "hit" for *_, d in log) / len(log)
    lost = sum(d.certificate is None for *_, d in log)
    table.add_row(
        name,
        str(len(log)),
        str(lost),
        f"{hits:.2f}",
        f"{np.median(seconds):.2f}",
        f"{np.median(settled) - baseline:+.2f}",
        f"{np.percentile(settled, 99) - baseline:+.2f}",
        f"{settled.max() - baseline:+.1f}",
        f"{seconds.max():.0f}",
    )


def main() -> None:
    """Print the table of added latency."""
    logging.disable(logging.WARNING)
    table = Table(title=f"{THREADS} threads, {SECONDS:g} s a phase, time-out 0.5 s; milliseconds")
    for column in (
        "Redis",
        "requests",
        "without certificate",
        "share of hits",
        "median",
        "added, median",
        "added, 99 %",
        "added, worst once open",
        "worst at onset",
    ):
        table.add_column(column, justify="left" if column == "Redis" else "right")
    with tempfile.TemporaryDirectory() as folder:
        server = RedisServer(Path(folder))
        server.start()
        store = RedisStore(server.url, signer=Signer(SECRET))
        guard = Guard(HalfSpaceVLM(0.0), ORACLE, smoothing=Smoothing(samples=40, key=SECRET.encode()), store=store)
        load = Load(guard)

        def admin(do: Callable[[redis.Redis], object]) -> None:
            with redis.Redis.from_url(server.url) as client:
                do(client)

        def emptied() -> None:
            server.stop()
            server.start()

        phases: list[tuple[str, Callable[[], object]]] = [
            ("well", lambda: None),
            ("stopped", server.stop),
            ("started again, empty", server.start),
            ("frozen", server.freeze),
            ("thawed", server.thaw),
            ("restarted, empty", emptied),
            ("full", lambda: admin(lambda c: c.config_set("maxmemory", "1"))),
            ("has room again", lambda: admin(lambda c: c.config_set("maxmemory", "0"))),
            ("read-only", lambda: admin(lambda c: c.replicaof("127.0.0.1", "1"))),
            ("writable again", lambda: admin(lambda c: c.replicaof("NO", "ONE"))),
        ]
        baseline = 0.0
        with ThreadPoolExecutor(THREADS) as pool:
            for _ in range(THREADS):
                pool.submit(load.run)
            time.sleep(1.0)
            for name, change in phases:
                start, length = time.monotonic(), len(load.log)
                change()
                threading.Event().wait(SECONDS)
                log = [entry for entry in load.log[length:] if entry[0] > start]
                baseline = baseline or float(np.median([s for _, s, _ in log]) * 1000)
                row(table, name, log, start + 2.0, baseline)
            load.going = False
        guard.close()
        server.stop()
    Console(width=150).print(table)
    unchecked = sum(not d.certificate or d.certificate.image_sha256 == () for *_, d in load.log)
    Console().print(f"{len(load.log)} requests, {unchecked} without a certificate of their own")


if __name__ == "__main__":
    main()
