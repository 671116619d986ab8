"""Batches for training: the order of an epoch, crops and flips, gathered ahead of the network.

Everything random is drawn from the recipe's seed, the epoch and the step alone, for the whole batch
whatever the number of processes, so that a training can be resumed at any step. A thread gathers
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

from convscope.distributed import ALONE, Ranks
from convscope.training.recipe import Recipe
from convscope.training.training_data import TrainingData

__all__ = ["Loader", "TrainingBatch", "draw_number"]

AHEAD = 2  # batches


def draw_number(seed: int, *place: object) -> int:
    """Derive a generator's seed from a seed and a place, such as an epoch and a step.

    Args:
        seed: The recipe's seed.
        *place: Words and numbers: another place gives another number.
    """
    words = "/".join(map(str, (seed, *place)))
    return int.from_bytes(hashlib.blake2b(words.encode(), digest_size=7).digest(), "big")


@dataclass(frozen=True, eq=False)
class TrainingBatch:
    """A process's share of one step's pictures, as bytes.

    Attributes:
        place: The step in its epoch, from 0.
        count: How many pictures the step has in all processes together.
        pixels: uint8 (n, H, W, 3), cropped and flipped.
        labels: int64 (n,).
        rows: int64 (n, H): the row of the uncropped picture that each row comes from.
        columns: int64 (n, W): the column that each column comes from.
        idle: Whether the process has no picture of this step; it then takes part with one that does
            not count.
    """

    place: int
    count: int
    pixels: Tensor
    labels: Tensor
    rows: Tensor
    columns: Tensor
    idle: bool


class Loader:
    """Makes the batches of a training, by its recipe.

    Args:
        lesson: The training data.
        recipe: TrainingBatch size, flips, and the seed of whatever is random.
        device: Where the network is.
        ranks: Which of the processes this is; each gets its share of every batch.

    Attributes:
        size: Height and width of the network's input, pixels.
        slack: How many pixels a picture is larger than that, which leaves room for crops.
        steps: Batches in an epoch.
    """

    def __init__(
        self, lesson: TrainingData, recipe: Recipe, device: torch.device, ranks: Ranks = ALONE
    ) -> None:
        self.lesson, self.recipe, self.device, self.ranks = lesson, recipe, device, ranks
        self.size = lesson.preprocess.shape[1]
        self.slack = lesson.pictures.pixels.shape[1] - self.size
        self.steps = math.ceil(len(lesson.pictures) / recipe.batch_size)  # per epoch
        self.bytes = lesson.pictures.pixels.numpy()
        self.mean = lesson.mean.to(device)

    def epoch(self, epoch: int, first: int = 0) -> Generator[TrainingBatch, None, None]:
        """Yield every picture once, in an order of this epoch's own.

        Args:
            epoch: Counted from 1.
            first: The step to begin with, from 0.
        """
        generator = torch.Generator().manual_seed(draw_number(self.recipe.seed, "order", epoch))
        order = torch.randperm(len(self.lesson.pictures), generator=generator)
        parts = order.split(self.recipe.batch_size)
        with ThreadPoolExecutor(1, thread_name_prefix="convscope-feed") as pool:
            waiting: deque[Future[TrainingBatch]] = deque()
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

    def batch(self, chosen: Tensor, epoch: int, place: int) -> TrainingBatch:
        """Gather this process's share of a step's pictures, cropped and flipped.

        Args:
            chosen: int64: the indices of the step's pictures.
            epoch: Counted from 1.
            place: The step in the epoch, from 0.
        """
        rows, columns = self._windows(len(chosen), epoch, place)
        share = self.ranks.share(torch.arange(len(chosen)))
        idle = len(share) == 0
        share = share if len(share) else torch.zeros(1, dtype=torch.int64)
        rows, columns, indices = rows[share], columns[share], chosen[share]
        pixels = torch.from_numpy(self._gather(indices.tolist(), rows, columns))
        labels = self.lesson.pictures.labels[indices]
        if self.device.type == "cuda":
            pixels, labels = pixels.pin_memory(), labels.pin_memory()
        return TrainingBatch(place, len(chosen), pixels, labels, rows, columns, idle)

    def images(self, batch: TrainingBatch) -> Tensor:
        """Convert a batch to the network's input, on the device and with the mean subtracted.

        Shape:
            The result: float32 (n, 3, H, W), channels last in memory.
        """
        values = batch.pixels.to(self.device, non_blocking=True).float()
        if self.slack or self.recipe.flips:
            rows, columns = batch.rows.to(self.device), batch.columns.to(self.device)
            values -= self.mean[rows[:, :, None], columns[:, None, :]]
        else:
            values -= self.mean
        return values.permute(0, 3, 1, 2)  # (n, 3, H, W)

    def _windows(self, count: int, epoch: int, place: int) -> tuple[Tensor, Tensor]:
        """Draw which rows and columns of each picture the network sees, and in which order.

        Shape:
            The result: int64 (count, H) and (count, W).
        """
        number = draw_number(self.recipe.seed, "crops", epoch, place)
        generator = torch.Generator().manual_seed(number)
        line = torch.arange(self.size).repeat(count, 1)
        corners = torch.randint(self.slack + 1, (2, count, 1), generator=generator)
        flipped = torch.rand(count, 1, generator=generator) < 0.5
        columns = torch.where(flipped, line.flip(1), line) if self.recipe.flips else line
        return line + corners[0], columns + corners[1]

    def _gather(self, indices: list[int], rows: Tensor, columns: Tensor) -> NDArray[np.uint8]:
        """Copy the pixels of each picture: one copy per picture is what a memory map reads best.

        Shape:
            The result: uint8 (n, H, W, 3).
        """
        size = self.size
        windows = np.empty((len(indices), size, size, 3), np.uint8)
        tops, firsts, lasts = rows[:, 0].tolist(), columns[:, 0].tolist(), columns[:, -1].tolist()
        for row, index in enumerate(indices):
            top, left = tops[row], min(firsts[row], lasts[row])
            window = self.bytes[index, top : top + size, left : left + size]
            windows[row] = window if firsts[row] < lasts[row] else window[:, ::-1]
        return windows
