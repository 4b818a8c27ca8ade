"""A model that cannot be had is told within seconds, and why; the hubs here are servers of this machine."""

from __future__ import annotations

import shutil
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from guardrail.bundled.model import CHECKPOINT
from guardrail.errors import ModelError
from guardrail.models.local import hub
from tests.kit.command_line import guardrail_process

NOBODY = "http://127.0.0.1:9"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(autouse=True)
def _online(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    ask(monkeypatch, NOBODY)


def ask(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """Let this be the hub's address, as HF_ENDPOINT does in a new process."""
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", url)
    template = "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", url + template)


@contextmanager
def answering(status: int, code: str = "") -> Iterator[str]:
    """Serve a hub that answers everything so."""

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response(status)
            self.send_header("X-Error-Code", code)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def test_a_folder_needs_no_hub(tmp_path: Path) -> None:
    assert hub.options(tmp_path, "main") == hub.options(str(tmp_path), None) == {"trust_remote_code": False}


@pytest.mark.parametrize("source", ["./nowhere", "/no/where", "~/nowhere", "a/b/c", Path("nowhere")])
def test_a_missing_folder_is_called_that(source: str | Path) -> None:
    with pytest.raises(ModelError, match=f"^there is no folder {source}: name the folder"):
        hub.options(source, None)


def test_a_file_and_what_is_neither_folder_nor_id(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_text("")
    with pytest.raises(ModelError, match="it is a file"):
        hub.options(str(tmp_path / "model.safetensors"), None)
    with pytest.raises(ModelError, match="no folder my model, and it is no hub id either"):
        hub.options("my model", None)


def test_nobody_answers() -> None:
    with pytest.raises(ModelError, match=f"downloaded, and no connection to {NOBODY}.*such as ./my-model"):
        hub.options("some/model", None)


def test_a_hub_that_never_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "_PATIENCE", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        ask(monkeypatch, f"http://127.0.0.1:{silent.getsockname()[1]}")
        start = time.perf_counter()
        with pytest.raises(ModelError, match="ReadTimeout"):
            hub.options("some/model", None)
    assert time.perf_counter() - start < 5


@pytest.mark.parametrize(
    ("status", "code", "complaint"),
    [
        (404, "RepoNotFound", "has no such model"),
        (404, "RevisionNotFound", "no revision 'v1'"),
        (403, "GatedRepo", "accepted its terms"),
        (404, "", "status 404"),
        (503, "", "status 503"),
    ],
)
def test_what_the_hub_says(monkeypatch: pytest.MonkeyPatch, status: int, code: str, complaint: str) -> None:
    with answering(status, code) as url:
        ask(monkeypatch, url)
        with pytest.raises(ModelError, match=complaint):
            hub.options("some/model", "v1")


@pytest.mark.parametrize(("status", "code"), [(200, ""), (404, "EntryNotFound")])
def test_a_hub_that_has_the_model(monkeypatch: pytest.MonkeyPatch, status: int, code: str) -> None:
    with answering(status, code) as url:
        ask(monkeypatch, url)
        assert hub.options("some/model", "v1") == {"revision": "v1", "trust_remote_code": False}


@pytest.mark.slow
def test_the_command_says_it_in_one_line(sign: Path) -> None:
    chosen = {"GUARDRAIL_MODEL": "some/model", "GUARDRAIL_ORACLE": "refusal"}
    done = guardrail_process("certify", sign, "--prompt", "?", HF_HUB_OFFLINE="", HF_ENDPOINT=NOBODY, **chosen)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1, done.stderr


def test_a_commit_is_never_made_up(monkeypatch: pytest.MonkeyPatch) -> None:
    assert hub.commit("some/model", "v1") == "v1"
    with pytest.raises(ModelError, match="give its revision"):
        hub.commit("some/model", None)


@pytest.mark.slow
def test_what_was_downloaded_before_is_taken_from_the_cache(sign: Path, tmp_path: Path) -> None:
    model = tmp_path / "models--some--model"
    shutil.copytree(CHECKPOINT, model / "snapshots" / COMMIT)
    (model / "refs").mkdir()
    (model / "refs" / "main").write_text(COMMIT)
    chosen = {"GUARDRAIL_MODEL": "some/model", "GUARDRAIL_ORACLE": "bundled", "HF_HUB_CACHE": str(tmp_path)}
    for away in ({"HF_HUB_OFFLINE": "", "HF_ENDPOINT": NOBODY}, {"HF_HUB_OFFLINE": "1"}):
        done = guardrail_process(
            "certify", sign, "--prompt", "Follow the sign.", "--samples", "10", "--json", **chosen, **away
        )
        assert done.returncode in {0, 3}, done.stderr
        assert f'"model": "model@{COMMIT}' in done.stdout
        assert not done.stderr
