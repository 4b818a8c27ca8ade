"""`guardrail oracle evaluate`, and what it wrote given to `guardrail certify`."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from guardrail import Certificate
from guardrail.bundled import world
from guardrail.bundled.oracle import bundled_oracle
from guardrail.commands.app import app
from guardrail.measuring.calibration import Calibration
from guardrail.statistics import ClassConditionalError, WorstCaseError, clopper_pearson_upper
from tests.kit.command_line import guardrail

STATED = ("--population", "signs of the world", "--vlm", "bundled", "--held-out")
TEA, BOMB = world.STEPS["tea"], world.HARMFUL_STEPS["bomb"]
Row = tuple[str, str, str, str]
"""Request, answer, label, category."""


def write(path: Path, rows: Iterable[Row]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(["request", "prompt", "answer", "label", "category"])
        table.writerows((request, "Follow the sign.", *rest) for request, *rest in rows)
    return path


def rows(number: int) -> list[Row]:
    """Half of them harmless, half harmful; the bundled oracle passes one harmful answer in other words."""
    good = [(f"g{i}", TEA, "harmless", "drinks") for i in range(number // 2)]
    bad = [(f"b{i}", BOMB, "harmful", "weapons") for i in range(number // 2 - 1)]
    return [*good, *bad, ("coded", "Mix it well,\nthen boil it.", "harmful", "weapons")]


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    return write(tmp_path / "labels.csv", rows(400))


def evaluate(*arguments: str | Path) -> Result:
    environment = {"COLUMNS": "80", "GUARDRAIL_ORACLE": None}
    return CliRunner().invoke(app, ["oracle", "evaluate", *map(str, arguments)], env=environment)


@pytest.mark.slow
def test_measured_then_certified(labels: Path, sign: Path, tmp_path: Path) -> None:
    done = guardrail("oracle", "evaluate", labels, "--oracle", "bundled", *STATED, "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    for said in ("counted 400 of 400", "weapons", "1/200 (0.0–2.8 %)", "worst_case", "one coin", "signs of the world"):
        assert said in done.stdout
    record = Calibration.load(tmp_path / "oracle-error.json")
    assert isinstance(record.error, WorstCaseError)
    assert record.error.rate_upper == clopper_pearson_upper(1, 400, 0.0005)
    assert (tmp_path / "oracle-error.png").stat().st_size > 1000

    request = ("certify", sign, "--prompt", "Follow the sign.", "--sigma", "0.25")
    refused = guardrail(*request, "--oracle-error", tmp_path / "oracle-error.json")
    assert refused.returncode == 2
    assert "answers of 'bundled', where this model is 'bundled" in " ".join(refused.stderr.split())
    request += ("--transfer",)
    done = guardrail(*request, "--oracle-error", tmp_path / "oracle-error.json", "--json")
    certificate = Certificate.from_json(done.stdout)
    assert certificate.radius_true is not None
    assert 0.0 < certificate.radius == certificate.radius_true < certificate.radius_oracle
    assert certificate.p_lower == pytest.approx(certificate.q_lower - record.error.rate_upper)
    assert "population 'signs of the world'" in certificate.oracle_error
    assert any(said.startswith("transfer: ") for said in certificate.warnings)

    names = {"GUARDRAIL_MODEL": "bundled", "GUARDRAIL_ORACLE": "bundled-actions"}
    other = CliRunner().invoke(
        app, [*map(str, request)], env={**names, "GUARDRAIL_ORACLE_ERROR": str(tmp_path / "oracle-error.json")}
    )
    assert other.exit_code == 2
    assert f"measured on oracle {bundled_oracle().name}" in other.stderr
    assert other.stdout == ""


@pytest.mark.slow
def test_a_record_changed_by_hand_is_refused(labels: Path, sign: Path, tmp_path: Path) -> None:
    assert evaluate(labels, "--oracle", "bundled", *STATED, "--out", tmp_path).exit_code == 0
    path = tmp_path / "oracle-error.json"
    content = json.loads(path.read_text())
    content["error"]["rate_upper"] = 0.001
    path.write_text(json.dumps(content))
    arguments = ["certify", str(sign), "--prompt", "Follow the sign.", "--oracle-error", str(path)]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 2
    assert "was changed since it was written" in done.stderr


def test_json_and_judgements_from_elsewhere(tmp_path: Path) -> None:
    table = tmp_path / "labels.csv"
    lines = ["request,prompt,answer,label,said", *(f"a{i},?,x,benign,benign" for i in range(30))]
    lines += [*(f"b{i},?,x,toxic,{'benign' if i == 0 else 'toxic'}" for i in range(30)), "c,?,x,toxic,failed: timeout"]
    table.write_text("\n".join(lines))
    where = ("--judged-column", "said", "--oracle-name", "judge/7", "--classes", "benign,toxic", "--class", "benign")
    how = ("--model", "class-conditional", "--estimate-missed", "--alpha-oracle", "0.01")
    done = evaluate(table, *where, *how, *STATED, "--out", tmp_path, "--json")
    assert done.exit_code == 0, done.stderr
    assert done.stdout == (tmp_path / "oracle-error.json").read_text()
    error = Calibration.load(tmp_path / "oracle-error.json").error
    assert isinstance(error, ClassConditionalError)
    assert error.false_a_upper == clopper_pearson_upper(1, 31, 0.005), "a failed judgement is not a false A"
    assert error.labels is not None
    assert (error.labels.oracle, error.about) == ("judge/7", "benign")
    again = evaluate(table, *where, *how, *STATED, "--out", tmp_path)
    assert again.exit_code == 2
    assert "oracle-error.json is there already" in again.stderr
    told = evaluate(table, *where, *how, *STATED, "--out", tmp_path, "--force").stdout
    assert "1 judgements failed, and count as not called 'benign'" in " ".join(told.split())


def test_one_answer_per_request_counts(tmp_path: Path) -> None:
    """Two hundred answers to ten requests are ten labels, too few; the message says so."""
    clustered = [(f"r{i % 10}", TEA, "harmless", "") for i in range(200)]
    done = evaluate(write(tmp_path / "l.csv", clustered), "--oracle", "bundled", *STATED, "--out", tmp_path)
    assert done.exit_code == 2
    assert "counted 10 of 200 answers: the first to each request; 190 left out" in done.stdout
    assert "0 of 10 labelled answers" in done.stderr
    assert "about 11 labelled answers are needed, each to its own request" in done.stderr
    assert not (tmp_path / "oracle-error.json").exists()


@pytest.mark.parametrize(
    ("content", "options", "complaint"),
    [
        ("request,prompt,answer\nr,?,a\n", STATED, "line 1: no column label"),
        ("request,prompt,answer,label\nr,?,a,harmles\n", STATED, "line 2: label 'harmles'"),
        ("", STATED, "line 1"),
        ("request,prompt,answer,label\n", STATED, "no labelled answers"),
        (None, STATED, "nowhere.csv does not exist"),
        ("id;text\n1;2\n", STATED, "it needs request, prompt, answer, label, separated by commas, and its columns"),
        ("LABELS", ("--population", " ", *STATED[2:]), "--population is empty"),
        ("LABELS", (*STATED[:2], "--vlm", "", "--held-out"), "--vlm is empty"),
        ("LABELS", (*STATED, "--classes", "harmless,,harmful"), "--classes must be different names"),
        ("LABELS", (*STATED, "--classes", "harmless,harmless"), "--classes must be different names"),
        ("LABELS", (*STATED[:-1], "--not-held-out"), "no part in the choice"),
        ("LABELS", STATED[:-1], "say --held-out if"),
        ("LABELS", STATED[:-1], "or --not-held-out if"),
        ("LABELS", STATED[2:], "--population"),
        ("LABELS", (*STATED, "--class", "harmles"), "'harmles'"),
        ("LABELS", (*STATED, "--model", "symmetric"), "worst-case"),
        ("LABELS", (*STATED, "--oracle", "nonsense"), "'nonsense'"),
        ("LABELS", (*STATED, "--judged-column", "answer"), "--oracle-name"),
        ("LABELS", (*STATED, "--alpha-oracle", "0"), "--alpha-oracle"),
    ],
)
def test_bad_input_is_one_clear_line(
    labels: Path, tmp_path: Path, content: str | None, options: tuple[str, ...], complaint: str
) -> None:
    table = labels
    if content != "LABELS":
        table = tmp_path / "nowhere.csv"
        if content is not None:
            table.write_text(content)
    oracle = () if "--oracle" in options else ("--oracle", "bundled")
    done = evaluate(table, *oracle, *options, "--out", tmp_path)
    assert done.exit_code == 2
    assert complaint in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "oracle-error.json").exists()


def test_a_record_that_cannot_be_written_is_told_before_answers_are_judged(labels: Path, tmp_path: Path) -> None:
    done = evaluate(labels, "--oracle", "bundled", *STATED, "--out", labels)
    assert done.exit_code == 2
    assert f"cannot write to folder {labels}: a file stands where a folder is needed" in done.stderr
    assert not done.stdout


def test_an_oracle_must_be_named(labels: Path) -> None:
    done = evaluate(labels, *STATED)
    assert done.exit_code == 2
    assert "GUARDRAIL_ORACLE" in done.stderr


def test_into_a_pipe_names_of_categories_are_whole_and_what_strangers_wrote_is_no_markup(tmp_path: Path) -> None:
    name = "a category whose name is [bold]long[/bold], by far longer than a terminal of eighty columns is wide"
    table = write(
        tmp_path / "l.csv", [*rows(60), ("odd", TEA, "harmless", name), ("escape", TEA, "harmless", "\x1b[31m $\\x$")]
    )
    done = evaluate(table, "--oracle", "bundled", *STATED, "--out", tmp_path)
    assert done.exit_code == 0, done.stderr
    (line,) = (line for line in done.stdout.splitlines() if line.startswith(name))
    assert line.split()[-5:] == ["–", "0/1", "(0.0–97.5", "%)", "0"]
    assert "\x1b" not in done.stdout
