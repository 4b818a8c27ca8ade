"""Objects of one's own that settings name as `module:object`, and how options reach what settings make."""

from __future__ import annotations

import importlib.util
import inspect
import pkgutil
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from pydantic import ConfigDict, ValidationError, create_model
from pydantic_core import ErrorDetails

from guardrail.errors import ConfigurationError, GuardrailError, raised_at

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., object])

_MARK = "__guardrail_factory__"
_FOLDERS: set[Path] = set()
"""Folders that settings named."""
_NAMED = re.compile(r"(?!chat:)[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*")


def factory(function: F) -> F:
    """Mark a function that settings may call to make a model, an oracle or a store of one's own.

    With `oracle = "my_app.guard:oracle"` in the settings, the marked function `oracle` of the module `my_app.guard` is
    called, with the table `oracle_options` as its keyword arguments. A function without the mark is not called.

    Raises:
        ConfigurationError: it is a class, or no function, or one that has to be awaited.
    """
    if not inspect.isroutine(function) or inspect.iscoroutinefunction(function):
        raise ConfigurationError(f"a factory is a plain function that returns what it made, got {function!r:.80}")
    setattr(function, _MARK, function)  # itself: functools.wraps copies marks onto what nobody has marked
    return function


def is_named(name: str | None) -> bool:
    """Whether a setting names an object, as `module:object`; `chat:…` is a chat model."""
    return name is not None and _NAMED.fullmatch(name) is not None


def put_on_path(folder: Path) -> None:
    """Let modules be imported from a folder, before all others."""
    _FOLDERS.add(folder)
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))


@dataclass(frozen=True)
class Imported:
    """An object that settings name, and where its module was found."""

    name: str
    """`module:object`."""
    file: Path | None
    """None: a module that is built into Python."""


@dataclass(frozen=True)
class Named:
    """An object by its name in the settings.

    Args:
        setting: which setting names it.
        name: `module:object`.
    """

    setting: str
    name: str

    def imported(self) -> Imported:
        """Import the module, and say from where.

        Raises:
            ConfigurationError: there is no such module, or it fails.
        """
        return Imported(self.name, _file(self._module()))

    @property
    def makes(self) -> bool:
        """Whether it is a function, which makes an object for whoever asks; else the object belongs to its module.

        Raises:
            ConfigurationError: there is no such module, or it fails.
        """
        with self._explained():
            return inspect.isroutine(getattr(self._module(), self._attribute, None))

    def make(self, options: Mapping[str, object], *kinds: type) -> Any:  # noqa: ANN401 - one of the kinds
        """Return the object, or what it makes of the options if it is a factory.

        Args:
            options: keyword arguments for a factory.
            kinds: protocols of which it must fulfil one.

        Raises:
            ConfigurationError: it cannot be found, is a class or a function that is not marked, does not take these
                options, fails, or does not fulfil the protocol.
        """
        with self._explained():
            return self._made(self._module(), options, kinds)

    @property
    def _attribute(self) -> str:
        return self.name.partition(":")[2]

    def _made(self, module: ModuleType, options: Mapping[str, object], kinds: tuple[type, ...]) -> Any:  # noqa: ANN401
        name, where = self._attribute, str(_file(module) or module.__name__)
        if not hasattr(module, name):
            public = [one for one in vars(module) if not one.startswith("_")]
            near = get_close_matches(name, public, 3) or public[:10]
            raise self._refusal(f"{where} has no {name!r}: it has {', '.join(near) or 'nothing'}")
        found = getattr(module, name)
        if inspect.isclass(found):
            raise self._refusal(f"in {where} it is a class: name an instance, or a function marked @guardrail.factory")
        if inspect.isroutine(found):
            if getattr(found, _MARK, None) is not getattr(found, "__func__", found):
                raise self._refusal(f"in {where} it is a function without a mark: write @guardrail.factory above it")
            found = called(found, options, self.setting, typed=False)
        elif options:
            raise self._refusal(f"{self.setting}_options are for a factory, and it is a {type(found).__name__}")
        lacking = {kind.__name__: [one for one in _members(kind) if not hasattr(found, one)] for kind in kinds}
        protocol, least = min(lacking.items(), key=lambda pair: len(pair[1]))
        if least:
            raise self._refusal(f"a {type(found).__name__} is no {protocol}: it lacks {', '.join(least)}")
        return found

    def _module(self) -> ModuleType:
        name = self.name.partition(":")[0]
        if _in_working_directory(top := name.partition(".")[0]):
            raise self._refusal(
                f"module {top} is in the working directory, which is not searched: set app_dir (GUARDRAIL_APP_DIR) to "
                f"{Path.cwd()}, or name that in PYTHONPATH"
            )
        try:
            return importlib.import_module(name)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - one's own code raises anything
            if isinstance(error, ModuleNotFoundError) and f"{name}.".startswith(f"{error.name}."):
                raise self._refusal(_not_found(str(error.name))) from None
            harmless = isinstance(error, ImportError | SyntaxError | NameError | AttributeError)  # holds no secret
            said = f"{type(error).__name__}: {error}" if harmless else type(error).__name__
            raise self._refusal(f"module {name} fails when it is imported, at {raised_at(error)}: {said}") from None

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Say where one's own code failed, and nothing of the error beside: its text may hold secrets."""
        try:
            yield
        except GuardrailError:
            raise
        except (Exception, SystemExit) as error:  # noqa: BLE001 - one's own code raises anything
            raise self._refusal(f"it failed: {type(error).__name__} at {raised_at(error)}") from None

    def _refusal(self, why: str) -> ConfigurationError:
        return ConfigurationError(f"{self.setting} = {self.name!r} cannot be used: {why}")


def called(
    make: Callable[..., T],
    options: Mapping[str, object],
    setting: str,
    *,
    also: Iterable[str] = (),
    typed: bool = True,
    **given: object,
) -> T:
    """Call a class or function with options that stand in settings, once they are seen to fit its parameters.

    Args:
        make: what is called.
        options: keyword arguments; lists are made tuples and texts numbers where its annotations say so.
        setting: whose options they are, for errors.
        also: names of options that were read elsewhere.
        typed: whether values are checked by the annotations; else by name only.
        given: arguments that no option may change.

    Raises:
        ConfigurationError: an option that it does not have, one that is missing, or a value of the wrong kind.
    """
    taken = [p for p in inspect.signature(make).parameters.values() if p.name not in given]
    named = [p for p in taken if p.kind not in {p.VAR_KEYWORD, p.VAR_POSITIONAL}]
    fields: dict[str, Any] = {
        f"option_{p.name}": (p.annotation if typed else Any, ... if p.default is p.empty else None) for p in named
    }
    config = ConfigDict(extra="forbid" if len(named) == len(taken) else "allow", arbitrary_types_allowed=True)
    shape = create_model("Options", __config__=config, __module__=make.__module__, **fields)
    try:
        read = shape.model_validate({f"option_{name}": value for name, value in options.items()})
    except ValidationError as error:
        known = [*(p.name for p in named), *also]
        wrong = "; ".join(_complaint(one, known, given) for one in error.errors())
        raise ConfigurationError(f"{setting}_options cannot work: {wrong}") from None
    return make(**given, **{name: getattr(read, f"option_{name}") for name in options})


def _complaint(wrong: ErrorDetails, known: list[str], given: Mapping[str, object]) -> str:
    name = ".".join(map(str, wrong["loc"])).removeprefix("option_")
    if wrong["type"] == "missing":
        return f"{name} is missing"
    if wrong["type"] != "extra_forbidden":
        return f"{name}: {wrong['msg'].removeprefix('Value error, ')}, got a {type(wrong['input']).__name__}"
    if name in given:
        return f"{name} is set beside the options, not among them"
    near = get_close_matches(name, known, 1)
    meant = f" (did you mean {near[0]}?)" if near else f": it takes {', '.join(known) or 'none'}"
    return f"there is no {name!r}{meant}"


def _in_working_directory(module: str) -> bool:
    """Whether a module would be found in the working directory only because Python puts that on its path by itself.

    It does so for `python -c` and `python -m`, once and first; any other entry for it was somebody's wish.
    """
    main = sys.modules["__main__"]
    by_itself = not sys.flags.safe_path and (main.__spec__ is not None or not hasattr(main, "__file__"))
    if module in sys.modules or not by_itself:
        return False
    here = Path.cwd().resolve()
    if here in {folder.resolve() for folder in _FOLDERS} or sum(Path(one).resolve() == here for one in sys.path) > 1:
        return False
    spec = importlib.util.find_spec(module)
    folders = () if spec is None else spec.submodule_search_locations or (spec.origin or "",)
    return any(Path(one).resolve().parent == here for one in folders)


def _not_found(module: str) -> str:
    """Say that there is no such module, where it was looked for, and what was meant."""
    package, _, name = module.rpartition(".")
    if package:
        found = sys.modules[package]
        folders = list(getattr(found, "__path__", ()))
        where = ", ".join(folders) if folders else f"{_file(found)}, which is no package"
    else:
        folders = [folder for folder in sys.path if folder]
        where = f"{', '.join(folders)}; set app_dir (GUARDRAIL_APP_DIR) to the folder that holds it, or install it"
    near = get_close_matches(name, [one.name for one in pkgutil.iter_modules(folders)], 1)
    return f"there is no module {module}" + (f" (did you mean {near[0]}?)" if near else "") + f": looked in {where}"


def _file(module: ModuleType) -> Path | None:
    """Return the file, or the folder of a package without one; None for what is built in."""
    file = getattr(module, "__file__", None) or next(iter(getattr(module, "__path__", ())), None)
    return None if file is None else Path(file)


def _members(kind: type) -> list[str]:
    """Return the names that a protocol asks for."""
    return [name for name in dir(kind) if not name.startswith("_")]
