"""The paper's table of correspondence as a figure: pictures with their covers, Δ with intervals."""

from __future__ import annotations

from functools import partial

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from convscope.experiments.correspondence.result import Alike, Baseline, Correspondence
from convscope.experiments.number_words import plus_minus
from convscope.report.chart import Mosaic, chart, name_rows, row_height, value_rows
from convscope.report.sheet import PAGE, Panel, Sheet
from convscope.report.style import CHANCE, FAINT, INK, OTHER, color_of, number

__all__ = ["correspondence_figure"]

ACROSS, MOST = 8, 16  # pictures in a row, and in all
NAMES = 1.9  # inches: the parts' names


def correspondence_figure(
    correspondence: Correspondence, *, title: str = "", subtitle: str = ""
) -> Figure:
    """Table 1 of arXiv:1311.2901.

    (a) the pictures with what was covered in each, a colour per part; then for each layer Δ of
    every part with its 95 % interval over the pictures (jackknife), above random places, another in
    each picture and the same in all, with the middle 95 % of their draws. Left is more alike.
    """
    sheet = Sheet(title or "Correspondence of parts", subtitle, width=PAGE)
    count = len(correspondence.faces.names)
    words = f"Covered, one at a time, in {count} pictures"
    words += f", of which {MOST} are shown" if count > MOST else ""
    sheet.row([Panel(partial(_draw_pictures, correspondence=correspondence), words)])
    sheet.legend(
        [Patch(color=color_of(k), label=part) for k, part in enumerate(correspondence.parts)]
    )
    for layer in correspondence.layers:
        words = f"Δ in {layer}: share of values that a cover changes differently in two pictures"
        height = row_height(_names(correspondence), NAMES) * len(_names(correspondence))
        draw = partial(_draw_layer, correspondence=correspondence, layer=layer)
        sheet.row([Panel(draw, words, height=height)])
    sheet.text(
        "Coloured bar: 95 % interval over the pictures; grey bar: 95 % of the draws of places. "
        "Right: Δ ± standard deviation over pairs; p against random places, other or the same.",
        color=FAINT,
    )
    return sheet.figure()


def _draw_pictures(axes: Axes, correspondence: Correspondence) -> None:
    shown = min(MOST, len(correspondence.faces.names))
    height, width = correspondence.faces.pixels.shape[1:3]
    mosaic = Mosaic(axes, -(-shown // ACROSS), ACROSS, tall=height / width)
    for i in range(shown):
        place = divmod(i, ACROSS)
        mosaic.show(*place, correspondence.faces.pixels[i])
        left, top = mosaic.corner(*place)
        for k, part in enumerate(correspondence.parts):
            box = correspondence.boxes[part][i]
            corner = (left + box.left / width, top + box.top / width)
            for color, weight in (("white", 2.0), (color_of(k), 1.1)):
                axes.add_patch(
                    Rectangle(
                        corner, box.width / width, box.height / width,
                        fill=False, edgecolor=color, linewidth=weight,
                    )
                )  # fmt: skip


def _names(correspondence: Correspondence) -> list[str]:
    return [*correspondence.parts, "random, another in each", "random, the same in all"]


def _draw_layer(axes: Axes, correspondence: Correspondence, layer: str) -> None:
    chart(axes, lines="")
    parts = [correspondence.table[layer][part] for part in correspondence.parts]
    baselines = (correspondence.random[layer], correspondence.same[layer])
    colors = [INK] * len(parts) + [FAINT] * len(baselines)
    name_rows(axes, _names(correspondence), NAMES, colors)
    said = [f"{_delta(one)}   p {_p(one.p_own)}, {_p(one.p_same)}" for one in parts]
    value_rows(axes, [*said, *map(_delta, baselines)], colors)
    for y, one in enumerate(parts):
        if one.low is not None and one.high is not None:
            axes.plot([one.low, one.high], [y, y], color=color_of(y), linewidth=1.4)
        axes.plot([one.delta], [y], marker="o", markersize=4.5, color=color_of(y))
    for y, baseline in enumerate(baselines, len(parts)):
        ends = [baseline.low, baseline.high]
        axes.plot(ends, [y, y], color=OTHER, linewidth=5, solid_capstyle="butt")
        axes.plot([baseline.delta], [y], marker="|", markersize=7, color=INK)
    axes.axvline(correspondence.random[layer].delta, **CHANCE)
    axes.margins(x=0.06)
    axes.set_xlim(left=max(0.0, axes.get_xlim()[0]))


def _delta(one: Alike | Baseline) -> str:
    return plus_minus(one.delta, one.deviation, digits=3, unit=1)


def _p(value: float) -> str:
    return number(value) if value >= 0.001 else "<0.001"
