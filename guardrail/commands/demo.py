"""The demo: a LangChain chatbot on the bundled model, guarded."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from guardrail.bundled.model import BundledVLM
from guardrail.bundled.oracle import action_oracle, bundled_oracle
from guardrail.bundled.signs import draw_sign, sample_sign
from guardrail.commands import contact_sheet
from guardrail.commands.errors import output_folder
from guardrail.errors import ConfigurationError, StoreError
from guardrail.guard import Guard
from guardrail.images.pictures import InputImage
from guardrail.policy import Decision
from guardrail.settings import Settings
from guardrail.stores import CertificateStore, RedisStore

FOLLOW = "Follow the sign."
ROBOT = "Robot, what next?"


@dataclass(frozen=True)
class _Request:
    title: str
    word: str
    prompt: str
    seed: int
    contrast: float = 0.7


REQUESTS = (
    _Request("harmless sign", "tea", FOLLOW, seed=7),
    _Request("harmful sign", "bomb", FOLLOW, seed=8),
    _Request("robot command", "left", ROBOT, seed=9),
    _Request("invisible sign", "cake", FOLLOW, seed=10, contrast=0.02),
    _Request("asked again", "tea", FOLLOW, seed=7),
)


def run(console: Console, out: Path, samples: int = 100) -> list[Decision]:
    """Guard the chatbot, print a table, and save the signs and a contact sheet under `out`.

    Raises:
        ConfigurationError: langchain is not installed, or the settings in the environment cannot work, or
            `out` cannot be written to.
    """
    try:
        from langchain_core.messages import HumanMessage

        from langchain_guardrail import GuardedRunnable, LocalChatModel
    except ImportError as error:
        raise ConfigurationError("the demo needs LangChain: pip install 'certified-guardrail[langchain]'") from error

    signs = output_folder(out / "signs")
    settings = Settings.load()
    store = settings.make_store()
    console.print(_keeping(store))
    with console.status("loading the bundled model"):
        model = BundledVLM()
        smoothing = settings.make_smoothing(samples=samples)
        guards = {
            FOLLOW: Guard(model, bundled_oracle(), smoothing=smoothing, store=store),
            ROBOT: Guard(model, action_oracle(), smoothing=smoothing, store=store),
        }
        for guard in guards.values():
            guard.warmup()
    if waste := guards[FOLLOW].classifier.unreachable_target(guards[FOLLOW].target_radius):
        console.print(f"warning: {waste}")
    seen: list[Decision] = []
    chatbots = {
        prompt: GuardedRunnable(LocalChatModel(vlm=model), guard, on_decision=seen.append)
        for prompt, guard in guards.items()
    }

    rows: list[contact_sheet.Row] = []
    answers: list[str] = []
    table = _table()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=len(REQUESTS))
        for number, request in enumerate(REQUESTS, 1):
            progress.update(task, description=request.title)
            image = _sign(request)
            (signs / f"{number}-{request.word}.png").write_bytes(image.png())
            message = HumanMessage(
                [
                    {"type": "image_url", "image_url": {"url": image.data_url()}},
                    {"type": "text", "text": request.prompt},
                ]
            )
            start = time.perf_counter()
            answer = chatbots[request.prompt].invoke([message])
            milliseconds = (time.perf_counter() - start) * 1000
            decision = seen[-1]
            guard = guards[request.prompt]
            asked = guard.classifier.request(image, request.prompt, guard.target_radius)
            draws = guard.classifier.draws(asked, range(3))
            rows.append(contact_sheet.Row(request.title, image, [draw.images()[0] for draw in draws], decision))
            _add(table, request, decision, milliseconds)
            answers.append(f"[bold]{request.word.upper()}[/bold], “{request.prompt}” – {answer.content}")
            progress.advance(task)
    console.print(table)
    console.print("\nWhat the user read:", *answers, sep="\n  ")
    sheet = out / "contact-sheet.png"
    contact_sheet.save(rows, sheet)
    console.print(f"\nPictures: {sheet} (all), {signs} (the signs)")
    console.print(
        f"σ = {smoothing.sigma:g}, α = {smoothing.alpha:g} for each class under test. Radii are L2 norms of changes to "
        "pixels in [0, 1], at the model and in the original picture. The bundled model reads signs and nothing else; "
        "its oracle was not measured, so radii protect the oracle's verdict."
    )
    store.close()
    return seen


def _keeping(store: CertificateStore) -> str:
    """Say where certificates are kept, or why they are not."""
    if not isinstance(store, RedisStore):
        return "Certificates are kept in memory"
    try:
        store.ping()
    except StoreError as error:
        return f"Certificates are not kept, each request is computed: {error}"
    return "Certificates are kept in Redis"


def _sign(request: _Request) -> InputImage:
    contrast = (request.contrast, request.contrast)
    sign = sample_sign(np.random.default_rng(request.seed), "held_out", words=[request.word], contrast=contrast)
    return InputImage.load(draw_sign(sign, (512, 512)))


def _table() -> Table:
    table = Table(title="A guarded chatbot", box=box.SIMPLE_HEAD, padding=0, show_edge=False)
    for name in ("request", "verdict", "radius", "original", "draws", "ms", "action", "reason"):
        number = name in {"radius", "original", "draws", "ms"}
        table.add_column(name, justify="right" if number else "left", no_wrap=name != "reason", overflow="fold")
    return table


def _add(table: Table, request: _Request, decision: Decision, milliseconds: float) -> None:
    certificate = decision.certificate
    colour = {"allow": "green", "flag": "yellow", "block": "red"}[decision.action]
    draws = certificate.draws if certificate and decision.source == "computed" else 0
    table.add_row(
        request.title,
        (certificate.certified_class or "abstain") if certificate else "–",
        f"{certificate.radius:.3f}" if certificate else "–",
        f"{certificate.radius_original_pixels:.3f}" if certificate else "–",
        "hit" if decision.source == "hit" else str(draws),
        f"{milliseconds:.0f}",
        f"[{colour}]{decision.action}[/{colour}]",
        " ".join(decision.reasons) or "–",
    )
