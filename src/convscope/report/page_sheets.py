"""Sheets that only the page needs: the strongest picture of every map, and a layer at a glance.

    sheets/<slug>/best-<kind>-000.webp   10 x 10 maps, of each its picture of rank 1
    sheets/<slug>/strip.webp             ten maps of the layer, above their pictures of the kind
                                         that is shown first, below their projections

They are cut out of the atlas's own sheets, so every atlas can have them, an old one too.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from convscope.atlas.sheets import FILTER_COLUMNS, MAPS_PER_SHEET, WALL, cell_box, encode
from convscope.atlas.store import Atlas, LayerRecord, Manifest, sheet_path
from convscope.atlas.tiles import PLAIN
from convscope.store.atomic import replace_file

__all__ = [
    "SEVERAL",
    "STRIP_MAPS",
    "has_optimised",
    "shown_kinds",
    "strip_maps",
    "write_page_sheets",
]

SEVERAL = {"patch": "patches", "projection": "projections", "spotlight": "spotlights"}
"""What several pictures of a kind are called; a kind that is not here is called as it is."""
OPTIMISED = "optimised"  # sheets of 10 x 10 maps, like those of rank 1
STRIP_MAPS = FILTER_COLUMNS
STRIP_CELL = 96  # pixels
EXACT_BELOW = 64  # pixels of a tile: single pixels are enlarged there, and must stay as they are


def shown_kinds(manifest: Manifest) -> tuple[str, ...]:
    """The kinds of pictures of an atlas as the page shows them: the spotlight first."""
    kinds = PLAIN if manifest.extras is None else manifest.extras.kinds
    return tuple(sorted(kinds, key=lambda kind: kind != "spotlight"))


def has_optimised(folder: Path, record: LayerRecord) -> bool:
    """Whether an atlas holds the optimised pictures of all maps of a layer."""
    numbers = range(math.ceil(record.channels / WALL**2))
    return all(sheet_path(folder, record.slug, OPTIMISED, number).is_file() for number in numbers)


def strip_maps(atlas: Atlas, record: LayerRecord) -> list[int]:
    """The maps that stand for a layer, at most ten, the most specific first.

    Where nothing was checked they are the maps that were above zero in the most images.
    """
    found = [atlas.trust(record.name, channel) for channel in range(record.channels)]
    specific = [
        one.specific.mean if one is not None and one.specific is not None else -math.inf
        for one in found
    ]
    active = atlas.layers[record.name].active.tolist()
    order = sorted(range(record.channels), key=lambda c: (-specific[c], -active[c], c))
    return order[:STRIP_MAPS]


def write_page_sheets(atlas: Atlas, record: LayerRecord) -> None:
    """Write a layer's sheets of rank 1 and its strip; the same atlas gives the same bytes."""
    best = {kind: _best(atlas, record, kind) for kind in atlas.kinds}
    exact = record.tile < EXACT_BELOW
    for kind, tiles in best.items():
        for number in range(math.ceil(len(tiles) / WALL**2)):
            sheet = _grid(tiles[number * WALL**2 : (number + 1) * WALL**2])
            path = sheet_path(atlas.folder, record.slug, f"best-{kind}", number)
            replace_file(path, encode(sheet, exact=exact))
    shown = strip_maps(atlas, record)
    rows = [best[kind][shown] for kind in (shown_kinds(atlas.manifest)[0], "projection")]
    pictures = [_scaled(tile, exact=exact) for row in rows for tile in _filled(row)]
    path = sheet_path(atlas.folder, record.slug, "strip")
    replace_file(path, encode(_grid(np.stack(pictures)), exact=False))


def _best(atlas: Atlas, record: LayerRecord, kind: str) -> NDArray[np.uint8]:
    """(C, s, s, 3), each map's picture of rank 1."""
    tiles = []
    for number in range(math.ceil(record.channels / MAPS_PER_SHEET)):
        with Image.open(sheet_path(atlas.folder, record.slug, kind, number)) as file:
            sheet = file.convert("RGB")
        maps = min(MAPS_PER_SHEET, record.channels - number * MAPS_PER_SHEET)
        tiles += [np.asarray(sheet.crop(cell_box(m, 0, record.tile))) for m in range(maps)]
    return np.stack(tiles)


def _filled(row: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A row of ten tiles, grey where the layer has fewer maps."""
    missing = np.full((STRIP_MAPS - len(row), *row.shape[1:]), 128, np.uint8)
    return np.concatenate([row, missing])


def _scaled(tile: NDArray[np.uint8], *, exact: bool) -> NDArray[np.uint8]:
    how = Image.Resampling.NEAREST if exact else Image.Resampling.LANCZOS
    return np.asarray(Image.fromarray(tile).resize((STRIP_CELL, STRIP_CELL), how))


def _grid(tiles: NDArray[np.uint8]) -> Image.Image:
    """Tiles (N, s, s, 3) in rows of ten; grey where there are none."""
    side, rows = tiles.shape[1], math.ceil(len(tiles) / WALL)
    cells = np.full((rows * WALL, side, side, 3), 128, np.uint8)
    cells[: len(tiles)] = tiles
    joined = cells.reshape(rows, WALL, side, side, 3).transpose(0, 2, 1, 3, 4)
    return Image.fromarray(joined.reshape(rows * side, WALL * side, 3))
