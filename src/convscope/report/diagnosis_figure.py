"""The paper's Fig. 5 as a figure, with what it shows measured; one network, or two side by side."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import AutoLocator
from numpy.typing import NDArray

from convscope.experiments.diagnosis.diagnosis import Diagnosis
from convscope.experiments.diagnosis.examined import Examined
from convscope.experiments.diagnosis.filters import BANDS, RADIUS
from convscope.experiments.diagnosis.findings import Severity
from convscope.experiments.diagnosis.layer import LayerDiagnosis
from convscope.experiments.wording import minus, percent
from convscope.images.pictures import around_grey, grey_scaled
from convscope.report.style import (
    CLIP,
    FAINT,
    HEADER,
    INK,
    LABELS,
    MARGIN,
    RULE,
    SIZES,
    caption,
    head,
    place,
    tiled,
    write,
)

__all__ = ["diagnosis_figure"]

Pixels = NDArray[np.uint8]

PANEL, BETWEEN, APART = 2.3, 0.42, 0.6  # inches: a panel, between two, between two networks
COLUMN = 2 * PANEL + BETWEEN
CAPTIONED = PANEL + BETWEEN - 0.06  # inches for a panel's letter and words
CAPTION, PLOT, LINE = 0.24, 1.45, 0.135
MOST_TILES = 144
NAMED = 8  # layers, from which on their names no longer fit below a bar
SAID = 6  # findings in words
LETTERS = 112  # in a line of a column
RED, BLUE, PALE = LABELS[1], LABELS[0], "#f2b5bd"


def diagnosis_figure(
    networks: Sequence[Examined], *, title: str = "Diagnosis", subtitle: str = ""
) -> Figure:
    """First-layer filters, the second layer's projections, spectrum, strengths, dead maps, words.

    (a) the filters of the first layer, each on its own scale; (b) the same on a common scale, where
    a filter that dominates hides the others; (c) the second layer: projections of the strongest
    answers, where aliasing shows as grids and stripes; (d) the mean power of the filters by spatial
    frequency, 1 for random numbers, and the Nyquist frequency of the stride; (e) the filters' RMS,
    sorted, and the paper's radius; (f) dead maps per layer; (g) what does not move with the image.
    """
    pictures = any(each.filters is not None for each in networks)
    second = any(each.second is not None and each.second.units for each in networks)
    seen = any(each.diagnosis.images for each in networks)
    words = [_words(each.diagnosis) for each in networks]
    heights = [
        CAPTION + PANEL + 0.12 if pictures else 0.0,
        CAPTION + PANEL + 0.12 if second else 0.0,
        CAPTION + PLOT + 0.5,
        CAPTION + PLOT + 0.5 if seen else 0.0,
        LINE * max(map(len, words)) + 0.2,
    ]
    tops = [HEADER + CAPTION + sum(heights[:i]) for i in range(len(heights))]
    across = len(networks) * COLUMN + (len(networks) - 1) * APART + 2 * MARGIN + 0.2
    figure = head(across, CAPTION + sum(heights), title, subtitle)
    dead: list[Axes] = []
    unsteady: list[Axes] = []
    for number, (each, lines) in enumerate(zip(networks, words, strict=True)):
        left = MARGIN + 0.2 + number * (COLUMN + APART)
        write(figure, left, HEADER, each.title, "panel", width=COLUMN, weight="bold")
        if pictures:
            _draw_filters(figure, left, tops[0], each)
        if second:
            _draw_second(figure, left, tops[1], each)
        _draw_spectrum(figure, left, tops[2], each)
        _draw_strengths(figure, left + PANEL + BETWEEN, tops[2], each)
        if seen:
            dead.append(_draw_dead(figure, left, tops[3], each.diagnosis))
            right = left + PANEL + BETWEEN
            unsteady.append(_draw_unsteady(figure, right, tops[3], each.diagnosis))
        for i, (line, colour) in enumerate(lines):
            write(figure, left, tops[4] + i * LINE, line, "small", color=colour, width=COLUMN)
    for alike in (dead, unsteady):  # networks are compared on one scale
        for axes in alike:
            axes.set_ylim(0, max(other.get_ylim()[1] for other in alike))
    family = figure.texts[0].get_fontfamily()
    for text in figure.findobj(Text):
        text.set_fontfamily(family)
    return figure


def _draw_filters(figure: Figure, left: float, top: float, each: Examined) -> None:
    right = left + PANEL + BETWEEN
    caption(figure, left, top, "a", "First-layer filters, each scaled", CAPTIONED)
    caption(figure, right, top, "b", "The same on one scale", CAPTIONED)
    if each.filters is None:
        write(figure, left, top + CAPTION, "no layer looks at the pixels", color=FAINT)
        return
    filters = each.preprocess.rgb(each.filters.detach().float().cpu())[:MOST_TILES]
    own = [grey_scaled(weight) for weight in filters]
    common = list(around_grey(filters).permute(0, 2, 3, 1).numpy())
    for at, tiles in ((left, own), (right, common)):
        _draw_tiles(figure, at, top + CAPTION, tiles)
    if len(each.filters) > MOST_TILES:
        note = f"the first {MOST_TILES} of {len(each.filters)}"
        write(figure, right + PANEL, top, note, "small", ha="right", color=FAINT)


def _draw_second(figure: Figure, left: float, top: float, each: Examined) -> None:
    caption(figure, left, top, "c", "Second layer", CAPTIONED)
    if each.second is None or not each.second.units:
        write(figure, left, top + CAPTION, "no images were given", color=FAINT)
        return
    tiles = [grey_scaled(each.preprocess.rgb(p), CLIP) for p in each.second.projections]
    half = (len(tiles) + 1) // 2
    for at, part in ((left, tiles[:half]), (left + PANEL + BETWEEN, tiles[half:])):
        if part:
            _draw_tiles(figure, at, top + CAPTION, part)
    words = f"{each.second.layer}: {len(tiles)} maps, their strongest answers projected"
    write(figure, left + COLUMN, top, words, "small", ha="right", color=FAINT)


def _draw_tiles(figure: Figure, left: float, top: float, tiles: Sequence[Pixels]) -> None:
    height = tiles[0].shape[0]
    block = tiled(tiles, seam=max(1, round(height / 9)))
    axes = place(figure, left, top, PANEL, PANEL * block.shape[0] / block.shape[1])
    axes.imshow(block, aspect="auto", interpolation="nearest" if height < 48 else "antialiased")


def _draw_spectrum(figure: Figure, left: float, top: float, each: Examined) -> None:
    caption(figure, left, top, "d", "Power by spatial frequency", CAPTIONED)
    layer = _first(each.diagnosis)
    if layer is None or layer.spectrum is None:
        write(figure, left, top + CAPTION, "no layer looks at the pixels", color=FAINT)
        return
    axes = _plot(figure, left, top + CAPTION, "cycles per pixel")
    spectrum = layer.spectrum
    axes.plot(spectrum.frequency, spectrum.density, color=BLUE, linewidth=1.3)
    axes.axhline(1, color=FAINT, linewidth=0.7, linestyle=(0, (1, 2)))
    axes.set_yscale("log")
    axes.minorticks_off()
    axes.set_ylim(1e-2, 1.2e2)
    axes.set_xlim(0, 0.5)
    for (name, low, high), tuned in zip(BANDS, spectrum.tuned, strict=True):
        middle = (low + min(high, 0.5)) / 2
        _note(axes, middle, 0.93, name)
        _note(axes, middle, 0.83, f"{tuned} tuned")
        if low:
            axes.axvline(low, color=RULE, linewidth=0.5, zorder=0)
    nyquist = 1 / (2 * max(layer.stride))
    if max(layer.stride) > 1:
        axes.axvline(nyquist, color=RED, linewidth=1.0, linestyle=(0, (4, 2)))
        words = f"Nyquist of\nstride {max(layer.stride)}"
        axes.text(
            nyquist + 0.006, 0.04, words, transform=axes.get_xaxis_transform(), color=RED,
            fontsize=SIZES["small"] - 0.5, va="bottom",
        )  # fmt: skip


def _draw_strengths(figure: Figure, left: float, top: float, each: Examined) -> None:
    layer = _first(each.diagnosis) or each.diagnosis.layers[0]
    caption(figure, left, top, "e", f"Filter RMS of {layer.name}, sorted", CAPTIONED)
    axes = _plot(figure, left, top + CAPTION, "filter, strongest first")
    rms = sorted(layer.strength.rms, reverse=True)
    places = range(1, len(rms) + 1)
    axes.fill_between(places, rms, color=BLUE, alpha=0.15, linewidth=0)
    axes.plot(places, rms, color=BLUE, linewidth=1.3)
    axes.set_xlim(1, max(2, len(rms)))
    axes.set_ylim(0, 1.35 * max(rms[0], 1e-6))
    if rms[0] > RADIUS / 5:
        axes.set_ylim(0, 1.35 * max(rms[0], RADIUS))
        axes.axhline(RADIUS, color=RED, linewidth=1.0, linestyle=(0, (4, 2)))
    share = layer.strength.top_share
    _note(axes, 0.97, 0.93, f"strongest 5 %: {percent(share)} of the energy", ha="right", own=True)
    _note(axes, 0.97, 0.83, f"{layer.strength.above_radius} above 0.1", ha="right", own=True)


def _draw_dead(figure: Figure, left: float, top: float, diagnosis: Diagnosis) -> Axes:
    caption(figure, left, top, "f", f"Dead maps, {diagnosis.images:,} images", CAPTIONED)
    axes = _plot(figure, left, top + CAPTION)
    layers = diagnosis.layers
    dead = [len(each.activity.dead) if each.activity else 0 for each in layers]
    rare = [len(each.activity.nearly_dead or ()) if each.activity else 0 for each in layers]
    shares = [100 * n / each.shape[0] for n, each in zip(dead, layers, strict=True)]
    above = [100 * n / each.shape[0] for n, each in zip(rare, layers, strict=True)]
    places = range(len(layers))
    axes.bar(places, shares, color=RED, width=0.7)
    axes.bar(places, above, bottom=shares, color=PALE, width=0.7)
    highest = max(a + b for a, b in zip(shares, above, strict=True))
    axes.set_ylim(0, max(10.0, 1.6 * highest))
    axes.set_ylabel("% of maps", fontsize=SIZES["small"], color=FAINT, labelpad=1)
    if len(layers) <= 2 * NAMED:
        for at, (count, more) in enumerate(zip(dead, rare, strict=True)):
            height = shares[at] + above[at]
            said = f"{count}+{more}" if more else f"{count}"
            axes.text(at, height, said, ha="center", va="bottom", fontsize=SIZES["small"])
    _note(axes, 0.97, 0.93, "never active", ha="right", own=True, color=RED)
    _note(axes, 0.97, 0.83, "at < 0.1 % of positions", ha="right", own=True, color="#c98a93")
    _name_layers(axes, layers)
    return axes


def _draw_unsteady(figure: Figure, left: float, top: float, diagnosis: Diagnosis) -> Axes:
    caption(figure, left, top, "g", "Does not move with the image", CAPTIONED)
    axes = _plot(figure, left, top + CAPTION)
    values = [each.unsteadiness for each in diagnosis.layers]
    places = [i for i, value in enumerate(values) if value is not None]
    heights = [100 * value for value in values if value is not None]
    axes.bar(places, heights, color=BLUE, width=0.7)
    for at, value in enumerate(values):
        if value is None:
            axes.text(at, 0, "–", ha="center", va="bottom", fontsize=SIZES["small"], color=FAINT)
        elif len(values) <= NAMED:
            words = f"{100 * value:.0f}"
            axes.text(at, 100 * value, words, ha="center", va="bottom", fontsize=SIZES["small"])
    axes.set_ylim(0, max([30.0, *(1.2 * height for height in heights)]))
    axes.set_ylabel("% of variance", fontsize=SIZES["small"], color=FAINT, labelpad=1)
    _name_layers(axes, diagnosis.layers)
    return axes


def _name_layers(axes: Axes, layers: Sequence[LayerDiagnosis]) -> None:
    axes.set_xlim(-0.6, len(layers) - 0.4)
    if len(layers) <= NAMED:
        names = [each.name if len(each.name) <= 9 else "…" + each.name[-8:] for each in layers]
        turned = 0 if max(map(len, names)) * len(names) < 42 else 35
        axes.set_xticks(
            range(len(layers)), names, rotation=turned, ha="right" if turned else "center"
        )
    else:
        step = math.ceil(len(layers) / 8)
        axes.set_xticks(
            range(0, len(layers), step), [str(i + 1) for i in range(0, len(layers), step)]
        )
        axes.set_xlabel(
            f"convolution, counted from {layers[0].name}", fontsize=SIZES["small"], color=FAINT,
            labelpad=2,
        )  # fmt: skip


def _words(diagnosis: Diagnosis) -> list[tuple[str, str]]:
    """(line, colour) of the first findings; the table of all of them is on the terminal."""
    lines: list[tuple[str, str]] = []
    for finding in diagnosis.findings[:SAID]:
        fault = finding.severity is Severity.FAULT
        words = minus(f"{finding.layer}, {finding.kind}: {finding.words}")
        for i, line in enumerate(textwrap.wrap(words, LETTERS)):
            lines.append((line if not i else f"   {line}", INK if fault else FAINT))
    if len(diagnosis.findings) > SAID:
        lines.append((f"and {len(diagnosis.findings) - SAID} more", FAINT))
    return lines or [("Nothing was found to be wrong.", INK)]


def _first(diagnosis: Diagnosis) -> LayerDiagnosis | None:
    return next((layer for layer in diagnosis.layers if layer.first), None)


def _plot(figure: Figure, left: float, top: float, below: str = "") -> Axes:
    """Axes with two thin spines and small ticks."""
    axes = place(figure, left + 0.2, top, PANEL - 0.2, PLOT)
    for side in ("left", "bottom"):
        axes.spines[side].set(visible=True, color=RULE, linewidth=0.7)
    axes.xaxis.set_major_locator(AutoLocator())
    axes.yaxis.set_major_locator(AutoLocator())
    axes.tick_params(
        labelsize=SIZES["small"], length=2, width=0.5, color=RULE, labelcolor=FAINT, pad=2
    )
    axes.set_xlabel(below, fontsize=SIZES["small"], color=FAINT, labelpad=2)
    return axes


def _note(
    axes: Axes, x: float, y: float, words: str, *, ha: str = "center", own: bool = False,
    color: str = FAINT,
) -> None:  # fmt: skip
    """Small words in a plot; y in its height, x too if `own`, else in data."""
    transform = axes.transAxes if own else axes.get_xaxis_transform()
    axes.text(
        x, y, words, transform=transform, ha=ha, va="center", fontsize=SIZES["small"], color=color
    )
