"""What pictures are worth, in one look: do they point, whose are they, do they fall where they say?

A colour is a method in all panels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from convscope.experiments.number_words import percent
from convscope.experiments.sanity.result import Sanity, known
from convscope.report.chart import chart, name_rows, row_height, ticks, value_rows
from convscope.report.sheet import Note, Panel, Sheet
from convscope.report.style import CHANCE, FAINT, INK, OTHER, color_of
from convscope.stats import Estimate, mean_of

__all__ = ["sanity_figure"]

NAMES = 1.6  # inches: the kinds of pictures beside their rates
TALL = 1.9  # inches: a chart
SHIFT = 0.12  # of a row, between methods: equal ones all show
DASHES = (0, (4, 3))
COLORS = {"deconvnet": color_of(0), "guided": color_of(1), "gradient": color_of(2)}
DISC = "centred disc"

Lines = Mapping[str, Sequence[Estimate | None]]
"""By method, a number for each layer or step."""


def sanity_figure(sanity: Sanity, *, title: str = "", subtitle: str = "") -> Figure:
    """Four charts of what pictures are worth, and what was planted.

    (a) how often each kind is brightest on the object, beside chance and the field's centre; (b) by
    layer, how much more a unit falls where its picture points than where moved copies of its mask
    do, beside a centred disc; (c) by layer, how alike pictures of different units of one place are;
    (d) what is left of a class's picture when the network is drawn anew from the top down.
    """
    sheet = Sheet(title or "What the pictures are worth", subtitle)
    layers, redrawn = sanity.layers, sanity.redrawn
    names = [layer.layer for layer in layers]
    place = {method: [_mean(layer.above[method]) for layer in layers] for method in COLORS}
    disc = {DISC: [_mean(layer.disc["deconvnet"]) for layer in layers]}
    alike = {method: [_mean(layer.alike[method]) for layer in layers] for method in COLORS}
    left = {method: redrawn.by_step(method) for method in COLORS}
    charts = [
        _by_depth("Falls where the picture points (high is good)", names, place | disc,
                  "drop of the activation, more than elsewhere"),
        _by_depth("Alike for other units of the place (low is good)", names, alike,
                  "correlation"),
        _by_depth("Left after weights were drawn anew (low is good)",
                  [f"{'down to ' if i else ''}{step[-1]}" for i, step in enumerate(redrawn.steps)],
                  left, "correlation with the trained one"),
    ]  # fmt: skip
    if sanity.pointing:
        charts.insert(0, _pointing(sanity))
    sheet.grid(charts, 2)
    sheet.legend([
        *(Line2D([], [], color=color, marker="o", markersize=3.5, label=name)
          for name, color in COLORS.items()),
        Line2D([], [], color=FAINT, linestyle=DASHES, label=DISC),
        *([Line2D([], [], color=OTHER, linewidth=3, label="chance")] if sanity.pointing else []),
    ])  # fmt: skip
    found = [Note(each, size="small") for each in sanity.planted_words()]
    sheet.notes([Note("Planted in networks built by hand, and found", bold=True), *found])
    sheet.text(
        "bars: 95 % intervals over the images; of a layer, the unit that speaks most for the class",
        color=FAINT, size="small",
    )  # fmt: skip
    return sheet.figure()


def _mean(values: Sequence[float | None]) -> Estimate | None:
    some = known(values)
    return mean_of(some) if some else None


def _pointing(sanity: Sanity) -> Panel:
    height = _height([each.kind for each in sanity.pointing])
    draw = partial(_draw_pointing, sanity=sanity)
    return Panel(draw, "Brightest on the object (high is good)", height=height)


def _by_depth(caption: str, names: Sequence[str], lines: Lines, quantity: str) -> Panel:
    """A line a method, down the layers or steps."""
    draw = partial(_draw_lines, lines=lines, names=names, quantity=quantity)
    return Panel(draw, caption, height=_height(names))


def _height(names: Sequence[str]) -> float:
    return max(TALL, row_height(names, NAMES) * len(names))


def _draw_pointing(axes: Axes, sanity: Sanity) -> None:
    chart(axes, "share of the images", lines="x")
    axes.set_xlim(0, 1)
    ticks(axes, x=[0, 0.25, 0.5, 0.75, 1])
    colors = [COLORS.get(each.kind, INK) for each in sanity.pointing]
    name_rows(axes, [each.kind for each in sanity.pointing], NAMES, colors)
    value_rows(axes, [percent(each.rate.rate) for each in sanity.pointing], colors)
    for y, (each, color) in enumerate(zip(sanity.pointing, colors, strict=True)):
        rate = each.rate
        axes.plot([rate.expected] * 2, [y - 0.3, y + 0.3], color=OTHER, linewidth=3)
        axes.plot([rate.low, rate.high], [y, y], color=color, linewidth=2, clip_on=False)
        axes.plot([rate.rate], [y], "o", color=color, markersize=5.5, clip_on=False)


def _draw_lines(axes: Axes, lines: Lines, names: Sequence[str], quantity: str) -> None:
    chart(axes, quantity, lines="x")
    axes.axvline(0, **CHANCE)
    name_rows(axes, names, NAMES)
    least = 0.0
    for i, (name, values) in enumerate(lines.items()):
        color = COLORS.get(name, FAINT)
        shift = SHIFT * (i - (len(lines) - 1) / 2)
        there = [(y + shift, value) for y, value in enumerate(values) if value is not None]
        means = [value.mean for _, value in there]
        style = "-" if name in COLORS else DASHES
        axes.plot(
            means, [y for y, _ in there], color=color, linestyle=style, linewidth=1.4,
            marker="o", markersize=3, clip_on=False,
        )  # fmt: skip
        for y, value in there:
            if value.low is not None and value.high is not None:
                axes.plot([value.low, value.high], [y, y], color=color, linewidth=0.9)
        least = min([least, *means])
    axes.set_xlim(least - 0.05 if least < 0 else 0, 1)
    ticks(axes, x=[0, 0.25, 0.5, 0.75, 1])
