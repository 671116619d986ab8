"""The training runner: the same images, recipe and epochs for several networks and seeds.

Every training is a run folder of its own, and what was measured on it is a result of the study: a
study that was killed goes on at the last state of the training that it was in. Several processes
train different networks at the same time, each as one process would.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from convscope.distributed import ALONE, Ranks
from convscope.errors import BadOption
from convscope.execution import ONE_PROCESS, Execution
from convscope.models.architectures import Architecture
from convscope.models.zoo import open_model
from convscope.progress import Progress, silent
from convscope.record import Record
from convscope.scan.items import for_each, open_results
from convscope.stats import mean_of
from convscope.store.results import ResultStore
from convscope.training.checkpoint import RUN, read_run
from convscope.training.evaluation import evaluate
from convscope.training.loop import CheckpointPolicy, TrainingResult, train_on
from convscope.training.recipe import Recipe
from convscope.training.training_data import TrainingData

__all__ = [
    "KEEPING",
    "RUNS",
    "Training",
    "TrainingRunner",
    "check_seeds",
    "mean_and_spread",
    "measured",
    "runs_in",
]  # fmt: skip

RUNS = "runs"  # the folder of the runs in a study's
KEEPING = CheckpointPolicy(resume=True, every=60.0)  # a kill undoes a minute at most


@dataclass(frozen=True)
class Training(Record):
    """One trained network; errors are shares of the images, 0..1.

    Attributes:
        seed: that it was trained from.
        train_error: top-1 on the training images, of the final weights, without dropout.
        error, top5_error: on the validation images; of the middle of each picture, as is
            train_error.
        crops_error, crops_top5_error: of ten crops, where the recipe crops.
        seconds: of training.
        run: its folder in the study's.
    """

    seed: int
    train_error: float
    error: float
    top5_error: float
    crops_error: float | None
    crops_top5_error: float | None
    seconds: float
    run: str


def measured(done: TrainingResult, lesson: TrainingData, device: torch.device) -> Training:
    """How well a finished run's network knows the lesson that it learned."""
    network = open_model(f"run:{done.folder}").module.to(device)
    size = lesson.preprocess.shape[1]
    learned = evaluate(network, lesson.pictures, lesson.mean, size)
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


class TrainingRunner:
    """Trains each network from each seed once, and keeps what was measured on it.

    Attributes:
        lesson: what all of them learn.
        results: what was measured, by the training's name.
        runs: where the run folders lie.
        device: of this process.
        ranks: which of several processes this is.
    """

    def __init__(
        self, lesson: TrainingData, results: ResultStore, runs: Path, device: torch.device,
        ranks: Ranks, meter: _Meter,
    ) -> None:  # fmt: skip
        self.lesson, self.results, self.runs = lesson, results, runs
        self.device, self.ranks, self._meter = device, ranks, meter

    @classmethod
    @contextmanager
    def of(
        cls,
        architecture: Architecture,
        recipe: Recipe,
        lesson: TrainingData,
        out: str | os.PathLike[str] | None,
        *,
        resume: bool = False,
        how: Execution = ONE_PROCESS,
    ) -> Iterator[TrainingRunner]:
        """The runner of a study, which holds the study's folder meanwhile.

        Args:
            architecture, recipe: that the study is of, whatever it makes of them; any seed.
            lesson: what is learned.
            out: the study's folder; None is a folder that is gone afterwards.
            resume: go on with what is in the folder.
            how: the processes share the trainings, and all of them see the folder; progress is in
                images learned, and in trainings.

        Raises:
            FolderInUse: as `ResultStore`.
        """
        settings = {
            "architecture": architecture.to_dict(),
            "recipe": replace(recipe, seed=0, keep_epochs=()).to_dict(),
            "data": lesson.pictures.identity,
            "validation": lesson.validation.identity,
        }
        meter, ranks = _Meter(how.told, recipe, lesson), how.ranks
        with (
            open_results(out, settings, resume=resume, ranks=ranks) as results,
            runs_in(out, ranks) as runs,
        ):
            yield cls(lesson, results, runs, torch.device(how.device), ranks, meter)

    def each(
        self,
        names: Sequence[str],
        make: Callable[[int], dict[str, Any]],
        *,
        of: int | None = None,
    ) -> list[dict[str, Any]]:
        """What `make` says of each training: JSON-able, and the same when it is read.

        Args:
            names: of the trainings, one for each architecture, recipe and seed of the study.
            make: called with the number of a training that is not there, by one process each.
            of: how many trainings the study has in all, for the progress; None is these.
        """
        before, self._meter.trainings = self._meter.done, of or len(names)
        return for_each(
            names, make, self.results, self.results.record,
            Execution(
                ranks=self.ranks, progress=lambda _, done, __: self._meter.reach(before + done)
            ),
        )  # fmt: skip

    def trained(self, name: str, architecture: Architecture, recipe: Recipe) -> TrainingResult:
        """The finished run of that name, begun or gone on with. Raises as `train_on` does."""
        folder = self.runs / re.sub(r"[^\w.,=+-]+", "_", name)
        return train_on(
            architecture, self.lesson, recipe, folder,
            keeping=KEEPING, how=Execution(self.device, progress=self._meter.training(folder)),
        )  # fmt: skip


class _Meter:
    """Progress over a whole study, of trainings that each tell only of their own."""

    def __init__(self, progress: Progress | None, recipe: Recipe, lesson: TrainingData) -> None:
        self.progress, self.trainings, self.done = progress or silent, 0, 0
        self.pictures, self.each = len(lesson.pictures), recipe.epochs * len(lesson.pictures)

    def reach(self, done: int) -> None:
        """So many trainings are measured, or were already."""
        self.done = done
        if done:
            self.progress("trainings", done, self.trainings)

    def training(self, folder: Path) -> Progress:
        """Progress of the next training, whose folder may hold some epochs already."""
        finished = len(read_run(folder).history) if (folder / RUN).exists() else 0
        epoch, last = finished - 1, ""

        def tell(what: str, done: int, total: int) -> None:
            nonlocal epoch, last
            if what != last:
                epoch, last = epoch + 1, what
            learned = min(epoch * self.pictures + done, self.each)
            learned += self.done * self.each
            self.progress("images learned in all trainings", learned, self.trainings * self.each)

        return tell


def check_seeds(seeds: Sequence[int]) -> None:
    """Refuse a list of seeds that is empty or has one twice.

    Args:
        seeds: The seeds of several trainings.

    Raises:
        BadOption: There is none, or one is given twice.
    """
    if not seeds or len(set(seeds)) < len(seeds):
        raise BadOption(f"trainings from seeds {list(seeds)}: give at least one, each once")


@contextmanager
def runs_in(folder: str | os.PathLike[str] | None, ranks: Ranks = ALONE) -> Iterator[Path]:
    """Where a study's run folders lie; None is a folder that is gone afterwards."""
    if folder is not None:
        yield Path(folder) / RUNS
        return
    with ExitStack() as stack:
        made = tempfile.TemporaryDirectory(prefix="convscope-")
        place = ranks.from_first(lambda: stack.enter_context(made))
        yield Path(place) / RUNS


def mean_and_spread(values: Sequence[float]) -> dict[str, Any] | None:
    """Mean and sample standard deviation (None of one value), and the values."""
    if not values:
        return None
    estimate = mean_of(values)
    deviation = estimate.deviation if len(values) > 1 else None
    return {"mean": estimate.mean, "std": deviation, "values": list(values)}
