"""What a network learned without labels, as a figure: an Adaptive -> a matplotlib Figure."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from convscope.experiments.adaptive.result import (
    LEARNED,
    RANDOM,
    Adaptive,
    LayerMaps,
    LearnedFilters,
    ProbedFeatures,
)
from convscope.experiments.number_words import percent
from convscope.report.chart import chart, name_rows, picture, row_height, ticks, value_rows
from convscope.report.sheet import Note, Panel, Sheet
from convscope.report.style import CHANCE, FAINT, SIZES, color_of, tiled

__all__ = ["adaptive_figure"]

Pixels = NDArray[np.uint8]

MAPS, IN_A_ROW = 16, 8  # of a layer that are shown, and beside each other
SEAM = 1  # pixels of white between two patches
NAMES = 1.9  # inches: the kinds of features
TALL = 1.2  # inches: a chart


def adaptive_figure(found: Adaptive, *, title: str = "", subtitle: str = "") -> Figure:
    """The energy by epoch, images as they are reconstructed, and the maps of every layer.

    Of each map its nine strongest codes, each carried down alone, above the patches where they
    stand. Where features were probed, their accuracy, guessing dashed.

    Args:
        found: What was learned.
        title: Above all.
        subtitle: Of which images.
    """
    sheet = Sheet(title or "Features learned without labels", subtitle)
    sheet.row([
        Panel(partial(_draw_energy, layers=found.layers), "Energy, as a share of the first epoch's",
              height=TALL, width=1.0),
        *_rebuilt(found),
    ])  # fmt: skip
    for layer, drawn in zip(found.layers, found.pictures, strict=True):
        chosen = np.sort(np.argsort(-drawn.values.max(1), kind="stable")[:MAPS])
        of = f"{len(chosen)} of {layer.maps} maps" if len(chosen) < layer.maps else "all maps"
        for start in range(0, len(chosen), IN_A_ROW):
            some = chosen[start : start + IN_A_ROW].tolist()
            caption = f"{layer.name}, {of}: a code reaches {_window(layer)} pixels"
            _maps(sheet, drawn, some, caption if start == 0 else "")
    if found.probed:
        names = [row.name for row in found.probed]
        draw = partial(_draw_accuracy, rows=found.probed, chance=found.chance or 0)
        height = row_height(names, NAMES) * len(names)
        sheet.row([Panel(draw, "Accuracy of a linear SVM on the features", height=height)])
        sheet.text(_sentence(found.verdict()))
    sheet.text(_key(found), color=FAINT, size="small")
    return sheet.figure()


def _window(layer: LearnedFilters) -> str:
    return f"{layer.window[0]}×{layer.window[1]}"


def _sentence(words: str) -> str:
    return f"{words[:1].upper()}{words[1:]}."


def _key(found: Adaptive) -> str:
    said = (
        "Of each map the nine images with the strongest codes, one code each. Above: the code "
        "alone, carried down by its image's switches; grey is zero. Below: what the image shows "
        "there. Images are grey and contrast-normalised."
    )
    if found.probed:
        said += (
            f" {found.per_class} images of each class to learn from, "
            f"{len(found.probed[0].accuracies)} random draws, a dot each; the bar is their "
            "mean. Dashed: guessing."
        )
    return said


def _draw_energy(axes: Axes, layers: Sequence[LearnedFilters]) -> None:
    chart(axes, across="epoch")
    for number, layer in enumerate(layers):
        curve = np.array(layer.energy) / (layer.energy[0] or 1)
        color = color_of(number)
        axes.plot(range(1, len(curve) + 1), curve, color=color, linewidth=1.4, marker="o",
                  markersize=2.5, label=layer.name, clip_on=False)  # fmt: skip
    most = max(len(layer.energy) for layer in layers)
    axes.set(xlim=(1, max(most, 2)), ylim=(0, 1.05))
    ticks(axes, x=sorted({1, (most + 1) // 2, most}), y=[0, 0.5, 1])
    axes.legend(frameon=False, fontsize=SIZES["small"], loc="lower left")


def _rebuilt(found: Adaptive) -> list[Panel]:
    """Images, and what each layer's codes reconstruct of them."""
    panels = [Panel(partial(_draw_stack, pictures=found.shown), "Images", width=0.5)]
    for layer, drawn in zip(found.layers, found.pictures, strict=True):
        note = Note("pixels explained", percent(layer.explained), size="small")
        panels.append(
            Panel(
                partial(_draw_stack, pictures=drawn.rebuilt),
                f"From {layer.name}",
                [note],
                width=0.5,
            )
        )
    return panels


def _draw_stack(axes: Axes, pictures: Sequence[Pixels] | Pixels) -> None:
    picture(axes, tiled(list(pictures), 2))


def _maps(sheet: Sheet, drawn: LayerMaps, some: Sequence[int], caption: str) -> None:
    """Two rows: projections, and patches below them."""
    empty = [Panel()] * (IN_A_ROW - len(some))
    if caption:
        sheet.row([Panel(caption=caption)])
    sheet.row([*(_tile(drawn.projections[k]) for k in some), *empty])
    sheet.row([
        *(_tile(drawn.patches[k], Note(f"map {k}", size="small")) for k in some), *empty
    ])  # fmt: skip


def _tile(pictures: Pixels, *notes: Note) -> Panel:
    return Panel(partial(_draw_tile, pictures=pictures), notes=notes)


def _draw_tile(axes: Axes, pictures: Pixels) -> None:
    picture(axes, tiled(list(pictures), SEAM), interpolation="nearest")


def _draw_accuracy(axes: Axes, rows: Sequence[ProbedFeatures], chance: float) -> None:
    kinds = list(dict.fromkeys(row.kind for row in rows))
    colors = [FAINT if row.kind == RANDOM else color_of(_place(row.kind, kinds)) for row in rows]
    chart(axes, lines="x")
    axes.set_xlim(0, 1)
    ticks(axes, x=[0, 0.25, 0.5, 0.75, 1])
    name_rows(axes, [row.name for row in rows], NAMES, colors)
    axes.axvline(chance, **CHANCE)
    for y, (row, color) in enumerate(zip(rows, colors, strict=True)):
        axes.barh(y, row.mean, height=0.5, color=color, alpha=0.35)
        axes.plot(row.accuracies, [y] * len(row.accuracies), "o", color=color, markersize=2.5,
                  clip_on=False)  # fmt: skip
    value_rows(axes, [percent(row.mean, 1) for row in rows], colors)


def _place(kind: str, kinds: Sequence[str]) -> int:
    return 0 if kind == LEARNED else kinds.index(kind)
