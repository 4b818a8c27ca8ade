"""What asynchronous tests need: all of a stream, and how long a task keeps the loop from everything else."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterable
from typing import Any


async def gather(stream: AsyncIterable[Any]) -> list[Any]:
    """Return everything of a stream."""
    return [item async for item in stream]


async def longest_block(task: Any) -> tuple[Any, float, float]:
    """Await a task; return its result and the longest time, in seconds, in which nothing else could run on the loop.

    First as seconds that passed, which depend on how busy the machine is, then as the loop's own seconds of work.
    """
    longest, busiest, done = 0.0, 0.0, False

    async def watch() -> None:
        nonlocal longest, busiest
        last, work = time.perf_counter(), time.thread_time()
        while not done:
            await asyncio.sleep(0.001)
            now, worked = time.perf_counter(), time.thread_time()
            longest, busiest = max(longest, now - last - 0.001), max(busiest, worked - work)
            last, work = now, worked

    watcher = asyncio.create_task(watch())
    result = await task
    done = True
    await watcher
    return result, longest, busiest
