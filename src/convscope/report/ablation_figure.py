"""The paper's Table 2 as a figure: errors of every variant over the seeds, beside the paper's."""

from __future__ import annotations

import statistics
from functools import partial
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from convscope.experiments.ablation.table import Ablation, VariantRow
from convscope.experiments.number_words import spread_words
from convscope.experiments.published import NAMES
from convscope.report.chart import chart, inside, name_rows, row_height, value_rows
from convscope.report.sheet import Note, Panel, Sheet
from convscope.report.style import CHANCE, FAINT, LABELS, RULE
from convscope.text import counted

__all__ = ["ablation_figure"]

WIDTH, LINE = 9.6, 0.34  # inches: the page, and a row at least
NAME = 1.9  # inches: the variants' names
TRAIN, VAL = LABELS[0], LABELS[1]
SHIFT = 0.15  # of a row: training above, validation below
SEED = 0.14  # of a row, from a mean to the dots of its seeds
PAPER_END = 80  # of the paper's axis, %
MARKS = {"zfnet": "o", "alexnet": "s"}


def ablation_figure(ablation: Ablation, *, title: str = "", subtitle: str = "") -> Figure:
    """A row per variant: (a) its errors here, (b) the paper's, then top-5 and weights.

    (a) a mark is the mean over the seeds, its bar one standard deviation up and down, the small
    dots are the seeds. Dotted: the whole network's validation error; dashed: guessing.
    """
    sheet = Sheet(title or "Ablation", subtitle or _described(ablation), width=WIDTH)
    names = [row.variant.name for row in ablation.rows]
    height = len(names) * max(LINE, row_height(names, NAME))
    words = "The paper's, ImageNet, %"
    papers = Panel(partial(_draw_paper, ablation=ablation), words, height=height, width=0.75)
    if not _columns(ablation):
        papers = Panel(None, words, [Note("none of these rows is the paper's", color=FAINT)])
    sheet.row(
        [
            Panel(partial(_draw_here, ablation=ablation), "Top-1 error here, %", height=height),
            papers,
        ]
    )
    sheet.text("Beside (a): validation top-5 error, %; weights", color=FAINT)
    sheet.legend(_key(ablation))
    return sheet.figure()


def _described(ablation: Ablation) -> str:
    count = len(ablation.seeds)
    return (
        f"{ablation.architecture.name}, {counted(ablation.recipe.epochs, 'epoch')} each, "
        f"{count} seed{'s' if count > 1 else ''} · {ablation.images[0]:,} images of "
        f"{ablation.data}, tested on {ablation.images[1]:,}"
    )


def _columns(ablation: Ablation) -> list[str]:
    """The columns of the paper's table that some row is in."""
    papers = {row.paper.beside(row.architecture.name)[0] for row in ablation.rows if row.paper}
    return sorted(papers, reverse=True)


def _draw_here(axes: Axes, ablation: Ablation) -> None:
    chart(axes, lines="")
    name_rows(axes, [row.variant.name for row in ablation.rows], NAME)
    value_rows(axes, [_numbers(row) for row in ablation.rows])
    end = _end(ablation)
    axes.set_xlim(0, end)
    whole = ablation.rows[0].values("error")
    if whole:
        mean = 100 * statistics.fmean(whole)
        axes.axvline(mean, color=VAL, linewidth=0.7, linestyle=(0, (1, 2)), zorder=0)
    if 100 * ablation.chance <= end:
        axes.axvline(100 * ablation.chance, **CHANCE)
    for i, row in enumerate(ablation.rows):
        _between(axes, i)
        _measured(axes, i, row)


def _draw_paper(axes: Axes, ablation: Ablation) -> None:
    chart(axes, lines="")
    axes.set(xlim=(0, PAPER_END), ylim=(len(ablation.rows) - 0.5, -0.5), yticks=[])
    axes.spines["left"].set_visible(False)
    for i, row in enumerate(ablation.rows):
        _between(axes, i)
        if row.paper is not None:
            column, (train, top1, _) = row.paper.beside(row.architecture.name)
            axes.plot([train], [i - SHIFT], color=TRAIN, **_mark(column))
            axes.plot([top1], [i + SHIFT], color=VAL, **_mark(column))


def _mark(column: str) -> dict[str, Any]:
    """How the numbers of a column of the paper's table look."""
    return {"marker": MARKS[column], "markersize": 4, "mfc": "white", "mew": 1.2}


def _between(axes: Axes, row: int) -> None:
    if row:
        axes.axhline(row - 0.5, color=RULE, linewidth=0.4, zorder=0)


def _measured(axes: Axes, at: int, row: VariantRow) -> None:
    for field, color, shift in (("train_error", TRAIN, -SHIFT), ("error", VAL, SHIFT)):
        values = [100 * value for value in row.values(field)]
        if not values:
            continue
        y = at + shift
        beside = y + (SEED if shift > 0 else -SEED)
        axes.plot(values, [beside] * len(values), "o", color=color, markersize=2.2, mew=0)
        mean = statistics.fmean(values)
        if len(values) > 1:
            half = statistics.stdev(values)
            axes.plot([mean - half, mean + half], [y, y], color=color, linewidth=1.2)
        axes.plot([mean], [y], "o", color=color, markersize=4.5)
    if not row.trainings:
        inside(axes, 0.02, at, "diverged", data="y", va="center")


def _numbers(row: VariantRow) -> str:
    """Top-5 error, weights."""
    return f"{spread_words(row.values('top5_error'))};  {_counted(row.parameters)}"


def _counted(weights: int) -> str:
    """1,234,567 as 1.23 M."""
    for size, letter in ((10**6, "M"), (10**3, "k")):
        if weights >= size:
            return f"{weights / size:.3g} {letter}"
    return str(weights)


def _end(ablation: Ablation) -> int:
    """The next ten above every error, %."""
    errors = [
        e for row in ablation.rows for e in (*row.values("error"), *row.values("train_error"))
    ]
    return min(100, 10 * (int(100 * max([*errors, 0.0]) / 10) + 1))


def _key(ablation: Ablation) -> list[Line2D]:
    marks = [
        Line2D([], [], color=TRAIN, marker="o", markersize=4, label="training images"),
        Line2D([], [], color=VAL, marker="o", markersize=4, label="validation images"),
        Line2D([], [], color=VAL, linewidth=0.7, linestyle=(0, (1, 2)), label="the first row's"),
    ]
    if 100 * ablation.chance <= _end(ablation):
        marks.append(Line2D([], [], **CHANCE, label="guessing"))
    for name in _columns(ablation):
        words = f"paper: {NAMES[name]}"
        marks.append(Line2D([], [], color=FAINT, linestyle="", label=words, **_mark(name)))
    return marks
