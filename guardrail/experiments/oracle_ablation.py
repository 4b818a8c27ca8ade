"""What an oracle contributes: no oracle, a list of words, and the oracle of the bundled model's world.

    python -m guardrail.experiments.oracle_ablation [--signs 40] [--out FOLDER]

The paper's ablation, on the bundled model and held-out signs: half of them with the prompt to follow the sign, half to
describe it. All methods get the very same answers. Without an oracle the answers themselves are the classes, merged
where they are equal, or where they share a third of their words: that is Algorithm 2, which yields an estimate and no
certificate. The truth about an answer is `world.truth`; the oracle of the world knows the same phrases, so its error
rate is a floor that no oracle for real answers reaches.
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from pydantic import SecretBytes
from rich.progress import track
from rich.table import Table

from guardrail.bundled import BundledVLM, signs, world
from guardrail.bundled.oracle import bundled_oracle
from guardrail.certify.certificate import Certificate
from guardrail.certify.options import Smoothing
from guardrail.certify.smoothing import SmoothedClassifier
from guardrail.commands import look
from guardrail.experiments.algorithm2 import Equivalent, algorithm_2, merge_votes
from guardrail.experiments.recorded import RecordedVLM
from guardrail.images.pictures import InputImage
from guardrail.models.base import Answer
from guardrail.oracles.base import HARMFUL, Judgements, Oracle
from guardrail.oracles.refusal.oracle import RefusalOracle
from guardrail.oracles.text import normalise
from guardrail.oracles.words.lexicon import LexiconOracle
from guardrail.prompts import Prompt

TASKS: tuple[world.Task, ...] = ("follow", "describe")


def equal(answer: str, other: str) -> bool:
    """Whether two answers are the same text."""
    return answer == other


def alike(answer: str, other: str) -> bool:
    """Whether two answers share at least a third of all words in them."""
    one, two = (set(re.findall(r"\w+", normalise(text))) for text in (answer, other))
    return 3 * len(one & two) >= len(one | two)


def ways() -> Mapping[str, Equivalent | Oracle]:
    """Return the methods to compare, by name; an equivalence means 'no oracle'."""
    return {
        "no oracle: equal answers": equal,
        "no oracle: similar answers": alike,
        "words: refusals, else harmful": RefusalOracle(),
        "words: topics": LexiconOracle({HARMFUL: world.HARMFUL_TERMS}),
        "oracle of the world": bundled_oracle(),
    }


@dataclass
class Result:
    """Results of one method on all signs."""

    judged: int = 0
    """Number of draws."""
    errors: int = 0
    """Number of draws with a class other than their answer's true one."""
    radii: dict[str, list[float]] = field(default_factory=lambda: {task: [] for task in TASKS})
    """By task, the certified radius of each sign; 0 for an abstention."""
    wrong: int = 0
    """Signs certified as a class that the right answer does not have."""

    @property
    def error_rate(self) -> float:
        """Share of wrong judgements among all draws."""
        return self.errors / self.judged

    @property
    def certified(self) -> float:
        """Share of the signs with a positive radius."""
        return self.certified_of(*TASKS)

    def certified_of(self, *tasks: str) -> float:
        """Share of the signs with a positive radius, of some tasks."""
        radii = [radius for task in tasks for radius in self.radii[task]]
        return sum(radius > 0.0 for radius in radii) / len(radii)

    @property
    def wrong_share(self) -> float:
        """Share of the signs certified as a class that the right answer does not have."""
        return self.wrong / sum(map(len, self.radii.values()))

    @property
    def mean_radius(self) -> float:
        """Mean over all signs, abstentions included."""
        return statistics.mean(radius for radii in self.radii.values() for radius in radii)


def run(number: int = 40, smoothing: Smoothing | None = None, seed: int = 5) -> dict[str, Result]:
    """Certify held-out signs by every method, on the same draws.

    Args:
        number: of signs.
        smoothing: noise, draws and α; its key makes the run repeatable.
        seed: of the signs.
    """
    smoothing = smoothing or Smoothing(key=SecretBytes(b"the key of this experiment"))
    rng = np.random.default_rng(seed)
    classifier = SmoothedClassifier(BundledVLM(temperature=0.7), bundled_oracle(), smoothing)
    results = {name: Result() for name in ways()}
    for i in track(range(number), "certifying", transient=True):
        task = TASKS[i % len(TASKS)]
        sign = signs.sample_sign(rng, "held_out", contrast=(0.4, 0.9))
        picture, prompt = InputImage.load(signs.draw_sign(sign)), world.PROMPTS[task][0]
        recorded = RecordedVLM.of(classifier, picture, prompt)
        for name, way in ways().items():
            result = results[name]
            certificate, classes = _judge(recorded, way, picture, prompt, smoothing)
            truths = [world.truth(answer.text) for answer in recorded.answers]
            result.judged += len(truths)
            result.errors += sum(said != truth for said, truth in zip(classes, truths, strict=True))
            result.radii[task].append(certificate.radius)
            certified = certificate.certified_class
            if certified is not None and not isinstance(way, Oracle):
                certified = world.truth(certified)
            result.wrong += certified is not None and certified != world.expected(sign.word, task)
    return results


def _judge(
    recorded: RecordedVLM, way: Equivalent | Oracle, picture: InputImage, prompt: str, smoothing: Smoothing
) -> tuple[Certificate, Sequence[str]]:
    """Certify by one method; return the certificate and each draw's class, without an oracle that of its cluster."""
    if isinstance(way, Oracle):
        classes = Judgements().of(way, recorded.answers, Prompt.of(prompt, 1))
        return SmoothedClassifier(recorded, way, smoothing).certify(picture, prompt), classes
    classifier = SmoothedClassifier(recorded, bundled_oracle(), smoothing)
    return algorithm_2(classifier, picture, prompt, way), _clustered(recorded.answers, way)


def _clustered(answers: Sequence[Answer], equivalent: Equivalent) -> list[str]:
    """Return for each draw the true class of its cluster's representative."""
    texts = [answer.text for answer in answers]
    stands_for = {text: c.representative for c in merge_votes(texts, equivalent) for text in c.members}
    return [world.truth(stands_for[text]) for text in texts]


def table(results: Mapping[str, Result]) -> Table:
    """Write the results as a table."""
    numbers = ("error rate", "certified", *TASKS, "wrong", "mean radius")
    shown = look.table("classes by", *numbers, right=numbers)
    for name, result in results.items():
        shares = (f"{share:.2f}" for share in (result.certified, *(result.certified_of(task) for task in TASKS)))
        shown.add_row(name, f"{result.error_rate:.3f}", *shares, str(result.wrong), f"{result.mean_radius:.3f}")
    return shown


def plot(results: Mapping[str, Result], path: Path) -> None:
    """Draw error rate, certified shares and mean radius of each method."""
    panels: tuple[tuple[str, str, Callable[[Result], float]], ...] = (
        ("error rate", look.BAD, lambda result: result.error_rate),
        ("share of signs certified", look.GOOD, lambda result: result.certified),
        ("certified as a wrong class", look.DOUBTFUL, lambda result: result.wrong_share),
        ("mean radius", "#35618f", lambda result: result.mean_radius),
    )
    figure, (axes,) = look.figure(13.0, 3.2, columns=len(panels), share_y=True)
    for axis, (title, colour, value) in zip(axes, panels, strict=True):
        values = [value(result) for result in results.values()]
        bars = axis.barh(range(len(results)), values, color=colour, height=0.62)
        axis.bar_label(bars, [f"{v:.3f}" for v in values], padding=3, fontsize=9)
        axis.set_xlim(0.0, 1.25 * max(values) or 1.0)
        axis.set_yticks(range(len(results)), list(results))
        axis.set_title(title, fontsize=11)
    axes[0].invert_yaxis()  # shared by all
    look.save(figure, path)


def main(
    number: Annotated[int, typer.Option("--signs", min=2, help="Held-out signs.")] = 40,
    out: Annotated[Path, typer.Option(help="Folder for the plot.")] = Path("guardrail-experiments"),
) -> None:
    """Print the table and draw the plot."""
    results = run(number)
    console = look.console()
    console.print(table(results))
    console.print(
        "\nerror rate: draws given a class that their answer does not have. certified: share of the signs with a "
        "positive radius, and of each task's. wrong: signs certified as a class that the right answer does not have. "
        f"mean radius: abstentions count as 0. {number} signs, 100 draws each at σ = 0.5, α = 0.001, temperature 0.7."
    )
    plot(results, out / "oracle-ablation.png")
    console.print(f"Plot: {out / 'oracle-ablation.png'}")


if __name__ == "__main__":
    typer.run(main)
