"""Pictures that the page has of its own, cut out of the atlas's sheets: old atlases have them, too.

    sheets/<slug>/best-<kind>-000.webp   of 40 maps each, ten in a row, the picture of rank 1
    sheets/<slug>/strip.webp             of the layer's most selective maps, side by side
    page/lead.webp                       of the unit that the overview begins with

A unit's page shows one sheet of its own, which lies in its script (see page_tables): all cells of
one size, `COLUMNS` in a row, in the order that `sheet_plan` tells.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from convscope.atlas.folder import CONTRAST, EXAMPLE, OPTIMISED, relevant_kind, sheet_path
from convscope.atlas.gallery import UNTRAINED
from convscope.atlas.manifest import LayerRecord, Manifest
from convscope.atlas.sheets import FILTER_COLUMNS, MAPS_PER_SHEET, WALL, cell_box, encode_sheet
from convscope.atlas.store import Atlas
from convscope.atlas.tiles import PLAIN
from convscope.store.atomic import replace_file

__all__ = [
    "BEST_MAPS",
    "COLUMNS",
    "PLATE",
    "SEVERAL",
    "STRIP_MAPS",
    "PagePictures",
    "encoded",
    "has_sheets_of_maps",
    "sheet_plan",
    "shown_kinds",
]

SEVERAL = {"patch": "patches", "projection": "projections", "spotlight": "spotlights"}
"""What several pictures of a kind are called; a kind that is not here is called as it is."""
BEST_MAPS = 4 * FILTER_COLUMNS  # of a sheet of rank 1
COLUMNS = 7  # of a unit's sheet
PLATE = 3  # columns of a map's pictures of one kind alone
RELATIVES = ("nearest", "input", "output")
STRIP_MAPS = 6
STRIP_CELL = 96  # pixels
EXACT = 16  # pixels of a field, at most, whose pictures are kept without loss: each pixel is seen
PAGE_QUALITY = 72  # of WebP: the atlas's own sheets keep more
THUMBNAILS_OF = 6  # layers, whose strongest pictures are held in memory

Pixels = NDArray[np.uint8]


def shown_kinds(manifest: Manifest) -> tuple[str, ...]:
    """The kinds of pictures of an atlas as the page shows them: the spotlight first."""
    kinds = PLAIN if manifest.extras is None else manifest.extras.kinds
    return tuple(sorted(kinds, key=lambda kind: kind != "spotlight"))


def has_sheets_of_maps(folder: Path, record: LayerRecord, kind: str) -> bool:
    """Whether an atlas holds the optimised pictures, or another one a map, of all of a layer."""
    numbers = range(math.ceil(record.channels / WALL**2))
    return all(sheet_path(folder, record.slug, kind, number).is_file() for number in numbers)


def further_kinds(manifest: Manifest) -> dict[str, int]:
    """The contrastive pictures, and those for classes of interest: how many a map has of each."""
    extras = manifest.extras
    if extras is None:
        return {}
    checked = {CONTRAST: extras.check} if extras.check else {}
    relevant = (relevant_kind(number) for number in extras.relevant)
    return checked | dict.fromkeys(relevant, manifest.top)


def sheet_plan(manifest: Manifest) -> dict[str, int]:
    """Where the pictures of each kind begin on a unit's sheet; the last entry is the number of all.

    Empty cells are grey, and cost next to nothing.
    """
    examples = 0 if manifest.extras is None else len(manifest.extras.quantiles)
    counts = dict.fromkeys(shown_kinds(manifest), manifest.top)
    counts |= {EXAMPLE: examples, OPTIMISED: 1, UNTRAINED: 1} | dict.fromkeys(RELATIVES, 5)
    counts |= further_kinds(manifest)
    starts, cells = {}, 0
    for kind, count in counts.items():
        starts[kind] = cells
        cells += count
    return {**starts, "cells": cells}


class PagePictures:
    """The pictures of an atlas's layers at the sizes of the page.

    Args:
        atlas: the atlas.
    """

    def __init__(self, atlas: Atlas) -> None:
        self.atlas = atlas
        self.plan = sheet_plan(atlas.manifest)
        self.first = shown_kinds(atlas.manifest)[0]
        self._thumbnails = lru_cache(maxsize=THUMBNAILS_OF)(self._strongest)

    def write_best(self, record: LayerRecord) -> None:
        """Write a layer's sheets of rank 1; the same atlas gives the same bytes."""
        for kind in self.atlas.kinds:
            for number, sheet in enumerate(self.best(record, kind)):
                path = sheet_path(self.atlas.folder, record.slug, f"best-{kind}", number)
                replace_file(path, encoded(sheet, record))

    def best(self, record: LayerRecord, kind: str) -> Iterator[Image.Image]:
        """A layer's sheets of rank 1, of 40 maps each, ten in a row."""
        tiles = self._strongest(record.name, kind)
        for start in range(0, len(tiles), BEST_MAPS):
            yield _grid(tiles[start : start + BEST_MAPS], FILTER_COLUMNS)

    def ranks(self, record: LayerRecord, kind: str) -> Iterator[Image.Image]:
        """Of each map of a layer all its pictures of a kind, three in a row."""
        for channel in range(record.channels):
            number, at = divmod(channel, MAPS_PER_SHEET)
            if at == 0:
                path = sheet_path(self.atlas.folder, record.slug, kind, number)
                sheet = self.atlas.sheet(path)
            ranks = range(sheet.width // record.tile)
            tiles = [np.asarray(sheet.crop(cell_box(at, rank, record.tile))) for rank in ranks]
            yield _grid(np.stack(tiles), PLATE)

    def write_strip(self, record: LayerRecord, channels: Sequence[int]) -> None:
        """Write the strip of a layer: these maps' strongest pictures, side by side."""
        tiles = [self._thumbnails(record.name, self.first)[channel] for channel in channels]
        scaled = np.stack([resized(tile, STRIP_CELL, record) for tile in tiles])
        path = sheet_path(self.atlas.folder, record.slug, "strip")
        replace_file(path, encode_sheet(_grid(scaled, STRIP_MAPS), exact=False))

    def of_unit(self, record: LayerRecord, channel: int, kind: str) -> Image.Image:
        """A unit's strongest picture of a kind, or its optimised one."""
        name = record.name
        if kind == OPTIMISED:
            return self.atlas.optimised(name, channel)
        return {
            "patch": self.atlas.patch,
            "projection": self.atlas.projection,
            "spotlight": self.atlas.spotlight,
        }[kind](name, channel, 0)

    def write_lead(self, record: LayerRecord, channel: int, kinds: Sequence[str]) -> None:
        """Write the pictures of the unit that the overview begins with, side by side."""
        tiles = [np.asarray(self.of_unit(record, channel, kind)) for kind in kinds]
        cells = np.stack([resized(tile, STRIP_CELL, record) for tile in tiles])
        path = self.atlas.folder / "page" / "lead.webp"
        replace_file(path, encode_sheet(_grid(cells, len(cells)), exact=False))

    def unit_sheets(
        self, record: LayerRecord, relatives: Sequence[dict[str, list[tuple[str, int]]]]
    ) -> Iterator[Image.Image]:
        """The sheet of each map of a layer.

        Args:
            record: of the layer.
            relatives: for each map "nearest", "input" and "output", lists of (layer, map).
        """
        side, rows = record.tile, math.ceil(self.plan["cells"] / COLUMNS)
        singles = {
            kind: self._singles(record, kind)
            for kind in (OPTIMISED, UNTRAINED)
            if has_sheets_of_maps(self.atlas.folder, record, kind)
        }
        for number in range(math.ceil(record.channels / MAPS_PER_SHEET)):
            opened = {
                kind: self.atlas.sheet(path)
                for kind in (*self.atlas.kinds, EXAMPLE, *further_kinds(self.atlas.manifest))
                if (path := sheet_path(self.atlas.folder, record.slug, kind, number)).is_file()
            }
            start = number * MAPS_PER_SHEET
            for channel in range(start, min(start + MAPS_PER_SHEET, record.channels)):
                cells = np.full((rows * COLUMNS, side, side, 3), 128, np.uint8)
                for kind, sheet in opened.items():
                    for rank in range(sheet.width // side):
                        tile = sheet.crop(cell_box(channel, rank, side))
                        cells[self.plan[kind] + rank] = np.asarray(tile)
                for kind, tiles in singles.items():
                    cells[self.plan[kind]] = tiles[channel]
                for kind, others in relatives[channel].items():
                    for at, (layer, other) in enumerate(others):
                        tile = self._thumbnails(layer, self.first)[other]
                        cells[self.plan[kind] + at] = resized(tile, side, record)
                yield _grid(cells, COLUMNS)

    def _strongest(self, layer: str, kind: str) -> Pixels:
        """(C, s, s, 3), each map's picture of rank 1."""
        record = self.atlas.record(layer)
        tiles = []
        for number in range(math.ceil(record.channels / MAPS_PER_SHEET)):
            sheet = self.atlas.sheet(sheet_path(self.atlas.folder, record.slug, kind, number))
            maps = min(MAPS_PER_SHEET, record.channels - number * MAPS_PER_SHEET)
            tiles += [np.asarray(sheet.crop(cell_box(m, 0, record.tile))) for m in range(maps)]
        return np.stack(tiles)

    def _singles(self, record: LayerRecord, kind: str) -> Pixels:
        """(C, s, s, 3), of a kind that has one picture a map."""
        tiles = []
        for number in range(math.ceil(record.channels / WALL**2)):
            path = sheet_path(self.atlas.folder, record.slug, kind, number)
            sheet, side = np.asarray(self.atlas.sheet(path)), record.tile
            for place in range(min(WALL**2, record.channels - number * WALL**2)):
                top, left = (side * at for at in divmod(place, WALL))
                tiles.append(sheet[top : top + side, left : left + side])
        return np.stack(tiles)


def resized(tile: Pixels, side: int, record: LayerRecord) -> Pixels:
    """A tile at another size; single pixels that were enlarged stay sharp."""
    if tile.shape[0] == side:
        return tile
    how = Image.Resampling.NEAREST if is_enlarged(record) else Image.Resampling.LANCZOS
    return np.asarray(Image.fromarray(tile).resize((side, side), how))


def is_enlarged(record: LayerRecord) -> bool:
    """Whether single pixels are enlarged on a layer's tiles, and must stay as they are."""
    return record.tile > max(record.window)


def encoded(sheet: Image.Image, record: LayerRecord) -> bytes:
    """A sheet of the page's own as WebP."""
    if max(record.window) <= EXACT:
        return encode_sheet(sheet, exact=True)
    return encode_sheet(sheet, exact=False, quality=PAGE_QUALITY, method=2)


def _grid(tiles: Pixels, columns: int) -> Image.Image:
    """Tiles (N, s, s, 3) in rows; grey where there are none."""
    side, rows = tiles.shape[1], math.ceil(len(tiles) / columns)
    cells = np.full((rows * columns, side, side, 3), 128, np.uint8)
    cells[: len(tiles)] = tiles
    joined = cells.reshape(rows, columns, side, side, 3).transpose(0, 2, 1, 3, 4)
    return Image.fromarray(joined.reshape(rows * side, columns * side, 3))
