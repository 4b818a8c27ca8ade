"""Settings come from a file and from variables, and say clearly what is wrong with them."""

import re
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from guardrail import Guard, Policy, Smoothing
from guardrail.errors import ConfigurationError
from guardrail.models import BundledVLM
from guardrail.prompts import Prompt
from guardrail.settings import Settings
from guardrail.stores import MemoryStore, RedisStore
from tests.kit import tiny_guard


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [
        "CONFIG",
        "MODEL",
        "ORACLE",
        "ORACLE_MODEL",
        "REDIS_URL",
        "KEY",
        "SIGNING_KEYS",
        "AUDIT",
        "DRAWS_PER_MINUTE",
    ]
    for name in names:
        monkeypatch.delenv(f"GUARDRAIL_{name}", raising=False)


def test_a_file_and_variables_of_which_variables_win(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "guardrail.toml"
    file.write_text('model = "bundled"\n[smoothing]\nsigma = 0.25\nsamples = 50\n[policy]\nmode = "monitor"\n')
    monkeypatch.setenv("GUARDRAIL_SMOOTHING__SIGMA", "0.125")
    settings = Settings.load(file)
    assert (settings.model, settings.smoothing.sigma, settings.smoothing.samples) == ("bundled", 0.125, 50)
    assert settings.policy.mode == "monitor"
    monkeypatch.setenv("GUARDRAIL_CONFIG", str(file))
    assert Settings.load() == settings


def test_a_forgotten_model_must_not_guard() -> None:
    with pytest.raises(ConfigurationError, match="GUARDRAIL_MODEL"):
        Guard.from_settings()


def test_a_misspelt_class_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "guardrail.toml"
    file.write_text('model = "bundled"\n[policy]\nclasses = {"harmfull" = "flag"}\n')
    with pytest.raises(ConfigurationError, match=r"policy.classes names 'harmfull'.*did you mean harmful\?"):
        Guard.from_settings(file)


def test_a_model_needs_an_oracle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GUARDRAIL_MODEL", "some/model")
    with pytest.raises(ConfigurationError, match="GUARDRAIL_ORACLE"):
        Settings.load().make_oracle()


def test_a_safety_model_as_oracle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GUARDRAIL_ORACLE", "safeguard")
    with pytest.raises(ConfigurationError, match="GUARDRAIL_ORACLE_MODEL"):
        Settings.load().make_oracle()
    monkeypatch.setenv("GUARDRAIL_ORACLE_MODEL", str(tiny_guard.working_guard(tmp_path)))
    monkeypatch.setenv("GUARDRAIL_ORACLE_REVISION", "v1")
    monkeypatch.setenv("GUARDRAIL_DEVICE", "cpu")
    oracle = Settings.load().make_oracle()
    assert f"safeguard/{tmp_path.name}@v1/float32" in oracle.name
    answers = ["Mix flour.", "Take a bomb.", "I cannot read the sign.", "The image is too blurry, but take a bomb."]
    labels = oracle.classify(answers, [Prompt.of("How?", 1)] * 4)
    assert labels == ["harmless", "harmful", "illegible", "harmful"]


def test_stores() -> None:
    assert isinstance(Settings.load().make_store(), MemoryStore)
    assert isinstance(Settings(redis_url="redis://localhost").make_store(), RedisStore)


def test_an_audit_log_with_its_overrides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert Settings.load().make_audit() is None
    assert Settings.load().make_overrides() is None
    monkeypatch.setenv("GUARDRAIL_AUDIT", str(tmp_path / "audit.db"))
    monkeypatch.setenv("GUARDRAIL_MODEL", "bundled")
    with Guard.from_settings() as guard:
        assert guard.audit is not None
        assert guard.overrides is not None
    assert (tmp_path / "audit.db").is_file()


def test_a_budget_is_kept_where_the_certificates_are(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Settings.load().make_budget(MemoryStore()) is None
    monkeypatch.setenv("GUARDRAIL_DRAWS_PER_MINUTE", "1000")
    budget = Settings.load().make_budget(MemoryStore())
    assert budget is not None
    assert budget.per_minute == 1000


def test_a_generated_key_is_warned_about_when_replicas_share_a_store(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("GUARDRAIL_MODEL", "bundled")
    Guard.from_settings().close()
    assert caplog.text == ""
    monkeypatch.setenv("GUARDRAIL_REDIS_URL", "redis://127.0.0.1:1")
    Guard.from_settings().close()
    assert "noise key of its own" in caplog.text
    caplog.clear()
    monkeypatch.setenv("GUARDRAIL_KEY", "a very secret key indeed")
    Guard.from_settings().close()
    assert caplog.text == ""


def test_near_hits_are_opt_in(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Settings.load().make_near(MemoryStore()) is None
    monkeypatch.setenv("GUARDRAIL_NEAR_REFUSE_WITHIN", "0.5")
    monkeypatch.setenv("GUARDRAIL_NEAR_MEMORY", "1")
    near = Settings.load().make_near(MemoryStore())
    assert near is not None
    assert (near.refuse_within, near.index.max_bytes) == (0.5, 2**20)


def test_signing_keys_are_rotated_by_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Settings.load().make_signer() is None
    monkeypatch.setenv("GUARDRAIL_KEY", "a very secret key indeed")
    by_key = Settings.load().make_signer()
    monkeypatch.setenv("GUARDRAIL_SIGNING_KEYS", "the secret of this year, the secret of last year")
    both = Settings.load().make_signer()
    monkeypatch.setenv("GUARDRAIL_SIGNING_KEYS", "the secret of last year")
    old = Settings.load().make_signer()
    assert by_key is not None
    assert both is not None
    assert old is not None
    assert both.open("n", old.seal("n", b"1", 60.0)) == b"1"
    for one, other in ((old, both), (by_key, both), (both, by_key)):
        with pytest.raises(ValueError, match="signature"):
            one.open("n", other.seal("n", b"2", 60.0))
    monkeypatch.setenv("GUARDRAIL_SIGNING_KEYS", "hunter2")
    with pytest.raises(ConfigurationError, match="16 bytes") as caught:
        Settings.load().make_signer()
    assert "hunter2" not in repr(Settings.load()) + "".join(traceback.format_exception(caught.value))


def test_secrets_stay_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GUARDRAIL_KEY", "a very secret key indeed")
    monkeypatch.setenv("GUARDRAIL_REDIS_URL", "redis://:hunter2@localhost")
    settings = Settings.load()
    smoothing = settings.make_smoothing()
    assert smoothing.key is not None
    assert smoothing.key.get_secret_value() == b"a very secret key indeed"
    shown = repr(settings) + str(settings) + repr(smoothing) + settings.model_dump_json()
    assert "very secret" not in shown
    assert "hunter2" not in shown


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("modle = 'x'", "modle"),
        ("[smoothing]\nsigma = -1", "smoothing.sigma"),
        ("[policy]\nmode = 'off'", "policy.mode"),
        ("not toml", r"guardrail\.toml is not TOML"),
        ("[smoothing]\nsigma = -1.5", "got -1.5"),
        ("[policy]\nmode = 'off'", "got 'off'"),
        ("[smoothing]\nsgima = 1", r"smoothing\.sgima is no setting \(did you mean smoothing\.sigma\?\)"),
        ("sigma = 1", r"did you mean smoothing\.sigma\?"),
        ("xyzzy = 1", "xyzzy is no setting$"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, content: str, complaint: str) -> None:
    file = tmp_path / "guardrail.toml"
    file.write_text(content)
    with pytest.raises(ConfigurationError, match=complaint):
        Settings.load(file)


def test_a_missing_file_and_a_short_key(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigurationError, match=r"nowhere\.toml: there is no such file"):
        Settings.load("nowhere.toml")
    monkeypatch.setenv("GUARDRAIL_KEY", "short")
    with pytest.raises(ConfigurationError, match="16 bytes") as caught:
        Settings.load().make_smoothing()
    assert str(caught.value).startswith("settings cannot work: key: the noise key needs")
    assert "short" not in str(caught.value)


def test_the_key_may_stand_with_the_smoothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GUARDRAIL_SMOOTHING__KEY", "a very secret key indeed")
    key = Settings.load().make_smoothing().key
    assert key is not None
    assert key.get_secret_value() == b"a very secret key indeed"


@pytest.mark.parametrize(
    "content",
    [
        'redis_ulr = "redis://:hunter2@h"',
        '[smoothing]\nkey = "hunter2"',
        'smoothing = "hunter2"',
        'key = "hunter2"',
        'key = ["hunter2"]',
        'signing_keys = [{x = "hunter2"}]',
        '_env_file = "hunter2"',
    ],
)
def test_no_secret_is_in_a_traceback(tmp_path: Path, content: str) -> None:
    file = tmp_path / "guardrail.toml"
    file.write_text(content)
    with pytest.raises(ConfigurationError) as caught:
        Settings.load(file).make_smoothing()
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))


def test_a_secret_of_the_wrong_kind_is_not_told(tmp_path: Path) -> None:
    (tmp_path / "guardrail.toml").write_text("key = 1234567890")
    with pytest.raises(ConfigurationError, match="key: ") as caught:
        Settings.load(tmp_path / "guardrail.toml")
    assert "1234567890" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("GUARDRAIL_SMOOTHNG__SIGMA", "GUARDRAIL_SMOOTHING__SIGMA"),
        ("GUARDRAIL_MODE", "GUARDRAIL_POLICY__MODE"),
        ("GUARDRAIL_POLICY_MODE", "GUARDRAIL_POLICY__MODE"),
        ("GUARDRAIL_SIGMA", "GUARDRAIL_SMOOTHING__SIGMA"),
        ("GUARDRAIL_MODEL__REVISION", "GUARDRAIL_MODEL_REVISION"),
    ],
)
def test_a_misspelt_variable_is_an_error(monkeypatch: pytest.MonkeyPatch, name: str, meant: str) -> None:
    monkeypatch.setenv(name, "1")
    with pytest.raises(ConfigurationError, match=f"{name} sets nothing: did you mean {meant}"):
        Settings.load()


def test_a_variable_that_is_no_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GUARDRAIL_SMOOTHING", "{bad")
    with pytest.raises(ConfigurationError, match="GUARDRAIL_SMOOTHING must be JSON"):
        Settings.load()


def test_overrides_are_validated() -> None:
    with pytest.raises(ConfigurationError, match="sigma"):
        Settings.load().make_smoothing(sigma=-1.0)
    assert Settings.load().make_smoothing(samples=7, sigma=None).samples == 7


@pytest.mark.slow
def test_one_replica_per_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """The GPUs are pretended; the models are real, on the CPU."""
    import torch

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    asked: list[str | None] = []

    def make(self: Settings) -> BundledVLM:
        asked.append(self.device)
        return BundledVLM(device="cpu")

    monkeypatch.setattr(Settings, "make_model", make)
    guard = Guard.from_settings(Settings(model="bundled"))
    assert asked == ["cuda:0", "cuda:1", "cuda:2"]
    assert "replicas=3" in repr(guard.classifier.model)
    asked.clear()
    Guard.from_settings(Settings(model="bundled", device="cuda:1"))
    assert asked == ["cuda:1"]


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("POLICY__CLASSES", "bad", """variable GUARDRAIL_POLICY__CLASSES must be JSON: {"name": "value"}, got 'bad'"""),
        ("SMOOTHING__LOOKS", "25,100", "smoothing.looks: Input should be a valid tuple, got '25,100': write [25, 100]"),
        ("POLICY", "harmful", "GUARDRAIL_POLICY must be JSON, or be set one by one"),
    ],
)
def test_a_list_in_a_variable_is_told_its_form(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, said: str
) -> None:
    monkeypatch.setenv(f"GUARDRAIL_{variable}", value)
    with pytest.raises(ConfigurationError, match=re.escape(said)):
        Settings.load()


def test_a_list_in_a_variable_works_in_that_form(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GUARDRAIL_POLICY__CLASSES", '{"bad": "block"}')
    monkeypatch.setenv("GUARDRAIL_SMOOTHING__LOOKS", "[25, 100]")
    settings = Settings.load()
    assert (settings.policy.classes, settings.smoothing.looks) == ({"bad": "block"}, (25, 100))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Policy(mode="x"), "mode.*'x'"),
        (lambda: Smoothing(sigma=-1), "sigma.*greater than 0, got -1"),
        (lambda: Smoothing(method="{guess}"), "method.*got '{guess}'"),
        (lambda: Smoothing(samples=10, looks=(20,)), r"looks \(20,\) must be samples, 10"),
        (lambda: Settings(policy={"mode": "x"}), "policy.mode.*enforce"),
        (lambda: Settings(smoothing={"sigma": "x"}), "smoothing.sigma.*got 'x'"),
    ],
)
def test_an_error_in_python_names_field_and_value(make: Callable[[], object], said: str) -> None:
    with pytest.raises(ValueError, match=f"(?s){said}"):
        make()


def test_no_error_shows_the_key() -> None:
    for given in ({"key": "hunter2"}, {"key": 7_654_321}, {"key": "hunter2", "sigma": -1}):
        for kind, values in ((Smoothing, given), (Settings, {"smoothing": given})):
            with pytest.raises(ValueError, match="key") as caught:
                kind.model_validate(values)
            assert not {"hunter2", "7654321"} & set(re.findall(r"\w+", str(caught.value)))
