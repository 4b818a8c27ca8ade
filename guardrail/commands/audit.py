"""`guardrail audit`: what was decided."""

from __future__ import annotations

import csv
import json
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal, Protocol, TextIO, TypeVar

import typer

from guardrail.audit.log import AuditLog, AuditRecord
from guardrail.commands import look
from guardrail.commands.errors import Force, clear_errors, output_file
from guardrail.commands.settings import Config, read_settings
from guardrail.errors import AuditError, ConfigurationError, plainly
from guardrail.policy import Action, Reason

audit = typer.Typer(name="audit", help="Read the log of decisions.", no_args_is_help=True)

Log = Annotated[
    str | None,
    typer.Option("--log", help="Path or URL of the audit log; default: GUARDRAIL_AUDIT.", show_default=False),
]
_ActionOption = Annotated[Action | None, typer.Option("--action", help="With this action only.")]
_ReasonOption = Annotated[Reason | None, typer.Option("--reason", help="With this reason among theirs.")]
_ClientOption = Annotated[str | None, typer.Option("--client", help="Of this client.")]
_SinceOption = Annotated[
    datetime | None, typer.Option("--since", help="From this time on, in UTC: 2026-01-31, or 2026-01-31T08:00:00.")
]
_UntilOption = Annotated[datetime | None, typer.Option("--until", help="Before this time, in UTC.")]


class _Closed(Protocol):
    def close(self) -> None: ...


Kept = TypeVar("Kept", bound=_Closed)
_Form = Literal["jsonl", "csv"]


@audit.command("list")
def list_(  # noqa: PLR0917 - typer reads options from the signature
    action: _ActionOption = None,
    reason: _ReasonOption = None,
    client: _ClientOption = None,
    since: _SinceOption = None,
    until: _UntilOption = None,
    limit: Annotated[int, typer.Option(min=1, help="Most to show.")] = 50,
    log: Log = None,
    config: Config = None,
) -> None:
    """Show decisions, blocked ones first, then flagged ones, each from the latest to the earliest.

    Ids are shown by their beginning, which is what `guardrail audit show` takes.
    """
    names = ("time (UTC)", "id", "action", "verdict", "radius", "source", "reasons", "client")
    table = look.table(*names, folded=("reasons", "client"), ruled=False, gap=1)
    with clear_errors(), opened(AuditLog, log, config) as kept:
        for record in kept.find(action=action, reason=reason, client=client, since=since, until=until, limit=limit):
            decision, certificate = record.decision, record.decision.certificate
            table.add_row(
                f"{record.time:%Y-%m-%d %H:%M}",
                decision.id[:8],
                look.action(decision.action, "" if decision.enforced else " (monitor)"),
                certificate.verdict if certificate else "–",
                f"{certificate.radius:.3f}" if certificate else "–",
                decision.source or "–",
                ", ".join(decision.reasons) or "–",
                look.printable(decision.client or "–"),
            )
    if table.row_count:
        look.console(whole_rows=True).print(table)
    more = ", the most that --limit shows" if table.row_count == limit else ""
    typer.echo(f"{table.row_count} decision(s){more}", err=True)


@audit.command()
def show(
    id: Annotated[str, typer.Argument(help="The decision's id, or its beginning, as `guardrail audit list` shows it.")],  # noqa: A002
    log: Log = None,
    config: Config = None,
) -> None:
    """Print one decision with its certificate, as JSON."""
    with clear_errors(), opened(AuditLog, log, config) as kept:
        record = kept.get(id)
        if record is None:
            raise ConfigurationError(f"the audit log has no decision {id[:80]!r}, or several that begin so")
    typer.echo(json.dumps(record.model_dump(mode="json"), indent=2))  # escapes whatever is not ASCII


@audit.command()
def export(  # noqa: PLR0917 - typer reads options from the signature
    form: Annotated[_Form, typer.Option("--format", help="One JSON object a line, or CSV.")] = "jsonl",
    out: Annotated[Path | None, typer.Option(help="File to write; default: standard output.")] = None,
    force: Force = False,
    action: _ActionOption = None,
    reason: _ReasonOption = None,
    client: _ClientOption = None,
    since: _SinceOption = None,
    until: _UntilOption = None,
    log: Log = None,
    config: Config = None,
) -> None:
    """Write decisions, certificates included, in the order of `list`."""
    with clear_errors(), opened(AuditLog, log, config) as kept:
        records = kept.find(action=action, reason=reason, client=client, since=since, until=until)
        if out is None:
            written = _write(records, form, sys.stdout)
        else:
            try:
                with output_file(out, replace=force).open("w", encoding="utf-8", newline="") as file:
                    written = _write(records, form, file)
            except OSError as error:
                raise ConfigurationError(f"cannot write {out}: {plainly(error)}") from error
    typer.echo(f"{written} decision(s) written to {out or 'standard output'}", err=True)


@contextmanager
def opened(
    kind: Callable[[str], Kept], log: str | None, config: Path | None = None, *, new: bool = False
) -> Iterator[Kept]:
    """Open the database that `--log` names, else the settings; commands that only read make no new file.

    Raises:
        ConfigurationError: none is named, or there is no such file.
        AuditError: it cannot be opened; of a file, the error names it.
    """
    if log is None:
        setting = read_settings(config).audit
        if setting is None:
            raise ConfigurationError("no audit log is named: set GUARDRAIL_AUDIT to a path or URL, or pass --log")
        log = setting.get_secret_value()
    is_file = not re.match(r"[A-Za-z][\w+.-]+://", log)  # what a URL names may be a secret
    if is_file and not new and not Path(log).is_file():
        raise ConfigurationError(f"there is no audit log at {log}: nothing has been decided yet, or elsewhere")
    try:
        made = kind(log)
    except AuditError as error:
        raise (AuditError(f"{log}: {error}") if is_file else error) from error
    try:
        yield made
    finally:
        made.close()


def _write(records: Iterator[AuditRecord], form: _Form, file: TextIO) -> int:
    """Write the decisions, and return how many they were."""
    writer, written = csv.writer(file), 0
    if form == "csv":
        writer.writerow(_COLUMNS)
    for written, record in enumerate(records, 1):  # noqa: B007
        if form == "jsonl":
            file.write(json.dumps(record.model_dump(mode="json")) + "\n")
        else:
            writer.writerow(_cell(value) for value in _columns(record))
    return written


_COLUMNS = (
    "time", "updated", "id", "action", "enforced", "reasons", "details", "source", "client", "session", "tags",
    "verdict", "radius", "draws", "image_sha256", "certificate",
)  # fmt: skip


def _columns(record: AuditRecord) -> tuple[object, ...]:
    decision, certificate = record.decision, record.decision.certificate
    outcome = (certificate.verdict, certificate.radius, certificate.draws) if certificate else (None, None, None)
    hashes, whole = (" ".join(certificate.image_sha256), certificate.to_json()) if certificate else (None, None)
    details, reasons, tags = "; ".join(decision.details), " ".join(decision.reasons), " ".join(decision.tags)
    who = (decision.source, decision.client, decision.session, tags)
    times = (record.time.isoformat(), record.updated.isoformat())
    return (*times, decision.id, decision.action, decision.enforced, reasons, details, *who, *outcome, hashes, whole)


_FORMULA = {*"=+-@", *"\uff1d\uff0b\uff0d\uff20", "\t", "\r", "\n"}
"""First characters, full-width ones among them, by which spreadsheets know a formula."""


def _cell(value: object) -> object:
    """Return a cell that no spreadsheet takes for a formula: strangers choose some of these texts."""
    return f"'{value}" if isinstance(value, str) and value[:1] in _FORMULA else value
