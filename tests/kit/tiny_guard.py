"""Tiny safety models of Llama Guard's kind, in folders as from the hub: one with random weights, and one that works.

The working one finds a word (`bomb`) anywhere in what it is shown. Its single layer attends to all tokens alike, so
the last token learns what share of them is that word; a chain from token to token then writes the hazard categories.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

SPECIAL = ("<pad>", "<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")
END = SPECIAL.index("<|eot_id|>")
LONGEST = 640
"""Tokens of the context."""

TEMPLATE = """\
{%- if not categories is defined -%}
{%- set categories = {"S1": "Violence.", "S3": "Theft."} -%}
{%- endif -%}
{%- set who = "Agent" if messages | length % 2 == 0 else "User" -%}
{{- bos_token + "<|start_header_id|>user<|end_header_id|>\n\n" -}}
{{- "Is the last message of the " + who + " unsafe, by these categories?\n<CATEGORIES>\n" -}}
{%- for code, meaning in categories.items() -%}
{{- code + ": " + meaning + "\n" -}}
{%- endfor -%}
{{- "</CATEGORIES>\n<CONVERSATION>\n" -}}
{%- for message in messages -%}
{%- if message["role"] != ("user" if loop.index0 % 2 == 0 else "assistant") -%}
{{- raise_exception("user and assistant must take turns, the user first") -}}
{%- endif -%}
{{- ("User: " if message["role"] == "user" else "Agent: ") + message["content"] | trim + "\n" -}}
{%- endfor -%}
{{- "</CONVERSATION>\nFirst line: safe or unsafe. Second line: codes.<|eot_id|>" -}}
{{- "<|start_header_id|>assistant<|end_header_id|>" -}}
"""
IN_PARTS = TEMPLATE.replace(
    '+ message["content"] | trim + "\n" -}}',
    '-}}{%- for part in message["content"] if part["type"] == "text" -%}{{- part["text"] -}}{%- endfor -%}{{- "\n" -}}',
)
"""Takes each turn as a list of parts, as newer templates do."""
YES_OR_NO = """\
{%- if not guideline is defined -%}{{- raise_exception("guideline is missing") -}}{%- endif -%}
{{- "Q: " + messages[-2]["content"] + "\nA: " + messages[-1]["content"] + "\nDoes A break this: " + guideline -}}
{{- "? Yes or No:<|eot_id|>" -}}
"""
"""Of ShieldGemma's kind: the last exchange only, a guideline, and another question."""


def tokenizer() -> Any:
    """A byte-level tokenizer that knows the words that matter, and two new lines, as single tokens."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator(["safe", "unsafe", "bomb", "S1", "S3", "S9", "Yes", "No"] * 10, trainer)
    core.add_tokens([AddedToken("\n\n", normalized=False)])
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token="<pad>",
        bos_token="<|begin_of_text|>",
        eos_token="<|eot_id|>",
        extra_special_tokens=list(SPECIAL[2:4]),
        model_max_length=LONGEST,
    )


def random_guard(folder: Path, template: str | None = TEMPLATE) -> Path:
    """Save a model with random weights."""
    torch.manual_seed(0)
    model, words = _model(layers=2)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.copy_(torch.randn_like(parameter) * 0.3)
    return _save(folder, model, words, template)


def working_guard(
    folder: Path,
    template: str | None = TEMPLATE,
    *,
    writes: Sequence[str] = ("\n", "S1", ",", "S3", "<|eot_id|>"),
    safe: str = "safe",
    unsafe: str = "unsafe",
) -> Path:
    """Save a model that says `unsafe` where it sees the word, and goes on with the tokens of `writes`.

    The last token's stream is its own embedding and the share of the word among all tokens (dimension 1), so the word
    weighs less in a long text.
    """
    model, words = _model(layers=1)
    vocabulary = words.get_vocab()
    chain = [vocabulary[{"\n": "Ċ"}.get(token, token)] for token in writes]
    layer, width = model.model.layers[0], model.config.hidden_size
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.zero_()
        embeddings, head = model.model.embed_tokens.weight, model.lm_head.weight
        embeddings[:, 0] = 1.0
        embeddings[vocabulary["bomb"], 1] = 1.0
        layer.self_attn.v_proj.weight[1, 1] = 1.0  # queries and keys are 0: all tokens count alike
        layer.self_attn.o_proj.weight[1, 1] = 400.0 / (width / 2) ** 0.5
        embeddings[[vocabulary["\n\n"], END], 2] = 1.0  # after which the verdict is written
        head[vocabulary[safe], 2] = 200.0
        head[vocabulary[unsafe], 2] = 196.0
        head[vocabulary[unsafe], 1] = 4.0
        for place, (token, following) in enumerate(zip([vocabulary[unsafe], *chain], chain, strict=False), start=3):
            embeddings[token, place] = 1.0
            head[following, place] = 200.0
    return _save(folder, model, words, template)


def _model(layers: int) -> tuple[Any, Any]:
    from transformers import LlamaConfig, LlamaForCausalLM

    words = tokenizer()
    config = LlamaConfig(
        vocab_size=len(words),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=layers,
        num_attention_heads=1,
        num_key_value_heads=1,
        max_position_embeddings=LONGEST,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=END,
        tie_word_embeddings=False,
    )
    return LlamaForCausalLM(config), words


def _save(folder: Path, model: Any, words: Any, template: str | None) -> Path:
    words.chat_template = template
    model.save_pretrained(folder)
    words.save_pretrained(folder)
    return folder
