"""What stands beside an atlas's pictures: the whole images, what the network says of them, and its
strongest units in the same images with random weights.

    images/<index>.webp             each image among some map's strongest, as looked at
    predictions.safetensors         "index" int64 (M,) of these images, "label" int64 (M, P) and
                                    "probability" float32 (M, P): the likeliest classes
    sheets/<slug>/untrained-000.webp    10 x 10 maps: of each the strongest activation's place,
                                    projected with all weights drawn anew
    gallery.json                    written last: all of it is there

Until then `work-gallery` holds the tiles and, in seen.safetensors, the predictions of the images
that have been through: after a kill it goes on behind them.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from convscope.atlas import sheets
from convscope.atlas.checksums import write_checksums
from convscope.atlas.folder import SHEETS, damaged, sheet_path
from convscope.atlas.manifest import StoredRecord
from convscope.atlas.optimised import optimised_sheet
from convscope.atlas.render import project_winners
from convscope.atlas.schema import check_columns
from convscope.atlas.store import Atlas
from convscope.atlas.tables import LayerTable
from convscope.atlas.tiles import RenderedLayer, Tile, TileFiles, read_tiles
from convscope.errors import BadInput
from convscope.execution import ONE_PROCESS, Execution
from convscope.images.batches import Batch, batches
from convscope.images.image_set import ImageSet
from convscope.images.preprocess import Preprocess
from convscope.methods.classes import Head
from convscope.methods.own_block import with_redrawn
from convscope.methods.rules import InitialSignal, rules_named
from convscope.network.network import Network
from convscope.network.trace import Trace
from convscope.progress import silent
from convscope.store.atomic import remove_leftovers, replace_file

if TYPE_CHECKING:
    from convscope.models.zoo import Model

__all__ = ["UNTRAINED", "has_gallery", "image_path", "read_predictions", "write_gallery"]

UNTRAINED = "untrained"
GALLERY, PREDICTIONS, IMAGES = "gallery.json", "predictions.safetensors", "images"
WORK, SEEN = "work-gallery", "seen.safetensors"
WHAT = "whole images and random weights"
SIDE = 224  # pixels of a whole image, at most
QUALITY = 75  # of its WebP
LIKELIEST = 5  # classes that are kept of each image
BATCH = 32
TRACE_BYTES = 2**28  # of activations that one batch may keep
CHECKPOINT_SECONDS = 30.0


class GalleryRecord(StoredRecord):
    """How it was made.

    Attributes:
        side: of the whole images, in pixels, at most.
        seed: of the random weights.
    """

    side: int = SIDE
    seed: int = 0


def has_gallery(folder: Path) -> bool:
    """Whether an atlas holds whole images and pictures with random weights."""
    return (folder / GALLERY).is_file()


def image_path(folder: Path, index: int) -> Path:
    """Where the whole image lies, by its index in the set."""
    return folder / IMAGES / f"{index:06d}.webp"


def read_predictions(atlas: Atlas) -> dict[int, list[tuple[int, float]]]:
    """The likeliest classes of the images: index -> (label, probability), the likeliest first.

    Empty where the atlas has none, or the network names no classes.

    Raises:
        BadInput: they are damaged.
    """
    path = atlas.folder / PREDICTIONS
    if not path.is_file():
        return {}
    try:
        found = _predictions(atlas.content(path))
    except (SafetensorError, LookupError, ValueError) as error:
        raise damaged(path, error) from None
    columns = (found[key].tolist() for key in ("index", "label", "probability"))
    return {
        index: list(zip(labels, probabilities, strict=True))
        for index, labels, probabilities in zip(*columns, strict=True)
    }


def _predictions(content: bytes) -> dict[str, Tensor]:
    """Predictions out of a file.

    Raises:
        SafetensorError, LookupError, ValueError: it holds something else.
    """
    found = load(content)
    images, likeliest = found["index"].shape[0], tuple(found["label"].shape)
    wanted = {"index": (torch.int64, (images,)), "label": (torch.int64, likeliest)}
    check_columns(found, {**wanted, "probability": (torch.float32, likeliest)})
    if bool((found["label"] < 0).any()) or likeliest[0] != images:
        raise ValueError("label holds numbers that are no classes'")
    return found


def write_gallery(
    model: Model,
    images: ImageSet,
    atlas: Atlas | None,
    *,
    batch_size: int | None = None,
    how: Execution = ONE_PROCESS,
) -> None:
    """Add the whole images, the predictions and the pictures with random weights to an atlas.

    An atlas that has them stays as it is; what an interrupted run had done is kept. Several
    processes share the images: all call this, the first writes.

    Args:
        model: That the atlas is of.
        images: That it is of.
        atlas: A finished atlas; None in all processes but the first.
        batch_size: How many images are run forward together, at most; None takes 32.
        how: On which device, threads that decode images, and which of several processes this is.
    """
    ranks = how.ranks
    plan = ranks.from_first(lambda: _Plan.of(atlas) if atlas is not None else None)
    if plan is None or not plan.layers:
        return
    network = model.network().to(how.device)
    maker = _Maker.of(network, model.preprocess, plan)
    order = plan.images
    writer = None if atlas is None else _Writer(atlas, plan)
    done = ranks.from_first(lambda: 0 if writer is None else len(writer.seen))
    rounds = ranks.deal(order[done:], maker.batch_size(batch_size or BATCH))
    read = iter(())  # type: Iterator[Batch]
    if own := ranks.hand(rounds):
        read = batches(
            images, model.preprocess, batch_size=len(rounds[0][0]), workers=how.workers, indices=own
        )
    tell = how.progress or silent
    tell(WHAT, done, len(order))
    with nullcontext() if writer is None else writer.tiles:
        for shared in rounds:
            made = maker.made(next(read)) if ranks.rank < len(shared) else None
            for part in ranks.gathered(made):
                if part is not None and writer is not None:
                    writer.take(part)
            done += sum(map(len, shared))
            if writer is not None:
                writer.commit()
            tell(WHAT, done, len(order))
        if writer is not None:
            writer.finish()


@dataclass(frozen=True, eq=False)
class _Plan:
    """What is to be made.

    Attributes:
        layers: with each map's strongest place alone; none where all is there already.
        images: indices of those that are among some map's strongest, in the set's order.
        rules: the method of projection.
    """

    layers: list[RenderedLayer]
    images: list[int]
    rules: str

    @classmethod
    def of(cls, atlas: Atlas) -> _Plan:
        if has_gallery(atlas.folder):
            shutil.rmtree(atlas.folder / WORK, ignore_errors=True)
            return cls([], [], atlas.manifest.rules)
        found = {one for table in atlas.layers.values() for one in table.image.unique().tolist()}
        layers = [
            RenderedLayer(record, _first_rank(atlas.layers[record.name]), (UNTRAINED,))
            for record in atlas.manifest.layers
        ]
        return cls(layers, sorted(one for one in found if one >= 0), atlas.manifest.rules)


def _first_rank(table: LayerTable) -> LayerTable:
    fields = ("value", "image", "row", "column", "box")
    return replace(table, **{name: getattr(table, name)[:, :1] for name in fields})


@dataclass(frozen=True, eq=False)
class _Made:
    """Of a batch: the whole images as WebP by index, their likeliest classes, and tiles."""

    pictures: dict[int, bytes]
    label: Tensor
    probability: Tensor
    tiles: list[Tile]


@dataclass(frozen=True, eq=False)
class _Maker:
    """Looks at batches of images with the network, and with one whose weights are drawn anew."""

    network: Network
    untrained: Network
    preprocess: Preprocess
    plan: _Plan
    head: Head | None

    @classmethod
    def of(cls, network: Network, preprocess: Preprocess, plan: _Plan) -> _Maker:
        try:
            head = Head.of(network)
        except BadInput:  # it names no classes
            head = None
        weighing = [name for name, node in network.nodes.items() if node.op.weighs]
        generator = torch.Generator().manual_seed(GalleryRecord().seed)
        return cls(network, with_redrawn(network, weighing, generator), preprocess, plan, head)

    def batch_size(self, most: int) -> int:
        """How many images may be run forward together with their activations kept."""
        below = self.network.below([layer.record.activation for layer in self.plan.layers])
        kept = 4 * sum(torch.Size(node.shape).numel() for node in below)
        return max(1, min(most, TRACE_BYTES // max(1, kept)))

    @torch.no_grad()
    def made(self, batch: Batch) -> _Made:
        """What a batch gives."""
        pixels = self.preprocess.to_uint8(batch.tensors)
        indices = batch.indices.tolist()
        pictures = {at: _encoded(one) for at, one in zip(indices, pixels, strict=True)}
        count = 0 if self.head is None else min(LIKELIEST, self.head.classes)
        likeliest = torch.zeros(len(indices), count)
        label = likeliest.long()
        if self.head is not None:
            tensors = batch.tensors.to(self.network.device)
            output = self.network.values(tensors, [self.network.output])[self.network.output]
            known = self.head.probabilities(self.head.vectors(output).float().cpu())
            likeliest, label = known.topk(count, dim=1)
        return _Made(pictures, label, likeliest, list(self._tiles(batch, indices)))

    def _tiles(self, batch: Batch, indices: Sequence[int]) -> Iterator[Tile]:
        """The strongest places of the maps that are strongest in these images, untrained."""
        row = {image: at for at, image in enumerate(indices)}
        winners = [
            (row[winner.image], winner)
            for layer in self.plan.layers
            for winner in layer.winners()
            if winner.image in row
        ]
        if not winners:
            return
        activations = {layer.record.name: layer.record.activation for layer in self.plan.layers}
        rules = rules_named(self.plan.rules).replace({}, seed=InitialSignal.ONE)
        trace: Trace = self.untrained.trace(batch.tensors, [])
        for winner, projection in project_winners(trace, winners, activations, rules):
            tile = sheets.projection_tile(self.preprocess.rgb(projection))
            yield Tile(UNTRAINED, winner, tile)


class _Writer:
    """Writes what the processes made, and keeps what an interrupted run had made.

    Args:
        atlas: into whose folder.
        plan: of what comes.

    Attributes:
        seen: of the images that have been through, in the plan's order, the likeliest classes and
            their probabilities.
    """

    def __init__(self, atlas: Atlas, plan: _Plan) -> None:
        self.folder = atlas.folder
        remove_leftovers(self.folder)
        self.checked = atlas.checksums is not None
        self.layers = plan.layers
        self.seen = self._kept(plan.images)
        if not self.seen:
            shutil.rmtree(self.folder / WORK, ignore_errors=True)
        (self.folder / IMAGES).mkdir(exist_ok=True)
        self.tiles = TileFiles(self.folder / WORK, plan.layers)
        self.saved = time.monotonic()

    def _kept(self, order: Sequence[int]) -> dict[int, tuple[Tensor, Tensor]]:
        """What an interrupted run had seen; nothing where it did not get so far."""
        try:
            found = _predictions((self.folder / WORK / SEEN).read_bytes())
        except (OSError, SafetensorError, LookupError, ValueError):
            return {}
        indices = found["index"].tolist()
        if indices != list(order[: len(indices)]):
            return {}
        pairs = zip(found["label"], found["probability"], strict=True)
        return dict(zip(indices, pairs, strict=True))

    def take(self, made: _Made) -> None:
        """Write the images, and keep the rest until all is there."""
        for at, (index, content) in enumerate(made.pictures.items()):
            replace_file(image_path(self.folder, index), content)
            self.seen[index] = (made.label[at], made.probability[at])
        self.tiles.write(made.tiles)

    def commit(self) -> None:
        """Twice a minute, bring to the disk how far it got."""
        if time.monotonic() - self.saved >= CHECKPOINT_SECONDS:
            self.tiles.flush()
            replace_file(self.folder / WORK / SEEN, self._predictions())
            self.saved = time.monotonic()

    def _predictions(self) -> bytes:
        label, probability = zip(*self.seen.values(), strict=True)
        found = {"index": torch.tensor(list(self.seen)), "label": torch.stack(label)}
        return save({**found, "probability": torch.stack(probability)})

    def finish(self) -> None:
        """Write predictions and sheets, and say that all is there."""
        self.tiles.flush()
        for layer in self.layers:
            self._write_sheets(layer)
        if any(len(label) for label, _ in self.seen.values()):
            replace_file(self.folder / PREDICTIONS, self._predictions())
        record = GalleryRecord().model_dump_json(indent=1).encode()
        if self.checked:
            made = [image_path(self.folder, index) for index in self.seen]
            made += sorted((self.folder / SHEETS).glob(f"*/{UNTRAINED}-*.webp"))
            made += [path for path in [self.folder / PREDICTIONS] if path.is_file()]
            write_checksums(self.folder, made, {self.folder / GALLERY: record})
        replace_file(self.folder / GALLERY, record)
        shutil.rmtree(self.folder / WORK)

    def _write_sheets(self, layer: RenderedLayer) -> None:
        size, channels = sheets.WALL**2, layer.record.channels
        for number, start in enumerate(range(0, channels, size)):
            stop = min(start + size, channels)
            tiles = read_tiles(self.folder / WORK, layer, UNTRAINED, start, stop)[:, 0]
            path = sheet_path(self.folder, layer.record.slug, UNTRAINED, number)
            exact = sheets.is_small(layer.record.window)
            replace_file(path, sheets.encode_sheet(optimised_sheet(tiles), exact=exact))


def _encoded(pixels: sheets.Pixels) -> bytes:
    """A whole image as WebP, reduced where it is large."""
    image = Image.fromarray(pixels)
    image.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    return sheets.encode_sheet(image, exact=False, quality=QUALITY)
