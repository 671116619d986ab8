"""The paper's Fig. 5 as a figure, with what it shows measured; one network, or two in turn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from convscope.experiments.diagnosis.diagnosis import Diagnosis
from convscope.experiments.diagnosis.examined import Examined
from convscope.experiments.diagnosis.filters import BANDS, RADIUS
from convscope.experiments.diagnosis.findings import Severity
from convscope.experiments.diagnosis.layer import LayerDiagnosis
from convscope.experiments.number_words import minus, percent
from convscope.images.pictures import around_grey, grey_scaled
from convscope.report.chart import chart, inside, name_rows, picture, row_height, ticks, value_rows
from convscope.report.sheet import Note, Panel, Sheet
from convscope.report.style import CHANCE, CLIP, FAINT, INK, LABELS, OTHER, RULE, tiled

__all__ = ["diagnosis_figure"]

Pixels = NDArray[np.uint8]

PLOT = 1.2  # inches: a chart's height
MOST_TILES = 144
MOST_NAMED = 24  # layers: of more, every one still has its bar but a number in place of its name
NAMES, TALLEST = 1.3, 2.2  # inches: the layers' names, and a chart of more layers than are named
SAID = 6  # findings in words
RED, BLUE, PALE = LABELS[1], LABELS[0], "#f2b5bd"
BLIND = "no layer looks at the pixels"


def diagnosis_figure(
    networks: Sequence[Examined], *, title: str = "Diagnosis", subtitle: str = ""
) -> Figure:
    """For each network its verdict, then the pictures and charts that it rests on.

    Pictures: the filters of the first layer, each on its own scale; the same on a common scale,
    where a filter that dominates hides the others; projections of the second layer's strongest
    answers, where aliasing shows as grids and stripes. Charts: the mean power of the filters by
    spatial frequency, 1 for random numbers, and the Nyquist frequency of the stride; the filters'
    RMS, sorted, and the paper's radius; per layer dead maps, and what does not move with the image.
    Networks are drawn on the same scales.
    """
    sheet = Sheet(title, subtitle)
    ends = (_end(networks, _dead_end), _end(networks, _unsteady_end))
    for network in networks:
        sheet.notes(_verdict(network))
        panels = [*_filters(network), *_second(network), _spectrum(network.diagnosis)]
        panels += [Panel()] * (4 - len(panels))
        sheet.row(panels)
        seen = _layers(network.diagnosis, ends) if network.diagnosis.images else [Panel(), Panel()]
        sheet.row([_strengths(network.diagnosis), *seen])
    return sheet.figure()


# ---- in words ---------------------------------------------------------------------------------


def _verdict(each: Examined) -> list[Note]:
    """The network, how many faults it has, and the first findings; the terminal has all of them."""
    findings = each.diagnosis.findings
    lines = [
        Note(each.title, size="panel", bold=True),
        Note(_sentence(each.diagnosis), color=RED if each.diagnosis.faults else INK, size="panel",
             bold=True),
    ]  # fmt: skip
    for finding in findings[:SAID]:
        fault = finding.severity is Severity.FAULT
        words = minus(f"{finding.layer}, {finding.kind}: {finding.words}")
        lines.append(Note(words, swatch=RED if fault else OTHER, color=INK if fault else FAINT))
        if fault and finding.remedies:
            lines.append(Note(f"Try first: {finding.remedies[0].said}.", bold=True))
    if len(findings) > SAID:
        lines.append(Note(f"and {len(findings) - SAID} more", color=FAINT))
    return lines


def _sentence(diagnosis: Diagnosis) -> str:
    """The verdict: which layers are worth changing, and why."""
    faults, notes = diagnosis.faults, len(diagnosis.findings) - len(diagnosis.faults)
    more = f"{notes} thing{'' if notes == 1 else 's'} worth knowing"
    if not faults:
        return f"No fault found; {more}." if notes else "No fault found."
    kinds: dict[str, list[str]] = {}
    for finding in faults:
        kinds.setdefault(str(finding.kind), []).append(finding.layer)
    said = "; ".join(f"{kind} in {_listed(layers)}" for kind, layers in kinds.items())
    count = f"{len(faults)} fault{'' if len(faults) == 1 else 's'}"
    return f"{count}: {said}" + (f"; {more}." if notes else ".")


def _listed(layers: Sequence[str]) -> str:
    """The first two layers, and how many more."""
    more = len(layers) - 2
    return ", ".join(layers[:2]) + (f" and {more} more" if more > 0 else "")


# ---- pictures ---------------------------------------------------------------------------------


def _filters(each: Examined) -> list[Panel]:
    if each.filters is None:
        return []
    filters = each.preprocess.rgb(each.filters.detach().float().cpu())[:MOST_TILES]
    own = [grey_scaled(weight) for weight in filters]
    common = list(around_grey(filters).permute(0, 2, 3, 1).numpy())
    few = f"the first {MOST_TILES} of {len(each.filters)}"
    notes = [Note(few, color=FAINT, size="small")] if len(each.filters) > MOST_TILES else []
    return [
        Panel(partial(_draw_tiles, tiles=own), "First-layer filters, each scaled", notes),
        Panel(partial(_draw_tiles, tiles=common), "The same on one scale", notes),
    ]


def _second(each: Examined) -> list[Panel]:
    if each.second is None or not each.second.units:
        return []
    tiles = [grey_scaled(each.preprocess.rgb(p), CLIP) for p in each.second.projections]
    words = f"{each.second.layer}: {len(tiles)} maps, their strongest answers projected"
    draw = partial(_draw_tiles, tiles=tiles)
    return [Panel(draw, "Second layer", [Note(words, color=FAINT, size="small")])]


def _draw_tiles(axes: Axes, tiles: Sequence[Pixels]) -> None:
    height = tiles[0].shape[0]
    block = tiled(tiles, seam=max(1, round(height / 9)))
    picture(axes, block, interpolation="nearest" if height < 48 else "antialiased")
    for spine in axes.spines.values():
        spine.set_visible(False)


# ---- charts -----------------------------------------------------------------------------------


def _spectrum(diagnosis: Diagnosis) -> Panel:
    layer = next((layer for layer in diagnosis.layers if layer.first), None)
    caption = "Power by spatial frequency, filters tuned to each"
    if layer is None or layer.spectrum is None:
        return Panel(None, caption, [Note(BLIND, color=FAINT)])
    return Panel(partial(_draw_spectrum, layer=layer), caption, height=PLOT)


def _draw_spectrum(axes: Axes, layer: LayerDiagnosis) -> None:
    spectrum = layer.spectrum
    assert spectrum is not None
    axes.set_yscale("log")
    chart(axes, "cycles per pixel", lines="")
    axes.minorticks_off()
    ticks(axes, y=[0.01, 0.1, 1, 10, 100])
    axes.plot(spectrum.frequency, spectrum.density, color=BLUE, linewidth=1.3)
    axes.axhline(1, **CHANCE)
    axes.set(ylim=(1e-2, 1.2e3), xlim=(0, 0.5))
    for (name, low, high), tuned in zip(BANDS, spectrum.tuned, strict=True):
        middle = (low + min(high, 0.5)) / 2
        inside(axes, middle, 0.97, f"{name}\n{tuned}", data="x", ha="center", va="top")
        if low:
            axes.axvline(low, color=RULE, linewidth=0.5, zorder=0)
    if max(layer.stride) > 1:
        nyquist = 1 / (2 * max(layer.stride))
        axes.axvline(nyquist, color=RED, linewidth=1.0, linestyle=(0, (4, 2)))
        words = f"Nyquist of\nstride {max(layer.stride)}"
        inside(axes, nyquist + 0.012, 0.03, words, data="x", color=RED, va="bottom")


def _strengths(diagnosis: Diagnosis) -> Panel:
    layers = diagnosis.layers
    layer = next((layer for layer in layers if layer.first), layers[0])
    caption = f"Filter RMS of {layer.name}, sorted"
    share = percent(layer.strength.top_share)
    said = [
        Note(f"strongest 5 %: {share} of the energy", color=FAINT),
        Note(f"{layer.strength.above_radius} above {RADIUS:g}, the paper's radius", color=FAINT),
    ]
    return Panel(partial(_draw_strengths, layer=layer), caption, said, height=PLOT)


def _draw_strengths(axes: Axes, layer: LayerDiagnosis) -> None:
    chart(axes, "filter, strongest first")
    rms = sorted(layer.strength.rms, reverse=True)
    places = range(1, len(rms) + 1)
    axes.fill_between(places, rms, color=BLUE, alpha=0.15, linewidth=0)
    axes.plot(places, rms, color=BLUE, linewidth=1.3)
    high = max(rms[0], 1e-6)
    if rms[0] > RADIUS / 5:
        high = max(rms[0], RADIUS)
        axes.axhline(RADIUS, color=RED, linewidth=1.0, linestyle=(0, (4, 2)))
    axes.set(xlim=(1, max(2, len(rms))), ylim=(0, 1.15 * high))


def _layers(diagnosis: Diagnosis, ends: tuple[float, float]) -> list[Panel]:
    """Dead maps of each layer, and beside it what does not move with the image."""
    layers = diagnosis.layers
    marks = [Note("never active", swatch=RED), Note("at < 0.1 % of positions", swatch=PALE)]
    if len(layers) > MOST_NAMED:
        height = TALLEST
        marks.append(Note(f"convolutions, counted from {layers[0].name}", color=FAINT))
    else:
        marks.append(Note("beside a bar: how many of both", color=FAINT))
        height = len(layers) * row_height([layer.name for layer in layers], NAMES) + 0.05
    dead = partial(_draw_dead, layers=layers, end=ends[0])
    unsteady = partial(_draw_unsteady, layers=layers, end=ends[1])
    return [
        Panel(dead, f"Dead maps, {diagnosis.images:,} images", marks, height=height),
        Panel(unsteady, "Does not move with the image", height=height),
    ]


def _draw_dead(axes: Axes, layers: Sequence[LayerDiagnosis], end: float) -> None:
    chart(axes, "% of maps", lines="x")
    named = _rows(axes, layers, NAMES)
    counts = [_dead(layer) for layer in layers]
    shares = [100 * dead / layer.shape[0] for (dead, _), layer in zip(counts, layers, strict=True)]
    above = [100 * rare / layer.shape[0] for (_, rare), layer in zip(counts, layers, strict=True)]
    axes.barh(range(len(layers)), shares, color=RED, height=0.7)
    axes.barh(range(len(layers)), above, left=shares, color=PALE, height=0.7)
    axes.set_xlim(0, end)
    if named:
        value_rows(axes, [f"{dead}+{rare}" if rare else f"{dead}" for dead, rare in counts])


def _draw_unsteady(axes: Axes, layers: Sequence[LayerDiagnosis], end: float) -> None:
    chart(axes, "% of variance", lines="x")
    named = _rows(axes, layers, None)
    values = [layer.unsteadiness for layer in layers]
    axes.barh(range(len(layers)), [100 * (value or 0) for value in values], color=BLUE, height=0.7)
    axes.set_xlim(0, end)
    if named:
        value_rows(axes, ["–" if value is None else percent(value) for value in values])


def _rows(axes: Axes, layers: Sequence[LayerDiagnosis], room: float | None) -> bool:
    """A row for each layer, from the first; whether all have room for a name or a number."""
    if len(layers) > MOST_NAMED:
        shown = range(0, len(layers), -(-len(layers) // 10))
        axes.set_yticks(shown, [f"{place + 1}" for place in shown])
        axes.set_ylim(len(layers) - 0.5, -0.5)
        return False
    if room is not None:
        name_rows(axes, [layer.name for layer in layers], room)
        return True
    axes.set(ylim=(len(layers) - 0.5, -0.5), yticks=[])
    return True


def _dead(layer: LayerDiagnosis) -> tuple[int, int]:
    """How many maps are never active, and how many hardly."""
    seen = layer.activity
    return (len(seen.dead), len(seen.nearly_dead or ())) if seen else (0, 0)


def _dead_end(layer: LayerDiagnosis) -> float:
    return max(10.0, 110 * sum(_dead(layer)) / layer.shape[0])


def _unsteady_end(layer: LayerDiagnosis) -> float:
    return max(30.0, 110 * (layer.unsteadiness or 0))


def _end(networks: Sequence[Examined], of: Callable[[LayerDiagnosis], float]) -> float:
    """The end of an axis that holds every layer of all networks."""
    return max(of(layer) for network in networks for layer in network.diagnosis.layers)
