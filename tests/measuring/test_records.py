"""All records are kept the same way: a version, a digest, one word about what cannot be read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from guardrail.errors import ConfigurationError
from guardrail.measuring.calibration import Calibration
from guardrail.measuring.recall import EvaluationRecord
from guardrail.measuring.records import Record
from guardrail.measuring.threshold import SimilarityThreshold
from guardrail.statistics import ClassConditionalError

WRITTEN = Path(__file__).parent / "version_1"
"""Files that the commands wrote when only calibrations had a digest."""
KINDS: dict[str, type[Record]] = {
    "evaluation.json": EvaluationRecord,
    "oracle-error.json": Calibration,
    "threshold.json": SimilarityThreshold,
}
each_kind = pytest.mark.parametrize(("name", "kind"), KINDS.items(), ids=KINDS)


def test_what_was_written_before_says_what_it_said() -> None:
    level = EvaluationRecord.load(WRITTEN / "evaluation.json").levels[0]
    assert (level.sigma, level.recall.count, level.recall.total, level.target_radius) == (0.5, 2, 3, 0.1)
    calibration = Calibration.load(WRITTEN / "oracle-error.json")
    assert isinstance(calibration.error, ClassConditionalError)
    assert calibration.error.false_a_upper == 0.31616944795416557
    assert calibration.error.labels is not None
    assert calibration.error.labels.population == "Kindergärten"
    assert calibration.measured.confusion.failed == 1
    threshold = SimilarityThreshold.load(WRITTEN / "threshold.json")
    assert (threshold.threshold, threshold.held_out.missed.count) == (0.689, 39)


@each_kind
def test_what_is_written_now_has_a_digest_and_all_that_stood_there(
    name: str, kind: type[Record], tmp_path: Path
) -> None:
    record = kind.load(WRITTEN / name)
    record.save(tmp_path / "new" / name)
    assert kind.load(tmp_path / "new" / name) == record
    before, now = (json.loads((folder / name).read_text("utf-8")) for folder in (WRITTEN, tmp_path / "new"))
    assert len(now.pop("sha256")) == 64
    before.pop("sha256", None)
    if name == "oracle-error.json":
        before["error"]["labels"]["failed_is_a"] = 0  # said since then
    assert now == before


@each_kind
def test_a_change_by_hand_is_noticed_and_another_layout_is_none(name: str, kind: type[Record], tmp_path: Path) -> None:
    content = json.loads(kind.load(WRITTEN / name).to_json())
    (tmp_path / name).write_text(json.dumps(content, sort_keys=True))
    assert kind.load(tmp_path / name) == kind.load(WRITTEN / name)
    (tmp_path / name).write_text(json.dumps({**content, "note": "mine"}))
    with pytest.raises(ConfigurationError, match=rf"{name} was changed since .* write it with `{kind.command}`"):
        kind.load(tmp_path / name)


@each_kind
@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (None, "there is no such file"),
        (b"", "it is not JSON"),
        (b"\xff", "it is not JSON"),
        (b"[" * 100_000, "it is not JSON"),
        (b"[]", "is not a"),
        (b"{}", "is not a"),
        (b'{"version": 2}', "is not a"),
    ],
)
def test_what_cannot_be_read_is_named(
    name: str, kind: type[Record], content: bytes | None, complaint: str, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigurationError, match=complaint) as error:
        kind.load(tmp_path / name)
    assert name in str(error.value)


@each_kind
def test_another_version_is_refused_by_its_number(name: str, kind: type[Record]) -> None:
    record = kind.load(WRITTEN / name)
    with pytest.raises(ValueError, match=f"{kind.kind} of version 2, this package reads 1"):
        kind.model_validate({**record.model_dump(), "version": 2})


def test_no_kind_is_taken_for_another() -> None:
    for name in KINDS:
        for other in (kind for file, kind in KINDS.items() if file != name):
            with pytest.raises(ConfigurationError, match="is not a"):
                other.load(WRITTEN / name)


def test_a_calibration_without_its_digest_is_refused(tmp_path: Path) -> None:
    content = json.loads((WRITTEN / "oracle-error.json").read_text("utf-8"))
    del content["sha256"]
    (tmp_path / "bare.json").write_text(json.dumps(content))
    with pytest.raises(ConfigurationError, match="is not a calibration"):
        Calibration.load(tmp_path / "bare.json")
