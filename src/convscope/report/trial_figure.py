"""A trial of remedies as a figure: the error of every seed before and after."""

from __future__ import annotations

from functools import partial

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from convscope.experiments.diagnosis.trial import Trial
from convscope.experiments.number_words import minus, spread_words
from convscope.report.chart import chart
from convscope.report.sheet import Note, Panel, Sheet
from convscope.report.style import INK, LABELS, SIZES
from convscope.stats import mean_of
from convscope.text import counted

__all__ = ["trial_figure"]

WIDTH, HEIGHT = 6.0, 2.4  # inches


def trial_figure(trial: Trial) -> Figure:
    """Validation error of the network as it was and with its remedies: a line for each seed, the
    mean ± standard deviation over the seeds, and below the difference with its 95 % interval.

    The axis starts at 0, so that heights compare as the errors do.
    """
    epochs = counted(trial.change.recipe.epochs, "epoch")
    words = f"{trial.architecture.name}, {epochs} each, the same seeds"
    sheet = Sheet("Remedies tried", words, width=WIDTH)
    changes = [Note(f"changed: {words}") for words in trial.change.applied]
    sheet.notes([Note(_difference(trial), size="panel", bold=True), *changes])
    sheet.row([Panel(partial(_draw, trial=trial), height=HEIGHT)])
    return sheet.figure()


def _draw(axes: Axes, trial: Trial) -> None:
    chart(axes, up="validation error, %")
    errors = [
        [100 * attempt.training.error for attempt in attempts]
        for attempts in (trial.before, trial.after)
    ]
    for pair in zip(*errors, strict=True):
        axes.plot((0, 1), pair, color=LABELS[0], marker="o", markersize=3, linewidth=0.8, alpha=0.6)
    for at, values in zip((-0.06, 1.06), errors, strict=True):
        estimate = mean_of(values)
        axes.errorbar(
            at, estimate.mean, yerr=estimate.deviation if len(values) > 1 else None, color=INK,
            marker="_", markersize=14, linewidth=1.4, capsize=4,
        )  # fmt: skip
    axes.set(xlim=(-0.4, 1.4), ylim=(0, 1.15 * max(1.0, *map(max, errors))))
    words = [spread_words([value / 100 for value in values]) for values in errors]
    axes.set_xticks((0, 1), [f"as it was\n{words[0]} %", f"with the remedies\n{words[1]} %"])
    axes.tick_params(axis="x", labelsize=SIZES["text"], labelcolor=INK)


def _difference(trial: Trial) -> str:
    """The mean over the seeds, and how sure it is."""
    sure = trial.difference
    if sure is None or sure.low is None or sure.high is None:
        return minus(f"difference {100 * trial.differences[0]:+.1f} points, of one seed")
    mean = minus(f"{100 * sure.mean:+.1f}")
    interval = minus(f"{100 * sure.low:+.1f} to {100 * sure.high:+.1f}")
    return f"difference {mean} points, 95 % interval {interval} ({sure.count} seeds)"
