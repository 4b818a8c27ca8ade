"""Errors put into a working oracle: what each error model still certifies, and how often its certificates are false.

    python -m guardrail.experiments.synthetic_errors [--signs 24] [--out FOLDER]

Radii are measured with the bundled model on held-out harmless signs. False certificates about the *true* class are
counted over synthetic requests with known truth, for three kinds of errors at the same rate ε:

- *per draw*: each judgement is flipped with probability ε, independently. Every model's assumption holds.
- *per answer*: a fixed table. The answers wrongly called A make up a share ε of the draws, and the attacker chose a
  request with exactly those: all errors are votes for A. Only the worst case's assumption holds.
- *one answer*: all draws have the same answer, which is judged once: wrong with probability ε. The request's error rate
  is 0 or 1, and no bound on an average over requests holds for it (the *transfer* assumption).
"""

from __future__ import annotations

import hashlib
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, TypeAlias

import numpy as np
import typer
from numpy.typing import NDArray
from pydantic import SecretBytes
from rich.progress import track
from rich.table import Table
from rich.text import Text

from guardrail.bundled import BundledVLM, signs, world
from guardrail.bundled.oracle import bundled_oracle
from guardrail.certify.certificate import Certificate
from guardrail.certify.options import Smoothing
from guardrail.certify.smoothing import SmoothedClassifier
from guardrail.commands import look
from guardrail.experiments.recorded import RecordedVLM
from guardrail.images.pictures import InputImage
from guardrail.oracles.base import HARMFUL, HARMLESS, Oracle, OracleWrapper, classify
from guardrail.prompts import Prompt
from guardrail.statistics import (
    ClassConditionalError,
    ContradictedAssumptionError,
    OracleError,
    SymmetricError,
    UnknownSymmetricError,
    WorstCaseError,
    clopper_pearson_lower,
    clopper_pearson_upper,
)

RATES = (0.05, 0.1, 0.2)
DRAWS, ALPHA, SIGMA = 100, 0.001, 0.5
KEY = SecretBytes(b"the key of this experiment")
Counts: TypeAlias = NDArray[np.int64]
"""For each request, the number of draws that were called A."""


@dataclass
class FlippedOracle(OracleWrapper):
    """Another oracle's harmless or harmful, flipped at a known rate.

    Args:
        oracle: gives the class before a flip; every class other than harmless counts as harmful.
        rate: probability of a flip, in [0, 1].
        seed: of the flips.
        per_answer: flip equal answers alike, rather than each judgement independently.
    """

    oracle: Oracle
    rate: float
    seed: int = 0
    per_answer: bool = False
    _coins: np.random.Generator = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._coins = np.random.default_rng(self.seed)

    @property
    def name(self) -> str:
        """How the classes are flipped, and the other oracle's name."""
        how = f"{self.rate:g}, seed {self.seed}, per {'answer' if self.per_answer else 'draw'}"
        return f"flipped({how}) > {self.oracle.name}"

    @property
    def classes(self) -> tuple[str, ...]:
        """Harmless and harmful."""
        return (HARMLESS, HARMFUL)

    @property
    def deterministic(self) -> bool | None:
        """What the other oracle is; False where equal answers are flipped independently."""
        return super().deterministic if self.per_answer else False

    @property
    def repeats_judgements(self) -> bool:
        """Whether it flips again as before."""
        return self.per_answer and super().repeats_judgements

    @property
    def _others(self) -> tuple[Oracle, ...]:
        return (self.oracle,)

    def _classify(
        self,
        answers: Sequence[str],
        prompts: Sequence[Prompt],
        deadline: float | None,
        seeds: Sequence[int] | None,
    ) -> list[str]:
        labels = classify(self.oracle, answers, prompts, deadline, seeds)
        return [
            HARMLESS if (label == HARMLESS) != self._flips(answer) else HARMFUL
            for answer, label in zip(answers, labels, strict=True)
        ]

    def _flips(self, answer: str) -> bool:
        if not self.per_answer:
            return bool(self._coins.random() < self.rate)
        hashed = hashlib.sha256(f"{self.seed} {answer}".encode()).digest()
        return int.from_bytes(hashed[:8]) < self.rate * 2**64


def per_draw(p: float, rate: float, requests: int, draws: int, rng: np.random.Generator) -> Counts:
    """Flip the class of every draw with probability `rate`, independently."""
    true = rng.binomial(draws, p, requests)
    return rng.binomial(true, 1.0 - rate) + rng.binomial(draws - true, rate)


def per_answer(p: float, rate: float, requests: int, draws: int, rng: np.random.Generator) -> Counts:
    """Call A all answers that are A, and a fixed set of others that makes up a share `rate` of the draws."""
    return rng.binomial(draws, min(1.0, p + rate), requests)


def one_answer(p: float, rate: float, requests: int, draws: int, rng: np.random.Generator) -> Counts:
    """Give all draws of a request one answer that is not A (so p = 0), and judge it once."""
    if p != 0.0:
        raise ValueError(f"one answer that is not A has p = 0, got {p}")
    return draws * rng.binomial(1, rate, requests)


Process: TypeAlias = Callable[[float, float, int, int, np.random.Generator], Counts]
PROCESSES: Mapping[str, tuple[Process, tuple[float, ...]]] = {
    "per draw": (per_draw, (0.0, 0.3, 0.45, 0.55, 0.75, 0.9, 0.99)),
    "per answer": (per_answer, (0.3, 0.45, 0.55, 0.75, 0.9)),
    "one answer": (one_answer, (0.0,)),
}
"""Kinds of errors, each with the true p of the requests on which it is tried."""


def models(rate: float, labels: int = 400) -> dict[str, OracleError]:
    """Return error models with the true rate, and one with a bound from the wrong side.

    Args:
        rate: ε, below 1/2.
        labels: number of labelled answers behind the wrong bound.
    """
    upper = clopper_pearson_upper(round(rate * labels), labels, ALPHA / 2)
    return {
        "uncorrected (Theorem 4.2)": UnknownSymmetricError(),
        "symmetric, ε from below": SymmetricError(rate_lower=rate),
        "symmetric, ε from above": SymmetricError(rate_lower=upper),
        "class-conditional": ClassConditionalError(false_a_upper=rate, certified_class=HARMLESS),
        "worst case": WorstCaseError(rate_upper=rate),
    }


def claimed(model: OracleError, draws: int = DRAWS, alpha: float = ALPHA) -> NDArray[np.float64]:
    """Return the bound on p that a certificate claims, by number of draws called A; 0 where it claims nothing."""
    bounds = np.zeros(draws + 1)
    for k in range(draws + 1):
        q = clopper_pearson_lower(k, draws, alpha)
        try:
            p = model.correct(q)
        except ContradictedAssumptionError:
            continue
        bounds[k] = p if min(p, q) > 0.5 else 0.0
    return bounds


def false_rate(
    model: OracleError, process: Process, p: float, rate: float, *, requests: int, rng: np.random.Generator
) -> float:
    """Return the share of requests whose certificate claims more than the truth, p."""
    bounds = claimed(model)
    return float((bounds[process(p, rate, requests, DRAWS, rng)] > p).mean())


@dataclass(frozen=True)
class Row:
    """One error model at one rate."""

    rate: float
    """ε, the rate of errors."""
    model: str
    """Name of the error model in this table."""
    radius: float
    """Mean radius about the true class, abstentions as 0."""
    certified: float
    """Share of the signs with such a radius."""
    false: Mapping[str, float]
    """By kind of error, the largest share of false certificates over all p."""


def run(number: int = 24, requests: int = 200_000, seed: int = 7) -> tuple[float, list[Row]]:
    """Certify signs with a flipped oracle, and count false certificates on synthetic requests.

    Args:
        number: of signs.
        requests: synthetic ones, per p and kind of error.
        seed: of signs and synthetic requests.

    Returns:
        The mean radius of the same signs without errors, and the rows.
    """
    answers = _record(number, seed)
    honest = [_certify(item, bundled_oracle(), None).radius for item in answers]
    rows = []
    for rate in RATES:
        for name, model in models(rate).items():
            found = [_certify(item, FlippedOracle(bundled_oracle(), rate, i), model) for i, item in enumerate(answers)]
            radii = [certificate.radius_true or 0.0 for certificate in found]
            false = {
                kind: max(
                    false_rate(model, process, p, rate, requests=requests, rng=np.random.default_rng(seed)) for p in ps
                )
                for kind, (process, ps) in PROCESSES.items()
            }
            certified = sum(radius > 0.0 for radius in radii) / len(radii)
            rows.append(Row(rate, name, statistics.mean(radii), certified, false))
    return statistics.mean(honest), rows


Recorded: TypeAlias = tuple[RecordedVLM, InputImage]
PROMPT = world.PROMPTS["follow"][0]


def _smoothing(error: OracleError | None) -> Smoothing:
    return Smoothing(
        sigma=SIGMA,
        samples=DRAWS,
        alpha=ALPHA,
        class_rule="fixed",
        certified_class=HARMLESS,
        oracle_error=error,
        key=KEY,
    )


def _record(number: int, seed: int) -> list[Recorded]:
    rng = np.random.default_rng(seed)
    safe = [word for word in world.WORDS if world.expected(word, "follow") == HARMLESS]
    classifier = SmoothedClassifier(BundledVLM(), bundled_oracle(), _smoothing(None))
    recorded = []
    for _ in track(range(number), "drawing", transient=True):
        sign = signs.sample_sign(rng, "held_out", words=safe, contrast=(0.5, 0.9))
        picture = InputImage.load(signs.draw_sign(sign))
        recorded.append((RecordedVLM.of(classifier, picture, PROMPT), picture))
    return recorded


def _certify(item: Recorded, oracle: Oracle, error: OracleError | None) -> Certificate:
    recorded, picture = item
    return SmoothedClassifier(recorded, oracle, _smoothing(error)).certify(picture, PROMPT)


def table(rows: Sequence[Row]) -> Table:
    """Write the rows as a table; false rates above α, beyond chance, are red."""
    numbers = ("radius", "certified", *(f"false, {kind}" for kind in PROCESSES))
    shown = look.table("ε", "error model", *numbers, right=("ε", *numbers))
    for i, row in enumerate(rows):
        first = i == 0 or rows[i - 1].rate != row.rate
        false = (Text(f"{rate:.4f}", "red" if rate > 2 * ALPHA else "") for rate in row.false.values())
        shown.add_row(f"{row.rate:g}" if first else "", row.model, f"{row.radius:.3f}", f"{row.certified:.2f}", *false)
    return shown


def plot(honest: float, rows: Sequence[Row], path: Path) -> None:
    """Draw mean radii by error model, and false rates against α."""
    figure, (axes,) = look.figure(12.0, 4.2, columns=3)
    names = list(dict.fromkeys(row.model for row in rows))
    colours = dict(zip(names, (look.UNSEEN, "#35618f", look.BAD, look.DOUBTFUL, look.GOOD), strict=True))
    width = 0.8 / len(names)
    for i, name in enumerate(names):
        by_rate = [row for row in rows if row.model == name]
        places = [j + (i - (len(names) - 1) / 2) * width for j in range(len(by_rate))]
        axes[0].bar(places, [row.radius for row in by_rate], width, color=colours[name], label=name)
        for axis, kind in zip(axes[1:], ("per draw", "per answer"), strict=True):
            axis.bar(places, [max(row.false[kind], 1e-5) for row in by_rate], width, bottom=1e-5, color=colours[name])
    axes[0].axhline(honest, color="black", linestyle="--", linewidth=1.0, label="no errors")
    axes[0].set_title("mean radius about the true class", fontsize=11)
    for axis, kind in zip(axes[1:], ("per draw", "per answer"), strict=True):
        axis.set_yscale("log")
        axis.set_ylim(1e-5, 1.5)
        axis.axhline(ALPHA, color="black", linestyle="--", linewidth=1.0)
        axis.set_title(f"share of false certificates, errors {kind}", fontsize=11)
    for axis in axes:
        axis.set_xticks(range(len(RATES)), [f"{rate:g}" for rate in RATES])
        axis.set_xlabel("ε")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=6, fontsize=9)
    look.save(figure, path)


def main(
    number: Annotated[int, typer.Option("--signs", min=1, help="Held-out harmless signs.")] = 24,
    out: Annotated[Path, typer.Option(help="Folder for the plot.")] = Path("guardrail-experiments"),
) -> None:
    """Print the table and draw the plot."""
    honest, rows = run(number)
    console = look.console()
    console.print(table(rows))
    console.print(
        f"\nradius: mean over {number} signs about the true class, errors per draw ({honest:.3f} without errors; n = "
        f"{DRAWS}, α = {ALPHA:g}, σ = {SIGMA:g}, class harmless). false: largest share of 200 000 synthetic requests, "
        f"over several p, whose certificate claims more than p; sound is at most α = {ALPHA:g}, up to chance. Each "
        "model is told ε itself, but 'from above': the upper bound that 400 labels give."
    )
    plot(honest, rows, out / "synthetic-errors.png")
    console.print(f"Plot: {out / 'synthetic-errors.png'}")


if __name__ == "__main__":
    typer.run(main)
