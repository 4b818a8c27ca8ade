"""What a database's error means, in words; its own text is not shown, for it may hold the URL and its password."""

from __future__ import annotations

import sqlite3

from sqlalchemy.exc import DBAPIError, OperationalError, ProgrammingError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from guardrail.errors import AuditError

_SQLITE = {
    sqlite3.SQLITE_BUSY: "another process keeps it locked: try again, or end that process",
    sqlite3.SQLITE_CANTOPEN: "its file cannot be opened: check that the folder exists and may be written to",
    sqlite3.SQLITE_CORRUPT: "its file is damaged: restore it from a copy",
    sqlite3.SQLITE_ERROR: "its tables are not those of the log: name another file",
    sqlite3.SQLITE_FULL: "the disk is full",
    sqlite3.SQLITE_IOERR: "its disk cannot be read or written",
    sqlite3.SQLITE_NOTADB: "its file is no SQLite database: is it a database of decisions? Name another file",
    sqlite3.SQLITE_PERM: "its file may not be used: check its permissions",
    sqlite3.SQLITE_READONLY: "its file is read-only: check the permissions of file and folder",
}
_SQLSTATES = {  # beginnings of the codes of the SQL standard and of PostgreSQL
    "08": "the connection was lost: check the server and the network",
    "23": "it holds something that contradicts this: report it",
    "25006": "the server takes no writes now: is it a standby?",
    "42501": "the database's user may not do this: let the owner of the tables open the log, or grant the rights",
    "42": "its tables are not those of the log: name another database",
    "53": "the server is out of memory, disk or connections",
    "55P03": "another process keeps its tables locked: try again, or end that process",
    "57014": "the server cancelled this, as after a time-out",
    "57": "the server is shutting down or starting: try again",
}
_UNKNOWN = "the database's own log may say more"
_UNREACHABLE = "it cannot be reached, or refuses this user: check server, user, password and name of the database"


def failure(what: str, error: SQLAlchemyError) -> AuditError:
    """Return the error that the log cannot be `what`, opened or written, and why, and what to do."""
    return AuditError(f"the audit log cannot be {what} ({type(error).__name__}): {_reason(error)}")


def _reason(error: SQLAlchemyError) -> str:
    if isinstance(error, PoolTimeout):
        return "all connections are in use, each by a thread that reads or writes it"
    cause = error.orig if isinstance(error, DBAPIError) else None
    if isinstance(cause, sqlite3.Error):
        code = getattr(cause, "sqlite_errorcode", 0) & 0xFF  # the rest tells variants apart
        return _SQLITE.get(code, _UNKNOWN)
    state = getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None)  # psycopg, asyncpg; psycopg2
    if state is None and isinstance(error, ProgrammingError):
        return "the driver does not take its URL: check the options behind the question mark"
    if state is None and isinstance(error, OperationalError):
        return _UNREACHABLE
    return next((reason for start, reason in _SQLSTATES.items() if state and state.startswith(start)), _UNKNOWN)
