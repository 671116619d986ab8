"""The paper's Table 1 as a figure: error by the number of networks whose outputs are averaged."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from convscope.experiments.ensemble.combined import Group, Scoring, Size
from convscope.experiments.ensemble.study import Ensemble
from convscope.experiments.wording import interval_words, plus_minus, signed_number
from convscope.report.chart import chart, ticks
from convscope.report.style import (
    FAINT,
    HEADER,
    INK,
    LABELS,
    MAP,
    MARGIN,
    OTHER,
    caption,
    families,
    head,
    place,
    write,
)

__all__ = ["ensemble_figure"]

WIDE, TALL, BETWEEN = 2.5, 2.3, 0.62  # inches: a chart, and the room before the next
LEFT, CAPTION, BELOW = 0.35, 0.3, 0.45
KEY = 0.32  # inches, of a group in the key
CELL, NAMES = 0.26, 1.75  # inches: of a pair in the table of differences, and its names
MOST = 16  # networks that this table shows
LETTERS = 32  # of a network's name; its seed stands at the end


def ensemble_figure(found: Ensemble, *, title: str = "", subtitle: str = "") -> Figure:
    """(a) top-1 and (b) top-5 error by the number of networks averaged, (c) how they differ.

    A line is the mean over the subsets of that size, its band the best and worst of them; dashed
    for one crop where ten were taken too. The cross is the standard error of the whole average.
    """
    fields = ["error", "top5_error"] if len(found.classes) > 5 else ["error"]
    count = len(found.scorings[0].singles)
    square = CELL * count if count <= MOST else 0.0
    tall = max(TALL, square)
    charts = LEFT + len(fields) * (WIDE + BETWEEN)
    across = 2 * MARGIN + charts + (NAMES + square if square else 0.0)
    groups = found.scorings[-1].groups
    figure = head(
        across,
        CAPTION + tall + BELOW + KEY * len(groups) + 0.12,
        title or "Ensembles",
        subtitle or _described(found),
    )
    for i, field in enumerate(fields):
        left = MARGIN + LEFT + i * (WIDE + BETWEEN)
        name = "Top-1" if field == "error" else "Top-5"
        caption(figure, left, HEADER, "ab"[i], f"{name} error, %")
        axes = chart(figure, left, HEADER + CAPTION, WIDE, TALL)
        _curves(axes, found.scorings, field)
        below = HEADER + CAPTION + TALL + 0.24
        write(
            figure, left + WIDE / 2, below, "networks averaged", "small", ha="center", color=FAINT
        )
    if square:
        _differences(figure, MARGIN + charts, square, found, "abc"[len(fields)])
    _key(figure, HEADER + CAPTION + tall + BELOW, found, across)
    return figure


def _described(found: Ensemble) -> str:
    whose = ", some of random weights" if found.random else ""
    kinds = ", ".join(f"{len(members)} × {kind}" for kind, members in found.kinds.items())
    return f"{kinds}{whose} · {found.images:,} images of {found.data}"


def _curves(axes: Axes, scorings: Sequence[Scoring], field: str) -> None:
    low, high = ("low", "high") if field == "error" else ("top5_low", "top5_high")
    values: list[float] = []
    for scoring in scorings:
        dashed = scoring.crops == 1 and len(scorings) > 1
        for i, group in enumerate(scoring.groups):
            colour = LABELS[i % len(LABELS)]
            members = [size.members for size in group.sizes]
            means = _of(group.sizes, field)
            style = (0, (3, 2)) if dashed else "-"
            axes.plot(
                members, means, "o", linestyle=style, color=colour, markersize=3, linewidth=1.3
            )
            shown = [*means]
            if not dashed:
                best, worst = _of(group.sizes, low), _of(group.sizes, high)
                axes.fill_between(members, best, worst, color=colour, alpha=0.13, linewidth=0)
                error = group.score.error_se if field == "error" else group.score.top5_se
                axes.errorbar(
                    [members[-1]], [means[-1]], yerr=[100 * error], color=colour, elinewidth=0.8,
                    capsize=2,
                )  # fmt: skip
                shown += [*best, *worst, means[-1] - 100 * error, means[-1] + 100 * error]
            values += shown
    most = max(size.members for group in scorings[0].groups for size in group.sizes)
    axes.set_xlim(0.7, most + 0.3)
    step = 1 + (most - 1) // 8
    ticks(axes, x=[float(number) for number in range(1, most + 1, step)])
    _limits(axes, min(values), max(values))


def _of(sizes: Sequence[Size], field: str) -> list[float]:
    return [100 * getattr(size, field) for size in sizes]


def _limits(axes: Axes, low: float, high: float) -> None:
    """Round numbers around the values; a difference of a point must be seen, so not from 0."""
    room = max(high - low, 0.5)
    step = next(step for step in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50) if room / step <= 6)
    first, last = int(low / step), int(high / step) + 1
    axes.set_ylim(first * step, last * step)
    ticks(axes, y=[round(step * number, 6) for number in range(first, last + 1)])
    axes.grid(axis="y", color=OTHER, linewidth=0.4)
    axes.set_axisbelow(True)


def _differences(figure: Figure, left: float, square: float, found: Ensemble, letter: str) -> None:
    """A square of all pairs: the share of images that they name differently."""
    scoring = found.scorings[-1]
    caption(figure, left, HEADER, letter, "Images labelled differently, %")
    top, names = HEADER + CAPTION, list(scoring.singles)
    axes = place(figure, left + NAMES, top, square, square)
    shares = scoring.disagreement
    most = max(float(shares.max()), 1e-9)
    others = np.ma.masked_array(shares, np.eye(len(names), dtype=bool))
    axes.imshow(others, cmap=MAP, vmin=0, vmax=1.15 * most, aspect="auto")
    for i, name in enumerate(names):
        middle = top + (i + 0.5) * CELL
        right = left + NAMES - 0.08
        short = _short(name)
        write(figure, right, middle, short, "small", width=NAMES - 0.1, ha="right", va="center")
        for j in range(len(names)):
            if i != j:
                dark = shares[i, j] < 0.65 * most
                said, colour = f"{100 * shares[i, j]:.0f}", "white" if dark else INK
                axes.text(j, i, said, ha="center", va="center", fontsize=6,
                          family=families(), color=colour)  # fmt: skip


def _short(name: str) -> str:
    half = LETTERS // 2
    return name if len(name) <= LETTERS else f"{name[: half - 1]}…{name[-half:]}"


def _key(figure: Figure, top: float, found: Ensemble, across: float) -> None:
    scoring = found.scorings[-1]
    for i, group in enumerate(scoring.groups):
        row = top + KEY * i
        swatch = place(figure, MARGIN, row + 0.01, 0.22, 0.1)
        swatch.plot([0, 1], [0, 0], color=LABELS[i % len(LABELS)], linewidth=1.6)
        swatch.plot([0.5], [0], "o", color=LABELS[i % len(LABELS)], markersize=3.5)
        room = across - 2 * MARGIN - 0.3
        write(figure, MARGIN + 0.3, row, _words(group), width=room)
        write(figure, MARGIN + 0.3, row + 0.14, _tested(group), "small", color=FAINT, width=room)
    if len(found.scorings) > 1:
        right = across - MARGIN
        write(figure, right, 0.38, "10 crops; dashed 1 crop", color=FAINT, ha="right")


def _words(group: Group) -> str:
    score = group.score
    together = plus_minus(score.error, score.error_se)
    alone = plus_minus(group.sizes[0].error, None)
    gain = f"gain {signed_number(100 * group.gain.mean)} points"
    return (
        f"{group.name}: {len(group.members)} averaged {together}, one alone {alone}; {gain} "
        f"({interval_words(group.gain, 1, 0.01)})"
    )


def _tested(group: Group) -> str:
    best = group.best
    return (
        f"against the best, {best.against}: {best.rescued} images gained, {best.lost} lost, "
        f"p = {best.p:.2g}"
    )
