"""Comparisons of answers: real sentence embeddings, entailment models built here, and a chat model's protocol."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from guardrail.errors import ConfigurationError
from guardrail.oracles import ChatComparison, EmbeddingComparison, EntailmentComparison, EquivalenceOracle
from guardrail.oracles.base import TIMED_OUT
from guardrail.oracles.meaning.chat_equivalence import equivalence_rubric
from guardrail.oracles.meaning.equivalence import Comparison, Pair
from guardrail.oracles.meaning.similarity import SentenceEncoder
from guardrail.prompts import Prompt
from tests.kit.embedding_model import minilm

SAME = Pair("I will turn left.", "I am going to turn left.")
OTHER = Pair("I will turn left.", "To make tea, let it steep.")


@pytest.fixture(scope="module")
def encoder() -> SentenceEncoder:
    return SentenceEncoder(minilm(), batch_size=2)


class TestEmbeddings:
    @pytest.mark.slow
    def test_cosines_decide(self, encoder: SentenceEncoder) -> None:
        comparison = EmbeddingComparison(encoder, 0.7)
        assert isinstance(comparison, Comparison)
        same, other, equal = comparison.similarities([SAME, OTHER, Pair("left", "left")])
        assert isinstance(same, float)
        assert isinstance(other, float)
        assert other < 0.3
        assert 0.7 < same < 1.0
        assert equal == pytest.approx(1.0, abs=1e-5)
        assert comparison.compare([SAME, OTHER]) == ["equivalent", "different"]
        assert EmbeddingComparison(encoder, same + 1e-4).compare([SAME]) == ["different"]

    def test_a_text_that_is_read_only_in_part_fails(self, encoder: SentenceEncoder) -> None:
        """Beyond its 256 tokens the model is blind: two answers that part ways there would look the same."""
        opening = "left " * 250
        comparison = EmbeddingComparison(encoder, 0.5)
        assert comparison.compare([Pair(opening, opening + "and")]) == ["equivalent"]
        assert comparison.compare([Pair(opening + "right " * 10, opening)]) == ["failed: too long"]
        assert comparison.compare([Pair(opening, opening + "right " * 10)]) == ["failed: too long"]

    def test_the_deadline_is_kept(self, encoder: SentenceEncoder) -> None:
        assert EmbeddingComparison(encoder, 0.5).compare([SAME], time.monotonic() - 1.0) == [TIMED_OUT]

    def test_equal_texts_are_embedded_once(self, encoder: SentenceEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
        seen: list[str] = []
        encode = encoder._model.encode

        def watched(texts: list[str], **options: Any) -> Any:
            seen.extend(texts)
            return encode(texts, **options)

        monkeypatch.setattr(encoder._model, "encode", watched)
        EmbeddingComparison(encoder, 0.5).compare([SAME, SAME, OTHER, Pair(*reversed(SAME[:2]))])
        assert sorted(seen) == sorted({*SAME[:2], *OTHER[:2]})

    def test_the_name_holds_model_and_threshold(self, encoder: SentenceEncoder) -> None:
        assert EmbeddingComparison(encoder, 0.7).name != EmbeddingComparison(encoder, 0.71).name
        assert encoder.name in EmbeddingComparison(encoder, 0.7).name
        assert encoder.name.startswith("model@")
        assert len(encoder.name) > len("model@") + 8, "a folder is known by its content"

    def test_an_oracle_of_real_meanings(self, encoder: SentenceEncoder) -> None:
        captions = ["A sign that says tea.", "I see the word tea on a board.", "This picture shows the word tea."]
        oracle = EquivalenceOracle(EmbeddingComparison(encoder, 0.65))
        fixed = oracle.fix([*captions, "A sign that says left."], Prompt.of("?", 1))
        assert fixed.representative in captions
        said = fixed.classify(["It says TEA in large letters.", "The sign reads BOMB."], [Prompt.of("?", 1)] * 2)
        assert said == ["equivalent", "different"]

    def test_what_cannot_work_is_refused(self, encoder: SentenceEncoder, tmp_path: Path) -> None:
        for threshold in (0.0, 1.5, float("nan")):
            with pytest.raises(ConfigurationError, match="threshold"):
                EmbeddingComparison(encoder, threshold)
        with pytest.raises(ConfigurationError, match="no folder"):
            SentenceEncoder(tmp_path / "nowhere")
        with pytest.raises(ConfigurationError, match="cannot load"):
            SentenceEncoder(str(tmp_path))


WORDS = ("a", "red", "blue", "car", "bike", "is", "here")


def tokenizer() -> Any:
    """Whole words, `[CLS] premise [SEP] hypothesis [SEP]`, the hypothesis of type 1."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    vocabulary = {word: i for i, word in enumerate(("[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS))}
    core = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    core.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        model_max_length=32,
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    )


def save(folder: Path, labels: Sequence[str], size: int = 8, kind: str = "BertForSequenceClassification") -> Any:
    """Save a tiny BERT with random weights, and return it."""
    import transformers

    words = tokenizer()
    words.save_pretrained(folder)
    config = transformers.BertConfig(
        vocab_size=len(words),
        hidden_size=size,
        num_hidden_layers=2,
        num_attention_heads=1,
        intermediate_size=size,
        max_position_embeddings=32,
        id2label=dict(enumerate(labels)),
        label2id={x: i for i, x in enumerate(labels)},
    )
    torch.manual_seed(0)
    model = getattr(transformers, kind)(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.copy_(torch.randn_like(parameter))
    model.save_pretrained(folder)
    return model


def save_rigged(folder: Path) -> None:
    """Save a BERT that finds entailment unless the hypothesis holds the word 'red'.

    Two large opposite features make layer normalisation next to linear. Feature 2 says 'red', feature 3 'hypothesis';
    the first layer's feed-forward makes feature 4 of both together; the second layer's attention, uniform, adds it up
    at [CLS]; the classifier reads it there.
    """
    model = save(folder, ("contradiction", "entailment"))
    bert = model.bert
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.fill_(1.0 if name.endswith("LayerNorm.weight") else 0.0)
        bert.embeddings.word_embeddings.weight[:, 0] = 2.0
        bert.embeddings.word_embeddings.weight[:, 1] = -2.0
        bert.embeddings.word_embeddings.weight[4 + WORDS.index("red"), 2] = 1.0
        bert.embeddings.token_type_embeddings.weight[1, 3] = 1.0
        first, second = bert.encoder.layer
        first.intermediate.dense.weight[0, 2] = first.intermediate.dense.weight[0, 3] = 20.0
        first.intermediate.dense.bias[0] = -25.0  # above 0 for both together only
        first.output.dense.weight[4, 0] = 1.0
        second.attention.self.value.weight[4, 4] = 1.0
        second.attention.output.dense.weight[4, 4] = 30.0
        bert.pooler.dense.weight[0, 4] = 1.0
        model.classifier.weight[1, 0] = -20.0
        model.classifier.bias[1] = 8.0
    model.save_pretrained(folder)


@pytest.fixture(scope="module")
def rigged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rigged")
    save_rigged(folder)
    return folder


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny")
    save(folder, ("CONTRADICTION", "NEUTRAL", "ENTAILMENT"), size=32)
    return folder


class TestEntailment:
    def test_both_directions_are_asked(self, rigged: Path) -> None:
        comparison = EntailmentComparison(rigged)
        assert isinstance(comparison, Comparison)
        assert comparison._entails([("a red car", "a car"), ("a car", "a red car")], None) == [
            "equivalent",
            "different",
        ]
        pairs = [Pair("a red car", "a car"), Pair("a car", "a red car"), Pair("a car", "car is here")]
        assert comparison.compare(pairs) == ["different", "different", "equivalent"]

    def test_a_random_instance_says_the_same_in_any_batch(self, tiny: Path) -> None:
        pairs = [Pair(" ".join(WORDS[: i % 7 + 1]), WORDS[i % 5]) for i in range(30)]
        comparisons = [EntailmentComparison(tiny, batch_size=size, entailment="neutral") for size in (1, 7, 32)]
        said = [comparison.compare(pairs) for comparison in comparisons]
        assert said[0] == said[1] == said[2]
        assert set(said[0]) == {"equivalent", "different"}

    def test_the_label_is_the_configurations(self, tiny: Path, rigged: Path, tmp_path: Path) -> None:
        assert EntailmentComparison(tiny)._entailed == 2
        assert EntailmentComparison(rigged)._entailed == 1
        save(tmp_path, ("LABEL_0", "not_entailment"))
        with pytest.raises(ConfigurationError, match=r"LABEL_0.*entailment="):
            EntailmentComparison(tmp_path)
        assert EntailmentComparison(tmp_path, entailment="label_0")._entailed == 0

    def test_pairs_that_are_too_long_fail(self, rigged: Path) -> None:
        comparison = EntailmentComparison(rigged)
        said = comparison.compare([Pair("car " * 40, "car"), Pair("a car", "car"), Pair("car", "car " * 40)])
        assert said == ["failed: too long", "equivalent", "failed: too long"]

    def test_scores_that_are_no_numbers_fail(self, tmp_path: Path) -> None:
        model = save(tmp_path, ("entailment", "contradiction"))
        model.classifier.bias.data.fill_(float("nan"))
        model.save_pretrained(tmp_path)
        assert EntailmentComparison(tmp_path).compare([Pair("a", "car")]) == ["failed: scores are not finite"]

    def test_the_deadline_is_kept(self, rigged: Path) -> None:
        assert EntailmentComparison(rigged).compare([Pair("a", "car")], time.monotonic() - 1.0) == [TIMED_OUT]

    def test_what_cannot_work_is_refused(self, tiny: Path, tmp_path: Path) -> None:
        for options in ({"threshold": 0.4}, {"threshold": 1.0}, {"batch_size": 0}):
            with pytest.raises(ConfigurationError, match="threshold must be"):
                EntailmentComparison(tiny, **options)  # type: ignore[arg-type]
        with pytest.raises(ConfigurationError, match="no folder"):
            EntailmentComparison(tmp_path / "nowhere")
        save(tmp_path, ("entailment", "contradiction"), kind="BertModel")
        with pytest.raises(ConfigurationError, match=r"classifier\.bias among them"):
            EntailmentComparison(tmp_path)

    def test_the_name_holds_model_and_threshold(self, tiny: Path, rigged: Path) -> None:
        names = {
            EntailmentComparison(tiny).name,
            EntailmentComparison(tiny, threshold=0.9).name,
            EntailmentComparison(rigged).name,
        }
        assert len(names) == 3


class Labeller:
    """What a chat model with a rubric is to the comparison: it says 'equivalent' where the last words agree."""

    name = "labeller"
    labels = ("equivalent", "different")
    sampled = False

    def __init__(self) -> None:
        self.data: list[Mapping[str, str]] = []
        self.deadline: float | None = None

    def classify(self, data: Sequence[Mapping[str, str]], deadline: float | None = None) -> list[str]:
        self.data += data
        self.deadline = deadline
        return [
            "failed: filtered"
            if "bomb" in piece["answer"]
            else self.labels[piece["answer"].split()[-1] != piece["reference"].split()[-1]]
            for piece in data
        ]


class TestChat:
    def test_question_reference_and_answer_are_data(self) -> None:
        labeller = Labeller()
        comparison = ChatComparison(labeller)
        oracle = EquivalenceOracle(comparison).fixed_on("turn left")
        answers = ["go left", "turn right", "bomb left"]
        assert oracle.classify(answers, [Prompt.of("Which way?", 1)] * 3, 7.0) == [
            "equivalent",
            "different",
            "failed: filtered",
        ]
        assert labeller.data[0] == {"question": "Which way?", "reference": "turn left", "answer": "go left"}
        assert labeller.deadline == 7.0
        assert labeller.name in comparison.name

    def test_the_rubric_says_what_both_labels_mean(self) -> None:
        assert {"`equivalent`", "`different`"} <= set(equivalence_rubric().replace(":", "").split())

    def test_what_cannot_work_is_refused(self) -> None:
        class Other(Labeller):
            labels = ("yes", "no")

        class Sampled(Labeller):
            sampled = True

        with pytest.raises(ConfigurationError, match="'yes', 'no'"):
            ChatComparison(Other())
        with pytest.raises(ConfigurationError, match="temperature"):
            ChatComparison(Labeller(), afresh=True)
        assert ChatComparison(Sampled(), afresh=True).deterministic is False
        assert ChatComparison(Labeller()).deterministic is None
        labeller = Labeller()
        labeller.deterministic = True  # type: ignore[attr-defined]
        assert ChatComparison(labeller).deterministic is True
