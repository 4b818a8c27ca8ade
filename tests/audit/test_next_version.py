"""One more logged field is a field, a column and a migration; the logs that are there stay whole.

The next version is this one, copied and changed in exactly these places, and run as a program of its own.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import create_engine

import guardrail
from guardrail import Decision
from guardrail.audit import AuditLog
from guardrail.errors import AuditError
from tests.kit.databases import ENGINES, database
from tests.kit.old_log import assert_the_old_log_is_whole

PROCESSES = 6
MIGRATION = """
from alembic.operations import Operations
from sqlalchemy import Column, Text

revision = "0003"
down_revision = "0002"


def upgrade(op: Operations) -> None:
    op.add_column("decisions", Column("weather", Text))
"""
PROGRAM = """
import json, os, sys
import guardrail
from guardrail import Decision
from guardrail.audit import AuditLog, Overrides

url, processes = sys.argv[1], int(sys.argv[2])
for number in range(processes - 1):
    if os.fork() == 0:
        break
else:
    number = processes - 1
with AuditLog(url) as log:
    log.record(Decision(client=f"process {number}", weather="fair"))
if number < processes - 1:
    os._exit(0)
failed = [status for _, status in (os.wait() for _ in range(number)) if status]
with AuditLog(url) as log:
    found = [(record.decision.client, record.decision.weather) for record in log.find()]
    said = [override.reason for override in Overrides(log).in_force()]
print(json.dumps({"from": guardrail.__file__, "failed": failed, "found": found, "said": sorted(said)}))
"""


@pytest.fixture
def next_version(tmp_path: Path) -> Path:
    """Return the folder of a guardrail that also logs the weather."""
    package = tmp_path / "next" / "guardrail"
    skipped = shutil.ignore_patterns("__pycache__", "*.safetensors")
    shutil.copytree(Path(guardrail.__file__).parent, package, ignore=skipped)
    (package / "audit" / "migrations" / "0003_weather.py").write_text(MIGRATION)
    field, column = "    session: str | None = None\n", '    Column("session", Text),\n'
    for file, line, more in (
        ("policy.py", field, "    weather: str | None = None\n"),
        ("audit/database.py", column, '    Column("weather", Text),\n'),
    ):
        before = (package / file).read_text()
        assert before.count(line) == 1
        (package / file).write_text(before.replace(line, line + more))
    return package


def run(version: Path, url: str, *, processes: int = 1) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", PROGRAM, url, str(processes)]
    environment = {**os.environ, "PYTHONPATH": str(version.parent)}
    return subprocess.run(
        command, capture_output=True, text=True, cwd=version.parent, env=environment, timeout=120, check=False
    )


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES)
def test_the_next_version_finds_all_old_decisions_and_overrides(
    engine: str, next_version: Path, tmp_path: Path
) -> None:
    with database(engine, tmp_path, old=True) as url:
        done = run(next_version, url, processes=PROCESSES)
        assert done.returncode == 0, done.stderr
        told = json.loads(done.stdout)
        assert told["from"] == str(next_version / "__init__.py")
        assert told["failed"] == [], done.stderr
        old = [client for client, weather in told["found"] if weather is None]
        assert sorted(map(str, old)) == ["None", "alice", "alice", "bob", 'it\'s 100 % \\ "Zoë"']
        new = [client for client, weather in told["found"] if weather == "fair"]
        assert sorted(new) == [f"process {number}" for number in range(PROCESSES)]
        assert told["said"] == ["a copyright claim", "a false alarm"]
        with pytest.raises(AuditError, match=r"newer guardrail.*'0003'.*'0002'.*upgrade"):
            AuditLog(url)


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES)
def test_a_migration_that_fails_half_way_changes_nothing(engine: str, next_version: Path, tmp_path: Path) -> None:
    broken = next_version / "audit" / "migrations" / "0003_weather.py"
    broken.write_text(MIGRATION + "    op.drop_table('overrides')\n    op.execute('nonsense')\n")
    with database(engine, tmp_path, old=True) as url:
        done = run(next_version, url)
        assert done.returncode == 1
        assert "AuditError: the audit log cannot be opened" in done.stderr
        with AuditLog(url) as log:
            assert_the_old_log_is_whole(log)


@pytest.mark.slow
@pytest.mark.long
def test_a_migration_gives_up_rather_than_make_all_writers_wait_for_a_reader(
    next_version: Path, tmp_path: Path
) -> None:
    with database("postgresql", tmp_path, old=True) as url, AuditLog(url) as log:
        opened = create_engine(url)
        with opened.connect() as reader:
            reader.exec_driver_sql("SELECT count(*) FROM decisions")
            done = run(next_version, url)
            assert done.returncode == 1
            assert "keeps its tables locked" in done.stderr
            log.record(Decision(client="meanwhile"))
        opened.dispose()
        assert run(next_version, url).returncode == 0
