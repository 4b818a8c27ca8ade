"""`guardrail audit` and `guardrail override`: what was decided, and an operator's word against it."""

from __future__ import annotations

import csv
import json
import re
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated, TextIO

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from guardrail.audit.log import AuditLog, AuditRecord
from guardrail.audit.overrides import Overrides
from guardrail.commands.errors import clear_errors
from guardrail.commands.look import printable
from guardrail.errors import ConfigurationError, plainly
from guardrail.policy import Action, Reason

audit = typer.Typer(help="Read the log of decisions.", no_args_is_help=True)
override = typer.Typer(help="Allow or block an image for a time, whatever its certificate.", no_args_is_help=True)

_Database = Annotated[
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
_Hash = Annotated[str, typer.Argument(help="SHA-256 of the image, as its certificate has it; or an image file.")]
_COLOURS = {Action.BLOCK: "red", Action.FLAG: "yellow", Action.ALLOW: "green"}


class Form(StrEnum):
    """What an export is written as."""

    JSONL = "jsonl"
    CSV = "csv"


class Word(StrEnum):
    """What an operator may say about an image."""

    ALLOW = "allow"
    BLOCK = "block"


@audit.command("list")
def list_(  # noqa: PLR0917 - typer reads options from the signature
    action: _ActionOption = None,
    reason: _ReasonOption = None,
    client: _ClientOption = None,
    since: _SinceOption = None,
    until: _UntilOption = None,
    limit: Annotated[int, typer.Option(min=1, help="Most to show.")] = 50,
    log: _Database = None,
) -> None:
    """Show decisions, blocked ones first, then flagged ones, each from the latest to the earliest.

    Ids are shown by their beginning, which is what `guardrail audit show` takes.
    """
    table = Table(box=None, padding=(0, 1, 0, 0))
    for heading in ("time (UTC)", "id", "action", "verdict", "radius", "source"):
        table.add_column(heading, no_wrap=True)
    for heading in ("reasons", "client"):
        table.add_column(heading, overflow="fold")
    with clear_errors(), closing(AuditLog(_database(log))) as opened:
        for record in opened.find(action=action, reason=reason, client=client, since=since, until=until, limit=limit):
            decision, certificate = record.decision, record.decision.certificate
            table.add_row(
                f"{record.time:%Y-%m-%d %H:%M}",
                decision.id[:8],
                Text(decision.action + ("" if decision.enforced else " (monitor)"), style=_COLOURS[decision.action]),
                certificate.verdict if certificate else "–",
                f"{certificate.radius:.3f}" if certificate else "–",
                decision.source or "–",
                ", ".join(decision.reasons) or "–",
                Text(printable(decision.client or "–")),
            )
    if table.row_count:
        Console().print(table)
    more = ", the most that --limit shows" if table.row_count == limit else ""
    typer.echo(f"{table.row_count} decision(s){more}", err=True)


@audit.command()
def show(
    id: Annotated[str, typer.Argument(help="The decision's id, or its beginning, as `guardrail audit list` shows it.")],  # noqa: A002
    log: _Database = None,
) -> None:
    """Print one decision with its certificate, as JSON."""
    with clear_errors(), closing(AuditLog(_database(log))) as opened:
        record = opened.get(id)
        if record is None:
            raise ConfigurationError(f"the audit log has no decision {id[:80]!r}, or several that begin so")
    typer.echo(json.dumps(record.model_dump(mode="json"), indent=2))  # escapes whatever is not ASCII


@audit.command()
def export(  # noqa: PLR0917 - typer reads options from the signature
    form: Annotated[Form, typer.Option("--format", help="One JSON object a line, or CSV.")] = Form.JSONL,
    out: Annotated[Path | None, typer.Option(help="File to write; default: standard output.")] = None,
    action: _ActionOption = None,
    reason: _ReasonOption = None,
    client: _ClientOption = None,
    since: _SinceOption = None,
    until: _UntilOption = None,
    log: _Database = None,
) -> None:
    """Write decisions, certificates included, in the order of `list`."""
    with clear_errors(), closing(AuditLog(_database(log))) as opened:
        records = opened.find(action=action, reason=reason, client=client, since=since, until=until)
        if out is None:
            written = _write(records, form, sys.stdout)
        else:
            try:
                with out.open("w", encoding="utf-8", newline="") as file:
                    written = _write(records, form, file)
            except OSError as error:
                raise ConfigurationError(f"cannot write {out}: {plainly(error)}") from error
    typer.echo(f"{written} decision(s) written to {out or 'standard output'}", err=True)


@override.command()
def add(
    image: _Hash,
    action: Annotated[Word, typer.Argument(help="What to do about requests with it.")],
    reason: Annotated[str, typer.Option(help="Why; seen in decisions and in the log.")],
    days: Annotated[float, typer.Option(min=0.0, max=36_500.0, help="Days until it expires.")] = 7.0,
    log: _Database = None,
) -> None:
    """Allow or block an image. Where several come together, one block suffices; an allowance must name them all."""
    with clear_errors(), closing(Overrides(_database(log, new=True))) as opened:
        expires = datetime.now(UTC) + timedelta(days=days)
        made = opened.add(_hash(image), "allow" if action is Word.ALLOW else "block", reason, expires)
    typer.echo(printable(made.statement))


@override.command("list")
def overrides(log: _Database = None) -> None:
    """Show the overrides that are in force, the next to expire first."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    for heading in ("image", "action", "expires (UTC)"):
        table.add_column(heading, no_wrap=True)
    table.add_column("reason", overflow="fold")
    with clear_errors(), closing(Overrides(_database(log))) as opened:
        for one in opened.in_force():
            action = Text(one.action, style=_COLOURS[Action(one.action)])
            table.add_row(one.image_sha256, action, f"{one.expires:%Y-%m-%d %H:%M}", Text(printable(one.reason)))
    if table.row_count:
        Console(width=max(120, Console().width)).print(table)  # a hash in one piece, whatever the terminal's width
    typer.echo(f"{table.row_count} override(s) in force", err=True)


@override.command()
def remove(image: _Hash, log: _Database = None) -> None:
    """Remove an override. Exit status 1 if there was none."""
    with clear_errors(), closing(Overrides(_database(log))) as opened:
        removed = opened.remove(_hash(image))
    typer.echo("removed" if removed else "there was no override of this image")
    raise typer.Exit(0 if removed else 1)


def _database(given: str | None, *, new: bool = False) -> str:
    """Return the path or URL of the database; commands that only read make no new file.

    Raises:
        ConfigurationError: none is named, or there is no such file.
    """
    from guardrail.settings import Settings

    if given is None:
        setting = Settings.load().audit
        if setting is None:
            raise ConfigurationError("no audit log is named: set GUARDRAIL_AUDIT to a path or URL, or pass --log")
        given = setting.get_secret_value()
    if not new and "://" not in given and not Path(given).is_file():
        raise ConfigurationError(f"there is no audit log at {given}: nothing has been decided yet, or elsewhere")
    return given


def _hash(image: str) -> str:
    """Return the hash of an image that is given by it or by its file."""
    from guardrail.images.pictures import InputImage

    return image.lower() if re.fullmatch("[0-9a-fA-F]{64}", image) else InputImage.load(image).sha256


def _write(records: Iterator[AuditRecord], form: Form, file: TextIO) -> int:
    """Write the decisions, and return how many they were."""
    writer, written = csv.writer(file), 0
    if form is Form.CSV:
        writer.writerow(_COLUMNS)
    for written, record in enumerate(records, 1):  # noqa: B007
        if form is Form.JSONL:
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
    told = (certificate.verdict, certificate.radius, certificate.draws) if certificate else (None, None, None)
    hashes, whole = (" ".join(certificate.image_sha256), certificate.to_json()) if certificate else (None, None)
    details, reasons, tags = "; ".join(decision.details), " ".join(decision.reasons), " ".join(decision.tags)
    who = (decision.source, decision.client, decision.session, tags)
    times = (record.time.isoformat(), record.updated.isoformat())
    return (*times, decision.id, decision.action, decision.enforced, reasons, details, *who, *told, hashes, whole)


_FORMULA = {*"=+-@", *"\uff1d\uff0b\uff0d\uff20", "\t", "\r", "\n"}
"""First characters, full-width ones among them, by which spreadsheets know a formula."""


def _cell(value: object) -> object:
    """Return a cell that no spreadsheet takes for a formula: strangers choose some of these texts."""
    return f"'{value}" if isinstance(value, str) and value[:1] in _FORMULA else value
