"""Settings: how the command line, workers and gateways get a guard. Keys and weights are never pickled."""

from __future__ import annotations

import json
import logging
import os
import re
import tomllib
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypedDict

from pydantic import AfterValidator, BaseModel, Field, Secret, SecretBytes, SecretStr, ValidationError, field_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict, SettingsError

from guardrail.audit import AuditLog, Overrides
from guardrail.budget import DrawBudget
from guardrail.certify.options import Smoothing
from guardrail.errors import ConfigurationError, did_you_mean, plainly
from guardrail.factories.house import (
    BUNDLED,
    CHAT,
    Asked,
    known_model,
    known_oracle,
    make_model,
    make_oracle,
    model_takes,
    named_first,
    oracle_takes,
)
from guardrail.factories.own import Imported, Named, called, is_named, put_on_path
from guardrail.measuring.calibration import Calibration
from guardrail.measuring.recall import EvaluationRecord
from guardrail.models.base import VisionLanguageModel
from guardrail.near import NearHits, NearIndex
from guardrail.oracles.base import Oracle, RepresentativeOracle
from guardrail.policy import Policy
from guardrail.stores import CertificateStore, MemoryStore, RedisStore, Signer
from guardrail.stores.base import CERTIFICATE_TTL, REDIS_TIMEOUT, SharedStore, SignedStore

logger = logging.getLogger(__name__)

_PARTS: dict[str, type[BaseModel]] = {"smoothing": Smoothing, "policy": Policy}
"""Settings that have fields of their own."""
_OF_MODELS = ("model_revision", "device", "dtype", "max_new_tokens", "temperature", "batch_size")
"""Settings by which models are made; not every model takes them all."""


def _known_store(given: str) -> str:
    if given not in {"memory", "redis"} and not is_named(given):
        meant = did_you_mean(given, ("memory", "redis"))
        raise ValueError(f"name memory or redis{meant}, or your own as 'module:object', both Python names")
    return given


Options = Annotated[Secret[dict[str, Any]], NoDecode]
"""A table of keyword arguments; a variable holds it as JSON. It may hold passwords."""


class Parts(TypedDict):
    """What a guard is made of; see `guardrail.Guard`."""

    model: list[VisionLanguageModel]
    oracle: Oracle | RepresentativeOracle
    smoothing: Smoothing
    policy: Policy
    store: CertificateStore
    budget: DrawBudget | None
    near: NearHits | None
    audit: AuditLog | None
    overrides: Overrides | None


class Settings(BaseSettings):
    """A guard in words. Each field may stand in a TOML file or in a variable; variables win.

    Nested fields take two underscores: `GUARDRAIL_SMOOTHING__SIGMA=0.25`, `GUARDRAIL_POLICY__MODE=monitor`.

    Model, oracle and store may be one's own, named as `module:object`: an object that fulfils the protocol, or a
    function marked with `guardrail.factory` that makes one. Such a name runs code: it belongs in the file of settings
    or the process's own environment, and must never come from a request or from data.
    """

    model_config = SettingsConfigDict(
        env_prefix="GUARDRAIL_", env_nested_delimiter="__", extra="forbid", frozen=True, hide_input_in_errors=True
    )

    app_dir: Path | None = None
    """Folder from which modules of one's own are imported, before all others; not the working directory by itself."""
    model: Annotated[str, AfterValidator(known_model)] | None = None
    """`bundled`; `bundled-denoised`, behind the bundled denoiser; a hub id, or the folder of a model in Hugging Face
    format; `chat:` and the id of a LangChain chat model, as `chat:openai:gpt-4o`; or `module:object`. There is no
    default: a forgotten model must not guard production."""
    model_options: Options = Secret({})
    """Keyword arguments of the model's class, or of one's own factory: see `named.make_model`."""
    model_revision: str | None = None
    device: str | None = None
    """Torch device; None: a replica of the model on each GPU, the CPU where there is none."""
    dtype: str | None = None
    max_new_tokens: int = Field(default=32, ge=1)
    temperature: float = Field(default=0.0, ge=0.0)
    batch_size: int | None = Field(default=None, ge=1)
    oracle: Annotated[str, AfterValidator(known_oracle)] | None = None
    """`bundled` and `bundled-actions` know the bundled model's answers only; `refusal` calls every answer that does
    not refuse harmful (for red-team prompts); `safeguard` asks a safety model of Llama Guard's kind; `lexicon`,
    `labels`, `actions`, `judge` and `equivalence` take options; or `module:object`."""
    oracle_options: Options = Secret({})
    """Keyword arguments of the oracle's class, or of one's own factory: see `named.make_oracle`."""
    oracle_model: str | None = None
    """Hub id or folder of the model that the oracle asks, which runs where the model does, by `device` and `dtype`; or
    the id of a LangChain chat model."""
    oracle_revision: str | None = None
    evaluation: Path | None = None
    """What `guardrail evaluate` wrote about this model and oracle: certificates then say the measured recall."""
    oracle_error: Path | None = None
    """What `guardrail oracle evaluate` wrote about this oracle: certificates then speak of what the answers are."""
    smoothing: Smoothing = Smoothing()
    policy: Policy = Policy()
    key: SecretStr | None = None
    """Secret of the noise: at least 16 characters, the same for all replicas that share a store."""
    store: Annotated[str, AfterValidator(_known_store)] | None = None
    """`memory`, `redis` or `module:object`; None: `redis` where there is a URL of it, else `memory`."""
    store_options: Options = Secret({})
    """Keyword arguments of the store's class, or of one's own factory."""
    redis_url: SecretStr | None = None
    """Where Redis is. `RedisConnection` says which URLs it may be."""
    redis_timeout: float = Field(default=REDIS_TIMEOUT, gt=0.0)
    """Seconds to wait for a connection to Redis, and for an answer; a far one may take longer."""
    signing_keys: Annotated[tuple[SecretStr, ...], NoDecode] = ()
    """Secrets that authenticate what is kept in Redis, with commas between them in a variable: the first signs, all are
    accepted. None at all: `key` serves."""
    near_refuse_within: float | None = Field(default=None, ge=0.0, allow_inf_nan=False)
    """Turns near hits on: stored certificates answer requests whose images lie within their radius, and abstentions and
    harmful verdicts those within this L2 distance. None: off."""
    near_memory: int = Field(default=512, ge=1)
    """Mebibytes of pixels that near hits may keep in each process."""
    draws_per_minute: int | None = Field(default=None, ge=1)
    """Draws that each client may cause in a minute, on all replicas that share a Redis; None: as many as it likes."""
    audit: SecretStr | None = None
    """Where decisions are recorded, and operators' overrides kept: the path of a SQLite file, or a database URL."""
    certificate_ttl: float = Field(default=CERTIFICATE_TTL, gt=0.0)

    @field_validator("model", "oracle_model")
    @classmethod
    def _from_home(cls, given: str | None) -> str | None:
        return str(Path(given).expanduser()) if given is not None and given.startswith("~") else given

    @field_validator("app_dir")
    @classmethod
    def _a_folder(cls, given: Path | None) -> Path | None:
        return None if given is None else _folder(given)

    @field_validator("model_options", "oracle_options", "store_options", mode="before")
    @classmethod
    def _a_table(cls, given: object) -> object:
        if isinstance(given, str):
            try:
                return json.loads(given)
            except ValueError:
                raise ValueError('options must be a table, or JSON in a variable: {"name": value}') from None
        return given

    @field_validator("signing_keys", mode="before")
    @classmethod
    def _several(cls, given: object) -> object:
        return [part.strip() for part in given.split(",")] if isinstance(given, str) else given

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Let variables win over the file, which arrives as arguments."""
        return env_settings, init_settings, file_secret_settings

    @classmethod
    def load(cls, path: str | Path | None = None, *, app_dir: str | Path | None = None) -> Self:
        """Read settings from a TOML file (`path`, else the one that `GUARDRAIL_CONFIG` names) and the environment.

        Args:
            path: of the file.
            app_dir: wins over the setting of this name.

        Raises:
            ConfigurationError: no such file, not TOML, an unknown setting, or a value that cannot work.
        """
        path = path or os.environ.get("GUARDRAIL_CONFIG")
        try:
            given = tomllib.loads(Path(path).read_text("utf-8")) if path else {}
            if odd := [name for name in given if name.startswith("_")]:
                raise ConfigurationError(f"{path} has settings {odd}: no name of a setting begins with an underscore")
            _refuse_unknown_variables(cls)
            settings = cls(**given)
            return settings if app_dir is None else settings.model_copy(update={"app_dir": _folder(Path(app_dir))})
        except SettingsError as error:
            raise ConfigurationError(_explain_variable(error)) from None
        except tomllib.TOMLDecodeError as error:
            raise ConfigurationError(f"{path} is not TOML: {error}") from error
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"cannot read settings from {path}: {plainly(error)}") from error
        except ValidationError as error:
            raise ConfigurationError(_explain(error)) from None

    def parts(self) -> Parts:
        """Make what a guard is made of: the keyword arguments of `Guard`.

        Raises:
            ConfigurationError: no model or no oracle is named, or they do not go together.
            ModelError: the model cannot be loaded.
        """
        store = self.make_store()
        if isinstance(store, SharedStore) and self.key is None and self.smoothing.key is None:
            logger.warning(
                "replicas share a store, and each makes up a noise key of its own: asking another replica is another "
                "chance. Set GUARDRAIL_KEY to one secret for all (openssl rand -hex 32)"
            )
        return Parts(
            model=self.make_replicas(),
            oracle=self.make_oracle(),
            smoothing=self.make_smoothing(),
            policy=self.policy,
            store=store,
            budget=self.make_budget(store),
            near=self.make_near(store),
            audit=(log := self.make_audit()),
            overrides=self.make_overrides(log),
        )

    def make_replicas(self) -> list[VisionLanguageModel]:
        """Load the model that is to be smoothed, once per GPU where `device` does not say which and it runs here."""
        if self.model is not None and (self.model.startswith(CHAT) or self._own("model")):
            return [self.make_model()]
        import torch

        devices = [f"cuda:{i}" for i in range(torch.cuda.device_count())] if self.device is None else []
        if len(devices) < 2:
            return [self.make_model()]
        return [self.model_copy(update={"device": device}).make_model() for device in devices]

    def make_model(self) -> VisionLanguageModel:
        """Load the model that is to be smoothed, on one device.

        Raises:
            ConfigurationError: none is named, or the name or its options cannot be used.
            ModelError: it cannot be loaded.
        """
        if self.model is None:
            raise ConfigurationError(
                "no model is named: set GUARDRAIL_MODEL to a hub id or folder (or to 'bundled' for demonstrations)"
            )
        options = self.model_options.get_secret_value()
        own = self._own("model")
        taken = set(oracle_takes(self._oracle, self.oracle_options.get_secret_value()))
        if own is None:
            taken |= model_takes(self.model)
        self._refuse_lost("model", self.model, *(name for name in _OF_MODELS if name not in taken))
        if own:
            model: VisionLanguageModel = own.make(options, VisionLanguageModel)
            return model
        return make_model(self.model, options, {name: getattr(self, name) for name in _OF_MODELS})

    @property
    def _oracle(self) -> str | None:
        """The oracle that is named, else the one that the model brings."""
        return self.oracle or ("bundled" if self.model in BUNDLED else None)

    def make_oracle(self) -> Oracle | RepresentativeOracle:
        """Make the oracle; the bundled model brings its own.

        Raises:
            ConfigurationError: none is named, or not the model that it asks, or its options cannot be used.
            ModelError: that model cannot be loaded.
        """
        name = self._oracle
        if name is None:
            raise ConfigurationError("no oracle is named: set GUARDRAIL_ORACLE, for instance to 'refusal'")
        options = self.oracle_options.get_secret_value()
        taken = oracle_takes(name, options)
        self._refuse_lost("oracle", name, *(one for one in ("oracle_model", "oracle_revision") if one not in taken))
        if own := self._own("oracle"):
            oracle: Oracle | RepresentativeOracle = own.make(options, Oracle, RepresentativeOracle)
            return oracle
        asked = Asked(self.oracle_model, self.oracle_revision, self.device, self.dtype)
        return make_oracle(name, options, asked)

    def make_measurable_oracle(self) -> Oracle:
        """Make the oracle for a measurement, which asks of each answer by itself what class it is of.

        Raises:
            ConfigurationError: as `make_oracle`; or the oracle finds its classes.
        """
        oracle = self.make_oracle()
        if not isinstance(oracle, Oracle):
            raise ConfigurationError(f"oracle {oracle.name} finds its classes, and cannot be measured: name another")
        return oracle

    def make_smoothing(self, **overrides: float | None) -> Smoothing:
        """Return the smoothing with the secret key and, where they are not None, other values for its fields.

        Raises:
            ConfigurationError: a value that cannot work.
        """
        given: dict[str, object] = {name: value for name, value in overrides.items() if value is not None}
        key = self.smoothing.key if self.key is None else self.key.get_secret_value().encode()
        if self.evaluation is not None:
            given["recall"] = EvaluationRecord.load(self.evaluation)
        if self.oracle_error is not None:
            if self.smoothing.oracle_error is not None:
                raise ConfigurationError("oracle_error and smoothing.oracle_error are both set: keep one of them")
            given["oracle_error"] = Calibration.load(self.oracle_error).error
        try:
            return Smoothing.model_validate({**self.smoothing.model_dump(), **given, "key": key})
        except ValidationError as error:
            raise ConfigurationError(_explain(error, Smoothing)) from None

    def make_store(self) -> CertificateStore:
        """Return the store that is named, else the Redis store where a URL is set, else one in memory.

        Raises:
            ConfigurationError: its name or its options cannot be used, or it does not go with the Redis URL.
        """
        name = self.store or ("memory" if self.redis_url is None else "redis")
        if (name == "redis") != (self.redis_url is not None):
            raise ConfigurationError(
                f"store is {name!r} and redis_url is {'not set' if self.redis_url is None else 'set'}: "
                "set store = 'redis' and redis_url, or neither"
            )
        options = self.store_options.get_secret_value()
        if own := self._own("store"):
            self._refuse_lost("store", name, "certificate_ttl", "redis_timeout")
            store: CertificateStore = own.make(options, CertificateStore)
            if not isinstance(store, SignedStore):
                self._refuse_lost("store", name, "signing_keys")
            elif signer := self.make_signer():
                store.sign_by(signer)
            return store
        if self.redis_url is None:
            self._refuse_lost("store", name, "redis_timeout", "signing_keys")
            return called(MemoryStore, options, "store", ttl=self.certificate_ttl)
        return called(
            RedisStore,
            options,
            "store",
            url=self.redis_url.get_secret_value(),
            signer=self.make_signer(),
            ttl=self.certificate_ttl,
            timeout=self.redis_timeout,
        )

    @property
    def imported(self) -> tuple[Imported, ...]:
        """Where the objects are imported from that settings name as `module:object`.

        Raises:
            ConfigurationError: there is no such module, or it fails.
        """
        first = named_first(self.oracle, self.oracle_options.get_secret_value())
        named = (self._own("model"), self._own("oracle"), first, self._own("store"))
        return tuple(own.imported() for own in named if own is not None)

    def owns(self, setting: Literal["model", "oracle", "store"]) -> bool:
        """Whether the part is made for each guard, which closes it; an object of one's own module outlives guards.

        Raises:
            ConfigurationError: there is no such module, or it fails.
        """
        own = self._own(setting)
        return own is None or own.makes

    def _own(self, setting: Literal["model", "oracle", "store"]) -> Named | None:
        """Return the object that a setting names as `module:object`; its folder, if any, is on the path then."""
        if self.app_dir is not None:
            put_on_path(self.app_dir)
        name: str | None = getattr(self, setting)
        if name is None or not is_named(name) or (setting == "model" and Path(name).exists()):
            return None
        return Named(setting, name)

    def _refuse_lost(self, setting: str, value: str, *names: str) -> None:
        """Raise for settings that are set and cannot reach the part that another one names."""
        if lost := [name for name in names if name in self.model_fields_set and getattr(self, name) not in {None, ()}]:
            raise ConfigurationError(
                f"{', '.join(lost)} cannot reach {setting} = {value!r}: leave it out, or put it into the table "
                f"{setting}_options if that takes it"
            )

    def make_budget(self, store: CertificateStore) -> DrawBudget | None:
        """Return the clients' budget, kept where the certificates are; None where it is not limited."""
        if self.draws_per_minute is None:
            return None
        return DrawBudget(self.draws_per_minute, store.buckets() if isinstance(store, SharedStore) else None)

    def make_near(self, store: CertificateStore) -> NearHits | None:
        """Return what finds near hits, shared where the certificates are; None where it is off."""
        if self.near_refuse_within is None:
            if "near_memory" in self.model_fields_set:
                raise ConfigurationError("near_memory does nothing without near_refuse_within: set that, or neither")
            return None
        points = store.points() if isinstance(store, SharedStore) else None
        return NearHits(self.near_refuse_within, NearIndex(max_bytes=self.near_memory * 2**20, shared=points))

    def make_audit(self) -> AuditLog | None:
        """Open the audit log; None where none is named."""
        return None if self.audit is None else AuditLog(self.audit.get_secret_value())

    def make_overrides(self, log: AuditLog | None = None) -> Overrides | None:
        """Open the operators' overrides, which stand with the audit log; they use its connections where it is open."""
        return None if self.audit is None else Overrides(log or self.audit.get_secret_value())

    def make_signer(self) -> Signer | None:
        """Return what signs entries: by the signing keys, else by the key of the noise; None where there is neither.

        Raises:
            ConfigurationError: a key is too short.
        """
        one: SecretStr | SecretBytes | None = self.key or self.smoothing.key
        keys = self.signing_keys or ((one,) if one else ())
        return Signer(*keys) if keys else None


def _folder(given: Path) -> Path:
    folder = given.expanduser().absolute()
    if not folder.is_dir():
        raise ConfigurationError(f"app_dir {str(given)!r} is no folder: name the one that holds your modules")
    return folder


def _refuse_unknown_variables(settings: type[Settings]) -> None:
    """Raise for a `GUARDRAIL_*` variable that sets nothing: a misspelt one would leave the guard at its default."""
    for variable in os.environ:
        name = variable.removeprefix("GUARDRAIL_")
        first, _, nested = name.lower().partition("__")
        if name != variable and (first not in {*settings.model_fields, "config"} or (nested and first not in _PARTS)):
            near = _nearest(name.lower().replace("__", "."))
            meant = near and f"did you mean GUARDRAIL_{near.upper().replace('.', '__')}?"
            known = ", ".join(sorted({"CONFIG", *map(str.upper, settings.model_fields)}))
            raise ConfigurationError(
                f"{variable} sets nothing: {meant or f'settings are {known}, nested ones with two underscores'}"
            )


def _explain_variable(error: SettingsError) -> str:
    """Say which variable holds no JSON, without its value unless that is no secret, and how it would."""
    found = re.search(r'field "(\w+)"', str(error))
    part = _PARTS.get(found[1]) if found else None
    prefix = f"GUARDRAIL_{found[1].upper() if found else '*'}"
    for variable, value in os.environ.items() if part else ():
        start, _, name = variable.upper().partition("__")
        field = part.model_fields.get(name.lower()) if part and start == prefix else None
        if field is not None and re.search(r"\b(tuple|dict)\[", str(field.annotation)) and not _is_json(value):
            form = _as_list(value) if "tuple[" in str(field.annotation) else '{"name": "value"}'
            return f"variable {variable} must be JSON: {form}, got {value!r:.80}"
    one_by_one = f", or be set one by one, as in {prefix}__FIELD=value" if part else ""
    return f"variable {prefix} must be JSON{one_by_one}"


def _as_list(text: str) -> str:
    """Write what was meant as a list, as JSON and TOML have it."""
    words = [word.strip(" '\"[]()") for word in text.split(",")]
    return json.dumps([int(word) if word.isdecimal() else word for word in words])


def _is_json(value: str) -> bool:
    try:
        json.loads(value)
    except ValueError:
        return False
    return True


def _explain(error: ValidationError, model: type[BaseModel] = Settings) -> str:
    """Say which settings of `model` are wrong and why, without the values of secrets and of unknown settings."""
    return f"settings cannot work: {'; '.join(_complaint(wrong, model) for wrong in error.errors())}"


def _complaint(wrong: ErrorDetails, model: type[BaseModel]) -> str:
    name = ".".join(map(str, wrong["loc"]))
    if wrong["type"] == "extra_forbidden":
        near = _nearest(name)
        return f"{name} is no setting" + (f" (did you mean {near}?)" if near else "")
    given, secret = wrong["input"], any("Secret" in str(_annotation(model, part)) for part in wrong["loc"])
    told = isinstance(given, str | int | float) and not secret and not wrong["type"].startswith(("model_", "dict_"))
    got = f", got {given!r:.80}" if told and ", got " not in wrong["msg"] else ""
    instead = f": write {_as_list(given)}" if told and isinstance(given, str) and wrong["type"] == "tuple_type" else ""
    return f"{name}: {wrong['msg'].removeprefix('Value error, ')}{got}{instead}"


def _annotation(model: type[BaseModel], name: object) -> object:
    fields = (part.model_fields.get(str(name)) for part in (model, *_PARTS.values()))
    return next((field.annotation for field in fields if field is not None), None)


def _nearest(name: str) -> str | None:
    """Return the setting that a misspelt or misplaced one was meant to be."""
    nested = [f"{part}.{field}" for part, model in _PARTS.items() for field in model.model_fields]
    misplaced = (setting for setting in nested if setting.partition(".")[2] == name)
    return next(misplaced, None) or next(iter(get_close_matches(name, [*Settings.model_fields, *nested], 1)), None)
