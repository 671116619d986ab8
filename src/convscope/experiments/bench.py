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
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from convscope.errors import BadOption
from convscope.network.architectures import Architecture
from convscope.network.zoo import open_model
from convscope.progress import Progress
from convscope.stats import mean_of
from convscope.store.results import ResultStore
from convscope.training.checkpoint import RUN, read_run
from convscope.training.evaluation import evaluate
from convscope.training.lesson import Lesson
from convscope.training.loop import Keeping, TrainingResult, train_on
from convscope.training.recipe import Recipe

__all__ = [
    "KEEPING", "RUNS", "Bench", "Training", "check_seeds", "measured", "runs_in",
    "spread",
]  # fmt: skip

RUNS = "runs"  # the folder of the runs in a study's
KEEPING = Keeping(resume=True, every=60.0)  # a kill undoes a minute at most


@dataclass(frozen=True)
class Training:
    """One trained network; errors are shares of the images, 0..1.

    train_error : top-1 on the training images, of the final weights, without dropout
    error, top5_error : on the validation images; of the middle of each picture, as is train_error
    crops_error, crops_top5_error : of ten crops, where the recipe crops
    seconds : of training;   run : its folder in the study's
    """

    seed: int
    train_error: float
    error: float
    top5_error: float
    crops_error: float | None
    crops_top5_error: float | None
    seconds: float
    run: str


def measured(done: TrainingResult, lesson: Lesson, device: torch.device) -> Training:
    """How well a finished run's network knows the lesson that it learned."""
    network = open_model(f"run:{done.folder}").module.to(device)
    size = lesson.preprocess.shape[1]
    learned = evaluate(network, lesson.pictures, lesson.mean, size, device=device)
    tested = {scores.crops: scores for scores in done.tested}
    ten = tested.get(10)
    return Training(
        seed=read_run(done.folder).recipe.seed,
        train_error=1 - learned.top1,
        error=1 - tested[1].top1,
        top5_error=1 - tested[1].top5,
        crops_error=None if ten is None else 1 - ten.top1,
        crops_top5_error=None if ten is None else 1 - ten.top5,
        seconds=round(sum(epoch.seconds for epoch in done.history), 3),
        run=f"{done.folder.parent.name}/{done.folder.name}",
    )


class Bench:
    """Trains each network from each seed once, and keeps what was measured on it.

    runs : where the run folders lie
    """

    def __init__(
        self, lesson: Lesson, pieces: ResultStore, runs: Path, device: torch.device, meter: _Meter
    ) -> None:
        self.lesson, self.pieces, self.runs = lesson, pieces, runs
        self.device, self._meter = device, meter

    @classmethod
    @contextmanager
    def of(
        cls,
        architecture: Architecture,
        recipe: Recipe,
        lesson: Lesson,
        out: str | os.PathLike[str] | None,
        *,
        trainings: int,
        device: str | torch.device = "cpu",
        progress: Progress | None = None,
        resume: bool = False,
    ) -> Iterator[Bench]:
        """A study's, in its folder; of None, what it does is gone afterwards.

        architecture, recipe : that the study is of, whatever it makes of them; any seed
        trainings : how many there will be, for the progress

        Raises  FolderInUse: as `ResultStore`.
        """
        settings = {
            "architecture": architecture.to_dict(),
            "recipe": replace(recipe, seed=0, keep_epochs=()).to_dict(),
            "data": lesson.pictures.identity,
            "validation": lesson.validation.identity,
        }
        pieces = ResultStore(out, settings, resume=resume)
        meter = _Meter(progress, trainings, recipe, lesson)
        with runs_in(out) as runs:
            yield cls(lesson, pieces, runs, torch.device(device), meter)

    def piece(self, name: str, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """What `make` says of the training of that name: JSON-able, and the same when it is read.

        name : of the training, one for each architecture, recipe and seed of the study
        """
        found = self.pieces.record(name, make)
        self._meter.end()
        return found

    def trained(self, name: str, architecture: Architecture, recipe: Recipe) -> TrainingResult:
        """The finished run of that name, begun or gone on with. Raises as `train_on` does."""
        folder = self.runs / re.sub(r"[^\w.,=+-]+", "_", name)
        return train_on(
            architecture, self.lesson, recipe, folder,
            device=self.device, keeping=KEEPING, progress=self._meter.training(folder),
        )  # fmt: skip


class _Meter:
    """Progress over a whole study, of trainings that each tell only of their own."""

    def __init__(
        self, progress: Progress | None, trainings: int, recipe: Recipe, lesson: Lesson
    ) -> None:
        self.progress, self.trainings, self.done = progress, trainings, 0
        self.pictures, self.each = len(lesson.pictures), recipe.epochs * len(lesson.pictures)

    def training(self, folder: Path) -> Callable[[str, int, int], None]:
        """Progress of the next training, whose folder may hold some epochs already."""
        finished = len(read_run(folder).history) if (folder / RUN).exists() else 0
        epoch, last = finished - 1, ""

        def tell(what: str, done: int, total: int) -> None:
            nonlocal epoch, last
            if what != last:
                epoch, last = epoch + 1, what
            learned = min(epoch * self.pictures + done, self.each)
            self._tell("images learned in all trainings", self.done * self.each + learned)

        return tell

    def end(self) -> None:
        """A training is measured, or was already."""
        self.done += 1
        if self.progress is not None:
            self.progress("trainings", self.done, self.trainings)

    def _tell(self, what: str, done: int) -> None:
        if self.progress is not None:
            self.progress(what, done, self.trainings * self.each)


def check_seeds(seeds: Sequence[int]) -> None:
    """Raises  BadOption: none, or one given twice."""
    if not seeds or len(set(seeds)) < len(seeds):
        raise BadOption(f"trainings from seeds {list(seeds)}: give at least one, each once")


@contextmanager
def runs_in(folder: str | os.PathLike[str] | None) -> Iterator[Path]:
    """Where a study's run folders lie; None is a folder that is gone afterwards."""
    if folder is not None:
        yield Path(folder) / RUNS
        return
    with tempfile.TemporaryDirectory(prefix="convscope-") as place:
        yield Path(place) / RUNS


def spread(values: Sequence[float]) -> dict[str, Any] | None:
    """Mean and sample standard deviation (None of one value), and the values."""
    if not values:
        return None
    found = mean_of(values)
    deviation = found.deviation if len(values) > 1 else None
    return {"mean": found.mean, "std": deviation, "values": list(values)}
