"""Patches of images that are no winners: at quantiles of a map's maxima, or worth to a class."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from convscope.atlas import sheets
from convscope.atlas.manifest import LayerRecord
from convscope.atlas.tiles import RenderedLayer, Tile, Winner
from convscope.geometry.box import Box
from convscope.images.batches import Batch
from convscope.images.pictures import GREY, crop, shown_box
from convscope.images.preprocess import Preprocess
from convscope.network.trace import Trace
from convscope.scan.strongest import as_maps

__all__ = ["FurtherPatch", "SeenImages", "further_patches", "further_tiles"]


class SeenImages:
    """One batch of images, run and shown.

    Args:
        batch: the images.
        trace: of them.
        preprocess: how they became the network's input.

    Attributes:
        trace: as it was given.
        images: the images' indices, by row.
    """

    def __init__(self, batch: Batch, trace: Trace, preprocess: Preprocess) -> None:
        self.trace = trace
        self.images: list[int] = batch.indices.tolist()
        self._pictures = torch.from_numpy(preprocess.to_uint8(batch.tensors)).permute(0, 3, 1, 2)

    def patch(self, row: int, box: Box) -> Tensor:
        """What a unit with this receptive field shows of an image, uint8 (3, h, w)."""
        shown = shown_box(box, *self._pictures.shape[2:])
        return crop(self._pictures[row], shown, GREY, within=box)


@dataclass(frozen=True)
class FurtherPatch:
    """A patch that is to be shown besides the winners'.

    Attributes:
        layer: what the manifest says of it.
        kind: of its sheet.
        channel: the feature map.
        rank: its column on the sheet.
        image: whose patch it is.
        position: of the unit; None is where the map is strongest in the image.
    """

    layer: LayerRecord
    kind: str
    channel: int
    rank: int
    image: int
    position: tuple[int, int] | None


def further_patches(layer: RenderedLayer) -> Iterator[FurtherPatch]:
    """A layer's further patches, kind by kind in the order of feature maps and ranks."""
    for some in layer.further:
        if not some.patches:
            continue
        for channel, rank in (some.image >= 0).nonzero().tolist():
            at = (channel, rank)
            position = None
            if some.row is not None and some.column is not None:
                position = int(some.row[at]), int(some.column[at])
            image = int(some.image[at])
            yield FurtherPatch(layer.record, some.name, channel, rank, image, position)


def further_tiles(
    seen: SeenImages, patches: Mapping[int, Sequence[FurtherPatch]]
) -> Iterator[Tile]:
    """Make the tiles of further patches.

    Args:
        seen: some images.
        patches: by image.
    """
    wanted: dict[str, list[tuple[int, FurtherPatch]]] = {}
    for row, image in enumerate(seen.images):
        for patch in patches.get(image, ()):
            wanted.setdefault(patch.layer.activation, []).append((row, patch))
    for activation, some in wanted.items():
        field = seen.trace.network.layer(activation).field
        for (row, patch), position in zip(some, _positions(seen.trace, some), strict=True):
            box = field.box(position)
            winner = Winner(
                patch.layer.name, patch.channel, patch.rank, *position, box, patch.image, 0.0
            )
            yield Tile(patch.kind, winner, sheets.patch_tile(seen.patch(row, box)))


def _positions(trace: Trace, some: Sequence[tuple[int, FurtherPatch]]) -> list[tuple[int, int]]:
    """The positions of one layer's patches; where none is told, the first of the largest value."""
    unknown = [(row, patch) for row, patch in some if patch.position is None]
    found: Iterator[tuple[int, int]] = iter(())
    if unknown:
        maps = as_maps(trace[unknown[0][1].layer.activation])
        rows = torch.tensor([row for row, _ in unknown])
        flat = maps[rows, torch.tensor([patch.channel for _, patch in unknown])].flatten(1)
        first = (flat == flat.amax(1, keepdim=True)).to(torch.uint8).argmax(1).tolist()
        width = maps.shape[3]
        found = iter([(at // width, at % width) for at in first])
    return [next(found) if patch.position is None else patch.position for _, patch in some]
