"""Tiles: a winner's two small pictures, and the plain files in which they wait for their sheets."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from convscope.atlas import sheets
from convscope.atlas.sheets import Pixels
from convscope.atlas.store import LayerRecord, LayerTable
from convscope.geometry.box import Box
from convscope.images.pictures import GREY

__all__ = ["KINDS", "Depicted", "Tile", "TileFiles", "Winner", "read_tiles"]

KINDS = ("patch", "projection")  # in the order in which a winner gets them


@dataclass(frozen=True)
class Winner:
    """A unit that holds a place: its layer, map and rank, position, field, image and value."""

    layer: str
    channel: int
    rank: int
    row: int
    column: int
    box: Box
    image: int
    value: float


@dataclass(frozen=True, eq=False)
class Tile:
    """One of a winner's two pictures, uint8 (th, tw, 3)."""

    kind: str
    winner: Winner
    pixels: Pixels


@dataclass(frozen=True, eq=False)
class Depicted:
    """A layer of the atlas with all that its pictures need."""

    record: LayerRecord
    table: LayerTable

    @property
    def shape(self) -> tuple[int, int, int, int, int]:
        """(C, K, th, tw, 3) of the layer's tiles."""
        return (*self.table.value.shape, *sheets.tile_shape(self.record.window), 3)

    @property
    def bytes(self) -> int:
        """Of both kinds of tiles."""
        return len(KINDS) * int(np.prod(self.shape))

    def winners(self) -> Iterator[Winner]:
        """Whoever holds a place, in the order of maps and ranks."""
        table = self.table
        places = zip(
            (table.image >= 0).nonzero().tolist(),
            *(
                column[table.image >= 0].tolist()
                for column in (table.row, table.column, table.box, table.image, table.value)
            ),
            strict=True,
        )
        for (channel, rank), row, column, box, image, value in places:
            yield Winner(self.record.name, channel, rank, row, column, Box(*box), image, value)


class TileFiles:
    """Tiles on disk, two plain files a layer, each tile at its own offset.

    Plain writes, not a memory map: a full disk is then an error and not a dead process.
    """

    def __init__(self, folder: Path, layers: Sequence[Depicted]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._ranks = {layer.record.name: layer.shape[1] for layer in layers}
        self._files = {}
        for layer in layers:
            for kind in KINDS:
                path = _path(folder, layer, kind)
                path.touch()
                self._files[layer.record.name, kind] = path.open("r+b")

    def __enter__(self) -> TileFiles:
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._files.values():
            file.close()

    def write(self, tiles: Iterable[Tile]) -> int:
        """Put tiles at their places. Returns how many winners have both of theirs now."""
        whole = 0
        for tile in tiles:
            winner, pixels = tile.winner, np.ascontiguousarray(tile.pixels)
            file = self._files[winner.layer, tile.kind]
            file.seek((winner.channel * self._ranks[winner.layer] + winner.rank) * pixels.nbytes)
            file.write(pixels.data)
            whole += tile.kind == KINDS[-1]
        return whole

    def flush(self) -> None:
        """Hand everything to the disk."""
        for file in self._files.values():
            file.flush()
            os.fsync(file.fileno())


def read_tiles(folder: Path, layer: Depicted, kind: str, start: int, stop: int) -> Pixels:
    """Tiles (M, K, th, tw, 3) of feature maps start to stop; empty places are grey."""
    shape = (stop - start, *layer.shape[1:])
    one = int(np.prod(layer.shape[1:]))
    tiles = np.full(shape, GREY, np.uint8)
    with _path(folder, layer, kind).open("rb") as file:
        file.seek(start * one)
        found = np.frombuffer(file.read((stop - start) * one), np.uint8)
    tiles.reshape(-1)[: found.size] = found  # a file ends with its last tile
    tiles[(layer.table.image[start:stop] < 0).numpy()] = GREY
    return tiles


def _path(folder: Path, layer: Depicted, kind: str) -> Path:
    return folder / f"{layer.record.slug}.{kind}"
