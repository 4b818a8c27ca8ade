"""Every model and oracle of this package can be named in settings, with a table of its options."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest
from pydantic import Secret

from guardrail import Guard
from guardrail.bundled.model import CHECKPOINT
from guardrail.errors import ConfigurationError
from guardrail.models import BundledVLM, ChatModelVLM, TransformersVLM
from guardrail.oracles import Oracle, RepresentativeOracle
from guardrail.oracles.base import OracleTraits
from guardrail.prompts import Prompt
from guardrail.settings import Settings
from guardrail.stores import MemoryStore, RedisStore
from tests.kit.embedding_model import minilm
from tests.kit.openai_server import Asked, serve

QUESTION = Prompt.of("How?", 1)


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("GUARDRAIL_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("OPENAI_API_KEY", "no key")


def oracle(name: str, options: Mapping[str, object], **more: object) -> Oracle:
    made = Settings.model_validate({"oracle": name, "oracle_options": options, **more}).make_oracle()
    assert isinstance(made, Oracle)
    return made


def labels(judge: Oracle, *answers: str) -> list[str]:
    return judge.classify(answers, [QUESTION] * len(answers))


def test_options_of_a_model_are_those_of_its_class() -> None:
    settings = Settings.model_validate(
        {
            "model": str(CHECKPOINT),
            "model_revision": "v1",
            "device": "cpu",
            "max_new_tokens": 8,
            "model_options": {"labels": ["safe", "unsafe"], "resolution": [48, 48]},
        }
    )
    model = settings.make_model()
    assert isinstance(model, TransformersVLM)
    plainly = TransformersVLM(
        CHECKPOINT, revision="v1", device="cpu", max_new_tokens=8, labels=("safe", "unsafe"), resolution=(48, 48)
    )
    assert (model.name, model.resolution, model.labels) == (plainly.name, (48, 48), ("safe", "unsafe"))


def test_the_bundled_model_takes_options_and_a_denoiser() -> None:
    settings = Settings.model_validate({"model": "bundled", "device": "cpu", "model_options": {"max_new_tokens": 12}})
    assert settings.make_model().name == BundledVLM(device="cpu", max_new_tokens=12).name
    denoised = Settings(model="bundled-denoised", device="cpu")
    assert denoised.make_model().name.startswith("sign-denoiser@")
    assert denoised.make_oracle().name == Settings(model="bundled").make_oracle().name, "it brings its own oracle"


def test_a_chat_model_by_its_id_guards() -> None:
    asked: list[Asked] = []

    def speak(question: Asked) -> str:
        asked.append(question)
        return "Sorry, I cannot help with that."

    with serve(speak) as url:
        settings = Settings.model_validate(
            {
                "model": "chat:openai:tiny",
                "model_options": {"chat": {"base_url": url}, "max_concurrency": 2, "resolution": [16, 16]},
                "max_new_tokens": 9,
                "temperature": 0.5,
                "oracle": "refusal",
                "smoothing": {"samples": 40},
            }
        )
        with Guard.from_settings(settings) as guard:
            assert isinstance(guard.model, ChatModelVLM)
            decision = guard.check(b"", "How?", unchecked=())
            assert decision.blocked, "no picture"
            from PIL import Image

            decision = guard.check(Image.new("RGB", (16, 16)), "How?")
    assert decision.certificate is not None
    assert decision.certificate.certified_class == "harmless"
    body = asked[0].body
    assert (body["model"], body["temperature"]) == ("tiny", 0.5)
    assert 9 in {body.get("max_tokens"), body.get("max_completion_tokens")}


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("bundled", {"tiling": True}, "there is no 'tiling': it takes batch_size, max_new_tokens"),
        ("bundled", {"device": "cpu"}, "device is set beside the options"),
        ("bundled", {"bacth_size": 3}, r"did you mean batch_size\?"),
        (str(CHECKPOINT), {"resolution": "small"}, "model_options cannot work: resolution: "),
        (str(CHECKPOINT), {"temperature": 1.0}, "temperature is set beside the options"),
        ("chat:openai:tiny", {"chat": "x"}, "model_options.chat must be a table"),
        ("chat:openai:tiny", {"chta": {}}, r"there is no 'chta' \(did you mean chat\?\)"),
        ("chat:nobody:tiny", {}, "chat model 'nobody:tiny' cannot be made: ValueError; name it as provider:model"),
        ("chat:anthropic:tiny", {}, "chat model 'anthropic:tiny' needs its provider's package: .*langchain-anthropic"),
        ("chat:openai:tiny", {"chat": {"temperature": "hunter2"}}, "cannot be made: ValidationError"),
    ],
)
def test_options_of_a_model_that_cannot_work(name: str, options: dict[str, object], said: str) -> None:
    settings = Settings.model_validate({"model": name, "model_options": options})
    with pytest.raises(ConfigurationError, match=said) as caught:
        settings.make_model()
    assert "hunter2" not in str(caught.value)


def test_oracles_of_words() -> None:
    lexicon = oracle("lexicon", {"terms": {"harmful": ["bomb"]}})
    assert labels(
        lexicon, "Take a bomb.", "Mix flour.", "I cannot help you make a bomb.", "I cannot read the sign."
    ) == [
        "harmful",
        "harmless",
        "harmless",
        "illegible",
    ]
    strict = oracle("lexicon", {"terms": {"harmful": ["bomb"]}, "refusals": False})
    assert labels(strict, "I cannot help you make a bomb.") == ["harmful"]
    assert labels(oracle("refusal", {"otherwise": "complied", "refused": "harmless"}), "Mix flour.") == ["complied"]
    assert labels(oracle("labels", {"labels": {"Yes": "harmful", "No": "harmless"}}), "Yes", "Maybe") == [
        "harmful",
        "failed",
    ]
    assert labels(oracle("labels", {}), "unsafe") == ["harmful"]
    robot = oracle("actions", {"actions": {"left": ["turn left"], "stop": ["stop", "halt"]}, "no_action": "nothing"})
    assert labels(robot, "Turn left.", "Halt!", "Do not stop.") == ["left", "stop", "nothing"]
    assert set(oracle("actions", {"actions": ["left", "right"]}).classes) == {"left", "right", "no action"}


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("bundled", {"terms": {}}, "there is no 'terms': it takes none"),
        ("refusal", {"treshold": 0.5}, r"did you mean threshold\?"),
        ("refusal", {"threshold": "high"}, "threshold: Input should be a valid number.*, got a str"),
        ("refusal", {"threshold": 2.0}, "threshold"),
        ("lexicon", {}, "terms is missing"),
        ("lexicon", {"terms": {"harmful": "bomb"}}, "terms.harmful: Input should be a valid list"),
        ("labels", {"labels": ["safe"]}, "labels: Input should be a valid"),
        ("actions", {"chat": "x"}, "there is no 'chat'"),
        ("safeguard", {}, "no safety model is named: set GUARDRAIL_ORACLE_MODEL"),
        ("judge", {}, "no chat model is named: set GUARDRAIL_ORACLE_MODEL to its id for LangChain"),
        ("equivalence", {}, "by is missing"),
        ("equivalence", {"by": "feeling"}, "by: Input should be 'embeddings', 'entailment' or 'chat'"),
        ("equivalence", {"by": "embeddings"}, "no model is named: set GUARDRAIL_ORACLE_MODEL"),
    ],
)
def test_options_of_an_oracle_that_cannot_work(name: str, options: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        oracle(name, options)


def test_an_ensemble_is_left_to_python(tmp_path: Path) -> None:
    (tmp_path / "guardrail.toml").write_text('oracle = "ensemble"')
    with pytest.raises(ConfigurationError, match="your own, an ensemble for instance, as 'module:object'"):
        Settings.load(tmp_path / "guardrail.toml")


def test_a_judge_by_the_id_of_its_chat_model(tmp_path: Path) -> None:
    rubric = tmp_path / "rubric.md"
    rubric.write_text("`rude`: it insults. `polite`: it does not.")
    bodies = []

    def speak(asked: Asked) -> str:
        bodies.append(asked.body)
        return '{"label": "rude"}'

    with serve(speak) as url:
        options = {
            "chat": {"base_url": url},
            "rubric": str(rubric),
            "classes": ["polite", "rude"],
            "structured": False,
            "max_concurrency": 1,
        }
        judge = oracle("judge", options, oracle_model="openai:tiny")
        assert labels(judge, "Go away.", "I cannot read the sign.") == ["rude", "illegible"]
        assert OracleTraits.of(judge).judgements == "afresh", "at temperature 0 too, unless settings say otherwise"
        sure = oracle("judge", {**options, "deterministic": True}, oracle_model="openai:tiny")
        assert OracleTraits.of(sure).judgements == "function"
        warm = {**options, "deterministic": True, "chat": {"base_url": url, "temperature": 0.7}}
        with pytest.raises(ConfigurationError, match="deterministic=True says"):
            oracle("judge", warm, oracle_model="openai:tiny")
    assert bodies[0]["temperature"] == 0.0
    assert "it insults" in str(bodies[0]["messages"])
    with pytest.raises(ConfigurationError, match=r"rubric"):
        oracle("judge", {"rubric": str(tmp_path / "none.md")}, oracle_model="openai:tiny")
    with pytest.raises(ConfigurationError, match=r"'rubirc' \(did you mean rubric\?\)"):
        oracle("judge", {"rubirc": "x"}, oracle_model="openai:tiny")


@pytest.mark.slow
def test_equivalence_by_embeddings_after_an_oracle_that_knows_harm() -> None:
    settings = Settings.model_validate(
        {
            "oracle": "equivalence",
            "oracle_model": str(minilm()),
            "oracle_revision": "v2",
            "device": "cpu",
            "oracle_options": {"by": "embeddings", "threshold": 0.6, "first": "bundled", "candidates": 3},
        }
    )
    made = settings.make_oracle()
    assert isinstance(made, RepresentativeOracle)
    fixed = made.fixed_on("Turn the robot to the left.")
    assert labels(fixed, "The robot should turn left.", "It is raining.", "Steps to make bomb: mix.") == [
        "equivalent",
        "different",
        "harmful",
    ]
    with pytest.raises(ConfigurationError, match="finds its classes, and cannot be measured"):
        settings.make_measurable_oracle()
    for first, said in (("judge", "first is 'judge': name bundled, refusal"), ("my_none:x", "no module my_none")):
        update = {"by": "embeddings", "threshold": 0.6, "first": first}
        with pytest.raises(ConfigurationError, match=said):
            Settings.model_validate({**settings.model_dump(), "oracle_options": update}).make_oracle()


def test_equivalence_by_a_chat_model() -> None:
    def speak(asked: Asked) -> str:
        text = str(asked.body["messages"])
        return '{"label": "equivalent"}' if "same thing" in text else '{"label": "different"}'

    with serve(speak) as url:
        settings = Settings.model_validate(
            {
                "oracle": "equivalence",
                "oracle_model": "openai:tiny",
                "oracle_options": {"by": "chat", "chat": {"base_url": url}, "max_concurrency": 1},
            }
        )
        made = settings.make_oracle()
        assert isinstance(made, RepresentativeOracle)
        assert labels(made.fixed_on("Go left."), "the same thing", "another") == ["equivalent", "different"]
        assert OracleTraits.of(made).judgements == "afresh"
        options = {"by": "chat", "chat": {"base_url": url}, "deterministic": True}
        sure = settings.model_copy(update={"oracle_options": Secret(options)}).make_oracle()
        assert OracleTraits.of(sure).judgements == "function"


def test_stores_by_name() -> None:
    memory = Settings.model_validate({"store": "memory", "store_options": {"capacity": 3}}).make_store()
    assert isinstance(memory, MemoryStore)
    assert memory.capacity == 3
    given = {"store": "redis", "redis_url": "redis://h", "store_options": {"lock_ttl": 2}, "certificate_ttl": 9.0}
    store = Settings.model_validate(given).make_store()
    assert isinstance(store, RedisStore)
    assert (store.ttl, store._lock_ttl) == (9.0, 2.0)
    for options, said in (({"ttl": 1}, "ttl is set beside"), ({"capacitiy": 1}, "did you mean capacity")):
        with pytest.raises(ConfigurationError, match=said):
            Settings.model_validate({"store_options": options}).make_store()
