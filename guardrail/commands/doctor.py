"""`guardrail doctor`: is this installation fit to guard?"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import typer
from pydantic import SecretStr
from rich.console import Console
from rich.table import Table
from rich.text import Text

from guardrail.certify.options import Smoothing
from guardrail.certify.smoothing import SmoothedClassifier
from guardrail.commands import look, oracle_findings
from guardrail.commands.errors import clear_errors
from guardrail.commands.findings import Finding, Status
from guardrail.commands.settings import AppDir, Config, read_settings
from guardrail.errors import AuditError, ConfigurationError, GuardrailError
from guardrail.factories.house import BUNDLED
from guardrail.factories.own import is_named
from guardrail.guard import Guard
from guardrail.measuring.recall import EvaluationRecord
from guardrail.models.base import ModelFacts, VisionLanguageModel
from guardrail.models.conformance import check_model
from guardrail.oracles.base import Oracle, RepresentativeOracle, SelectingOracle
from guardrail.settings import Settings
from guardrail.stores import MemoryStore
from guardrail.stores.base import SharedStore

LIBRARIES = ("torch", "transformers", "numpy", "scipy", "pillow", "pydantic", "langchain-core", "redis", "torchvision")
_JUDGED = 16
"""Draws of which the oracle's time is measured: judgements may cost money."""
_COLOURS: dict[Status, str] = {"ok": "green", "note": "dim", "warning": "yellow", "problem": "red"}


def examine(
    config: Path | None = None,
    *,
    app_dir: Path | None = None,
    record: Path | None = None,
    seconds: float = 2.0,
    model: bool = False,
    oracle: bool = False,
) -> Iterator[Finding]:
    """Look at libraries, device, model, oracle, speed, recall and services, in this order; a failure is a finding.

    Args:
        config: TOML file of settings; None: the environment's.
        app_dir: folder of modules that settings name objects in.
        record: evaluation of this guard.
        seconds: to spend on measuring speed; 0: not measured.
        model: whether to put the model through the conformance check.
        oracle: also ask the oracle some sixty times whether it says the same alone, together, shuffled and twice.
    """
    yield from _libraries()
    yield from _hardware()
    try:
        settings = read_settings(config, app_dir)
        for own in settings.imported:
            yield Finding(own.name, str(own.file or "built into Python"))
    except GuardrailError as error:
        yield Finding("settings", "cannot be used", "problem", str(error))
        return
    yield from _model(settings, record, seconds, conform=(model, oracle))
    yield from _services(settings)


def report(console: Console, findings: Iterator[Finding] | Sequence[Finding]) -> bool:
    """Print findings as a table, and say whether none of them is a problem."""
    seen = list(findings)
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    for whole in (True, True, False):
        table.add_column(no_wrap=whole, overflow="fold")
    for finding in seen:
        value = Text(finding.value)
        if finding.advice:
            value.append(f"\n→ {finding.advice}", style="italic")
        table.add_row(Text(finding.status, style=_COLOURS[finding.status]), Text(finding.subject), value)
    console.print(table)
    problems, warnings = (sum(f.status == kind for f in seen) for kind in ("problem", "warning"))
    console.print(f"\n{problems} problem(s), {warnings} warning(s)")
    return problems == 0


def _libraries() -> Iterator[Finding]:
    yield Finding("python", f"{platform.python_version()} on {platform.system()} {platform.machine()}")
    yield Finding("guardrail", _version("certified-guardrail") or "not installed: run from its source")
    for name in LIBRARIES:
        version = _version(name)
        yield Finding(name, version) if version else Finding(name, "not installed", "note")
    try:
        import torchvision  # noqa: F401
    except ImportError:
        advice = "optional: with it, models other than the CLIP and SigLIP kind take noisy tensors on the device"
        if _version("torchvision") is None:
            yield Finding("torchvision imports", "no", "note", advice)
        else:
            yield Finding("torchvision imports", "no", "warning", "installed, and broken: reinstall it for this torch")
    except Exception as error:  # noqa: BLE001 - a build for another torch raises anything
        advice = "install the torchvision that belongs to this torch, or none"
        yield Finding("torchvision imports", f"no: {type(error).__name__}", "warning", advice)
    else:
        yield Finding("torchvision imports", "yes")


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _hardware() -> Iterator[Finding]:
    import torch

    if torch.cuda.is_available():
        for i in range(torch.cuda.device_count()):
            free, total = torch.cuda.mem_get_info(i)
            yield Finding(f"device cuda:{i}", torch.cuda.get_device_name(i))
            low = free < 0.25 * total
            advice = "other programs hold most of it: batches will be small" if low else ""
            yield Finding("free GPU memory", f"{_gib(free)} of {_gib(total)}", "warning" if low else "ok", advice)
    else:
        advice = "enough for the bundled model; models of billions of parameters need a GPU, or an API"
        yield Finding("device", f"CPU only, {torch.get_num_threads()} threads", "note", advice)
    free_memory = _free_memory()
    if free_memory is not None:
        low = free_memory < 2 * 2**30
        yield Finding("free memory", _gib(free_memory), "warning" if low else "ok", "less than 2 GiB" if low else "")


def _free_memory() -> int | None:
    """Return the bytes that programs can still get; None where the system does not tell."""
    try:
        lines = Path("/proc/meminfo").read_text("ascii").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration, ValueError):
        return None


def _gib(size: int) -> str:
    return f"{size / 2**30:.1f} GiB"


def _model(settings: Settings, record: Path | None, seconds: float, *, conform: tuple[bool, bool]) -> Iterator[Finding]:
    """Look at model, oracle and recall; `conform` says whether to put model and oracle through their checks."""
    if settings.model is None:
        advice = "set GUARDRAIL_MODEL to a hub id or folder; until then Guard.from_settings() refuses. Checked: bundled"
        yield Finding("model", "none is named", "warning", advice)
        settings = settings.model_copy(update={"model": "bundled"})
    elif settings.model in BUNDLED:
        advice = "it reads drawn signs and guards no production: name your own model"
        yield Finding("model", settings.model, "warning", advice)
    try:
        model, oracle, smoothing = settings.make_model(), settings.make_oracle(), settings.make_smoothing()
        classifier = SmoothedClassifier(model, oracle, smoothing)
    except GuardrailError as error:
        yield Finding("model and oracle", "cannot be used", "problem", str(error))
        return
    yield from _whole(settings, model, oracle, smoothing)
    yield Finding("model name", model.name)
    yield Finding("oracle name", oracle.name)
    judges = list(oracle_findings.trial(oracle, settings))
    yield from judges
    if conform[1]:
        yield from oracle_findings.conformance(oracle, settings)
    facts = ModelFacts.of(model)
    yield _tensors(facts.tensors)
    yield Finding("dtype", facts.dtype or "not told")
    size = model.resolution
    yield Finding("resolution", f"{size[0]} × {size[1]}" if size else f"each image's, up to {smoothing.max_side}")
    yield Finding("tokens per image", facts.tokens_per_image or "not told")
    yield from _speed(classifier, seconds, oracle if all(f.status == "ok" for f in judges) else None)
    if conform[0]:
        yield from _conformance(model)
    yield _recall(settings, model.name, oracle.name, smoothing.sigma, record)


def _whole(
    settings: Settings, model: VisionLanguageModel, oracle: Oracle | RepresentativeOracle, smoothing: Smoothing
) -> Iterator[Finding]:
    """Put the parts together as a guard of these settings would; store and log, which may be away, are tried apart."""
    store = MemoryStore()
    budget, near = settings.make_budget(store), settings.make_near(store)
    try:
        Guard(model, oracle, smoothing=smoothing, policy=settings.policy, store=store, budget=budget, near=near).close()
    except GuardrailError as error:
        yield Finding("guard", "cannot be made of these parts", "problem", str(error))


def _tensors(taken: bool | None) -> Finding:
    if taken is None:
        return Finding("tensor preprocessing", "not the guard's: the model takes images", "note")
    if taken:
        return Finding("tensor preprocessing", "on")
    advice = "noisy pictures are clipped to 8 bits, which is correct and slower; install torchvision"
    return Finding("tensor preprocessing", "off", "warning", advice)


def _speed(
    classifier: SmoothedClassifier, seconds: float, oracle: Oracle | SelectingOracle | None
) -> Iterator[Finding]:
    """Measure draws per second on a grey picture, one look of the budget at a time, after one to warm up.

    The oracle, if it is given, judges some of them.
    """
    from PIL import Image

    if seconds <= 0.0:
        yield Finding("draws per second", "not measured", "note")
        return
    request = classifier.request(Image.new("RGB", (256, 256), (128, 128, 128)), "Describe it.")
    batch = min(classifier.smoothing.samples, 100)
    try:
        classifier.model.answer(classifier.draws(request, range(min(batch, 4))))
        start, done, failed = time.perf_counter(), 0, 0
        while done == 0 or time.perf_counter() - start < seconds:
            answers = classifier.model.answer(classifier.draws(request, range(done, done + batch)))
            done += batch
            failed += sum(answer.failed is not None for answer in answers)
        rate = done / (time.perf_counter() - start)
    except Exception as error:  # noqa: BLE001 - a model may raise anything, and the doctor goes on
        advice = str(error) if isinstance(error, GuardrailError) else "the model fails on a plain grey picture"
        yield Finding("draws per second", f"failed: {type(error).__name__}", "problem", advice)
        return
    if failed:
        yield Finding("draws per second", f"{failed} of {done} draws failed", "problem", "see the model's log")
        return
    whole = classifier.smoothing.samples / rate
    yield Finding("draws per second", f"{rate:.0f}: {whole:.1f} s for all {classifier.smoothing.samples} draws")
    if oracle is not None:
        yield oracle_findings.time_share(oracle, answers[:_JUDGED], request.prompt, 1.0 / rate)


def _conformance(model: VisionLanguageModel) -> Iterator[Finding]:
    """Say whether the model answers each draw by that draw alone."""
    for found in check_model(model).findings:
        yield Finding(f"model, {found.check}", found.told, found.status, found.advice)


def _recall(settings: Settings, model: str, oracle: str, sigma: float, path: Path | None) -> Finding:
    """Say what is known about harmful images: by the given record, else by the one that settings name."""
    subject = "recall of harmful images"
    path = path or getattr(settings, "evaluation", None)
    run = f"run `guardrail evaluate` on labelled images at sigma {sigma:g}: a model that cannot see passes everything"
    if path is None:
        return Finding(subject, "not measured", "warning", run)
    try:
        record = EvaluationRecord.load(path)
    except GuardrailError as error:
        return Finding(subject, "not measured", "problem", str(error))
    level = record.level(model, oracle, sigma)
    if level is None or level.recall.total == 0:
        return Finding(subject, "not measured for this model, oracle and sigma", "warning", run)
    caught, missed = level.recall, level.missed
    value = (
        f"{caught.count} of {caught.total} caught (at least {caught.lower:.2f}), {missed.count} passed "
        f"(at most {missed.upper:.2f}), at sigma {sigma:g} on {record.data}"
    )
    if caught.lower > missed.upper:
        return Finding(subject, value)
    return Finding(subject, value, "warning", "the model hardly sees harm under noise: less noise, or a denoiser")


def _services(settings: Settings) -> Iterator[Finding]:
    """Reach store and database; their URLs may hold passwords, so only hosts are printed."""
    own = settings.store if is_named(settings.store) else None
    where = own or _host(settings.redis_url)
    found = _reach(
        "store" if own else "Redis", where, lambda: _ping(settings), "is it running, and reachable from here?"
    )
    if found.status == "ok" and own is None and settings.redis_url is None:
        yield Finding("Redis", "not configured: certificates stay in this process", "note")
    else:
        yield found
        if settings.key is None and settings.smoothing.key is None:
            advice = "set GUARDRAIL_KEY to one secret for all replicas (openssl rand -hex 32)"
            yield Finding("noise key", "none: replicas that share Redis draw different noise", "warning", advice)
    if settings.audit is not None:
        yield _reach(
            "audit database", _host(settings.audit), lambda: _open(settings), "check its address, user and database"
        )
    else:
        yield Finding("audit database", "not configured: no decision is recorded", "note")


def _ping(settings: Settings) -> None:
    store = settings.make_store()
    try:
        if isinstance(store, SharedStore):
            store.ping()
    finally:
        store.close()


def _open(settings: Settings) -> None:
    log = settings.make_audit()
    if log is not None:
        log.close()


def _reach(subject: str, where: str, attempt: Callable[[], None], advice: str) -> Finding:
    """Try a service; no driver's text is shown, for it may hold the URL."""
    try:
        attempt()
    except (ConfigurationError, AuditError) as error:  # they name no secret
        return Finding(subject, "cannot be used", "problem", str(error))
    except ImportError as error:
        return Finding(subject, where, "problem", f"install {error.name}")
    except Exception as error:  # noqa: BLE001 - drivers raise their own kinds
        return Finding(subject, f"{where} cannot be reached ({type(error).__name__})", "problem", advice)
    return Finding(subject, f"{where} answers")


def _host(url: SecretStr | None) -> str:
    try:
        return urlsplit(url.get_secret_value() if url else "").hostname or "local"
    except ValueError:
        return "the address"


def doctor(
    config: Config = None,
    app_dir: AppDir = None,
    record: Annotated[
        Path | None, typer.Option("--evaluation", help="Record of `guardrail evaluate` for this guard.")
    ] = None,
    seconds: Annotated[float, typer.Option(min=0.0, help="Time to spend on measuring draws per second.")] = 2.0,
    *,
    model: Annotated[
        bool,
        typer.Option("--model", help="Does the model answer alike alone, in batches, shuffled and twice? 123 draws."),
    ] = False,
    oracle: Annotated[
        bool, typer.Option("--oracle", help="Ask the oracle some sixty times: is it a function, as it says?")
    ] = False,
) -> None:
    """Check this installation: libraries, device, model, oracle, speed, recall, Redis. Exit status 1 if not well."""
    with clear_errors():
        findings = examine(config, app_dir=app_dir, record=record, seconds=seconds, model=model, oracle=oracle)
        healthy = report(look.console(), findings)
    raise typer.Exit(0 if healthy else 1)
