"""Tables of what people labelled, as CSV: read strictly, so that no line counts for something else than it says."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

from guardrail.errors import ConfigurationError


def content_of(table: Path) -> bytes:
    """Return what is in a file, once: a pipe cannot be read twice, and a file may change meanwhile.

    Raises:
        ConfigurationError: there is no such file, or it cannot be read.
    """
    try:
        return table.read_bytes()
    except FileNotFoundError:
        raise ConfigurationError(f"{table} does not exist: give the path of a CSV file") from None
    except IsADirectoryError:
        raise ConfigurationError(f"{table} is a folder: give the path of a CSV file") from None
    except OSError as error:
        raise ConfigurationError(f"{table} cannot be read: {error.strerror}") from error


def lines_of(
    content: bytes, table: Path, needed: Sequence[str], instead: str = ""
) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield the lines of a CSV file (UTF-8, comma-separated, one line of column names) by name of column.

    Args:
        content: of the file.
        table: its path, for messages.
        needed: columns that it must have; it may have others.
        instead: what the message about a missing one says besides.

    Yields:
        Where in the file a line begins, from 1, and its fields.

    Raises:
        ConfigurationError: no CSV in UTF-8, a column that is missing or stands there twice, or a line with more or
            fewer fields than columns; it names the line.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{table} is no text in UTF-8 (byte {error.start}): save it as CSV in UTF-8") from None
    reader = csv.DictReader(io.StringIO(text, newline=""), restkey="", strict=True)
    line = 1
    try:
        header = list(reader.fieldnames or ())
        if missing := [name for name in needed if name not in header]:
            raise ConfigurationError(
                f"{table}, line 1: no column {', '.join(missing)}; it needs {', '.join(needed)}{instead}, separated by "
                f"commas, and its columns are {header}"
            )
        if repeated := sorted({name for name in header if header.count(name) > 1}):
            raise ConfigurationError(f"{table}, line 1: the columns {repeated} stand there more than once")
        line = reader.line_num + 1
        for row in reader:
            if "" in row or None in row.values():
                raise ConfigurationError(
                    f"{table}, line {line}: not {len(header)} fields; quote fields that hold commas or lines"
                )
            yield line, row
            line = reader.line_num + 1
    except csv.Error as error:
        raise ConfigurationError(f"{table}, line {line}: cannot be read as CSV: {error}") from error
