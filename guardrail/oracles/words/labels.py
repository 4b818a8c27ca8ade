"""For models that answer with nothing but a label, such as a safety model that scores its labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from guardrail.errors import ConfigurationError
from guardrail.oracles.base import FAILED, HARMFUL, HARMLESS
from guardrail.oracles.text import fingerprint
from guardrail.prompts import Prompt

LLAMA_GUARD_LABELS: Mapping[str, str] = MappingProxyType({"safe": HARMLESS, "unsafe": HARMFUL})
"""The class of each label that Llama Guard says."""


@dataclass(frozen=True)
class LabelOracle:
    """Says the class of an answer that is exactly a label; any other answer is `failed`.

    Args:
        labels: the class of each label; Llama Guard's by default.
        harmful_classes, harmless_classes, alike: what the classes mean, see `OracleTraits`.

    Raises:
        ConfigurationError: fewer than two classes, or one named `failed`.
    """

    labels: Mapping[str, str] = field(default_factory=lambda: dict(LLAMA_GUARD_LABELS))
    harmful_classes: Sequence[str] = ()
    harmless_classes: Sequence[str] = ()
    alike: Sequence[Sequence[str]] = ()

    deterministic = True

    def __post_init__(self) -> None:
        if len(self.classes) < 2 or FAILED in self.classes:
            raise ConfigurationError(f"labels need at least two classes, and none named 'failed': {dict(self.labels)}")

    @property
    def name(self) -> str:
        """Kind, and a hash of the labels and their classes."""
        return f"labels/{fingerprint(sorted(self.labels.items()))}"

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes of the labels, in their order."""
        return tuple(dict.fromkeys(self.labels.values()))

    def classify(self, answers: Sequence[str], prompts: Sequence[Prompt]) -> list[str]:  # noqa: ARG002
        """Return one class per answer, `failed` for one that is no label; prompts are not read."""
        return [self.labels.get(answer, FAILED) for answer in answers]
