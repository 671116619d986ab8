"""The paper's Fig. 9 as a figure: accuracy by training images per class, as it grows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from convscope.experiments.number_words import plus_minus
from convscope.experiments.transfer.learning_curve import Point, Transfer, differs
from convscope.experiments.transfer.multilabel import LayerScore, MultiTransfer
from convscope.report.chart import chart, name_rows, row_height, ticks, value_rows
from convscope.report.score_curves import LOOKS, classifier_legend
from convscope.report.sheet import Panel, Sheet
from convscope.report.style import CHANCE, FAINT, INK, LABELS

__all__ = ["precision_figure", "transfer_figure"]

WIDTH, TALL, NAMES = 6.6, 2.6, 2.2  # inches
SHIFT = 0.008  # of the axes' width, between curves: equal ones both show
MOST = 40  # classes that the bars show


def transfer_figure(found: Transfer, *, title: str = "", subtitle: str = "") -> Figure:
    """The paper's Fig. 9: a curve per classifier over the images per class.

    A mark is the mean over the folds of the accuracy averaged over the classes, its bar one
    standard deviation over the folds up and down; the dashed line is what guessing reaches.
    """
    curves: dict[str, list[Point]] = {}
    for point in found.points:
        curves.setdefault(point.classifier, []).append(point)
    sheet = Sheet(title or "Transfer", subtitle, width=WIDTH)
    sheet.row([Panel(partial(_draw_curves, curves=curves, found=found), height=TALL)])
    sheet.legend(classifier_legend((name, _last(points[-1])) for name, points in curves.items()))
    return sheet.figure()


def _last(point: Point) -> str:
    """What a curve ends with; the share of all images where it is another."""
    words = f"{plus_minus(point.mean, point.std)} at {point.per_class}"
    if not differs(point):
        return words
    return f"{words}; of all images {100 * sum(point.plain) / len(point.plain):.1f}"


def _draw_curves(axes: Axes, curves: Mapping[str, Sequence[Point]], found: Transfer) -> None:
    chart(axes, "training images per class", "accuracy, mean over classes, %")
    numbers = found.protocol.per_class
    spare = 0.04 * (max(numbers) - min(numbers)) or 1.0
    ends = max(0, min(numbers) - spare), max(numbers) + spare
    most = 0.0
    for i, (classifier, points) in enumerate(curves.items()):
        _, color, mark = LOOKS[classifier]
        shift = SHIFT * (ends[1] - ends[0]) * (i - (len(curves) - 1) / 2)
        means, spread = ([100 * getattr(p, name) for p in points] for name in ("mean", "std"))
        axes.errorbar(
            [point.per_class + shift for point in points], means, yerr=spread, color=color,
            marker=mark, markersize=4, linewidth=1.4, elinewidth=1, capsize=2.5,
        )  # fmt: skip
        most = max(most, *(a + b for a, b in zip(means, spread, strict=True)))
    axes.axhline(100 * found.chance, **CHANCE)
    axes.set(xlim=ends, ylim=(0, 100 if most > 60 else 1.1 * most))
    ticks(axes, x=numbers)


def precision_figure(found: MultiTransfer, *, title: str = "", subtitle: str = "") -> Figure:
    """Average precision of each class, told by the best layer measured, beside what guessing
    reaches (a tick). Below, the mean over the classes with its interval over images."""
    best = max(found.layers, key=lambda layer: layer.mean)
    names = _rows(best)
    sheet = Sheet(title or "Average precision", subtitle, width=WIDTH)
    height = row_height(names, NAMES) * len(names)
    sheet.row([Panel(partial(_draw_precision, best=best, found=found), height=height)])
    words = f"Features of {best.layer}. A tick is what guessing reaches; beside: images."
    sheet.text(words, color=FAINT)
    return sheet.figure()


def _rows(best: LayerScore) -> list[str]:
    classes = sorted(best.classes, key=lambda each: -each.precision)[:MOST]
    return [*(each.name for each in classes), "mean"]


def _draw_precision(axes: Axes, best: LayerScore, found: MultiTransfer) -> None:
    chart(axes, "average precision, %", lines="x")
    classes = sorted(best.classes, key=lambda each: -each.precision)[:MOST]
    for row, each in enumerate(classes):
        axes.barh(row, 100 * each.precision, height=0.62, color=LABELS[0])
        _chance(axes, row, each.chance)
    last = len(classes)
    axes.barh(last, 100 * best.mean, height=0.62, color=LABELS[1])
    ends = [[100 * max(best.mean - best.low, 0)], [100 * max(best.high - best.mean, 0)]]
    axes.errorbar(100 * best.mean, last, xerr=ends, color=INK, elinewidth=1, capsize=2.5)
    _chance(axes, last, found.chance)
    name_rows(axes, _rows(best), NAMES)
    said = [f"{100 * each.precision:.0f} %   {each.images:,}" for each in classes]
    value_rows(axes, [*said, f"{100 * best.mean:.0f} %"])
    axes.set_xlim(0, 100)


def _chance(axes: Axes, row: float, share: float) -> None:
    axes.plot([100 * share] * 2, [row - 0.42, row + 0.42], color=INK, linewidth=1.4)
