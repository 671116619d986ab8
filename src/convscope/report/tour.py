"""The demo's front page: a network trained a moment ago, and what is seen in it, in few sentences.

Everything on it lies beside it; it opens by double-click.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from convscope.experiments.wording import percent
from convscope.report.island import resource, template
from convscope.report.shown import Shown, shown
from convscope.report.style import blank, place, write
from convscope.store.atomic import replace_file

__all__ = ["contact_figure", "write_tour"]

ACROSS = 12  # pictures in a row of the contact sheet
SIDE, GAP, MARGIN, WORDS = 0.78, 0.06, 0.05, 0.17  # inches


def contact_figure(pictures: Sequence[Image.Image], names: Sequence[str]) -> Figure:
    """Pictures in rows, their names below."""
    rows = -(-len(pictures) // ACROSS)
    across = 2 * MARGIN + ACROSS * SIDE + (ACROSS - 1) * GAP
    figure = blank(across, 2 * MARGIN + rows * (SIDE + WORDS + GAP))
    for number, (picture, name) in enumerate(zip(pictures, names, strict=True)):
        row, column = divmod(number, ACROSS)
        left, top = MARGIN + column * (SIDE + GAP), MARGIN + row * (SIDE + WORDS + GAP)
        axes = place(figure, left, top, SIDE, SIDE)
        axes.imshow(np.asarray(picture), aspect="auto", interpolation="antialiased")
        write(figure, left, top + SIDE + 0.03, name, "small")
    return figure


def write_tour(folder: str | Path, facts: Mapping[str, Any]) -> Path:
    """Write index.html and tour.css into the demo's folder; the path of the page.

    facts : what page/tour.html.j2 names;   its `pictures` : the folder of the figures, in `folder`
    """
    folder = Path(folder)
    replace_file(folder / "tour.css", resource("tour.css"))
    index = folder / "index.html"

    def picture(file: str, words: str) -> Shown:
        return shown(folder, f"{facts['pictures']}/{file}", words)

    words = template("tour.html.j2").render(facts, percent=percent, picture=picture)
    replace_file(index, words.encode())
    return index
