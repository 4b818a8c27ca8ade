"""Values that cannot be forged: authenticated, bound to their key, bounded in size and time.

An entry is `b"GS"`, a format byte, the expiry (milliseconds since 1970, 8 bytes), an HMAC-SHA-256 (32 bytes) and the
compressed content. The HMAC covers the key's name, the expiry and the content: an entry that is replayed under another
key, kept beyond its time, or changed in any bit does not verify. It is authenticated, not encrypted.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import secrets
import struct
import time
import zlib
from collections.abc import Sequence
from typing import Literal

from pydantic import SecretBytes, SecretStr

from guardrail.errors import ConfigurationError, GuardrailError

logger = logging.getLogger(__name__)

MAX_ENTRY = 256 * 2**10
"""Bytes of a certificate's entry, and of its content once decompressed; certificates take about one thousand."""

_MAGIC = b"GS\x01"
_HEADER = struct.Struct(">3sQ32s")
_SHORTEST_SECRET = 16

Secret = str | bytes | SecretStr | SecretBytes
Cause = Literal["malformed", "version", "too_large", "signature", "expired", "content", "another_request"]
"""Why an entry was rejected. `another_request` is the guard's: a certificate that is not about its key's request."""


class RejectedEntryError(GuardrailError, ValueError):
    """An entry that does not verify. Stores count it and treat it as a miss."""

    def __init__(self, cause: Cause) -> None:
        super().__init__(f"the entry does not verify: {cause}")
        self.cause: Cause = cause


class Signer:
    """Seals values and opens what it, or another signer with one of the same secrets, has sealed.

    Args:
        accepted: secrets of at least 16 bytes; the first signs, all of them verify. To rotate, put the new one first
            on all replicas, and drop the old one when what it signed has expired.

    Raises:
        ConfigurationError: no secret, or one that is too short.
    """

    def __init__(self, *accepted: Secret) -> None:
        keys = [_derive(secret) for secret in accepted]
        if not keys:
            raise ConfigurationError("a signer needs at least one secret: make one with `openssl rand -hex 32`")
        self._keys: Sequence[bytes] = keys

    @classmethod
    def generated(cls) -> Signer:
        """Make a signer that nobody else shares: what it seals can be opened by this object alone."""
        return cls(secrets.token_bytes(32))

    def __repr__(self) -> str:
        return f"Signer({len(self._keys)} secret(s))"

    def seal(self, name: str, content: bytes, ttl: float, *, limit: int = MAX_ENTRY, compress: bool = True) -> bytes:
        """Return the entry to keep under `name` for `ttl` seconds.

        Raises:
            RejectedEntryError: content or entry are above `limit` bytes.
        """
        expiry = int((time.time() + ttl) * 1000)
        body = zlib.compress(content, 6 if compress else 0)
        if max(len(content), len(body) + _HEADER.size) > limit:
            raise RejectedEntryError("too_large")
        return _HEADER.pack(_MAGIC, expiry, _mac(self._keys[0], name, expiry, body)) + body

    def open(self, name: str, entry: bytes, *, limit: int = MAX_ENTRY) -> bytes:
        """Return the content of an entry that was found under `name`. Nothing is decompressed before it verifies.

        Raises:
            RejectedEntryError: it does not verify, has expired, or is above `limit` bytes.
        """
        if len(entry) > limit:
            raise RejectedEntryError("too_large")
        if len(entry) < _HEADER.size or entry[:2] != _MAGIC[:2]:
            raise RejectedEntryError("malformed")
        magic, expiry, mac = _HEADER.unpack_from(entry)
        if magic != _MAGIC:
            raise RejectedEntryError("version")
        body = entry[_HEADER.size :]
        if not any(hmac.compare_digest(mac, _mac(key, name, expiry, body)) for key in self._keys):
            raise RejectedEntryError("signature")
        if time.time() * 1000 >= expiry:
            raise RejectedEntryError("expired")
        inflate = zlib.decompressobj()
        try:
            content = inflate.decompress(body, limit + 1)
        except zlib.error as error:
            raise RejectedEntryError("content") from error
        if len(content) > limit or not inflate.eof:
            raise RejectedEntryError("too_large")
        return content


class Signed:
    """A store that signs: by the signer that it was given, else by its guard's, else by a generated one.

    Args:
        signer: what it was given.
    """

    def __init__(self, signer: Signer | None) -> None:
        self._signer = signer

    @property
    def signer(self) -> Signer:
        """What seals and opens the entries."""
        if self._signer is None:
            logger.warning("%s has no signing key: what this process stores, no other process can read", self)
            self._signer = Signer.generated()
        return self._signer

    def sign_by(self, signer: Signer) -> None:
        """Use this signer, unless there is one already."""
        self._signer = self._signer or signer


def _derive(secret: Secret) -> bytes:
    """Return the key that a secret stands for, apart from all other uses of the same secret."""
    raw = secret.get_secret_value() if isinstance(secret, SecretStr | SecretBytes) else secret
    raw = raw.encode() if isinstance(raw, str) else raw
    if not isinstance(raw, bytes) or len(raw) < _SHORTEST_SECRET:
        raise ConfigurationError("a signing key needs at least 16 bytes; make one with `openssl rand -hex 32`")
    return hmac.digest(raw, b"guardrail: signed entries", hashlib.sha256)


def _mac(key: bytes, name: str, expiry: int, body: bytes) -> bytes:
    named = name.encode()
    return hmac.digest(key, struct.pack(">QQ", len(named), expiry) + named + body, hashlib.sha256)
