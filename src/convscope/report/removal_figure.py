"""What classes lose without a unit, as a figure: a Removal -> a matplotlib Figure."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter
from numpy.typing import NDArray

from convscope.experiments.number_words import minus, percent
from convscope.experiments.removal.result import CORRECTED, Removal
from convscope.network.unit import Unit
from convscope.report.chart import name_rows, row_height, value_rows
from convscope.report.sheet import LANDSCAPE, Panel, Sheet
from convscope.report.style import FAINT, FONT, INK, RULE, SIGNED, SIZES
from convscope.text import first_name

__all__ = ["removal_figure"]

CLASSES, UNITS = 40, 40  # that are shown: of all, and of a layer
LAYERS = 8
NAMES, BAR = 1.9, 0.12  # inches: the classes' names, the colours' scale
DOT = 2.6  # points


def removal_figure(removal: Removal, *, title: str = "", subtitle: str = "") -> Figure:
    """A panel per layer: how the loss of each class rises without each feature map.

    A row per class and a column per map, red where the loss rises, blue where it falls; a dot where
    the map matters for the class beyond chance. Of many maps and classes those are shown that stand
    out most from chance.
    """
    put = "zero" if removal.to == "zero" else "its mean"
    sheet = Sheet(title or "What each class loses without a feature map", subtitle, width=LANDSCAPE)
    sheet.text(
        f"{removal.images:,} images. Each map is set to {put}, alone, at all of its positions. "
        "Red: the mean loss of the class rises, so the network knows it less well. Blue: it falls."
    )
    classes = _standing_out(removal.null.corrected.min(0), removal.rise.mean.max(0), CLASSES)
    layers = list(dict.fromkeys(Unit.parse(unit).layer for unit in removal.units))
    chosen = {layer: _units_of(removal, layer) for layer in layers[:LAYERS]}
    shown = [unit for units in chosen.values() for unit in units]
    most = float(np.abs(removal.rise.mean[np.ix_(shown, classes)]).max())
    names = [first_name(removal.classes[k].name) for k in classes]
    height = row_height(names, NAMES) * len(classes)
    for layer, units in chosen.items():
        count = sum(Unit.parse(unit).layer == layer for unit in removal.units)
        of = f", {len(units)} of {count}" if len(units) < count else ""
        draw = partial(_draw, removal=removal, units=units, classes=classes, most=most)
        sheet.row([Panel(draw, f"Feature maps of {layer}{of}", height=height)])
    sheet.row([Panel(partial(_draw_scale, most=most), height=BAR)])
    sheet.text(_key(removal, len(classes), len(layers)), color=FAINT)
    return sheet.figure()


def _standing_out(p: NDArray[np.float64], rise: NDArray[np.float64], most: int) -> list[int]:
    """The numbers of those that stand out most from chance, in their own order."""
    order = np.lexsort((-rise, p))[:most]
    return sorted(int(number) for number in order)


def _units_of(removal: Removal, layer: str) -> list[int]:
    own = [k for k, unit in enumerate(removal.units) if Unit.parse(unit).layer == layer]
    p, rise = removal.null.corrected[own].min(1), removal.rise.mean[own].max(1)
    return [own[k] for k in _standing_out(p, rise, UNITS)]


def _draw(
    axes: Axes, removal: Removal, units: Sequence[int], classes: Sequence[int], most: float
) -> None:
    cells = np.ix_(units, classes)
    axes.imshow(removal.rise.mean[cells].T, cmap=SIGNED, vmin=-most, vmax=most, aspect="auto",
                interpolation="nearest")  # fmt: skip
    for column, row in np.argwhere(removal.matters[cells]):
        axes.plot([column], [row], "o", markersize=DOT, color=INK, markeredgecolor="white",
                  markeredgewidth=0.4)  # fmt: skip
    name_rows(axes, [first_name(removal.classes[k].name) for k in classes], NAMES)
    value_rows(axes, [
        f"{known.images} images, {percent(known.accuracy)} right"
        for known in (removal.classes[k] for k in classes)
    ])  # fmt: skip
    channels = [str(Unit.parse(removal.units[unit]).channel) for unit in units]
    axes.set_xticks(range(len(units)), channels, rotation=90 if len(units) > 20 else 0)
    axes.tick_params(axis="x", length=0, pad=2, labeltop=True, labelbottom=False)
    for spine in axes.spines.values():
        spine.set(visible=True, color=RULE, linewidth=0.5)


def _draw_scale(axes: Axes, most: float) -> None:
    """The colours with their numbers, from left to right."""
    low = 0.0 - most
    axes.imshow(np.linspace(0, 1, 256)[None], cmap=SIGNED, aspect="auto",
                extent=(low, most or 1.0, 0, 1))  # fmt: skip
    axes.set(yticks=[], xticks=[low, 0.0, most])
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _signed(value)))
    axes.tick_params(length=0, pad=2)
    words = "rise of the class's mean loss without the map, in nats"
    axes.set_xlabel(words, labelpad=1, fontsize=SIZES["small"], color=FAINT, family=FONT)
    for spine in axes.spines.values():
        spine.set(color=RULE, linewidth=0.5)


def _signed(value: float) -> str:
    return minus(f"{value:+.3g}" if value else "0")


def _key(removal: Removal, classes: int, layers: int) -> str:
    hidden = len(removal.classes) - classes
    words = [
        f"Dot: the map matters for the class; its loss rises by more than that of the other "
        f"classes, p < {CORRECTED:g} against {removal.draws:,} random dealings of the labels, "
        f"corrected over all pairs of a map and a class ({len(removal.units):,} by "
        f"{len(removal.classes):,})."
    ]
    if hidden:
        words.append(f"{hidden:,} more classes are in result.json.")
    if layers > LAYERS:
        words.append(f"{layers - LAYERS:,} more layers are in result.json.")
    return " ".join(words)
