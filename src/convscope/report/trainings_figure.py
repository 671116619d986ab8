"""How the networks of the plan learned: Trainings -> a matplotlib Figure."""

from __future__ import annotations

from functools import partial
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from convscope.experiments.paper.results import Trainings
from convscope.experiments.published import FIRST_LAYERS, NAMES
from convscope.report.chart import chart
from convscope.report.sheet import Panel, Sheet
from convscope.report.style import LABELS

__all__ = ["trainings_figure"]

WIDTH, TALL = 6.6, 2.2  # inches
COLORS = {"zfnet": LABELS[0], "alexnet": LABELS[1], "free": LABELS[2], "wide": LABELS[3]}
DASHED = (0, (4, 2))


def trainings_figure(trainings: Trainings, *, title: str = "", subtitle: str = "") -> Figure:
    """Validation error by epoch, a line for each training."""
    sheet = Sheet(title or "How they learned", subtitle, width=WIDTH)
    sheet.row([Panel(partial(_draw, trainings=trainings), height=TALL)])
    sheet.legend([
        Line2D([], [], color=COLORS[name], linestyle=_style(name), label=_words(trainings, name))
        for name in NAMES
        if trainings.of(name)
    ])  # fmt: skip
    return sheet.figure()


def _draw(axes: Axes, trainings: Trainings) -> None:
    chart(axes, "epoch", "validation error, %")
    for run in reversed(trainings.runs):
        errors = [100 * error for error in run.errors]
        epochs = list(range(1, len(errors) + 1))
        color = COLORS[run.name]
        axes.plot(epochs, errors, color=color, linewidth=1.4, linestyle=_style(run.name))
        axes.plot(epochs[-1:], errors[-1:], "o", color=color, markersize=4)
    axes.set_xlim(0.8, trainings.epochs + 0.2)
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_locator(MaxNLocator(10, integer=True))


def _style(name: str) -> Any:
    return DASHED if name == "free" else "-"


def _words(trainings: Trainings, name: str) -> str:
    """The network, and where each of its trainings ended."""
    runs = trainings.of(name)
    what = f"{NAMES[name]}: {FIRST_LAYERS[name]}" if name in FIRST_LAYERS else NAMES[name]
    last = ", ".join(f"{100 * run.training.error:.1f}" for run in runs)
    return f"{what}; {last} %, {len(runs)} seed{'s' if len(runs) > 1 else ''}"
