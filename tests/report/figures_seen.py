"""What can be seen of a figure: its pixels, its words, and whether these lie within it."""

from __future__ import annotations

import io
from typing import Any
from unittest.mock import patch

import numpy as np
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from convscope.report.style import figure_bytes


def drawn(figure: Figure) -> np.ndarray:
    """(H, W, 3), 0 to 255."""
    return np.asarray(Image.open(io.BytesIO(figure_bytes(figure))).convert("RGB")).astype(float)


def drawn_texts(figure: Figure) -> list[Text]:
    """The texts that matplotlib draws; of an axis it keeps some that it does not."""
    found: dict[int, Text] = {}
    draw = Text.draw

    def recorded(text: Text, *args: Any, **how: Any) -> None:
        found[id(text)] = text
        draw(text, *args, **how)

    with patch.object(Text, "draw", recorded):
        figure_bytes(figure, "rgba")  # pixels as they are: packing them takes as long
    return [text for text in found.values() if text.get_visible() and text.get_text().strip()]


def texts(figure: Figure) -> list[str]:
    """Every text as it was meant, before it was wrapped; those within axes too."""
    found = (str(text.get_label()) or text.get_text() for text in figure.findobj(Text))
    return [words for words in found if words]


def words(figure: Figure) -> str:
    """All texts as one."""
    return " | ".join(texts(figure))


def inside(figure: Figure) -> bool:
    """Whether every word that is not within axes lies within the figure."""
    edge = figure.bbox
    boxes = [t.get_window_extent() for t in figure.texts if t.get_text().strip()]
    return all(
        edge.x0 <= b.x0 and b.x1 <= edge.x1 and edge.y0 <= b.y0 and b.y1 <= edge.y1 for b in boxes
    )
