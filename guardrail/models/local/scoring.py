"""A safety model as the smoothed model: one forward pass scores a few labels, and no text is generated."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from typing import TYPE_CHECKING, Any

from guardrail.errors import ModelError
from guardrail.models.base import Answer

if TYPE_CHECKING:
    import torch


class LabelScorer:
    """Answers with the more probable of a few labels, such as Llama Guard's `safe` and `unsafe`.

    A label is scored by its first token, as tokenised where the model would write it.

    Args:
        tokenizer: the model's.
        labels: at least two different texts.
        before: the end of a conversation, up to where the label begins; a label's tokens can depend on it.

    Raises:
        ModelError: fewer than two labels; labels that begin with the same token, or whose first token merges with the
            text before them.
    """

    def __init__(self, tokenizer: Any, labels: Sequence[str], before: str) -> None:  # noqa: ANN401
        self.labels = tuple(labels)
        if len(set(self.labels)) < 2 or not all(self.labels):
            raise ModelError(f"scoring needs at least two different labels, got {self.labels}")
        start = tokenizer(before, add_special_tokens=False)["input_ids"]
        tokens = []
        for label in self.labels:
            ids = tokenizer(before + label, add_special_tokens=False)["input_ids"]
            if len(ids) <= len(start) or ids[: len(start)] != start:
                raise ModelError(f"label {label!r} grows together with the text before it: end `opening` otherwise")
            tokens.append(int(ids[len(start)]))
        if len(set(tokens)) < len(tokens):
            raise ModelError(
                f"labels {self.labels} begin with the same token: put what they share into `opening`, "
                "and leave it out of the labels"
            )
        self._pad_token = tokenizer.pad_token_id
        self.tokens = tuple(tokens)
        """The first token of each label."""

    def logits(self, model: Any, inputs: dict[str, torch.Tensor]) -> torch.Tensor:  # noqa: ANN401
        """Return the logits of the first token, by one forward pass: `[rows, vocabulary]`, float32."""
        import torch

        with torch.inference_mode():
            output = model.generate(
                **{name: value.to(model.device) for name, value in inputs.items()},
                max_new_tokens=1,
                do_sample=False,
                output_logits=True,
                return_dict_in_generate=True,
                pad_token_id=self._pad_token,
            )
        first: torch.Tensor = output.logits[0].float()
        return first

    def probabilities(self, model: Any, inputs: dict[str, torch.Tensor]) -> torch.Tensor:  # noqa: ANN401
        """Return the probability of each label, among the labels: `[rows, labels]`, float32, summing to 1."""
        return self.logits(model, inputs)[:, list(self.tokens)].softmax(dim=-1)

    def answers(self, model: Any, inputs: dict[str, torch.Tensor]) -> list[Answer]:  # noqa: ANN401
        """Return each row's most probable label, the first of equals; a row without finite numbers has failed."""
        answers = []
        for row in self.probabilities(model, inputs).tolist():
            likeliest = self.labels[row.index(max(row))]
            answers.append(Answer(likeliest, tokens=1) if all(map(isfinite, row)) else Answer.failure("not finite"))
        return answers
