"""What a network is fed, step by step: the order of an epoch, crops, flips, batches ahead of time.

Everything random is drawn from the recipe's seed, the epoch and the step alone, for the whole batch
whatever the number of processes, so that a training can be taken up at any step. A thread gathers
the next batches, as bytes, while the network computes.
"""

from __future__ import annotations

import hashlib
import math
from collections import deque
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from convscope.network.ranks import ALONE, Ranks
from convscope.training.lesson import Lesson
from convscope.training.recipe import Recipe

__all__ = ["Batch", "Feed", "draw_number"]

AHEAD = 2  # batches


def draw_number(seed: int, *place: object) -> int:
    """A number to seed a generator with: another one for every seed and place."""
    words = "/".join(map(str, (seed, *place)))
    return int.from_bytes(hashlib.blake2b(words.encode(), digest_size=7).digest(), "big")


@dataclass(frozen=True, eq=False)
class Batch:
    """A process's part of one step's pictures, as bytes.

    place : of the step in its epoch, from 0; count : pictures of all processes together
    pixels : uint8 (n, H, W, 3), cropped and flipped; labels : int64 (n,)
    rows, columns : int64 (n, H) and (n, W), where in the wide picture each pixel comes from
    idle : the process has no picture of this step; it goes through with one that does not count
    """

    place: int
    count: int
    pixels: Tensor
    labels: Tensor
    rows: Tensor
    columns: Tensor
    idle: bool


class Feed:
    """Batches of a lesson, by a recipe.

    ranks : which of the processes this is; each gets its share of every batch
    """

    def __init__(
        self, lesson: Lesson, recipe: Recipe, device: torch.device, ranks: Ranks = ALONE
    ) -> None:
        self.lesson, self.recipe, self.device, self.ranks = lesson, recipe, device, ranks
        self.size = lesson.preprocess.shape[1]
        self.slack = lesson.pictures.pixels.shape[1] - self.size
        self.steps = math.ceil(len(lesson.pictures) / recipe.batch_size)  # per epoch
        self.bytes = lesson.pictures.pixels.numpy()
        self.mean = lesson.mean.to(device)

    def epoch(self, epoch: int, first: int = 0) -> Generator[Batch, None, None]:
        """Every picture once, in an order of this epoch's own; from the step `first` on."""
        generator = torch.Generator().manual_seed(draw_number(self.recipe.seed, "order", epoch))
        order = torch.randperm(len(self.lesson.pictures), generator=generator)
        parts = order.split(self.recipe.batch_size)
        with ThreadPoolExecutor(1, thread_name_prefix="convscope-feed") as pool:
            waiting: deque[Future[Batch]] = deque()
            try:
                for place in range(first, self.steps):
                    waiting.append(pool.submit(self.batch, parts[place], epoch, place))
                    if len(waiting) > AHEAD:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                for future in waiting:
                    future.cancel()

    def batch(self, chosen: Tensor, epoch: int, place: int) -> Batch:
        """This process's share of the pictures `chosen` (int64, indices), cropped and flipped."""
        rows, columns = self._windows(len(chosen), epoch, place)
        mine = self.ranks.share(torch.arange(len(chosen)))
        idle = len(mine) == 0
        mine = mine if len(mine) else torch.zeros(1, dtype=torch.int64)
        rows, columns, indices = rows[mine], columns[mine], chosen[mine]
        pixels = torch.from_numpy(self._gather(indices.tolist(), rows, columns))
        labels = self.lesson.pictures.labels[indices]
        if self.device.type == "cuda":
            pixels, labels = pixels.pin_memory(), labels.pin_memory()
        return Batch(place, len(chosen), pixels, labels, rows, columns, idle)

    def images(self, batch: Batch) -> Tensor:
        """float32 (n, 3, H, W) on the device, mean-subtracted, channels last in memory."""
        values = batch.pixels.to(self.device, non_blocking=True).float()
        if self.slack or self.recipe.flips:
            rows, columns = batch.rows.to(self.device), batch.columns.to(self.device)
            values -= self.mean[rows[:, :, None], columns[:, None, :]]
        else:
            values -= self.mean
        return values.permute(0, 3, 1, 2)  # (n, 3, H, W)

    def _windows(self, count: int, epoch: int, place: int) -> tuple[Tensor, Tensor]:
        """Rows (count, H) and columns (count, W) of each picture that are seen, in their order."""
        number = draw_number(self.recipe.seed, "crops", epoch, place)
        generator = torch.Generator().manual_seed(number)
        line = torch.arange(self.size).repeat(count, 1)
        corners = torch.randint(self.slack + 1, (2, count, 1), generator=generator)
        flipped = torch.rand(count, 1, generator=generator) < 0.5
        columns = torch.where(flipped, line.flip(1), line) if self.recipe.flips else line
        return line + corners[0], columns + corners[1]

    def _gather(self, indices: list[int], rows: Tensor, columns: Tensor) -> NDArray[np.uint8]:
        """uint8 (n, H, W, 3): a copy per picture, which is what a memory map reads best."""
        size = self.size
        held = np.empty((len(indices), size, size, 3), np.uint8)
        tops, firsts, lasts = rows[:, 0].tolist(), columns[:, 0].tolist(), columns[:, -1].tolist()
        for row, index in enumerate(indices):
            top, left = tops[row], min(firsts[row], lasts[row])
            window = self.bytes[index, top : top + size, left : left + size]
            held[row] = window if firsts[row] < lasts[row] else window[:, ::-1]
        return held
