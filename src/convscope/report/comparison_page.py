"""Two networks compared as a page: a Comparison and two atlases -> index.html in a folder.

The maps of both networks side by side: what excites each of a matched pair most, and what excites
the maps that one network alone has. No script: it prints as it looks.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from PIL import Image

from convscope.atlas.compared import ATLASES
from convscope.atlas.sheets import encode_sheet
from convscope.atlas.store import Atlas, open_atlas
from convscope.experiments.comparison.result import Comparison, LayerMatch
from convscope.report.embedded_data import resource, template
from convscope.store.atomic import replace_file, write_json

__all__ = ["write_comparison_page"]

OWN_FILES = ("tour.css", "comparison.css")  # copied as they are
PAIRS, ALONE = 16, 6  # that are shown of a layer: pairs, and maps of one network alone
TILES, SIDE, SEAM = 6, 96, 4  # of a map's strip: pictures, and pixels of each and between two
CLEAR = (0, 0, 0, 0)  # between pictures: a page is light or dark


@dataclass(frozen=True)
class Strip:
    """What excites a map most: the picture's file, the map's page, and words for it."""

    file: str
    link: str
    words: str


@dataclass(frozen=True)
class Row:
    """A map of either network, or a pair; None stands where one network has none."""

    words: str
    r: float | None
    strips: tuple[Strip | None, Strip | None]


@dataclass(frozen=True)
class PagePart:
    """Rows of one kind, below a title."""

    title: str
    rows: tuple[Row, ...]


def write_comparison_page(comparison: Comparison, folder: str | Path) -> Path | None:
    """Write the page into a folder, which may hold other things.

    Args:
        comparison: what was found; its atlases are read.
        folder: of the study.

    Returns:
        The path of index.html; None where no atlases were given.

    Raises:
        BadData: an atlas cannot be read.
    """
    if comparison.atlases is None:
        return None
    folder = Path(folder)
    atlases = [open_atlas(place) for place in comparison.atlases]
    for name in ("page", "sheets"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for name in OWN_FILES:
        replace_file(folder / "page" / name, resource(name))
    layers = [
        {
            "match": match,
            "words": _words(match),
            "parts": _Shown(folder, atlases, at, match).parts(),
        }
        for at, match in enumerate(comparison.layers)
    ]
    words = template("comparison.html.j2").render(
        found=comparison,
        standfirst=_standfirst(comparison),
        layers=layers,
        places=[_page_of(atlas, folder) for atlas in atlases],
    )
    there = [Path(os.path.relpath(atlas.folder, folder)).as_posix() for atlas in atlases]
    write_json(folder / ATLASES, there)  # an atlas that is given the comparison leads there, too
    index = folder / "index.html"
    replace_file(index, words.encode())
    return index


def _standfirst(comparison: Comparison) -> str:
    common = sum(len(match.pairs) for match in comparison.layers)
    maps = sum(match.maps[0] for match in comparison.layers)
    return f"{common:,} of {maps:,} maps have one that answers alike"


def _words(match: LayerMatch) -> str:
    alike = "" if match.cka is None else f" As a whole the layers are alike by CKA {match.cka:.2f}."
    return (
        f"{len(match.kept):,} maps kept, {len(match.moved):,} moved to another number, "
        f"{len(match.lost):,} lost, {len(match.new):,} new; level {match.level:.2f}.{alike}"
    )


@dataclass(frozen=True)
class _Shown:
    """A layer of the page, whose pictures are written as they are asked for."""

    folder: Path
    atlases: Sequence[Atlas]
    at: int
    match: LayerMatch

    def parts(self) -> list[PagePart]:
        """Pairs, the nearest first, then the maps that one network alone has."""
        r = {number: self.match.correlation[number] or 0.0 for number in self.match.pairs}
        nearest = sorted(r, key=lambda number: -r[number])
        pairs = [self._pair(number, r[number]) for number in nearest[:PAIRS]]
        lost = [Row(str(n), None, (self._strip(0, n), None)) for n in self.match.lost[:ALONE]]
        new = [Row(str(n), None, (None, self._strip(1, n))) for n in self.match.new[:ALONE]]
        counted = (
            ("In both", pairs, len(nearest)),
            ("Of the left one alone", lost, len(self.match.lost)),
            ("Of the right one alone", new, len(self.match.new)),
        )
        return [
            PagePart(
                title if len(rows) == count else f"{title}: {len(rows)} of {count:,}", tuple(rows)
            )
            for title, rows, count in counted
            if rows
        ]

    def _pair(self, number: int, r: float) -> Row:
        other = self.match.pairs[number]
        words = str(number) if number == other else f"{number} → {other}"
        return Row(words, r, (self._strip(0, number), self._strip(1, other)))

    def _strip(self, side: int, number: int) -> Strip | None:
        """A map's strongest pictures, written beside the page; None where the atlas has none."""
        atlas, layer = self.atlases[side], (self.match.layer, self.match.other)[side]
        if layer not in atlas.layers:
            return None
        lit = all("spotlight" in each.kinds for each in self.atlases)
        kind = "spotlight" if lit else "patch"  # the same on both sides
        table = atlas.layers[layer]
        values = table.value[number, :TILES].tolist()
        ranks = [rank for rank, value in enumerate(values) if value and math.isfinite(value)]
        if not ranks:
            return None
        file = f"sheets/{self.at:02d}-{side}-{number:04d}.webp"
        tiles = (atlas.picture(kind, layer, number, rank) for rank in ranks)
        replace_file(self.folder / file, encode_sheet(_in_a_row(tiles), exact=False))
        return Strip(file, self._link(atlas, layer, number), f"map {number} of {layer}")

    def _link(self, atlas: Atlas, layer: str, number: int) -> str:
        return f"{_page_of(atlas, self.folder)}#/{quote(layer, safe='')}/{number}"


def _page_of(atlas: Atlas, folder: Path) -> str:
    """The address of an atlas's page, seen from a folder."""
    return quote(Path(os.path.relpath(atlas.folder / "index.html", folder)).as_posix())


def _in_a_row(tiles: Iterable[Image.Image]) -> Image.Image:
    """Pictures beside each other, and nothing where there are fewer than the strip holds."""
    strip = Image.new("RGBA", (TILES * (SIDE + SEAM) - SEAM, SIDE), CLEAR)
    for place, tile in enumerate(tiles):
        small = tile.width < SIDE
        how = Image.Resampling.NEAREST if small else Image.Resampling.BILINEAR
        strip.paste(tile.resize((SIDE, SIDE), how), (place * (SIDE + SEAM), 0))
    return strip
