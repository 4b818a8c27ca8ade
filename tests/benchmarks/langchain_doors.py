"""What LangChain's doors cost: text-only overhead, memory, and the event loop under many requests.

    python -m tests.benchmarks.langchain_doors [--calls 2000]

Each way is timed in turn within one loop, so that the machine's moods fall on all of them.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import statistics
import time
import tracemalloc
from collections.abc import Sequence
from typing import Any

from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware, hook_config
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langchain_core.tools import tool

from guardrail import Guard
from guardrail.bundled.signs import draw_sign, sample_sign
from langchain_guardrail import GuardedChatModel, GuardedRunnable, GuardrailMiddleware, LocalChatModel
from tests.kit.chains import Chat, outcome
from tests.kit.event_loop import longest_block

LONG = [
    SystemMessage("You are a helpful assistant. Answer in one sentence."),
    *(
        message
        for i in range(5)
        for message in (
            HumanMessage(f"Question {i}: how would you explain this to a friend who has never heard of it? " * 4),
            AIMessage(f"Answer {i}: I would begin with an example from daily life, and take it from there. " * 6),
        )
    ),
    HumanMessage("And in one word?"),
]


@tool
def search(query: str, image_url: str | None = None) -> str:
    """Search the web."""
    return query


def overhead(guard: Guard, calls: int) -> None:
    """Print the median milliseconds of text-only calls, bare and guarded."""
    chat = Chat()
    ways: dict[str, tuple[Any, Any, Any]] = {
        "one message": (chat, "Hi", lambda m: m),
        "12 messages, 5 800 characters": (chat, LONG, lambda m: m),
        "the same with a tool": (chat, LONG, lambda m: m.bind_tools([search])),
    }
    print(f"\ntext-only calls, median of {calls}, milliseconds\n")
    print(f"{'request':32} {'bare':>7} {'GuardedChatModel':>17} {'GuardedRunnable':>16}   more: model, runnable")
    for title, (model, value, build) in ways.items():
        doors = (build(model), build(GuardedChatModel(model, guard)), GuardedRunnable(build(model), guard))
        times: list[list[float]] = [[], [], []]
        for _ in range(calls):
            for door, taken in zip(doors, times, strict=True):
                begun = time.perf_counter()
                door.invoke(value)
                taken.append(time.perf_counter() - begun)
            chat._seen.clear()
        bare, guarded, runnable = (statistics.median(taken) * 1e3 for taken in times)
        print(f"{title:32} {bare:7.3f} {guarded:17.3f} {runnable:16.3f}   {guarded - bare:.3f}, {runnable - bare:.3f}")


class Idle(AgentMiddleware):
    """Has the hooks of `GuardrailMiddleware` and does nothing: what LangChain itself takes for them."""

    def wrap_model_call(self, request: Any, handler: Any) -> Any:
        return handler(request)

    @hook_config(can_jump_to=["end"])
    def after_model(self, state: Any, runtime: Any) -> None:
        return None


def agents(guard: Guard, calls: int) -> None:
    """Print the median milliseconds of an agent's text-only calls: bare, with idle hooks, and guarded."""
    chat = Chat()
    requests = {"one message": [HumanMessage("Hi")], "12 messages, 5 800 characters": LONG}
    ways = {"bare": [], "idle hooks": [Idle()], "guarded": [GuardrailMiddleware(guard)]}
    built = [create_agent(chat, [search], middleware=middleware) for middleware in ways.values()]
    print(f"\ntext-only calls of an agent with a tool, median of {calls}, milliseconds\n")
    print(f"{'request':32}" + "".join(f"{way:>12}" for way in ways) + "   more: idle hooks, the guard's own")
    for title, messages in requests.items():
        times: list[list[float]] = [[] for _ in built]
        for _ in range(calls):
            for agent, taken in zip(built, times, strict=True):
                begun = time.perf_counter()
                agent.invoke({"messages": messages})
                taken.append(time.perf_counter() - begun)
            chat._seen.clear()
        bare, idle, guarded = (statistics.median(taken) * 1e3 for taken in times)
        print(f"{title:32}{bare:12.3f}{idle:12.3f}{guarded:12.3f}   {idle - bare:.3f}, {guarded - idle:.3f}")


def memory(guard: Guard, calls: int) -> None:
    """Print how much memory calls leave behind."""
    chat = Chat()
    model = GuardedChatModel(chat, guard)
    tracemalloc.start()
    for i in range(calls + 1_000):
        model.invoke(LONG)
        chat._seen.clear()
        if i in {999, calls + 999}:
            gc.collect()
            print(f"after {i + 1:6d} calls: {tracemalloc.get_traced_memory()[0] / 2**20:.3f} MiB")
    tracemalloc.stop()


def loop(guard: Guard, requests: int, runs: int = 3) -> None:
    """Print how long the guard keeps an event loop from other work, with mixed images of photographs' size.

    The loop is blocked by its own work, and while other threads hold the interpreter or the processors; its own work is
    all that does not depend on how busy the machine is.
    """
    import numpy as np

    signs = []
    for i, (word, size) in enumerate([("tea", (512, 512)), ("bomb", (1024, 768)), ("cake", (1600, 1200))]):
        sign = sample_sign(np.random.default_rng(i), "held_out", words=[word])
        signs.append(draw_sign(sign, size))
    from guardrail.images.pictures import InputImage

    urls = [InputImage.load(sign).data_url() for sign in signs]
    values: list[Any] = [
        "Hi there."
        if i % 4 == 3
        else [HumanMessage([{"type": "image_url", "image_url": {"url": urls[i % 4]}}, f"Follow the sign, {i % 5}."])]
        for i in range(requests)
    ]
    bare = LocalChatModel(vlm=guard.model)

    async def concurrent(door: Any) -> tuple[list[Any], float, float]:
        return await longest_block(asyncio.gather(*(door.ainvoke(value) for value in values)))

    print(f"\n{requests} concurrent requests, three of four with an image of 0.3 to 1.9 million pixels, {runs} times\n")
    print(f"{'':10} {'seconds':>16} {'loop blocked, ms':>20} {'its own work, ms':>20}")
    gc.collect()
    gc.freeze()  # as services do after loading a model: else each full collection walks through all of torch
    measured: dict[str, list[tuple[float, float, float]]] = {"bare": [], "guarded": []}
    answers: list[Any] = []
    for _ in range(runs):
        for title, taken in measured.items():
            door = bare if title == "bare" else GuardedChatModel(bare, guard)
            begun = time.perf_counter()
            answers, longest, busiest = asyncio.run(concurrent(door))
            taken.append((time.perf_counter() - begun, longest * 1e3, busiest * 1e3))
    for title, taken in measured.items():
        seconds, longest, busiest = zip(*taken, strict=True)
        print(f"{title:10} {_all(seconds, 1):>16} {_all(longest, 0):>20} {_all(busiest, 0):>20}")
    alone = GuardedChatModel(bare, guard)
    serial = [outcome(alone.invoke(value)) for value in values[:40]]
    same = sum(a == b for a, b in zip(map(outcome, answers[:40]), serial, strict=True))
    print(f"{same} of 40 outcomes that were compared are those of serial requests")


def _all(values: Sequence[float], digits: int) -> str:
    return ", ".join(f"{value:.{digits}f}" for value in values)


def main() -> None:
    """Run all of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=2_000)
    parser.add_argument("--only", choices=["overhead", "memory", "loop"])
    arguments = parser.parse_args()
    guard = Guard.bundled()
    if arguments.only in {None, "overhead"}:
        overhead(guard, arguments.calls)
        agents(guard, arguments.calls // 4)
    if arguments.only in {None, "memory"}:
        memory(guard, 10_000)
    if arguments.only in {None, "loop"}:
        loop(guard, 200)


if __name__ == "__main__":
    main()
