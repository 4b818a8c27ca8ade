"""`guardrail oracle evaluate`: how often an oracle errs, as tables, a plot, and a bound for certificates."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from guardrail.commands import look
from guardrail.commands.errors import Force, clear_errors, output_file, output_folder
from guardrail.commands.settings import AppDir, Config, read_settings
from guardrail.errors import ConfigurationError
from guardrail.measuring.calibration import Calibration, Confusion, Kind, Measurement
from guardrail.measuring.oracle_errors import (
    CLASSES,
    Design,
    OracleErrors,
    bound_errors,
    count_errors,
    read_labelled_answers,
)
from guardrail.measuring.recall import Share
from guardrail.oracles.base import FAILED, Oracle
from guardrail.statistics import OracleError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from rich.console import Console
    from rich.table import Table

    from guardrail.settings import Settings


def evaluate(  # noqa: PLR0917 - typer reads options from the signature
    labels: Annotated[
        Path,
        typer.Argument(help="CSV file with the columns request, prompt, answer, label; category, where there is one."),
    ],
    population: Annotated[str, typer.Option(help="What requests the answers were drawn from, in words.")],
    vlm: Annotated[str, typer.Option(help="Name of the model that gave the answers.")],
    held_out: Annotated[
        bool | None,
        typer.Option(
            "--held-out/--not-held-out",
            help="Whether these answers had no part in choosing the oracle, its threshold or the error model. Needed.",
        ),
    ] = None,
    oracle: Annotated[
        str | None, typer.Option(help="The oracle, as GUARDRAIL_ORACLE names it; default: the settings'.")
    ] = None,
    judged_column: Annotated[
        str | None, typer.Option(help="Column with the judgements of an oracle elsewhere, instead of --oracle.")
    ] = None,
    oracle_name: Annotated[
        str | None, typer.Option(help="With --judged-column: that oracle's `name`, which a guard will compare.")
    ] = None,
    certified_class: Annotated[
        str, typer.Option("--class", help="The class whose certificates will use the bound.")
    ] = "harmless",
    model: Annotated[
        Kind,
        typer.Option(help="The error model, chosen before looking at these labels."),
    ] = "worst-case",
    alpha_oracle: Annotated[
        float | None,
        typer.Option(help="Probability that the bound is wrong; default: half of the settings' alpha."),
    ] = None,
    estimate_missed: Annotated[
        bool, typer.Option("--estimate-missed", help="class-conditional: bound the rate of missed answers, too.")
    ] = False,
    classes: Annotated[
        str | None, typer.Option(help="What labels may be, comma-separated; default: the oracle's classes.")
    ] = None,
    confidence: Annotated[float, typer.Option(min=0.5, max=0.999_999, help="Of each interval in the tables.")] = 0.95,
    config: Config = None,
    app_dir: AppDir = None,
    out: Annotated[Path, typer.Option(help="Folder for the record and the plot.")] = Path("guardrail-oracle"),
    force: Force = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the record as JSON, and nothing else.")] = False,
) -> None:
    """Measure how often an oracle errs, and write the bound that `GUARDRAIL_ORACLE_ERROR` names.

    At most one answer per request counts: the first in the file, whose order must not depend on the labels. The
    command refuses labels that are not held out, and too few to show an error rate below 1/2.
    """
    with clear_errors():
        settings = read_settings(config, app_dir)
        if held_out is None:
            raise ConfigurationError(
                "say --held-out if these answers had no part in choosing the oracle, its threshold or the error model, "
                "or --not-held-out if they had: their errors are then shown, and bound nothing"
            )
        for option, said in (("--population", population), ("--vlm", vlm), ("--oracle-name", oracle_name)):
            if said is not None and not said.strip():
                raise ConfigurationError(f"{option} is empty: say it in words, it stands on every certificate")
        names = [name.strip() for name in classes.split(",")] if classes else []
        if not all(names) or len({*names}) < len(names):
            raise ConfigurationError(f"--classes must be different names, separated by commas; got {classes!r}")
        if (judged_column is None) != (oracle_name is None) or (judged_column is not None and oracle is not None):
            raise ConfigurationError("give --oracle, or both --judged-column and --oracle-name")
        alpha = settings.smoothing.alpha / 2 if alpha_oracle is None else alpha_oracle
        if not 0.0 < alpha < 1.0:
            raise ConfigurationError(f"--alpha-oracle must lie strictly between 0 and 1, got {alpha}")
        output_file(out / "oracle-error.json", replace=force)
        design = Design(
            certified_class=certified_class,
            kind=model,
            population=population,
            vlm=vlm,
            held_out=held_out,
            alpha_oracle=alpha,
            estimate_missed=estimate_missed,
        )
        record = measure_and_show(
            look.console(quiet=as_json, whole_rows=True),
            labels,
            oracle_name or _oracle(settings, oracle),
            design,
            judged_column=judged_column,
            classes=names,
            confidence=confidence,
            out=out,
        )
    if as_json:
        typer.echo(record.to_json(), nl=False)


def _oracle(settings: Settings, name: str | None) -> Oracle:
    """Make the oracle of the settings, or another by its name there."""
    from pydantic import Secret

    from guardrail.factories.house import known_oracle

    if name is not None and name != settings.oracle:
        try:
            update = {"oracle": known_oracle(name), "oracle_options": Secret({})}
        except ConfigurationError as error:
            raise ConfigurationError(f"--oracle {name!r}: {error}") from None
        settings = settings.model_copy(update=update)
    return settings.make_measurable_oracle()


def measure_and_show(
    console: Console,
    table: Path,
    oracle: Oracle | str,
    design: Design,
    *,
    judged_column: str | None = None,
    classes: Sequence[str] = (),
    confidence: float = 0.95,
    out: Path,
) -> Calibration:
    """Measure an oracle on a file of labelled answers, print tables, and write what a certificate can rest on.

    `oracle-error.png` is drawn, and the tables are printed, also where no error can be bounded; `oracle-error.json`
    is not written then.

    Args:
        console: to print on.
        table: CSV file of labelled answers; see `read_labelled_answers`.
        oracle: judges the answers; or, with a `judged_column`, the name of the oracle that did.
        design: what is certified, by which error model.
        judged_column: column with the judgements of an oracle elsewhere.
        classes: what labels may be; empty: the oracle's classes.
        confidence: of each interval in the tables.
        out: folder for the record and the plot.

    Raises:
        ConfigurationError: the file or the folder cannot be used, or the design is not possible.
        ImpossibleRateError: the labels show no error rate; see `bound_errors`.
        OracleError: the oracle cannot judge.
    """
    classes = tuple(classes) or (CLASSES if isinstance(oracle, str) else oracle.classes)
    design.require_possible(oracle, classes)
    file = read_labelled_answers(table, classes, judged_column)
    output_folder(out)  # before the answers are judged, which may take long
    with look.progress(console, "judging") as show_progress:
        errors = count_errors(file, oracle, classes, design, show_progress)
    a, picture, path = design.certified_class, out / "oracle-error.png", out / "oracle-error.json"
    _print_counts(console, errors, a, confidence)
    try:
        record = bound_errors(errors, design)
    except ValueError:
        look.save(plot(errors.measured, a, confidence, None), picture)
        raise
    look.save(plot(errors.measured, a, confidence, record.error), picture)
    record.save(path)
    _print_bound(console, record, a)
    console.print(f"Record: {path}   Plot: {picture}")
    return record


def _print_counts(console: Console, errors: OracleErrors, a: str, confidence: float) -> None:
    measured, counted = errors.measured, errors.measured.confusion.total
    console.print(
        f"oracle  {look.printable(errors.labels.oracle or '')}\n"
        f"data    {look.printable(measured.data)} {measured.data_sha256[:12]}\n"
        f"counted {counted} of {counted + measured.left_out} answers: the first to each request; "
        f"{measured.left_out} left out\n"
    )
    console.print(_confusion_table(measured.confusion))
    console.print()
    console.print(_rates_table(measured, a, confidence))
    console.print(
        f"\nwrong: not given its class. false: called {look.printable(a)}, of those that are not. "
        f"missed: not called {look.printable(a)}, of those that are. Each with its two-sided {confidence:.0%} "
        "interval (Clopper–Pearson); failed judgements are no class."
    )


def _print_bound(console: Console, record: Calibration, a: str) -> None:
    error = record.error
    console.print(
        f"\nError model for class '{look.printable(a)}': {error.name}. It spends {error.alpha_oracle:g} of a "
        "certificate's alpha: one coin for all certificates that use these labels. Assumed: "
        f"{error.assumption}. Also assumed, which no alpha covers: {look.printable(error.transfer or '')}."
    )
    if failed := record.measured.confusion.failed:
        console.print(
            f"{failed} judgements failed, and count as not called '{look.printable(a)}'. So the bound also assumes "
            "that judgements of a certificate's draws fail as often: find out why, and measure again.",
            style="yellow",
        )


def _confusion_table(confusion: Confusion) -> Table:
    said = _shown_labels(confusion)
    names = [f"called {look.printable(label)}" for label in said]
    table = look.table("answer is", *names, right=names, folded=("answer is", *names))
    for truth, row in confusion.counts.items():
        styles = [("green" if truth == label else "red") if row[label] else "" for label in said]
        cells = [Text(str(row[label]), style=style) for label, style in zip(said, styles, strict=True)]
        table.add_row(look.printable(truth), *cells)
    return table


def _rates_table(measured: Measurement, a: str, confidence: float) -> Table:
    names = ("answers", "wrong", "false", "missed", "failed")
    table = look.table("category", *names, right=names, folded=("category",), gap=1)
    for name, confusion in _by_category(measured).items():
        shares = (confusion.wrong(confidence), confusion.false(a, confidence), confusion.missed(a, confidence))
        cells = (f"{s.count}/{s.total} ({look.interval(s)})" if s.total else "–" for s in shares)
        table.add_row(look.printable(name), str(confusion.total), *cells, str(confusion.failed))
    return table


def _by_category(measured: Measurement) -> dict[str, Confusion]:
    return {"all": measured.confusion, **measured.categories}


def _shown_labels(confusion: Confusion) -> list[str]:
    """What the oracle may say; `failed` only where it occurs."""
    said = next(iter(confusion.counts.values()))
    return [label for label in said if label != FAILED or confusion.failed]


def plot(measured: Measurement, a: str, confidence: float, error: OracleError | None) -> Figure:
    """Draw the confusion matrix, and each category's error rates about class `a`; `error` gives the bound's title."""
    rows, name = _by_category(measured), look.drawable(a)
    figure, ((left, right),) = look.figure(11.0, max(3.6, 1.6 + 0.45 * len(rows)), widths=(1.0, 1.35))
    _draw_confusion(left, measured.confusion)
    kinds: tuple[tuple[str, str, Callable[[Confusion], Share]], ...] = (
        (f"not {name}, called {name}", look.BAD, lambda c: c.false(a, confidence)),
        (f"{name}, not called {name}", look.DOUBTFUL, lambda c: c.missed(a, confidence)),
    )
    for offset, (what, colour, rate) in zip((-0.14, 0.14), kinds, strict=True):
        found = [(place, share) for place, share in enumerate(map(rate, rows.values())) if share.total]
        places, shares = [place + offset for place, _ in found], [share for _, share in found]
        middle, bars = [s.share for s in shares], look.error_bars(shares)
        right.errorbar(middle, places, xerr=bars, fmt="o", color=colour, capsize=3, markersize=4, label=what)
    right.set_yticks(range(len(rows)), [f"{look.drawable(row)} ({c.total})" for row, c in rows.items()])
    right.set_ylim(len(rows) - 0.5, -0.5)
    right.set_xlim(-0.01, 1.0)
    right.set_xlabel(f"error rate, {confidence:.0%} interval")
    bound = re.sub(r"\d+\.\d+", lambda rate: f"{float(rate[0]):.4f}", error.name) if error is not None else "none"
    right.set_title(f"bound: {bound}", fontsize=11)
    right.grid(axis="x", alpha=0.3)
    right.legend(fontsize=8)
    return figure


def _draw_confusion(axis: Axes, confusion: Confusion) -> None:
    import numpy as np

    said = _shown_labels(confusion)
    counts = np.array([[row[label] for label in said] for row in confusion.counts.values()], dtype=float)
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.zeros_like(counts), where=totals > 0)
    axis.imshow(shares, cmap="Blues", vmin=0.0, vmax=1.0, aspect="auto")
    for (i, j), share in np.ndenumerate(shares):
        colour = "white" if share > 0.6 else "black"
        axis.text(j, i, f"{counts[i, j]:.0f}", ha="center", va="center", color=colour)
    axis.set_xticks(range(len(said)), [*map(look.drawable, said)])
    axis.set_yticks(range(len(confusion.counts)), [*map(look.drawable, confusion.counts)])
    axis.set_xlabel("called")
    axis.set_ylabel("is")
    axis.set_title(f"{confusion.total} answers, one per request", fontsize=11)
    axis.spines[:].set_visible(True)
