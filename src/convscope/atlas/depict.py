"""The second pass: the winners' patches and projections, and the sheets that hold them.

Winners are grouped by image, so that an image is decoded and run forward once for all the units of
all layers that it won (of as many layers as fit the tile budget on disk). Tiles wait in plain files
until every image has been through, then each layer's sheets are written.
"""

from __future__ import annotations

import os
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from convscope.atlas import sheets
from convscope.atlas.sheets import Pixels
from convscope.atlas.store import LayerRecord, LayerTable, sheet_path
from convscope.atlas.unfinished import Drawn, WorkFolder
from convscope.errors import BadData
from convscope.geometry.box import Box
from convscope.images.batches import batches
from convscope.images.image_set import ImageSet
from convscope.images.pictures import GREY, crop, shown_box
from convscope.images.preprocess import Preprocess
from convscope.methods.descent import Start, crops_pay
from convscope.methods.project import project_fields
from convscope.methods.rules import Rules, Seed
from convscope.network.exported import Network
from convscope.network.weights import replace_file

__all__ = ["Winner", "draw", "project_winners"]

CHECKPOINT_SECONDS = 30.0
TILE_BYTES = 2**30  # of tiles that wait on disk for their sheets
TRACE_BYTES = 2**28  # of activations that one batch may keep
TOLD_EVERY = 100  # winners between two reports of progress within a batch
KINDS = ("patch", "projection")


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
class _Layer:
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


@torch.no_grad()
def project_winners(
    network: Network,
    images: Tensor,
    winners: Sequence[tuple[int, Winner]],
    activations: Mapping[str, str],
    rules: Rules,
) -> Iterator[tuple[Winner, Tensor]]:
    """Each winner's projection, cut to what its picture shows.

    images : (B, 3, H, W) preprocessed, the rows that winners refer to
    winners : (row, winner), of any layers; activations : by layer
    Yields  (winner, float32 (3, h, w) on the CPU, zero outside the field and the image).
    """
    extent = network.input_shape[1:]
    counts = Counter(activations[winner.layer] for _, winner in winners)
    from_crops = crops_pay(network, counts, len({row for row, _ in winners}), rules)
    trace = network.trace(images, [])  # it runs as far as it is asked
    for layer in dict.fromkeys(winner.layer for _, winner in winners):
        mine = [(row, winner) for row, winner in winners if winner.layer == layer]
        rows = torch.tensor([row for row, _ in mine], device=network.device)
        start = _start(network, activations[layer], [winner for _, winner in mine], rules)
        fields = project_fields(trace, start, rows, rules, from_crops=from_crops)
        for (_, winner), (box, field) in zip(mine, fields, strict=True):
            shown = _seen_from(box, shown_box(winner.box, *extent))
            within = _seen_from(box, winner.box)
            yield winner, crop(field.float().cpu(), shown, 0.0, within=within)


def _seen_from(origin: Box, box: Box) -> Box:
    """The box counted from the top left of `origin`."""
    rows, columns = origin.top, origin.left
    return Box(box.top - rows, box.left - columns, box.bottom - rows, box.right - columns)


def _start(network: Network, activation: str, winners: Sequence[Winner], rules: Rules) -> Start:
    """What the walk down starts with at winners of one layer."""
    places = torch.tensor([(w.channel, w.row, w.column) for w in winners], device=network.device)
    value = torch.tensor([w.value for w in winners], device=network.device, dtype=network.dtype)
    signal = value if rules.seed is Seed.ACTIVATION else torch.ones_like(value)
    return Start(activation, places[:, 0], places[:, 1:], signal)


def draw(
    network: Network,
    images: ImageSet,
    preprocess: Preprocess,
    records: Sequence[LayerRecord],
    tables: Mapping[str, LayerTable],
    folder: Path,
    work: WorkFolder,
    *,
    rules: Rules,
    batch_size: int,
    workers: int | None,
    advance: Callable[[int, int], None],
) -> float:
    """Write every layer's sheets, begun or gone on with. Returns the seconds spent, in all runs.

    advance : called with (winners drawn, winners in all)

    Raises  BadData: an image that could be read in the first pass cannot be read now.
    """
    layers = [_Layer(record, tables[record.name]) for record in records]
    painter = _Painter(network, images, preprocess, rules, batch_size, workers, work)
    drawn = work.load_drawn()
    counts = [int((layer.table.image >= 0).sum()) for layer in layers]

    def told(done: int) -> None:
        advance(sum(counts[: drawn.layers]) + done, sum(counts))

    while drawn.layers < len(layers):
        group = _group(layers[drawn.layers :], drawn.group)
        drawn = painter.paint(group, drawn, told)
        started = time.monotonic()
        for layer in group:
            _write_sheets(layer, folder, work)
        drawn = Drawn(
            layers=drawn.layers + len(group),
            seconds=drawn.seconds + time.monotonic() - started,
        )
        work.save_drawn(drawn)
        shutil.rmtree(work.tiles, ignore_errors=True)
    told(0)
    return drawn.seconds


@dataclass(frozen=True, eq=False)
class _Painter:
    """Projects the winners of a group of layers into their tile files."""

    network: Network
    images: ImageSet
    preprocess: Preprocess
    rules: Rules
    batch_size: int
    workers: int | None
    work: WorkFolder

    def paint(self, group: Sequence[_Layer], drawn: Drawn, advance: Callable[[int], None]) -> Drawn:
        """All tiles of the group; images that `drawn` counts are done already."""
        if drawn.images == 0:
            shutil.rmtree(self.work.tiles, ignore_errors=True)  # of a group that is on its sheets
        by_image: dict[int, list[Winner]] = {}
        for layer in group:
            for winner in layer.winners():
                by_image.setdefault(winner.image, []).append(winner)
        order = sorted(by_image)
        done = sum(len(by_image[image]) for image in order[: drawn.images])
        started = saved = time.monotonic()
        advance(done)
        with _TileFiles(self.work.tiles, group) as files:
            for batch in batches(
                self.images,
                self.preprocess,
                batch_size=self._batch(group),
                workers=self.workers,
                indices=order[drawn.images :],
            ):
                if batch.skipped:
                    lost = batch.skipped[0]
                    raise BadData(
                        f"{lost.name} was read before and cannot be read now: {lost.reason}; "
                        f"put it back and go on with --resume"
                    )
                winners = [
                    (row, winner)
                    for row, image in enumerate(batch.indices.tolist())
                    for winner in by_image[image]
                ]
                for _ in self._paint_batch(batch.tensors, winners, group, files):
                    done += 1
                    if done % TOLD_EVERY == 0:
                        advance(done)
                now = time.monotonic()
                drawn = Drawn(
                    layers=drawn.layers,
                    group=len(group),
                    images=drawn.images + len(batch.indices),
                    seconds=drawn.seconds + now - started,
                )
                started = now
                if now - saved >= CHECKPOINT_SECONDS or drawn.images == len(order):
                    files.flush()
                    self.work.save_drawn(drawn)
                    saved = time.monotonic()
                advance(done)
        return drawn

    def _paint_batch(
        self,
        tensors: Tensor,
        winners: Sequence[tuple[int, Winner]],
        group: Sequence[_Layer],
        files: _TileFiles,
    ) -> Iterator[Winner]:
        """Write both tiles of each winner of a batch; yields it when that is done."""
        pictures = torch.from_numpy(self.preprocess.to_uint8(tensors)).permute(0, 3, 1, 2)
        for row, winner in winners:
            shown = shown_box(winner.box, *pictures.shape[2:])
            patch = crop(pictures[row], shown, GREY, within=winner.box)
            files.write("patch", winner, sheets.patch_tile(patch))
        activations = {layer.record.name: layer.record.activation for layer in group}
        projected = project_winners(self.network, tensors, winners, activations, self.rules)
        for winner, projection in projected:
            tile = sheets.projection_tile(self.preprocess.rgb(projection))
            files.write("projection", winner, tile)
            yield winner

    def _batch(self, group: Sequence[_Layer]) -> int:
        """How many images may be run forward together with their activations kept."""
        below = self.network.below([layer.record.activation for layer in group])
        kept = 4 * sum(torch.Size(node.shape).numel() for node in below)
        return max(1, min(self.batch_size, TRACE_BYTES // max(1, kept)))


class _TileFiles:
    """Tiles on disk, two plain files a layer, each tile at its own offset.

    Plain writes, not a memory map: a full disk is then an error and not a dead process.
    """

    def __init__(self, folder: Path, group: Sequence[_Layer]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._shapes = {layer.record.name: layer.shape for layer in group}
        self._files = {}
        for layer in group:
            for kind in KINDS:
                path = _tile_path(folder, layer.record, kind)
                path.touch()
                self._files[layer.record.name, kind] = path.open("r+b")

    def __enter__(self) -> _TileFiles:
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._files.values():
            file.close()

    def write(self, kind: str, winner: Winner, tile: Pixels) -> None:
        """Put a tile (th, tw, 3) at its place."""
        ranks = self._shapes[winner.layer][1]
        file = self._files[winner.layer, kind]
        file.seek((winner.channel * ranks + winner.rank) * tile.nbytes)
        file.write(np.ascontiguousarray(tile).data)

    def flush(self) -> None:
        """Hand everything to the disk."""
        for file in self._files.values():
            file.flush()
            os.fsync(file.fileno())


def _group(layers: Sequence[_Layer], begun: int) -> list[_Layer]:
    """The first layers whose tiles fit the budget together, at least one; or those begun with."""
    if begun:
        return list(layers[:begun])
    group = [layers[0]]
    for layer in layers[1:]:
        if sum(one.bytes for one in group) + layer.bytes > TILE_BYTES:
            break
        group.append(layer)
    return group


def _tile_path(folder: Path, record: LayerRecord, kind: str) -> Path:
    return folder / f"{record.slug}.{kind}"


def _read_tiles(layer: _Layer, kind: str, work: WorkFolder, start: int, stop: int) -> Pixels:
    """Tiles (M, K, th, tw, 3) of feature maps start to stop; empty places are grey."""
    shape = (stop - start, *layer.shape[1:])
    one = int(np.prod(layer.shape[1:]))
    tiles = np.full(shape, GREY, np.uint8)
    with _tile_path(work.tiles, layer.record, kind).open("rb") as file:
        file.seek(start * one)
        found = np.frombuffer(file.read((stop - start) * one), np.uint8)
    tiles.reshape(-1)[: found.size] = found  # a file ends with its last tile
    tiles[(layer.table.image[start:stop] < 0).numpy()] = GREY
    return tiles


def _write_sheets(layer: _Layer, folder: Path, work: WorkFolder) -> None:
    """All sheets of a layer; those that are there already are whole, and stay."""
    exact = sheets.is_small(layer.record.window)
    channels = layer.record.channels
    makers = (
        ("", sheets.MAPS_PER_SHEET, sheets.rank_sheet),
        ("wall-", sheets.WALL**2, sheets.wall_sheet),
    )
    for kind in KINDS:
        for prefix, maps, make in makers:
            for number, start in enumerate(range(0, channels, maps)):
                path = sheet_path(folder, layer.record.slug, f"{prefix}{kind}", number)
                if not path.exists():
                    stop = min(start + maps, channels)
                    sheet = make(_read_tiles(layer, kind, work, start, stop))
                    path.parent.mkdir(parents=True, exist_ok=True)
                    replace_file(path, sheets.encode(sheet, exact=exact and not prefix))
