"""Batches of images ready for the network, decoded ahead while the network computes.

Worker threads read, hash, decode, fit and scale, each image into its own row of a batch that is
allocated beforehand. Pillow and numpy release the interpreter's lock for most of that; a JPEG of
341×256 takes 0.7 ms of one core. Batch k always covers the same indices, whatever the number of
workers; at most AHEAD batches beyond the one that is handed out are in memory.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from convscope.errors import BadImage, BadOption
from convscope.images.image_set import ImageSet
from convscope.images.preprocess import Preprocess
from convscope.text import printable

AHEAD = 2  # batches


@dataclass(frozen=True)
class Skipped:
    """An image that could not be read.

    Attributes:
        index: Of the image in its set.
        name: The image's name.
        reason: Why it could not be read.
        digest: SHA-256, hex, of its bytes; None if these could not be read either.
    """

    index: int
    name: str
    reason: str
    digest: str | None = None


@dataclass(frozen=True)
class Converted:
    """An image that was not simply 8-bit RGB.

    Attributes:
        index: Of the image in its set.
        name: The image's name.
        notes: What was converted, in words.
    """

    index: int
    name: str
    notes: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Batch:
    """The readable images among `batch_size` consecutive ones, in order.

    Attributes:
        tensors: float32 (n, C, H, W), as the network wants them. n is 0 where none was readable:
            such a batch comes too, so that its `skipped` are counted.
        indices: int64 (n,), into the ImageSet.
        digests: SHA-256, hex, of the bytes of each of the n images.
        skipped: The images that could not be read.
        converted: Those of the n images that were not simply 8-bit RGB.
    """

    tensors: torch.Tensor
    indices: torch.Tensor
    digests: tuple[str, ...]
    skipped: tuple[Skipped, ...] = ()
    converted: tuple[Converted, ...] = ()

    def __len__(self) -> int:
        return len(self.digests)

    @classmethod
    def of(cls, tensors: torch.Tensor, first: int = 0) -> Batch:
        """Make a batch of preprocessed images that come from no set.

        Args:
            tensors: The images as the network wants them.
            first: The number of the first one; the others follow.

        Shape:
            tensors: float32 (n, C, H, W).
        """
        indices = torch.arange(first, first + len(tensors))
        return cls(tensors, indices, ("",) * len(tensors))


def batches(
    images: ImageSet,
    preprocess: Preprocess,
    *,
    batch_size: int,
    workers: int | None = None,
    indices: Sequence[int] | None = None,
) -> Generator[Batch, None, None]:
    """Yield the images of a set in batches, decoded ahead by threads.

    The result is the same for any number of workers. Images that cannot be read are skipped and
    named. The threads end with the iterator: exhausted, closed, or left by an exception.

    Args:
        images: The set.
        preprocess: How the network wants its images.
        batch_size: Images in a batch.
        workers: Threads; 0 decodes in the caller's thread, None takes one per core, at most 8.
        indices: Which images, in this order; None is all.

    Raises:
        BadOption: `batch_size` is below 1, `workers` below 0, or an index is outside the set.

    Example:
        for batch in batches(images, preprocess, batch_size=32):
            outputs = network(batch.tensors)
    """
    if batch_size < 1:
        raise BadOption(f"batch size {batch_size}: at least 1")
    workers = min(8, os.cpu_count() or 1) if workers is None else workers
    if workers < 0:
        raise BadOption(f"workers {workers}: 0 or more")
    chosen = range(len(images)) if indices is None else [int(index) for index in indices]
    for index in () if indices is None else chosen:
        if not 0 <= index < len(images):
            raise BadOption(f"image {index}: the set has the images 0..{len(images) - 1}")
    return _batches(images, preprocess, chosen, batch_size, workers)


def _batches(
    images: ImageSet, preprocess: Preprocess, chosen: Sequence[int], batch_size: int, workers: int
) -> Generator[Batch, None, None]:
    with ExitStack() as stack:
        start: Callable[..., Any] = _Later
        if workers:
            pool = ThreadPoolExecutor(workers, thread_name_prefix="convscope-images")
            stack.callback(pool.shutdown, wait=True, cancel_futures=True)
            start = pool.submit
        waiting: deque[_Filling] = deque()
        for first in range(0, len(chosen), batch_size):
            waiting.append(_Filling(images, preprocess, chosen[first : first + batch_size], start))
            if len(waiting) > AHEAD:
                yield waiting.popleft().batch()
        while waiting:
            yield waiting.popleft().batch()


class _Later:
    """A Future without a thread: it does its work when it is asked for the result."""

    def __init__(self, work: Callable[..., Any], *arguments: Any) -> None:
        self.result = partial(work, *arguments)


@dataclass(frozen=True)
class _Row:
    """What became of one row of a batch.

    Attributes:
        digest: SHA-256, hex, of the image's bytes; None if they could not be read.
        notes: What was converted, in words.
        failure: Why the row is empty; None if it is filled.
    """

    digest: str | None
    notes: tuple[str, ...] = ()
    failure: str | None = None


class _Filling:
    """A batch whose rows are being filled by the workers.

    Args:
        images: The set.
        preprocess: How the network wants its images.
        indices: The images of this batch.
        start: Starts a function with its arguments and returns a Future.
    """

    def __init__(
        self,
        images: ImageSet,
        preprocess: Preprocess,
        indices: Sequence[int],
        start: Callable[..., Any],
    ) -> None:
        self.images, self.indices = images, indices
        self.rows = np.empty((len(indices), *preprocess.shape), np.float32)
        self.futures: list[Future[_Row]] = [
            start(_fill, images, preprocess, index, row)
            for index, row in zip(indices, self.rows, strict=True)
        ]

    def batch(self) -> Batch:
        """Wait for the rows and return the batch."""
        rows = [future.result() for future in self.futures]
        kept = [place for place, row in enumerate(rows) if row.failure is None]
        pixels = self.rows if len(kept) == len(rows) else self.rows[kept]
        return Batch(
            tensors=torch.from_numpy(pixels),
            indices=torch.tensor([self.indices[place] for place in kept], dtype=torch.int64),
            digests=tuple(rows[place].digest or "" for place in kept),
            skipped=tuple(self._skipped(rows)),
            converted=tuple(self._converted(rows)),
        )

    def _skipped(self, rows: Sequence[_Row]) -> Iterator[Skipped]:
        for index, row in zip(self.indices, rows, strict=True):
            if row.failure is not None:
                name = self.images.name(index)
                reason = row.failure.removeprefix(f"{printable(name)}: ")
                yield Skipped(index, name, reason, row.digest)

    def _converted(self, rows: Sequence[_Row]) -> Iterator[Converted]:
        for index, row in zip(self.indices, rows, strict=True):
            if row.failure is None and row.notes:
                yield Converted(index, self.images.name(index), row.notes)


def _fill(images: ImageSet, preprocess: Preprocess, index: int, row: NDArray[np.float32]) -> _Row:
    """Decode and preprocess one image into its row."""
    try:
        loaded = images.load(index, preprocess.form)
        preprocess.scaled(np.asarray(preprocess.picture(loaded.image)), out=row)
        notes = (*loaded.notes, *preprocess.fit_notes(loaded.image))
    except BadImage as error:
        return _Row(images.known_digest(index), failure=str(error))
    return _Row(loaded.digest, notes)
