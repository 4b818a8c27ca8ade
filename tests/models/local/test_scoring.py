"""Scoring mode: a safety model as the smoothed model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from guardrail import SmoothedClassifier, Smoothing
from guardrail.certify.noise import NoiseStream
from guardrail.errors import ConfigurationError, ModelError
from guardrail.models import Draw, TransformersVLM
from guardrail.oracles import LabelOracle, Oracle
from guardrail.prompts import Prompt
from tests.kit import tiny

STREAM = NoiseStream.derive(b"the key of these tests", b"request", "estimation")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Llama 3.2 Vision, which Llama Guard 3 Vision is made of."""
    path = tmp_path_factory.mktemp("models") / "mllama"
    path.mkdir()
    tiny.mllama(path)
    return path


@pytest.fixture(scope="module")
def guardian(folder: Path) -> TransformersVLM:
    return TransformersVLM(folder, device="cpu", labels=("safe", "unsafe"))


def draws(vlm: TransformersVLM, prompts: list[str]) -> list[Draw]:
    assert vlm.resolution is not None
    picture = np.random.default_rng(0).random((*vlm.resolution, 3))
    return [Draw((picture,), Prompt.of(prompt, 1), 0.5, STREAM, i) for i, prompt in enumerate(prompts)]


@pytest.mark.slow
def test_the_answer_is_the_more_probable_label(guardian: TransformersVLM) -> None:
    asked = draws(guardian, ["Is this safe?"] * 6 + ["And this, looked at closely?"] * 6)
    answers = guardian.answer(asked)
    assert {answer.text for answer in answers} <= {"safe", "unsafe"}
    assert all(answer.complete and answer.tokens == 1 for answer in answers)
    assert guardian._scorer is not None
    for draw, answer in zip(asked, answers, strict=True):
        with torch.inference_mode():
            logits = guardian._model(**guardian._inputs([draw])).logits[0, -1]
        safe, unsafe = logits[list(guardian._scorer.tokens)].tolist()
        assert answer.text == ("safe" if safe >= unsafe else "unsafe")


def test_probabilities_do_not_depend_on_the_batch(guardian: TransformersVLM) -> None:
    asked = draws(guardian, ["Is this safe?", "A much longer question: is this safe?", "?"])
    scorer = guardian._scorer
    assert scorer is not None
    together = scorer.probabilities(guardian._model, guardian._inputs(asked))
    alone = [scorer.probabilities(guardian._model, guardian._inputs([draw])) for draw in asked]
    assert torch.allclose(together, torch.cat(alone), atol=1e-5)
    assert torch.allclose(together.sum(dim=-1), torch.ones(3))
    assert len(together.unique()) == 6


def test_the_tokens_are_those_the_model_would_write(guardian: TransformersVLM) -> None:
    assert guardian._scorer is not None
    words = [guardian._tokenizer.decode([token]) for token in guardian._scorer.tokens]
    assert all(label.startswith(word) for label, word in zip(("safe", "unsafe"), words, strict=True))


def test_labels_and_opening_are_part_of_the_name(folder: Path, guardian: TransformersVLM) -> None:
    names = {
        guardian.name,
        TransformersVLM(folder, device="cpu").name,
        TransformersVLM(folder, device="cpu", labels=("unsafe", "safe")).name,
        TransformersVLM(folder, device="cpu", labels=("safe", "unsafe"), opening="\n\n").name,
    }
    assert len(names) == 4


def test_a_row_without_finite_numbers_has_failed(guardian: TransformersVLM, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first label must not win by accident: here it says `safe`."""
    monkeypatch.setattr(
        type(guardian._scorer), "probabilities", lambda *_: torch.tensor([[float("nan")] * 2, [0.2, 0.8]])
    )
    failed, fine = guardian.answer(draws(guardian, ["?", "?"]))
    assert failed.failed == "not finite"
    assert fine.text == "unsafe"


def test_model_and_oracle_in_one(guardian: TransformersVLM) -> None:
    smoothing = Smoothing(samples=20, sigma=0.25, key=b"0123456789abcdef")
    picture = np.full((tiny.SIDE, tiny.SIDE, 3), 128, np.uint8)
    from PIL import Image

    certificate = SmoothedClassifier(guardian, LabelOracle(), smoothing).certify(Image.fromarray(picture), "Safe?")
    assert set(certificate.counts) <= {"harmless", "harmful", "failed"}
    assert sum(certificate.counts.values()) == certificate.draws == 20
    assert certificate.counts.get("failed", 0) == 0
    assert "scores of ['safe', 'unsafe']" in certificate.model


def test_the_label_oracle() -> None:
    oracle = LabelOracle({"yes": "harmful", "no": "harmless"})
    assert isinstance(oracle, Oracle)
    prompts = [Prompt.of("?", 1)] * 3
    assert oracle.classify(["yes", "no", "perhaps"], prompts) == ["harmful", "harmless", "failed"]
    assert oracle.classes == ("harmful", "harmless")
    assert oracle.name != LabelOracle().name
    with pytest.raises(ConfigurationError, match="two classes"):
        LabelOracle({"yes": "harmful", "no": "harmful"})


class TestBadLabels:
    def test_one_label(self, folder: Path) -> None:
        with pytest.raises(ModelError, match="at least two"):
            TransformersVLM(folder, device="cpu", labels=("safe",))

    def test_labels_with_one_beginning(self, folder: Path) -> None:
        with pytest.raises(ModelError, match="same token"):
            TransformersVLM(folder, device="cpu", labels=("safe", "safe."))

    @pytest.mark.slow
    def test_a_label_that_grows_together_with_the_opening(self, folder: Path) -> None:
        with pytest.raises(ModelError, match="grows together"):
            TransformersVLM(folder, device="cpu", labels=("safe", "unsafe"), opening="This is ")
