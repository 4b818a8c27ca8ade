"""`guardrail oracle evaluate`: how often an oracle errs, measured on labelled answers."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from guardrail.errors import ConfigurationError
from guardrail.measuring.calibration import MODELS, Calibration, Confusion, Kind, Measurement, error_model
from guardrail.measuring.labelled_table import content_of, lines_of
from guardrail.measuring.recall import Share
from guardrail.oracles.base import FAILED, HARMFUL, HARMLESS, ILLEGIBLE, Oracle, classify, is_failure, judges_afresh
from guardrail.prompts import Prompt
from guardrail.statistics import ImpossibleRateError, LabelledAnswers, OracleError

COLUMNS = ("request", "prompt", "answer", "label")
"""Columns that a file of labelled answers must have; `category` is read too, and others are ignored."""
CLASSES = (HARMLESS, HARMFUL, ILLEGIBLE)
"""Classes of labels, where no oracle says its own."""
_BATCH = 64


@dataclass(frozen=True)
class LabelledText:
    """An answer to a request, and what people say it is.

    Attributes:
        line: where it begins in the file, from 1.
        request: identifies the request; answers to the same one are not independent.
        prompt: text of the request.
        answer: what the model said.
        label: the true class.
        category: what kind of request it is; empty: none.
        judged: what an oracle said, where the file tells; else empty.
    """

    line: int
    request: str
    prompt: str
    answer: str
    label: str
    category: str = ""
    judged: str = ""


def read_labelled(
    table: Path, classes: Sequence[str], judged_column: str | None = None, *, content: bytes | None = None
) -> list[LabelledText]:
    """Read labelled answers from a CSV file (UTF-8, comma-separated, one line of column names).

    Args:
        table: the file.
        classes: what labels may be.
        judged_column: name of the column that says what an oracle said: one of `classes`, `failed` or `failed: why`.
        content: of the file, where it was read before.

    Raises:
        ConfigurationError: no such file, no answer in it, a column is missing, or a line that cannot be used; it names
            the line.
    """
    needed = COLUMNS if judged_column is None else (*COLUMNS, judged_column)
    lines = lines_of(content_of(table) if content is None else content, table, needed)
    rows = [_labelled(row, line, f"{table}, line {line}", classes, judged_column) for line, row in lines]
    if not rows:
        raise ConfigurationError(f"{table} holds no labelled answers: give one a line, under {', '.join(COLUMNS)}")
    return rows


def _labelled(
    row: Mapping[str, str], line: int, where: str, classes: Sequence[str], judged_column: str | None
) -> LabelledText:
    request, label = row["request"].strip(), row["label"].strip()
    judged = row[judged_column].strip() if judged_column is not None else ""
    if not request:
        raise ConfigurationError(f"{where}: no request; name the request that was answered")
    if label not in classes:
        raise ConfigurationError(f"{where}: label {label!r} is none of the classes {', '.join(classes)}")
    if judged_column is not None and judged not in classes and not is_failure(judged):
        raise ConfigurationError(
            f"{where}: {judged_column} {judged!r} is none of the classes {', '.join(classes)}, and not 'failed'"
        )
    category = row.get("category", "").strip()
    return LabelledText(line, request, row["prompt"], row["answer"], label, category, judged)


def first_per_request(rows: Sequence[LabelledText]) -> list[LabelledText]:
    """Keep the first answer to each request, in the order of the file, whatever its label.

    Answers to one request are not independent, and a bound needs independent ones. Which of them counts must not
    depend on the labels: so the order of the file must not, either.
    """
    first: dict[str, LabelledText] = {}
    for row in rows:
        first.setdefault(row.request, row)
    return list(first.values())


def judge(oracle: Oracle, rows: Sequence[LabelledText], progress: Callable[[int], None] | None = None) -> list[str]:
    """Let an oracle judge answers, each afresh; a judgement that failed is `failed`.

    Args:
        oracle: says the class.
        rows: what it is asked about; their labels are not shown to it.
        progress: called with the number of answers judged, after each batch.

    Raises:
        OracleError: the oracle failed as a whole.
    """
    said: list[str] = []
    for start in range(0, len(rows), _BATCH):
        batch = rows[start : start + _BATCH]
        said += classify(oracle, [row.answer for row in batch], [Prompt.of(row.prompt, 1) for row in batch])
        if progress is not None:
            progress(len(batch))
    return [FAILED if is_failure(label) else label for label in said]


def measure(
    data: str,
    content: bytes,
    rows: Sequence[LabelledText],
    said: Sequence[str],
    classes: Sequence[str],
    *,
    left_out: int = 0,
) -> Measurement:
    """Count what an oracle said of labelled answers, one per request.

    Args:
        data: name of the file they come from.
        content: of that file.
        rows: the answers.
        said: what the oracle said of each.
        classes: all classes, in the order of the table.
        left_out: answers of the file that are not counted.
    """
    pairs = [(row.label, FAILED if is_failure(label) else label) for row, label in zip(rows, said, strict=True)]
    by_category: dict[str, list[tuple[str, str]]] = {}
    for row, pair in zip(rows, pairs, strict=True):
        if row.category:
            by_category.setdefault(row.category, []).append(pair)
    return Measurement(
        data=data,
        data_sha256=hashlib.sha256(content).hexdigest(),
        left_out=left_out,
        confusion=Confusion.of(pairs, classes),
        categories={category: Confusion.of(by_category[category], classes) for category in sorted(by_category)},
    )


def report(
    console: Console,
    table: Path,
    oracle: Oracle | str,
    *,
    certified_class: str,
    kind: Kind,
    population: str,
    vlm: str,
    held_out: bool,
    alpha_oracle: float,
    estimate_missed: bool = False,
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
        table: CSV file of labelled answers; see `read_labelled`.
        oracle: judges the answers; or, with a `judged_column`, the name of the oracle that did.
        certified_class: the class A whose certificates will use the bound.
        kind: the error model, chosen before looking at these labels.
        population: what requests the answers were drawn from, in words.
        vlm: name of the model that answered.
        held_out: whether the answers had no part in choosing oracle, threshold or error model.
        alpha_oracle: probability that a bound is wrong, in (0, 1).
        estimate_missed: also bound the rate at which A is missed, for `class-conditional`.
        judged_column: column with the judgements of an oracle elsewhere.
        classes: what labels may be; empty: the oracle's classes.
        confidence: of each interval in the tables.
        out: folder for the record and the plot.

    Raises:
        ConfigurationError: the file or the folder cannot be used, a class that is none, or an error model that does not
            go with this oracle.
        ImpossibleRateError: the labels are not held out, or too few, or the oracle is too bad; or judgements failed on
            which a lower bound would rest.
        OracleError: the oracle cannot judge.
    """
    name = oracle if isinstance(oracle, str) else oracle.name
    classes = tuple(classes) or (CLASSES if isinstance(oracle, str) else oracle.classes)
    _require_that_they_go_together(oracle, classes, certified_class, kind, estimate_missed=estimate_missed)
    content = content_of(table)
    rows = read_labelled(table, classes, judged_column, content=content)
    counted = first_per_request(rows)
    _make_folder(out)  # before the answers are judged, which may take long
    if isinstance(oracle, str):
        said = [row.judged for row in counted]
    else:
        said = _judge_with_a_bar(console, oracle, counted)
        classes = tuple(dict.fromkeys((*classes, *oracle.classes)))
    measured = measure(table.name, content, counted, said, classes, left_out=len(rows) - len(counted))
    _show(console, name, measured, certified_class, confidence)
    labels = LabelledAnswers.count(
        [(row.request, row.label, label) for row, label in zip(counted, said, strict=True)],
        certified_class,
        population=population,
        vlm=vlm,
        held_out=held_out,
        oracle=name,
    )
    try:
        if kind == "symmetric" or estimate_missed:
            _require_no_failures(measured, certified_class)
        error = error_model(labels, kind, alpha_oracle, estimate_missed=estimate_missed)
    except ValueError:
        plot(measured, certified_class, confidence, None, out / "oracle-error.png")
        raise
    plot(measured, certified_class, confidence, error, out / "oracle-error.png")
    record = Calibration(error=error, measured=measured)
    record.save(out / "oracle-error.json")
    console.print(
        f"\nError model for class '{escape(certified_class)}': {error.name}. It spends {error.alpha_oracle:g} of a "
        "certificate's alpha: one coin for all certificates that use these labels. Assumed: "
        f"{error.assumption}. Also assumed, which no alpha covers: {escape(error.transfer or '')}."
    )
    if failed := measured.confusion.failed:
        console.print(
            f"[yellow]{failed} judgements failed, and count as not called '{escape(certified_class)}'. So the "
            "bound also assumes that judgements of a certificate's draws fail as often: find out why, and measure "
            "again.[/yellow]"
        )
    console.print(f"Record: {out / 'oracle-error.json'}   Plot: {out / 'oracle-error.png'}")
    return record


def _require_that_they_go_together(
    oracle: Oracle | str, classes: Sequence[str], certified_class: str, kind: Kind, *, estimate_missed: bool
) -> None:
    if certified_class not in classes or certified_class in {FAILED, ILLEGIBLE}:
        raise ConfigurationError(f"class {certified_class!r} cannot be certified; the classes are {', '.join(classes)}")
    if FAILED in classes:
        raise ConfigurationError("'failed' is no class of an answer: it is what a failed judgement counts as")
    if estimate_missed and kind != "class-conditional":
        raise ConfigurationError(f"the model {kind} has no rate of missed answers: estimate it for class-conditional")
    if not isinstance(oracle, str) and MODELS[kind].assumes_independence and not judges_afresh(oracle):
        raise ConfigurationError(
            f"the model {kind} assumes errors that are independent over the draws, but oracle {oracle.name} repeats "
            "its judgement for an equal answer: use the model worst-case"
        )


def _require_no_failures(measured: Measurement, a: str) -> None:
    """Refuse failed judgements of answers that are A: where fewer fail, a *lower* bound from them claims too much."""
    failed = measured.confusion.counts[a][FAILED]
    if failed:
        raise ImpossibleRateError(
            f"{failed} judgements of answers that are {a!r} failed: a rate bounded from below may not rest on them, as "
            "fewer may fail in use; find out why they failed and measure again, or use class-conditional without "
            "--estimate-missed, or worst-case"
        )


def _make_folder(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(
            f"{out} cannot be a folder for the record: {error.strerror}; choose another"
        ) from error


def _judge_with_a_bar(console: Console, oracle: Oracle, rows: Sequence[LabelledText]) -> list[str]:
    columns = (TextColumn("judging"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=len(rows))
        return judge(oracle, rows, lambda n: bar.advance(task, n))


def _show(console: Console, name: str, measured: Measurement, a: str, confidence: float) -> None:
    """Print what was counted."""
    counted = measured.confusion.total
    console.print(
        f"oracle  {escape(name)}\ndata    {escape(measured.data)} {measured.data_sha256[:12]}\n"
        f"counted {counted} of {counted + measured.left_out} answers: the first to each request; "
        f"{measured.left_out} left out\n"
    )
    console.print(_confusion_table(measured.confusion))
    console.print()
    console.print(_rates_table(measured, a, confidence))
    console.print(
        f"\nwrong: not given its class. false: called {escape(a)}, of those that are not. "
        f"missed: not called {escape(a)}, of those that are. Each with its two-sided {confidence:.0%} "
        "interval (Clopper–Pearson); failed judgements are no class."
    )


def _confusion_table(confusion: Confusion) -> Table:
    said = _shown_columns(confusion)
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    table.add_column("answer is")
    for label in said:
        table.add_column(f"called {escape(label)}", justify="right")
    for truth, row in confusion.counts.items():
        cells = (f"[{'green' if truth == label else 'red'}]{row[label]}[/]" if row[label] else "0" for label in said)
        table.add_row(escape(truth), *cells)
    return table


def _rates_table(measured: Measurement, a: str, confidence: float) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    table.add_column("category")
    for name in ("answers", "wrong", "false", "missed", "failed"):
        table.add_column(name, justify="right", no_wrap=True)
    for name, confusion in {"all": measured.confusion, **measured.categories}.items():
        shares = (confusion.wrong(confidence), confusion.false(a, confidence), confusion.missed(a, confidence))
        table.add_row(escape(name), str(confusion.total), *map(_shown, shares), str(confusion.failed))
    return table


def _shown(share: Share) -> str:
    if not share.total:
        return "–"
    return f"{share.count}/{share.total} ({100 * share.lower:.1f}–{100 * share.upper:.1f} %)"


def _shown_columns(confusion: Confusion) -> list[str]:
    """What the oracle may say; `failed` only where it occurs."""
    said = next(iter(confusion.counts.values()))
    return [label for label in said if label != FAILED or confusion.failed]


def plot(measured: Measurement, a: str, confidence: float, error: OracleError | None, path: Path) -> None:
    """Draw the confusion matrix, and each category's error rates with their intervals.

    Args:
        measured: what was counted.
        a: the certified class.
        confidence: of each interval.
        error: gives the title its bound; None: there is none.
        path: of the picture, PNG.
    """
    import numpy as np
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    confusion, rows = measured.confusion, {"all": measured.confusion, **measured.categories}
    figure = Figure(figsize=(11.0, max(3.6, 1.6 + 0.45 * len(rows))), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2, width_ratios=(1.0, 1.35))

    said = _shown_columns(confusion)
    counts = np.array([[row[label] for label in said] for row in confusion.counts.values()], dtype=float)
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.zeros_like(counts), where=totals > 0)
    left.imshow(shares, cmap="Blues", vmin=0.0, vmax=1.0, aspect="auto")
    for (i, j), share in np.ndenumerate(shares):
        colour = "white" if share > 0.6 else "black"
        left.text(j, i, f"{counts[i, j]:.0f}", ha="center", va="center", color=colour)
    left.set_xticks(range(len(said)), said)
    left.set_yticks(range(len(confusion.counts)), list(confusion.counts))
    left.set_xlabel("called")
    left.set_ylabel("is")
    left.set_title(f"{confusion.total} answers, one per request", fontsize=11)

    kinds: tuple[tuple[str, str, Callable[[Confusion], Share]], ...] = (
        (f"not {a}, called {a}", "#b3261e", lambda c: c.false(a, confidence)),
        (f"{a}, not called {a}", "#d8a13a", lambda c: c.missed(a, confidence)),
    )
    for offset, (what, colour, rate) in zip((-0.14, 0.14), kinds, strict=True):
        found = [(place, share) for place, share in enumerate(map(rate, rows.values())) if share.total]
        places, values = [place + offset for place, _ in found], [share for _, share in found]
        bars = [[s.share - s.lower for s in values], [s.upper - s.share for s in values]]
        middle = [s.share for s in values]
        right.errorbar(middle, places, xerr=bars, fmt="o", color=colour, capsize=3, markersize=4, label=what)
    right.set_yticks(range(len(rows)), [f"{name} ({c.total})" for name, c in rows.items()])
    right.set_ylim(len(rows) - 0.5, -0.5)
    right.set_xlim(-0.01, 1.0)
    right.set_xlabel(f"error rate, {confidence:.0%} interval")
    bound = re.sub(r"\d+\.\d+", lambda rate: f"{float(rate[0]):.4f}", error.name) if error is not None else "none"
    right.set_title(f"bound: {bound}", fontsize=11)
    right.spines[["top", "right"]].set_visible(False)
    right.grid(axis="x", alpha=0.3)
    right.legend(fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
