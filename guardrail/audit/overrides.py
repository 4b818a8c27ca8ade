"""Overrides: an operator's word about an image, for a time, with a reason."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from guardrail.audit.log import AuditLog, storable
from guardrail.errors import AuditError, ConfigurationError

logger = logging.getLogger(__name__)


class Override(BaseModel):
    """An image that an operator allows or blocks, whatever its certificate says."""

    model_config = ConfigDict(frozen=True)

    image_sha256: str
    """Hash of the canonical pixels, as certificates and `InputImage.sha256` give it."""
    action: Literal["allow", "block"]
    reason: str
    created: datetime
    expires: datetime

    @property
    def statement(self) -> str:
        """One sentence, for the decision's details."""
        done = "allowed" if self.action == "allow" else "blocked"
        until = self.expires.astimezone(UTC)
        return (
            f"image {self.image_sha256[:12]}… is {done} by an operator until {until:%Y-%m-%d %H:%M} UTC: {self.reason}"
        )


class Overrides:
    """The overrides that are in force, kept in the database of the audit log. Safe to use from many threads.

    Args:
        url_or_path: of the database, as `AuditLog` takes it; or the open log, whose connections are then used.
        refresh: seconds after which what other processes have changed is seen here. When the database cannot be read,
            what was read last stays in force.

    Raises:
        ConfigurationError: not a URL that can be used, or SQLAlchemy or the driver is not installed.
        AuditError: the database cannot be opened or read.
    """

    def __init__(self, url_or_path: str | Path | AuditLog, *, refresh: float = 2.0) -> None:
        try:
            from guardrail.audit.database import Database, overrides
        except ImportError as error:
            raise ConfigurationError(
                "Overrides need SQLAlchemy and alembic: pip install 'certified-guardrail[audit]'"
            ) from error
        self._shared = isinstance(url_or_path, AuditLog)
        self._database = url_or_path.database if isinstance(url_or_path, AuditLog) else Database(url_or_path)
        self._table = overrides
        self._refresh = refresh
        self._due = time.monotonic() + refresh
        self._lock = threading.Lock()
        self._known = self._read()

    def add(self, image_sha256: str, action: Literal["allow", "block"], reason: str, expires: datetime) -> Override:
        """Allow or block an image until `expires` (without a time zone: UTC); this replaces an earlier override.

        Raises:
            ConfigurationError: not a hash, no reason, or a time that has passed.
            AuditError: the database cannot be written.
        """
        from sqlalchemy import delete, insert

        now = datetime.now(UTC)
        expires = expires if expires.tzinfo else expires.replace(tzinfo=UTC)
        if not re.fullmatch("[0-9a-f]{64}", image_sha256):
            raise ConfigurationError(f"an image's hash has 64 hexadecimal digits, got {image_sha256[:80]!r}")
        if not reason.strip() or expires <= now:
            raise ConfigurationError(f"an override needs a reason and an expiry to come, got {reason!r}, {expires}")
        reason = storable(reason)
        made = Override(image_sha256=image_sha256, action=action, reason=reason, created=now, expires=expires)
        row = {**made.model_dump(), "created": now.timestamp(), "expires": expires.timestamp()}
        with self._database.transaction("written") as connection:
            connection.execute(delete(self._table).where(self._table.c.image_sha256 == image_sha256))
            connection.execute(insert(self._table).values(**row))
        self._known = self._read()
        return made

    def remove(self, image_sha256: str) -> bool:
        """Remove an override; False if there was none.

        Raises:
            AuditError: the database cannot be written.
        """
        from sqlalchemy import delete

        with self._database.transaction("written") as connection:
            gone = connection.execute(delete(self._table).where(self._table.c.image_sha256 == image_sha256)).rowcount
        self._known = self._read()
        return bool(gone)

    def in_force(self) -> list[Override]:
        """Return the overrides that have not expired, the next to expire first.

        Raises:
            AuditError: the database cannot be read.
        """
        self._known = self._read()
        return sorted(self._known.values(), key=lambda override: override.expires)

    def of(self, hashes: Sequence[str]) -> Override | None:
        """Return what is said about a request: a block of any of its images, else an allowance of all of them."""
        if time.monotonic() >= self._due and self._lock.acquire(blocking=False):
            try:
                self._known = self._read()
            except AuditError as error:
                logger.error("overrides cannot be read, the last known ones stay in force: %s", error)
            finally:
                self._due = time.monotonic() + self._refresh
                self._lock.release()
        now, known = datetime.now(UTC), self._known
        found = [known.get(image) for image in hashes]
        said = [override for override in found if override is not None and now < override.expires]
        blocks = [override for override in said if override.action == "block"]
        return blocks[0] if blocks else said[0] if said and len(said) == len(hashes) else None

    def close(self) -> None:
        """Close the connections, but not those of an open log."""
        if not self._shared:
            self._database.close()

    def _read(self) -> dict[str, Override]:
        from sqlalchemy import select

        with self._database.transaction("read") as connection:
            rows = connection.execute(select(self._table).where(self._table.c.expires > time.time())).mappings().all()
        times = ("created", "expires")
        made = (Override(**{**row, **{name: datetime.fromtimestamp(row[name], UTC) for name in times}}) for row in rows)
        return {override.image_sha256: override for override in made}
