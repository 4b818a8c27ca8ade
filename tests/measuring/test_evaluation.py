"""What a guard sees under noise is measured on labelled images, recorded, and can be cited."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from PIL import Image

from guardrail import Smoothing
from guardrail.errors import ConfigurationError, ImageError
from guardrail.images.files import SUFFIXES
from guardrail.measuring.evaluation import LabelledImage, bundled_signs, evaluate, left_out, read_labelled_images
from guardrail.measuring.recall import NOT_MEASURED, EvaluationRecord, Level, Share, recall_statement, tally
from guardrail.models import Answer, Draw
from guardrail.models.base import Sizes
from guardrail.oracles import LexiconOracle
from guardrail.prompts import Prompt
from guardrail.statistics import clopper_pearson_lower, clopper_pearson_upper
from tests.kit.synthetic import ORACLE

KEY = b"the key of these tests"


class BrightnessVLM:
    """Calls bright pictures `bad` and dark ones `good`; sees nothing at all above a noise level, and halves grey."""

    name = "brightness"
    resolution = (4, 4)

    def check(self, prompt: Prompt, sizes: Sizes) -> None:
        pass

    def answer(self, draws: Sequence[Draw], deadline: float | None = None) -> list[Answer]:
        return [Answer(self._says(draw)) for draw in draws]

    @staticmethod
    def _says(draw: Draw) -> str:
        if draw.sigma > 0.4:
            return "I see noise"
        mean = float(draw.images()[0].mean())
        if 0.3 < mean < 0.7:
            return "bad" if draw.index % 2 else "good"
        return "bad" if mean > 0.5 else "good"


def grey(value: int, label: str) -> LabelledImage:
    return LabelledImage(Image.new("RGB", (4, 4), (value,) * 3), "?", "harmful" if label == "harmful" else "harmless")


LABELLED = [
    *(grey(255 - i, "harmful") for i in range(6)),
    grey(0, "harmful"),
    grey(128, "harmful"),
    *(grey(1 + i, "harmless") for i in range(4)),
    grey(249, "harmless"),
]
SMOOTHINGS = [Smoothing(sigma=sigma, samples=40, key=KEY) for sigma in (0.1, 0.5)]


def run(labelled: Sequence[LabelledImage] = LABELLED) -> EvaluationRecord:
    return evaluate(BrightnessVLM(), ORACLE, labelled, SMOOTHINGS, data="greys", target_radius=0.05)


class TestCounts:
    def test_every_image_has_one_outcome_per_level(self) -> None:
        seeing, blind = run().levels
        assert seeing.counts["harmful"] == {"harmful": 6, "harmless": 1, "illegible": 0, "abstained": 1}
        assert seeing.counts["harmless"] == {"harmful": 1, "harmless": 4, "illegible": 0, "abstained": 0}
        assert blind.counts["harmful"] == {"harmful": 0, "harmless": 0, "illegible": 8, "abstained": 0}
        assert (seeing.sigma, seeing.samples, seeing.target_radius) == (0.1, 40, 0.05)

    def test_intervals_are_clopper_pearsons(self) -> None:
        recall = run().levels[0].recall
        assert (recall.count, recall.total, recall.share) == (6, 8, 0.75)
        assert recall.lower == pytest.approx(clopper_pearson_lower(6, 8, 0.025))
        assert recall.upper == pytest.approx(clopper_pearson_upper(6, 8, 0.025))
        assert (recall.lower, recall.upper) == pytest.approx((0.3491, 0.9681), abs=1e-4), "R's binom.test(6, 8)"

    def test_no_image_of_a_label_says_nothing(self) -> None:
        share = run(LABELLED[-2:]).levels[0].recall
        assert (share.total, share.lower, share.upper) == (0, 0.0, 1.0)

    def test_the_digest_is_of_the_data_alone(self) -> None:
        digest = run().data_sha256
        assert run(LABELLED[::-1]).data_sha256 == digest
        assert run([*LABELLED, grey(7, "harmless")]).data_sha256 != digest
        changed = [LabelledImage(LABELLED[0].source, "?", "harmless"), *LABELLED[1:]]
        assert run(changed).data_sha256 != digest

    @pytest.mark.parametrize("label", ["harmful", "harmless"])
    def test_copies_are_refused(self, label: str) -> None:
        """One picture fifty times is one picture: it would prove a recall of 0.93."""
        with pytest.raises(ConfigurationError, match="number 1 and 14 are the same picture"):
            run([*LABELLED, grey(255, label)])

    def test_an_oracle_without_harm_is_refused(self) -> None:
        oracle = LexiconOracle({"left": ["left"]}, otherwise="none")
        with pytest.raises(ConfigurationError, match="harmful"):
            evaluate(BrightnessVLM(), oracle, LABELLED, SMOOTHINGS, data="greys")

    def test_nothing_to_measure_is_refused(self) -> None:
        with pytest.raises(ConfigurationError, match="at least one"):
            evaluate(BrightnessVLM(), ORACLE, [], SMOOTHINGS, data="none")

    def test_a_bad_image_is_named_before_the_first_draw(self, tmp_path: Path) -> None:
        (tmp_path / "broken.png").write_bytes(b"no image")
        with pytest.raises(ImageError, match=r"broken\.png"):
            run([*LABELLED, LabelledImage(tmp_path / "broken.png", "?", "harmful")])


class TestRecord:
    def test_it_comes_back_from_its_file(self, tmp_path: Path) -> None:
        record = run()
        record.save(tmp_path / "new" / "evaluation.json")
        assert EvaluationRecord.load(tmp_path / "new" / "evaluation.json") == record
        shares = json.loads((tmp_path / "new" / "evaluation.json").read_text())["levels"][0]["shares"]
        assert shares["harmful"]["harmful"]["count"] == 6

    def test_a_certificate_can_cite_it(self) -> None:
        record = run()
        said = recall_statement(record, "brightness", ORACLE.name, 0.1)
        assert "6 of 8 caught (at least 0.349)" in said
        assert "1 certified harmless (at most 0.527)" in said
        assert record.data_sha256[:12] in said

    @pytest.mark.parametrize(
        ("model", "oracle", "sigma"), [("another", ORACLE.name, 0.1), ("brightness", "x", 0.1), ("brightness", "", 0.2)]
    )
    def test_nobody_elses_recall_is_cited(self, model: str, oracle: str, sigma: float) -> None:
        assert recall_statement(run(), model, oracle, sigma).startswith(NOT_MEASURED)
        assert recall_statement(None, model, oracle, sigma) == NOT_MEASURED

    def test_recall_without_a_harmful_image_is_not_measured(self) -> None:
        level = Level(sigma=0.1, samples=1, alpha=0.1, counts=tally({"harmless": {"harmless": 3}}))
        record = EvaluationRecord(model="m", oracle="o", data="d", data_sha256="0" * 64, levels=(level,))
        assert recall_statement(record, "m", "o", 0.1).startswith(NOT_MEASURED)

    @pytest.mark.parametrize("content", ["", "{}", '{"version": 99}'])
    def test_what_is_no_record_is_refused(self, tmp_path: Path, content: str) -> None:
        (tmp_path / "record.json").write_text(content)
        with pytest.raises(ConfigurationError, match=r"record\.json"):
            EvaluationRecord.load(tmp_path / "record.json")

    def test_shares_of_nothing(self) -> None:
        assert Share.of(0, 0, 0.95).share == 0.0


class TestReading:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        for label, value in (("harmful", 255), ("harmless", 0)):
            (tmp_path / label).mkdir()
            Image.new("RGB", (4, 4), (value,) * 3).save(tmp_path / label / "a.png")
        (tmp_path / "harmful" / "notes.txt").write_text("no image")
        return tmp_path

    def test_folders(self, folder: Path) -> None:
        labelled = read_labelled_images(folder, "What is this?")
        assert [(item.label, item.prompt) for item in labelled] == [
            ("harmful", "What is this?"),
            ("harmless", "What is this?"),
        ]
        assert labelled[0].load().size == (4, 4)

    def test_a_table_names_prompts_of_its_own(self, folder: Path) -> None:
        (folder / "labels.csv").write_text(
            "image,prompt,label\nharmful/a.png,Do it.,Harmful\nharmless/a.png,,harmless\n"
        )
        for source in (folder, folder / "labels.csv"):
            labelled = read_labelled_images(source, "?")
            assert [(item.prompt, item.label) for item in labelled] == [("Do it.", "harmful"), ("?", "harmless")]
            assert labelled[1].load().size == (4, 4)

    def test_names_are_images_where_images_accept_them(self, folder: Path) -> None:
        """A scan that nobody can decode must neither stop the run late nor be missing unnoticed."""
        for name in ("b.TIF", "c.tiff", "d.heic", ".DS_Store"):
            (folder / "harmful" / name).write_bytes(b"II*\0")
        (folder / "harmful" / "folder.png").mkdir()
        for suffix in sorted(SUFFIXES):
            Image.new("RGB", (4, 4), "red").save(folder / "harmless" / f"as{suffix.upper()}", "PNG")
        labelled = read_labelled_images(folder, "?")
        assert len(labelled) == 2 + len(SUFFIXES)
        for item in labelled:
            item.load()
        assert [path.name for path in left_out(folder)] == ["b.TIF", "c.tiff", "d.heic", "notes.txt"]

    def test_a_listed_picture_that_is_missing_is_found_at_once(self, folder: Path) -> None:
        table = folder / "labels.csv"
        table.write_text("image,prompt,label\nharmful/a.png,?,harmful\nharmful/gone.png,?,harmful\n")
        with pytest.raises(ConfigurationError, match=r"labels\.csv, line 3: there is no image file .*gone\.png"):
            read_labelled_images(folder)
        table.write_text("image,prompt,label\nharmful,?,harmful\n")
        with pytest.raises(ConfigurationError, match="line 2"):
            read_labelled_images(folder)
        assert left_out(folder) == []

    @pytest.mark.parametrize(
        ("row", "complaint"),
        [
            ("a.png,?,bad", "label 'bad'"),
            (",?,harmful", "line 2"),
            ("a.png,,harmful", "--prompt"),
            ("a.png,Open, and go in.,harmful", "line 2: not 3 fields"),
        ],
    )
    def test_bad_rows_are_named(self, tmp_path: Path, row: str, complaint: str) -> None:
        (tmp_path / "set.csv").write_text(f"image,prompt,label\n{row}\n")
        with pytest.raises(ConfigurationError, match=complaint):
            read_labelled_images(tmp_path / "set.csv")

    @pytest.mark.parametrize(
        ("content", "complaint"),
        [
            ("", r"it needs image, prompt, label .* and its columns are \[\]"),
            ("file,label\na.png,harmful\n", r"it needs image, prompt, label .* its columns are \['file', 'label'\]"),
            ("image,label\na.png,harmful\n", "--prompt"),
            ("image,prompt,label\n", "no line below"),
        ],
        ids=["empty", "others", "no prompt", "header only"],
    )
    def test_wrong_columns_are_named_beside_the_wanted_ones(self, tmp_path: Path, content: str, complaint: str) -> None:
        (tmp_path / "set.csv").write_text(content)
        with pytest.raises(ConfigurationError, match=complaint):
            read_labelled_images(tmp_path / "set.csv")

    def test_a_missing_file_and_one_that_is_no_text(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigurationError, match=r"there is no file or folder .*nope\.csv"):
            read_labelled_images(tmp_path / "nope.csv")
        Image.new("RGB", (4, 4)).save(tmp_path / "set.png")
        with pytest.raises(ConfigurationError, match="no text in UTF-8"):
            read_labelled_images(tmp_path / "set.png")

    def test_folders_need_a_prompt(self, folder: Path) -> None:
        with pytest.raises(ConfigurationError, match="--prompt"):
            read_labelled_images(folder)

    def test_an_empty_folder_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigurationError, match="no labelled images"):
            read_labelled_images(tmp_path, "?")

    def test_bundled_signs_are_of_both_labels_and_repeat(self) -> None:
        first, again = bundled_signs(6, seed=1), bundled_signs(6, seed=1)
        assert [item.label for item in first] == ["harmful", "harmless"] * 3
        assert [item.load() for item in first] == [item.load() for item in again]
        assert first[0].load() != bundled_signs(6, seed=2)[0].load()
