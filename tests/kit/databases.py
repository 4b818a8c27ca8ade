"""Databases for tests of the log: files of SQLite, and databases of a PostgreSQL that is asked for by a variable."""

from __future__ import annotations

import os
import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from sqlalchemy import create_engine, make_url
from sqlalchemy.exc import OperationalError

VARIABLE = "GUARDRAIL_TEST_POSTGRES"
"""SQLAlchemy's URL of a PostgreSQL database whose user may make others."""
SERVER = os.environ.get(VARIABLE, "postgresql+psycopg://postgres@127.0.0.1:5432/test")
ENGINES = ("sqlite", "postgresql")
_DUMPS = Path(__file__).parent.parent / "audit" / "data"


@contextmanager
def database(engine: str, folder: Path, *, old: bool = False) -> Iterator[str]:
    """Yield the URL of a new database, empty, or as a version before migrations left it; it is gone afterwards."""
    name = f"guardrail_test_{uuid.uuid4().hex}"
    if engine == "sqlite":
        url = f"sqlite:///{folder / name}.db"
        if old:
            restore(url)
        yield url
        return
    pytest.importorskip("psycopg")
    server = create_engine(SERVER, isolation_level="AUTOCOMMIT", hide_parameters=True)
    try:
        with server.connect() as connection:
            connection.exec_driver_sql(f"CREATE DATABASE {name}")
    except OperationalError as error:
        where = server.url.render_as_string(hide_password=True)
        pytest.skip(f"no PostgreSQL lets us in at {where} ({error.orig}): set {VARIABLE} to the URL of one")
    try:
        url = make_url(SERVER).set(database=name).render_as_string(hide_password=False)
        if old:
            restore(url)
        yield url
    finally:
        with server.connect() as connection:
            connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")
        server.dispose()


@pytest.fixture(params=ENGINES)
def any_database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a new, empty database, of each engine in turn."""
    with database(request.param, tmp_path) as url:
        yield url


def restore(url: str) -> None:
    """Fill an empty database with what a version before migrations left."""
    run(url, (_DUMPS / f"before_migrations.{make_url(url).get_backend_name()}.sql").read_text("utf-8"))


def run(url: str, statements: str) -> None:
    """Run statements of SQL, as another program would."""
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        with closing(sqlite3.connect(str(parsed.database))) as connection:
            connection.executescript(statements)
        return
    import psycopg

    with psycopg.connect(parsed.set(drivername="postgresql").render_as_string(hide_password=False)) as connection:
        connection.execute(statements.encode())
