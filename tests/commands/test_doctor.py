"""The doctor finds what is wrong, says what to do, and prints no secret."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from guardrail import Guard
from guardrail.bundled.oracle import bundled_oracle
from guardrail.commands import doctor
from guardrail.commands.doctor import Finding, examine, report
from guardrail.errors import ConfigurationError
from guardrail.measuring.recall import EvaluationRecord, Level, tally
from guardrail.models import Answer, Draw
from guardrail.models.base import ModelFacts, Sizes, VisionLanguageModel
from guardrail.models.denoised import DenoisedVLM
from guardrail.models.scheduling import Scheduler
from guardrail.oracles import EquivalenceOracle
from guardrail.prompts import Prompt
from guardrail.settings import Settings
from tests.kit.command_line import guardrail
from tests.kit.meanings import RuleComparison, first_word
from tests.kit.redis_server import RedisServer

SECRET = "hunter2-hunter2-hunter2"


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CONFIG", "MODEL", "ORACLE", "REDIS_URL", "KEY", "AUDIT"):
        monkeypatch.delenv(f"GUARDRAIL_{name}", raising=False)


class FastVLM:
    """A model that costs nothing."""

    name = "fast"
    resolution = (8, 8)
    facts = ModelFacts("float16", "4", tensors=True)

    def __init__(self, failed: str | None = None) -> None:
        self.failed = failed

    def check(self, prompt: Prompt, sizes: Sizes) -> None:
        pass

    def answer(self, draws: Sequence[Draw], deadline: float | None = None) -> list[Answer]:
        return [Answer("Tea is served.", failed=self.failed)] * len(draws)


@pytest.fixture
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GUARDRAIL_MODEL", "some/model")
    monkeypatch.setenv("GUARDRAIL_ORACLE", "bundled")
    monkeypatch.setattr(Settings, "make_model", lambda _: FastVLM())


def findings(record: Path | None = None, *, oracle: bool = False) -> dict[str, Finding]:
    return {finding.subject: finding for finding in examine(record=record, seconds=0.01, oracle=oracle)}


def printed(seen: Sequence[Finding]) -> str:
    console = Console(file=StringIO(), width=200)
    report(console, seen)
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


@pytest.mark.slow
def test_the_command_on_a_fresh_installation() -> None:
    done = guardrail("doctor", "--seconds", "0.2")
    assert done.returncode == 0, done.stdout + done.stderr
    for word in (
        "torch",
        "transformers",
        "float32",
        "96 × 96",
        "tokens per image",
        "66, with",
        "draws per second",
        "warning",
    ):
        assert word in done.stdout, word
    assert "guardrail evaluate" in done.stdout, "unmeasured recall comes with advice"
    assert "GUARDRAIL_MODEL" in done.stdout


def test_the_command_measures_what_shares_a_batch(tmp_path: Path) -> None:
    module = tmp_path / "shop.py"
    module.write_text("from tests.models.test_conformance import Padded, Reader\nnarrow, padded = Reader(), Padded()\n")
    for name, code in (("narrow", 0), ("padded", 1)):
        chosen = {"GUARDRAIL_MODEL": f"shop:{name}", "GUARDRAIL_ORACLE": "refusal", "GUARDRAIL_APP_DIR": str(tmp_path)}
        done = guardrail("doctor", "--model", "--seconds", "0", **chosen)
        assert done.returncode == code, done.stdout + done.stderr
        assert "of 30 draws answered differently alone and in batches of 8" in " ".join(done.stdout.split())


def test_the_command_fails_where_something_is_wrong() -> None:
    url = f"redis://user:{SECRET}@127.0.0.1:9/0"
    done = guardrail("doctor", "--seconds", "0", GUARDRAIL_REDIS_URL=url, GUARDRAIL_KEY=SECRET)
    assert done.returncode == 1
    assert "cannot be reached" in done.stdout
    assert "127.0.0.1" in done.stdout
    assert SECRET not in done.stdout + done.stderr


@pytest.mark.usefixtures("_fast")
class TestFindings:
    def test_a_model_of_ones_own(self) -> None:
        seen = findings()
        assert seen["model name"].value == FastVLM.name
        assert seen["tensor preprocessing"].value == "on"
        assert (seen["dtype"].value, seen["tokens per image"].value) == ("float16", "4")
        assert seen["resolution"].value == "8 × 8"
        assert seen["draws per second"].status == "ok"
        assert "model" not in seen, "a model is named, and not the bundled one"

    def test_pictures_instead_of_tensors(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(FastVLM, "facts", ModelFacts(tensors=False))
        assert findings()["tensor preprocessing"].status == "warning"

    def test_a_model_that_tells_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delattr(FastVLM, "facts")
        monkeypatch.setattr(FastVLM, "name", "some/tensors (8, 8)")
        seen = findings()
        assert seen["tensor preprocessing"].status == "note", "a name says nothing of it"
        assert (seen["dtype"].value, seen["tokens per image"].value) == ("not told", "not told")

    @pytest.mark.parametrize(
        "wrapped", [Scheduler, lambda model: DenoisedVLM(model, lambda noisy, _: noisy, "none", device="cpu")]
    )
    def test_what_a_model_tells_is_told_through_what_stands_around_it(
        self, monkeypatch: pytest.MonkeyPatch, wrapped: Callable[[VisionLanguageModel], VisionLanguageModel]
    ) -> None:
        monkeypatch.setattr(Settings, "make_model", lambda _: wrapped(FastVLM()))
        seen = findings()
        subjects = ("tensor preprocessing", "dtype", "tokens per image", "resolution")
        assert [seen[subject].value for subject in subjects] == ["on", "float16", "4", "8 × 8"]

    def test_a_model_that_fails(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Settings, "make_model", lambda _: FastVLM("filtered"))
        assert findings()["draws per second"].status == "problem"

        def broken(*_: object) -> list[Answer]:
            raise RuntimeError("the device is on fire")

        monkeypatch.setattr(FastVLM, "answer", broken)
        assert findings()["draws per second"].status == "problem"

    def test_a_model_is_put_through_the_conformance_check_if_asked(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def by_company(_: object, draws: Sequence[Draw], deadline: float | None = None) -> list[Answer]:
            return [Answer(f"{draw.index} of {len(draws)}") for draw in draws]

        assert not any(subject.startswith("model, ") for subject in findings())
        monkeypatch.setattr(FastVLM, "answer", by_company)
        seen = list(examine(seconds=0.0, model=True))
        alone = next(finding for finding in seen if finding.subject == "model, batched")
        assert alone.value == "30 of 30 draws answered differently alone and in batches of 8"
        assert "batch_dependent" in printed(seen)
        assert "2 problem(s)" in printed(seen)

    @pytest.mark.parametrize(
        ("name", "value", "subject"),
        [
            ("GUARDRAIL_SMOOTHING__SIGMA", "0", "settings"),
            ("GUARDRAIL_KEY", "short", "model and oracle"),
            ("GUARDRAIL_CONFIG", "nowhere.toml", "settings"),
        ],
    )
    def test_settings_that_cannot_work(
        self, monkeypatch: pytest.MonkeyPatch, name: str, value: str, subject: str
    ) -> None:
        monkeypatch.setenv(name, value)
        assert findings()[subject].status == "problem"

    @pytest.mark.parametrize(
        ("name", "value", "subject", "advice"),
        [
            ("STORE", "redis", "Redis", "redis_url"),
            ("STORE_OPTIONS", '{"size": 3}', "Redis", "there is no 'size'"),
            ("DRAWS_PER_MINUTE", "5", "guard", "never enough for a decision"),
            ("POLICY__CLASSES", '{"harmfull": "block"}', "guard", "did you mean harmful?"),
        ],
    )
    def test_what_a_guard_refuses_is_a_problem(
        self, monkeypatch: pytest.MonkeyPatch, name: str, value: str, subject: str, advice: str
    ) -> None:
        monkeypatch.setenv(f"GUARDRAIL_{name}", value)
        with pytest.raises(ConfigurationError, match=re.escape(advice)):
            Guard.from_settings()
        found = findings()[subject]
        assert found.status == "problem"
        assert advice in found.advice

    def test_a_torchvision_that_does_not_import(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(__import__("sys").modules, "torchvision", None)
        monkeypatch.setattr(doctor, "_version", lambda name: "0.1")
        assert findings()["torchvision imports"].status == "warning"


class OwnOracle:
    """An oracle of one's own, as settings would import it."""

    name = "own"
    classes = ("harmless", "harmful")
    deterministic: bool | None = None
    seconds = 0.0

    def classify(self, answers: Sequence[str], prompts: Sequence[Prompt]) -> list[str]:
        time.sleep(self.seconds * len(answers))
        return ["harmless"] * len(answers)


class Broken(OwnOracle):
    def classify(self, answers: Sequence[str], prompts: Sequence[Prompt]) -> list[str]:
        raise KeyError(f"no label in the reply of https://:{SECRET}@judge")  # the line that doctor names


class Moody(OwnOracle):
    calls = 0

    def classify(self, answers: Sequence[str], prompts: Sequence[Prompt]) -> list[str]:
        Moody.calls += 1
        return [self.classes[Moody.calls % 2]] * len(answers)


@pytest.mark.usefixtures("_fast")
class TestOracle:
    def with_oracle(self, monkeypatch: pytest.MonkeyPatch, oracle: object) -> dict[str, Finding]:
        monkeypatch.setattr(Settings, "make_oracle", lambda _: oracle)
        return findings(oracle=True)

    def test_of_the_house(self) -> None:
        seen = findings(oracle=True)
        assert [seen[subject].status for subject in ("trial judgement", "judgements", "oracle conformance")] == [
            "ok"
        ] * 3
        assert "function" in seen["judgements"].value
        assert "oracle conformance" not in findings(), "asked for only"

    def test_one_that_says_nothing_of_itself(self, monkeypatch: pytest.MonkeyPatch) -> None:
        seen = self.with_oracle(monkeypatch, OwnOracle())
        assert "every draw" in seen["judgements"].value
        found = seen["oracle conformance"]
        assert (found.status, "deterministic = True" in found.advice) == ("note", True)
        seen = self.with_oracle(monkeypatch, Moody())
        assert "other classes for" in seen["oracle conformance"].value

    def test_one_that_is_not_what_it_says(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Moody, "deterministic", True)
        found = self.with_oracle(monkeypatch, Moody())["oracle conformance"]
        assert (found.status, "says deterministic = True" in found.advice) == ("problem", True)

    @pytest.mark.parametrize("variable", ["GUARDRAIL_KEY", "JUDGE_API_KEY"])
    def test_one_that_raises_is_named_with_its_line_and_without_secrets(
        self, monkeypatch: pytest.MonkeyPatch, variable: str
    ) -> None:
        monkeypatch.setenv(variable, SECRET)
        seen = self.with_oracle(monkeypatch, Broken())
        lines = Path(__file__).read_text("utf-8").splitlines()
        line = next(i for i, text in enumerate(lines, 1) if text.endswith("# the line that doctor names"))
        for subject in ("trial judgement", "oracle conformance"):
            assert seen[subject].status == "problem"
            for part in ("KeyError", f"{__file__}:{line}", "no label in the reply of https://:…@judge"):
                assert part in seen[subject].advice, part
        assert SECRET not in printed(list(seen.values()))
        assert seen["draws per second"].status == "ok", "the rest is looked at all the same"

    def test_judgements_that_fail(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(OwnOracle, "classify", lambda _, answers, prompts: ["failed: unreachable" for _ in answers])
        seen = self.with_oracle(monkeypatch, OwnOracle())
        assert seen["trial judgement"].value == "failed: unreachable"
        assert {seen[subject].status for subject in ("trial judgement", "oracle conformance")} == {"problem"}

    def test_one_that_finds_its_classes(self, monkeypatch: pytest.MonkeyPatch) -> None:
        seen = self.with_oracle(monkeypatch, EquivalenceOracle(RuleComparison(first_word)))
        assert [seen[subject].status for subject in ("trial judgement", "oracle conformance")] == ["ok", "ok"]

    @pytest.mark.parametrize(("seconds", "status"), [(0.0, "ok"), (0.02, "warning")])
    @pytest.mark.slow
    def test_its_share_of_the_time(self, monkeypatch: pytest.MonkeyPatch, seconds: float, status: str) -> None:
        monkeypatch.setattr(OwnOracle, "seconds", seconds)
        answer = FastVLM.answer

        def slow(self: FastVLM, draws: Sequence[Draw], deadline: float | None = None) -> list[Answer]:
            time.sleep(0.003 * len(draws))
            return answer(self, draws, deadline)

        monkeypatch.setattr(FastVLM, "answer", slow)
        assert self.with_oracle(monkeypatch, OwnOracle())["oracle's share of time"].status == status


@pytest.mark.usefixtures("_fast")
class TestRecall:
    def record(self, path: Path, sigma: float = 0.5, caught: int = 48) -> Path:
        counts = tally({"harmful": {"harmful": caught, "harmless": 50 - caught}})
        level = Level(sigma=sigma, samples=100, alpha=0.001, counts=counts)
        record = EvaluationRecord(
            model=FastVLM.name, oracle=bundled_oracle().name, data="set", data_sha256="0" * 64, levels=(level,)
        )
        record.save(path)
        return path

    def test_measured(self, tmp_path: Path) -> None:
        found = findings(self.record(tmp_path / "e.json"))["recall of harmful images"]
        assert found.status == "ok"
        assert "48 of 50 caught" in found.value

    def test_measured_and_bad(self, tmp_path: Path) -> None:
        found = findings(self.record(tmp_path / "e.json", caught=20))["recall of harmful images"]
        assert (found.status, "denoiser" in found.advice) == ("warning", True)

    def test_measured_for_another_noise(self, tmp_path: Path) -> None:
        assert findings(self.record(tmp_path / "e.json", sigma=0.25))["recall of harmful images"].status == "warning"

    def test_not_measured(self, tmp_path: Path) -> None:
        assert findings()["recall of harmful images"].status == "warning"
        assert findings(tmp_path / "nowhere.json")["recall of harmful images"].status == "problem"


@pytest.mark.usefixtures("_fast")
class TestServices:
    def test_redis_answers(self, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("GUARDRAIL_REDIS_URL", redis_server.url)
        seen = findings()
        assert seen["Redis"].status == "ok"
        assert seen["noise key"].status == "warning", "replicas need one key"
        monkeypatch.setenv("GUARDRAIL_KEY", SECRET)
        assert "noise key" not in findings()

    @pytest.mark.parametrize(
        ("url", "complaint"),
        [
            (f"redis://:{SECRET}@127.0.0.1:9/0", "127.0.0.1 cannot be reached"),
            (f"nonsense://{SECRET}@host", "the Redis URL is malformed (its scheme is 'nonsense')"),
            (f"{SECRET}@host:6379", "the Redis URL is malformed (it has no scheme)"),
            (f"redis://:{SECRET}/{SECRET}@host", "percent-encoded"),
            (f"http://[{SECRET}", "the Redis URL is malformed (its scheme is 'http')"),
        ],
    )
    def test_redis_is_away_and_its_password_is_not_told(
        self, monkeypatch: pytest.MonkeyPatch, url: str, complaint: str
    ) -> None:
        monkeypatch.setenv("GUARDRAIL_REDIS_URL", url)
        found = findings()["Redis"]
        assert found.status == "problem"
        assert complaint in found.value + found.advice
        assert SECRET not in printed([found])

    def test_nothing_configured_is_no_problem(self) -> None:
        seen = findings()
        assert {seen["Redis"].status, seen["audit database"].status} == {"note"}

    def test_an_audit_log(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("GUARDRAIL_AUDIT", str(tmp_path / "audit.db"))
        assert findings()["audit database"].status == "ok"
        monkeypatch.setenv("GUARDRAIL_AUDIT", f"sqlite:////nowhere/{SECRET}/audit.db")
        seen = findings()
        assert seen["audit database"].status == "problem"
        assert SECRET not in printed(list(seen.values()))

    def test_a_variable_that_sets_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("GUARDRAIL_AUDIT_URL", f"postgresql://user:{SECRET}@host/db")
        seen = findings()
        assert any(finding.status == "problem" for finding in seen.values())
        assert "GUARDRAIL_AUDIT_URL sets nothing" in " ".join(printed(list(seen.values())).split())
        assert SECRET not in printed(list(seen.values()))


def test_the_report_counts() -> None:
    seen = [Finding("a", "1"), Finding("b", "[red]2", "warning", "mend it"), Finding("c", "3", "problem")]
    text = printed(seen)
    assert "1 problem(s), 1 warning(s)" in text
    assert "[red]2" in text, "what was found is printed as it is"
    assert "→ mend it" in text
