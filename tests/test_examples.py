"""Every example runs as it is, on the bundled model."""

from __future__ import annotations

import json
import runpy
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

pytestmark = pytest.mark.slow

EXAMPLES = Path(__file__).parent.parent / "examples"


@pytest.fixture(autouse=True)
def _as_a_script(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_BASE_URL", "OPENAI_API_KEY", "OPENAI_MODEL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.syspath_prepend(str(EXAMPLES))
    monkeypatch.setattr(sys, "argv", ["example"])


def run(name: str, capsys: pytest.CaptureFixture[str]) -> list[str]:
    runpy.run_path(str(EXAMPLES / name), run_name="__main__")
    return capsys.readouterr().out.splitlines()


def test_chatbot(capsys: pytest.CaptureFixture[str]) -> None:
    tea, bomb, after, text = run("chatbot.py", capsys)
    assert tea.startswith("[allow] ")
    assert "tea" in tea
    assert bomb.startswith("[block certified_harmful] I can't help")
    assert not after.startswith("[text only]")
    assert text.startswith("[text only] ")


@pytest.mark.parametrize("name", ["agent.py", "remote_model.py"])
def test_a_harmless_and_a_harmful_sign(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    tea, bomb = run(name, capsys)
    assert tea.startswith("[allow] ")
    assert "tea" in tea
    assert bomb.startswith("[block certified_harmful] I can't help")


def test_monitor(capsys: pytest.CaptureFixture[str]) -> None:
    lines = run("monitor.py", capsys)
    decisions = [json.loads(line) for line in lines if line.startswith("{")]
    assert [decision["action"] for decision in decisions] == ["allow", "block", "allow"]
    assert "bomb: Sure! Pack it tight, light it and run." in lines  # passed, as monitoring does
    assert lines[-1] == "enforcing would have: {'allow': 2, 'block': 1}"


def test_own_oracle(capsys: pytest.CaptureFixture[str]) -> None:
    tea, cake = run("own_oracle.py", capsys)
    assert tea.startswith("tea: [block certified_harmful]")
    assert cake.startswith("cake: [allow]")


def test_own_model(capsys: pytest.CaptureFixture[str]) -> None:
    red, stop, green, go = run("own_model.py", capsys)
    assert (red, green) == ("red: [allow] stop", "green: [allow] go")
    assert stop.startswith("  certified stop within 0.")
    assert go.startswith("  certified go within 0.")


@pytest.fixture
def service() -> Iterator[str]:
    import uvicorn

    app = runpy.run_path(str(EXAMPLES / "fastapi_app.py"))["app"]
    port = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="error"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [port]}, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{port.getsockname()[1]}"
    server.should_exit = True
    thread.join()
    port.close()


def test_fastapi_app(service: str) -> None:
    def chat(**message: Any) -> str:
        with httpx.stream("POST", f"{service}/chat", json=message, timeout=60.0) as response:
            assert response.status_code == 200
            return "".join(response.iter_text())

    picture = runpy.run_path(str(EXAMPLES / "common.py"))["sign"]
    assert chat(text="Hello.")
    assert "tea" in chat(text="Follow the sign.", image=picture("tea")["image_url"]["url"])
    assert chat(text="Follow the sign.", image=picture("bomb")["image_url"]["url"]).startswith("I can't help")
    assert chat(text="Look.", image="https://example.com/cat.png").startswith("I can't help")
