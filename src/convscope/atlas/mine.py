"""The first pass: every image once through the network, every feature map keeps its strongest."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import reduce

import torch
from torch import Tensor

from convscope.atlas.topk import TopK, merge
from convscope.atlas.unfinished import Mined, WorkFolder
from convscope.errors import BadData, BadOption
from convscope.images.batches import Batch, batches
from convscope.images.image_set import ImageSet
from convscope.images.preprocess import Preprocess
from convscope.network.exported import Network
from convscope.network.node import Node
from convscope.network.ranks import ALONE, Ranks
from convscope.progress import Progress

__all__ = [
    "as_maps", "fitting_batch", "layers_with_maps", "mine", "nothing_readable", "scan", "strongest",
]  # fmt: skip

CHECKPOINT_SECONDS = 30.0
LARGEST_BATCH = 32
VALUE_BYTES = 2**28  # of the largest value of a batch, where the batch size is left to us


def mine(
    network: Network,
    images: ImageSet,
    preprocess: Preprocess,
    activations: Mapping[str, str],
    work: WorkFolder | None,
    *,
    top: int,
    batch_size: int,
    workers: int | None,
    advance: Callable[[int, int], None],
    ranks: Ranks = ALONE,
) -> tuple[dict[str, TopK], Mined]:
    """Tables of the strongest activations, begun or gone on with, committed now and then.

    activations : layer -> the layer whose value is its activation
    work : where they are committed; None in all processes but the first
    advance : called with (images done, images in all) after each batch
    ranks : process r of n takes the batches r, r + n, ..., each of the same images as in a run by
        one process: a convolution's last bits depend on the size of its batch

    Returns  the tables on the CPU, and what was met; in the first process alone they are whole.
    """
    begun = work.load_tables(tuple(activations)) if work else None
    tables, mined = begun or ({}, Mined())
    mined = ranks.from_first(lambda: mined)
    total, pace = len(images), _Pace()
    dealt = ranks.deal(range(mined.next, total), batch_size)
    found = batches(
        images, preprocess, batch_size=batch_size, workers=workers, indices=ranks.hand(dealt)
    )
    advance(mined.next, total)
    with closing(found):
        while dealt:
            started, count = time.monotonic(), ranks.from_first(lambda: pace.rounds)
            rounds, dealt = dealt[:count], dealt[count:]
            fresh = {name: TopK.empty(network.layer(name).channels, top) for name in activations}
            leg = _Leg(tables if ranks.first and tables else fresh).to(network.device)
            for shared in rounds:
                if ranks.rank < len(shared):
                    leg.take(network, next(found), activations)
                if shared is not rounds[-1]:
                    advance(shared[-1][-1] + 1, total)
            leg = reduce(_Leg.joined, ranks.gathered(leg.to("cpu")) or [_Leg({})])
            seconds = time.monotonic() - started
            tables, mined = leg.tables, leg.after(mined, rounds[-1][-1][-1] + 1, seconds)
            pace.heed(len(rounds), seconds)
            if work is not None:
                work.save_tables(tables, mined)
            advance(mined.next, total)
    return tables, mined


def strongest(
    network: Network,
    images: ImageSet,
    preprocess: Preprocess,
    activations: Mapping[str, str],
    top: int,
    *,
    indices: Sequence[int] | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> dict[str, TopK]:
    """Tables of the strongest activations, on the CPU, in one go: nothing is kept on the way.

    activations : as `mine`;   indices : of the images to look among, default all
    Images that cannot be read are left out.
    """
    tables = {
        layer: TopK.empty(network.layer(activation).channels, top, network.device)
        for layer, activation in activations.items()
    }
    among = range(len(images)) if indices is None else indices
    size, done = fitting_batch(network, activations.values()), 0
    for batch in batches(images, preprocess, batch_size=size, workers=workers, indices=among):
        if len(batch):
            scan(network, batch.tensors, batch.indices, activations, tables)
        done += len(batch) + len(batch.skipped)
        if progress is not None:
            progress("images", done, len(among))
    return {layer: table.to("cpu") for layer, table in tables.items()}


def fitting_batch(network: Network, names: Iterable[str]) -> int:
    """As many images as keep the largest value of a batch within VALUE_BYTES, at most 32."""
    largest = max(torch.Size(node.shape).numel() for node in network.below(names))
    return max(1, min(LARGEST_BATCH, VALUE_BYTES // (4 * largest)))


def layers_with_maps(network: Network, asked: Iterable[str] | None) -> tuple[str, ...]:
    """The layers asked for, in the network's order; None is every convolution.

    Raises  BadOption: none, or one without feature maps;  NoSuchLayer.
    """
    wanted = set(network.conv_layers() if asked is None else asked)
    if not wanted:
        raise BadOption("there are no layers to look at; name some that have feature maps")
    for name in wanted:
        shape = network.layer(network.activation(name)).shape
        if len(shape) not in (1, 3):
            raise BadOption(
                f"layer {name} has values of shape {tuple(shape)}, not feature maps (C, H, W); "
                f"leave it out"
            )
    return tuple(layer.name for layer in network.layers if layer.name in wanted)


def nothing_readable(images: ImageSet, mined: Mined) -> BadData:
    """The error of a pass that could read no image."""
    _, name, reason = mined.skipped[0]
    return BadData(
        f"not one of the {len(images)} images of {images.spec} could be read; "
        f"the first: {name}: {reason}"
    )


class _Pace:
    """How many batches a process takes between two commits; the first process's decides."""

    rounds = 1

    def heed(self, rounds: int, seconds: float) -> None:
        """So many batches took so long: choose the next number, at most twice as many."""
        fitting = int(CHECKPOINT_SECONDS * rounds / max(seconds, 1e-9))
        self.rounds = max(1, min(2 * rounds, fitting))


@dataclass(frozen=True, eq=False)
class _Leg:
    """What a process meets between two commits, on top of the tables that it began with."""

    tables: dict[str, TopK]
    skipped: list[tuple[int, str, str]] = field(default_factory=list)
    converted: Counter[str] = field(default_factory=Counter)

    def take(self, network: Network, batch: Batch, activations: Mapping[str, str]) -> None:
        """One batch more."""
        if len(batch.indices):
            scan(network, batch.tensors, batch.indices, activations, self.tables)
        self.skipped.extend((skip.index, skip.name, skip.reason) for skip in batch.skipped)
        self.converted.update(note for image in batch.converted for note in image.notes)

    def to(self, device: torch.device | str) -> _Leg:
        """The same with its tables on another device."""
        return replace(self, tables={name: table.to(device) for name, table in self.tables.items()})

    def joined(self, other: _Leg) -> _Leg:
        """What both met, in the order of the images."""
        tables = {name: merge(table, other.tables[name]) for name, table in self.tables.items()}
        skipped = sorted(self.skipped + other.skipped)
        return _Leg(tables, skipped, self.converted + other.converted)

    def after(self, mined: Mined, reached: int, seconds: float) -> Mined:
        """What was met in all, up to the image `reached`."""
        converted = Counter(mined.converted) + self.converted
        return Mined(
            next=reached,
            skipped=(*mined.skipped, *self.skipped),
            converted=dict(sorted(converted.items())),
            seconds=mined.seconds + seconds,
        )


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
    for name, value in network.stream(images, (*readers, *pools)):
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
