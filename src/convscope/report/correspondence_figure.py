"""The paper's table of correspondence as a figure: pictures with their covers, Δ with intervals."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from convscope.experiments.correspondence.study import Alike, Baseline, Correspondence
from convscope.experiments.wording import plus_minus
from convscope.report.chart import chart, ticks
from convscope.report.style import (
    FAINT,
    HEADER,
    INK,
    LABELS,
    MARGIN,
    OTHER,
    RULE,
    caption,
    frame,
    head,
    length,
    number,
    place,
    write,
)

__all__ = ["correspondence_figure"]

WIDTH = 9.6  # inches, margins left out
ACROSS, MOST = 8, 16  # pictures in a row, and in all
LINE, NAMES, TEXT = 0.24, 1.75, 2.2  # inches: a row of the plot, names left of it, words right


def correspondence_figure(found: Correspondence, *, title: str = "", subtitle: str = "") -> Figure:
    """Table 1 of arXiv:1311.2901.

    (a) the pictures with what was covered in each, a colour per part; then for each layer Δ of
    every part with its 95 % interval over the pictures (jackknife), above random places, another in
    each picture and the same in all, with the middle 95 % of their draws. Left is more alike.
    """
    shown = min(MOST, len(found.faces.names))
    rows = -(-shown // ACROSS)
    side = WIDTH / ACROSS
    tall = side * found.faces.pixels.shape[1] / found.faces.pixels.shape[2]
    lines = len(found.parts) + 2
    plot = 0.24 + lines * LINE + 0.5
    height = 0.24 + rows * tall + 0.5 + len(found.layers) * plot
    what = title or "Correspondence of parts"
    figure = head(WIDTH + 2 * MARGIN, height, what, subtitle)
    words = f"Covered, one at a time, in {len(found.faces.names)} pictures"
    words += f", of which {shown} are shown" if shown < len(found.faces.names) else ""
    caption(figure, MARGIN, HEADER, "a", words)
    for i in range(shown):
        row, column = divmod(i, ACROSS)
        corner = (MARGIN + column * side, HEADER + 0.24 + row * tall)
        _picture(figure, corner, (side - 0.06, tall - 0.06), found, i)
    top = HEADER + 0.24 + rows * tall + 0.02
    _legend(figure, top, found)
    for i, layer in enumerate(found.layers):
        _layer(figure, top + 0.48 + i * plot, found, layer, "bcdefghij"[i % 9])
    return figure


def _picture(
    figure: Figure,
    corner: tuple[float, float],
    size: tuple[float, float],
    found: Correspondence,
    index: int,
) -> None:
    pixels = found.faces.pixels[index]
    axes = place(figure, *corner, *size)
    height, width = pixels.shape[:2]
    axes.imshow(pixels, extent=(0, width, height, 0), aspect="auto")
    frame(axes)
    for k, part in enumerate(found.parts):
        box = found.boxes[part][index]
        for colour, weight in (("white", 2.2), (_colour(k), 1.2)):
            axes.add_patch(
                Rectangle(
                    (box.left, box.top),
                    box.width,
                    box.height,
                    fill=False,
                    edgecolor=colour,
                    linewidth=weight,
                )
            )


def _legend(figure: Figure, top: float, found: Correspondence) -> None:
    left = MARGIN
    for k, part in enumerate(found.parts):
        place(figure, left, top + 0.01, 0.09, 0.09).set_facecolor(_colour(k))
        left += 0.34 + length(write(figure, left + 0.14, top, part))
    words = (
        "coloured bar: 95 % interval over the pictures; grey bar: 95 % of the draws of places",
        "right: Δ ± standard deviation over pairs; p against random places, other or the same",
    )
    for i, line in enumerate(words):
        room = WIDTH + MARGIN - left
        write(figure, MARGIN + WIDTH, top + 0.14 * i, line, ha="right", color=FAINT, width=room)


def _layer(figure: Figure, top: float, found: Correspondence, layer: str, letter: str) -> None:
    words = f"Δ in {layer}: share of values that a cover changes differently in two pictures"
    caption(figure, MARGIN, top, letter, words, WIDTH)
    lines = len(found.parts) + 2
    left, above, wide = MARGIN + NAMES, top + 0.24, WIDTH - NAMES - TEXT
    axes = chart(figure, left, above, wide, lines * LINE)
    axes.spines["left"].set_visible(False)
    low, high = _limits(found, layer)
    axes.set_xlim(low, high)
    axes.set_ylim(lines, 0)
    ticks(axes, x=_round(low, high))
    axes.tick_params(left=False)
    for k, part in enumerate(found.parts):
        one = found.table[layer][part]
        y, colour = k + 0.5, _colour(k)
        _dot(axes, y, one, colour)
        said = f"{_delta(one)}   p {_p(one.p_own)}, {_p(one.p_same)}"
        _line(figure, above + k * LINE, part, said, wide)
    baselines = (
        ("random, another in each", found.random[layer]),
        ("random, the same in all", found.same[layer]),
    )
    for k, (name, baseline) in enumerate(baselines, len(found.parts)):
        _range(axes, k + 0.5, baseline)
        _line(figure, above + k * LINE, name, _delta(baseline), wide, FAINT)
    axes.axvline(found.random[layer].delta, color=RULE, linewidth=0.8, zorder=0)


def _dot(axes: Axes, y: float, one: Alike, colour: str) -> None:
    if one.low is not None and one.high is not None:
        axes.plot([one.low, one.high], [y, y], color=colour, linewidth=1.2)
    axes.plot([one.delta], [y], marker="o", markersize=4.5, color=colour)


def _range(axes: Axes, y: float, baseline: Baseline) -> None:
    axes.plot(
        [baseline.low, baseline.high], [y, y], color=OTHER, linewidth=5, solid_capstyle="butt"
    )
    axes.plot([baseline.delta], [y], marker="|", markersize=7, color=INK)


def _line(figure: Figure, top: float, name: str, said: str, wide: float, colour: str = INK) -> None:
    middle = top + LINE / 2
    write(figure, MARGIN, middle, name, width=NAMES - 0.1, va="center", color=colour)
    left = MARGIN + NAMES + wide + 0.15
    write(figure, left, middle, said, va="center", color=colour, width=TEXT - 0.1)


def _limits(found: Correspondence, layer: str) -> tuple[float, float]:
    values = []
    for one in found.table[layer].values():
        values += [one.delta, *(end for end in (one.low, one.high) if end is not None)]
    for baseline in (found.random[layer], found.same[layer]):
        values += [baseline.low, baseline.high]
    low, high = min(values), max(values)
    room = 0.06 * (high - low) or 0.01
    return max(0.0, low - room), high + room


def _delta(one: Alike | Baseline) -> str:
    return plus_minus(one.delta, one.deviation, digits=3, unit=1)


def _round(low: float, high: float) -> list[float]:
    """Up to six round numbers within an axis."""
    sizes = (base * 10.0**power for power in range(-4, 1) for base in (1, 2, 5))
    step = next((size for size in sizes if (high - low) / size <= 6), 1.0)
    first = int(low / step) + (low > 0)
    count = int((high - first * step) / step) + 1
    return [float(f"{(first + i) * step:.6g}") for i in range(count)]


def _p(value: float) -> str:
    return number(value) if value >= 0.001 else "<0.001"


def _colour(index: int) -> str:
    return LABELS[index % len(LABELS)]
