"""URLs of Redis, read to the last option: what redis-py would drop, or refuse on connecting, is refused here."""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from guardrail.errors import ConfigurationError

Kind = Literal["server", "socket", "cluster", "sentinel"]

_SCHEMES: Mapping[str, tuple[Kind, bool]] = {
    "redis": ("server", False),
    "rediss": ("server", True),
    "unix": ("socket", False),
    "redis+cluster": ("cluster", False),
    "rediss+cluster": ("cluster", True),
    "redis+sentinel": ("sentinel", False),
    "rediss+sentinel": ("sentinel", True),
}
_WORDS = (
    "redis://, rediss:// or unix://; for Sentinel redis+sentinel://, for Cluster redis+cluster://, with TLS rediss+"
)


@dataclass(frozen=True)
class RedisAddress:
    """Where a Redis is, and how to connect to it."""

    kind: Kind
    tls: bool
    where: str
    """Hosts and ports, or a path, without secrets."""
    hosts: tuple[tuple[str, int], ...]
    """Of the server, the cluster's nodes, or the Sentinels; none for a socket."""
    options: Mapping[str, Any] = field(repr=False)
    """Of connections to servers, by redis-py's names; the path of a socket among them."""
    max_connections: int | None
    service: str = ""
    """What the Sentinels call the servers."""
    sentinel: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """Of connections to Sentinels."""

    @classmethod
    def parse(cls, url: str) -> RedisAddress:
        """Read a URL; nothing is connected to.

        Raises:
            ConfigurationError: it cannot be read, or has an option that is unknown or cannot work. No text of it is
                quoted that may be a secret.
        """
        scheme = url.partition("://")[0]
        try:
            parts = urlsplit(url)
            kind, tls = _SCHEMES[scheme]
            address = cls._of(parts, kind, tls)
        except ConfigurationError:
            raise
        except (KeyError, ValueError):  # its text may quote the password
            said = re.match(r"[a-z+]{1,20}(?=://)", url)
            found = f"its scheme is {said[0]!r}" if said else "it has no scheme"
            raise ConfigurationError(
                f"the Redis URL is malformed ({found}): write redis://:password@host:port/0, special characters of the "
                f"password percent-encoded; schemes are {_WORDS}"
            ) from None
        return address

    @classmethod
    def _of(cls, parts: SplitResult, kind: Kind, tls: bool) -> RedisAddress:
        login, _, netloc = parts.netloc.rpartition("@")
        if parts.fragment:
            raise ValueError("what follows # would be dropped")
        user, _, password = (unquote(part) for part in login.partition(":"))
        hosts = () if kind == "socket" else _hosts(netloc, kind)
        given = _options(parts.query, kind, tls)
        for name, value in (("username", user), ("password", password)):
            if value and given.setdefault(name, value) != value:
                raise _refused(name, "is given twice: before the host, and as an option")
        service, path = "", parts.path.strip("/")
        if kind == "socket":
            if netloc or not path:
                raise ValueError("a socket has a path and no host: unix:///path")
            given["path"], path = unquote(parts.path), ""
        elif kind == "sentinel":
            service, _, path = path.partition("/")
            if not service:
                raise ValueError("a Sentinel URL names its service: redis+sentinel://host:port/service")
        sentinel = _of_sentinels(given, tls)
        if path:
            if not re.fullmatch(r"\d{1,9}", path):
                raise ConfigurationError(
                    "the path of the Redis URL must be a database's number, as in redis://host:6379/0; a / in a "
                    "password is to be percent-encoded, %2F"
                )
            if given.setdefault("db", int(path)) != int(path):
                raise _refused("db", "is given twice: by the path, and as an option")
        if kind == "cluster" and given.pop("db", 0) != 0:
            raise _refused("db", "must be 0: a cluster has no other databases")
        if tls:
            _try_tls(given)
        most = given.pop("max_connections", None)
        return cls(kind, tls, netloc or parts.path, hosts, given, most, unquote(service), sentinel)


def _hosts(netloc: str, kind: Kind) -> tuple[tuple[str, int], ...]:
    """Return hosts and ports; one that cannot be a host's name is a ValueError."""
    several, port = kind != "server", 26379 if kind == "sentinel" else 6379
    found = []
    for one in netloc.split(",") if several else [netloc]:
        parts = urlsplit(f"//{one}")
        if "," in netloc and not (several and one):
            raise ValueError("one host, or several with a name each")
        host = unquote(parts.hostname or "localhost")
        host.encode("idna")
        found.append((host, parts.port or port))
    return tuple(found)


def _of_sentinels(given: dict[str, Any], tls: bool) -> dict[str, Any]:
    """Take the options for Sentinels out of those given, and return them by redis-py's names."""
    named = {"username": "sentinel_username", "password": "sentinel_password"}
    options = {name: given.pop(option) for name, option in named.items() if option in given}
    if given.pop("sentinel_tls", tls):
        if not tls:
            raise _refused("sentinel_tls", "needs TLS to the servers too: write rediss+sentinel://")
        options |= {"ssl": True, **{name: value for name, value in given.items() if name.startswith("ssl_")}}
    return options


def _text(value: str) -> str:
    return value


def _word(value: str) -> str:
    if not re.fullmatch(r"[!-~]+", value):
        raise ValueError("must be of ASCII letters, digits and signs, without spaces")
    return value


def _number(least: int, most: int | None = None) -> Callable[[str], int]:
    def read(value: str) -> int:
        if not re.fullmatch(r"\d{1,9}", value) or int(value) < least or (most is not None and int(value) > most):
            raise ValueError(f"must be a whole number of at least {least}" + (f", at most {most}" if most else ""))
        return int(value)

    return read


def _yes(value: str) -> bool:
    if value.lower() not in {"true", "false", "yes", "no", "1", "0"}:
        raise ValueError("must be true or false")
    return value.lower() in {"true", "yes", "1"}


def _one_of(*words: str) -> Callable[[str], str]:
    def read(value: str) -> str:
        if value not in words:
            raise ValueError(f"must be one of {', '.join(words)}")
        return value

    return read


def _tls_version(value: str) -> ssl.TLSVersion:
    versions = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
    return versions[_one_of(*versions)(value)]


_OF_ANY: Mapping[str, Callable[[str], Any]] = {
    "client_name": _word,
    "db": _number(0),
    "health_check_interval": _number(0),
    "max_connections": _number(1),
    "password": _text,
    "protocol": _number(2, 3),
    "username": _text,
}
_OF_TLS: Mapping[str, Callable[[str], Any]] = {
    "ssl_ca_certs": _text,
    "ssl_ca_path": _text,
    "ssl_cert_reqs": _one_of("none", "optional", "required"),
    "ssl_certfile": _text,
    "ssl_check_hostname": _yes,
    "ssl_ciphers": _text,
    "ssl_keyfile": _text,
    "ssl_min_version": _tls_version,
    "ssl_password": _text,
}
_OF_SENTINEL: Mapping[str, Callable[[str], Any]] = {
    "sentinel_password": _text,
    "sentinel_tls": _yes,
    "sentinel_username": _text,
}
_OF_TCP: Mapping[str, Callable[[str], Any]] = {"socket_keepalive": _yes}

_BYTES = "would change the bytes that are kept, which must come back as they are: leave it out"
_TIMES = "is set by redis_timeout in settings, timeout in Python: leave it out"
_RETRIES = "is not for URLs: a broken connection is tried once more, and a circuit breaker does the rest: leave it out"
_REMEDIES = {
    "decode_responses": _BYTES,
    "encoding": _BYTES,
    "encoding_errors": _BYTES,
    "retry": _RETRIES,
    "retry_on_error": _RETRIES,
    "retry_on_timeout": _RETRIES,
    "socket_connect_timeout": _TIMES,
    "socket_timeout": _TIMES,
    "ssl": "is said by the scheme: write rediss instead of redis",
    "timeout": _TIMES,
}


def _options(query: str, kind: Kind, tls: bool) -> dict[str, Any]:
    """Return the options of a URL, each read as what it must be.

    Raises:
        ConfigurationError: one is unknown, given twice, of another kind of URL, or no value that can work.
    """
    known = {**_OF_ANY, **(_OF_TCP if kind != "socket" else {}), **(_OF_TLS if tls else {})}
    known |= _OF_SENTINEL if kind == "sentinel" else {}
    given: dict[str, Any] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        read = known.get(name)
        if read is None:
            if name in _OF_TLS:
                raise _refused(name, "is for TLS: write rediss instead of redis")
            if name in _OF_SENTINEL:
                raise _refused(name, "is for Sentinels: write redis+sentinel://")
            raise _refused(name, _REMEDIES.get(name, f"is none of {', '.join(sorted(known))}"))
        if name in given:
            raise _refused(name, "is given twice")
        try:
            given[name] = read(value)
        except ValueError as error:
            raise _refused(name, f"{error}, got {value[:40]!r}") from None
        if not value:
            raise _refused(name, "has no value")
    return given


def _refused(name: str, why: str) -> ConfigurationError:
    if not re.fullmatch("[a-z_]{1,40}", name):  # it may be the end of a password with a question mark in it
        name, why = "…", "has a name that is no option's; write ? and # of a password as %3F and %23"
    return ConfigurationError(f"option {name} of the Redis URL {why}")


def _try_tls(options: Mapping[str, Any]) -> None:
    """Load what certificates and keys are named, as a connection would.

    Raises:
        ConfigurationError: a file that cannot be used.
    """
    if "ssl_keyfile" in options and "ssl_certfile" not in options:
        raise _refused("ssl_keyfile", "needs the certificate it belongs to: add ssl_certfile")
    context = ssl.create_default_context()
    tried = "ssl_ca_certs"
    try:
        if "ssl_ca_certs" in options or "ssl_ca_path" in options:
            context.load_verify_locations(options.get("ssl_ca_certs"), options.get("ssl_ca_path"))
        tried = "ssl_certfile"
        if "ssl_certfile" in options:
            context.load_cert_chain(
                options["ssl_certfile"], options.get("ssl_keyfile"), options.get("ssl_password", "")
            )
        tried = "ssl_ciphers"
        if "ssl_ciphers" in options:
            context.set_ciphers(options["ssl_ciphers"])
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise _refused(tried, f"cannot be used: {getattr(error, 'strerror', None) or type(error).__name__}") from None
