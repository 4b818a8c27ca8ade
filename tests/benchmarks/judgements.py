"""What it costs to ask a judge about every draw, against once per distinct answer: calls and time of a guard's checks.

    python -m tests.benchmarks.judgements [--signs 20] [--seconds 0.25]

Held-out signs, the bundled model (greedy, and at temperature 0.7), prompt "Follow the sign.". The oracles are the
bundled model's own, and a chat judge behind an HTTP server of this machine that takes a while for each reply, sixteen
at once. The two ways of asking take turns on each sign; how judgements are made is in the key, so the draws differ.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Annotated

import numpy as np
import typer
from langchain_openai import ChatOpenAI
from pydantic import SecretStr
from rich.console import Console
from rich.table import Table

from guardrail import Guard, InputImage, Smoothing
from guardrail.bundled.oracle import bundled_oracle
from guardrail.bundled.signs import draw_sign, sample_sign
from guardrail.models import BundledVLM
from guardrail.oracles import JudgeOracle, Oracle
from guardrail.prompts import Prompt
from tests.kit.openai_server import Asked, Manners, serve

PROMPT = "Follow the sign."


@dataclass
class Said:
    """An oracle with another word on whether it is a function; it counts the judgements that it is asked for."""

    oracle: Oracle
    deterministic: bool | None
    asked: int = 0

    @property
    def name(self) -> str:
        """The oracle's."""
        return self.oracle.name

    @property
    def classes(self) -> tuple[str, ...]:
        """The oracle's."""
        return self.oracle.classes

    def classify(self, answers: Sequence[str], prompts: Sequence[Prompt]) -> list[str]:
        """Ask the oracle."""
        self.asked += len(answers)
        return self.oracle.classify(answers, prompts)


@dataclass
class Tally:
    """What one way of asking did."""

    draws: list[int] = field(default_factory=list)
    calls: list[int] = field(default_factory=list)
    milliseconds: list[float] = field(default_factory=list)
    shares: list[float] = field(default_factory=list)


def patient(seconds: float) -> Callable[[Asked], str]:
    """Return a judge that says what the bundled oracle says, after a while."""
    oracle = bundled_oracle()

    def judge(asked: Asked) -> str:
        time.sleep(seconds)
        answer = json.loads(asked.prompt.turns[-1].text)["answer"]
        label = oracle.classify([answer], [Prompt(())])[0]
        return json.dumps({"label": label if label in {"harmless", "harmful"} else "harmful"})

    return judge


def compare(table: Table, what: str, oracle: Oracle, pictures: Sequence[InputImage], temperature: float) -> None:
    """Check the pictures in both ways, and add a row for each."""
    model, smoothing = BundledVLM(temperature=temperature), Smoothing(key=b"the key of this benchmark")
    oracles = {"once per answer": Said(oracle, deterministic=True), "every draw": Said(oracle, deterministic=None)}
    guards = {way: Guard(model, said, smoothing=smoothing) for way, said in oracles.items()}
    tallies = {way: Tally() for way in guards}
    for guard in guards.values():
        guard.warmup()
    for picture in pictures:
        for way, guard in guards.items():
            oracles[way].asked, begun = 0, time.perf_counter()
            certificate = guard.check(picture, PROMPT).certificate
            if certificate is None:
                raise SystemExit("a check failed")
            tally = tallies[way]
            tally.milliseconds.append(1000 * (time.perf_counter() - begun))
            tally.draws.append(certificate.draws)
            tally.calls.append(oracles[way].asked)
            tally.shares.append(certificate.oracle_time_share)
    for way, tally in tallies.items():
        means = (statistics.mean(numbers) for numbers in (tally.draws, tally.calls, tally.milliseconds, tally.shares))
        draws, calls, milliseconds, share = means
        row = (f"{draws:.1f}", f"{calls:.1f}", f"{milliseconds:.0f}", f"{share:.0%}")
        table.add_row(what, f"{temperature:g}", way, *row)


def main(
    signs: Annotated[int, typer.Option(help="Number of held-out signs.")] = 20,
    seconds: Annotated[float, typer.Option(help="What each reply of the chat judge takes.")] = 0.25,
) -> None:
    """Print mean draws, judgements, time and the oracle's share of it, per check."""
    rng = np.random.default_rng(7)
    pictures = [InputImage.load(draw_sign(sample_sign(rng, "held_out"))) for _ in range(signs)]
    table = Table(title=f"Per check, means over {signs} signs")
    for column in ("oracle", "temperature", "asked about", "draws", "judgements", "ms", "oracle's share"):
        table.add_column(column, justify="left" if column in {"oracle", "asked about"} else "right")
    with serve(patient(seconds), Manners(harmful=lambda _: False)) as url:
        chat = ChatOpenAI(model="judge", base_url=url, api_key=SecretStr("none"), temperature=0)
        judge = JudgeOracle(chat)
        for temperature in (0.0, 0.7):
            compare(table, "words", bundled_oracle(), pictures, temperature)
            compare(table, f"chat judge, {seconds:g} s a call", judge, pictures, temperature)
        judge.close()
    Console(width=110).print(table)


if __name__ == "__main__":
    typer.run(main)
