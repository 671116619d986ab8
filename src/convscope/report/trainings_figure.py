"""How the networks of the plan learned: Trainings -> a matplotlib Figure."""

from __future__ import annotations

from matplotlib.figure import Figure

from convscope.experiments.paper.results import Trainings
from convscope.experiments.published import FIRST_LAYERS, NAMES
from convscope.report.chart import chart, ticks
from convscope.report.style import FAINT, HEADER, LABELS, MARGIN, OTHER, head, place, write

__all__ = ["trainings_figure"]

WIDE, TALL, LEFT, BELOW, KEY = 4.4, 2.1, 0.4, 0.5, 2.3  # inches
COLOURS = {"zfnet": LABELS[0], "alexnet": LABELS[1], "free": LABELS[2], "wide": LABELS[3]}


def trainings_figure(found: Trainings, *, title: str = "", subtitle: str = "") -> Figure:
    """Validation error by epoch, a line for each training."""
    across = 2 * MARGIN + LEFT + WIDE + KEY
    figure = head(across, TALL + BELOW + 0.2, title or "How they learned", subtitle)
    axes = chart(figure, MARGIN + LEFT, HEADER + 0.15, WIDE, TALL)
    most = 10.0
    for run in reversed(found.runs):
        errors = [100 * error for error in run.errors]
        dashed = (0, (4, 2)) if run.name == "free" else "-"
        epochs = list(range(1, len(errors) + 1))
        axes.plot(epochs, errors, color=COLOURS[run.name], linewidth=1.4, linestyle=dashed)
        axes.plot(epochs[-1:], errors[-1:], "o", color=COLOURS[run.name], markersize=4)
        most = max(most, *errors)
    high = 10 * (int(most / 10) + 1)
    axes.set_ylim(0, high)
    axes.set_xlim(0.8, found.epochs + 0.2)
    axes.grid(axis="y", color=OTHER, linewidth=0.4)
    axes.set_axisbelow(True)
    step = max(1, round(found.epochs / 10))
    ticks(axes, x=[float(e) for e in range(1, found.epochs + 1, step)],
          y=[float(value) for value in range(0, high + 1, 10 if high <= 60 else 20)])  # fmt: skip
    write(figure, MARGIN, HEADER - 0.06, "validation error, %", "small", color=FAINT)
    write(figure, MARGIN + LEFT + WIDE / 2, HEADER + 0.15 + TALL + 0.22, "epoch", "small",
          ha="center", color=FAINT)  # fmt: skip
    for row, name in enumerate(name for name in NAMES if found.of(name)):
        runs, top = found.of(name), HEADER + 0.25 + 0.42 * row
        swatch = place(figure, MARGIN + LEFT + WIDE + 0.3, top + 0.01, 0.2, 0.1)
        swatch.plot([0, 1], [0, 0], color=COLOURS[name], linewidth=1.6)
        words = f"{NAMES[name]}: {FIRST_LAYERS[name]}" if name in FIRST_LAYERS else NAMES[name]
        write(figure, MARGIN + LEFT + WIDE + 0.58, top, words, width=KEY - 0.58)
        last = ", ".join(f"{100 * run.training.error:.1f}" for run in runs)
        seeds = f"{len(runs)} seed{'s' if len(runs) > 1 else ''}"
        write(figure, MARGIN + LEFT + WIDE + 0.58, top + 0.15, f"{last} %, {seeds}", "small",
              color=FAINT)  # fmt: skip
    return figure
