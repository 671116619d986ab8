"""The first pass: every image once through the network, every feature map keeps its strongest."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain

import torch
from torch import Tensor

from convscope.atlas.topk import TopK
from convscope.atlas.unfinished import Mined, WorkFolder
from convscope.images.batches import Batch, batches
from convscope.images.image_set import ImageSet
from convscope.images.preprocess import Preprocess
from convscope.network.exported import Network
from convscope.network.reader import INPUT

__all__ = ["as_maps", "mine", "stream"]

CHECKPOINT_SECONDS = 30.0


def mine(
    network: Network,
    images: ImageSet,
    preprocess: Preprocess,
    activations: Mapping[str, str],
    work: WorkFolder,
    *,
    top: int,
    batch_size: int,
    workers: int | None,
    advance: Callable[[int, int], None],
) -> tuple[dict[str, TopK], Mined]:
    """Tables of the strongest activations, begun or gone on with, committed now and then.

    activations : layer -> the layer whose value is its activation
    advance : called with (images done, images in all) after each batch
    """
    tables, mined = work.load_tables(tuple(activations)) or (
        {name: TopK.empty(network.layer(name).channels, top) for name in activations},
        Mined(),
    )
    tables = {name: table.to(network.device) for name, table in tables.items()}
    started, total = time.monotonic(), len(images)
    saved = time.monotonic()
    advance(mined.next, total)
    for batch in batches(
        images,
        preprocess,
        batch_size=batch_size,
        workers=workers,
        indices=range(mined.next, total),
    ):
        _compete(network, batch, activations, tables)
        now = time.monotonic()
        mined = _after(mined, batch, now - started)
        started = now
        if now - saved >= CHECKPOINT_SECONDS or mined.next == total:
            work.save_tables(tables, mined)
            saved = time.monotonic()
        advance(mined.next, total)
    return {name: table.to("cpu") for name, table in tables.items()}, mined


def stream(network: Network, images: Tensor, names: Iterable[str]) -> Iterator[tuple[str, Tensor]]:
    """(name, value) of some layers as soon as each is known; a value is let go after its last use.

    images : (N, C, H, W) preprocessed. Nothing above the layers is run.
    """
    wanted = set(names)
    plan = network.below(wanted)
    last_use = {below: i for i, node in enumerate(plan) for below in node.inputs}
    values = {INPUT: network.check_images(images)}
    for i, node in enumerate(plan):
        value = node.forward(*(values[below] for below in node.inputs))
        for below in set(node.inputs):
            if last_use[below] == i:
                del values[below]
        if node.name in last_use:
            values[node.name] = value
        if node.name in wanted:
            yield node.name, value


def as_maps(value: Tensor) -> Tensor:
    """(N, C, H, W) of a layer's value; a layer without a grid has one position, (N, C, 1, 1)."""
    return value if value.ndim == 4 else value.reshape(*value.shape[:2], 1, 1)


@torch.no_grad()
def _compete(
    network: Network, batch: Batch, activations: Mapping[str, str], tables: Mapping[str, TopK]
) -> None:
    if len(batch.indices) == 0:
        return
    readers: dict[str, list[TopK]] = {}
    for layer, activation in activations.items():
        readers.setdefault(activation, []).append(tables[layer])
    images = batch.tensors.to(network.device).contiguous(memory_format=torch.channels_last)
    for activation, value in stream(network, images, readers):
        for table in readers[activation]:
            table.update(as_maps(value), batch.indices)


def _after(mined: Mined, batch: Batch, seconds: float) -> Mined:
    """What has been seen once the batch has been, too."""
    converted = Counter(mined.converted)
    converted.update(note for image in batch.converted for note in image.notes)
    seen = chain(batch.indices.tolist(), (skip.index for skip in batch.skipped))
    skipped = tuple((skip.index, skip.name, skip.reason) for skip in batch.skipped)
    return Mined(
        next=max(seen) + 1,
        skipped=mined.skipped + skipped,
        converted=dict(sorted(converted.items())),
        seconds=mined.seconds + seconds,
    )
