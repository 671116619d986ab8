"""The engine: every image once through the network, for any number of observers.

It reads ahead, sizes the batches to memory, tells how far it is, commits now and then so that a
kill loses half a minute, names and counts the images that cannot be read, and shares the work with
other processes. The observers' results are the same for any number of processes and interruptions.
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

from convscope.errors import BadData
from convscope.images.batches import Batch, batches
from convscope.images.image_set import ImageSet
from convscope.images.preprocess import Preprocess
from convscope.network.network import Network
from convscope.network.ranks import ALONE, Ranks
from convscope.progress import Progress, silent
from convscope.scan.observer import Observer

__all__ = ["Commits", "Scan", "Seen", "fitting_batch", "look", "nothing_readable"]

CHECKPOINT_SECONDS = 30.0
LARGEST_BATCH = 32
PART_BYTES = 2**26  # of what a process sees between two commits, where its size depends on it
VALUE_BYTES = 2**28  # of the largest value of a batch, where the batch size is left to us


class Seen(BaseModel):
    """How far a scan is, and what it met.

    Attributes:
        next: how many of the images are done, readable or not.
        skipped: (index, name, reason) of each image that could not be read.
        converted: how many images were not simply 8-bit RGB, by what was done about it.
        seconds: the time of all runs together.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    next: int = 0
    skipped: tuple[tuple[int, str, str], ...] = ()
    converted: dict[str, int] = Field(default_factory=dict)
    seconds: float = 0.0


class Commits(Protocol):
    """Where a scan keeps how far it is, so that it goes on after a kill."""

    def load(self, observers: Sequence[Observer]) -> Seen | None:
        """Restore the observers to the last commit; None where there is none."""

    def save(self, seen: Seen, observers: Sequence[Observer]) -> None:
        """Commit what the observers know together with the place reached."""


@dataclass(frozen=True, eq=False)
class Scan:
    """Which images run through which network, and how.

    Attributes:
        network: on the device that is to be used.
        images: the set.
        preprocess: from pictures to the network's input.
        indices: which images, in this order; None is all of them.
        batch_size: images at a time; None takes as many as fit the memory budget.
        workers: threads that decode; None takes one per core.
        ranks: process r of n takes the batches r, r + n, ..., each of the same images as in a run
            by one process: a convolution's last bits depend on the size of its batch.
        progress: called with (what, images done, images in all).
        what: is counted, for `progress`.
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
        """The images that are looked at, in this order."""
        return range(len(self.images)) if self.indices is None else self.indices

    def run(self, *observers: Observer, commits: Commits | None = None) -> Seen:
        """Let the observers see every image.

        Args:
            observers: one or more. Afterwards they know the whole, in every process.
            commits: where to begin or go on, in the first process; None keeps nothing.

        Returns:
            What was met, in every process.

        Raises:
            NonFinite, BadInput: as the network and the observers do.
        """
        ranks, tell = self.ranks, self.progress or silent
        kept = commits if ranks.first else None
        seen = ranks.from_first(lambda: (kept and kept.load(observers)) or Seen())
        total, size = len(self.order), self._batch_size(observers)
        dealt = ranks.deal(self.order[seen.next :], size)
        number = -(-seen.next // size)
        pace = _Pace(size * sum(each.image_bytes for each in observers))
        tell(self.what, seen.next, total)
        with closing(self._read(dealt, size)) as found:
            while dealt:
                began, count = time.monotonic(), ranks.from_first(lambda: pace.rounds)
                rounds, dealt = dealt[:count], dealt[count:]
                met, done = _Met(), seen.next
                for shared in rounds:
                    if ranks.rank < len(shared):
                        batch = next(found)
                        look(self.network, batch, observers, number + ranks.rank)
                        met.add(batch)
                    number += len(shared)
                    done += sum(map(len, shared))
                    if shared is not rounds[-1]:
                        tell(self.what, done, total)
                self._gather(observers)
                met = _together(ranks.gathered(met))
                seconds = time.monotonic() - began
                seen = ranks.from_first(lambda: met.after(seen, done, seconds))  # noqa: B023
                pace.heed(len(rounds), seconds)
                if kept is not None:
                    kept.save(seen, observers)
                tell(self.what, done, total)
        if ranks.count > 1:
            for observer in observers:
                observer.share(ranks)
        return seen

    def first(self, count: int) -> torch.Tensor:
        """The first images that can be read, at most so many, (n, C, H, W) preprocessed."""
        found: list[torch.Tensor] = []
        size = min(count, LARGEST_BATCH)
        with closing(
            batches(
                self.images, self.preprocess,
                batch_size=size, workers=self.workers, indices=list(self.order),
            )
        ) as read:  # fmt: skip
            for batch in read:
                found.append(batch.tensors)
                if sum(map(len, found)) >= count:
                    break
        return torch.cat(found)[:count]

    def _batch_size(self, observers: Iterable[Observer]) -> int:
        if self.batch_size is not None:
            return self.batch_size
        return fitting_batch(self.network, {n for each in observers for n in each.layers})

    def _read(
        self, dealt: Sequence[Sequence[Sequence[int]]], size: int
    ) -> Generator[Batch, None, None]:
        mine = self.ranks.hand(dealt)
        return batches(
            self.images, self.preprocess, batch_size=size, workers=self.workers, indices=mine
        )

    def _gather(self, observers: Iterable[Observer]) -> None:
        for observer in observers:
            parts = self.ranks.gathered(observer.part())
            if self.ranks.first:
                observer.take(parts)


@torch.no_grad()
def look(network: Network, batch: Batch, observers: Sequence[Observer], number: int = 0) -> None:
    """One forward pass of a batch for all observers, and one more for those who ask for mirrors.

    Args:
        network: on the device that is to be used.
        batch: of its preprocessed images.
        observers: see the layers that they ask for.
        number: of the batch in its scan.
    """
    if len(batch):
        images = batch.tensors.to(network.device)
        _stream(network, images, batch, observers)
        if mirrored := [each for each in observers if each.mirrored]:
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
    """As many images as keep the largest value of a batch within VALUE_BYTES, at most 32."""
    largest = max(torch.Size(node.shape).numel() for node in network.below(names))
    return max(1, min(LARGEST_BATCH, VALUE_BYTES // (4 * largest)))


def nothing_readable(images: ImageSet, seen: Seen) -> BadData:
    """The error of a scan that could read no image."""
    _, name, reason = seen.skipped[0]
    return BadData(
        f"not one of the {seen.next} images of {images.spec} could be read; "
        f"the first: {name}: {reason}"
    )


class _Pace:
    """How many batches a process takes between two commits; the first process's decides.

    Args:
        batch_bytes: what the observers' parts grow by with a batch.
    """

    def __init__(self, batch_bytes: int) -> None:
        self.rounds = 1
        self._most = PART_BYTES // max(batch_bytes, 1)

    def heed(self, rounds: int, seconds: float) -> None:
        """So many batches took so long: choose the next number, at most twice as many."""
        fitting = int(CHECKPOINT_SECONDS * rounds / max(seconds, 1e-9))
        self.rounds = max(1, min(2 * rounds, fitting, self._most))


@dataclass(frozen=True)
class _Met:
    """Images between two commits that were not simply looked at."""

    skipped: list[tuple[int, str, str]] = field(default_factory=list)
    converted: Counter[str] = field(default_factory=Counter)

    def add(self, batch: Batch) -> None:
        self.skipped.extend((skip.index, skip.name, skip.reason) for skip in batch.skipped)
        self.converted.update(note for image in batch.converted for note in image.notes)

    def after(self, seen: Seen, reached: int, seconds: float) -> Seen:
        """All that was met, up to the place reached."""
        converted = Counter(seen.converted) + self.converted
        return Seen(
            next=reached,
            skipped=tuple(sorted((*seen.skipped, *self.skipped))),
            converted=dict(sorted(converted.items())),
            seconds=seen.seconds + seconds,
        )


def _together(parts: Sequence[_Met]) -> _Met:
    """What all processes met."""
    skipped = [each for part in parts for each in part.skipped]
    return _Met(skipped, sum((part.converted for part in parts), Counter()))
