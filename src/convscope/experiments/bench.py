"""Trainings at equal budget: the same images, recipe and epochs for several networks and seeds.

Every training is a run folder of its own, and what was measured on it is a piece of the study: a
study that was killed goes on at the last state of the training that it was in.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from convscope.errors import FolderInUse
from convscope.experiments.chance import mean_of
from convscope.experiments.pieces import Pieces
from convscope.network.architectures import Architecture
from convscope.training.lesson import Lesson
from convscope.training.loop import Keeping, TrainingResult, train_on
from convscope.training.pictures import Advance
from convscope.training.recipe import Recipe

__all__ = ["RUNS", "Bench", "check_free", "named", "runs_in", "spread"]

RUNS = "runs"  # the folder of the runs in a study's
SAVED_EVERY = 60.0  # seconds: the most that a kill undoes

Measure = Callable[[TrainingResult], dict[str, Any]]


class Bench:
    """Trains each network from each seed once, and keeps what was measured on it.

    runs : where the run folders lie
    """

    def __init__(
        self, lesson: Lesson, pieces: Pieces, runs: Path, device: str | torch.device = "cpu"
    ) -> None:
        self.lesson, self.pieces, self.runs = lesson, pieces, runs
        self.device = torch.device(device)

    def folder(self, name: str) -> Path:
        """The run folder of the training of that name."""
        return self.runs / re.sub(r"[^\w.,=+-]+", "_", name)

    def piece(
        self,
        name: str,
        architecture: Architecture,
        recipe: Recipe,
        measure: Measure,
        progress: Advance | None = None,
    ) -> dict[str, Any]:
        """What `measure` says of the trained network: JSON-able, and the same when it is read.

        name : of the training, one for each architecture, recipe and seed of the study
        """

        def made() -> dict[str, Any]:
            return measure(self.trained(name, architecture, recipe, progress))

        return self.pieces.get(name, made)

    def trained(
        self, name: str, architecture: Architecture, recipe: Recipe, progress: Advance | None
    ) -> TrainingResult:
        """The finished run of that name, begun or gone on with. Raises as `train_on` does."""
        return train_on(
            architecture, self.lesson, recipe, self.folder(name),
            device=self.device, keeping=Keeping(resume=True, every=SAVED_EVERY), progress=progress,
        )  # fmt: skip


def check_free(folder: str | os.PathLike[str], *, resume: bool) -> None:
    """For the time before images are read, which `Pieces` comes after.

    Raises  FolderInUse: the folder holds something, and a study is not to go on there.
    """
    place = Path(folder)
    if not resume and place.is_dir() and any(place.iterdir()):
        raise FolderInUse(
            f"{folder} is not empty: give a new folder, or --resume to go on with a study"
        )


@contextmanager
def runs_in(folder: str | os.PathLike[str] | None) -> Iterator[Path]:
    """Where a study's run folders lie; None is a folder that is gone afterwards."""
    if folder is not None:
        yield Path(folder) / RUNS
        return
    with tempfile.TemporaryDirectory(prefix="convscope-") as place:
        yield Path(place)


def named(progress: Advance | None, name: str) -> Advance | None:
    """Progress that says which training it is of."""
    if progress is None:
        return None
    return lambda what, done, total: progress(f"{name}: {what}", done, total)


def spread(values: Sequence[float]) -> dict[str, Any] | None:
    """Mean and sample standard deviation (None of one value), and the values."""
    if not values:
        return None
    found = mean_of(values)
    deviation = found.deviation if len(values) > 1 else None
    return {"mean": found.mean, "std": deviation, "values": list(values)}
