"""What pictures are worth, in one look: do they point, whose are they, do they fall where they say?

A colour is a method in all panels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from convscope.experiments.number_words import minus, percent
from convscope.experiments.sanity.result import LayerPictures, Sanity, known
from convscope.report.chart import chart, name_rows, row_height, ticks, value_rows
from convscope.report.sheet import Note, Panel, Sheet
from convscope.report.style import CHANCE, FAINT, INK, OTHER, color_of
from convscope.stats import Estimate, mean_of

__all__ = ["sanity_figure"]

NAMES = 1.6  # inches: the kinds of pictures beside their rates
TALL = 1.9  # inches: a chart
COLORS = {"deconvnet": color_of(0), "guided": color_of(1), "gradient": color_of(2)}
DISC = "centred disc"


def sanity_figure(sanity: Sanity, *, title: str = "", subtitle: str = "") -> Figure:
    """Four charts of what pictures are worth, and what was planted.

    (a) how often each kind is brightest on the object, beside chance and the field's centre; (b) by
    layer, how alike pictures of different units of one place are; (c) what is left of a class's
    picture when the network is drawn anew from the top down; (d) by layer, how much more a unit
    falls where its picture points than where moved copies of its mask do, beside a centred disc.
    """
    sheet = Sheet(title or "What the pictures are worth", subtitle)
    layers, redrawn = sanity.layers, sanity.redrawn
    alike = Panel(
        partial(
            _draw_lines,
            lines={m: [_mean(layer.alike[m]) for layer in layers] for m in COLORS},
            names=[layer.layer for layer in layers],
            up="correlation",
        ),
        "Alike for different units of one place (low is good)",
        height=TALL,
    )
    left = Panel(
        partial(
            _draw_lines,
            lines={m: [*redrawn.by_step(m)] for m in COLORS},
            names=[step[-1] for step in redrawn.steps],
            up="correlation with the trained network's",
        ),
        "Left of it, the weights drawn anew from the top down to … (low is good)",
        height=TALL,
    )
    places = Panel(
        partial(_draw_places, layers=layers),
        "Falls more where the picture points than elsewhere (high is good)",
        height=TALL,
    )
    if sanity.pointing:
        names = [each.kind for each in sanity.pointing]
        height = max(TALL, row_height(names, NAMES) * len(names))
        pointing = Panel(
            partial(_draw_pointing, sanity=sanity), "Brightest on the object (high is good)",
            height=height,
        )  # fmt: skip
        sheet.row([pointing, places])
        sheet.row([alike, left])
    else:
        sheet.row([places, alike])
        sheet.row([left, Panel()])
    sheet.legend([
        *(Line2D([], [], color=color, marker="o", markersize=3.5, label=name)
          for name, color in COLORS.items()),
        Line2D([], [], color=FAINT, linestyle=(0, (4, 3)), label=DISC),
        Line2D([], [], color=OTHER, linewidth=3, label="chance"),
    ])  # fmt: skip
    sheet.notes(_planted(sanity))
    sheet.text(
        "bars: 95 % intervals over the images; of a layer, the unit that speaks most for the class",
        color=FAINT, size="small",
    )  # fmt: skip
    return sheet.figure()


def _planted(sanity: Sanity) -> list[Note]:
    """What was planted, those that were found alike together."""
    if not sanity.planted:
        return []
    said = [f"{each.found} of {each.count} {each.what}" for each in sanity.planted]
    return [Note("Planted, and found", bold=True), *(Note(each, size="small") for each in said)]


def _mean(values: Sequence[float | None]) -> Estimate | None:
    some = known(values)
    return mean_of(some) if some else None


def _draw_pointing(axes: Axes, sanity: Sanity) -> None:
    chart(axes, lines="x")
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


def _draw_places(axes: Axes, layers: Sequence[LayerPictures]) -> None:
    lines: dict[str, list[Estimate | None]] = {
        method: [_mean(layer.above[method]) for layer in layers] for method in COLORS
    }
    lines[DISC] = [_mean(layer.disc["deconvnet"]) for layer in layers]
    _draw_lines(axes, lines, [layer.layer for layer in layers], "share of the activation")


def _draw_lines(
    axes: Axes,
    lines: Mapping[str, Sequence[Estimate | None]],
    names: Sequence[str],
    up: str,
) -> None:
    """A line a method, over layers or steps, with its intervals."""
    chart(axes, "", minus(up))
    axes.axhline(0, **CHANCE)
    for i, (name, values) in enumerate(lines.items()):
        color = COLORS.get(name, FAINT)
        shift = 0.08 * (i - (len(lines) - 1) / 2)
        there = [(x + shift, value) for x, value in enumerate(values) if value is not None]
        at, means = [x for x, _ in there], [value.mean for _, value in there]
        style = "-" if name in COLORS else (0, (4, 3))
        axes.plot(at, means, color=color, linestyle=style, linewidth=1.4, marker="o", markersize=3)
        for x, value in there:
            if value.low is not None and value.high is not None:
                axes.plot([x, x], [value.low, value.high], color=color, linewidth=0.9)
    axes.set_xlim(-0.4, len(names) - 0.6)
    axes.set_xticks(range(len(names)), names)
    axes.set_ylim(min(0, axes.get_ylim()[0]), max(1, axes.get_ylim()[1]))
    ticks(axes, y=[0, 0.25, 0.5, 0.75, 1])
