"""Tiles: a winner's small pictures, and the plain files in which they wait for their sheets."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

from convscope.atlas import sheets
from convscope.atlas.manifest import LayerRecord
from convscope.atlas.seals import SealedFile, check_seals
from convscope.atlas.sheets import Pixels
from convscope.atlas.tables import LayerTable
from convscope.geometry.box import Box
from convscope.images.pictures import GREY

__all__ = [
    "KINDS",
    "PLAIN",
    "Further",
    "RenderedLayer",
    "Tile",
    "TileFiles",
    "Winner",
    "read_tiles",
]

PLAIN = ("patch", "projection")
KINDS = (*PLAIN, "spotlight")  # in the order in which a winner gets them


@dataclass(frozen=True)
class Winner:
    """A unit that is among the strongest of its feature map.

    Attributes:
        layer: its name in the atlas.
        channel: the feature map.
        rank: its place in the map's table, from 0.
        row: of the unit's position on the layer's grid.
        column: of the unit's position on the layer's grid.
        box: the unit's receptive field in input pixels; it may extend beyond the image.
        image: its index in the set.
        value: the activation.
    """

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
    """One of a winner's small pictures.

    Attributes:
        kind: one of `KINDS`, or of a `Further`.
        winner: of whom it is.
        pixels: uint8 (th, tw, 3).
    """

    kind: str
    winner: Winner
    pixels: Pixels


@dataclass(frozen=True, eq=False)
class Further:
    """Pictures of a layer's maps beside those of its winners.

    Attributes:
        name: of their kind, and of their sheets.
        image: int64 (C, Q), what each is of; -1 is none.
        row: int64 (C, Q), of the unit's position; None is where the map is strongest in the image.
        column: likewise.
        patches: whether they show patches of the images; else somebody makes them.
    """

    name: str
    image: Tensor
    row: Tensor | None = None
    column: Tensor | None = None
    patches: bool = True


@dataclass(frozen=True, eq=False)
class RenderedLayer:
    """A layer of the atlas with all that its pictures need.

    Attributes:
        record: what the manifest says of it.
        table: its strongest units.
        kinds: the pictures that each of them gets, of `KINDS`.
        further: pictures that its maps get besides.
    """

    record: LayerRecord
    table: LayerTable
    kinds: tuple[str, ...] = PLAIN
    further: tuple[Further, ...] = ()

    @property
    def every_kind(self) -> tuple[str, ...]:
        """The kinds of all of its tiles."""
        return (*self.kinds, *(some.name for some in self.further))

    def images(self, kind: str) -> Tensor:
        """int64 (C, K), the image that each tile of a kind is from; -1 where there is none."""
        return next((some.image for some in self.further if some.name == kind), self.table.image)

    def shape(self, kind: str) -> tuple[int, int, int, int, int]:
        """(C, K, th, tw, 3): of all the layer's tiles of one kind."""
        channels, ranks = self.images(kind).shape
        return (channels, ranks, *sheets.tile_shape(self.record.window), 3)

    @property
    def bytes(self) -> int:
        """The size of the layer's tiles of all kinds."""
        return sum(int(np.prod(self.shape(kind))) for kind in self.every_kind)

    def winners(self) -> Iterator[Winner]:
        """The units in the table, in the order of feature maps and ranks."""
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
    """Tiles on disk, a plain file for each kind of a layer's, each tile at its own offset.

    Plain writes, not a memory map: a full disk is then an error and not a dead process. Used in a
    `with` statement, which closes the files.

    Args:
        folder: for the files; it is made.
        layers: whose tiles are to be kept. Files that are there already are gone on with.
    """

    def __init__(self, folder: Path, layers: Sequence[RenderedLayer]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._ranks = {}
        self._last = {layer.record.name: layer.kinds[-1] for layer in layers}
        self._files = {}
        for layer in layers:
            for kind in layer.every_kind:
                self._ranks[layer.record.name, kind] = layer.shape(kind)[1]
                self._files[layer.record.name, kind] = SealedFile(_path(folder, layer, kind))

    def __enter__(self) -> TileFiles:
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._files.values():
            file.__exit__(None, None, None)

    def write(self, tiles: Iterable[Tile]) -> int:
        """Write tiles at their places.

        Returns:
            How many winners have all of their tiles with these.
        """
        whole = 0
        for tile in tiles:
            winner, pixels = tile.winner, np.ascontiguousarray(tile.pixels)
            file = self._files[winner.layer, tile.kind]
            ranks = self._ranks[winner.layer, tile.kind]
            file.write(winner.channel * ranks + winner.rank, pixels.tobytes())
            whole += self._last[winner.layer] == tile.kind
        return whole

    def flush(self) -> None:
        """Make sure that everything written is on the disk."""
        for file in self._files.values():
            file.flush()


def read_tiles(folder: Path, layer: RenderedLayer, kind: str, start: int, stop: int) -> Pixels:
    """Read tiles of a range of feature maps.

    Args:
        folder: of the tile files.
        layer: whose tiles they are.
        kind: one of the layer's kinds.
        start: the first feature map.
        stop: the one after the last.

    Returns:
        uint8 (stop - start, K, th, tw, 3); places without a winner are grey.

    Raises:
        FolderInUse: they are not those that were written.
    """
    per_map = layer.shape(kind)[1:]
    shape = (stop - start, *per_map)
    bytes_per_map = int(np.prod(per_map))
    tiles = np.full(shape, GREY, np.uint8)
    path = _path(folder, layer, kind)
    with path.open("rb") as file:
        file.seek(start * bytes_per_map)
        content = np.frombuffer(file.read((stop - start) * bytes_per_map), np.uint8)
    tiles.reshape(-1)[: content.size] = content  # a file ends with its last tile
    there = (layer.images(kind)[start:stop] >= 0).numpy()
    check_seals(path, tiles.reshape(-1, *per_map[1:]), there.reshape(-1), start * per_map[0])
    tiles[~there] = GREY
    return tiles


def _path(folder: Path, layer: RenderedLayer, kind: str) -> Path:
    return folder / f"{layer.record.slug}.{kind}"
