"""The event loop behind chat models: it starts, ends, and says when it is not there."""

import asyncio
import os
import subprocess
import sys
import threading

import pytest

from guardrail.chat_calls.background import BackgroundLoop
from guardrail.errors import ModelError


async def answer() -> int:
    return 42


def test_a_loop_that_cannot_start_keeps_nobody_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = BackgroundLoop()

    def no_more() -> None:
        raise OSError("too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(asyncio, "new_event_loop", no_more)
        patch.setattr(asyncio.events, "new_event_loop", no_more)
        with pytest.raises(ModelError, match="not running"):
            loop.submit(answer)
    loop.stop()


def test_one_client_that_cannot_be_closed_keeps_no_other_open() -> None:
    closed = []

    async def fail() -> None:
        raise RuntimeError("no")

    async def close() -> None:
        closed.append(threading.current_thread().name)

    loop = BackgroundLoop([fail, close])
    assert loop.submit(answer).result() == 42
    loop.stop()
    assert closed == ["guardrail-chat"]


def test_it_does_not_wait_for_itself() -> None:
    loop = BackgroundLoop()

    async def ask() -> object:
        return loop.submit(answer)

    with pytest.raises(ModelError, match="asks itself"):
        loop.submit(ask).result()
    loop.stop()


FORKED = """
import asyncio, os, signal
from guardrail.chat_calls.background import BackgroundLoop
from guardrail.errors import ModelError
async def answer(): return 42
loop = BackgroundLoop()
assert loop.submit(answer).result() == 42
child = os.fork()
if not child:
    signal.alarm(10)
    try:
        loop.submit(answer).result()
    except ModelError as error:
        os._exit(0 if "fork" in str(error) else 1)
    os._exit(2)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert loop.submit(answer).result() == 42
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_worker_is_told_rather_than_left_waiting() -> None:
    """Prefork servers load the application, then fork: the thread stays behind."""
    ended = subprocess.run([sys.executable, "-c", FORKED], capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 0, ended.stderr
