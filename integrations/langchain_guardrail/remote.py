"""Fetches remote images for a guard, from listed hosts only, and from no address that is not public.

A server that fetches what strangers name can be sent to addresses that only it can reach: by an address in the URL, a
name that resolves to one, a name that resolves to another address at the second look, or a redirect. Here a name is
resolved once, every address it has is checked, and the connection goes to a checked one.
"""

from __future__ import annotations

import ipaddress
import re
import socket
import ssl
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import Any, TypeAlias
from urllib.parse import SplitResult, urlsplit

import httpcore

from guardrail.errors import ConfigurationError, ImageError
from guardrail.images.limits import ImageLimits

Address: TypeAlias = "ipaddress.IPv4Address | ipaddress.IPv6Address"

_LONGEST_URL = 4096
_NAME = re.compile(r"(?=.{1,253}$)[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*")
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


class RemoteImages:
    """Which remote images may be fetched, and how. Give it to a door as `remote=`; without it, none are.

    Only `https`, at the port that the list names or 443. The address must be public, also for a listed host: not
    loopback, private, link-local, shared, reserved or multicast, in any spelling. No redirects, proxies, cookies,
    credentials or compression. What was fetched replaces the URL, so that the model's provider fetches nothing.

    Args:
        hosts: names, exactly as they stand in URLs, with a port if it is not 443: `images.example.com`,
            `cdn.example.com:8443`. An internationalized name in its ASCII form (`xn--…`).
        timeout: seconds for one image in all, resolving and connecting included.
        ssl_context: how certificates are verified; the default trusts the system's authorities.

    Raises:
        ConfigurationError: no host, or one that is no name; an impossible time.
    """

    def __init__(
        self, hosts: Iterable[str], *, timeout: float = 10.0, ssl_context: ssl.SSLContext | None = None
    ) -> None:
        if isinstance(hosts, str):
            raise ConfigurationError(f"hosts is a list of names, got the string {hosts!r}")
        self._hosts = frozenset(map(_listed, hosts))
        if not self._hosts:
            raise ConfigurationError("list at least one host, or leave remote= out: then no remote image is fetched")
        if not 0.0 < timeout < float("inf"):
            raise ConfigurationError(f"timeout is a positive number of seconds, got {timeout}")
        self._timeout = timeout
        self._ssl = ssl_context

    def __repr__(self) -> str:
        return f"RemoteImages({sorted(f'{host}:{port}' for host, port in self._hosts)})"

    def allows(self, url: str) -> bool:
        """Whether a URL names a listed host; nothing is asked of the network."""
        return _target(url) in self._hosts

    def fetch(self, url: str, limits: ImageLimits) -> bytes:
        """Return the file behind a URL.

        Args:
            url: as it stands in a content block.
            limits: bounds on its size.

        Raises:
            ImageTooLargeError: the file is above the limit; no more than that is read.
            ImageError: not from a listed host, not at a public address, not to be had, or not in time.
        """
        target = _target(url)
        if target is None or target not in self._hosts:
            raise ImageError("a remote image is not from a listed host: see RemoteImages(hosts)")
        deadline = time.monotonic() + self._timeout
        shown = f"the remote image from {target[0]}"
        try:
            return self._get(url, _Network(self, deadline), limits)
        except (httpcore.TimeoutException, TimeoutError) as error:
            raise ImageError(f"{shown} did not come within {self._timeout:g} seconds") from error
        except (httpcore.NetworkError, httpcore.ProtocolError, OSError) as error:
            raise ImageError(f"{shown} cannot be fetched ({type(error).__name__})") from error

    def _get(self, url: str, network: _Network, limits: ImageLimits) -> bytes:
        with (
            httpcore.ConnectionPool(
                ssl_context=self._context, max_connections=1, retries=0, network_backend=network
            ) as pool,
            pool.stream("GET", url, headers={"Accept": "image/*", "Accept-Encoding": "identity"}) as response,
        ):
            headers = {name.lower(): value for name, value in response.headers}
            if response.status != 200:
                hint = "; redirects are not followed" if 300 <= response.status < 400 else ""
                raise ImageError(f"the server of a remote image answered {response.status}{hint}")
            if headers.get(b"content-encoding", b"identity").lower() != b"identity":
                raise ImageError("a remote image came compressed, though none was asked for")
            if (length := headers.get(b"content-length", b"")).isdigit():
                limits.check_bytes(int(length))
            data = bytearray()
            for chunk in response.iter_stream():
                data += chunk
                limits.check_bytes(len(data))
            return bytes(data)

    @cached_property
    def _context(self) -> ssl.SSLContext:
        return self._ssl or ssl.create_default_context()

    def _resolve(self, host: str, port: int) -> Sequence[str]:
        """Return the numeric addresses of a name."""
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        return [str(entry[4][0]) for entry in found]

    def _permits(self, address: Address) -> bool:
        """Whether to connect there."""
        return is_public(address)

    def connectable(self, host: str, port: int, timeout: float) -> Sequence[str]:
        """Return a host's addresses, all of them checked.

        Raises:
            ImageError: one of them is not public (a name that has both kinds is not to be trusted), or the host is not
                listed.
        """
        if (host.rstrip("."), port) not in self._hosts:
            raise ImageError("a remote image is not from a listed host: see RemoteImages(hosts)")
        addresses = _within(timeout, lambda: self._resolve(host, port))
        if not addresses:
            raise ImageError(f"the host {host} of a remote image has no address")
        for address in addresses:
            if not self._permits(ipaddress.ip_address(address.partition("%")[0])):
                raise ImageError(f"the host {host} of a remote image has an address that is not public: not fetched")
        return addresses


class _Network(httpcore.NetworkBackend):
    """Connects to checked addresses, until a deadline. Host header and SNI stay the URL's: they are set above this."""

    def __init__(self, remote: RemoteImages, deadline: float) -> None:
        self._remote = remote
        self._deadline = deadline
        self._sockets = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ARG002 - the deadline's
        local_address: str | None = None,  # noqa: ARG002
        socket_options: Any = None,
    ) -> httpcore.NetworkStream:
        """Connect to the first address that answers, of those that were checked."""
        error: Exception = ImageError(f"the host {host} of a remote image cannot be reached")
        for address in self._remote.connectable(host, port, _left(self._deadline)):
            try:
                stream = self._sockets.connect_tcp(
                    address, port, timeout=_left(self._deadline), socket_options=socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as failed:
                error = failed
            else:
                return _Stream(stream, self._deadline)
        raise error


class _Stream(httpcore.NetworkStream):
    """A connection until a deadline, however slowly the other side drips."""

    def __init__(self, stream: httpcore.NetworkStream, deadline: float) -> None:
        self._stream = stream
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002
        return self._stream.read(max_bytes, _left(self._deadline))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002
        self._stream.write(buffer, _left(self._deadline))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ARG002
    ) -> httpcore.NetworkStream:
        stream = self._stream.start_tls(ssl_context, server_hostname, _left(self._deadline))
        return _Stream(stream, self._deadline)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def is_public(address: Address) -> bool:
    """Whether an address is one of the public Internet, and so is the IPv4 address that it may carry."""
    if address.is_multicast or not address.is_global:
        return False
    if isinstance(address, ipaddress.IPv4Address):
        return True
    carried = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
    if address in _NAT64:
        carried.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    return all(is_public(inner) for inner in carried if inner is not None)


def _listed(entry: str) -> tuple[str, int]:
    host, _, port = entry.strip().lower().rstrip(".").partition(":")
    if not _NAME.fullmatch(host) or _numeric(host) or not (port or "443").isdigit() or int(port or 443) > 65_535:
        raise ConfigurationError(
            f"{entry!r} is no host: list names such as 'images.example.com', with a port if it is not 443, "
            "without scheme, path or pattern"
        )
    return host, int(port or 443)


def _target(url: str) -> tuple[str, int] | None:
    """Return host and port of an https URL that says nothing else; None for any other."""
    if len(url) > _LONGEST_URL or not url.isascii() or re.search(r"[\s\\\x00-\x20\x7f]", url):
        return None
    try:
        parts: SplitResult = urlsplit(url)
        port = parts.port or 443
    except ValueError:
        return None
    host = (parts.hostname or "").rstrip(".")
    plain = parts.scheme.lower() == "https" and "@" not in parts.netloc and _NAME.fullmatch(host)
    return (host, port) if plain and not _numeric(host) else None


def _numeric(host: str) -> bool:
    """Whether a host is an IPv4 address, in any spelling that resolvers take: 127.1, 0x7f000001, 2130706433."""
    return re.fullmatch(r"(?:0x[0-9a-f]*|\d+)", host.rpartition(".")[2]) is not None


def _left(deadline: float) -> float:
    """Return the seconds until a deadline.

    Raises:
        TimeoutError: it is past.
    """
    left = deadline - time.monotonic()
    if left <= 0.0:
        raise TimeoutError
    return left


def _within(timeout: float, resolve: Any) -> Sequence[str]:
    """Resolve within a time, which the system's resolver does not know of."""
    executor = ThreadPoolExecutor(1, thread_name_prefix="guardrail-resolve")
    try:
        found: Sequence[str] = executor.submit(resolve).result(timeout)
    finally:
        executor.shutdown(wait=False)
    return found
