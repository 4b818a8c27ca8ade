"""The file behind a SQLite log: a process goes on writing to one that was deleted, and nobody would ever read it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from sqlalchemy import Connection

from guardrail.errors import AuditError


class LostFileError(AuditError):
    """The log's file is not what it was when the log was opened."""


@dataclass(frozen=True)
class SQLiteFile:
    """A file as it was when the log was opened."""

    path: Path
    identity: tuple[int, int]
    """Device and number of the file on it."""
    wal: bool
    """Whether what is written goes to a file beside it first."""

    @classmethod
    def of(cls, connection: Connection) -> Self | None:
        """Return the file of a connection's database; None where there is none."""
        if connection.dialect.name != "sqlite":
            return None
        name = connection.exec_driver_sql("SELECT file FROM pragma_database_list WHERE name = 'main'").scalar()
        if not name:
            return None
        path = Path(name)
        mode = connection.exec_driver_sql("PRAGMA journal_mode").scalar()
        return cls(path, _identity(path), mode == "wal")

    def require(self, what: str, *, written: bool = False) -> None:
        """Check that it is still there.

        Args:
            what: what cannot be done if it is not: "the audit log cannot be {what}".
            written: whether something has been written, and is about to be committed.

        Raises:
            LostFileError: it is not, or another stands in its place.
        """
        try:
            there = _identity(self.path) == self.identity
            gone = "another file stands in its place" if not there else None
            if written and self.wal and not Path(f"{self.path}-wal").exists():
                gone = gone or f"{self.path.name}-wal, which belongs to it, was deleted under it"
        except OSError:
            gone = "it was deleted or moved under this process"
        if gone is not None:
            raise LostFileError(
                f"the audit log cannot be {what}: its file {self.path} is lost, {gone}: put it back, or restart to "
                "begin another"
            )


def _identity(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_dev, found.st_ino
