"""Many identical requests over several processes, with one Redis: how many computations, also when an owner is killed.

python -m tests.benchmarks.concurrency
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import signal
import statistics
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import redis

from guardrail import Guard, InputImage, Smoothing
from guardrail.models.base import Answer, Draw
from guardrail.stores import RedisStore, Signer
from tests.kit.redis_server import RedisServer
from tests.kit.synthetic import ORACLE, HalfSpaceVLM

SECRET = "a secret of this benchmark"
PICTURE = np.full((64, 64, 3), 200, np.uint8)


class SlowVLM(HalfSpaceVLM):
    """Counts its computations in Redis, and takes its time."""

    counter: redis.Redis
    seconds: float = 0.5

    def answer(self, draws: Sequence[Draw], deadline: float | None = None) -> list[Answer]:
        if draws[0].index == 0:
            self.counter.rpush("computations", os.getpid())
        time.sleep(self.seconds)
        return super().answer(draws, deadline)


def replica(url: str, prompt: str, requests: int, start: Any, results: Any) -> None:
    model = SlowVLM(0.0)
    model.counter = redis.Redis.from_url(url)
    store = RedisStore(url, signer=Signer(SECRET), lock_ttl=2.0)
    guard = Guard(model, ORACLE, smoothing=Smoothing(key=SECRET.encode()), store=store)
    picture = InputImage(PICTURE)
    start.wait()

    def ask(_: int) -> tuple[str, str, float]:
        begun = time.perf_counter()
        decision = guard.check(picture, prompt)
        return str(decision.action), str(decision.source), time.perf_counter() - begun

    with ThreadPoolExecutor(requests) as pool:
        results.put(list(pool.map(ask, range(requests))))


def run(url: str, prompt: str, processes: int, requests: int, *, kill: bool) -> None:
    spawn = multiprocessing.get_context("spawn")
    start, results = spawn.Barrier(processes + 1), spawn.Queue()
    workers = [spawn.Process(target=replica, args=(url, prompt, requests, start, results)) for _ in range(processes)]
    for worker in workers:
        worker.start()
    with redis.Redis.from_url(url) as client:
        client.delete("computations")
        start.wait()
        begun = time.perf_counter()
        if kill:
            while not (owners := client.lrange("computations", 0, -1)):
                time.sleep(0.01)
            time.sleep(0.1)
            os.kill(int(owners[0]), signal.SIGKILL)
        answers = [answer for _ in range(processes - kill) for answer in results.get(timeout=120)]
        wall = time.perf_counter() - begun
        computations = client.llen("computations")
    for worker in workers:
        worker.join()
    seconds = sorted(answer[2] for answer in answers)
    print(
        json.dumps(
            {
                "processes": processes,
                "owner killed": kill,
                "requests answered": len(answers),
                "allowed": sum(action == "allow" for action, _, _ in answers),
                "computations": computations,
                "computed here": sum(source == "computed" for _, source, _ in answers),
                "wall seconds": round(wall, 2),
                "median seconds": round(statistics.median(seconds), 2),
                "slowest seconds": round(seconds[-1], 2),
            }
        )
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--requests", type=int, default=250, help="per process")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        server = RedisServer(Path(folder))
        server.start()
        try:
            run(server.url, "all live", options.processes, options.requests, kill=False)
            run(server.url, "one is killed", options.processes, options.requests, kill=True)
        finally:
            server.stop()


if __name__ == "__main__":
    main()
