"""Labelled pairs of captions, for the threshold of a similarity."""

from __future__ import annotations

import csv
import itertools
import random
from pathlib import Path

from guardrail.bundled import world
from guardrail.measuring.labelled_pairs import LabelledPair


def captions(seed: int = 0, different: int = 130) -> list[LabelledPair]:
    """Pairs of captions: of the same word in two wordings, or of two words."""
    said = {word: world.answers(word, "describe") for word in world.WORDS}
    pairs = [LabelledPair(a, b, True) for word in said for a, b in itertools.combinations(said[word], 2)]
    others = [(a, b) for v, w in itertools.combinations(said, 2) for a in said[v] for b in said[w]]
    return pairs + [LabelledPair(a, b, False) for a, b in random.Random(seed).sample(others, different)]


def write_pairs(path: Path, pairs: list[LabelledPair]) -> Path:
    """Write the table that `guardrail oracle threshold` reads."""
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("left", "right", "equivalent"))
        rows.writerows((p.left, p.right, int(p.equivalent)) for p in pairs)
    return path
