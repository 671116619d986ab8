"""The paper's Table 2 as a figure: errors of every variant over the seeds, beside the paper's."""

from __future__ import annotations

import statistics

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from convscope.experiments.ablation.study import Ablation, Row
from convscope.experiments.published import NAMES
from convscope.experiments.wording import NONE, spread_words
from convscope.report.chart import chart, ticks
from convscope.report.style import (
    FAINT,
    HEADER,
    INK,
    LABELS,
    MARGIN,
    OTHER,
    RULE,
    caption,
    head,
    place,
    write,
)

__all__ = ["ablation_figure"]

NAME, HERE, PAPER, BETWEEN = 1.75, 2.9, 1.55, 0.3  # inches: names, the two charts, the gap
NUMBERS = 2.0  # inches: the columns of words
LINE, CAPTION, BELOW = 0.4, 0.3, 0.62
TRAIN, VAL = LABELS[0], LABELS[1]
SHIFT = 0.15  # of a line: training above, validation below
SEED = 0.14  # of a line, from a mean to the dots of its seeds
PAPER_END = 80  # of the paper's axis, %
MARKS = {"zfnet": "o", "alexnet": "s"}


def ablation_figure(found: Ablation, *, title: str = "", subtitle: str = "") -> Figure:
    """A line per variant: (a) its errors here, (b) the paper's, then top-5, weights and time.

    (a) a mark is the mean over the seeds, its bar one standard deviation up and down, the small
    dots are the seeds. Dotted: the whole network's validation error; dashed: guessing.
    """
    down = LINE * len(found.rows)
    across = 2 * MARGIN + NAME + HERE + BETWEEN + PAPER + NUMBERS
    figure = head(
        across, CAPTION + down + BELOW, title or "Ablation", subtitle or _described(found)
    )
    top = HEADER + CAPTION
    left = MARGIN + NAME
    here = _chart(figure, left, top, HERE, found)
    paper = _chart(figure, left + HERE + BETWEEN, top, PAPER, found)
    caption(figure, left, HEADER, "a", "Top-1 error here, %")
    caption(figure, left + HERE + BETWEEN, HEADER, "b", "The paper's, ImageNet, %")
    _references(here, found)
    for i, row in enumerate(found.rows):
        _measured(here, i, row)
        _papers(paper, i, row)
        _words(figure, top + (i + 0.5) * LINE, row)
    write(figure, MARGIN, HEADER + 0.01, "change", "small", color=FAINT)
    _heads(figure, HEADER + 0.01)
    _limits(here, _end(found))
    _limits(paper, PAPER_END)
    _key(figure, top + down + 0.3, found)
    return figure


def _described(found: Ablation) -> str:
    count = len(found.seeds)
    return (
        f"{found.architecture.name}, {found.recipe.epochs} epochs each, "
        f"{count} seed{'s' if count > 1 else ''} · {found.images[0]:,} images of {found.data}, "
        f"tested on {found.images[1]:,}"
    )


def _chart(figure: Figure, left: float, top: float, wide: float, found: Ablation) -> Axes:
    axes = chart(figure, left, top, wide, LINE * len(found.rows))
    axes.set_ylim(len(found.rows) - 0.5, -0.5)
    axes.spines["left"].set_visible(False)
    for i in range(1, len(found.rows)):
        axes.axhline(i - 0.5, color=RULE, linewidth=0.4, zorder=0)
    return axes


def _references(axes: Axes, found: Ablation) -> None:
    whole = found.rows[0].values("error")
    if whole:
        mean = 100 * statistics.fmean(whole)
        axes.axvline(mean, color=VAL, linewidth=0.7, linestyle=(0, (1, 2)), zorder=0)
    if 100 * found.chance <= _end(found):
        axes.axvline(
            100 * found.chance, color=FAINT, linewidth=0.7, linestyle=(0, (4, 3)), zorder=0
        )


def _measured(axes: Axes, line: int, row: Row) -> None:
    for field, colour, shift in (("train_error", TRAIN, -SHIFT), ("error", VAL, SHIFT)):
        values = [100 * value for value in row.values(field)]
        if not values:
            continue
        y = line + shift
        beside = y + (SEED if shift > 0 else -SEED)
        axes.plot(values, [beside] * len(values), "o", color=colour, markersize=2.2, mew=0)
        mean = statistics.fmean(values)
        if len(values) > 1:
            half = statistics.stdev(values)
            axes.plot([mean - half, mean + half], [y, y], color=colour, linewidth=1.2)
        axes.plot([mean], [y], "o", color=colour, markersize=4.5)
    if not row.trainings:
        axes.text(1, line, "diverged", fontsize=6.5, color=FAINT, va="center")


def _papers(axes: Axes, line: int, row: Row) -> None:
    if row.paper is None:
        return
    column, (train, top1, _) = row.paper.beside(row.architecture.name)
    mark = MARKS[column]
    axes.plot([train], [line - SHIFT], mark, color=TRAIN, markersize=4, mfc="white", mew=1.2)
    axes.plot([top1], [line + SHIFT], mark, color=VAL, markersize=4, mfc="white", mew=1.2)


def _words(figure: Figure, middle: float, row: Row) -> None:
    size = NAME - 0.1
    write(figure, MARGIN, middle, row.variant.name, width=size, va="center")
    for right, words in zip(_columns(), _cells(row), strict=True):
        write(figure, right, middle, words, va="center", ha="right")


def _columns() -> tuple[float, float, float]:
    """Right edges, inches."""
    end = MARGIN + NAME + HERE + BETWEEN + PAPER
    return end + 0.78, end + 1.5, end + NUMBERS


def _cells(row: Row) -> tuple[str, str, str]:
    top5, seconds = row.values("top5_error"), row.values("seconds")
    return (
        spread_words(top5),
        _counted(row.parameters),
        f"{statistics.fmean(seconds):.0f} s" if seconds else NONE,
    )


def _counted(weights: int) -> str:
    """1,234,567 as 1.23 M."""
    for size, letter in ((10**6, "M"), (10**3, "k")):
        if weights >= size:
            return f"{weights / size:.3g} {letter}"
    return str(weights)


def _heads(figure: Figure, top: float) -> None:
    for right, words in zip(_columns(), ("val top-5, %", "weights", "time"), strict=True):
        write(figure, right, top, words, "small", color=FAINT, ha="right")


def _end(found: Ablation) -> int:
    """The next ten above every error, %."""
    errors = [e for row in found.rows for e in (*row.values("error"), *row.values("train_error"))]
    return min(100, 10 * (int(100 * max([*errors, 0.0]) / 10) + 1))


def _limits(axes: Axes, end: int) -> None:
    axes.set_xlim(0, end)
    ticks(axes, x=[float(value) for value in range(0, end + 1, 20 if end > 50 else 10)])
    axes.tick_params(left=False)


def _key(figure: Figure, top: float, found: Ablation) -> None:
    left = MARGIN + NAME
    for words, colour in (("training images", TRAIN), ("validation images", VAL)):
        swatch = place(figure, left, top - 0.01, 0.2, 0.1)
        swatch.plot([0, 1], [0, 0], color=colour, linewidth=1.6)
        swatch.plot([0.5], [0], "o", color=colour, markersize=4)
        write(figure, left + 0.26, top, words, "small", color=INK)
        left += 1.08
    if 100 * found.chance <= _end(found):
        dashed = place(figure, left, top - 0.01, 0.2, 0.1)
        dashed.plot([0, 1], [0, 0], color=FAINT, linewidth=0.8, linestyle=(0, (4, 3)))
        write(figure, left + 0.26, top, "guessing", "small", color=FAINT)
    columns = {row.paper.beside(row.architecture.name)[0] for row in found.rows if row.paper}
    left = MARGIN + NAME + HERE + BETWEEN
    for name in sorted(columns, reverse=True):
        mark = place(figure, left, top - 0.01, 0.1, 0.1)
        mark.plot([0], [0], MARKS[name], color=FAINT, markersize=4, mfc="white", mew=1.2)
        write(figure, left + 0.15, top, NAMES[name], "small", color=FAINT)
        left += 0.65
    if not columns:
        write(figure, left, top, "none of these rows is the paper's", "small", color=OTHER)
