"""`guardrail audit` and `guardrail override`, as an operator uses them."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from guardrail import Certificate, Decision, Guard, InputImage, Smoothing
from guardrail.audit import AuditLog
from guardrail.commands.app import app
from tests.kit.synthetic import ORACLE, HalfSpaceVLM


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GUARDRAIL_AUDIT", str(tmp_path / "audit.db"))
    monkeypatch.setenv("COLUMNS", "200")
    with AuditLog(tmp_path / "audit.db") as log:
        guard = Guard(HalfSpaceVLM(0.0), ORACLE, smoothing=Smoothing(samples=20), audit=log)
        guard.check(Image.new("RGB", (4, 4), "white"), "?", client="alice")
        log.record(Decision(id="b" * 32, action="block", reasons=("abstained",), client="=cmd()\x1b[31m\x9b31m\u2028"))
        log.record(Decision(id="f" * 32, action="flag", reasons=("small_radius",), client="bob"))
    return tmp_path


def run(*arguments: str | Path, code: int = 0) -> Result:
    done = CliRunner().invoke(app, [*map(str, arguments)])
    assert done.exit_code == code, done.output
    return done


def test_list_shows_blocked_ones_first_and_filters(database: Path) -> None:
    lines = run("audit", "list").stdout.splitlines()
    assert [line.split()[3] for line in lines[1:]] == ["block", "flag", "allow"]
    assert "harmless" in lines[3]
    for text in (lines[1], run("audit", "show", "bbbb").stdout, run("audit", "export").stdout):
        assert not {"\x1b", "\x9b", "\u2028"} & set(text), "no stranger writes to the terminal"
    for options, shown in (
        (("--action", "flag"), ["flag"]),
        (("--reason", "abstained"), ["block"]),
        (("--client", "alice"), ["allow"]),
        (("--since", "2000-01-01", "--limit", "1"), ["block"]),
        (("--until", "2000-01-01"), []),
    ):
        assert [line.split()[3] for line in run("audit", "list", *options).stdout.splitlines()[1:]] == shown
    run("audit", "list", "--reason", "typo", code=2)


def test_what_list_shows_of_an_id_is_what_show_takes(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    done = run("audit", "list", "--action", "allow")
    beginning = done.stdout.splitlines()[1].split()[2]
    assert json.loads(run("audit", "show", beginning).stdout)["decision"]["action"] == "allow"
    assert "beginning" in run("audit", "show", "--help").stdout
    assert "1 decision(s)" in done.stderr
    assert run("audit", "list", "--client", "nobody").stdout == ""
    assert "3 decision(s), the most" in run("audit", "list", "--limit", "3").stderr


def test_show_prints_one_decision(database: Path) -> None:
    shown = json.loads(run("audit", "show", "bbbb").stdout)
    assert shown["decision"]["reasons"] == ["abstained"]
    assert "no decision 'zz'" in run("audit", "show", "zz", code=2).stderr


def test_export_holds_everything(database: Path) -> None:
    exported = run("audit", "export")
    assert exported.stderr == "3 decision(s) written to standard output\n"
    records = [json.loads(line) for line in exported.stdout.splitlines()]
    assert [record["decision"]["action"] for record in records] == ["block", "flag", "allow"]
    Certificate.model_validate(records[2]["decision"]["certificate"])
    written = run("audit", "export", "--format", "csv", "--out", database / "out.csv")
    assert (written.stdout, written.stderr) == ("", f"3 decision(s) written to {database / 'out.csv'}\n")
    rows = list(csv.DictReader(io.StringIO((database / "out.csv").read_text("utf-8"))))
    assert [row["action"] for row in rows] == ["block", "flag", "allow"]
    assert rows[0]["client"].startswith("'="), "no formula"
    assert Certificate.from_json(rows[2]["certificate"]).image_sha256 == (rows[2]["image_sha256"],)
    deep = database / "new" / "folder" / "out.jsonl"
    run("audit", "export", "--out", deep)
    assert deep.read_text("utf-8") == exported.stdout
    assert "is there already: name another by --out" in run("audit", "export", "--out", deep, code=2).stderr
    run("audit", "export", "--out", deep, "--force", "--action", "flag")
    assert len(deep.read_text("utf-8").splitlines()) == 1
    for out, said in ((deep / "file", "a file stands where a folder is needed"), (database, "it is a folder")):
        assert said in run("audit", "export", "--out", out, code=2).stderr


def test_overrides_are_added_listed_and_removed(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = database / "white.png"
    Image.new("RGB", (4, 4), "white").save(file)
    sha = InputImage.load(file).sha256
    assert "blocked by an operator" in run("override", "add", file, "block", "--reason", "not here").stdout
    monkeypatch.setenv("COLUMNS", "80")
    listed = run("override", "list").stdout
    assert sha in listed
    assert "not here" in listed
    run("override", "add", sha, "allow", "--reason", "after all", "--days", "0.5")
    assert "after all" in run("override", "list").stdout
    run("override", "remove", sha)
    run("override", "remove", sha, code=1)


@pytest.mark.parametrize(
    ("image", "options", "said"),
    [
        ("abc", (), "'abc' is no image file, and no hash of 64 hexadecimal digits"),
        ("a" * 63, (), "is no image file, and no hash"),
        ("a" * 64, ("--days", "0"), "--days must be above 0, got 0"),
        ("a" * 64, ("--days", "-1"), "--days must be above 0, got -1"),
        ("a" * 64, ("--reason", "  "), "--reason is empty"),
    ],
)
def test_what_is_wrong_with_an_override_is_named(
    tmp_path: Path, image: str, options: tuple[str, ...], said: str
) -> None:
    log = tmp_path / "audit.db"
    told = run("override", "add", image, "block", "--reason", "r", "--log", log, *options, code=2).stderr
    assert said in told
    assert "data URL" not in told
    assert not log.exists(), "nothing was made for it"


def test_an_override_names_the_file_that_is_no_image(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no picture")
    told = run("override", "remove", tmp_path / "notes.txt", "--log", tmp_path / "audit.db", code=2).stderr
    assert "notes.txt: the content is text" in told


def test_the_log_may_stand_in_a_file_of_settings(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GUARDRAIL_AUDIT")
    settings = database / "guardrail.toml"
    settings.write_text(f'audit = "{database / "audit.db"}"\n')
    for command in (("audit", "list"), ("audit", "export"), ("audit", "show", "bbbb"), ("override", "list")):
        run(*command, "--config", settings)
    run("override", "add", "a" * 64, "block", "--reason", "r", "--config", settings)
    run("override", "remove", "a" * 64, "--config", settings)


def test_what_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GUARDRAIL_AUDIT", raising=False)
    assert "GUARDRAIL_AUDIT" in run("audit", "list", code=2).stderr
    assert "no audit log at" in run("audit", "list", "--log", tmp_path / "typo.db", code=2).stderr
    assert not (tmp_path / "typo.db").exists()
    (tmp_path / "picture.png").write_bytes(b"no database")
    told = run("audit", "list", "--log", tmp_path / "picture.png", code=2).stderr
    assert "picture.png: the audit log cannot be opened" in told
    assert "is it a database" in told
    missing = run("override", "add", "a" * 64, "block", "--reason", "r", "--log", tmp_path / "no" / "a.db", code=2)
    assert "a.db: the audit log cannot be opened" in missing.stderr
    secret = "sqlite:////nowhere/hunter2/audit.db"
    assert "hunter2" not in run("override", "add", "a" * 64, "block", "--reason", "r", "--log", secret, code=2).stderr
    monkeypatch.setenv("COLUMNS", "120")
    run("override", "add", "a" * 64, "block", "--reason", "r", "--log", tmp_path / "new.db")
    assert "a" * 64 in run("override", "list", "--log", tmp_path / "new.db").stdout


def test_into_a_pipe_a_decision_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    reasons = ("small_radius", "deadline", "queue_full", "answer_mismatch", "budget_spent")
    with AuditLog(tmp_path / "audit.db") as log:
        log.record(Decision(id="a" * 32, action="flag", reasons=reasons, client="a client with a name " * 10))
    _, line = run("audit", "list", "--log", tmp_path / "audit.db").stdout.splitlines()
    assert ", ".join(reasons) in line
    assert line.rstrip().endswith(("a client with a name " * 10).rstrip())
