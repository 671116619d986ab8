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
from convscope.network.node import Node
from convscope.network.reader import INPUT

__all__ = ["as_maps", "mine", "scan", "stream"]

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
        if len(batch.indices):
            scan(network, batch.tensors, batch.indices, activations, tables)
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
    reads = Counter(below for node in plan for below in node.inputs)
    values = {INPUT: network.check_images(images)}
    for i, node in enumerate(plan):
        inputs = [values[below] for below in node.inputs]
        for below in set(node.inputs):
            if last_use[below] == i:
                del values[below]
        only_reader = reads[node.inputs[0]] == 1 and node.inputs[0] not in wanted
        if only_reader and _overwrites(network, node):
            value = inputs[0].relu_()  # to touch no new memory takes a tenth off ZFNet's pass
        else:
            value = node.forward(*inputs)
        if node.name in last_use:
            values[node.name] = value
        if node.name in wanted:
            yield node.name, value


def as_maps(value: Tensor) -> Tensor:
    """(N, C, H, W) of a layer's value; a layer without a grid has one position, (N, C, 1, 1)."""
    return value if value.ndim == 4 else value.reshape(*value.shape[:2], 1, 1)


@torch.no_grad()
def scan(
    network: Network,
    images: Tensor,
    indices: Tensor,
    activations: Mapping[str, str],
    tables: Mapping[str, TopK],
) -> None:
    """Let a batch of images compete in the tables.

    images : (N, C, H, W) preprocessed;   indices : int64 (N,), which images they are
    activations : layer -> the layer whose value is its activation;   tables : by layer
    """
    readers: dict[str, list[TopK]] = {}
    for layer, activation in activations.items():
        readers.setdefault(activation, []).append(tables[layer])
    pools = _pools(network, readers)
    waiting: dict[str, Tensor] = {}  # maps whose maxima their pool will tell
    images = images.to(network.device).contiguous(memory_format=torch.channels_last)
    for name, value in stream(network, images, (*readers, *pools)):
        if name in readers:
            if name in pools.values():
                waiting[name] = value
            else:
                peak = value.amax((2, 3)) if _rectified(network, name) else None
                _compete(readers[name], as_maps(value), indices, peak)
        if name in pools:
            _compete(readers[pools[name]], waiting.pop(pools[name]), indices, value.amax((2, 3)))


def _compete(tables: Iterable[TopK], maps: Tensor, indices: Tensor, peak: Tensor | None) -> None:
    for table in tables:
        table.update(maps, indices, peak)


def _pools(network: Network, activations: Iterable[str]) -> dict[str, str]:
    """Max-pools that are run anyway and whose maxima are those of a rectified activation below.

    They hold a fraction of its values, so that the search for each map's maximum costs less.
    """
    wanted = set(activations)
    pools = {
        node.inputs[0]: node.name  # one of several
        for node in network.below(wanted)
        if node.kind == "max_pool"
        and node.inputs[0] in wanted
        and _rectified(network, node.inputs[0])
        and _covers(node)
    }
    return {pool: activation for activation, pool in pools.items()}


def _rectified(network: Network, name: str) -> bool:
    """Whether a layer's values are maps without -inf."""
    node = network.nodes[name]
    return node.kind == "relu" and len(node.shape) == 3


def _covers(node: Node) -> bool:
    """Whether every position below lies in some pooling region."""
    s = node.settings
    return all(
        dilation == 1 and kernel >= stride and (above - 1) * stride - padding + kernel >= below
        for kernel, stride, padding, dilation, above, below in zip(
            s["kernel"],
            s["stride"],
            s["padding"],
            s["dilation"],
            node.shape[-2:],
            node.below[0][-2:],
            strict=True,
        )
    )


def _overwrites(network: Network, node: Node) -> bool:
    """Whether it is a rectifier whose input is a fresh result, no view of anything."""
    below = network.nodes.get(node.inputs[0])
    return node.kind == "relu" and below is not None and below.kind in ("conv", "batch_norm")


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
