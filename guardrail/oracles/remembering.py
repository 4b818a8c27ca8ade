"""Remembers judgements across requests."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Sequence

from guardrail.errors import ConfigurationError
from guardrail.oracles.base import Oracle, OracleWrapper, classify, is_failure, judges_afresh
from guardrail.prompts import Prompt


class RememberingOracle(OracleWrapper):
    """Asks another oracle once per prompt and answer, and remembers what it said for later requests.

    For oracles that cost something: a chat model, a safety model. Within one request the core asks about equal answers
    once anyway. A failed judgement is never remembered. The table holds hashes, no texts, and forgets what was not
    asked for longest; it is this object's own, so restarts and replicas begin anew. It may be asked from many threads:
    where two judge the same answer at once, both are told the word that was there first.

    A remembered judgement is not judged afresh, so error models that assume independent errors are refused: one wrong
    word would be wrong on every draw. A worst-case bound on the errors may be claimed.

    Args:
        oracle: judges what is not remembered.
        capacity: judgements that are kept, at some 200 bytes each.

    Raises:
        ConfigurationError: a capacity below 1, or an oracle whose classes are found per request.
    """

    judges_afresh = False

    def __init__(self, oracle: Oracle, capacity: int = 100_000) -> None:
        if not isinstance(oracle, Oracle):
            raise ConfigurationError(f"only an oracle with classes can be remembered, got {type(oracle).__name__}")
        if capacity < 1:
            raise ConfigurationError(f"capacity must be at least 1, got {capacity}")
        self.oracle = oracle
        self.capacity = capacity
        self._labels: OrderedDict[bytes, str] = OrderedDict()
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"RememberingOracle({self.oracle.name!r}, {len(self)} of {self.capacity})"

    def __len__(self) -> int:
        """Number of judgements that are remembered."""
        return len(self._labels)

    @property
    def name(self) -> str:
        """The other oracle's name: a table changes no class of an oracle that says the same at every call.

        It does of one that judges afresh: what is certified is then the verdict under this table, not the verdict of
        fresh judgements. So the name says it, and neither certificates nor measured errors of the one are the other's.
        """
        return f"remembered > {self.oracle.name}" if judges_afresh(self.oracle) else self.oracle.name

    @property
    def classes(self) -> tuple[str, ...]:
        """The other oracle's classes."""
        return self.oracle.classes

    @property
    def _others(self) -> tuple[Oracle, ...]:
        return (self.oracle,)

    def classify(self, answers: Sequence[str], prompts: Sequence[Prompt], deadline: float | None = None) -> list[str]:
        """Return one class per answer; the other oracle is asked once about each that is not remembered.

        Raises:
            OracleError: the other oracle cannot judge at all.
        """
        keys = [_key(self.oracle.name, answer, prompt) for answer, prompt in zip(answers, prompts, strict=True)]
        labels = self._remembered(keys)
        new = {key: i for i, key in enumerate(keys) if key not in labels}
        asked = [answers[i] for i in new.values()], [prompts[i] for i in new.values()]
        labels |= self._remember(dict(zip(new, classify(self.oracle, *asked, deadline), strict=True)))
        return [labels[key] for key in keys]

    def _remembered(self, keys: Sequence[bytes]) -> dict[bytes, str]:
        with self._lock:
            known = {key: self._labels[key] for key in keys if key in self._labels}
            for key in known:
                self._labels.move_to_end(key)
        return known

    def _remember(self, judged: dict[bytes, str]) -> dict[bytes, str]:
        """Keep new judgements, and return what is now the word on each."""
        with self._lock:
            told = {
                key: label if is_failure(label) else self._labels.setdefault(key, label)
                for key, label in judged.items()
            }
            while len(self._labels) > self.capacity:
                self._labels.popitem(last=False)
        return told


def _key(name: str, answer: str, prompt: Prompt) -> bytes:
    """Hash oracle, prompt and answer: each part by itself, so that none can reach into another."""
    parts = (name.encode(), prompt.digest.encode(), answer.encode("utf-8", "surrogatepass"))
    return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).digest()
