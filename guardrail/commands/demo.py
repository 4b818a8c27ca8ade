"""`guardrail demo`: a LangChain chatbot on the bundled model, guarded."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from guardrail.commands import look
from guardrail.commands.errors import clear_errors, output_folder, warn_of_unreachable_target
from guardrail.commands.settings import read_settings
from guardrail.errors import ConfigurationError, StoreError
from guardrail.guard import Guard
from guardrail.images.pictures import InputImage
from guardrail.policy import Decision
from guardrail.stores import CertificateStore, MemoryStore
from guardrail.stores.base import SharedStore

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

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
    _Request("harmful sign", "bomb", FOLLOW, seed=5),
    _Request("robot command", "left", ROBOT, seed=9),
    _Request("invisible sign", "cake", FOLLOW, seed=10, contrast=0.02),
    _Request("asked again", "tea", FOLLOW, seed=7),
)


def demo(
    out: Annotated[Path, typer.Option(help="Folder for the pictures.")] = Path("guardrail-demo"),
    samples: Annotated[int, typer.Option(min=1, help="Draws per certificate.")] = 100,
) -> None:
    """Guard a small LangChain chatbot on the bundled model: five signs, one of them asked twice."""
    with clear_errors():
        guard_chatbot(look.console(), out, samples)


def guard_chatbot(console: Console, out: Path, samples: int) -> None:
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
    from guardrail.bundled.model import BundledVLM
    from guardrail.bundled.oracle import action_oracle, bundled_oracle
    from guardrail.commands import contact_sheet

    signs = output_folder(out / "signs")
    settings = read_settings()
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
    warn_of_unreachable_target(guards[FOLLOW].classifier, guards[FOLLOW].target_radius)
    seen: list[Decision] = []
    chatbots = {
        prompt: GuardedRunnable(LocalChatModel(vlm=model), guard, on_decision=seen.append)
        for prompt, guard in guards.items()
    }

    rows: list[contact_sheet.Row] = []
    answers: list[str] = []
    table = _table()
    with look.progress(console, "") as show_progress:
        for number, request in enumerate(REQUESTS, 1):
            show_progress(number - 1, len(REQUESTS), request.title)
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
            question = guard.classifier.request(image, request.prompt, guard.target_radius)
            draws = guard.classifier.draws(question, range(3))
            rows.append(contact_sheet.Row(request.title, image, [draw.images()[0] for draw in draws], decision))
            _add(table, request, decision, milliseconds)
            answers.append(f"{request.word.upper()}, “{request.prompt}” – {answer.content}")
    console.print(table)
    console.print("\nWhat the user read:", *answers, sep="\n  ")
    sheet = out / "contact-sheet.png"
    contact_sheet.save(rows, sheet)
    console.print(f"\nPictures: {sheet} (all), {signs} (the signs)")
    console.print(
        f"σ = {smoothing.sigma:g}, α = {smoothing.alpha:g}. Radii are L2 norms of changes to "
        "pixels in [0, 1], at the model and in the original picture. The bundled model reads signs and nothing else; "
        "its oracle was not measured, so radii protect the oracle's verdict."
    )
    store.close()


def _keeping(store: CertificateStore) -> str:
    """Say where certificates are kept, or why they are not."""
    if isinstance(store, SharedStore):
        try:
            store.ping()
        except StoreError as error:
            return f"Certificates are not kept, each request is computed: {error}"
    return f"Certificates are kept in {'memory' if isinstance(store, MemoryStore) else type(store).__name__}"


def _sign(request: _Request) -> InputImage:
    import numpy as np

    from guardrail.bundled.signs import draw_sign, sample_sign

    contrast = (request.contrast, request.contrast)
    sign = sample_sign(np.random.default_rng(request.seed), "held_out", words=[request.word], contrast=contrast)
    return InputImage.load(draw_sign(sign, (512, 512)))


def _table() -> Table:
    numbers = ("radius", "original", "draws", "ms")
    names = ("request", "verdict", *numbers, "action", "reason")
    return look.table(*names, right=numbers, folded=("reason",), gap=1, title="A guarded chatbot")


def _add(table: Table, request: _Request, decision: Decision, milliseconds: float) -> None:
    certificate = decision.certificate
    draws = certificate.draws if certificate and decision.source == "computed" else 0
    table.add_row(
        request.title,
        (certificate.certified_class or "abstain") if certificate else "–",
        f"{certificate.radius:.3f}" if certificate else "–",
        f"{certificate.radius_original_pixels:.3f}" if certificate else "–",
        "hit" if decision.source == "hit" else str(draws),
        f"{milliseconds:.0f}",
        look.action(decision.action),
        " ".join(decision.reasons) or "–",
    )
