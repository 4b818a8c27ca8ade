"""The models and oracles of this package, by the names that settings give them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from guardrail import oracles
from guardrail.bundled.oracle import action_oracle, bundled_oracle
from guardrail.errors import ConfigurationError, did_you_mean
from guardrail.factories.own import Named, called, is_named
from guardrail.models import BundledVLM, ChatModelVLM, TransformersVLM, VisionLanguageModel
from guardrail.oracles import Oracle, RepresentativeOracle
from guardrail.oracles.asking.chat_classifier import ChatClassifier
from guardrail.oracles.base import HARMLESS, OracleTraits
from guardrail.oracles.meaning.chat_equivalence import equivalence_rubric
from guardrail.oracles.meaning.equivalence import DIFFERENT, EQUIVALENT
from guardrail.oracles.words.actions import NO_ACTION

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

CHAT = "chat:"
"""Begins the name of a chat model: what follows is its id for LangChain's `init_chat_model`."""
Options = Mapping[str, Any]


def make_model(name: str, options: Options, given: Mapping[str, object]) -> VisionLanguageModel:
    """Make a model; the options are keyword arguments of its class.

    Args:
        name: one of `BUNDLED`; `chat:` and the id of a chat model; or a hub id or folder.
        options: of a chat model, `chat` holds the keyword arguments of `init_chat_model`.
        given: settings by name, of which it gets those that it takes: see `model_takes`.

    Raises:
        ConfigurationError: options that the class does not have, or that cannot work.
        ModelError: the model cannot be loaded.
    """
    return _maker(name)(name, options, **{one: given[one] for one in model_takes(name)})


def model_takes(name: str) -> set[str]:
    """Return the settings that a model is made by, beside its options."""
    return set(inspect.signature(_maker(name)).parameters) - {"name", "options"}


def _maker(name: str) -> Callable[..., VisionLanguageModel]:
    return BUNDLED.get(name, _chat_model if name.startswith(CHAT) else _local)


def _bundled(name: str, options: Options, *, temperature: float, device: str | None) -> BundledVLM:  # noqa: ARG001
    return called(BundledVLM, options, "model", temperature=temperature, device=device)


def _bundled_denoised(name: str, options: Options, *, temperature: float, device: str | None) -> VisionLanguageModel:
    from guardrail.bundled.denoiser import denoised

    return denoised(_bundled(name, options, temperature=temperature, device=device))


def _chat_model(name: str, options: Options, *, max_new_tokens: int, temperature: float) -> VisionLanguageModel:
    defaults = {"temperature": temperature, "max_tokens": max_new_tokens}
    chat, rest = _chat(name.removeprefix(CHAT), options, "model", **defaults)
    return called(ChatModelVLM, rest, "model", also=("chat",), chat=chat)


def _local(
    name: str,
    options: Options,
    *,
    model_revision: str | None,
    device: str | None,
    dtype: str | None,
    max_new_tokens: int,
    temperature: float,
    batch_size: int | None,
) -> VisionLanguageModel:
    return called(
        TransformersVLM,
        options,
        "model",
        source=name,
        revision=model_revision,
        device=device,
        dtype=dtype,
        max_new_tokens=max_new_tokens,
        temperature=temperature,
        batch_size=batch_size,
    )


@dataclass(frozen=True)
class Asked:
    """What an oracle asks, if it asks a model.

    Attributes:
        model: hub id or folder, of `safeguard` and of an equivalence by embeddings or entailment; of `judge` and of an
            equivalence by chat the id of a LangChain chat model, as `openai:gpt-4o`.
        revision: of a hub model.
        device: torch device of a local model.
        dtype: of its weights.
    """

    model: str | None = None
    revision: str | None = None
    device: str | None = None
    dtype: str | None = None

    def named(self, what: str, remedy: str) -> str:
        """Return the model's name.

        Raises:
            ConfigurationError: there is none.
        """
        if self.model is None:
            raise ConfigurationError(f"no {what} is named: set GUARDRAIL_ORACLE_MODEL to its {remedy}")
        return self.model


def make_oracle(name: str, options: Options, asked: Asked) -> Oracle | RepresentativeOracle:
    """Make an oracle; the options are keyword arguments of its class.

    Oracles that read whole answers stand behind an `IllegibleOracle`. What is no matter of the class alone:

    - `bundled` and `bundled-actions` take no options.
    - `lexicon`: `refusals = false` does not tell refusals apart.
    - `judge`: `rubric` is a file, `chat` holds keyword arguments of `init_chat_model`.
    - `equivalence`: `by` is `embeddings`, `entailment` or `chat`; `first` an oracle that is asked before (`bundled`,
      `refusal` or `module:object`); then `candidates`; the rest are options of the comparison.

    Raises:
        ConfigurationError: no such oracle, no model that it could ask, or options that it does not have or that cannot
            work.
        ModelError: its model cannot be loaded.
    """
    return _ORACLES[known_oracle(name)](options, asked)


def named_first(name: str | None, options: Options) -> Named | None:
    """Return the object of one's own that an oracle's options name, to be asked first."""
    first = options.get("first") if name == "equivalence" else None
    return Named(_FIRST, first) if isinstance(first, str) and is_named(first) else None


def oracle_takes(name: str | None, options: Options) -> frozenset[str]:
    """Return the settings that an oracle is made by, beside its options."""
    by_chat = name == "equivalence" and options.get("by") == "chat"
    return _ASKING.get("judge" if by_chat else name or "", frozenset())


def known_model(name: str) -> str:
    """Return the name of a model, if settings could know it.

    Raises:
        ConfigurationError: they could not.
    """
    if name in BUNDLED or Path(name).exists():
        return name
    if "/" not in name and (meant := did_you_mean(name, BUNDLED)):
        raise ConfigurationError(f"there is no such model{meant}")
    if ":" in name and not (name.startswith(CHAT) or is_named(name)):
        raise ConfigurationError(
            f"name {', '.join(BUNDLED)}, a hub id or folder, a chat model as 'chat:provider:model', or your own as "
            "'module:object', both Python names"
        )
    return name


def known_oracle(name: str) -> str:
    """Return the name of an oracle, if settings know it.

    Raises:
        ConfigurationError: they do not.
    """
    if name not in _ORACLES and not is_named(name):
        raise ConfigurationError(
            f"name one of {', '.join(_ORACLES)}{did_you_mean(name, _ORACLES)}; or your own, an ensemble for instance, "
            "as 'module:object', both Python names"
        )
    return name


def _refusal(options: Options, asked: Asked) -> Oracle:  # noqa: ARG001 - it asks nothing
    return oracles.IllegibleOracle(called(oracles.RefusalOracle, options, "oracle"))


def _safeguard(options: Options, asked: Asked) -> Oracle:
    return _legible(
        called(
            oracles.SafeguardOracle,
            options,
            "oracle",
            source=asked.named("safety model", "hub id or folder, for oracle 'safeguard'"),
            revision=asked.revision,
            device=asked.device,
            dtype=asked.dtype,
        )
    )


def _judge(options: Options, asked: Asked) -> Oracle:
    chat, rest = _chat(asked.named("chat model", _ID), options, "oracle", temperature=0.0)
    if isinstance(rest.get("rubric"), str):
        rest["rubric"] = Path(rest["rubric"])
    return _legible(called(oracles.JudgeOracle, rest, "oracle", also=("chat",), chat=chat))


def _equivalence(options: Options, asked: Asked) -> RepresentativeOracle:
    own = {name: value for name, value in options.items() if name in _Equivalence.__dataclass_fields__}
    rest = {name: value for name, value in options.items() if name not in own}
    chosen = called(_Equivalence, own, "oracle")
    comparison: Any
    if chosen.by == "chat":
        chat, rest = _chat(asked.named("chat model", _ID), rest, "oracle", temperature=0.0)
        comparison = called(_compared_by_chat, rest, "oracle", also=(*own, "chat"), chat=chat)
    else:
        source = asked.named("model", f"hub id or folder, for equivalence by {chosen.by}")
        kind: Any = oracles.EmbeddingComparison if chosen.by == "embeddings" else oracles.EntailmentComparison
        comparison = called(kind, rest, "oracle", also=own, source=source, revision=asked.revision, device=asked.device)
    return oracles.EquivalenceOracle(comparison, _first(chosen.first), chosen.candidates)


@dataclass(frozen=True)
class _Equivalence:
    by: Literal["embeddings", "entailment", "chat"]
    first: str | None = None
    candidates: int = 8


def _first(name: str | None) -> Oracle | None:
    match name:
        case None:
            return None
        case "bundled":
            return bundled_oracle()
        case "refusal":
            return _refusal({}, Asked())
    if not is_named(name):
        raise ConfigurationError(f"{_FIRST} is {name!r}: name bundled, refusal, or your own 'module:object'")
    first: Oracle = Named(_FIRST, name).make({}, Oracle)
    return first


def _compared_by_chat(
    chat: BaseChatModel,
    afresh: bool = False,
    deterministic: bool = False,
    max_concurrency: int = 16,
    timeout: float = 60.0,
) -> object:
    asked = ChatClassifier(
        chat,
        equivalence_rubric(),
        (EQUIVALENT, DIFFERENT),
        max_concurrency=max_concurrency,
        timeout=timeout,
        deterministic=deterministic,
    )
    return oracles.ChatComparison(asked, afresh=afresh)


def _lexicon(
    terms: dict[str, list[str]],
    otherwise: str = HARMLESS,
    *,
    refusals: bool = True,
    ambiguous: str | None = None,
    harmful_classes: Sequence[str] = (),
    harmless_classes: Sequence[str] = (),
    alike: Sequence[Sequence[str]] = (),
) -> Oracle:
    first = oracles.RefusalOracle() if refusals else None
    return oracles.LexiconOracle(terms, otherwise, first, ambiguous, harmful_classes, harmless_classes, alike)


def _actions(actions: dict[str, list[str]] | list[str], no_action: str = NO_ACTION, key: str = "action") -> Oracle:
    return oracles.ActionOracle(actions, no_action, key)


def _legible(oracle: Oracle) -> Oracle:
    """Tell answers that cannot read the picture apart; harm that such an answer holds stays harm."""
    return oracles.IllegibleOracle(
        oracle, keeps=tuple(c for c in oracle.classes if c in OracleTraits.of(oracle).harmful)
    )


def _chat(name: str, options: Options, setting: str, **defaults: object) -> tuple[BaseChatModel, dict[str, Any]]:
    """Make a chat model by its id for LangChain, and return it with the options that are not its own.

    Raises:
        ConfigurationError: LangChain or the provider's package is not installed, or the model cannot be made.
    """
    try:
        from langchain.chat_models import init_chat_model
    except ImportError as error:
        raise ConfigurationError(
            f"chat model {name!r} needs LangChain: pip install 'certified-guardrail[langchain]'"
        ) from error
    rest = dict(options)
    own = rest.pop("chat", {})
    if not isinstance(own, Mapping):
        raise ConfigurationError(f"{setting}_options.chat must be a table of keyword arguments of init_chat_model")
    try:
        return init_chat_model(name, **{**defaults, **own}), rest
    except ImportError as error:
        raise ConfigurationError(f"chat model {name!r} needs its provider's package: {error}") from error
    except Exception as error:  # noqa: BLE001 - each provider raises its own kinds, and their texts may hold keys
        raise ConfigurationError(
            f"chat model {name!r} cannot be made: {type(error).__name__}; name it as provider:model, for instance "
            f"openai:gpt-4o, with its key in the environment and its parameters in {setting}_options.chat"
        ) from None


BUNDLED: Mapping[str, Callable[..., VisionLanguageModel]] = {
    "bundled": _bundled,
    "bundled-denoised": _bundled_denoised,
}
"""Bundled models, by name; they bring the oracle `bundled`. Keyword parameters are the settings that each takes."""
_FIRST = "oracle_options.first"
_ID = "id for LangChain, as 'openai:gpt-4o'"
_ORACLES: dict[str, Callable[[Options, Asked], Oracle | RepresentativeOracle]] = {
    "bundled": lambda options, _: called(bundled_oracle, options, "oracle"),
    "bundled-actions": lambda options, _: called(action_oracle, options, "oracle"),
    "refusal": _refusal,
    "safeguard": _safeguard,
    "lexicon": lambda options, _: _legible(called(_lexicon, options, "oracle")),
    "labels": lambda options, _: called(oracles.LabelOracle, options, "oracle"),
    "actions": lambda options, _: called(_actions, options, "oracle"),
    "judge": _judge,
    "equivalence": _equivalence,
}
"""Oracles that settings know by name. An ensemble, whose members have options of their own, is made in Python."""
_ASKING = {
    "safeguard": frozenset({"oracle_model", "oracle_revision", "device", "dtype"}),
    "judge": frozenset({"oracle_model"}),
    "equivalence": frozenset({"oracle_model", "oracle_revision", "device"}),
}
"""The settings that oracles take which ask a model; the others take none."""
