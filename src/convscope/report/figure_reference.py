"""A figure as a page shows it: every figure in one scale, so that their letters are of one size."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from convscope.report.style import DPI

__all__ = ["Shown", "shown"]

SCALE = 116  # pixels of a page for an inch of a figure
COLUMN = 1026  # pixels of a page's column; a wider figure may leave it


@dataclass(frozen=True)
class Shown:
    """A figure, for the macro of page/figure.html.j2.

    Attributes:
        file: Its file, beside the page.
        words: What it shows, for who cannot see it.
        width: In pixels of the page.
        height: In pixels of the page.
    """

    file: str
    words: str
    width: int
    height: int

    @property
    def broad(self) -> bool:
        """Whether it is wider than the page's column."""
        return self.width > COLUMN


def shown(folder: Path, file: str, words: str) -> Shown:
    """The figure that was written to folder/file."""
    with Image.open(folder / file) as picture:
        width, height = (round(side * SCALE / DPI) for side in picture.size)
    return Shown(file, words, width, height)
