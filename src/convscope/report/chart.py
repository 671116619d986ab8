"""What is drawn into a panel's axes: pictures, numbers along axes, a name for each row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, MaxNLocator
from matplotlib.transforms import Bbox
from numpy.typing import NDArray

from convscope.experiments.number_words import minus
from convscope.geometry.box import Box
from convscope.report.style import FAINT, FONT, INK, MAP, OTHER, RULE, SIZES, number
from convscope.report.wrapping import wrapped

__all__ = [
    "Mosaic", "chart", "inside", "name_rows", "picture", "row_height", "scale", "ticks",
    "value_rows",
]  # fmt: skip

Pixels = NDArray[np.uint8]

SHARP = 48  # pixels: pictures up to this side show their single pixels
ROUND = (1, 2, 2.5, 5, 10)  # what the numbers along an axis are multiples of
QUANTITY = 1.8  # inches: what the numbers of a scale are, below it; no scale is narrower
FALL, THICK = 0.18, 0.08  # inches: from a picture to the lower edge of its scale; the scale
LINE, LEAST = 0.125, 0.2  # inches: a line of a name, the lowest row


def picture(axes: Axes, pixels: NDArray[Any], **how: Any) -> None:
    """A picture in its own shape with a hairline around it; one unit of the axes is a pixel."""
    height, width = pixels.shape[:2]
    if max(height, width) <= SHARP:
        how.setdefault("interpolation", "nearest")
    axes.imshow(pixels, extent=(0, width, height, 0), **how)
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set(color=RULE, linewidth=0.5)


@dataclass(frozen=True)
class Mosaic:
    """Pictures in rows and columns of one panel, each within a cell 1 wide and `tall` high.

    Args:
        axes: Still empty; it counts in cells, from the top left.
        rows: How many.
        columns: How many.
        tall: A cell's height against its width.
        gap: Between two cells, against their width.
    """

    axes: Axes
    rows: int
    columns: int
    tall: float = 1.0
    gap: float = 0.06

    def __post_init__(self) -> None:
        """Give the axes the shape of the whole."""
        across = self.columns * (1 + self.gap) - self.gap
        down = self.rows * (self.tall + self.gap) - self.gap
        self.axes.set(xlim=(0, across), ylim=(down, 0), xticks=[], yticks=[], aspect="equal")
        self.axes.tick_params(length=0, pad=2)
        for spine in self.axes.spines.values():
            spine.set_visible(False)

    def corner(self, row: int, column: int) -> tuple[float, float]:
        """The left and the upper edge of a cell."""
        return column * (1 + self.gap), row * (self.tall + self.gap)

    def show(
        self, row: int, column: int, pixels: Pixels, edge: str = RULE, weight: float = 0.4
    ) -> None:
        """A picture (h, w, 3) in the middle of a cell, in its own shape, framed."""
        height, width = pixels.shape[:2]
        left, top, wide, high = self._within(row, column, height, width)
        how = "nearest" if max(height, width) <= SHARP else "antialiased"
        limits = self.axes.get_xlim(), self.axes.get_ylim()
        self.axes.imshow(
            pixels, extent=(left, left + wide, top + high, top), interpolation=how, zorder=1
        )
        self.axes.set(xlim=limits[0], ylim=limits[1])
        frame = Rectangle(
            (left, top), wide, high, fill=False, edgecolor=edge, linewidth=weight, clip_on=False
        )
        self.axes.add_patch(frame)

    def frame(self, row: int, column: int, size: tuple[int, int], box: Box, edge: str) -> None:
        """A box on the picture of a cell, as far as it lies in it.

        Args:
            row, column: The cell.
            size: Height and width of its picture.
            box: In pixels of the picture.
            edge: Its colour.
        """
        left, top, wide, _ = self._within(row, column, *size)
        pixel, inside = wide / size[1], box.clip(*size)
        corner = left + pixel * inside.left, top + pixel * inside.top
        extent = pixel * inside.width, pixel * inside.height
        for colour, weight in (("white", 2.4), (edge, 1.2)):  # seen on any picture
            line = Rectangle(
                corner, *extent, fill=False, edgecolor=colour, linewidth=weight, zorder=3
            )
            self.axes.add_patch(line)

    def _within(
        self, row: int, column: int, height: int, width: int
    ) -> tuple[float, float, float, float]:
        """Left, top, width and height of a picture in the middle of a cell."""
        share = min(1 / width, self.tall / height)
        wide, high = share * width, share * height
        left, top = self.corner(row, column)
        return left + (1 - wide) / 2, top + (self.tall - high) / 2, wide, high

    def name_columns(self, names: Sequence[str], *, top: bool = False) -> None:
        """Words below the columns, or above them."""
        self.axes.set_xticks([j * (1 + self.gap) + 0.5 for j in range(len(names))], names)
        self.axes.tick_params(axis="x", labeltop=top, labelbottom=not top)

    def name_rows(self, names: Sequence[str]) -> None:
        """Words left of the rows."""
        middles = [self.corner(i, 0)[1] + self.tall / 2 for i in range(len(names))]
        self.axes.set_yticks(middles, names)


def chart(
    axes: Axes, across: str = "", up: str = "", *, lines: Literal["x", "y", ""] = "y"
) -> None:
    """A left and a lower edge with round numbers, and what they count.

    Args:
        axes: Still empty.
        across: Words below the horizontal axis.
        up: Words beside the vertical axis.
        lines: The axis at whose numbers faint lines stand, "x" or "y", or "" for none.
    """
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set(color=RULE, linewidth=0.8)
    axes.tick_params(length=2.5, width=0.6, color=RULE, pad=2)
    words: dict[str, Any] = {
        "fontsize": SIZES["small"],
        "color": FAINT,
        "family": FONT,
        "parse_math": False,
    }
    axes.set_xlabel(across, labelpad=2, **words)
    axes.set_ylabel(up, labelpad=2, **words)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(5, steps=ROUND))
        axis.set_major_formatter(FuncFormatter(lambda value, _: minus(f"{value:g}")))
    if lines:
        axes.grid(axis=lines, color=RULE, linewidth=0.4)
        axes.set_axisbelow(True)


def ticks(
    axes: Axes, *, x: Sequence[float] | None = None, y: Sequence[float] | None = None
) -> None:
    """Numbers at these places of an axis; its limits stay as they are."""
    for axis, values in ((axes.xaxis, x), (axes.yaxis, y)):
        if values is not None:
            axis.set_ticks(list(values))


def name_rows(axes: Axes, names: Sequence[str], room: float, colors: Sequence[str] = ()) -> None:
    """A name beside each row 0, 1, ... of a chart whose rows go down, in lines of `room` inches."""
    size = SIZES["text"]
    axes.set_yticks(range(len(names)), [wrapped(name, room, size) for name in names])
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0, labelsize=size, labelcolor=INK, pad=4)
    for label, name in zip(axes.get_yticklabels(), names, strict=True):
        label.set(parse_math=False, label=name)
    for label, color in zip(axes.get_yticklabels(), colors, strict=False):
        label.set_color(color)


def value_rows(axes: Axes, words: Sequence[str], colors: Sequence[str] = ()) -> None:
    """Words at the right end of each row of a chart with `name_rows`."""
    right = axes.secondary_yaxis("right")
    right.set_yticks(range(len(words)), words)
    right.spines["right"].set_visible(False)
    right.tick_params(
        length=0, pad=4, labelsize=SIZES["text"], labelcolor=INK, labelfontfamily=FONT
    )
    for label, color in zip(right.get_yticklabels(), colors, strict=False):
        label.set_color(color)


def row_height(names: Sequence[str], room: float) -> float:
    """Inches of a row of a chart whose names have lines of `room` inches."""
    lines = max(wrapped(name, room, SIZES["text"]).count("\n") + 1 for name in names)
    return max(LEAST, lines * LINE + 0.06)


def inside(axes: Axes, x: float, y: float, words: str, *, data: str = "", **how: Any) -> None:
    """Small words within a chart.

    Args:
        axes: Of the chart.
        x: Across, in shares of the axes; in the chart's numbers if "x" is in `data`.
        y: Up, likewise.
        words: As they are.
        data: "", "x", "y" or "xy".
        how: Passed on to matplotlib.
    """
    places = {
        "": axes.transAxes, "xy": axes.transData, "x": axes.get_xaxis_transform(),
        "y": axes.get_yaxis_transform(),
    }  # fmt: skip
    kept: dict[str, Any] = {
        "fontsize": SIZES["small"],
        "color": FAINT,
        "family": FONT,
        "parse_math": False,
    }
    axes.text(x, y, words, transform=places[data], **{**kept, **how})


def scale(
    axes: Axes, low: float, high: float, base: float, quantity: str = "", cmap: str = MAP
) -> None:
    """A slim bar of the map's colours below a picture, a mark where the unoccluded image is.

    Args:
        axes: Of the picture.
        low: The number of the darkest colour.
        high: The number of the brightest.
        base: The unoccluded image's.
        quantity: What the numbers are, below them.
        cmap: The map's colours.
    """
    bar = axes.inset_axes((0, 0, 1, 1))
    bar.set_axes_locator(partial(_below, axes))
    bar.imshow(np.linspace(0, 1, 256)[None], cmap=cmap, aspect="auto", extent=(0, 1, 0, 1))
    bar.set(xticks=[0, 1], yticks=[])
    bar.set_xticklabels([number(low), number(high)])
    if quantity:
        bar.set_xlabel(
            wrapped(quantity, QUANTITY, SIZES["small"]), labelpad=0.5, fontsize=SIZES["small"],
            color=FAINT, family=FONT, parse_math=False,
        )  # fmt: skip
    bar.tick_params(
        length=0, pad=1.5, labelsize=SIZES["small"], labelcolor=FAINT, labelfontfamily=FONT
    )
    for label, ha in zip(bar.get_xticklabels(), ("left", "right"), strict=True):
        label.set(ha=ha)
    for spine in bar.spines.values():
        spine.set(color=OTHER, linewidth=0.4)
    if high > low:
        at = (base - low) / (high - low)
        bar.plot([at], [1.7], marker="v", color=INK, markersize=3, clip_on=False)
    bar.set(xlim=(0, 1), ylim=(0, 1))


def _below(axes: Axes, bar: Axes, renderer: Any) -> Bbox:
    """Where the scale of a picture lies, in shares of the figure.

    It is as wide as the picture, and as its words need if the panel has room for them: a picture
    may be a few pixels high or wide.
    """
    shown, panel, figure = axes.get_position(), axes.get_position(original=True), axes.figure
    across, down = figure.bbox.width / figure.dpi, figure.bbox.height / figure.dpi
    wide = max(shown.width, min(panel.width, QUANTITY / across))
    return Bbox.from_bounds(shown.x0, shown.y0 - FALL / down, wide, THICK / down)
