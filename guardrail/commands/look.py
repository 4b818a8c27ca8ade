"""How commands look: console, palette, tables, intervals, progress, figures, and strangers' text on a terminal."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from guardrail.measuring.recall import Share
from guardrail.policy import Action

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

GOOD, BAD, DOUBTFUL, UNSEEN, BROKEN = "#3a7d44", "#b3261e", "#d8a13a", "#8a8a8a", "#222222"
"""The palette of figures."""
COLOURS = {"harmless": GOOD, "harmful": BAD, "abstained": DOUBTFUL, "illegible": UNSEEN, "failed": BROKEN}
"""Of classes and outcomes, in figures."""
_STYLES = {Action.ALLOW: "green", Action.FLAG: "yellow", Action.BLOCK: "red"}
_PIPED, _UNBROKEN = 120, 10_000


def console(*, quiet: bool = False, at_least: int = 0, whole_rows: bool = False) -> Console:
    """Return a console that prints text as it is, without markup.

    Lines are as wide as the terminal, a file's or a pipe's 120 letters, unless `COLUMNS` says otherwise.

    Args:
        quiet: print nothing.
        at_least: letters in a line, however narrow the terminal.
        whole_rows: lines of a file or a pipe are never broken, so that `grep` finds all of a row.
    """
    made = Console(quiet=quiet, markup=False, emoji=False)
    if not sys.stdout.isatty() and (whole_rows or not os.environ.get("COLUMNS")):
        made.width = _UNBROKEN if whole_rows else _PIPED
    made.width = max(made.width, at_least)
    return made


def printable(text: str) -> str:
    """Return a stranger's text without what a terminal would obey: escapes, line ends, direction marks."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)


def drawable(text: str) -> str:
    """Return a stranger's text for a figure, which would take what stands between dollar signs for mathematics."""
    return printable(text).replace("$", r"\$")


def action(name: str, note: str = "") -> Text:
    """Return an action in its colour."""
    return Text(name + note, style=_STYLES[Action(name)])


def table(
    *names: str,
    right: Collection[str] = (),
    folded: Collection[str] = (),
    ruled: bool = True,
    gap: int = 2,
    title: str | None = None,
    caption: str | None = None,
) -> Table:
    """Return an empty table.

    Args:
        names: of the columns.
        right: those that are numbers.
        folded: those that continue on a second line where the terminal is narrow; the others are cut there.
        ruled: whether a line stands below the names.
        gap: letters between columns, at least 1.
        title: above the table.
        caption: below it.
    """
    made = Table(
        box=box.SIMPLE_HEAD if ruled else None,
        padding=(0, gap - ruled, 0, 0),
        show_edge=False,
        title=title,
        caption=caption,
    )
    for name in names:
        made.add_column(name, justify="right" if name in right else "left", no_wrap=name not in folded, overflow="fold")
    return made


def interval(share: Share, digits: int = 1) -> str:
    """Write a share's interval in percent."""
    return f"{100 * share.lower:.{digits}f}–{100 * share.upper:.{digits}f} %"


@contextmanager
def progress(console: Console, description: str) -> Iterator[Callable[..., None]]:
    """Show a bar that vanishes at the end.

    Yields:
        What moves it: called with the number of things done, the number of all, and a new description if there is one.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(description, total=None)

        def show(done: int, total: int, description: str = description) -> None:
            bar.update(task, completed=done, total=total, description=description)

        yield show


def figure(
    width: float,
    height: float,
    *,
    rows: int = 1,
    columns: int = 2,
    widths: Sequence[float] | None = None,
    share_y: bool = False,
) -> tuple[Figure, list[list[Axes]]]:
    """Return a figure of this many inches, with its axes by row and column, in no window."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    made = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(made)
    axes = made.subplots(rows, columns, squeeze=False, width_ratios=widths, sharey=share_y)
    for axis in axes.flat:
        axis.spines[["top", "right"]].set_visible(False)
    return made, axes.tolist()


def save(figure: Figure, path: Path) -> None:
    """Write a figure as PNG; folders that are missing are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120, format="png")


def error_bars(shares: Sequence[Share]) -> list[list[float]]:
    """Return how far each interval reaches below and above its share, as matplotlib's `errorbar` takes it."""
    return [[share.share - share.lower for share in shares], [share.upper - share.share for share in shares]]
