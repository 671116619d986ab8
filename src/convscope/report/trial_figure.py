"""A trial of remedies as a figure: the error of every seed before and after."""

from __future__ import annotations

from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import AutoLocator

from convscope.experiments.diagnosis.trial import Trial
from convscope.report.style import (
    FAINT,
    HEADER,
    INK,
    LABELS,
    MARGIN,
    RULE,
    SIZES,
    head,
    place,
    write,
)

__all__ = ["trial_figure"]

WIDTH, HEIGHT, WORDS = 5.4, 2.5, 0.2


def trial_figure(trial: Trial) -> Figure:
    """Validation error of the network as it was and with its remedies, a line for each seed."""
    lines = [f"changed: {words}" for words in trial.change.applied]
    figure = head(
        WIDTH + 2 * MARGIN,
        HEIGHT + 0.7 + WORDS * len(lines),
        "Remedies tried",
        f"{trial.architecture.name}, {trial.change.recipe.epochs} epochs each, the same seeds",
    )
    axes = place(figure, MARGIN + 0.4, HEADER, WIDTH - 0.8, HEIGHT)
    for side in ("left", "bottom"):
        axes.spines[side].set(visible=True, color=RULE, linewidth=0.7)
    for before, after in zip(trial.before, trial.after, strict=True):
        pair = (100 * before.training.error, 100 * after.training.error)
        axes.plot((0, 1), pair, color=LABELS[0], marker="o", markersize=4, linewidth=1)
        words = f"seed {before.training.seed}"
        axes.text(1.03, pair[1], words, va="center", fontsize=SIZES["small"])
    means = [
        100 * sum(each.training.error for each in attempts) / len(attempts)
        for attempts in (trial.before, trial.after)
    ]
    axes.plot((0, 1), means, color=INK, linewidth=2)
    axes.set_xlim(-0.25, 1.3)
    errors = [100 * attempt.training.error for attempt in (*trial.before, *trial.after)]
    room = max(1.0, 0.6 * (max(errors) - min(errors)))
    axes.set_ylim(max(0, min(errors) - room), max(errors) + room)
    names = [f"as it was\n{means[0]:.1f} %", f"with the remedies\n{means[1]:.1f} %"]
    axes.set_xticks((0, 1), names)
    axes.yaxis.set_major_locator(AutoLocator())
    axes.tick_params(labelsize=SIZES["text"], length=2, color=RULE, labelcolor=INK)
    axes.set_ylabel("validation error, %", fontsize=SIZES["small"], color=FAINT)
    for number, line in enumerate(lines):
        write(figure, MARGIN, HEADER + HEIGHT + 0.55 + WORDS * number, line, width=WIDTH)
    family = figure.texts[0].get_fontfamily()
    for text in figure.findobj(Text):
        text.set_fontfamily(family)
    return figure
