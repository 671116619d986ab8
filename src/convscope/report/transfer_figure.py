"""The paper's Fig. 9 as a figure: accuracy by training images per class, as it grows."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from convscope.experiments.multilabel import MultiTransfer
from convscope.experiments.transfer import Point, Transfer

from .chart import chart, ticks
from .style import FAINT, HEADER, INK, LABELS, MARGIN, OTHER, head, place, write

__all__ = ["precision_figure", "transfer_figure"]

WIDE, TALL = 4.6, 3.0  # inches, the curve's axes
LEFT, BELOW, KEY = 0.42, 0.42, 1.75  # inches: numbers, numbers and their name, the names of curves
NAMES = {"softmax": "softmax", "svm": "linear SVM", "scratch": "from scratch"}
COLOURS = {"softmax": LABELS[0], "svm": LABELS[1], "scratch": LABELS[2]}
MARKS = {"softmax": "o", "svm": "s", "scratch": "^"}
ROW = 0.19  # inches, of a class in the bars
BARS, NAME = 3.4, 1.5  # inches: the bars' axes, and the names beside them
MOST = 40  # classes that the bars show


def transfer_figure(found: Transfer, *, title: str = "", subtitle: str = "") -> Figure:
    """The paper's Fig. 9: a curve per classifier over the images per class.

    A mark is the mean over the folds of the accuracy averaged over the classes, its bar one
    standard deviation over the folds up and down; the dashed line is what guessing reaches.
    """
    figure = head(
        2 * MARGIN + LEFT + WIDE + KEY, TALL + BELOW + MARGIN, title or "Transfer", subtitle
    )
    axes = chart(figure, MARGIN + LEFT, HEADER + 0.1, WIDE, TALL)
    numbers = list(found.protocol.per_class)
    curves = _curves(found.points)
    spare = 0.04 * (max(numbers) - min(numbers)) or 1.0
    for i, (classifier, points) in enumerate(curves.items()):
        shift = 0.2 * spare * (i - (len(curves) - 1) / 2)  # so that equal curves both show
        axes.errorbar(
            [point.per_class + shift for point in points],
            [100 * point.mean for point in points],
            yerr=[100 * point.std for point in points],
            color=COLOURS[classifier],
            marker=MARKS[classifier],
            markersize=4,
            linewidth=1.4,
            elinewidth=1,
            capsize=2.5,
        )
    _guess(axes, 100 * found.chance)
    axes.set_xlim(max(0, min(numbers) - spare), max(numbers) + spare)
    _percent(axes, max(100 * (point.mean + point.std) for point in found.points))
    ticks(axes, x=[float(number) for number in numbers])
    _axis_names(figure, "training images per class", "accuracy, mean over classes, %")
    _key(figure, curves)
    return figure


def precision_figure(found: MultiTransfer, *, title: str = "", subtitle: str = "") -> Figure:
    """Average precision of each class, told by the best layer measured, beside what guessing
    reaches (a tick). Below, the mean over the classes with its interval over images."""
    best = max(found.layers, key=lambda layer: layer.mean)
    classes = sorted(best.classes, key=lambda each: -each.precision)[:MOST]
    tall = ROW * (len(classes) + 1) + 0.12
    across = 2 * MARGIN + NAME + BARS + 1.0
    figure = head(across, tall + BELOW + MARGIN, title or "Average precision", subtitle)
    axes = chart(figure, MARGIN + NAME, HEADER, BARS, tall)
    mean_at = len(classes) + 0.6
    for row, each in enumerate(classes):
        axes.barh(row, 100 * each.precision, height=0.62, color=LABELS[0])
        axes.plot([100 * each.chance] * 2, [row - 0.42, row + 0.42], color=INK, linewidth=1.4)
    axes.barh(mean_at, 100 * best.mean, height=0.62, color=LABELS[1])
    axes.errorbar(
        100 * best.mean,
        mean_at,
        xerr=[[100 * max(best.mean - best.low, 0)], [100 * max(best.high - best.mean, 0)]],
        color=INK,
        elinewidth=1,
        capsize=2.5,
    )
    axes.plot([100 * found.chance] * 2, [mean_at - 0.42, mean_at + 0.42], color=INK, linewidth=1.4)
    axes.set_xlim(0, 100)
    axes.set_ylim(mean_at + 0.6, -0.6)
    ticks(axes, x=[0, 20, 40, 60, 80, 100], y=[])
    rows = [(row, each.name, each.precision, str(each.images)) for row, each in enumerate(classes)]
    for at, name, value, shown in [*rows, (mean_at, "mean", best.mean, "")]:
        _row(figure, HEADER + tall * (at + 0.6) / (mean_at + 1.2), name, value, shown)
    beside = MARGIN + NAME + BARS
    write(figure, beside + 0.62, HEADER - 0.12, "images", "small", color=FAINT, ha="center")
    words = f"average precision, %, features of {best.layer}; a tick is what guessing reaches"
    write(figure, MARGIN + NAME, HEADER + tall + 0.24, words, "small", color=FAINT)
    return figure


def _row(figure: Figure, top: float, name: str, value: float, shown: str) -> None:
    beside = MARGIN + NAME + BARS
    write(figure, MARGIN + NAME - 0.08, top, name, "text", ha="right", va="center")
    write(figure, beside + 0.2, top, f"{100 * value:.0f}", "text", ha="center", va="center")
    write(figure, beside + 0.62, top, shown, "text", ha="center", va="center", color=FAINT)


def _curves(points: Sequence[Point]) -> dict[str, list[Point]]:
    curves: dict[str, list[Point]] = {}
    for point in points:
        curves.setdefault(point.classifier, []).append(point)
    return curves


def _guess(axes: Axes, chance: float) -> None:
    axes.axhline(chance, color=OTHER, linewidth=1, linestyle=(0, (4, 3)), zorder=0)


def _percent(axes: Axes, most: float) -> None:
    """0 to the next ten above `most`, a tick each ten, or to 100, a tick each twenty."""
    high = 10 * (int(most / 10) + 1)
    high = 100 if high > 60 else high
    axes.set_ylim(0, high)
    ticks(axes, y=[float(value) for value in range(0, high + 1, 10 if high <= 60 else 20)])
    axes.grid(axis="y", color=OTHER, linewidth=0.4)
    axes.set_axisbelow(True)


def _axis_names(figure: Figure, across: str, up: str) -> None:
    below = HEADER + 0.1 + TALL + 0.22
    write(figure, MARGIN + LEFT + WIDE / 2, below, across, "small", ha="center", color=FAINT)
    write(figure, MARGIN, HEADER - 0.08, up, "small", color=FAINT)


def _key(figure: Figure, curves: dict[str, list[Point]]) -> None:
    """Each curve's name and last value, beside the axes."""
    left = MARGIN + LEFT + WIDE + 0.25
    for row, (classifier, points) in enumerate(curves.items()):
        top = HEADER + 0.2 + 0.42 * row
        swatch = place(figure, left, top + 0.01, 0.16, 0.09)
        swatch.plot([0, 1], [0, 0], color=COLOURS[classifier], linewidth=1.6)
        swatch.plot(0.5, 0, marker=MARKS[classifier], markersize=4, color=COLOURS[classifier])
        last = points[-1]
        write(figure, left + 0.24, top, NAMES[classifier], "text")
        words = f"{100 * last.mean:.1f} ± {100 * last.std:.1f} at {last.per_class}"
        write(figure, left + 0.24, top + 0.15, words, "small", color=FAINT)
    top = HEADER + 0.2 + 0.42 * len(curves)
    guess = place(figure, left, top + 0.01, 0.16, 0.09)
    guess.plot([0, 1], [0, 0], color=OTHER, linewidth=1, linestyle=(0, (4, 3)))
    write(figure, left + 0.24, top, "guessing", "text", color=FAINT)
