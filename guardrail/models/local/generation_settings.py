"""Which of a checkpoint's settings for generation count here: those that say how a token is chosen."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

logger = logging.getLogger(__name__)

_CHOICE = {
    *("bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id"),
    *("forced_bos_token_id", "forced_eos_token_id"),
    *("repetition_penalty", "no_repeat_ngram_size", "bad_words_ids", "sequence_bias"),
    *("suppress_tokens", "begin_suppress_tokens", "min_new_tokens", "exponential_decay_length_penalty"),
}
"""They change the choice of a token by what its own row holds, and nothing else."""
_REPLACED = {
    *("max_length", "max_new_tokens", "do_sample", "temperature", "top_k", "top_p", "min_p", "top_h", "typical_p"),
    *("epsilon_cutoff", "eta_cutoff", "use_cache", "transformers_version", "_from_model_config"),
}
"""The model's own options stand in their place, and its `name` says which."""


def keep_choice(model: Any, source: str | Path) -> None:  # noqa: ANN401
    """Reduce a model's generation config to what says how a token is chosen, and log what was left out.

    Beams, assistants, several or other outputs, constraints, caches and whatever a later version invents would change
    what `generate` returns, tie rows together, or fail at each request.
    """
    from transformers import GenerationConfig

    given = model.generation_config.to_diff_dict()
    others = {name: value for name, value in given.items() if name not in _CHOICE | _REPLACED}
    left = {name: value for name, value in others.items() if value is True or value not in (None, 0, 1)}
    if left:
        logger.warning(
            "%s: settings of its generation config that are not used, as they do not say how a token is chosen: %s",
            source,
            ", ".join(f"{name}={value!r}" for name, value in sorted(left.items())),
        )
    kept = {name: value for name, value in given.items() if name in _CHOICE}
    model.generation_config = GenerationConfig(**kept)  # type: ignore[no-untyped-call]
