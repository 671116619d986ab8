"""The engine of a scan: every image passes once through the network, for any number of observers.

It reads ahead, fits the size of a batch to memory, reports progress, commits about every half
minute so that a kill loses no more than that, names and counts the images that cannot be read, and
shares the work with other processes. The observers' results are the same for any number of
processes and interruptions.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection, Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Protocol

import torch
from pydantic import BaseModel, ConfigDict, Field

from convscope.distributed import ALONE, Ranks
from convscope.errors import BadData
from convscope.images.batches import Batch, batches
from convscope.images.image_set import ImageSet
from convscope.images.preprocess import Preprocess
from convscope.network.network import Network
from convscope.progress import Progress, silent
from convscope.scan.observer import Observer

__all__ = ["Commits", "Scan", "ScanState", "fitting_batch", "forward_batch", "nothing_readable"]

CHECKPOINT_SECONDS = 30.0
LARGEST_BATCH = 32
PART_BYTES = 2**26  # of what a process sees between two commits, where its size depends on it
VALUE_BYTES = 2**28  # of the largest value of a batch, where the batch size is left to us


class ScanState(BaseModel):
    """How far a scan is, and what it found out about the images.

    Attributes:
        next: how many of the images are done, readable or not.
        skipped: (index, name, reason) of each image that could not be read.
        converted: how many images were not simply 8-bit RGB, by what was done about it.
        seconds: spent, in all runs together.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    next: int = 0
    skipped: tuple[tuple[int, str, str], ...] = ()
    converted: dict[str, int] = Field(default_factory=dict)
    seconds: float = 0.0


class Commits(Protocol):
    """Where a scan keeps how far it is, so that it goes on after a kill."""

    def load(self, observers: Sequence[Observer]) -> ScanState | None:
        """Restore the observers to the last commit, and return its place; None without one."""

    def save(self, seen: ScanState, observers: Sequence[Observer]) -> None:
        """Commit the observers' state together with the place reached."""


@dataclass(frozen=True, eq=False)
class Scan:
    """One pass of a set of images through a network.

    Attributes:
        network: on the device that is to be used.
        images: the set.
        preprocess: from pictures to the network's input.
        indices: which images, in this order; None is all of them.
        batch_size: images at a time; None takes as many as fit the memory budget.
        workers: threads that decode; None takes one per core.
        ranks: process r of n takes the batches r, r + n, ..., each of the same images as in a run
            by one process: a convolution's last bits depend on the size of its batch.
        progress: called with (what is counted, images done, images in all).
        what: what `progress` is told that is counted.

    Example:
        >>> strongest = Strongest(network, {"conv5": "relu5"}, top=9)
        >>> Scan(network, images, preprocess).run(strongest)
        >>> strongest.tables["conv5"].value  # (C, 9)
    """

    network: Network
    images: ImageSet
    preprocess: Preprocess
    indices: Sequence[int] | None = None
    batch_size: int | None = None
    workers: int | None = None
    ranks: Ranks = ALONE
    progress: Progress | None = None
    what: str = "images"

    @property
    def order(self) -> Sequence[int]:
        """Indices of the images that are looked at, in this order."""
        return self.images.scan_order() if self.indices is None else self.indices

    def run(self, *observers: Observer, commits: Commits | None = None) -> ScanState:
        """Show every image to the observers.

        Args:
            observers: one or more. Afterwards they have seen all images, in every process.
            commits: the checkpoint to begin or go on with, in the first process; None keeps
                nothing.

        Returns:
            How many images there were, and which could not be read, in every process.

        Raises:
            NonFinite: from the network or an observer.
            BadInput: from the network or an observer.
        """
        ranks, tell = self.ranks, self.progress or silent
        checkpoint = commits if ranks.first else None
        seen = ranks.from_first(lambda: (checkpoint and checkpoint.load(observers)) or ScanState())
        order, size = self.order, self._batch_size(observers)
        total = len(order)
        dealt = ranks.deal(order[seen.next :], size)
        number = -(-seen.next // size)
        pace = _Pace(size * sum(observer.image_bytes for observer in observers))
        tell(self.what, seen.next, total)
        with closing(self._read(dealt, size)) as read:
            while dealt:
                began, count = time.monotonic(), ranks.from_first(lambda: pace.rounds)
                rounds, dealt = dealt[:count], dealt[count:]
                oddities, done = _Oddities(), seen.next
                for shared in rounds:
                    if ranks.rank < len(shared):
                        batch = next(read)
                        forward_batch(self.network, batch, observers, number + ranks.rank)
                        oddities.add(batch)
                    number += len(shared)
                    done += sum(map(len, shared))
                    if shared is not rounds[-1]:
                        tell(self.what, done, total)
                self._gather(observers)
                oddities = _joined(ranks.gathered(oddities))
                seconds = time.monotonic() - began
                seen = ranks.from_first(lambda: oddities.added_to(seen, done, seconds))  # noqa: B023
                pace.adjust(len(rounds), seconds)
                if checkpoint is not None:
                    checkpoint.save(seen, observers)
                tell(self.what, done, total)
        if ranks.count > 1:
            for observer in observers:
                observer.share(ranks)
        return seen

    def first(self, count: int) -> torch.Tensor:
        """The first images that can be read.

        Args:
            count: at most so many.

        Returns:
            (n, C, H, W), preprocessed.
        """
        tensors: list[torch.Tensor] = []
        size = min(count, LARGEST_BATCH)
        with closing(
            batches(
                self.images, self.preprocess,
                batch_size=size, workers=self.workers, indices=list(self.order),
            )
        ) as read:  # fmt: skip
            for batch in read:
                tensors.append(batch.tensors)
                if sum(map(len, tensors)) >= count:
                    break
        return torch.cat(tensors)[:count]

    def _batch_size(self, observers: Iterable[Observer]) -> int:
        if self.batch_size is not None:
            return self.batch_size
        return fitting_batch(
            self.network, {name for observer in observers for name in observer.layers}
        )

    def _read(
        self, dealt: Sequence[Sequence[Sequence[int]]], size: int
    ) -> Generator[Batch, None, None]:
        """This process's batches."""
        own = self.ranks.hand(dealt)
        return batches(
            self.images, self.preprocess, batch_size=size, workers=self.workers, indices=own
        )

    def _gather(self, observers: Iterable[Observer]) -> None:
        """Hand what all processes' observers saw to those of the first process."""
        for observer in observers:
            parts = self.ranks.gathered(observer.part())
            if self.ranks.first:
                observer.take(parts)


@torch.no_grad()
def forward_batch(
    network: Network, batch: Batch, observers: Sequence[Observer], number: int = 0
) -> None:
    """Run one batch forward for all observers, and its mirror images for those that ask for them.

    Args:
        network: on the device that is to be used.
        batch: preprocessed images.
        observers: each sees the layers that it asks for.
        number: of the batch in its scan.
    """
    if len(batch):
        images = batch.tensors.to(network.device)
        _stream(network, images, batch, observers)
        if mirrored := [observer for observer in observers if observer.mirrored]:
            _stream(network, images.flip(3), batch, mirrored)
    for observer in observers:
        observer.end(batch, number)


def _stream(
    network: Network, images: torch.Tensor, batch: Batch, observers: Sequence[Observer]
) -> None:
    asked: dict[str, list[Observer]] = {}
    for observer in observers:
        for name in observer.layers:
            asked.setdefault(name, []).append(observer)
    images = images.contiguous(memory_format=torch.channels_last)
    for name, value in network.stream(images, asked):
        for observer in asked[name]:
            observer.see(name, value, batch)


def fitting_batch(network: Network, names: Collection[str]) -> int:
    """How many images keep the largest layer's values within VALUE_BYTES, at most 32.

    Args:
        network: that the images run through.
        names: of the layers that are looked at.
    """
    largest = max(torch.Size(node.shape).numel() for node in network.below(names))
    return max(1, min(LARGEST_BATCH, VALUE_BYTES // (4 * largest)))


def nothing_readable(images: ImageSet, seen: ScanState) -> BadData:
    """The error of a scan that could read no image.

    Args:
        images: the set.
        seen: what came of the scan.
    """
    _, name, reason = seen.skipped[0]
    return BadData(
        f"not one of the {seen.next} images of {images.spec} could be read; "
        f"the first: {name}: {reason}"
    )


class _Pace:
    """How many batches a process takes between two commits; that of the first process decides.

    Args:
        batch_bytes: what the observers' parts grow by with a batch.
    """

    def __init__(self, batch_bytes: int) -> None:
        self.rounds = 1
        self._most = PART_BYTES // max(batch_bytes, 1)

    def adjust(self, rounds: int, seconds: float) -> None:
        """Choose the next number from how long the last rounds took; at most twice as many."""
        fitting = int(CHECKPOINT_SECONDS * rounds / max(seconds, 1e-9))
        self.rounds = max(1, min(2 * rounds, fitting, self._most))


@dataclass(frozen=True)
class _Oddities:
    """What was odd about the images between two commits: unreadable ones, and converted ones."""

    skipped: list[tuple[int, str, str]] = field(default_factory=list)
    converted: Counter[str] = field(default_factory=Counter)

    def add(self, batch: Batch) -> None:
        """Add those of a batch."""
        self.skipped.extend((skip.index, skip.name, skip.reason) for skip in batch.skipped)
        self.converted.update(note for image in batch.converted for note in image.notes)

    def added_to(self, seen: ScanState, reached: int, seconds: float) -> ScanState:
        """The scan's state with these added, after so many images and seconds."""
        converted = Counter(seen.converted) + self.converted
        return ScanState(
            next=reached,
            skipped=tuple(sorted((*seen.skipped, *self.skipped))),
            converted=dict(sorted(converted.items())),
            seconds=seen.seconds + seconds,
        )


def _joined(parts: Sequence[_Oddities]) -> _Oddities:
    """The oddities of all processes."""
    skipped = [skip for part in parts for skip in part.skipped]
    return _Oddities(skipped, sum((part.converted for part in parts), Counter()))
