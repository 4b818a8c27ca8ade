"""Remote images: fetched from listed hosts at public addresses only, once, within limits; over real TLS connections."""

from __future__ import annotations

import asyncio
import ipaddress
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import HumanMessage

from guardrail import Guard, ImageLimits, Policy, Reason
from guardrail.errors import ConfigurationError, ImageError, ImageTooLargeError
from langchain_guardrail import GuardedChatModel, GuardedRunnable, GuardrailMiddleware, RemoteImages, get_decision
from langchain_guardrail.remote import is_public
from tests.kit.chains import Chat, content, file, picture, pixels

PEM = Path(__file__).with_name("images.test.pem")
LIMITS = ImageLimits()


class Handler(BaseHTTPRequestHandler):
    server: Web

    def do_GET(self) -> None:
        self.server.seen.append((self.path, dict(self.headers)))
        answer = self.server.answers[self.path.partition("?")[0]]
        with suppress(OSError):  # the client had enough
            answer(self)

    def reply(self, body: bytes, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content_Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None: ...


def _drip(handler: Handler) -> None:
    for byte in b"HTTP/1.1 200 OK\r\nX-Slow: " + b"x" * 100:
        handler.wfile.write(bytes([byte]))
        time.sleep(0.05)


def _endless(handler: Handler) -> None:
    handler.send_response(200)
    handler.end_headers()
    while True:
        handler.wfile.write(b"\0" * 65536)


class Web(ThreadingHTTPServer):
    """A small server with TLS, and what it saw."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.seen: list[tuple[str, dict[str, str]]] = []
        self.names: list[str | None] = []
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(PEM)
        context.sni_callback = lambda _, name, __: self.names.append(name)
        self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        self.answers: dict[str, Callable[[Handler], None]] = {
            "/green.png": lambda h: h.reply(file(picture("green"))),
            "/red.png": lambda h: h.reply(file(picture("red"))),
            "/moved": lambda h: h.reply(b"", 302, Location="https://127.0.0.1/secret"),
            "/missing": lambda h: h.reply(b"no", 404),
            "/zipped": lambda h: h.reply(b"\x1f\x8b", Content_Encoding="gzip"),
            "/large": lambda h: h.reply(b"\0" * 1000),
            "/boasting": lambda h: h.reply(b"", Content_Length="99999999999"),
            "/endless": _endless,
            "/drip": _drip,
        }

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    def url(self, path: str) -> str:
        return f"https://images.test:{self.port}{path}"


@pytest.fixture
def web() -> Iterator[Web]:
    server = Web()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


class Here(RemoteImages):
    """Finds every name at given addresses, and may connect to this machine: only a subclass can be made so."""

    addresses: Sequence[str] = ("127.0.0.1",)
    asked = 0

    def _resolve(self, host: str, port: int) -> Sequence[str]:
        self.asked += 1
        return self.addresses

    def _permits(self, address: Any) -> bool:
        return address == ipaddress.ip_address("127.0.0.1") or super()._permits(address)


@pytest.fixture
def remote(web: Web) -> Here:
    context = ssl.create_default_context(cafile=str(PEM))
    return Here([f"images.test:{web.port}"], timeout=1.0, ssl_context=context)


def block(url: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url}}


FORMS: dict[str, Callable[[str], dict[str, Any]]] = {
    "image_url": block,
    "bare": lambda url: {"type": "image_url", "image_url": url},
    "responses": lambda url: {"type": "input_image", "image_url": url},
    "v0": lambda url: {"type": "image", "source_type": "url", "url": url},
    "v1": lambda url: {"type": "image", "url": url},
    "anthropic": lambda url: {"type": "image", "source": {"type": "url", "url": url}},
}


def reasons(answer: Any) -> tuple[Reason, ...]:
    decision = get_decision(answer)
    assert decision is not None
    return decision.reasons


@pytest.mark.parametrize("form", FORMS)
def test_what_was_fetched_and_checked_replaces_the_url(guard: Guard, web: Web, remote: Here, form: str) -> None:
    chat = Chat()
    model = GuardedChatModel(chat, guard, remote=remote)
    assert reasons(model.invoke([HumanMessage(["?", FORMS[form](web.url("/green.png"))])])) == ()
    assert "images.test" not in repr(chat.seen)
    assert chat.seen[0][0].content[1] != FORMS[form](web.url("/green.png"))
    assert reasons(model.invoke([HumanMessage(["?", FORMS[form](web.url("/red.png"))])])) == (Reason.CERTIFIED_HARMFUL,)
    assert [path for path, _ in web.seen] == ["/green.png", "/red.png"]  # each once: nobody else fetches


def test_the_request_names_the_host_and_nothing_else(web: Web, remote: Here) -> None:
    assert remote.fetch(web.url("/green.png?size=2"), LIMITS) == file(picture("green"))
    ((path, headers),) = web.seen
    assert (path, headers["Host"], web.names) == ("/green.png?size=2", f"images.test:{web.port}", ["images.test"])
    assert {name.lower() for name in headers} == {"host", "accept", "accept-encoding"}
    assert remote.asked == 1  # resolved once: the checked address is the one that was connected to


def test_every_door_takes_it(guard: Guard, web: Web, remote: Here) -> None:
    value = [HumanMessage([block(web.url("/red.png"))])]
    assert reasons(GuardedRunnable(Chat(), guard, remote=remote).invoke(value)) == (Reason.CERTIFIED_HARMFUL,)
    assert reasons(asyncio.run(GuardedRunnable(Chat(), guard, remote=remote).ainvoke(value))) == (
        Reason.CERTIFIED_HARMFUL,
    )
    agent = create_agent(Chat(), [], middleware=[GuardrailMiddleware(guard, remote=remote)])
    assert reasons(agent.invoke({"messages": value})["messages"][-1]) == (Reason.CERTIFIED_HARMFUL,)


def test_it_is_off_by_default_and_for_other_hosts(guard: Guard, web: Web, remote: Here) -> None:
    value = [HumanMessage([block(web.url("/green.png"))])]
    for model in (GuardedChatModel(Chat(), guard), GuardedRunnable(Chat(), guard)):
        assert reasons(model.invoke(value)) == (Reason.UNCHECKED_MEDIA,)
    model = GuardedChatModel(Chat(), guard, remote=remote)
    assert reasons(model.invoke([HumanMessage([block("https://elsewhere.test/green.png")])])) == (
        Reason.UNCHECKED_MEDIA,
    )
    assert web.seen == []
    assert remote.asked == 0


def test_the_fetched_bytes_go_on_also_where_originals_would(make_guard: Any, web: Web, remote: Here) -> None:
    chat = Chat()
    model = GuardedChatModel(chat, make_guard(Policy(forward="original")), remote=remote)
    model.invoke([HumanMessage([block(web.url("/green.png"))])])
    assert pixels(chat.seen[0][0].content[0]["image_url"]["url"]).shape == (12, 20, 3)  # type: ignore[index]


@pytest.mark.parametrize(
    ("path", "error", "match"),
    [
        ("/moved", ImageError, "302; redirects are not followed"),
        ("/missing", ImageError, "404"),
        ("/zipped", ImageError, "compressed"),
        ("/boasting", ImageTooLargeError, "above the limit"),
        ("/large", ImageTooLargeError, "above the limit of 999"),
        ("/endless", ImageTooLargeError, "above the limit"),
        ("/drip", ImageError, "did not come within"),
    ],
)
def test_limits(web: Web, remote: Here, path: str, error: type[ImageError], match: str) -> None:
    limits = ImageLimits(max_bytes=999) if path == "/large" else LIMITS
    remote._timeout = 0.3 if path == "/drip" else 5.0
    begun = time.monotonic()
    with pytest.raises(error, match=match):
        remote.fetch(web.url(path), limits)
    assert time.monotonic() - begun < 3.0
    assert [seen for seen, _ in web.seen] == [path]


def test_a_failed_fetch_is_a_block(guard: Guard, web: Web, remote: Here) -> None:
    model = GuardedChatModel(Chat(), guard, remote=remote)
    assert reasons(model.invoke([HumanMessage([block(web.url("/missing"))])])) == (Reason.UNREADABLE_IMAGE,)
    assert reasons(model.invoke([HumanMessage([block(web.url("/boasting"))])])) == (Reason.IMAGE_TOO_LARGE,)
    many = [HumanMessage([block(web.url("/green.png"))] * 9)]
    web.seen.clear()
    assert reasons(model.invoke(many)) == (Reason.TOO_MANY_IMAGES,)
    assert web.seen == []


@pytest.mark.parametrize(
    "addresses",
    [
        *([address] for address in ("10.0.0.1", "127.0.0.2", "169.254.169.254", "192.168.1.1", "100.64.0.1")),
        *([address] for address in ("0.0.0.0", "224.0.0.1", "::1", "fe80::1%eth0", "fc00::1", "::")),  # noqa: S104
        *([address] for address in ("::ffff:10.0.0.1", "64:ff9b::a00:1", "2002:a00:1::")),
        ["127.0.0.1", "10.0.0.1"],  # one good address does not make up for a bad one
        [],
    ],
)
def test_a_listed_host_at_an_address_that_is_not_public_is_not_fetched(
    web: Web, remote: Here, addresses: list[str]
) -> None:
    remote.addresses = addresses
    with pytest.raises(ImageError, match=r"not public|no address"):
        remote.fetch(web.url("/green.png"), LIMITS)
    assert web.seen == []


def test_loopback_is_refused_by_the_real_rules(web: Web) -> None:
    """The subclass above may connect here; `RemoteImages` may not, whatever it is told."""
    remote = RemoteImages(
        [f"localhost:{web.port}"], timeout=1.0, ssl_context=ssl.create_default_context(cafile=str(PEM))
    )
    with pytest.raises(ImageError, match="not public"):
        remote.fetch(f"https://localhost:{web.port}/green.png", LIMITS)
    assert web.seen == []


@pytest.mark.parametrize(
    ("address", "public"),
    [
        *(("8.8.8.8", True), ("1.1.1.1", True), ("2606:4700::1111", True), ("64:ff9b::808:808", True)),
        *(("172.16.0.1", False), ("198.18.0.1", False), ("192.0.2.1", False), ("240.0.0.1", False)),
        *(("255.255.255.255", False), ("2001:db8::1", False), ("ff02::1", False), ("::ffff:127.0.0.1", False)),
        *(("2001:0:a00:1::", False), ("64:ff9b::7f00:1", False)),
    ],
)
def test_public_addresses(address: str, public: bool) -> None:
    assert is_public(ipaddress.ip_address(address)) == public


@pytest.mark.parametrize(
    "url",
    [
        *("http://images.test/x", "ftp://images.test/x", "//images.test/x", "images.test/x", "https:///x", "https://"),
        *("https://user@images.test/x", "https://images.test@evil.test/x", "https://images.test:444/x"),
        *("https://images.test.evil.test/x", "https://evil.test/images.test", "https://IMAGES.test\\@evil.test/"),
        *("https://images.test:port/x", "https://images.test/x y", " https://images.test/x", "https://images.test/\n"),
        *("https://[::1]/x", "https://127.0.0.1/x", "https://2130706433/x", "https://0x7f.1/x", "https://ímages.test/"),
        f"https://images.test/{'x' * 5000}",
    ],
)
def test_urls_that_name_something_else_are_not_allowed(url: str) -> None:
    remote = RemoteImages(["images.test"])
    assert not remote.allows(url)
    with pytest.raises(ImageError, match="listed"):
        remote.fetch(url, LIMITS)


@pytest.mark.parametrize(
    "url", ["https://images.test/x", "HTTPS://Images.Test/x", "https://images.test:443/x", "https://images.test./x?y#z"]
)
def test_urls_that_are_allowed(url: str) -> None:
    assert RemoteImages(["images.test"]).allows(url)


@pytest.mark.parametrize(
    "hosts", [[], "images.test", ["https://images.test"], ["*.test"], ["127.0.0.1"], ["x:y"], ["a b"], ["10.1"], [""]]
)
def test_impossible_lists(hosts: Any) -> None:
    with pytest.raises(ConfigurationError, match="host"):
        RemoteImages(hosts)


def test_certificates_are_verified(web: Web) -> None:
    with pytest.raises(ImageError, match="cannot be fetched"):
        Here([f"images.test:{web.port}"]).fetch(web.url("/green.png"), LIMITS)
    other = Here([f"other.test:{web.port}"], ssl_context=ssl.create_default_context(cafile=str(PEM)))
    with pytest.raises(ImageError, match="cannot be fetched"):
        other.fetch(f"https://other.test:{web.port}/green.png", LIMITS)


def test_the_environments_proxy_is_not_used(web: Web, remote: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert remote.fetch(web.url("/green.png"), LIMITS)


def test_a_resolver_that_hangs_is_not_waited_for(web: Web, remote: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()
    monkeypatch.setattr(remote, "_resolve", lambda host, port: [str(release.wait(5.0))])
    remote._timeout = 0.2
    with pytest.raises(ImageError, match="did not come within"):
        remote.fetch(web.url("/green.png"), LIMITS)
    release.set()


def test_text_that_mentions_a_listed_host_stays_text(guard: Guard, web: Web, remote: Here) -> None:
    model = GuardedChatModel(Chat(), guard, remote=remote)
    assert get_decision(model.invoke(f"See {web.url('/green.png')}")) is None
    assert reasons(model.invoke([HumanMessage([*content(), {"type": "text", "text": web.url("/red.png")}])])) == ()
    assert web.seen == []
