"""The demo's front page: a network trained a moment ago, and what is seen in it, in few sentences.

Everything on it lies beside it; it opens by double-click.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from convscope.experiments.number_words import percent
from convscope.report.chart import picture
from convscope.report.embedded_data import resource, template
from convscope.report.figure_reference import Shown, shown
from convscope.report.sheet import LANDSCAPE, Note, Panel, Sheet
from convscope.store.atomic import replace_file

__all__ = ["contact_figure", "write_tour"]

ACROSS = 12  # pictures in a row of the contact sheet


def contact_figure(pictures: Sequence[Image.Image], names: Sequence[str]) -> Figure:
    """Pictures in rows, their names below."""
    sheet = Sheet(width=LANDSCAPE)
    panels = [
        Panel(partial(picture, pixels=np.asarray(each)), notes=[Note(name, size="small")])
        for each, name in zip(pictures, names, strict=True)
    ]
    sheet.grid(panels, ACROSS)
    return sheet.figure()


def write_tour(folder: str | Path, facts: Mapping[str, Any]) -> Path:
    """Write index.html and tour.css into the demo's folder.

    Args:
        folder: The demo's folder.
        facts: What page/tour.html.j2 names; its `pictures` are the folder of the figures, in
            `folder`.

    Returns:
        The path of the page.
    """
    folder = Path(folder)
    replace_file(folder / "tour.css", resource("tour.css"))
    index = folder / "index.html"

    def figure(file: str, words: str) -> Shown:
        return shown(folder, f"{facts['pictures']}/{file}", words)

    words = template("tour.html.j2").render(facts, percent=percent, picture=figure)
    replace_file(index, words.encode())
    return index
