"""What stands around a model or an oracle keeps all that it says of itself: nothing is lost in silence."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import pkgutil
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import pytest

import guardrail
import langchain_guardrail
from guardrail.certify.noise import NoiseStream
from guardrail.experiments.synthetic_errors import FlippedOracle
from guardrail.models.base import (
    Answer,
    Draw,
    ModelFacts,
    ModelTraits,
    Sizes,
    VisionLanguageModel,
    aanswer,
    awaits,
    close,
)
from guardrail.models.denoised import DenoisedVLM
from guardrail.models.scheduling import Scheduler
from guardrail.oracles import (
    EnsembleOracle,
    EquivalenceOracle,
    IllegibleOracle,
    LexiconOracle,
    RefusalOracle,
    RememberingOracle,
)
from guardrail.oracles.base import Oracle, OracleTraits, SelectingOracle, classify, fix
from guardrail.oracles.meaning.equivalence import EQUIVALENT, FixedEquivalence, Pair
from guardrail.prompts import Prompt
from tests.kit.synthetic import ORACLE, CoinVLM, HalfSpaceVLM

PROMPT = Prompt.of("?", 1)
DRAW = Draw((np.full((4, 4, 3), 0.5),), PROMPT, 0.5, NoiseStream.derive(b"k" * 16, b"r", "estimation"), 0)


class TalkativeVLM:
    """Says of itself all that a model may say, and nothing that holds by default."""

    name = "talkative"
    resolution = (4, 4)
    batch_size = 7
    max_draws = 5
    repeats_draws = False
    batch_dependent = True
    caveats = ("it talks",)
    max_queue = 11
    answers_user = False
    blank_is_finding = True
    facts = ModelFacts("float8", "66", tensors=False)
    deadline: float | None = None
    closed = False

    def check(self, prompt: Prompt, sizes: Sizes) -> None:
        pass

    def answer(self, draws: Sequence[Draw], deadline: float | None = None) -> list[Answer]:
        self.deadline = deadline
        return [Answer("tea")] * len(draws)

    async def aanswer(self, draws: Sequence[Draw], deadline: float | None = None) -> list[Answer]:
        return self.answer(draws, deadline)

    def close(self) -> None:
        self.closed = True


class TalkativeOracle:
    """Says of itself all that an oracle may say, and nothing that holds by default."""

    name = "talkative"
    classes = ("harmless", "harmful", "violent", "no text")
    judges_afresh = True
    representative = "tea"
    harmful_classes = ("violent",)
    harmless_classes = ("no text",)
    alike = (("harmless", "no text"),)
    deadline: float | None = None
    closed = False

    def classify(self, answers: Sequence[str], prompts: Sequence[Prompt], deadline: float | None = None) -> list[str]:
        self.deadline = deadline
        return ["harmless"] * len(answers)

    def close(self) -> None:
        self.closed = True


class Same:
    """Finds all answers equivalent, each time anew."""

    name = "same"
    judges_afresh = True

    def compare(self, pairs: Sequence[Pair], deadline: float | None = None) -> list[str]:
        return [EQUIVALENT] * len(pairs)


@dataclass
class Wrapping:
    """How a wrapper is put around another, and what it says for itself."""

    around: Callable[[Any], Any]
    own: frozenset[str] = frozenset()


def undisturbed(model: VisionLanguageModel, kind: type[DenoisedVLM] = DenoisedVLM) -> DenoisedVLM:
    return kind(model, lambda noisy, _: noisy, "none", device="cpu")


MODELS: dict[type, Wrapping] = {
    DenoisedVLM: Wrapping(undisturbed),
    # It packs and queues draws itself, and closes no model: it was lent them.
    Scheduler: Wrapping(Scheduler, frozenset({"batch_size", "max_queue", "close"})),
}
_OF_ITS_OWN = frozenset({"representative", "harmless_classes", "alike"})
ORACLES: dict[type, Wrapping] = {
    EnsembleOracle: Wrapping(lambda oracle: EnsembleOracle((oracle, oracle))),
    IllegibleOracle: Wrapping(IllegibleOracle),
    RememberingOracle: Wrapping(
        RememberingOracle, frozenset({"judges_afresh"})
    ),  # what it remembers is not judged anew
    FlippedOracle: Wrapping(lambda oracle: FlippedOracle(oracle, 0.0)),
    # Its classes are about an answer yet to be found.
    EquivalenceOracle: Wrapping(lambda oracle: EquivalenceOracle(Same(), first=oracle), _OF_ITS_OWN),
    # About an answer of its own; one of many that `EquivalenceOracle` makes, which may go on when it is gone.
    FixedEquivalence: Wrapping(
        lambda oracle: EquivalenceOracle(Same(), first=oracle).fixed_on("coffee"),
        _OF_ITS_OWN | {"close"},
    ),
}
PLAIN = {LexiconOracle}
"""Those that hold nothing but an oracle which says nothing of itself."""


def lost_by_model(wrapper: object, model: TalkativeVLM) -> set[str]:
    """Return what a wrapper around this model does not say or do as the model does."""
    said, kept = ModelTraits.of(model), ModelTraits.of(wrapper)
    lost = {trait.name for trait in fields(ModelTraits) if getattr(said, trait.name) != getattr(kept, trait.name)}
    deadline = time.monotonic() + 60.0
    assert isinstance(wrapper, VisionLanguageModel)
    assert asyncio.run(aanswer(wrapper, [DRAW], deadline)) == [Answer("tea")]
    lost |= {"deadline"} if model.deadline != deadline else set()
    lost |= {"aanswer"} if not hasattr(wrapper, "aanswer") else set()
    lost |= {"facts"} if ModelFacts.of(wrapper) != model.facts else set()
    close(wrapper)
    return lost | ({"close"} if not model.closed else set())


def lost_by_oracle(wrapper: object, oracle: TalkativeOracle) -> set[str]:
    """Return what a wrapper around this oracle does not say or do as the oracle does."""
    said, kept = OracleTraits.of(oracle), OracleTraits.of(wrapper)
    lost = {trait.name for trait in fields(OracleTraits) if getattr(said, trait.name) != getattr(kept, trait.name)}
    deadline = time.monotonic() + 60.0
    if isinstance(wrapper, SelectingOracle):
        fix(wrapper, ["tea", "coffee"], PROMPT, deadline)
    else:
        assert isinstance(wrapper, Oracle)
        classify(wrapper, ["tea"], [PROMPT], deadline)
    lost |= {"deadline"} if oracle.deadline != deadline else set()
    close(wrapper)
    return lost | ({"close"} if not oracle.closed else set())


def takes(kind: type, name: str) -> bool:
    """Whether a class is made from something whose type has such a name."""
    try:
        parameters = inspect.signature(kind).parameters.values()
    except ValueError:  # of a class written in C
        return False
    return any(re.search(rf"\b\w*(?:{name})\b", str(parameter.annotation)) for parameter in parameters)


def wraps_a_model(kind: type) -> bool:
    return hasattr(kind, "answer") and hasattr(kind, "check") and takes(kind, "VisionLanguageModel|VLM")


def wraps_an_oracle(kind: type) -> bool:
    return (hasattr(kind, "classify") or hasattr(kind, "fix")) and takes(kind, "Oracle")


def house() -> Iterator[type]:
    """Return all classes of the house and of its integrations."""
    for package in (guardrail, langchain_guardrail):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            members = vars(importlib.import_module(module.name)).values()
            yield from (kind for kind in members if isinstance(kind, type) and kind.__module__ == module.name)


@pytest.fixture(scope="module")
def classes() -> list[type]:
    return list(house())


class TestModels:
    def test_the_talkative_model_says_nothing_that_holds_by_default(self) -> None:
        said = ModelTraits.of(TalkativeVLM())
        assert [trait.name for trait in fields(said) if getattr(said, trait.name) == trait.default] == []

    def test_a_model_that_says_nothing_is_a_model_all_the_same(self) -> None:
        model = CoinVLM(1.0)
        assert (ModelTraits.of(model), ModelFacts.of(model)) == (ModelTraits(), ModelFacts())
        assert asyncio.run(aanswer(model, [DRAW])) == [Answer("harmless")]
        close(model)

    @pytest.mark.parametrize("kind", MODELS)
    def test_a_wrapper_loses_nothing(self, kind: type) -> None:
        model = TalkativeVLM()
        wrapper = MODELS[kind].around(model)
        assert type(wrapper) is kind
        assert lost_by_model(wrapper, model) == MODELS[kind].own
        close(wrapper)

    def test_a_wrapper_of_wrappers_loses_nothing_more(self) -> None:
        model = TalkativeVLM()
        with Scheduler([undisturbed(undisturbed(model)), undisturbed(undisturbed(model))]) as scheduler:
            assert lost_by_model(scheduler, model) == MODELS[Scheduler].own

    def test_replicas_promise_what_all_of_them_promise(self) -> None:
        talkative, plain = TalkativeVLM(), CoinVLM(1.0, name="talkative", resolution=(4, 4))
        with Scheduler([plain, talkative]) as scheduler:
            traits = ModelTraits.of(scheduler)
        assert (traits.max_draws, traits.repeats_draws, traits.answers_user) == (5, False, False)
        assert (traits.batch_dependent, traits.repeatable, traits.caveats) == (True, False, ("it talks",))

    def test_every_wrapper_of_the_house_is_among_them(self, classes: list[type]) -> None:
        assert {kind for kind in classes if wraps_a_model(kind) and not inspect.isabstract(kind)} == set(MODELS)

    @pytest.mark.parametrize("trait", [*(trait.name for trait in fields(ModelTraits)), "facts"])
    def test_a_wrapper_that_forgets_one_is_caught(self, trait: str) -> None:
        forgets = type("Forgetful", (DenoisedVLM,), {trait: getattr(ModelTraits(), trait, None)})
        model = TalkativeVLM()
        assert lost_by_model(undisturbed(model, forgets), model) == {trait}

    def test_a_wrapper_that_knows_of_nothing_is_found_and_caught(self) -> None:
        class Naive:
            def __init__(self, inner: VisionLanguageModel | Sequence[VisionLanguageModel]) -> None:
                assert isinstance(inner, VisionLanguageModel)
                self.inner, self.name, self.resolution = inner, inner.name, inner.resolution

            def check(self, prompt: Prompt, sizes: Sizes) -> None:
                self.inner.check(prompt, sizes)

            def answer(self, draws: Sequence[Draw], deadline: float | None = None) -> list[Answer]:
                return self.inner.answer(draws)

        model, traits = TalkativeVLM(), {trait.name for trait in fields(ModelTraits)}
        assert wraps_a_model(Naive)
        assert lost_by_model(Naive(model), model) == traits | {"facts", "aanswer", "deadline", "close"}


class TestOracles:
    def test_the_talkative_oracle_says_nothing_that_holds_by_default(self) -> None:
        said = OracleTraits.of(TalkativeOracle())
        assert [trait.name for trait in fields(said) if getattr(said, trait.name) == trait.default] == []

    def test_an_oracle_that_says_nothing_is_an_oracle_all_the_same(self) -> None:
        assert OracleTraits.of(ORACLE) == OracleTraits()
        assert classify(ORACLE, ["good"], [PROMPT], time.monotonic() + 60.0) == ["harmless"]
        close(ORACLE)

    @pytest.mark.parametrize("kind", ORACLES)
    def test_a_wrapper_loses_nothing(self, kind: type) -> None:
        oracle = TalkativeOracle()
        wrapper = ORACLES[kind].around(oracle)
        assert type(wrapper) is kind
        assert lost_by_oracle(wrapper, oracle) == ORACLES[kind].own

    def test_a_wrapper_of_wrappers_loses_nothing_more(self) -> None:
        oracle = TalkativeOracle()
        assert lost_by_oracle(IllegibleOracle(EnsembleOracle((oracle, oracle))), oracle) == set()

    def test_members_promise_what_all_of_them_promise(self) -> None:
        plain = LexiconOracle({"harmful": ["bad"], "violent": ["worse"], "no text": ["empty"]})
        said = OracleTraits.of(EnsembleOracle((TalkativeOracle(), plain)))
        assert said == OracleTraits(harmful_classes=("violent",)), "harm is what any calls harm"

    def test_every_wrapper_of_the_house_is_among_them(self, classes: list[type]) -> None:
        found = {kind for kind in classes if wraps_an_oracle(kind) and not inspect.isabstract(kind)}
        assert found == set(ORACLES) | PLAIN
        assert OracleTraits.of(RefusalOracle()) == OracleTraits()
        assert not hasattr(RefusalOracle, "close")
        assert "deadline" not in inspect.signature(RefusalOracle.classify).parameters

    @pytest.mark.parametrize("trait", [trait.name for trait in fields(OracleTraits)])
    def test_a_wrapper_that_forgets_one_is_caught(self, trait: str) -> None:
        forgets = type("Forgetful", (IllegibleOracle,), {trait: getattr(OracleTraits(), trait)})
        oracle = TalkativeOracle()
        assert lost_by_oracle(forgets(oracle), oracle) == {trait}

    @pytest.mark.slow
    def test_a_wrapper_that_knows_of_nothing_is_found_and_caught(self) -> None:
        @dataclass
        class Naive:
            inner: Oracle
            name: str = "naive"
            classes: tuple[str, ...] = TalkativeOracle.classes

            def classify(self, answers: Sequence[str], prompts: Sequence[Prompt]) -> list[str]:
                return classify(self.inner, answers, prompts)

        oracle, traits = TalkativeOracle(), {trait.name for trait in fields(OracleTraits)}
        assert wraps_an_oracle(Naive)
        assert lost_by_oracle(Naive(oracle), oracle) == traits | {"deadline", "close"}


def test_a_wrapper_awaits_only_where_what_it_stands_around_does() -> None:
    class Awaiting(HalfSpaceVLM):
        async def aanswer(self, draws: Sequence[Draw], deadline: float | None = None) -> list[Answer]:
            return self.answer(draws, deadline)

    def behind(model: VisionLanguageModel) -> DenoisedVLM:
        return DenoisedVLM(model, lambda noisy, sigma: noisy, "none", device="cpu")

    assert awaits(Awaiting(0.0))
    assert awaits(behind(Awaiting(0.0)))
    assert not awaits(HalfSpaceVLM(0.0))
    assert not awaits(behind(HalfSpaceVLM(0.0)))


def test_one_part_that_cannot_be_closed_leaves_none_of_the_others_open() -> None:
    closed: list[str] = []

    class Part:
        def __init__(self, name: str, fails: bool) -> None:
            self.name, self.fails = name, fails

        def close(self) -> None:
            closed.append(self.name)
            if self.fails:
                raise OSError(self.name)

    with pytest.raises(OSError, match="model"):
        close(Part("model", fails=True), Part("store", fails=False))
    assert closed == ["model", "store"]
