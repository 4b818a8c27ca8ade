"""Meanings and actions on the bundled model: classes found, certificates, and naive clustering beside them.

    python -m tests.benchmarks.equivalence [--signs 10] [--robots 5]

Captions: sampled (temperature 0.7), so that each sign gets several wordings; the class is found on 20 selection draws
and certified on 100 fresh ones, by sentence embeddings (all-MiniLM-L6-v2). The similarity threshold was chosen, as
`guardrail oracle threshold` does, on labelled captions of words that are not on these signs. 'said' is the share of the
100 captions that do name the representative's word; beside it Algorithm 2 of the paper, which clusters and counts the
same draws with the same comparison, and exact matching, which knows no meaning.

Actions: greedy, the robot's commands by their words; beside it Algorithm 2 with the embeddings, for which 'turn left'
and 'turn right' are alike (0.89): in how many of its main clusters several actions were merged. It spends all of alpha
on the cluster it found, and `action_oracle` on all actions together.
"""

from __future__ import annotations

import itertools
import random
import statistics
import time
from collections import Counter
from typing import Annotated

import numpy as np
import typer
from rich import box
from rich.console import Console
from rich.table import Table

from guardrail import Certificate, InputImage, Prompt, SmoothedClassifier, Smoothing
from guardrail.bundled import world
from guardrail.bundled.oracle import action_oracle
from guardrail.bundled.signs import draw_sign, sample_sign
from guardrail.experiments.algorithm2 import algorithm_2, merge_votes
from guardrail.measuring.labelled_pairs import LabelledPair, calibrate
from guardrail.measuring.threshold import SimilarityThreshold
from guardrail.models import BundledVLM
from guardrail.oracles import EmbeddingComparison, EquivalenceOracle
from guardrail.oracles.meaning.equivalence import EQUIVALENT, Pair, compare
from guardrail.oracles.meaning.similarity import SentenceEncoder
from tests.kit.embedding_model import minilm

CAPTION, ROBOT = world.PROMPTS["describe"][0], world.PROMPTS["robot"][0]
SMOOTHING = Smoothing(sigma=0.5, samples=100, alpha=0.001, key=b"equivalence benchmark")


class Remembered:
    """Says whether two answers are equivalent, and has each pair compared once."""

    def __init__(self, comparison: EmbeddingComparison) -> None:
        self.comparison = comparison
        self.known: dict[tuple[str, str], bool] = {}

    def learn(self, answers: list[str]) -> None:
        """Ask about all pairs of these answers at once."""
        pairs = [Pair(a, b) for a, b in itertools.product(dict.fromkeys(answers), repeat=2)]
        self.known.update(
            {
                (p.answer, p.representative): label == EQUIVALENT
                for p, label in zip(pairs, compare(self.comparison, pairs), strict=True)
            }
        )

    def __call__(self, answer: str, representative: str) -> bool:
        return self.known[answer, representative]


def main(
    signs: Annotated[int, typer.Option(help="Signs to caption.")] = 10,
    robots: Annotated[int, typer.Option(help="Signs per command of the robot.")] = 5,
    temperature: Annotated[float, typer.Option(help="Of the captions.")] = 0.7,
) -> None:
    """Print both tables."""
    start, console = time.perf_counter(), Console()
    shown = world.WORDS[::2]
    threshold = choose_threshold(SentenceEncoder(minilm()), [word for word in world.WORDS if word not in shown])
    comparison = EmbeddingComparison(SentenceEncoder(minilm()), threshold)
    false, missed = threshold.held_out.false_equivalent, threshold.held_out.missed
    console.print(
        f"threshold {threshold.threshold:.4f}; on held-out pairs {false.count} of {false.total} falsely equivalent, "
        f"{missed.count} of {missed.total} missed"
    )
    console.print(captions(comparison, [shown[i % len(shown)] for i in range(signs)], temperature))
    console.print(actions(comparison, [word for word in world.COMMANDS for _ in range(robots)]))
    console.print(f"{time.perf_counter() - start:.0f} s")


def choose_threshold(encoder: SentenceEncoder, words: list[str]) -> SimilarityThreshold:
    """Choose it on captions of these words: all pairs of wordings of a word, and as many pairs of two words."""
    said = {word: world.answers(word, "describe") for word in words}
    same = [LabelledPair(a, b, True) for word in words for a, b in itertools.combinations(said[word], 2)]
    other = [LabelledPair(a, b, False) for v, w in itertools.combinations(words, 2) for a in said[v] for b in said[w]]
    return calibrate(encoder, same + random.Random(0).sample(other, 200), data="captions")[0]


def sign(word: str, seed: int) -> InputImage:
    """Draw a held-out sign."""
    rng = np.random.default_rng(seed)
    return InputImage.load(draw_sign(sample_sign(rng, "held_out", words=[word], contrast=(0.5, 0.9))))


def captions(comparison: EmbeddingComparison, words: list[str], temperature: float) -> Table:
    """Certify the main meaning of each sign's captions."""
    table = Table(title="Captions", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    for name in (
        "sign",
        "classes",
        "representative",
        "equivalent",
        "said",
        "q",
        "radius",
        "Alg. 2",
        "radius*",
        "exact",
    ):
        table.add_column(name, justify="left" if name == "representative" else "right", no_wrap=True)
    model, oracle = BundledVLM(temperature=temperature), EquivalenceOracle(comparison, candidates=20)
    classifier = SmoothedClassifier(model, oracle, SMOOTHING)
    remembered = Remembered(comparison)
    certified: list[Certificate] = []
    for seed, word in enumerate(words):
        x, prompt = sign(word, seed), Prompt.of(CAPTION, 1)
        request = classifier.request(x, prompt)
        selection = [a.text for a in model.answer(classifier.draws(request, range(20), "selection"))]
        said = [a.text for a in model.answer(classifier.draws(request, range(100)))]
        remembered.learn(said)
        certificate, naive = classifier.certify(x, prompt), algorithm_2(classifier, x, prompt, remembered)
        representative = certificate.representative or ""
        certified.append(certificate)
        table.add_row(
            word,
            "+".join(str(star.votes) for star in oracle.clusters(selection, prompt)),
            representative,
            str(certificate.counts[EQUIVALENT]),
            str(sum(named(text) == named(representative) for text in said)),
            f"{certificate.q_lower:.3f}",
            f"{certificate.radius:.3f}" if certificate.certified_class else "abstain",
            str(max(naive.counts.values())),
            f"{naive.radius:.3f}",
            str(max(Counter(said).values())),
        )
    table.caption = f"{summary(certified)}; radius*: an estimate, not a certificate"
    return table


def actions(comparison: EmbeddingComparison, words: list[str]) -> Table:
    """Certify the robot's actions, by words and by naive clustering."""
    table = Table(title="Actions", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    for name in (
        "sign",
        "certified",
        "right",
        "mean radius",
        "Alg. 2 passes",
        "mixes actions",
        "mean radius*",
    ):
        table.add_column(name, justify="right")
    model, oracle = BundledVLM(), action_oracle()
    classifier = SmoothedClassifier(model, oracle, SMOOTHING)
    remembered = Remembered(comparison)
    rows: list[tuple[str, Certificate, Certificate, int]] = []
    for seed, word in enumerate(words):
        x, prompt = sign(word, seed), Prompt.of(ROBOT, 1)
        said = [a.text for a in model.answer(classifier.draws(classifier.request(x, prompt), range(100)))]
        remembered.learn(said)
        naive = algorithm_2(classifier, x, prompt, remembered)
        together = {world.action(text) for text in merge_votes(said, remembered)[0].members}
        rows.append((word, classifier.certify(x, prompt), naive, len(together)))
    for word in (*world.COMMANDS, "all"):
        chosen = [row for row in rows if word in {row[0], "all"}]
        certified = [c for _, c, _, _ in chosen if c.certified_class]
        estimated = [n for _, _, n, _ in chosen if n.certified_class]
        table.add_row(
            word,
            f"{len(certified)} of {len(chosen)}",
            str(sum(c.certified_class == w for w, c, _, _ in chosen)),
            f"{statistics.fmean(c.radius for c in certified):.3f}" if certified else "–",
            f"{len(estimated)} of {len(chosen)}",
            str(sum(actions > 1 for _, _, _, actions in chosen)),
            f"{statistics.fmean(n.radius for n in estimated):.3f}" if estimated else "–",
        )
    return table


def named(text: str) -> str | None:
    """The word of the world that a caption names."""
    words = [word.strip(".,").casefold() for word in text.split()]
    return next((word for word in words if word in world.WORDS), None)


def summary(certificates: list[Certificate]) -> str:
    """Share certified and mean radius."""
    radii = [c.radius for c in certificates if c.certified_class]
    mean = f", mean radius {statistics.fmean(radii):.3f}" if radii else ""
    return f"{len(radii)} of {len(certificates)} certified{mean}"


if __name__ == "__main__":
    typer.run(main)
