"""`AuditLog`: one row per decision, certificate included."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from guardrail.errors import ConfigurationError
from guardrail.policy import Action, Decision, Reason

if TYPE_CHECKING:
    from sqlalchemy import URL, Select


class AuditRecord(BaseModel):
    """A decision as it was recorded."""

    model_config = ConfigDict(frozen=True)

    time: datetime
    """When it was first recorded, in UTC."""
    updated: datetime
    """When it was last recorded: after the answer was screened, if it was."""
    decision: Decision


class AuditLog:
    """The log of decisions in a SQL database: SQLite in WAL mode, or PostgreSQL.

    Safe to use from many threads; several processes may share it, also those forked from one another. The prompt is not
    recorded, its hash is.

    Args:
        url_or_path: SQLAlchemy's URL of PostgreSQL or SQLite, which begins with a scheme and `://`; anything else is
            the path of a SQLite file, made if it is missing. `:memory:` is a log without a file, in this process alone.

    Raises:
        ConfigurationError: not a URL that can be used, or SQLAlchemy or the driver is not installed.
        AuditError: the database cannot be opened, or its tables are a newer version's or somebody else's.
    """

    def __init__(self, url_or_path: str | Path | URL) -> None:
        try:
            from guardrail.audit.database import Database, decisions
        except ImportError as error:
            raise ConfigurationError(
                "AuditLog needs SQLAlchemy and alembic: pip install 'certified-guardrail[audit]'"
            ) from error
        self.database = Database(url_or_path)
        self._table = decisions

    def __repr__(self) -> str:
        return f"AuditLog({self.database!r})"

    def record(self, decision: Decision) -> None:
        """Record a decision; the same id again updates its row.

        Raises:
            AuditError: the database cannot be written.
        """
        from sqlalchemy import insert, update
        from sqlalchemy.exc import IntegrityError

        row, now = _row(decision), time.time()
        again = update(self._table).where(self._table.c.id == decision.id).values(**row, updated=now)
        with self.database.transaction("written") as connection:
            if connection.execute(again).rowcount:
                return
            try:
                with connection.begin_nested():
                    connection.execute(insert(self._table).values(**row, id=decision.id, time=now, updated=now))
            except IntegrityError:  # another thread has just inserted it
                connection.execute(again)

    def find(
        self,
        *,
        action: Action | str | None = None,
        reason: Reason | str | None = None,
        client: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int | None = None,
    ) -> Iterator[AuditRecord]:
        """Yield decisions, blocked ones first, then flagged ones, each from the latest to the earliest.

        Args:
            action: with this action only.
            reason: with this reason among theirs.
            client: of this client.
            since: recorded at this time or later; without a time zone, it is UTC.
            until: recorded before this time.
            limit: most to yield; None: all.

        Raises:
            AuditError: the database cannot be read.
        """
        from sqlalchemy import Text, func, literal, literal_column, select

        columns = self._table.c
        query = select(self._table).order_by(columns.severity.desc(), columns.time.desc()).limit(limit)
        if action is not None:
            query = query.where(columns.action == str(Action(action)))
        if reason is not None:
            query = query.where(columns.reasons.contains(f",{Reason(reason)},", autoescape=True))
        if client is not None:
            name = literal(storable(client), Text)
            start = func.substr(name, literal_column("1"), literal_column("64"))  # of which there is an index
            query = query.where(literal_column("substr(client, 1, 64)") == start)
            # Joined with nothing, or SQLite would put the name in the place of `client` above, and leave the index.
            query = query.where(columns.client.concat("") == name)
        if since is not None:
            query = query.where(columns.time >= _seconds(since))
        if until is not None:
            query = query.where(columns.time < _seconds(until))
        found = self._found(query)  # one after another, the transaction open meanwhile
        yield from list(found) if self.database.in_memory else found

    def get(self, id: str) -> AuditRecord | None:  # noqa: A002 - the decision's own word
        """Return the decision with this id, or the only one whose id begins so; None if there is none.

        Raises:
            AuditError: the database cannot be read.
        """
        from sqlalchemy import select

        start = self._table.c.id.startswith(storable(id), autoescape=True)
        with self.database.transaction("read") as connection:
            rows = connection.execute(select(self._table).where(start).order_by(self._table.c.id).limit(2)).all()
        exact = [row for row in rows if row.id == id] or (rows if len(rows) == 1 and id else [])
        return _record(exact[0]._mapping) if exact else None

    def _found(self, query: Select[Any]) -> Iterator[AuditRecord]:
        with (
            self.database.transaction("read") as connection,
            connection.execution_options(yield_per=500).execute(query) as rows,
        ):
            for row in rows:
                yield _record(row._mapping)

    def close(self) -> None:
        """Close the connections."""
        self.database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _row(decision: Decision) -> dict[str, Any]:
    certificate = decision.certificate
    texts = {"client", "session", "tags", "details"}  # what strangers write
    plain = decision.model_dump(mode="json", exclude={"id", "reasons", "action", *texts})
    plain |= {name: storable(getattr(decision, name)) for name in texts}
    return {
        **plain,
        "action": str(decision.action),
        "severity": decision.action.severity,
        "reasons": "".join(f",{reason}" for reason in decision.reasons) + ",",
        "verdict": certificate and str(certificate.verdict),
        "radius": certificate and certificate.radius,
        "image_sha256": certificate and list(certificate.image_sha256),
    }


def storable(text: Any) -> Any:  # noqa: ANN401 - a text, several, or None
    """Replace what some databases cannot hold, zero bytes and halves of characters: nothing may escape the log."""
    if isinstance(text, tuple):
        return [storable(one) for one in text]
    return text and text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()


def _record(row: Any) -> AuditRecord:  # noqa: ANN401 - a row of any database
    names = Decision.model_fields.keys() & row.keys() - {"reasons"}
    reasons = [code for code in row["reasons"].split(",") if code]
    fields = {**{name: row[name] for name in names}, "reasons": reasons}
    try:
        decision = Decision.model_validate(fields)
    except ValidationError:  # written by another version: what can be read still counts
        known, told = [code for code in reasons if code in set(Reason)], "; ".join(reasons)
        detail = f"recorded by another version, with reasons: {told or 'none'}; its certificate cannot be read"
        fields |= {"reasons": known, "certificate": None, "details": [*row["details"], detail]}
        decision = Decision.model_validate(fields)
    first, last = (datetime.fromtimestamp(row[name], UTC) for name in ("time", "updated"))
    return AuditRecord(time=first, updated=last, decision=decision)


def _seconds(when: datetime) -> float:
    return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()
