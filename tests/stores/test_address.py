"""What a Redis URL says is used, to the last option, or refused in words before the first request."""

from __future__ import annotations

import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from guardrail import Guard
from guardrail.errors import ConfigurationError, StoreError
from guardrail.stores import RedisStore, Signer
from guardrail.stores.redis.address import RedisAddress
from guardrail.stores.redis.connection import RedisConnection
from tests.kit.redis_server import RedisServer, free_port, redis_binary
from tests.kit.synthetic import ORACLE, HalfSpaceVLM
from tests.stores.test_outages import SMOOTHING, picture

SIGNER = Signer("a secret of these tests")
SENTINEL = "redis+sentinel://127.0.0.1/certificates"
TLS = "rediss://127.0.0.1"


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("redis://127.0.0.1?ssl_cert_reqs=none", "ssl_cert_reqs .* rediss"),
        ("redis://127.0.0.1?ssl=true", "ssl .* rediss"),
        ("redis://127.0.0.1?foo=bar", "foo .* none of .*client_name"),
        ("redis://127.0.0.1?retry=3", "retry .* leave it out"),
        ("redis://127.0.0.1?decode_responses=True", "decode_responses .* bytes"),
        ("redis://127.0.0.1?decode_responses=False", "decode_responses .* bytes"),
        ("redis://127.0.0.1?encoding=latin-1", "encoding .* bytes"),
        ("redis://127.0.0.1?encoding_errors=ignore", "encoding_errors .* bytes"),
        ("redis://127.0.0.1?retry_on_error=all", "retry_on_error .* leave it out"),
        ("redis://127.0.0.1?socket_timeout=1", "socket_timeout .* redis_timeout"),
        ("redis://127.0.0.1?host=elsewhere", "host .* none of"),
        ("redis://127.0.0.1?credential_provider=x", "credential_provider .* none of"),
        ("redis://127.0.0.1?connection_class=x", "connection_class .* none of"),
        ("redis://127.0.0.1?health_check_interval=often", "health_check_interval must be a whole number"),
        ("redis://127.0.0.1?max_connections=0", "max_connections must be .* at least 1, got '0'"),
        ("redis://127.0.0.1?protocol=4", "protocol must be .* at most 3"),
        ("redis://127.0.0.1?client_name=two%20words", "client_name must be .* without spaces"),
        ("redis://127.0.0.1?socket_keepalive=perhaps", "socket_keepalive must be true or false"),
        ("redis://127.0.0.1?client_name=", "client_name"),
        ("redis://127.0.0.1?db=1&db=2", "db is given twice"),
        ("redis://127.0.0.1/1?db=2", "db is given twice"),
        ("redis://127.0.0.1/certificates", "path .* number"),
        ("redis://a:b@127.0.0.1?password=c", "password is given twice"),
        ("redis://127.0.0.1,127.0.0.2", "malformed"),
        (f"redis://{'a' * 64}.invalid", "malformed"),
        ("redis://127.0.0.1/0#1", "malformed"),
        ("unix://tmp/redis.sock", "malformed"),
        ("unix:///tmp/redis.sock?socket_keepalive=true", "socket_keepalive is none of"),
        ("redis+cluster://127.0.0.1/3", "db must be 0"),
        ("redis+cluster://127.0.0.1?health_check_interval=5", "health_check_interval.*cluster"),
        ("rediss+cluster://127.0.0.1?ssl_ciphers=ECDHE", "ssl_ciphers.*cluster"),
        ("redis+cluster://127.0.0.1?sentinel_password=p", "sentinel_password is for Sentinels"),
        (f"{SENTINEL}?decode_responses=True", "decode_responses .* bytes"),
        (f"{SENTINEL}?foo=bar", "foo .* none of .*sentinel_password"),
        (f"{SENTINEL}?sentinel_tls=true", "sentinel_tls .* rediss"),
        (f"{SENTINEL}/zero", "path .* number"),
        ("redis+sentinel://one,,two/certificates", "malformed"),
        (f"{TLS}?ssl_cert_reqs=perhaps", "ssl_cert_reqs must be one of none, optional, required"),
        (f"{TLS}?ssl_ca_certs=/no/such/file.pem", "ssl_ca_certs cannot be used: No such file"),
        (f"{TLS}?ssl_certfile=/no/such/file.pem", "ssl_certfile cannot be used: No such file"),
        (f"{TLS}?ssl_keyfile=/no/such/file.pem", "ssl_keyfile needs"),
        (f"{TLS}?ssl_ciphers=nonsense", "ssl_ciphers cannot be used"),
        (f"{TLS}?ssl_min_version=771", "ssl_min_version must be one of 1.2, 1.3"),
    ],
)
def test_what_cannot_work_is_refused_in_words(url: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said.replace(" ", ".* ", 1)):
        RedisStore(url)


@pytest.mark.parametrize(
    "url",
    [
        "redis://127.0.0.1?hunter2=1&x=%00",
        "redis://127.0.0.1?password=hunter2&password=hunter2",
        "redis://user:hunter2@127.0.0.1?pass%20word=x",
        "redis://:12?hunter2@127.0.0.1/0",
        "redis://:hunter2/@127.0.0.1/0",
        f"{TLS}?ssl_password=hunter2&ssl_certfile=/no/such/file",
        f"{SENTINEL}?sentinel_password=hunter2&sentinel_password=hunter2",
    ],
)
def test_a_refusal_quotes_no_secret(url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        RedisStore(url)
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("client_name=guard", "name=guard "),
        ("db=3", "db=3 "),
        ("protocol=3&client_name=modern", "name=modern "),
        ("protocol=2&health_check_interval=7&socket_keepalive=no&client_name=all", "name=all "),
        ("username=default&password=ignored", "user=default "),
    ],
)
def test_options_that_work_are_used(query: str, shown: str, shared_redis: RedisServer) -> None:
    url = shared_redis.url.removesuffix("/0") + f"?{query}"
    store = RedisStore(url, signer=SIGNER)
    with Guard(HalfSpaceVLM(0.0), ORACLE, smoothing=SMOOTHING, store=store) as guard:
        assert guard.check(picture(200), "?").source == "computed"
        assert guard.check(picture(200), "?").source == "hit"
    with redis.Redis.from_url(shared_redis.url) as client:
        assert shown.encode() in client.execute_command("CLIENT", "LIST")
    store.close()


def test_the_size_of_the_pool_is_the_urls() -> None:
    assert RedisAddress.parse("redis://127.0.0.1?max_connections=3").max_connections == 3
    assert RedisConnection(f"{SENTINEL}?max_connections=4")._most == 4


def test_hosts_ports_and_logins_of_all_kinds_are_read() -> None:
    address = RedisAddress.parse("rediss+sentinel://user:pa%2Fss@one,[::1]:5/a%20service/3?sentinel_password=p%40")
    assert (address.kind, address.tls, address.service) == ("sentinel", True, "a service")
    assert address.hosts == (("one", 26379), ("::1", 5))
    assert dict(address.options) == {"username": "user", "password": "pa/ss", "db": 3}
    assert dict(address.sentinel) == {"password": "p@", "ssl": True}
    assert "pa/ss" not in repr(address) + address.where
    cluster = RedisAddress.parse("rediss+cluster://:p@one:7000,two:7001?ssl_cert_reqs=none")
    assert cluster.hosts == (("one", 7000), ("two", 7001))
    assert dict(cluster.options) == {"password": "p", "ssl_cert_reqs": "none"}


@pytest.fixture
def guarded_sentinel(tmp_path: Path) -> Iterator[str]:
    """Yield host and port of a Sentinel that asks for a password, before a server that asks for another."""
    server = RedisServer(tmp_path, "--requirepass", "theirs")
    server.url = server.url.replace("redis://", "redis://:theirs@")
    server.start()
    port = free_port()
    settings = tmp_path / "sentinel.conf"
    settings.write_text(
        f"port {port}\nbind 127.0.0.1\nrequirepass its-own\nsentinel monitor certificates 127.0.0.1 {server.port} 1\n"
        "sentinel auth-pass certificates theirs\n"
    )
    sentinel = subprocess.Popen([redis_binary(), str(settings), "--sentinel"], stdout=subprocess.DEVNULL)
    yield f"127.0.0.1:{port}"
    sentinel.kill()
    sentinel.wait()
    server.stop()


def test_a_sentinel_with_a_password_of_its_own_is_asked_with_it(guarded_sentinel: str) -> None:
    url = f"redis+sentinel://:theirs@{guarded_sentinel}/certificates/1?sentinel_password=its-own&client_name=guard"
    store = RedisStore(url, signer=SIGNER)
    until = time.monotonic() + 10.0
    while True:
        try:
            store.ping()
            break
        except StoreError:
            assert time.monotonic() < until
            time.sleep(0.1)
    info = store.connection.call(lambda client: client.client_info())
    assert (info["db"], info["name"]) == (1, "guard"), "options of a Sentinel's URL reach the servers"
    store.close()
    for wrong in ("", "?sentinel_password=wrong"):
        without = RedisStore(f"redis+sentinel://:theirs@{guarded_sentinel}/certificates{wrong}", signer=SIGNER)
        with pytest.raises(StoreError, match="sentinel_password"):
            without.ping()
        without.close()


@pytest.mark.parametrize(
    ("query", "tls"), [("ssl_cert_reqs=none", True), ("sentinel_tls=false", False), ("sentinel_tls=yes", True)]
)
@pytest.mark.slow
def test_sentinels_are_spoken_to_in_tls_unless_the_url_says_otherwise(query: str, tls: bool) -> None:
    heard = b""

    def listen() -> None:
        nonlocal heard
        other, _ = server.accept()
        with other:
            heard = other.recv(100)

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=listen)
        thread.start()
        connection = RedisConnection(f"rediss+sentinel://127.0.0.1:{server.getsockname()[1]}/certificates?{query}")
        with pytest.raises(StoreError):
            connection.call(lambda client: client.ping())
        thread.join(5.0)
        connection.close()
    assert heard[:1] == (b"\x16" if tls else b"*"), "a greeting of TLS begins with 22, a command of Redis with *"
