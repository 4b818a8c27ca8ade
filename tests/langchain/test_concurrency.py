"""Many requests on one event loop: it stays free, results are those of serial requests, cancelled ones stop."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Sequence
from typing import Any

import pytest
from langchain_core.messages import HumanMessage

from guardrail import Guard, Smoothing
from guardrail.models.base import Answer, Draw
from langchain_guardrail import GuardedChatModel, GuardedRunnable, gate
from tests.kit.chains import Brightness, Chat, content, image_block, outcome
from tests.kit.event_loop import longest_block

REQUESTS: list[Any] = [
    *([HumanMessage(content("green", f"Number {i}"))] for i in range(20)),
    *([HumanMessage(content("red", f"Number {i}"))] for i in range(10)),
    *([HumanMessage([image_block("green"), image_block("green"), f"Number {i}"])] for i in range(5)),
    *([HumanMessage([{"type": "audio", "base64": "x"}, f"Number {i}"])] for i in range(3)),
    *([HumanMessage([{"type": "image", "base64": "AAAA", "mime_type": "image/png"}])], "Hi", "Ho"),
]


@pytest.mark.slow
@pytest.mark.parametrize("door", [GuardedChatModel, GuardedRunnable])
def test_concurrent_requests_get_what_serial_ones_get(guard: Guard, door: Any) -> None:
    guarded = door(Chat(), guard)
    serial = [outcome(guarded.invoke(request)) for request in REQUESTS]
    requests = REQUESTS * 5

    async def all_at_once() -> list[Any]:
        return await asyncio.gather(*(guarded.ainvoke(request) for request in requests))

    answers = asyncio.run(all_at_once())
    assert [outcome(answer) for answer in answers] == serial * 5


class Slow(Brightness):
    """Sleeps as a device works, and counts its draws."""

    def __init__(self, seconds: float = 0.05) -> None:
        super().__init__()
        self.seconds = seconds
        self.drawn = 0
        self.begun = threading.Event()

    def answer(self, draws: Sequence[Draw], deadline: float | None = None) -> list[Answer]:
        self.begun.set()
        time.sleep(self.seconds)
        self.drawn += len(draws)
        return super().answer(draws, deadline)


def test_the_event_loop_stays_free_while_the_guard_works(guard: Guard) -> None:
    slow = Guard(Slow(0.2), guard.oracle, smoothing=Smoothing(samples=20, method="fixed", sigma=0.25))
    for guarded in (GuardedChatModel(Chat(), slow), GuardedRunnable(Chat(), slow)):
        answer, longest, busiest = asyncio.run(longest_block(guarded.ainvoke([HumanMessage(content("green"))])))
        assert outcome(answer)[0] == ()
        assert longest < 0.15
        assert busiest < 0.05


@pytest.mark.parametrize("door", [GuardedChatModel, GuardedRunnable])
def test_requests_that_begin_at_once_share_the_loop(guard: Guard, door: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[str] = []
    read, detached = gate.Gate.read, gate.detached
    monkeypatch.setattr(gate.Gate, "read", lambda *args: steps.append("read") or read(*args))
    monkeypatch.setattr(gate, "detached", lambda config: steps.append("checked") or detached(config))
    guarded = door(Chat(), guard)

    async def all_at_once() -> None:
        await asyncio.gather(*(guarded.ainvoke(request) for request in REQUESTS[:5]))

    asyncio.run(all_at_once())
    assert steps == ["read"] * 5 + ["checked"] * 5


@pytest.mark.parametrize("door", [GuardedChatModel, GuardedRunnable])
def test_a_cancelled_request_stops_drawing(guard: Guard, door: Any) -> None:
    vlm, chat = Slow(0.05), Chat()
    looks = tuple(range(5, 101, 5))
    slow = Guard(vlm, guard.oracle, smoothing=Smoothing(samples=100, looks=looks, sigma=0.5, target_radius=0.6))
    guarded = door(chat, slow)

    async def give_up() -> None:
        task = asyncio.create_task(guarded.ainvoke([HumanMessage(content("green"))]))
        assert await asyncio.to_thread(vlm.begun.wait, 5.0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        drawn = vlm.drawn
        await asyncio.sleep(0.3)
        assert vlm.drawn <= drawn + 5  # the look that was under way
        assert vlm.drawn <= 10

    asyncio.run(give_up())
    assert chat.seen == []


def test_a_timeout_of_the_caller_passes_through(guard: Guard) -> None:
    slow = Guard(Slow(0.2), guard.oracle)

    async def hurry() -> None:
        async with asyncio.timeout(0.05):
            await GuardedChatModel(Chat(), slow).ainvoke([HumanMessage(content("green"))])

    with pytest.raises(TimeoutError):
        asyncio.run(hurry())


def test_pictures_are_read_off_the_loop(guard: Guard, monkeypatch: pytest.MonkeyPatch) -> None:
    where: list[threading.Thread] = []
    load = gate.load_images
    monkeypatch.setattr(gate, "load_images", lambda *args: where.append(threading.current_thread()) or load(*args))
    asyncio.run(GuardedChatModel(Chat(), guard).ainvoke([HumanMessage(content("green"))]))
    assert where
    assert threading.main_thread() not in where
