"""A map of images as a figure: an ImageMap and its pictures -> a matplotlib Figure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from convscope.errors import BadImage
from convscope.experiments.features.feature_set import FeatureSet
from convscope.experiments.features.image_map import ImageMap, image_map
from convscope.images.image_set import ImageSet
from convscope.images.pictures import square
from convscope.report.sheet import PAGE, Panel, Sheet
from convscope.report.style import FAINT, FONT, INK, LABELS, OTHER, SIZES, color_of, write_figure
from convscope.report.wrapping import text_width, wrapped

__all__ = ["image_map_figure", "write_image_map"]

CELLS = np.array((22, 14))  # across and up: one picture in each at most
SIDE = 64  # pixels of a picture
NAMED = 24  # classes whose names are written, the most frequent ones
LONGEST, LINE = 1.2, 0.13  # inches: a line of a name, and its height
STEPS = 12  # half lines that a name is moved away at most, to where there is room
WIDE = PAGE - 0.24  # inches: the map
HIGH = WIDE * float(CELLS[1] / CELLS[0])
MARGIN = 0.02  # of the map, around it
Pixels = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class _Tile:
    """A picture in a cell of the map."""

    row: int
    column: int
    pixels: Pixels
    label: int


@dataclass(frozen=True)
class _Name:
    """A class's name: its middle, and half its width and height, in shares of the map."""

    words: str
    x: float
    y: float
    across: float
    up: float

    def touches(self, other: _Name) -> bool:
        """Whether two names overlap."""
        beside = abs(self.x - other.x) >= self.across + other.across
        return not (beside or abs(self.y - other.y) >= self.up + other.up)


def image_map_figure(
    placed: ImageMap, images: ImageSet, *, title: str = "", subtitle: str = ""
) -> Figure:
    """(a) a dot for each image, with its class; (b) the pictures, where they do not overlap.

    Args:
        placed: where the images lie.
        images: the set, whose pictures are shown.
        title: above; by default what is shown.
        subtitle: which network, which images.
    """
    count = len(placed.indices)
    sheet = Sheet(title or f"{count:,} images, by their features of {placed.layer}", subtitle)
    places = _within(placed.places)
    drawn = partial(_draw_dots, places=places, placed=placed)
    sheet.row([Panel(drawn, "Where each image lies", height=HIGH)])
    tiles = _tiles(places, placed, images)
    sheet.row([Panel(partial(_draw_tiles, tiles=tiles), "What lies there: an image for each cell")])
    sheet.text(
        "Near each other: like features, by t-SNE (van der Maaten & Hinton 2008) of the cosines; "
        f"about {placed.perplexity:.0f} neighbours of an image count. What lies far apart, how "
        f"large a group is and which way it lies mean nothing.{_key(placed)}",
        color=FAINT,
    )
    return sheet.figure()


def write_image_map(
    path: Path, found: FeatureSet, *, seed: int, about: Mapping[str, Any], subtitle: str = ""
) -> None:
    """Place images by the features of the last layer, and draw the map.

    Args:
        path: of the figure; the folders above it are made.
        found: the features.
        seed: of the map.
        about: what was used, JSON-able.
        subtitle: of the figure: which network, which images.

    Raises:
        BadOption, BadData: as `image_map`.
    """
    placed = image_map(found, seed=seed)
    write_figure(path, image_map_figure(placed, found.images, subtitle=subtitle), about)


def _key(placed: ImageMap) -> str:
    met = len(set(placed.labels.tolist()) - {-1})
    if met > len(LABELS):
        return f" {met} classes share {len(LABELS)} colours; names stand at their classes' middle."
    return " Colours are the images' classes." if met else ""


def _within(places: NDArray[np.float64]) -> NDArray[np.float64]:
    """The places within 0 and 1, both ways by themselves."""
    low, high = places.min(0), places.max(0)
    return np.asarray((places - low) / np.where(high > low, high - low, 1))


def _frequent(placed: ImageMap) -> list[int]:
    """The classes that are named, the most frequent first."""
    counts = Counter(label for label in placed.labels.tolist() if label >= 0)
    return [label for label, _ in sorted(counts.items(), key=lambda each: (-each[1], each[0]))]


def _colour(label: int) -> str:
    return OTHER if label < 0 else color_of(label)


def _draw_dots(axes: Axes, places: NDArray[np.float64], placed: ImageMap) -> None:
    colours = [_colour(label) for label in placed.labels.tolist()]
    size = float(np.clip(6000 / len(places), 3, 26))
    axes.scatter(places[:, 0], places[:, 1], s=size, c=colours, linewidths=0, alpha=0.85)
    axes.set(xticks=[], yticks=[], xlim=(-MARGIN, 1 + MARGIN), ylim=(-MARGIN, 1 + MARGIN))
    for spine in axes.spines.values():
        spine.set_visible(False)
    for name in _name_places(places, placed):
        axes.text(
            name.x, name.y, name.words, ha="center", va="center", fontsize=SIZES["text"],
            family=FONT, color=INK, parse_math=False,
            path_effects=[withStroke(linewidth=2.2, foreground="white")],
        )  # fmt: skip


def _name_places(places: NDArray[np.float64], placed: ImageMap) -> list[_Name]:
    """The names, each on its class's middle image, or as near above or below as there is room."""
    known = [label for label in _frequent(placed)[:NAMED] if label < len(placed.classes)]
    found: list[_Name] = []
    for label in known:
        words = wrapped(placed.classes[label], LONGEST, SIZES["text"])
        lines = words.splitlines()
        across = max(text_width(line, SIZES["text"]) for line in lines) / WIDE / 2 + 0.005
        up = (len(lines) * LINE + 0.02) / HIGH / 2
        own = places[placed.labels == label]
        middle = own[np.argmin(((own - np.median(own, axis=0)) ** 2).sum(1))]
        x = float(np.clip(middle[0], across, 1 - across))
        for step in range(2 * STEPS + 1):  # 0, 1, -1, 2, -2, ... half lines away
            y = float(middle[1]) + (step + 1) // 2 * (-1) ** (step + 1) * LINE / HIGH / 2
            name = _Name(words, x, y, across, up)
            if up <= y <= 1 - up and not any(name.touches(other) for other in found):
                found.append(name)
                break
    return found


def _tiles(places: NDArray[np.float64], placed: ImageMap, images: ImageSet) -> list[_Tile]:
    """Of each cell that holds images the one that is nearest to its middle."""
    cells = np.minimum((places * CELLS).astype(int), CELLS - 1)
    distance = ((places * CELLS - cells - 0.5) ** 2).sum(1)
    tiles, taken = [], set()
    for number in np.argsort(distance, kind="stable").tolist():
        column, row = (int(each) for each in cells[number])
        if (row, column) in taken:
            continue
        try:
            picture = images.picture(int(placed.indices[number]))
        except BadImage:  # it could be read when its features were
            continue
        taken.add((row, column))
        tiles.append(
            _Tile(row, column, np.asarray(square(picture, SIDE)), int(placed.labels[number]))
        )
    return tiles


def _draw_tiles(axes: Axes, tiles: Sequence[_Tile]) -> None:
    axes.set(xlim=(0, CELLS[0]), ylim=(0, CELLS[1]), xticks=[], yticks=[], aspect="equal")
    for spine in axes.spines.values():
        spine.set_visible(False)
    for tile in tiles:
        left, bottom = tile.column + 0.06, tile.row + 0.06
        axes.imshow(
            tile.pixels, extent=(left, left + 0.88, bottom, bottom + 0.88), zorder=1,
            interpolation="antialiased",
        )  # fmt: skip
        frame = Rectangle(
            (left, bottom), 0.88, 0.88, fill=False, linewidth=1.1, edgecolor=_colour(tile.label),
            zorder=2,
        )  # fmt: skip
        axes.add_patch(frame)
    axes.set(xlim=(0, CELLS[0]), ylim=(0, CELLS[1]))
