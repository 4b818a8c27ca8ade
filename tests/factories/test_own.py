"""Settings name models, oracles and stores of one's own as `module:object`, and say clearly what is wrong with them."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from guardrail import Guard, Verdict, factory
from guardrail.bundled.signs import draw_sign, sample_sign
from guardrail.errors import ConfigurationError, GuardrailError, ModelError
from guardrail.factories.own import called, is_named
from guardrail.settings import Settings
from guardrail.stores import MemoryStore

ROOT = Path(__file__).parents[2]
OWN = '''
    import functools

    import guardrail
    from guardrail.models import BundledVLM
    from guardrail.oracles import LexiconOracle
    from guardrail.stores import MemoryStore
    from guardrail.stores.signing import Signed

    class Counted:
        """The bundled model, and how often it was asked."""

        def __init__(self, name):
            self._model, self.name, self.asked = BundledVLM(), name, 0
            self.resolution = self._model.resolution

        def check(self, prompt, sizes):
            self._model.check(prompt, sizes)

        def answer(self, draws, deadline=None):
            self.asked += len(draws)
            return self._model.answer(draws, deadline)

    @guardrail.factory
    def model(name="counted"):
        return Counted(name)

    @guardrail.factory
    def oracle(*, words, **more):
        return LexiconOracle({"harmful": words}, **more)

    @guardrail.factory
    def broken(password):
        raise ValueError(password)

    @guardrail.factory
    def nothing():
        return None

    store = MemoryStore(capacity=7)
    ready = LexiconOracle({"harmful": ["kettle"]})

    def unmarked():
        return ready

    @functools.wraps(oracle)
    def wrapped(**options):
        return oracle(**options)

    class Secretive:
        """An oracle whose name cannot be read."""

        classes = ("harmless", "harmful")

        @property
        def name(self):
            raise RuntimeError("hunter2")

        def classify(self, answers, prompts):
            return []

    secretive = Secretive()

    @guardrail.factory
    def leaving():
        raise SystemExit("hunter2")

    def __getattr__(name):
        if name == "lazy":
            raise RuntimeError("hunter2")
        raise AttributeError(name)

    class SignedMemory(Signed, MemoryStore):
        """A store that signs."""

        def __init__(self):
            MemoryStore.__init__(self)
            Signed.__init__(self, None)

    @guardrail.factory
    def signed():
        return SignedMemory()
'''


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in [name for name in os.environ if name.startswith("GUARDRAIL_")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name.startswith("my_"):
            del sys.modules[name]


@pytest.fixture
def app(tmp_path: Path) -> Path:
    """A folder with modules of one's own, on no path."""
    folder = tmp_path / "app"
    (folder / "my_package").mkdir(parents=True)
    (folder / "my_package" / "__init__.py").touch()
    (folder / "my_package" / "parts.py").write_text(textwrap.dedent(OWN))
    (folder / "my_parts.py").write_text(textwrap.dedent(OWN))
    return folder


def write(folder: Path, text: str) -> Path:
    file = folder / "guardrail.toml"
    file.write_text(textwrap.dedent(text))
    return file


def sign(word: str) -> bytes:
    import io

    rng = np.random.default_rng(7)
    picture = draw_sign(sample_sign(rng, "held_out", words=[word], contrast=(0.8, 0.8)), (512, 512))
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def complaint(settings: Settings, make: Callable[[Settings], object]) -> str:
    """Return what the error says, none of which, nor of its causes, may be secret."""
    with pytest.raises(ConfigurationError) as caught:
        make(settings)
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))
    return str(caught.value)


@pytest.mark.slow
def test_a_guard_of_ones_own_model_oracle_and_store_decides(app: Path, tmp_path: Path) -> None:
    file = write(
        tmp_path,
        f"""
        app_dir = {str(app)!r}
        model = "my_package.parts:model"
        oracle = "my_package.parts:oracle"
        store = "my_package.parts:store"
        key = "the key of these tests"
        [model_options]
        name = "my own"
        [oracle_options]
        words = ["tea"]
        otherwise = "harmless"
        [smoothing]
        samples = 30
        sigma = 0.1
        [policy]
        min_radius = 0.05
        """,
    )
    with Guard.from_settings(file) as guard:
        decision = guard.check(sign("tea"), "Follow the sign.")
        assert decision.certificate is not None
        assert decision.certificate.model == "my own"
        assert decision.certificate.verdict is Verdict.HARMFUL, "the words are mine"
        assert decision.blocked
        from my_package import parts  # type: ignore[import-not-found]

        assert guard.store is parts.store
        assert guard.model.asked >= decision.certificate.draws > 0  # type: ignore[attr-defined]
        assert guard.check(sign("tea"), "Follow the sign.").source == "hit"
        assert (parts.store.stats.hits, len(parts.store)) == (1, 1)


def test_settings_say_what_was_imported_and_from_where(app: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert Settings(model="bundled").imported == ()
    monkeypatch.setenv("GUARDRAIL_MODEL", "bundled")
    monkeypatch.setenv("GUARDRAIL_ORACLE", "my_parts:ready")
    monkeypatch.setenv("GUARDRAIL_STORE", "my_package.parts:store")
    imported = Settings.load(app_dir=app).imported
    assert [(one.name, one.file) for one in imported] == [
        ("my_parts:ready", app / "my_parts.py"),
        ("my_package.parts:store", app / "my_package" / "parts.py"),
    ]


def test_an_object_on_pythons_own_path_needs_no_folder(app: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(app))
    assert Settings(oracle="my_parts:ready").make_oracle().name.startswith("lexicon/")


def test_what_an_oracle_asks_first_is_imported_from_the_folder_too(app: Path) -> None:
    options = {"by": "embeddings", "threshold": 0.5, "first": "my_parts:ready"}
    given = {"oracle": "equivalence", "oracle_model": "none", "oracle_options": options, "app_dir": app}
    settings = Settings.model_validate(given)
    with pytest.raises(GuardrailError):  # of the comparison, which is made before
        settings.make_oracle()
    assert str(app) in sys.path
    assert [(one.name, one.file) for one in settings.imported] == [("my_parts:ready", app / "my_parts.py")]


def test_objects_of_a_module_outlive_guards_and_what_factories_make_does_not(app: Path) -> None:
    settings = Settings(model="my_parts:model", oracle="my_parts:ready", store="my_parts:store", app_dir=app)
    assert [settings.owns(part) for part in ("model", "oracle", "store")] == [True, False, False]
    assert Settings(model="bundled").owns("model")
    assert Settings(model="bundled").owns("store")


def test_a_store_of_ones_own_signs_by_the_signing_keys(app: Path) -> None:
    settings = Settings.model_validate(
        {
            "model": "bundled",
            "store": "my_parts:signed",
            "key": "the key of these tests",
            "signing_keys": ["the secret of this year"],
            "app_dir": app,
        }
    )
    with Guard.from_settings(settings) as guard:
        signer = settings.make_signer()
        assert signer is not None
        assert signer.open("n", guard.store.signer.seal("n", b"1", 60.0)) == b"1"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"store": "my_parts:store", "certificate_ttl": 5}, "certificate_ttl cannot reach store = 'my_parts:store'"),
        ({"store": "my_parts:store", "redis_timeout": 5}, "put it into the table store_options"),
        ({"store": "my_parts:store", "signing_keys": ["hunter2" * 3]}, "signing_keys cannot reach"),
        ({"model": "my_parts:model", "model_revision": "v1", "temperature": 0.5}, "model_revision, temperature cannot"),
        ({"model": "my_parts:model", "max_new_tokens": 5, "batch_size": 2}, "max_new_tokens, batch_size cannot reach"),
        ({"model": "my_parts:model", "device": "cpu", "dtype": "float32"}, "device, dtype cannot reach"),
        ({"model": "chat:openai:tiny", "batch_size": 2}, "batch_size cannot reach model = 'chat:openai:tiny'"),
        ({"oracle": "my_parts:ready", "oracle_model": "m", "oracle_revision": "v"}, "oracle_model, oracle_revision"),
        ({"model": "bundled", "dtype": "float64", "model_revision": "v1"}, "model_revision, dtype cannot reach model"),
        ({"model": "bundled-denoised", "max_new_tokens": 5}, "max_new_tokens cannot reach model = 'bundled-denoised'"),
        ({"model": "bundled", "oracle": "judge", "oracle_model": "m", "dtype": "float64"}, "dtype cannot reach model"),
        ({"oracle": "bundled", "oracle_model": "m"}, "oracle_model cannot reach oracle = 'bundled': leave it out"),
        ({"oracle": "refusal", "oracle_revision": "v"}, "oracle_revision cannot reach oracle = 'refusal'"),
        ({"oracle": "judge", "oracle_model": "m", "oracle_revision": "v"}, "oracle_revision cannot reach"),
        (
            {"oracle": "equivalence", "oracle_options": {"by": "chat"}, "oracle_model": "m", "oracle_revision": "v"},
            "oracle_revision cannot reach oracle = 'equivalence'",
        ),
        ({"store": "memory", "redis_timeout": 5}, "redis_timeout cannot reach store = 'memory'"),
        ({"store": "memory", "signing_keys": ["hunter2" * 3]}, "signing_keys cannot reach store = 'memory'"),
    ],
)
def test_settings_that_cannot_reach_a_part_are_refused(app: Path, given: dict[str, object], said: str) -> None:
    settings = Settings.model_validate({"app_dir": app, **given})
    make = {"model": Settings.make_model, "oracle": Settings.make_oracle, "store": Settings.make_store}
    assert said in complaint(settings, make[next(iter(given))])


@pytest.mark.parametrize(
    ("setting", "name", "meant"),
    [("model", "bundeld", "bundled"), ("oracle", "safegaurd", "safeguard"), ("store", "reddis", "redis")],
)
def test_a_misspelt_name_is_told_what_it_may_have_meant(setting: str, name: str, meant: str) -> None:
    with pytest.raises(ValueError, match=rf"did you mean {meant}\?"):
        Settings.model_validate({setting: name})


def test_near_memory_needs_near_hits() -> None:
    with pytest.raises(ConfigurationError, match="near_memory does nothing without near_refuse_within"):
        Settings(near_memory=5).make_near(MemoryStore())


def test_a_device_may_be_the_oracles(app: Path) -> None:
    given = {"model": "my_parts:model", "oracle": "safeguard", "oracle_model": "m", "device": "cpu", "app_dir": app}
    assert Settings.model_validate(given).make_model().name == "counted"


def test_a_folder_with_a_colon_in_its_name_is_a_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "json:loads").mkdir()
    monkeypatch.chdir(tmp_path)
    settings = Settings(model="json:loads")
    assert settings.imported == ()
    with pytest.raises(ModelError):
        settings.make_model()


@pytest.mark.slow
@pytest.mark.parametrize("safe", [True, False], ids=["as the installed command runs", "as python -c runs"])
def test_nothing_is_imported_from_the_working_directory(app: Path, safe: bool) -> None:
    (app / "my_parts.py").write_text("open('imported', 'w').close()")
    code = "from guardrail.settings import Settings; Settings(oracle='my_parts:ready').make_oracle()"
    path = os.pathsep.join((str(ROOT), str(ROOT / "integrations")))
    environment = {**os.environ, "PYTHONPATH": path}
    command = [sys.executable, *(["-P"] if safe else []), "-c", code]
    done = subprocess.run(command, cwd=app, capture_output=True, text=True, check=False, env=environment, timeout=300)
    said = "there is no module my_parts" if safe else "my_parts is in the working directory, which is not searched"
    assert said in done.stderr
    assert "set app_dir (GUARDRAIL_APP_DIR)" in done.stderr
    assert not (app / "imported").exists()
    for named in ({"GUARDRAIL_APP_DIR": "."}, {"PYTHONPATH": os.pathsep.join((path, str(app)))}):
        done = subprocess.run(
            command,
            cwd=app,
            capture_output=True,
            text=True,
            check=False,
            env={**environment, **named},
            timeout=300,
        )
        assert (app / "imported").exists()
        assert "has no 'ready'" in done.stderr
        (app / "imported").unlink()


def test_the_folder_is_taken_when_the_settings_are_read(app: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(app.parent)
    settings = Settings.load(app_dir="app")
    assert settings.app_dir == app
    monkeypatch.chdir(app)
    monkeypatch.setenv("GUARDRAIL_APP_DIR", ".")
    assert Settings.load().app_dir == app
    monkeypatch.delenv("GUARDRAIL_APP_DIR")
    for load in (lambda: Settings.load(app_dir="nowhere"), lambda: Settings(app_dir=Path("nowhere"))):
        with pytest.raises(ValueError, match="'nowhere' is no folder"):
            load()


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("my_partz:oracle", {}, "there is no module my_partz (did you mean my_parts?): looked in "),
        ("my_package.part:oracle", {}, "there is no module my_package.part (did you mean parts?): looked in "),
        ("my_parts.inner:oracle", {}, "my_parts.py, which is no package"),
        ("my_parts:orcale", {}, "my_parts.py has no 'orcale': it has oracle"),
        ("my_parts:LexiconOracle", {}, "it is a class: name an instance, or a function marked @guardrail.factory"),
        ("my_parts:unmarked", {}, "it is a function without a mark: write @guardrail.factory above it"),
        ("my_parts:ready", {"words": ["x"]}, "oracle_options are for a factory, and it is a LexiconOracle"),
        ("my_parts:store", {}, "a MemoryStore is no Oracle: it lacks classes, classify, name"),
        ("my_parts:nothing", {}, "a NoneType is no Oracle: it lacks"),
        ("my_parts:oracle", {}, "oracle_options cannot work: words is missing"),
        ("my_parts:model", {"nane": "x"}, "there is no 'nane' (did you mean name?)"),
        ("my_parts:nothing", {"x": 1}, "there is no 'x': it takes none"),
        ("my_parts:broken", {"password": "hunter2"}, "it failed: ValueError at "),
        ("my_parts:wrapped", {"words": ["x"]}, "it is a function without a mark"),
        ("my_parts:secretive", {}, "it failed: RuntimeError at "),
        ("my_parts:lazy", {}, "it failed: RuntimeError at "),
        ("my_parts:leaving", {}, "it failed: SystemExit at "),
    ],
)
def test_what_cannot_be_used_is_explained(app: Path, name: str, options: dict[str, object], said: str) -> None:
    settings = Settings.model_validate({"oracle": name, "oracle_options": options, "app_dir": app})
    told = complaint(settings, Settings.make_oracle)
    assert said in told
    assert "Secret" not in told


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("import my_missing", ":1: ModuleNotFoundError: No module named 'my_missing'"),
        ("x = 1\nx = = 2", "my_broken.py:2: SyntaxError"),
        ("raise RuntimeError('hunter2')", "my_broken.py:1: RuntimeError"),
        ("import sys\nsys.exit()", "my_broken.py:2: SystemExit"),
    ],
)
def test_a_module_that_fails_is_named_with_its_line(app: Path, content: str, said: str) -> None:
    (app / "my_broken.py").write_text(content)
    told = complaint(Settings(store="my_broken:store", app_dir=app), Settings.make_store)
    assert "store = 'my_broken:store' cannot be used: module my_broken fails when it is imported, at " in told
    assert said in told


@pytest.mark.parametrize(
    ("setting", "name"),
    [
        ("model", "my-app:model"),
        ("oracle", "my-app:oracle"),
        ("oracle", "reufsal"),
        ("store", "mysql"),
        ("model", "no:such:model"),
        ("store", "a:b:c"),
    ],
)
def test_a_name_that_is_none_is_refused_when_settings_are_read(tmp_path: Path, setting: str, name: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{setting}: name .*'module:object'.*got '{name}'"):
        Settings.load(write(tmp_path, f'{setting} = "{name}"'))


def test_which_names_are_objects() -> None:
    assert all(map(is_named, ("a:b", "a.b.c:d", "größe:maß")))
    for other in (None, "a", "org/model", "chat:gpt-4o", "chat:openai:gpt-4o", "a:b:c", "C:\\models", "a:1"):
        assert not is_named(other)


def test_a_store_of_ones_own_and_a_redis_url_do_not_go_together() -> None:
    for settings in (Settings(store="my_parts:store", redis_url="redis://h"), Settings(store="redis")):
        assert "set store = 'redis' and redis_url, or neither" in complaint(settings, Settings.make_store)


def test_only_plain_functions_are_factories() -> None:
    async def later() -> None:
        """It would have to be awaited."""

    for wrong in (Settings, later, 3):
        with pytest.raises(ConfigurationError, match="a factory is a plain function"):
            factory(wrong)  # type: ignore[type-var]


def test_options_stay_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GUARDRAIL_STORE_OPTIONS", '{"url": "https://:hunter2@h", "retries": 2}')
    settings = Settings.load(write(tmp_path, '[oracle_options]\npassword = "hunter2"'))
    assert settings.store_options.get_secret_value() == {"url": "https://:hunter2@h", "retries": 2}
    assert "hunter2" not in repr(settings) + str(settings) + settings.model_dump_json()
    assert settings.oracle_options.get_secret_value() == {"password": "hunter2"}
    for wrong in ("hunter2", '"hunter2"', '["hunter2"]', '{"hunter2'):
        monkeypatch.setenv("GUARDRAIL_STORE_OPTIONS", wrong)
        with pytest.raises(ConfigurationError, match="store_options: ") as caught:
            Settings.load()
        assert "hunter2" not in "".join(traceback.format_exception(caught.value))
    monkeypatch.delenv("GUARDRAIL_STORE_OPTIONS")
    monkeypatch.setenv("GUARDRAIL_STORE_OPTIONS__URL", "hunter2")
    with pytest.raises(ConfigurationError, match="did you mean GUARDRAIL_STORE_OPTIONS"):
        Settings.load()


def test_values_of_options_are_checked_by_annotation() -> None:
    def sized(size: tuple[int, int], *, share: float = 0.5, copy: bool = False) -> tuple[object, ...]:
        return size, share, copy

    assert called(sized, {"size": [3, 4], "share": "0.25"}, "model") == ((3, 4), 0.25, False)
    with pytest.raises(
        ConfigurationError, match=r"model_options cannot work: size\.1 is missing; share: .*number"
    ) as caught:
        called(sized, {"size": [3], "share": "hunter2"}, "model")
    assert str(caught.value).endswith("got a str")
    assert "hunter2" not in str(caught.value)
    with pytest.raises(ConfigurationError, match="share is set beside the options"):
        called(sized, {"size": [3, 4], "share": 0.1}, "model", share=0.5)
