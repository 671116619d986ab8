"""The curves of a training run: a Run -> a matplotlib Figure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator

from convscope.experiments.number_words import percent
from convscope.report.chart import chart, inside, ticks
from convscope.report.sheet import Note, Panel, Sheet
from convscope.report.style import LABELS, OTHER
from convscope.training.checkpoint import Run

__all__ = ["ChartLine", "exact", "training_curves", "training_figure"]

TALL = 1.6  # inches: a chart
TRAINING, VALIDATION, TOP5 = LABELS[0], LABELS[1], OTHER
LOGARITHMIC, COUNTED = "Learning rate", "Filters renormalised per epoch"
RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
DECADES = 100  # largest against smallest, from which on only powers of ten are named
DOTS = 40  # epochs of which each still has its dot

Points = Sequence[tuple[int, float]]


@dataclass(frozen=True)
class ChartLine:
    """One line of a chart.

    Args:
        name: What it is.
        color: Of the line.
        points: (epoch, value), epochs from 1; a value that is not finite breaks the line.
        share: Whether values are parts of one, and said in percent.
    """

    name: str
    color: str
    points: Points
    share: bool = False

    @property
    def last(self) -> str:
        """The last value in words."""
        value = self.points[-1][1]
        return percent(value, 1) if self.share and math.isfinite(value) else exact(value)


def training_curves(run: Run) -> dict[str, tuple[ChartLine, ...]]:
    """By the chart's title: loss, error, learning rate and renormalised filters, by epoch."""

    def points(name: str, wrong: bool = False) -> list[tuple[int, float]]:
        values = ((epoch.epoch, float(getattr(epoch, name))) for epoch in run.history)
        return [(epoch, 1 - value if wrong else value) for epoch, value in values]

    return {
        "Loss (nats)": (
            ChartLine("training, with dropout", TRAINING, points("loss")),
            ChartLine("validation", VALIDATION, points("val_loss")),
        ),
        "Error, %": (
            ChartLine("training, with dropout", TRAINING, points("accuracy", wrong=True), True),
            ChartLine("validation", VALIDATION, points("val_accuracy", wrong=True), True),
            ChartLine("validation, top-5", TOP5, points("val_top5", wrong=True), True),
        ),
        LOGARITHMIC: (ChartLine("at each epoch's last step", TRAINING, points("learning_rate")),),
        COUNTED: (ChartLine("filters scaled back, times", TRAINING, points("renormalised")),),
    }


def training_figure(run: Run) -> Figure:
    """Loss, error, learning rate and renormalised filters over the epochs of the recipe.

    Below each chart stand its curves with their last values. An axis of values begins at 0, that of
    the learning rate is logarithmic.
    """
    panels = []
    for title, curves in training_curves(run).items():
        said = [
            Note(curve.name, curve.last, swatch=curve.color) for curve in curves if curve.points
        ]
        draw = partial(_draw, title=title, curves=curves, epochs=run.recipe.epochs)
        panels.append(Panel(draw, title, said, height=TALL))
    sheet = Sheet()
    sheet.grid(panels, 2)
    return sheet.figure()


def _draw(axes: Axes, title: str, curves: Sequence[ChartLine], epochs: int) -> None:
    chart(axes, "epoch")
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True, min_n_ticks=1))
    axes.set_xlim(0.5, epochs + 0.5)
    positive = [value for curve in curves for _, value in _shown(curve, positive=True)]
    if title == LOGARITHMIC and positive:
        axes.set_yscale("log")
        wide = max(positive) > DECADES * min(positive)
        axes.yaxis.set_major_locator(LogLocator(subs=(1,) if wide else (1, 2, 5), numticks=6))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: exact(value)))
        axes.minorticks_off()
    shown = [value for curve in curves for _, value in _shown(curve)]
    for curve in curves:
        epoch = [at for at, _ in curve.points]
        factor = 100 if curve.share else 1
        values = [factor * value if math.isfinite(value) else math.nan for _, value in curve.points]
        if title == COUNTED:
            axes.bar(epoch, values, color=curve.color, width=0.7)
        else:
            dot = "o" if len(epoch) <= DOTS else ""
            axes.plot(epoch, values, color=curve.color, linewidth=1.4, marker=dot, markersize=3)
    if axes.get_yscale() == "linear":
        axes.set_ylim(0, axes.get_ylim()[1] if any(shown) else 1)
    if not any(shown):
        ticks(axes, y=[0])
    words = "" if any(shown) else "0 at every epoch" if shown else "nothing to show yet"
    inside(axes, 0.5, 0.5, words, ha="center", va="center")


def _shown(curve: ChartLine, positive: bool = False) -> list[tuple[int, float]]:
    """The points that a chart can show; on a logarithmic axis only those above 0."""
    return [
        point
        for point in curve.points
        if math.isfinite(point[1]) and (point[1] > 0 or not positive)
    ]


def exact(value: float) -> str:
    """Three digits, or all of those before the point; 2.7 × 10⁻⁷ where there were many zeros."""
    if not math.isfinite(value):
        return "not finite"
    if value and abs(value) < 1e-4:
        digits, _, power = f"{value:.2e}".partition("e")
        digits = f"{float(digits):g}"
        times = "" if digits == "1" else f"{digits} × "
        return f"{times}10{str(int(power)).translate(RAISED)}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
