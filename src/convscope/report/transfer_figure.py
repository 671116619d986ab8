"""The paper's Fig. 9 as a figure: accuracy by training images per class, as it grows."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from convscope.experiments.transfer.learning_curve import Point, Transfer
from convscope.experiments.transfer.multilabel import MultiTransfer
from convscope.experiments.wording import plus_minus
from convscope.report.chart import chart, ticks
from convscope.report.score_curves import LEFT, TALL, Curve, score_curves
from convscope.report.style import FAINT, HEADER, INK, LABELS, MARGIN, head, write

__all__ = ["precision_figure", "transfer_figure"]

WIDE, BELOW = 4.6, 0.42  # inches: the curve's axes, numbers and their name below
ROW = 0.19  # inches, of a class in the bars
BARS, NAME = 3.4, 1.5  # inches: the bars' axes, and the names beside them
MOST = 40  # classes that the bars show


def transfer_figure(found: Transfer, *, title: str = "", subtitle: str = "") -> Figure:
    """The paper's Fig. 9: a curve per classifier over the images per class.

    A mark is the mean over the folds of the accuracy averaged over the classes, its bar one
    standard deviation over the folds up and down; the dashed line is what guessing reaches.
    """
    numbers = [float(number) for number in found.protocol.per_class]
    spare = 0.04 * (max(numbers) - min(numbers)) or 1.0
    figure = score_curves(
        [_curve(classifier, points) for classifier, points in _by_classifier(found.points)],
        (max(0, min(numbers) - spare), max(numbers) + spare),
        wide=WIDE,
        under=BELOW,
        chance=found.chance,
        words="accuracy, mean over classes, %",
        title=title or "Transfer",
        subtitle=subtitle,
    )
    ticks(figure.axes[0], x=numbers)
    below = HEADER + 0.1 + TALL + 0.22
    across = "training images per class"
    write(figure, MARGIN + LEFT + WIDE / 2, below, across, "small", ha="center", color=FAINT)
    return figure


def _curve(classifier: str, points: Sequence[Point]) -> Curve:
    last, spread = points[-1], [point.std for point in points]
    said = f"{plus_minus(last.mean, last.std)} at {last.per_class}"
    at, means = [point.per_class for point in points], [point.mean for point in points]
    return Curve(classifier, said, at, means, spread, spread)


def _by_classifier(points: Sequence[Point]) -> list[tuple[str, list[Point]]]:
    curves: dict[str, list[Point]] = {}
    for point in points:
        curves.setdefault(point.classifier, []).append(point)
    return list(curves.items())


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
