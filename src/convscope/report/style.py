"""The look of the figures, and the little that they share: text, axes in inches, bytes.

A figure is a matplotlib Figure of its own: nothing here touches pyplot or global settings, and
nothing is displayed. Every text is drawn as it is: a `$` in a class name is no formula.
"""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from numpy.typing import NDArray

from convscope.errors import BadOption
from convscope.experiments.wording import minus
from convscope.store.atomic import replace_file

__all__ = [
    "CLIP", "DPI", "FAINT", "GAP", "HEADER", "INK", "LABELS", "MAP", "MARGIN", "OTHER", "RULE",
    "SIZES", "blank", "caption", "families", "frame", "head", "length", "number", "place", "render",
    "save", "tiled", "write",
]  # fmt: skip

Pixels = NDArray[np.uint8]

DPI = 200
INK, FAINT, RULE = "#1c1e21", "#6a6f76", "#c9ccd1"
"""Text, lesser text, and lines."""
MAP = "magma"
"""Colours of a map of numbers: dark is little."""
LABELS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377")
"""Colours of classes, distinct to all eyes (Paul Tol's "bright")."""
OTHER = "#d5d7da"
SIZES = {"title": 11.0, "panel": 8.5, "text": 7.5, "small": 6.5}
"""Points."""

GAP, MARGIN, HEADER = 0.28, 0.3, 0.66
"""Inches between panels, around a figure, and for its title and subtitle."""
CLIP = 0.002
"""Share of a projection's values, the largest, that is cut off: a few would hide all others."""

LETTER = 0.14  # inches of a panel's letter
NARROWEST = 4.5  # inches, so that a title has room
FORMATS = (".png", ".pdf", ".svg")
_FAMILIES = ("Helvetica Neue", "Helvetica", "Arial", "Liberation Sans", "DejaVu Sans")


def blank(width: float, height: float) -> Figure:
    """An empty white figure, inches."""
    figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def head(width: float, height: float, title: str, subtitle: str) -> Figure:
    """A figure with its title and subtitle, and `height` inches for its content below them."""
    figure = blank(max(width, NARROWEST), HEADER + height)
    room = figure.get_size_inches()[0] - 2 * MARGIN
    write(figure, MARGIN, 0.16, title, "title", width=room, weight="bold")
    write(figure, MARGIN, 0.38, subtitle, width=room, color=FAINT)
    return figure


def place(figure: Figure, left: float, top: float, width: float, height: float) -> Axes:
    """Axes without ticks or frame at a place in inches, counted from the figure's top left."""
    across, down = figure.get_size_inches()
    axes = figure.add_axes(
        (left / across, 1 - (top + height) / down, width / across, height / down)
    )
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
    return axes


def frame(axes: Axes) -> None:
    """A hairline around a picture."""
    for spine in axes.spines.values():
        spine.set(visible=True, color=RULE, linewidth=0.5)


def write(
    figure: Figure,
    left: float,
    top: float,
    words: str,
    size: str = "text",
    *,
    width: float | None = None,
    **how: Any,
) -> Text:
    """Words at a place in inches, counted from the figure's top left; `top` is their upper edge.

    size : a key of SIZES;   width : inches, words that are longer are cut and end in an ellipsis
    """
    across, down = figure.get_size_inches()
    text = figure.text(
        left / across,
        1 - top / down,
        words,
        fontsize=SIZES[size],
        family=families(),
        parse_math=False,
        **{"color": INK, "va": "top", "ha": "left", **how},
    )
    if width is not None:
        _cut(text, width)
    return text


def caption(
    figure: Figure, left: float, top: float, letter: str, words: str, width: float | None = None
) -> None:
    """A panel's letter and what it shows; `width` as in `write`, the letter counted."""
    write(figure, left, top, letter, "panel", weight="bold")
    room = None if width is None else width - LETTER
    write(figure, left + LETTER, top, words, "panel", width=room)


def length(text: Text) -> float:
    """How wide a text is drawn, inches."""
    if not text.get_text().strip():
        return 0.0
    with _quiet():
        return float(text.get_window_extent(dpi=DPI).width) / DPI


def _cut(text: Text, width: float) -> None:
    words = text.get_text()
    while words and length(text) > width:
        keep = min(len(words) - 1, int(len(words) * width / length(text)))
        words = words[:keep].rstrip()
        text.set_text(words + "…")


def tiled(tiles: Sequence[Pixels], seam: int) -> Pixels:
    """Pictures (h, w, 3) of one size in rows, as many in a row as make a square of them.

    seam : pixels of white between two; rows that would be empty are left out
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


def render(figure: Figure, form: str = "png") -> bytes:
    """The figure as the bytes of a file."""
    content = io.BytesIO()
    with _quiet():
        figure.savefig(content, format=form, dpi=DPI, facecolor="white")
    return content.getvalue()


def save(figure: Figure, path: str | Path) -> None:
    """Write the figure; a crash leaves the old file or the new one.

    Raises  BadOption: the path does not end in .png, .pdf or .svg.
    """
    path = Path(path)
    if path.suffix.lower() not in FORMATS:
        raise BadOption(f"{path}: a figure is written as {', '.join(FORMATS)}")
    replace_file(path, render(figure, path.suffix[1:].lower()))


@contextmanager
def _quiet() -> Iterator[None]:
    """Names are data: a letter that no typeface holds is drawn as a box, without a word."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        yield


def families() -> list[str]:
    """The typefaces that are there, the preferred first; matplotlib brings the last along."""
    there = {font.name for font in font_manager.fontManager.ttflist}
    return [name for name in _FAMILIES if name in there]
