"""A model and comparisons of which everything is known, for tests of equivalence."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from guardrail.models.base import Answer, Draw, Sizes
from guardrail.oracles.meaning.equivalence import DIFFERENT, EQUIVALENT, Pair
from guardrail.prompts import Prompt


@dataclass
class SayingVLM:
    """Says what `say` makes of a number uniform on [0, 1), whatever the picture."""

    say: Callable[[float], str]
    name: str = "saying"
    resolution: tuple[int, int] | None = None

    def check(self, prompt: Prompt, sizes: Sizes) -> None:
        pass

    def answer(self, draws: Sequence[Draw], deadline: float | None = None) -> list[Answer]:
        return [Answer(self.say(draw.sampling_seed / 2**63)) for draw in draws]


@dataclass
class RuleComparison:
    """Says `equivalent` where a rule holds for (answer, representative), and remembers what it was asked."""

    rule: Callable[[str, str], bool]
    name: str = "rule"
    deterministic: bool | None = True
    asked: list[Pair] = field(default_factory=list)

    def compare(self, pairs: Sequence[Pair], deadline: float | None = None) -> list[str]:
        self.asked += pairs
        return [EQUIVALENT if self.rule(pair.answer, pair.representative) else DIFFERENT for pair in pairs]


def first_word(answer: str, representative: str) -> bool:
    """Answers mean the same if they begin with the same word: an equivalence relation."""
    return answer.partition(" ")[0] == representative.partition(" ")[0]


def neighbours(answer: str, representative: str, distance: int = 1) -> bool:
    """Numbers mean the same if they differ by this at most: not transitive."""
    return abs(int(answer) - int(representative)) <= distance


def entails(answer: str, representative: str) -> bool:
    """An answer means the same if it holds every word of the representative: not symmetric."""
    return set(representative.split()) <= set(answer.split())
