"""The paper's Fig. 6 as a figure: numbers -> a matplotlib Figure, nothing written or displayed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from convscope.experiments.wording import minus, percent
from convscope.geometry.box import Box
from convscope.images.pictures import grey_scaled
from convscope.images.preprocess import Preprocess
from convscope.methods.occluder import covered
from convscope.methods.occlusion import OcclusionMaps
from convscope.report.style import (
    CLIP,
    FAINT,
    GAP,
    HEADER,
    INK,
    LABELS,
    MAP,
    MARGIN,
    OTHER,
    caption,
    frame,
    head,
    length,
    number,
    place,
    write,
)

__all__ = [
    "ACROSS", "CAPTION", "FOOTER", "PANEL", "Panel", "draw_projection", "draw_row",
    "occlusion_figure", "picture_size", "spread",
]  # fmt: skip

Names = Sequence[str] | None

PANEL = 2.3  # inches, the larger side of a picture, and the width of its column
CAPTION, FOOTER = 0.2, 1.06
ACROSS = 5 * PANEL + 4 * GAP + 2 * MARGIN
LISTED = 5  # classes that the legend names
MOST_PROBABLE = 4  # classes named for the unoccluded image


def occlusion_figure(
    maps: OcclusionMaps,
    preprocess: Preprocess,
    *,
    classes: Names = None,
    title: str = "",
    subtitle: str = "",
) -> Figure:
    """The row of the paper's Fig. 6 for one image.

    (a) the image, the occluder drawn to scale where the target's probability is lowest; (b) the
    summed activity of a feature map, by occluder position; (c) the projection of that map from the
    image; (d) the target's probability and (e) the most probable class, by occluder position.
    A pixel of (b), (d), (e) shows the value for the occluder whose visible part has its centre
    nearest to that pixel.
    preprocess : turns the maps' image and projection back into colours
    classes : names by index;   title, subtitle : say which image, and which network
    """
    _, height, width = maps.image.shape
    tall = picture_size(height, width)[1]
    figure = head(ACROSS, CAPTION + tall + FOOTER, title or "Occlusion sensitivity", subtitle)
    panels = draw_row(figure, HEADER, maps, preprocess, classes)
    draw_projection(panels[2], maps, preprocess)
    return figure


def draw_row(
    figure: Figure, top: float, maps: OcclusionMaps, preprocess: Preprocess, classes: Names
) -> list[Panel]:
    """The five panels of a row whose captions stand at `top`; (c), the projection, is still empty.
    """  # fmt: skip
    size = picture_size(*maps.image.shape[-2:])
    panels = [
        Panel(figure, letter, (MARGIN + i * (PANEL + GAP), top), size)
        for i, letter in enumerate("abcde")
    ]
    _draw_image(panels[0], maps, preprocess, classes)
    _draw_activity(panels[1], maps)
    _draw_probability(panels[3], maps, classes)
    _draw_labels(panels[4], maps, classes)
    return panels


def picture_size(height: int, width: int) -> tuple[float, float]:
    """(width, height) in inches of an image of that many pixels."""
    return PANEL * width / max(height, width), PANEL * height / max(height, width)


def spread(values: torch.Tensor, maps: OcclusionMaps) -> NDArray[np.generic]:
    """Values (R, C) by occluder position -> (H, W) by pixel, as `occlusion_figure` shows them."""
    _, height, width = maps.image.shape
    rows = _nearest(maps.rows, maps.occluder.size[0], height)
    columns = _nearest(maps.columns, maps.occluder.size[1], width)
    return values[rows][:, columns].numpy()


def _nearest(corners: torch.Tensor, size: int, extent: int) -> torch.Tensor:
    """For each pixel of an axis the occluder whose visible part has its centre nearest."""
    centres = (corners + (corners + size).clip(max=extent)) / 2
    return (torch.arange(extent)[:, None] + 0.5 - centres).abs().argmin(1)


class Panel:
    """One panel of a row: a letter and a caption above, a picture, a footer below. Inches."""

    def __init__(
        self, figure: Figure, letter: str, corner: tuple[float, float], picture: tuple[float, float]
    ) -> None:
        """corner : (left, top);   picture : its (width, height); words may use a panel's width"""
        self.figure, self.letter, (self.left, self.top) = figure, letter, corner
        self.width, self.picture_width = PANEL, picture[0]
        self.bottom = self.top + CAPTION + picture[1]
        self.axes = place(figure, self.left, self.top + CAPTION, *picture)

    def caption(self, words: str) -> None:
        caption(self.figure, self.left, self.top, self.letter, words, self.width)

    def show(self, picture: NDArray[np.generic], **how: Any) -> None:
        height, width = picture.shape[:2]
        self.axes.imshow(picture, extent=(0, width, height, 0), aspect="auto", **how)
        frame(self.axes)

    def outline(self, box: Box) -> None:
        for colour, weight in ((INK, 1.5), ("white", 0.6)):
            corner = (box.left, box.top)
            self.axes.add_patch(
                Rectangle(
                    corner, box.width, box.height, fill=False, edgecolor=colour, linewidth=weight
                )
            )

    def line(
        self, below: float, words: str, value: str = "", *, swatch: str = "", colour: str = INK
    ) -> None:
        """A line of the footer, the one that number `below`, with a value at its right end."""
        top, left, right = self.bottom + 0.08 + 0.15 * below, self.left, self.left + self.width
        if swatch:
            place(self.figure, left, top + 0.005, 0.09, 0.09).set_facecolor(swatch)
            left += 0.15
        end = write(
            self.figure, right, top, value, ha="right", width=right - left - 0.6, color=colour
        )
        write(self.figure, left, top, words, width=right - left - length(end) - 0.1, color=colour)

    def scale(self, low: float, high: float, base: float) -> None:
        """A slim bar of the map's colours, a mark where the unoccluded image is."""
        bar = place(self.figure, self.left, self.bottom + 0.1, self.picture_width, 0.07)
        bar.imshow(np.linspace(0, 1, 256)[None], cmap=MAP, aspect="auto", extent=(0, 1, 0, 1))
        frame(bar)
        if high > low:
            at = (base - low) / (high - low)
            bar.plot([at], [1.5], marker="v", color=INK, markersize=3.5, clip_on=False)
            bar.set_xlim(0, 1)
            bar.set_ylim(0, 1)
        top, right = self.bottom + 0.21, self.left + self.picture_width
        write(self.figure, self.left, top, number(low), color=FAINT)
        write(self.figure, right, top, number(high), ha="right", color=FAINT)


def _draw_image(panel: Panel, maps: OcclusionMaps, preprocess: Preprocess, classes: Names) -> None:
    worst = divmod(int(maps.log_odds.argmin()), maps.log_odds.shape[1])
    box = maps.occluder.box(*worst).clip(*maps.image.shape[-2:])
    panel.caption("Image, occluder where it costs most")
    panel.show(preprocess.to_uint8(covered(maps.image, [box], maps.fill)[0]))
    panel.outline(box)
    best = maps.base_probabilities.topk(min(MOST_PROBABLE, len(maps.base_probabilities)))
    panel.line(0, "Unoccluded", colour=FAINT)
    for i, (value, label) in enumerate(zip(best.values, best.indices, strict=True)):
        panel.line(i + 1, _name(int(label), classes), _chance(float(value)))


def _draw_activity(panel: Panel, maps: OcclusionMaps) -> None:
    low, high = _range(maps.activity, maps.base_activity)
    panel.caption(f"Activity of feature map {maps.unit.channel}")
    panel.show(spread(maps.activity, maps), cmap=MAP, vmin=low, vmax=high, interpolation="nearest")
    panel.scale(low, high, maps.base_activity)
    panel.line(2, "Unoccluded", number(maps.base_activity))
    panel.line(3, "Lowest", _fallen(float(maps.activity.min()), maps.base_activity))
    panel.line(4, "Layer", maps.unit.layer)


def draw_projection(panel: Panel, maps: OcclusionMaps, preprocess: Preprocess) -> None:
    """Panel (c) with the projection from this image alone."""
    _, height, width = maps.image.shape
    where = "" if maps.unit.position is None else f"@{maps.unit.row},{maps.unit.column}"
    panel.caption(f"Projection of unit {maps.unit.channel}{where}")
    seen = maps.box.clip(height, width)
    share = CLIP * seen.height * seen.width / (height * width)
    panel.show(grey_scaled(preprocess.rgb(maps.projection), share))
    if seen != Box(0, 0, height, width):
        panel.outline(seen)
    panel.line(0, "Activation", number(maps.activation))
    panel.line(1, "Receptive field", f"{maps.box.height}×{maps.box.width} px")


def _draw_probability(panel: Panel, maps: OcclusionMaps, classes: Names) -> None:
    high = max(float(maps.probability.max()), maps.base_probability)
    panel.caption(f"Probability of {_name(maps.target, classes)}")
    panel.show(spread(maps.probability, maps), cmap=MAP, vmin=0, vmax=high, interpolation="nearest")
    panel.scale(0.0, high, maps.base_probability)
    panel.line(2, "Unoccluded", _chance(maps.base_probability))
    panel.line(3, "Lowest", _chance(float(maps.probability.min())))
    least = f"{maps.base_log_odds:.1f} to {float(maps.log_odds.min()):.1f}"
    panel.line(4, "In log-odds", minus(least))


def _draw_labels(panel: Panel, maps: OcclusionMaps, classes: Names) -> None:
    found, counts = maps.label.unique(return_counts=True)
    order = sorted(
        zip(found.tolist(), counts.tolist(), strict=True),
        key=lambda entry: (entry[0] != maps.base_label, -entry[1], entry[0]),
    )
    named = order[:LISTED]
    colour_of = torch.full((int(found.max()) + 1,), LISTED)
    for colour, (label, _) in enumerate(named):
        colour_of[label] = colour
    colours = ListedColormap([*LABELS[:LISTED], OTHER])
    panel.caption("Most probable class")
    panel.show(
        spread(colour_of[maps.label], maps),
        cmap=colours,
        vmin=0,
        vmax=LISTED,
        interpolation="nearest",
    )
    total = maps.label.numel()
    for i, (label, count) in enumerate(named):
        panel.line(i, _name(label, classes), percent(count / total), swatch=LABELS[i])
    rest = [count for _, count in order[LISTED:]]
    if rest:
        panel.line(LISTED, f"{len(rest)} others", percent(sum(rest) / total), swatch=OTHER)


def _range(values: torch.Tensor, base: float) -> tuple[float, float]:
    return min(float(values.min()), base), max(float(values.max()), base)


def _name(label: int, classes: Names) -> str:
    """The first of a class's names, which stand between commas."""
    if classes is None or label >= len(classes):
        return f"class {label}"
    return " ".join(classes[label].split(",")[0].split())


def _chance(probability: float) -> str:
    return f"{probability:.3f}" if probability >= 0.001 or probability == 0 else "<0.001"


def _fallen(value: float, base: float) -> str:
    change = f" ({minus(f'{100 * (value / base - 1):+.0f} %')})" if base > 0 else ""
    return number(value) + change
