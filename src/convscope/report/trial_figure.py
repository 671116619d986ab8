"""A trial of remedies as a figure: the error of every seed before and after."""

from __future__ import annotations

from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import AutoLocator

from convscope.experiments.diagnosis.trial import Trial
from convscope.experiments.wording import minus, spread_words
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
from convscope.stats import mean_of

__all__ = ["trial_figure"]

WIDTH, HEIGHT, WORDS = 5.4, 2.5, 0.2


def trial_figure(trial: Trial) -> Figure:
    """Validation error of the network as it was and with its remedies: a line for each seed, the
    mean ± standard deviation over the seeds, and below the difference with its 95 % interval.

    The axis starts at 0, so that heights compare as the errors do.
    """
    lines = [_difference(trial), *(f"changed: {words}" for words in trial.change.applied)]
    figure = head(
        WIDTH + 2 * MARGIN,
        HEIGHT + 0.7 + WORDS * len(lines),
        "Remedies tried",
        f"{trial.architecture.name}, {trial.change.recipe.epochs} epochs each, the same seeds",
    )
    axes = place(figure, MARGIN + 0.4, HEADER, WIDTH - 0.8, HEIGHT)
    for side in ("left", "bottom"):
        axes.spines[side].set(visible=True, color=RULE, linewidth=0.7)
    errors = [
        [100 * each.training.error for each in attempts] for attempts in (trial.before, trial.after)
    ]
    for pair in zip(*errors, strict=True):
        axes.plot((0, 1), pair, color=LABELS[0], marker="o", markersize=3, linewidth=0.8, alpha=0.6)
    for at, values in zip((-0.06, 1.06), errors, strict=True):
        found = mean_of(values)
        axes.errorbar(
            at, found.mean, yerr=found.deviation if len(values) > 1 else None, color=INK,
            marker="_", markersize=14, linewidth=1.4, capsize=4,
        )  # fmt: skip
    axes.set_xlim(-0.4, 1.4)
    axes.set_ylim(0, 1.15 * max(1.0, *map(max, errors)))
    words = [spread_words([value / 100 for value in values]) for values in errors]
    names = [f"as it was\n{words[0]} %", f"with the remedies\n{words[1]} %"]
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


def _difference(trial: Trial) -> str:
    """The mean over the seeds, and how sure it is."""
    sure = trial.difference
    if sure is None or sure.low is None or sure.high is None:
        return minus(f"difference {100 * trial.differences[0]:+.1f} points, of one seed")
    mean = minus(f"{100 * sure.mean:+.1f}")
    interval = minus(f"{100 * sure.low:+.1f} to {100 * sure.high:+.1f}")
    return f"difference {mean} points, 95 % interval {interval} ({sure.count} seeds)"
