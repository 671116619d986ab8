"""A pass over images: batches ready for the network, decoded ahead while the network computes.

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
from convscope.images.files import printable
from convscope.images.image_set import ImageSet
from convscope.images.preprocess import Preprocess

AHEAD = 2  # batches


@dataclass(frozen=True)
class Skipped:
    """An image that could not be read, and why; the digest of its bytes if these could be."""

    index: int
    name: str
    reason: str
    digest: str | None = None


@dataclass(frozen=True)
class Converted:
    """An image that was not simply 8-bit RGB, and what was done about it."""

    index: int
    name: str
    notes: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Batch:
    """The readable images among `batch_size` consecutive ones, in order.

    tensors : float32 (n, 3, H, W), as the network wants them. n is 0 where none was readable:
        such a batch comes too, so that its `skipped` are counted
    indices : int64 (n,), into the ImageSet
    digests : n SHA-256 in hex, of the images' bytes
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
        """Preprocessed images that come from no set, numbered from `first` on."""
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
    """The images of `indices` (default: all), in that order, `batch_size` at a time.

    workers : threads; 0 decodes in the caller's thread, None takes one per core, at most 8

    The result is the same for any number of workers. Images that cannot be read are skipped and
    named. The threads end with the iterator: exhausted, closed, or left by an exception.

    Raises  BadOption: batch_size below 1, workers below 0, an index outside the set.
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
    """A Future without a thread: does its work when it is asked for the result."""

    def __init__(self, work: Callable[..., Any], *arguments: Any) -> None:
        self.result = partial(work, *arguments)


@dataclass(frozen=True)
class _Row:
    """What became of one row: a digest and notes, or the reason why it is empty."""

    digest: str | None
    notes: tuple[str, ...] = ()
    failure: str | None = None


class _Filling:
    """A batch whose rows are being filled."""

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
        """Waits for the rows."""
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
    try:
        loaded = images.load(index)
        preprocess.scaled(np.asarray(preprocess.picture(loaded.image)), out=row)
    except BadImage as error:
        return _Row(images.known_digest(index), failure=str(error))
    return _Row(loaded.digest, loaded.notes)
