"""The similarity threshold: chosen by its criterion on one half, measured on the other, bound to its model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binom

from guardrail.errors import ConfigurationError
from guardrail.measuring.labelled_pairs import LabelledPair, calibrate, halves, read_pairs
from guardrail.measuring.threshold import PairErrors, ScoredPair, SimilarityThreshold, choose
from guardrail.oracles import EmbeddingComparison
from guardrail.oracles.meaning.similarity import SentenceEncoder
from guardrail.statistics import clopper_pearson_upper
from tests.kit.captions import captions
from tests.kit.embedding_model import minilm
from tests.kit.simulations import simulations


@pytest.fixture(scope="module")
def encoder() -> SentenceEncoder:
    return SentenceEncoder(minilm())


class TestChoice:
    def test_it_is_the_smallest_that_keeps_the_bound(self) -> None:
        scored = [ScoredPair(i / 1000, equivalent=False) for i in range(200)]
        threshold = choose(scored, 0.05, 0.95)
        false = [sum(s.cosine >= t for s in scored) for t in (threshold, threshold - 0.001)]
        assert false == [4, 5]
        assert clopper_pearson_upper(4, 200, 0.05) <= 0.05 < clopper_pearson_upper(5, 200, 0.05)

    @pytest.mark.simulation
    def test_the_rate_is_kept_as_often_as_the_confidence_says(self) -> None:
        """Cosines of pairs that are not equivalent are uniform, so a threshold t has the rate 1 − t. It exceeds the
        target in at most 5 % of data sets; 1000 of them exceed the limit below with probability 10⁻⁶. Estimating by
        the plain share would break the target in about half of them."""
        rng, runs = np.random.default_rng(0), simulations(1000)
        exceeded = sum(
            1.0 - choose([ScoredPair(float(c), equivalent=False) for c in rng.random(150)], 0.1, 0.95) > 0.1
            for _ in range(runs)
        )
        assert exceeded <= binom.isf(1e-6, runs, 0.05)

    def test_too_few_pairs_are_refused_with_the_number_needed(self) -> None:
        enough = [ScoredPair(0.5, equivalent=False)] * 59
        assert choose(enough, 0.05, 0.95) == pytest.approx(0.5001)
        for few in (enough[1:], []):
            with pytest.raises(ConfigurationError, match="needs 59, so the file 118"):
                choose(few, 0.05, 0.95)

    def test_pairs_that_look_the_same_and_are_labelled_otherwise_are_refused(self) -> None:
        with pytest.raises(ConfigurationError, match="look at their labels"):
            choose([ScoredPair(1.0, equivalent=False)] * 100, 0.05, 0.95)


def test_halves_do_not_depend_on_the_order_and_share_no_pair() -> None:
    pairs = captions()
    first, second = halves(pairs, 0)
    assert set(halves(pairs[::-1], 0)[0]) == set(first)
    assert set(halves(pairs, 1)[0]) != set(first)
    assert not set(first) & set(second)
    assert set(first) | set(second) == set(pairs)
    assert sum(p.equivalent for p in first) == sum(p.equivalent for p in second)


@pytest.mark.slow
def test_real_embeddings_of_captions(encoder: SentenceEncoder, tmp_path: Path) -> None:
    record, calibration, held_out = calibrate(encoder, captions(), data="captions")
    assert record.threshold == choose(calibration, 0.05, 0.95)
    assert record.held_out == PairErrors.of(held_out, record.threshold, 0.95)
    assert record.held_out.false_equivalent.count <= binom.isf(1e-4, 65, 0.05)
    assert record.held_out.missed.share < 0.7, "most wordings of a word are found"
    record.save(tmp_path / "threshold.json")
    assert SimilarityThreshold.load(tmp_path / "threshold.json") == record
    again, *_ = calibrate(encoder, captions()[::-1], data="captions")
    assert again == record, "the order of the file does not matter"
    changed = [*captions()[:-1], LabelledPair("a", "b", False)]
    assert calibrate(encoder, changed, data="captions")[0].data_sha256 != record.data_sha256


@pytest.mark.slow
def test_a_threshold_belongs_to_its_model(encoder: SentenceEncoder, tmp_path: Path) -> None:
    record, *_ = calibrate(encoder, captions(), data="captions")
    file = tmp_path / "threshold.json"
    record.save(file)
    assert EmbeddingComparison(encoder, file).threshold == record.threshold
    assert EmbeddingComparison(encoder, record).name == EmbeddingComparison(encoder, record.threshold).name
    other = record.model_copy(update={"model": "another@0123"})
    with pytest.raises(ConfigurationError, match="chosen for another@0123, this model is model@"):
        EmbeddingComparison(encoder, other)


@pytest.mark.parametrize("content", [b"{}", b"", b'{"version": 7}'])
def test_what_is_no_record_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "threshold.json").write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"threshold\.json"):
        SimilarityThreshold.load(tmp_path / "threshold.json")
    with pytest.raises(ConfigurationError, match="no such file"):
        SimilarityThreshold.load(tmp_path / "nowhere.json")


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("left,right\na,b\n", r"no column equivalent; it needs left, right, equivalent.*\['left', 'right'\]"),
        ("left,left,right,equivalent\na,b,c,1\n", r"the columns \['left'\] stand there more than once"),
        ("left,right,equivalent\na,b, and c,1\n", "line 2: not 3 fields"),
        ('left,right,equivalent\na,"b\nc",1\nd,e,2\n', "line 4.*'2'"),
        ("left,right,equivalent\n", "holds no pairs"),
        ("left,right,equivalent\na,b,maybe\n", "line 2.*'maybe'"),
        ("left,right,equivalent\na,,1\n", "line 2"),
        ("left,right,equivalent\na\n", "line 2"),
        ("left,right,equivalent\na,b,1\nb,a,0\n", "a pair twice"),
        ("", "no column left, right, equivalent"),
    ],
)
def test_pairs_that_cannot_be_read_are_refused(tmp_path: Path, content: str, complaint: str) -> None:
    (tmp_path / "pairs.csv").write_text(content)
    with pytest.raises(ConfigurationError, match=complaint):
        read_pairs(tmp_path / "pairs.csv")


def test_files_that_are_no_table_are_named_in_plain_words(tmp_path: Path) -> None:
    (tmp_path / "latin.csv").write_bytes(b"left,right,equivalent\n\xe9,e,1\n")
    for name, complaint in (("no.csv", "does not exist"), (".", "is a folder"), ("latin.csv", "UTF-8 .byte 22.")):
        with pytest.raises(ConfigurationError, match=complaint) as error:
            read_pairs(tmp_path / name)
        assert "rrno" not in str(error.value)
        assert "codec" not in str(error.value)


def test_pairs_are_read_as_people_write_them(tmp_path: Path) -> None:
    (tmp_path / "pairs.csv").write_text('\ufeffleft,right,equivalent\n"a, b",c,Yes\nd,e,0\n', "utf-8")
    assert read_pairs(tmp_path / "pairs.csv") == [LabelledPair("a, b", "c", True), LabelledPair("d", "e", False)]
