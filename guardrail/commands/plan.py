"""`guardrail plan`: how many draws a target radius needs, as a table and as curves."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from guardrail.commands import look
from guardrail.commands.errors import clear_errors, output_folder
from guardrail.errors import ConfigurationError, plainly
from guardrail.statistics.scaling import (
    BetaDistribution,
    EmpiricalDistribution,
    Operation,
    ProbabilityDistribution,
    ScalingPoint,
    UniformDistribution,
    operation,
    scaling_point,
)
from guardrail.statistics.scaling import plan as plan_draws
from guardrail.statistics.sequential import ConfidenceSequence, default_looks

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

BUDGETS = (25, 50, 100, 200, 500, 1000)
"""Budgets that are compared."""
CAP = 0.99999
"""A sample's p above this is lowered to it, so that the mean radius at n → ∞ is finite."""


def plan(  # noqa: PLR0917 - typer reads options from the signature
    target_radius: Annotated[float, typer.Option(help="Radius to certify, at the model's resolution.")] = 0.1,
    sigma: Annotated[float, typer.Option(help="Noise, in units of pixel values in [0, 1].")] = 0.5,
    alpha: Annotated[float, typer.Option(help="Probability of a false certificate.")] = 0.001,
    sample: Annotated[
        Path | None, typer.Option(help="File of probabilities of the majority class, one a line, from your images.")
    ] = None,
    uniform: Annotated[
        tuple[float, float] | None, typer.Option(help="Take p uniform on [LOW, HIGH) instead.", metavar="LOW HIGH")
    ] = None,
    beta: Annotated[tuple[float, float] | None, typer.Option(help="Take p Beta(A, B) instead.", metavar="A B")] = None,
    share: Annotated[float, typer.Option(help="Certify this share of the requests that have the target.")] = 0.9,
    out: Annotated[Path, typer.Option(help="Where to draw the curves, as PNG.")] = Path("guardrail-plan.png"),
) -> None:
    """Plan the number of draws from a target radius, rather than guess it."""
    with clear_errors():
        varies = distribution(sample=sample, uniform=uniform, beta=beta)
        if sample is None and uniform is None and beta is None:
            typer.echo("Assuming p uniform on [1/2, 1), as the paper does; give --sample for your own images.")
        show_plan(look.console(), target_radius, sigma, alpha, varies, share=share, out=out)


def distribution(
    *, sample: Path | None = None, uniform: tuple[float, float] | None = None, beta: tuple[float, float] | None = None
) -> ProbabilityDistribution:
    """Return how p varies over requests: by a sample, or as asked; by default uniform on [1/2, 1), as in the paper.

    Raises:
        ConfigurationError: several are given, or values outside their ranges, or a file that cannot be read.
    """
    if sum(option is not None for option in (sample, uniform, beta)) > 1:
        raise ConfigurationError("give one of --sample, --uniform and --beta, not several")
    try:
        if sample is not None:
            return EmpiricalDistribution([_number(text) for text in sample.read_text("utf-8").split()], cap=CAP)
        return BetaDistribution(*beta) if beta else UniformDistribution(*(uniform or (0.5, 1.0)))
    except (OSError, ValueError) as error:
        of = "" if sample is None else f" from {sample}, which needs one probability a line"
        raise ConfigurationError(f"cannot tell how p varies over requests{of}: {plainly(error)}") from error


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise ValueError(f"{text[:40]!r} is no number") from error


def show_plan(
    console: Console,
    target_radius: float,
    sigma: float,
    alpha: float,
    varies: ProbabilityDistribution,
    *,
    share: float,
    out: Path,
) -> None:
    """Print the plan and a table of budgets, and draw the curves.

    Raises:
        ConfigurationError: an argument outside its range, or a target that no number of draws reaches.
    """
    output_folder(out.parent)
    try:
        planned = plan_draws(target_radius, sigma, alpha, varies, share=share)
        rows = [
            (
                scaling_point(budget, alpha, varies),
                operation(ConfidenceSequence(default_looks(budget), alpha, partition=True), planned.target_q, varies),
            )
            for budget in BUDGETS
        ]
    except ValueError as error:
        raise ConfigurationError(str(error)) from error
    console.print(
        f"Target: radius {target_radius:g} at σ = {sigma:g} (p above {planned.target_q:.4f}), α = {alpha:g}; "
        f"{planned.attainable:.1%} of requests have it."
    )
    console.print(
        f"{planned.draws} draws certify it for {planned.fixed.power:.1%} of requests when all are drawn; "
        f"with early stopping {planned.early.mean_draws:.0f} draws on average, for {planned.early.power:.1%}.",
        style="bold",
    )
    console.print(_table(rows, target_radius))
    _draw(rows, target_radius, out)
    console.print(f"Curves: {out}")


def _table(rows: list[tuple[ScalingPoint, Operation]], target_radius: float) -> Table:
    names = ("n", "radius kept", "paper's law", "certified", "draws", f"≥ {target_radius:g}")
    table = look.table(
        *names,
        right=names,
        title="By budget",
        caption="radius kept, certified: all n drawn; draws, ≥ target: with early stopping",
    )
    for point, early in rows:
        table.add_row(
            str(point.draws),
            f"{point.retained:.3f}",
            f"{point.law:.3f}" if point.law > 0.0 else "–",
            f"{point.certified_share:.3f}",
            f"{early.mean_draws:.1f}",
            f"{early.power:.3f}",
        )
    return table


def _draw(rows: list[tuple[ScalingPoint, Operation]], target_radius: float, out: Path) -> None:
    figure, ((left, right),) = look.figure(9.5, 3.8)
    n = [point.draws for point, _ in rows]
    left.plot(n, [point.retained for point, _ in rows], "o-", label="mean radius retained")
    left.plot(n, [max(point.law, 0.0) for point, _ in rows], "--", label="the paper's law")
    left.plot(n, [point.certified_share for point, _ in rows], "s-", label="share certified")
    left.plot(n, [early.power for _, early in rows], "^-", label=f"radius ≥ {target_radius:g}, early stopping")
    left.set_ylim(0.0, 1.0)
    right.plot(n, n, "--", color="grey", label="all draws")
    right.plot(n, [early.mean_draws for _, early in rows], "o-", label="expected, early stopping")
    right.set_yscale("log")
    right.set_ylabel("draws")
    for axis in (left, right):
        axis.set_xscale("log")
        axis.set_xticks(n, [str(budget) for budget in n])
        axis.minorticks_off()
        axis.set_xlabel("budget n")
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8)
    look.save(figure, out)
