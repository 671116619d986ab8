"""The look of the figures: their font, sizes and colours, and how they become files.

A figure is a matplotlib Figure of its own: nothing here touches pyplot or global settings, and
nothing is displayed. Every text is drawn as it is: a `$` in a class name is no formula. The font is
the one that matplotlib brings along, so every machine draws the same picture.
"""

from __future__ import annotations

import io
import json
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin

from convscope.errors import BadOption
from convscope.experiments.number_words import minus
from convscope.store.atomic import replace_file

__all__ = [
    "CHANCE",
    "CLIP",
    "DPI",
    "FAINT",
    "FONT",
    "INK",
    "LABELS",
    "MAP",
    "OTHER",
    "RULE",
    "SIGNED",
    "SIZES",
    "color_of",
    "figure_bytes",
    "number",
    "quiet",
    "save",
    "tiled",
    "write_figure",
]  # fmt: skip

Pixels = NDArray[np.uint8]

DPI = 200
FONT = "DejaVu Sans"
SIZES = {"title": 11.0, "panel": 7.5, "text": 6.8, "small": 6.0}
"""Points."""
INK, FAINT, RULE = "#1c1e21", "#62676e", "#c9ccd1"
"""Text, lesser text, and lines."""
MAP = "magma"
"""Colours of a map of numbers: dark is little."""
SIGNED = "RdBu_r"
"""Colours of numbers around 0: blue is below, white is 0, red is above."""
LABELS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377")
"""Colours of classes, pictures, networks: distinct to all eyes (Paul Tol's "bright"). The first
two are training and validation, as it was and changed, trained and not."""
OTHER = "#bfc3c8"
"""What is not told apart."""
CHANCE: dict[str, Any] = {"color": FAINT, "linewidth": 0.8, "linestyle": (0, (4, 3)), "zorder": 0}
"""A line where guessing would be, in every figure."""
CLIP = 0.002
"""Share of a projection's values, the largest, that is cut off: a few would hide all others."""

FORMATS = (".png", ".pdf", ".svg")


def color_of(index: int) -> str:
    """The colour of the class, picture or network of a number; they begin again after six."""
    return LABELS[index % len(LABELS)]


def tiled(tiles: Sequence[Pixels], seam: int) -> Pixels:
    """Lay pictures out in rows, as many in a row as make a square of them.

    Args:
        tiles: Pictures of one size.
        seam: Pixels of white between two; rows that would be empty are left out.

    Shape:
        tiles: (h, w, 3) each.
    """
    columns = math.ceil(math.sqrt(len(tiles)))
    rows = math.ceil(len(tiles) / columns)
    height, width = (extent + seam for extent in tiles[0].shape[:2])
    block = np.full((rows * height - seam, columns * width - seam, 3), 255, np.uint8)
    for number, tile in enumerate(tiles):
        top, left = number // columns * height, number % columns * width
        block[top : top + height - seam, left : left + width - seam] = tile
    return block


def number(value: float) -> str:
    """Three digits, or all of those before the point."""
    return minus(f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}")


def figure_bytes(figure: Figure, form: str = "png", dpi: int = DPI) -> bytes:
    """The figure as the bytes of a file."""
    content = io.BytesIO()
    with quiet():
        figure.savefig(content, format=form, dpi=dpi, facecolor="white")
    return content.getvalue()


def save(figure: Figure, path: str | Path) -> None:
    """Write a figure, and make its folder; a crash leaves the old file or the new one.

    Args:
        figure: The figure.
        path: The file.

    Raises:
        BadOption: The path does not end in .png, .pdf or .svg.
    """
    path = Path(path)
    if path.suffix.lower() not in FORMATS:
        raise BadOption(f"{path}: a figure is written as {', '.join(FORMATS)}")
    content = figure_bytes(figure, path.suffix[1:].lower())
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, content)


@contextmanager
def quiet() -> Iterator[None]:
    """Names are data: a letter that the font does not hold is drawn as a box, without a word."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        yield


def write_figure(path: Path, figure: Figure, about: Mapping[str, Any]) -> None:
    """Write a figure as PNG, and make the folders above it.

    Args:
        path: ends in .png.
        figure: of matplotlib.
        about: what was used, JSON-able: the file's text chunk `about`.
    """
    chunk = PngImagePlugin.PngInfo()
    chunk.add_itxt("about", json.dumps(dict(about)))
    content = io.BytesIO()
    Image.open(io.BytesIO(figure_bytes(figure))).convert("RGB").save(content, "PNG", pnginfo=chunk)
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, content.getvalue())
