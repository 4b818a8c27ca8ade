"""Hashes of several parts, in which none can reach into another."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable


def framed(parts: Iterable[bytes]) -> bytes:
    """Join parts, each after its length, so that no two lists of parts give the same bytes."""
    return b"".join(len(part).to_bytes(8, "little") + part for part in parts)


def digest_of(parts: Iterable[bytes]) -> bytes:
    """Return the SHA-256 of `framed` parts."""
    total = hashlib.sha256()
    for part in parts:
        total.update(len(part).to_bytes(8, "little"))
        total.update(part)
    return total.digest()
