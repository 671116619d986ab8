"""The paper's Table 1 as a figure: error by the number of networks whose outputs are averaged."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from convscope.experiments.ensemble.combined import Group, Scoring, Size
from convscope.experiments.ensemble.result import Ensemble
from convscope.experiments.number_words import interval_words, plus_minus, signed_number
from convscope.report.chart import chart, inside, name_rows, row_height
from convscope.report.sheet import PAGE, Note, Panel, Sheet
from convscope.report.style import FAINT, INK, MAP, color_of

__all__ = ["ensemble_figure"]

TALL = 2.0  # inches: a chart
CELL, NAMES = 0.26, 2.6  # inches: of a pair in the table of differences, and its names
MOST = 16  # networks that this table shows


def ensemble_figure(ensemble: Ensemble, *, title: str = "", subtitle: str = "") -> Figure:
    """(a) top-1 and (b) top-5 error by the number of networks averaged, (c) how they differ.

    A line is the mean over the subsets of that size, its band the best and worst of them; dashed
    for one crop where ten were taken too. The cross is the standard error of the whole average.
    """
    subtitle = subtitle or _described(ensemble)
    if len(ensemble.scorings) > 1:
        subtitle += " · 10 crops; dashed 1 crop"
    sheet = Sheet(title or "Ensembles", subtitle)
    fields = {"error": "Top-1 error, %"}
    if len(ensemble.classes) > 5:
        fields["top5_error"] = "Top-5 error, %"
    sheet.row([
        Panel(partial(_draw_curves, scorings=ensemble.scorings, field=field), words, height=TALL)
        for field, words in fields.items()
    ])  # fmt: skip
    for i, group in enumerate(ensemble.scorings[-1].groups):
        sheet.notes([Note(_words(group), swatch=color_of(i)), Note(_tested(group), color=FAINT)])
    names = list(ensemble.scorings[-1].singles)
    if len(names) <= MOST:
        cell = max(CELL, row_height(names, NAMES))
        draw = partial(_draw_differences, scoring=ensemble.scorings[-1])
        side = cell * len(names)
        beside = Panel(width=max(0.1, PAGE - NAMES - side))
        words = "Images labelled differently, %"
        sheet.row([Panel(draw, words, height=side, width=side), beside])
    return sheet.figure()


def _described(ensemble: Ensemble) -> str:
    whose = ", some of random weights" if ensemble.random else ""
    kinds = ", ".join(f"{len(members)} × {kind}" for kind, members in ensemble.kinds.items())
    return f"{kinds}{whose} · {ensemble.images:,} images of {ensemble.data}"


def _draw_curves(axes: Axes, scorings: Sequence[Scoring], field: str) -> None:
    chart(axes, "networks averaged")
    low, high = ("low", "high") if field == "error" else ("top5_low", "top5_high")
    for scoring in scorings:
        dashed = scoring.crops == 1 and len(scorings) > 1
        for i, group in enumerate(scoring.groups):
            color, style = color_of(i), (0, (3, 2)) if dashed else "-"
            members = [size.members for size in group.sizes]
            means = _of(group.sizes, field)
            axes.plot(
                members, means, "o", linestyle=style, color=color, markersize=3, linewidth=1.3
            )
            if not dashed:
                best, worst = _of(group.sizes, low), _of(group.sizes, high)
                axes.fill_between(members, best, worst, color=color, alpha=0.13, linewidth=0)
                error = group.score.error_se if field == "error" else group.score.top5_se
                axes.errorbar(
                    [members[-1]], [means[-1]], yerr=[100 * error], color=color, elinewidth=0.8,
                    capsize=2,
                )  # fmt: skip
    most = max(size.members for group in scorings[0].groups for size in group.sizes)
    axes.set_xlim(0.7, most + 0.3)
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))


def _of(sizes: Sequence[Size], field: str) -> list[float]:
    return [100 * getattr(size, field) for size in sizes]


def _draw_differences(axes: Axes, scoring: Scoring) -> None:
    """A square of all pairs: the share of images that they name differently."""
    names, shares = list(scoring.singles), scoring.disagreement
    most = max(float(shares.max()), 1e-9)
    others = np.ma.masked_array(shares, np.eye(len(names), dtype=bool))
    axes.imshow(others, cmap=MAP, vmin=0, vmax=1.15 * most, aspect="auto")
    numbers = [f"{i + 1}" for i in range(len(names))]
    name_rows(axes, [f"{name}  ({i})" for name, i in zip(names, numbers, strict=True)], NAMES)
    axes.set_xticks(range(len(names)), numbers)
    axes.tick_params(axis="x", length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    for i, j in np.ndindex(shares.shape):
        if i != j:
            color = "white" if shares[i, j] < 0.65 * most else INK
            words = f"{100 * shares[i, j]:.0f}"
            inside(axes, j, i, words, data="xy", ha="center", va="center", color=color)


def _words(group: Group) -> str:
    score = group.score
    together = plus_minus(score.error, score.error_se)
    alone = plus_minus(group.sizes[0].error, None)
    gain = f"gain {signed_number(100 * group.gain.mean)} points"
    return (
        f"{group.name}: {len(group.members)} averaged {together} %, one alone {alone} %; {gain} "
        f"({interval_words(group.gain, 1, 0.01)})"
    )


def _tested(group: Group) -> str:
    best = group.best
    return (
        f"against the best, {best.against}: {best.rescued} images gained, {best.lost} lost, "
        f"p = {best.p:.2g}"
    )
