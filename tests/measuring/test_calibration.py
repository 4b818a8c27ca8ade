"""How often an oracle errs is measured on labelled answers, recorded, and used only where it belongs."""

from __future__ import annotations

import csv
import hashlib
import json
import math
import os
import re
import shutil
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from guardrail import Guard, InputImage, SmoothedClassifier, Smoothing
from guardrail.commands.oracle.evaluate import measure_and_show
from guardrail.errors import ConfigurationError
from guardrail.experiments.synthetic_errors import FlippedOracle
from guardrail.measuring.calibration import Calibration, Confusion, Kind, error_model
from guardrail.measuring.oracle_errors import (
    Design,
    LabelledFile,
    LabelledText,
    count_errors,
    oracle_labels,
    read_labelled_answers,
)
from guardrail.oracles import LexiconOracle, Oracle
from guardrail.prompts import Prompt
from guardrail.settings import Settings
from guardrail.statistics import (
    ClassConditionalError,
    ImpossibleRateError,
    LabelledAnswers,
    OracleError,
    SymmetricError,
    UnknownSymmetricError,
    WorstCaseError,
    clopper_pearson_lower,
    clopper_pearson_upper,
    labels_needed,
)
from tests.kit.synthetic import ORACLE, CoinVLM, HalfSpaceVLM

CLASSES = ("harmless", "harmful", "illegible")
HEADER = "request,prompt,answer,label"
Row = tuple[str, str, str, str, str]
"""Request, answer, label, category, judgement elsewhere."""


def write(folder: Path, rows: Sequence[Row]) -> Path:
    path = folder / "labels.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(["request", "prompt", "answer", "label", "category", "judged"])
        table.writerows((request, "?", *rest) for request, *rest in rows)
    return path


def answered(good: int, bad: int, passed: int = 0) -> list[Row]:
    """Requests of which `good` are harmless, `bad` harmful, and `passed` harmful though ORACLE calls them harmless."""
    rows = [(f"g{i}", "it is good", "harmless", "open", "harmless") for i in range(good)]
    rows += [(f"b{i}", "it is bad", "harmful", "open", "harmful") for i in range(bad)]
    return rows + [(f"p{i}", "good, in code", "harmful", "coded", "harmless") for i in range(passed)]


DESIGN = Design(
    certified_class="harmless",
    kind="worst-case",
    population="requests of a test",
    vlm="coin",
    held_out=True,
    alpha_oracle=0.0005,
)


def calibrate(
    table: Path,
    out: Path,
    oracle: Oracle | str = ORACLE,
    *,
    judged_column: str | None = None,
    classes: Sequence[str] = (),
    **changes: Any,
) -> Calibration:
    design = replace(DESIGN, **changes)
    console = Console(quiet=True)
    return measure_and_show(console, table, oracle, design, judged_column=judged_column, classes=classes, out=out)


class TestReading:
    def test_lines_that_hold_lines(self, tmp_path: Path) -> None:
        path = tmp_path / "labels.csv"
        path.write_text(
            '\ufeffnote,request,prompt,answer,label,category\nx,r1,?,"a,\n""b""\n", harmless ,c\n,r2,,,harmful,\n',
            "utf-8",
        )
        assert read_labelled_answers(path, CLASSES).answers == (
            LabelledText(2, "r1", "?", 'a,\n"b"\n', "harmless", "c"),
            LabelledText(5, "r2", "", "", "harmful"),
        )

    @pytest.mark.parametrize(
        ("content", "complaint"),
        [
            ("", "line 1: no column request, prompt, answer, label"),
            ("request,prompt,answer\nr,?,a\n", "line 1: no column label"),
            (f"{HEADER},label\n", r"line 1: the columns \['label'\]"),
            (f"{HEADER}\n", "no labelled answers"),
            (f"{HEADER}\nr,?,a,harmless\ns,?,a,harmles\n", "line 3: label 'harmles'"),
            (f'{HEADER}\nr,?,"a\nb",harmless\ns,?,a,\n', "line 4: label ''"),
            (f"{HEADER}\nr,?,a\n", "line 2: not 4 fields"),
            (f"{HEADER}\nr,?,a, and b,harmless\n", "line 2: not 4 fields"),
            (f"{HEADER}\n ,?,a,harmless\n", "line 2: no request"),
            (f'{HEADER}\nr,?,a,harmless\nr,?,"a" b,harmless\n', "line 3: cannot be read as CSV"),
        ],
    )
    def test_what_cannot_be_used_is_named_with_its_line(self, tmp_path: Path, content: str, complaint: str) -> None:
        (tmp_path / "labels.csv").write_text(content)
        with pytest.raises(ConfigurationError, match=rf"labels\.csv.*{complaint}"):
            read_labelled_answers(tmp_path / "labels.csv", CLASSES)

    def test_files_that_are_no_text(self, tmp_path: Path) -> None:
        (tmp_path / "labels.csv").write_bytes(b"\xff\xfe\x00")
        for name in ("labels.csv", "nowhere.csv"):
            with pytest.raises(ConfigurationError, match=name):
                read_labelled_answers(tmp_path / name, CLASSES)

    def test_a_missing_file_and_a_folder_are_told_in_plain_words(self, tmp_path: Path) -> None:
        for path, complaint in ((tmp_path / "nowhere.csv", "does not exist"), (tmp_path, "is a folder")):
            with pytest.raises(ConfigurationError, match=rf"{path} {complaint}: give the path of a CSV file"):
                read_labelled_answers(path, CLASSES)

    def test_judgements_from_elsewhere(self, tmp_path: Path) -> None:
        (tmp_path / "labels.csv").write_text(f"{HEADER},said\nr,?,a,harmless,failed: timeout\ns,?,a,harmless,maybe\n")
        with pytest.raises(ConfigurationError, match="line 3: said 'maybe'"):
            read_labelled_answers(tmp_path / "labels.csv", CLASSES, "said")
        with pytest.raises(ConfigurationError, match="no column told"):
            read_labelled_answers(tmp_path / "labels.csv", CLASSES, "told")


class TestCounting:
    def test_the_first_answer_to_a_request_counts_whatever_its_label(self) -> None:
        rows = [
            LabelledText(i, r, "?", "a", label) for i, (r, label) in enumerate([("r", "x"), ("s", "y"), ("r", "y")])
        ]
        assert LabelledFile("f", "", tuple(rows)).first_per_request() == rows[:2]
        assert LabelledFile("f", "", tuple(rows[::-1])).first_per_request() == [rows[2], rows[1]]

    def test_failed_judgements_are_not_a(self, tmp_path: Path) -> None:
        class Unsure:
            name = "unsure"
            classes = CLASSES

            def classify(self, answers: Sequence[str], prompts: Sequence[Prompt]) -> list[str]:
                assert [prompt.text for prompt in prompts] == ["?"] * len(answers)
                return ["failed: unparsable" if "bad" in answer else "harmless" for answer in answers]

        file = read_labelled_answers(write(tmp_path, answered(3, 2, 1)), CLASSES)
        assert oracle_labels(Unsure(), file.answers).count("failed") == 2
        done: list[tuple[int, int]] = []
        errors = count_errors(file, Unsure(), CLASSES, DESIGN, lambda *step: done.append(step))
        assert done == [(6, 6)]
        assert (errors.labels.said_a_is_other, errors.labels.oracle) == (1, "unsure")
        confusion = errors.measured.confusion
        assert confusion.counts["harmful"] == {"harmless": 1, "harmful": 0, "illegible": 0, "failed": 2}
        assert confusion.failed == 2
        assert (confusion.false("harmless", 0.9).count, confusion.false("harmless", 0.9).total) == (1, 3)
        assert (confusion.missed("harmful", 0.9).count, confusion.missed("harmful", 0.9).total) == (3, 3)
        assert confusion.wrong(0.9).count == 3

    def test_rates_are_of_the_right_answers(self) -> None:
        counts = {"harmless": {"harmless": 80, "harmful": 7, "failed": 3}, "harmful": {"harmless": 4, "harmful": 36}}
        confusion = Confusion(counts=counts)
        false, missed = confusion.false("harmless", 0.95), confusion.missed("harmless", 0.95)
        assert (false.count, false.total, missed.count, missed.total) == (4, 40, 10, 90)
        assert false.upper == pytest.approx(clopper_pearson_upper(4, 40, 0.025))
        assert missed.lower == pytest.approx(clopper_pearson_lower(10, 90, 0.025))
        assert confusion.wrong(0.95).count == 14
        assert confusion.total == 130


def labels(right: int, false: int, missed: int, other: int, *, held_out: bool = True) -> LabelledAnswers:
    rows = [("harmless", "harmless")] * right + [("harmful", "harmless")] * false
    rows += [("harmless", "harmful")] * missed + [("harmful", "harmful")] * other
    answers = [(i, *row) for i, row in enumerate(rows)]
    return LabelledAnswers.count(answers, "harmless", population="p", vlm="v", held_out=held_out, oracle="o")


class TestBounds:
    def test_each_model_takes_its_own_labels(self) -> None:
        counted = labels(180, 4, 20, 96)
        assert error_model(counted, "worst-case", 0.01) == WorstCaseError.from_labelled(counted, 0.01)
        assert error_model(counted, "symmetric", 0.01) == SymmetricError.from_labelled(counted, 0.01)
        one = error_model(counted, "class-conditional", 0.01)
        assert one == ClassConditionalError.from_labelled(counted, 0.01)
        both = error_model(counted, "class-conditional", 0.01, estimate_missed=True)
        assert isinstance(both, ClassConditionalError)
        assert both.missed_a_lower == clopper_pearson_lower(20, 200, 0.005) > 0.0
        assert both.alpha_oracle == pytest.approx(0.01), "α_o is of both rates together"

    @pytest.mark.parametrize("kind", ["worst-case", "class-conditional", "symmetric"])
    def test_too_few_labels_are_refused_and_the_number_that_would_do_is_said(self, kind: Kind) -> None:
        alpha = 0.0005
        fewest = math.ceil(math.log(alpha, 0.5))  # without an error, the upper bound is 1 − α^(1/m)
        assert fewest == 11
        others = {"worst-case": 0, "class-conditional": 1, "symmetric": 0}[kind]
        with pytest.raises(ImpossibleRateError, match=f"about {fewest} labelled answers"):
            error_model(labels((fewest - 1) * (1 - others), 0, 0, (fewest - 1) * others), kind, alpha)
        error_model(labels(fewest * (1 - others), 0, 0, fewest * others), kind, alpha)

    def test_the_symmetric_model_counts_both_errors(self) -> None:
        with pytest.raises(
            ImpossibleRateError, match=r"erred on 9 of 19 labelled answers.* labelled answers are needed"
        ):
            error_model(labels(5, 4, 5, 5), "symmetric", 0.0005)

    def test_no_labels_at_all_of_the_kind_that_matters(self) -> None:
        with pytest.raises(ImpossibleRateError, match=r"0 of 0 labelled answers that are not 'harmless'.*about 11"):
            error_model(labels(500, 0, 0, 0), "class-conditional", 0.0005)

    def test_an_oracle_too_bad_is_told_apart_from_labels_too_few(self) -> None:
        with pytest.raises(ImpossibleRateError, match="better oracle"):
            error_model(labels(5, 60, 0, 5), "worst-case", 0.0005)
        with pytest.raises(ImpossibleRateError, match="better oracle"):
            error_model(labels(5, 30, 60, 5), "symmetric", 0.0005)

    def test_labels_that_chose_something_bound_nothing(self) -> None:
        with pytest.raises(ImpossibleRateError, match="no part in the choice"):
            error_model(labels(500, 0, 0, 500, held_out=False), "worst-case", 0.0005)

    def test_the_number_that_would_do_does(self) -> None:
        for errors, answers in ((0, 0), (0, 5), (2, 8), (9, 20)):
            needed = labels_needed(errors, answers, 0.001)
            assert needed is not None
            observed = math.ceil(errors * needed / max(answers, 1))
            assert clopper_pearson_upper(observed, needed, 0.001) < 0.5
        assert labels_needed(4, 8, 0.001) is None


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("calibration")
    calibrate(write(folder, answered(200, 190, 10)), folder)
    return folder


@pytest.fixture
def path(written: Path, tmp_path: Path) -> Path:
    """A record's file, to spoil."""
    return Path(shutil.copy(written / "oracle-error.json", tmp_path))


class TestRecord:
    @pytest.fixture
    def record(self, path: Path) -> Calibration:
        return Calibration.load(path)

    @pytest.mark.slow
    def test_it_comes_back_from_its_file(self, tmp_path: Path, written: Path) -> None:
        record = calibrate(written / "labels.csv", tmp_path)
        assert Calibration.load(tmp_path / "oracle-error.json") == record
        assert isinstance(record.error, WorstCaseError)
        assert record.error.rate_upper == clopper_pearson_upper(10, 400, 0.0005)
        assert record.error.labels is not None
        assert record.error.labels.oracle == ORACLE.name
        assert record.measured.categories["coded"].false("harmless", 0.95).share == 1.0
        with Image.open(tmp_path / "oracle-error.png") as plot:
            assert np.asarray(plot).std() > 10

    @pytest.mark.slow
    def test_a_pipe_is_read_once_and_its_hash_is_of_what_was_read(self, tmp_path: Path, written: Path) -> None:
        content, pipe = (written / "labels.csv").read_bytes(), tmp_path / "pipe"
        os.mkfifo(pipe)
        writer = threading.Thread(target=pipe.write_bytes, args=(content,), daemon=True)
        writer.start()
        assert calibrate(pipe, tmp_path).measured.data_sha256 == hashlib.sha256(content).hexdigest()

    def test_layout_may_change_and_content_may_not(self, path: Path, record: Calibration) -> None:
        path.write_text(json.dumps(json.loads(path.read_text()), sort_keys=True))
        assert Calibration.load(path) == record

    @pytest.mark.parametrize(
        "edit",
        [
            lambda c: c["error"].update(rate_upper=0.0001),
            lambda c: c["error"].update(alpha_oracle=0.0),
            lambda c: c["error"]["labels"].update(oracle="another"),
            lambda c: c["error"]["labels"].update(labels_sha256="0" * 64),
            lambda c: c["error"]["labels"].update(population="everything"),
            lambda c: c["measured"]["confusion"]["counts"]["harmful"].update(harmless=0),
            lambda c: c.update(sha256="0" * 64),
            lambda c: c.update(note="mine"),
        ],
    )
    def test_a_change_by_hand_is_noticed(self, path: Path, edit: object) -> None:
        content = json.loads(path.read_text())
        edit(content)  # type: ignore[operator]
        path.write_text(json.dumps(content))
        with pytest.raises(ConfigurationError, match="was changed since"):
            Calibration.load(path)

    @pytest.mark.parametrize("content", ["", "[]", "{}", '{"sha256": 1}', "null", "[" * 100_000])
    def test_what_is_no_record_is_refused(self, tmp_path: Path, content: str) -> None:
        (tmp_path / "record.json").write_text(content)
        with pytest.raises(ConfigurationError, match=r"record\.json"):
            Calibration.load(tmp_path / "record.json")
        with pytest.raises(ConfigurationError, match=r"nowhere\.json"):
            Calibration.load(tmp_path / "nowhere.json")

    @pytest.mark.slow
    def test_an_error_that_nobody_measured_is_no_record(self, record: Calibration) -> None:
        with pytest.raises(ValueError, match="not measured"):
            Calibration(error=WorstCaseError(rate_upper=0.1), measured=record.measured)
        assert record.error.labels is not None
        nameless = record.error.model_copy(update={"labels": record.error.labels.model_copy(update={"oracle": None})})
        with pytest.raises(ValueError, match="no oracle"):
            Calibration(error=nameless, measured=record.measured)
        fewer = WorstCaseError.from_labelled(labels(100, 0, 0, 0), 0.0005)
        with pytest.raises(ValueError, match="100 labels, but 400"):
            Calibration(error=fewer, measured=record.measured)
        kinder = WorstCaseError.from_labelled(labels(200, 1, 0, 199), 0.0005)
        with pytest.raises(ValueError, match=r"\(1, 0\) answers falsely called 'harmless' and missed, but \(10, 0\)"):
            Calibration(error=kinder, measured=record.measured)

    @pytest.mark.slow
    def test_oracles_elsewhere_are_taken_at_their_word(self, tmp_path: Path) -> None:
        table = write(tmp_path, answered(50, 50, 3))
        there = calibrate(table, tmp_path / "there", "judge/1", judged_column="judged")
        assert there.error.labels is not None
        assert there.error.labels.oracle == "judge/1"
        here = calibrate(table, tmp_path / "here")
        assert there.measured.confusion.false("harmless", 0.9) == here.measured.confusion.false("harmless", 0.9)

    @pytest.mark.slow
    @pytest.mark.parametrize("options", [{"kind": "class-conditional", "estimate_missed": True}, {"kind": "symmetric"}])
    def test_no_lower_bound_rests_on_failures(self, tmp_path: Path, options: dict[str, object]) -> None:
        """A fifth of the judgements timed out while measuring: b ≥ 0.16 would make p ≥ 0.93 of q = 0.78 in use."""
        rows = answered(400, 500) + [(f"t{i}", "good", "harmless", "", "failed: timeout") for i in range(100)]
        table = write(tmp_path, rows)
        with pytest.raises(ImpossibleRateError, match="100 judgements of answers that are 'harmless' failed"):
            calibrate(table, tmp_path, "judge/1", judged_column="judged", **options)
        assert not (tmp_path / "oracle-error.json").exists()
        calibrate(table, tmp_path, "judge/1", judged_column="judged", kind="class-conditional")

    @pytest.mark.parametrize(
        ("options", "complaint"),
        [
            ({"certified_class": "harmles"}, "'harmles' cannot be certified"),
            ({"certified_class": "illegible"}, "'illegible' cannot be certified"),
            ({"classes": ("harmless", "failed")}, "'failed' is no class"),
            ({"estimate_missed": True}, "no rate of missed answers"),
            ({"kind": "symmetric"}, "independent over the draws"),
            ({"kind": "class-conditional"}, "independent over the draws"),
        ],
    )
    def test_what_does_not_go_together(self, tmp_path: Path, options: dict[str, object], complaint: str) -> None:
        with pytest.raises(ConfigurationError, match=complaint):
            calibrate(write(tmp_path, answered(50, 50)), tmp_path, **options)
        assert not (tmp_path / "oracle-error.json").exists()

    @pytest.mark.slow
    def test_labels_that_prove_nothing_are_shown_and_not_recorded(self, tmp_path: Path) -> None:
        for number, options in ((2, {}), (500, {"held_out": False})):
            with pytest.raises(ImpossibleRateError):
                calibrate(write(tmp_path, answered(number, number)), tmp_path / str(number), **options)
            assert [path.name for path in (tmp_path / str(number)).iterdir()] == ["oracle-error.png"]


class TestUse:
    """The file bounds the error of the oracle that it names, and no other's."""

    @pytest.fixture
    def smoothing(self, path: Path) -> Smoothing:
        settings = Settings(
            oracle_error=path,
            key="a very secret key indeed",  # type: ignore[arg-type]
            smoothing=Smoothing(population="requests of a test"),
        )
        return settings.make_smoothing()

    def test_the_certificate_speaks_of_what_the_answers_are(self, smoothing: Smoothing) -> None:
        picture = InputImage(np.full((2, 2, 3), 128, np.uint8))
        model = HalfSpaceVLM(-100.0, name="coin")
        certificate = SmoothedClassifier(model, ORACLE, smoothing).certify(picture, "?")
        assert certificate.p_lower == pytest.approx(certificate.q_lower - clopper_pearson_upper(10, 400, 0.0005))
        assert certificate.radius == certificate.radius_true
        assert 0.0 < certificate.radius < certificate.radius_oracle
        assert (certificate.alpha_draws, certificate.alpha_oracle) == (0.0005, 0.0005)
        for part in ("worst_case", "requests of a test", "answered by coin"):
            assert part in certificate.oracle_error
        assert not any("transfer" in said or "oracle error" in said for said in certificate.warnings)

    @pytest.mark.parametrize(
        ("model", "population", "difference"),
        [
            ("dice", "requests of a test", "answers of 'coin', where this model is 'dice'"),
            ("coin behind a denoiser", "requests of a test", "this model is 'coin behind a denoiser'"),
            ("coin", "requests of another test", "that of these requests is 'requests of another test'"),
            ("coin", "", "that of these requests is ''"),
            ("coin", None, "that of these requests is not said"),
            ("dice", None, "answers of 'coin'.*, and on population 'requests of a test'"),
        ],
    )
    def test_labels_of_another_model_or_population_are_transfer(
        self, smoothing: Smoothing, model: str, population: str | None, difference: str
    ) -> None:
        """Refused unless it is accepted, and then said in two places of every certificate, abstentions included."""
        there = smoothing.model_copy(update={"population": population})
        with pytest.raises(ConfigurationError, match=f"{difference}.*transfer"):
            Guard(CoinVLM(1.0, name=model), ORACLE, smoothing=there)
        accepted = there.model_copy(update={"transfer": True})
        picture = InputImage(np.full((2, 2, 3), 128, np.uint8))
        for threshold in (-100.0, 5.3):
            vlm = HalfSpaceVLM(threshold, name=model)
            certificate = SmoothedClassifier(vlm, ORACLE, accepted).certify(picture, "?")
            (warning,) = (said for said in certificate.warnings if said.startswith("transfer"))
            assert re.search(difference, warning)
            assert re.search(f"transfer: .*{difference}", certificate.oracle_error)
        harmful = SmoothedClassifier(HalfSpaceVLM(100.0, name=model), ORACLE, accepted).certify(picture, "?")
        assert any(said.startswith("transfer") for said in harmful.warnings), "its alpha was shared with the labels too"

    def test_transfer_by_settings(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("GUARDRAIL_ORACLE_ERROR", str(path))
        with pytest.raises(ConfigurationError, match="transfer"):
            Guard(CoinVLM(1.0, name="dice"), ORACLE, smoothing=Settings.load().make_smoothing())
        monkeypatch.setenv("GUARDRAIL_SMOOTHING__TRANSFER", "true")
        assert Guard(CoinVLM(1.0, name="dice"), ORACLE, smoothing=Settings.load().make_smoothing()).classifier
        monkeypatch.delenv("GUARDRAIL_SMOOTHING__TRANSFER")
        monkeypatch.setenv("GUARDRAIL_SMOOTHING__POPULATION", "requests of a test")
        assert Guard(CoinVLM(1.0), ORACLE, smoothing=Settings.load().make_smoothing()).classifier

    @pytest.mark.parametrize(
        "error",
        [
            WorstCaseError(rate_upper=0.0),
            WorstCaseError(rate_upper=0.1, alpha_oracle=0.0001),
            ClassConditionalError(false_a_upper=0.0, certified_class="harmless"),
            SymmetricError(rate_lower=0.0),
            UnknownSymmetricError(),
        ],
        ids=lambda error: error.name,
    )
    def test_rates_that_were_asserted_are_called_so_and_measure_nothing(self, error: OracleError) -> None:
        """Not even a rate of 0 takes the warning away that nobody has measured the oracle."""
        picture = InputImage(np.full((2, 2, 3), 128, np.uint8))
        oracle = FlippedOracle(ORACLE, 0.0)
        smoothing = Smoothing(oracle_error=error, class_rule="fixed", certified_class="harmless")
        certificate = SmoothedClassifier(HalfSpaceVLM(-100.0), oracle, smoothing).certify(picture, "?")
        assert certificate.radius_true is not None
        assert "(asserted, not measured)" in certificate.oracle_error
        assert any("oracle error not measured" in said and "asserted" in said for said in certificate.warnings)

    def test_a_guard_with_another_oracle_refuses_it(self, smoothing: Smoothing) -> None:
        assert Guard(CoinVLM(1.0), ORACLE, smoothing=smoothing).classifier
        other = LexiconOracle({"harmful": ["bad"], "harmless": ["good", "fine"]}, otherwise="illegible")
        with pytest.raises(ConfigurationError, match=f"measured on oracle {ORACLE.name}, this one is {other.name}"):
            Guard(CoinVLM(1.0), other, smoothing=smoothing)

    def test_by_settings(self, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        file = tmp_path / "guardrail.toml"
        file.write_text(f'model = "bundled"\noracle_error = "{path}"\n')
        assert Settings.load(file).make_smoothing().oracle_error == Calibration.load(path).error
        settings = Settings.load(file)
        with pytest.raises(ConfigurationError, match="measured on oracle"):  # the bundled oracle is another
            Guard(CoinVLM(1.0), settings.make_oracle(), smoothing=settings.make_smoothing())
        monkeypatch.setenv("GUARDRAIL_ORACLE_ERROR", str(tmp_path / "nowhere.json"))
        with pytest.raises(ConfigurationError, match=r"nowhere\.json"):
            Settings.load(file).make_smoothing()
        monkeypatch.setenv("GUARDRAIL_ORACLE_ERROR", str(path))
        assert Settings.load().make_smoothing().oracle_error == Calibration.load(path).error
        monkeypatch.setenv("GUARDRAIL_SMOOTHING__ORACLE_ERROR", '{"kind": "worst_case", "rate_upper": 0.1}')
        with pytest.raises(ConfigurationError, match="both set"):
            Settings.load().make_smoothing()
        monkeypatch.delenv("GUARDRAIL_SMOOTHING__ORACLE_ERROR")
        monkeypatch.setenv("GUARDRAIL_SMOOTHING__ALPHA", "0.0004")
        with pytest.raises(ConfigurationError, match="leaves nothing"):
            Settings.load().make_smoothing()
