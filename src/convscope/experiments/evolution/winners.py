"""Which image excites each feature map most, over all images: one pass at one kept epoch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from convscope.distributed import ALONE, Ranks
from convscope.errors import BadData
from convscope.experiments.evolution.kept import OpenedEpoch
from convscope.images.batches import batches
from convscope.images.image_set import ImageSet
from convscope.methods.rules import Rules
from convscope.network.network import Network
from convscope.progress import Progress
from convscope.scan.engine import Commits, Scan, nothing_readable
from convscope.scan.strongest import Strongest
from convscope.scan.topk import TopK

__all__ = ["Sight", "Winners", "find_winners"]

T = TypeVar("T")

BATCH_BYTES = 2**28  # of activations that one batch may keep
LARGEST_BATCH = 32


@dataclass(frozen=True, eq=False)
class Sight:
    """How the network is looked at, the same at every epoch.

    Attributes:
        images: all that the network is shown.
        activations: layer -> the layer whose value is its activation.
        rules: of the projections.
        batch_size: images that go through together; None fits them to memory.
        workers: threads that read images.
        progress: called with (what, done, total).
        ranks: the processes that share the images of every epoch.
    """

    images: ImageSet
    activations: Mapping[str, str]
    rules: Rules
    batch_size: int | None
    workers: int | None
    progress: Progress
    ranks: Ranks = ALONE

    def batch(self, network: Network) -> int:
        """Images that go through together, so that all their activations may be kept."""
        below = network.below(self.activations.values())
        kept = 4 * sum(torch.Size(node.shape).numel() for node in below)
        return max(1, min(self.batch_size or LARGEST_BATCH, BATCH_BYTES // max(1, kept)))

    def batches(
        self, subject: OpenedEpoch, wanted: Mapping[int, Sequence[T]]
    ) -> Iterator[tuple[Tensor, list[tuple[int, T]]]]:
        """Every image of which something is wanted, in this process or in another one.

        Args:
            subject: the network, and how it is fed.
            wanted: entries by image.

        Yields:
            Images (N, 3, H, W) and the entries with their rows, batches as one process has them.

        Raises:
            BadData: an image cannot be read any more.
        """
        size = self.batch(subject.network)
        loaded = batches(
            self.images,
            subject.preprocess,
            batch_size=size,
            workers=self.workers,
            indices=self.ranks.hand(self.ranks.deal(sorted(wanted), size)),
        )
        for batch in loaded:
            if batch.skipped:
                lost = batch.skipped[0]
                raise BadData(
                    f"{lost.name} was read before and cannot be read now: {lost.reason}; "
                    f"put it back and go on with --resume"
                )
            images = enumerate(batch.indices.tolist())
            yield batch.tensors, [(row, entry) for row, image in images for entry in wanted[image]]


@dataclass(frozen=True, eq=False)
class Winners:
    """Where each map of a layer is strongest over all images.

    Attributes:
        value: The activation.
        image: The number of the image; -1 for a map that is above zero in no image.
        row: On the layer's grid.
        column: On the layer's grid.
        not_finite: Whether the map was NaN or infinite everywhere, in all images.
        lost: How many activations were NaN or infinite, of all maps.

    Shape:
        Arrays: (C,).
    """

    value: NDArray[np.float64]
    image: NDArray[np.int64]
    row: NDArray[np.int64]
    column: NDArray[np.int64]
    not_finite: NDArray[np.bool_]
    lost: int = 0

    @property
    def empty(self) -> NDArray[np.bool_]:
        """Maps without a winner: the dead ones, and those that are not finite."""
        return self.image < 0

    @property
    def dead(self) -> NDArray[np.bool_]:
        """Maps with numbers of which none is above zero."""
        return self.empty & ~self.not_finite

    def place(self, channel: int) -> tuple[int, int]:
        """(row, column) of a map's winner."""
        return int(self.row[channel]), int(self.column[channel])

    @classmethod
    def read(cls, piece: Mapping[str, Sequence[float]]) -> Winners:
        """From what `find_winners` says of a layer."""
        none = np.zeros(len(piece["image"]), bool)
        return cls(
            value=np.asarray(piece["value"], np.float64),
            **{name: np.asarray(piece[name], np.int64) for name in ("image", "row", "column")},
            not_finite=np.asarray(piece.get("not_finite", none), bool),
            lost=int(sum(piece.get("non_finite", ()))),
        )


def find_winners(subject: OpenedEpoch, sight: Sight, commits: Commits | None) -> dict[str, Any]:
    """Every image through the network once.

    Args:
        subject: the network after an epoch.
        sight: how it is looked at.
        commits: where the scan keeps how far it is, so that it goes on after a kill.

    Returns:
        JSON-able: `layers`, and `skipped` (name, reason).

    Raises:
        BadData: no image can be read.
    """
    observer = Strongest(subject.network, sight.activations, top=1)
    seen = Scan(
        subject.network,
        sight.images,
        subject.preprocess,
        batch_size=sight.batch(subject.network),
        workers=sight.workers,
        ranks=sight.ranks,
        progress=sight.progress,
        what=f"epoch {subject.epoch}: images",
    ).run(observer, commits=commits)
    if len(seen.skipped) == len(sight.images):
        raise nothing_readable(sight.images, seen)
    return {
        "skipped": [[name, reason] for _, name, reason in seen.skipped],
        "layers": {name: _piece(table) for name, table in observer.tables.items()},
    }


def _piece(table: TopK) -> dict[str, list[float]]:
    piece = {
        "value": table.value[:, 0].masked_fill(table.active == 0, 0.0).tolist(),
        "image": table.image[:, 0].masked_fill(table.active == 0, -1).tolist(),
        "row": table.row[:, 0].tolist(),
        "column": table.column[:, 0].tolist(),
    }
    if bool(table.non_finite.any()):
        piece["non_finite"] = table.non_finite.tolist()
        piece["not_finite"] = table.not_finite.tolist()
    return piece
