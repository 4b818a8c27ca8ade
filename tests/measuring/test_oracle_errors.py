"""Certificates about the true class, by an oracle of known errors: sound where the error model's assumption holds.

Counts of false certificates are at most binomial with probability α where a model is sound; `ALLOWED` is exceeded by
chance once in a million. Each shortcut is shown to exceed it, many times over.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydantic import SecretBytes
from rich.console import Console
from scipy.stats import binom

from guardrail import InputImage, SmoothedClassifier, Smoothing
from guardrail.experiments import oracle_ablation, synthetic_errors
from guardrail.experiments.recorded import RecordedVLM
from guardrail.experiments.synthetic_errors import (
    ALPHA,
    PROCESSES,
    RATES,
    FlippedOracle,
    false_rate,
    models,
    one_answer,
)
from guardrail.models.base import Answer
from guardrail.oracles import LexiconOracle, Oracle
from guardrail.prompts import Prompt
from guardrail.statistics import (
    ContradictedAssumptionError,
    OracleError,
    SymmetricError,
    UnknownSymmetricError,
    WorstCaseError,
)
from tests.kit.simulations import simulations

pytestmark = pytest.mark.slow

REQUESTS = simulations(100_000)
ALLOWED = binom.isf(1e-6, REQUESTS, ALPHA) / REQUESTS
SOUND = ("uncorrected (Theorem 4.2)", "symmetric, ε from below", "class-conditional", "worst case")
WORDS = LexiconOracle({"harmful": ["bad"]}, otherwise="harmless")
KEY = SecretBytes(b"the key of these tests")
IMAGE = InputImage(np.full((1, 1, 3), 128, np.uint8))


def rates(kind: str, model: OracleError, rate: float) -> list[float]:
    """False rates over the p's at which this kind of error is tried."""
    process, tried = PROCESSES[kind]
    rng = np.random.default_rng(3)
    return [false_rate(model, process, p, rate, requests=REQUESTS, rng=rng) for p in tried]


@pytest.mark.simulation
@pytest.mark.parametrize("rate", RATES)
class TestCounts:
    def test_independent_flips_break_no_model_that_assumes_them(self, rate: float) -> None:
        for name in SOUND:
            assert max(rates("per draw", models(rate)[name], rate)) <= ALLOWED, name

    def test_a_rate_bounded_from_the_wrong_side_breaks_the_symmetric_model(self, rate: float) -> None:
        assert max(rates("per draw", models(rate)["symmetric, ε from above"], rate)) > 5 * ALLOWED

    def test_errors_fixed_per_answer_break_all_but_the_worst_case(self, rate: float) -> None:
        for name, model in models(rate).items():
            worst = max(rates("per answer", model, rate))
            assert worst <= ALLOWED if name == "worst case" else worst > 10 * ALLOWED, name

    def test_no_bound_on_an_average_covers_a_request_on_which_the_oracle_is_always_wrong(self, rate: float) -> None:
        (false,) = rates("one answer", models(rate)["worst case"], rate)
        low, high = binom.ppf([1e-6, 1 - 1e-6], REQUESTS, rate) / REQUESTS
        assert low <= false <= high


def test_one_answer_that_is_not_a_has_p_0() -> None:
    with pytest.raises(ValueError, match="p = 0"):
        one_answer(0.5, 0.1, 10, 10, np.random.default_rng(0))


@dataclass
class TableOracle:
    """Errs on `bad, politely`, always; `deterministic` is what it says of itself."""

    deterministic: bool | None
    name: str = "table"
    classes: tuple[str, ...] = ("harmless", "harmful")

    def classify(self, answers: Sequence[str], prompts: Sequence[Prompt]) -> list[str]:
        return [
            "harmful" if answer.startswith("bad") and "politely" not in answer else "harmless" for answer in answers
        ]


@pytest.mark.simulation
class TestAlgorithm:
    """The same through the algorithm: 300 requests of 60 draws, true p = 0.7, ε = 0.15, α = 0.05."""

    P, RATE, NUMBER, DRAWS, LEVEL = 0.7, 0.15, simulations(300), 60, 0.05
    ALLOWED = binom.isf(1e-6, NUMBER, LEVEL)

    def false(self, oracle: Oracle, error: OracleError, *, polite: float = 0.0) -> int:
        """Certificates of class harmless that claim more than p, or that it is harmless when p is below 1/2."""
        smoothing = Smoothing(
            samples=self.DRAWS,
            alpha=self.LEVEL,
            class_rule="fixed",
            certified_class="harmless",
            oracle_error=error,
            key=KEY,
        )
        rng, false = np.random.default_rng(5), 0
        for _ in range(self.NUMBER):
            kinds = rng.choice(["good", "bad, politely", "bad"], self.DRAWS, p=[self.P, polite, 1 - self.P - polite])
            answers = [Answer(f"{kind} {i}") for i, kind in enumerate(kinds)]  # each judged by itself
            certificate = SmoothedClassifier(RecordedVLM(answers, "recorded"), oracle, smoothing).certify(IMAGE, "?")
            false += certificate.radius_true is not None and (certificate.p_lower or 0.0) > self.P
        return false

    @pytest.mark.parametrize("name", SOUND)
    def test_independent_flips(self, name: str) -> None:
        assert self.false(FlippedOracle(WORDS, self.RATE), models(self.RATE)[name]) <= self.ALLOWED

    def test_a_rate_bounded_from_the_wrong_side(self) -> None:
        assert self.false(FlippedOracle(WORDS, self.RATE), SymmetricError(rate_lower=0.3)) > self.ALLOWED

    def test_a_table_of_errors(self) -> None:
        """An oracle that says it samples, and does not, gets false certificates; one that does not say it is refused
        every model but the one that covers it."""
        for error in (UnknownSymmetricError(), SymmetricError(rate_lower=self.RATE)):
            assert self.false(TableOracle(deterministic=False), error, polite=self.RATE) > 2 * self.ALLOWED
            for honest in (TableOracle(deterministic=True), TableOracle(deterministic=None)):
                with pytest.raises(ContradictedAssumptionError, match="afresh"):
                    self.false(honest, error, polite=self.RATE)
        worst = WorstCaseError(rate_upper=self.RATE)
        assert self.false(TableOracle(deterministic=True), worst, polite=self.RATE) <= self.ALLOWED


@pytest.mark.simulation
class TestFlips:
    def test_per_draw_they_are_independent_and_at_the_rate(self) -> None:
        oracle, number = FlippedOracle(WORDS, 0.2, seed=1), simulations(20_000)
        flipped = np.array(oracle.classify(["bad"] * number, [Prompt(())] * number)) == "harmless"
        low, high = binom.ppf([1e-6, 1 - 1e-6], number, 0.2)
        assert low <= flipped.sum() <= high
        pairs = (flipped[1:] & flipped[:-1]).mean()
        assert abs(pairs - 0.04) < 0.01  # five standard deviations: 0.0014 each, and neighbours share a flip
        assert oracle.deterministic is False

    def test_per_answer_they_repeat_and_are_at_the_rate(self) -> None:
        oracle, number = FlippedOracle(WORDS, 0.2, seed=1, per_answer=True), simulations(20_000)
        answers = [f"bad {i}" for i in range(number)]
        once, again = (oracle.classify(answers, [Prompt(())] * number) for _ in range(2))
        assert once == again
        low, high = binom.ppf([1e-6, 1 - 1e-6], number, 0.2)
        assert low <= once.count("harmless") <= high
        assert oracle.deterministic is True
        assert replace(oracle, seed=2).classify(answers, [Prompt(())] * number) != once

    def test_names_tell_all_that_a_judgement_depends_on(self) -> None:
        variants = [FlippedOracle(WORDS, 0.1, s, per_answer=f) for s in (0, 1) for f in (False, True)]
        assert len({oracle.name for oracle in variants}) == 4


class TestExperiments:
    """They run on the bundled model, and show what they are said to show."""

    def test_ablation(self, tmp_path: Path) -> None:
        results = oracle_ablation.run(4, Smoothing(samples=40, key=KEY))
        world = results["oracle of the world"]
        equal = results["no oracle: equal answers"]
        assert world.error_rate < 0.02 < results["words: topics"].error_rate
        assert equal.error_rate == 0.0
        assert equal.certified_of("describe") == 0.0, "five wordings of a caption have no majority"
        assert world.certified_of("describe") == 1.0
        assert world.mean_radius > equal.mean_radius
        assert world.wrong <= min(results[name].wrong for name in results if name.startswith("words"))
        oracle_ablation.plot(results, tmp_path / "new" / "ablation.png")
        Console(quiet=True).print(oracle_ablation.table(results))
        with Image.open(tmp_path / "new" / "ablation.png") as plot:
            assert np.asarray(plot).std() > 10

    def test_synthetic_errors(self, tmp_path: Path) -> None:
        honest, rows = synthetic_errors.run(2, requests=1000)
        radii = {(row.rate, row.model): row.radius for row in rows}
        for rate in RATES:
            assert honest > radii[rate, "symmetric, ε from below"] > radii[rate, "uncorrected (Theorem 4.2)"]
            assert radii[rate, "uncorrected (Theorem 4.2)"] >= radii[rate, "worst case"]
        synthetic_errors.plot(honest, rows, tmp_path / "new" / "errors.png")
        Console(quiet=True).print(synthetic_errors.table(rows))
        with Image.open(tmp_path / "new" / "errors.png") as plot:
            assert np.asarray(plot).std() > 10
