"""A small real HTTP server that speaks OpenAI's chat-completions protocol, for tests of clients.

It serves a `Speaker`: the bundled model, or a synthetic one whose probabilities are known. Its manners are those of
real servers at their worst: it filters harmful answers, gives them slowly, cuts them off, or limits the rate.
"""

from __future__ import annotations

import base64
import io
import json
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from guardrail.models import BundledVLM
from guardrail.models.base import Draw
from guardrail.prompts import ImagePlace, Part, Prompt, Turn


@dataclass(frozen=True)
class Asked:
    """A request as the server read it; to a local model it looks like a draw."""

    pictures: tuple[NDArray[np.float32], ...]
    prompt: Prompt
    sampling_seed: int
    seeded: bool
    body: dict[str, Any] = field(repr=False)

    def images(self) -> list[NDArray[np.float32]]:
        return list(self.pictures)

    @property
    def sizes(self) -> list[tuple[int, int]]:
        return [picture.shape[:2] for picture in self.pictures]


Speaker = Callable[[Asked], str]


def bundled(model: BundledVLM) -> Speaker:
    """Answer with the bundled model, whose seeds it honours."""
    return lambda asked: model.answer([cast("Draw", asked)])[0].text


@dataclass
class Manners:
    """How a server treats its answers, and what it saw."""

    harmful: Callable[[str], bool] = lambda text: "bad" in text
    filters: bool = False
    """Harmful answers are withheld, with finish reason `content_filter`."""
    cuts: bool = False
    """Connections are closed in the middle of harmful answers."""
    slow: float = 0.0
    """Seconds that a harmful answer takes."""
    first: Callable[[int], tuple[int, dict[str, str]] | None] = lambda number: None
    """Status and headers with which request `number` (from 1) is rejected before anything is generated."""
    message: dict[str, Any] = field(default_factory=dict)
    """Replaces parts of every answer's choice: `message`, `finish_reason`."""
    asked: list[Asked] = field(default_factory=list)
    busy: int = 0
    busiest: int = 0


@contextmanager
def serve(speaker: Speaker, manners: Manners | None = None, port: int = 0) -> Iterator[str]:
    """Serve on a port of this machine, a free one if 0; gives the base URL for clients."""
    server = _Server(("127.0.0.1", port), _Handler)
    server.speaker, server.manners = speaker, manners or Manners()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128
    speaker: Speaker
    manners: Manners

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.lock = threading.Lock()

    def handle_error(self, *arguments: Any) -> None:
        """A client that hangs up is no error of the server's."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path != "/v1/chat/completions":
            return self._send(404, {"error": {"message": f"no path {self.path}"}})
        manners = self.server.manners
        asked = _read(body)
        with self.server.lock:
            manners.asked.append(asked)
            number = len(manners.asked)
            manners.busy += 1
            manners.busiest = max(manners.busiest, manners.busy)
        try:
            rejected = manners.first(number)
            if rejected is not None:
                status, headers = rejected
                return self._send(status, {"error": {"message": "not now", "code": "not_now"}}, headers)
            return self._answer(body, asked, manners)
        finally:
            with self.server.lock:
                manners.busy -= 1

    def _answer(self, body: dict[str, Any], asked: Asked, manners: Manners) -> None:
        text = self.server.speaker(asked)
        finish = "stop"
        tokens = len(text.split())
        if manners.harmful(text):
            time.sleep(manners.slow)
            if manners.cuts:
                return self._cut(text)
            if manners.filters:
                text, finish = "", "content_filter"
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish}
        return self._send(
            200,
            {
                "id": "chatcmpl-1",
                "object": "chat.completion",
                "created": 0,
                "model": body["model"],
                "choices": [choice | manners.message],
                "usage": {"prompt_tokens": 10, "completion_tokens": tokens, "total_tokens": 10 + tokens},
            },
        )

    def _cut(self, text: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", "1000")
        self.end_headers()
        self.wfile.write(json.dumps({"choices": text})[:20].encode())
        self.wfile.flush()
        self.close_connection = True

    def _send(self, status: int, content: dict[str, Any], headers: dict[str, str] | None = None) -> None:
        data = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002 - the library's name
        """Say nothing."""


def _read(body: dict[str, Any]) -> Asked:
    pictures: list[NDArray[np.float32]] = []
    turns: list[Turn] = []
    for message in body["messages"]:
        content = message["content"]
        parts: list[Part] = []
        blocks: list[dict[str, Any]] = [{"type": "text", "text": content}] if isinstance(content, str) else content
        for block in blocks:
            if block["type"] == "text":
                parts.append(block["text"])
            else:
                parts.append(ImagePlace(len(pictures)))
                data = base64.b64decode(block["image_url"]["url"].removeprefix("data:image/png;base64,"))
                pictures.append((np.asarray(Image.open(io.BytesIO(data))) / 255.0).astype(np.float32))
        turns.append(Turn(message["role"], tuple(parts)))
    seed = body.get("seed")
    chosen = secrets.randbits(63) if seed is None else seed
    return Asked(tuple(pictures), Prompt(tuple(turns)), chosen, seed is not None, body)
