"""Training: stochastic gradient descent as in the paper's §3, which can be interrupted anywhere.

What happens at a step depends on the recipe's seed, the epoch and the step alone, so that a
training that was killed goes on from its last state and ends with the same bits (on a CPU; a GPU's
own sums may differ in the last one). The caller's random generators are left as they were.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from convscope.display import Brief
from convscope.distributed import Ranks
from convscope.errors import BadData, FolderInUse, NonFinite
from convscope.execution import ONE_PROCESS, Execution
from convscope.images.datasets import ImageSet
from convscope.models.architectures import Architecture, architecture_named, build
from convscope.models.weights import about_network
from convscope.progress import Progress
from convscope.training.checkpoint import (
    PRETRAINING,
    STATE,
    WEIGHTS,
    Epoch,
    PretrainedLayer,
    Run,
    RunFolder,
    RunStatus,
    claim_run,
    run_to_resume,
    tidy,
)
from convscope.training.evaluation import CropScores
from convscope.training.pictures import LabelledPictures
from convscope.training.pretraining import pretrain
from convscope.training.recipe import Recipe
from convscope.training.state import State, Sums, load_state, momentum_of, save_state
from convscope.training.tensorboard_logger import TensorBoardLogger
from convscope.training.trainer import Trainer, renormalise
from convscope.training.training_data import TrainingData, load_training_data
from convscope.version import __version__

__all__ = [
    "CheckpointPolicy",
    "TrainingData",
    "TrainingResult",
    "load_training_data",
    "renormalise",
    "train",
    "train_on",
]


@dataclass(frozen=True)
class CheckpointPolicy:
    """How the state of a training is kept on disk while it runs.

    Attributes:
        resume: Go on with the run in the folder, if there is one, of the same settings.
        every: Seconds between two states on disk, the most that a kill undoes; 0: every step.
        tensorboard: Also write curves for TensorBoard.
        cache: A folder for the decoded pictures; None keeps them in memory.
    """

    resume: bool = False
    every: float = 300.0
    tensorboard: bool = False
    cache: str | os.PathLike[str] | None = None


@dataclass(frozen=True)
class TrainingResult(Brief):
    """What a finished training leaves.

    Attributes:
        folder: The run's folder; `run:FOLDER` is a MODEL for every verb.
        weights: The file of the final weights.
        history: The results of every epoch.
        tested: The final weights' scores, of one crop and, where the recipe crops, of ten.
        already: Whether the run was finished before, so that nothing was done.
        pretraining: The layers that learned without labels first, where the recipe asks for it.
    """

    folder: Path
    weights: Path
    history: tuple[Epoch, ...]
    tested: tuple[CropScores, ...] = ()
    already: bool = False
    pretraining: tuple[PretrainedLayer, ...] = ()


def train(
    architecture: Architecture | str,
    data: tuple[ImageSet, ImageSet],
    recipe: Recipe,
    out: str | os.PathLike[str],
    *,
    keeping: CheckpointPolicy = CheckpointPolicy(),
    how: Execution = ONE_PROCESS,
) -> TrainingResult:
    """Train a network on labelled images and write the run into a folder (checkpoint.py).

    Args:
        architecture: The network, or its name; its number of classes is taken from the images.
        data: The labelled images to learn from, and those to validate on, of the same classes.
        recipe: How to train.
        out: The folder of the run.
        keeping: What is kept on disk, and whether an earlier run goes on.
        how: Where to compute; threads that decode, or processes that render scenes; progress is in
            images.

    Raises:
        FolderInUse: `out` holds something else, or a run of other settings; the first difference
            is named.
        BadModel: There is no architecture of that name.
        BadData: There are images without labels, or the classes of the two sets differ.
        NonFinite: The loss became NaN or infinite. The layer and the last good checkpoint are
            named, and the run keeps what came before.

    Example:
        images, validation = open_images("scenes:train"), open_images("scenes:val")
        train("zfnet-small", (images, validation), RECIPES["small"], "runs/small")
    """
    if isinstance(architecture, str):
        architecture = architecture_named(architecture)
    images, validation = data
    ranks, how = how.ranks, replace(how, progress=how.told)
    existing = ranks.from_first(lambda: run_to_resume(out, resume=keeping.resume))
    if existing is not None and images.classes is not None:  # before anything is read
        wanted = _with_classes(architecture, recipe, len(images.classes))
        _check_same(out, existing, replace(existing, architecture=wanted, recipe=recipe))
        if existing.status is RunStatus.FINISHED:
            return _finished_before(Path(out), existing, ranks)

    def load() -> TrainingData:
        return load_training_data(
            architecture, images, validation, recipe, cache=keeping.cache, how=how
        )

    lesson = ranks.in_turn(load) if keeping.cache is not None else load()
    return train_on(architecture, lesson, recipe, out, keeping=keeping, how=how)


def train_on(
    architecture: Architecture,
    lesson: TrainingData,
    recipe: Recipe,
    out: str | os.PathLike[str],
    *,
    keeping: CheckpointPolicy = CheckpointPolicy(),
    how: Execution = ONE_PROCESS,
) -> TrainingResult:
    """Train as `train` does, on training data that is loaded already.

    Args:
        architecture: The network; its number of classes is taken from the data.
        lesson: The training data.
        recipe: How to train.
        out: The folder of the run.
        keeping: What is kept on disk, and whether an earlier run goes on.
        how: Where to compute; progress is in images.

    Raises:
        FolderInUse: `out` holds something else, or a run of other settings.
        BadData: The data has one class only.
        NonFinite: The loss became NaN or infinite.
    """
    device, ranks = torch.device(how.device), how.ranks
    sized = _with_classes(architecture, recipe, len(lesson.pictures.classes))
    wanted = _new_run(sized, lesson, recipe, device, ranks)
    existing = ranks.from_first(lambda: run_to_resume(out, resume=keeping.resume))
    if existing is not None:
        _check_same(out, existing, wanted)
        if existing.status is RunStatus.FINISHED:
            return _finished_before(Path(out), existing, ranks)
    network = build(wanted.architecture, recipe.initialisation, seed=recipe.seed).to(device)
    if recipe.channels_last:
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    teacher = Trainer(network, lesson, recipe, device, ranks)
    with claim_run(out) if ranks.first else nullcontext(), _generators_kept(device):
        folder = RunFolder(Path(out), wanted, lesson.preprocess) if ranks.first else None
        loop = _TrainingLoop(teacher, folder, keeping, how.told)
        return loop.run(Path(out))


class _TrainingLoop:
    """The training loop: one training, from its last state to its end.

    Args:
        teacher: The network and its optimiser.
        folder: Where the run is written; None in every process but the first.
        keeping: How often the state is saved.
        progress: Called with (what, done, total), in images.
    """

    def __init__(
        self,
        teacher: Trainer,
        folder: RunFolder | None,
        keeping: CheckpointPolicy,
        progress: Progress | None,
    ) -> None:
        self.teacher, self.folder, self.keeping = teacher, folder, keeping
        self.recipe, self.progress = teacher.recipe, progress
        self.saved = time.monotonic()

    def run(self, out: Path) -> TrainingResult:
        """Train to the end."""
        state = self._begin()
        board = None
        if self.folder is not None and self.keeping.tensorboard:
            board = TensorBoardLogger(out, state.history)
        try:
            while state.epoch <= self.recipe.epochs:
                state = self._epoch(state)
                if board is not None:
                    board.add(state.history[-1])
            tested = self._test(state)
        except NonFinite as error:
            if self.folder is None:
                raise
            self.folder.stop(RunStatus.DIVERGED)
            remedy = "use a lower learning rate, or a smaller renormalisation radius"
            raise NonFinite(f"{error}; {self.folder.last_good()}: {remedy}") from None
        finally:
            if board is not None:
                board.close()
        if self.folder is not None:
            self.folder.finish(self.teacher.network, tested)
        return TrainingResult(
            out, out / WEIGHTS, state.history, tested, pretraining=state.pretraining
        )

    def _begin(self) -> State:
        """Load the state on disk, or begin anew, the same in all processes."""
        teacher, folder, state = self.teacher, self.folder, State()
        begun = teacher.ranks.from_first(
            lambda: folder is not None and (folder.folder / STATE).exists()
        )
        if begun and folder is not None:
            state = load_state(folder.folder / STATE, teacher.network, teacher.optimiser)
            folder.go_back(state.history, state.checkpoints, state.pretraining)
        elif self.recipe.pretrain and not begun:
            state = self._pretrain()
        elif folder is not None and self.recipe.keeps(0):
            folder.keep(teacher.network, 0)
        momentum = momentum_of(teacher.network, teacher.optimiser)
        weights = teacher.network.state_dict()
        teacher.ranks.tensors_from_first([*weights.values(), *momentum.values()])
        return State.from_text(teacher.ranks.from_first(state.to_text))

    def _pretrain(self) -> State:
        """Learn without labels first, and keep what came of it as the weights before epoch 1."""
        folder, network = self.folder, self.teacher.network
        path = None if folder is None else folder.folder / PRETRAINING
        try:
            layers = pretrain(self.teacher, path, self.keeping.every, self.progress)
        except NonFinite:
            if folder is not None:
                folder.stop(RunStatus.DIVERGED)
            raise
        state = State(pretraining=layers)
        if folder is not None and path is not None:
            folder.pretrained(layers)
            folder.keep(network, 0)
            self._save(state)
            path.unlink(missing_ok=True)
        return state

    def _epoch(self, state: State) -> State:
        """Train on the pictures that are left of an epoch, then validate."""
        teacher, recipe, sums = self.teacher, self.recipe, state.sums
        steps, count = teacher.feed.steps, len(teacher.lesson.pictures)
        accuracies = [past.val_accuracy for past in state.history]
        before = f", validation accuracy {accuracies[-1]:.1%}" if accuracies else ""
        what = f"epoch {state.epoch} of {recipe.epochs}{before}"
        began = time.perf_counter()
        loss, correct = sums.loss, sums.correct
        teacher.touched.zero_()
        teacher.network.train()

        def current_sums() -> Sums:
            seconds = sums.seconds + time.perf_counter() - began
            return Sums(loss, correct, sums.renormalised + int(teacher.touched), seconds)

        def rate(place: int) -> float:
            step = (state.epoch - 1) * steps + place
            return recipe.rate(step, steps * recipe.epochs, accuracies)

        if self.progress:
            self.progress(what, min(state.place * recipe.batch_size, count), count)
        batches = teacher.feed.epoch(state.epoch, state.place)
        try:
            for batch in batches:
                value, right = teacher.step(batch, state.epoch, rate(batch.place))
                loss, correct = loss + value * batch.count, correct + right
                if self.folder is not None and self._is_due():
                    self._save(replace(state, place=batch.place + 1, sums=current_sums()))
                if self.progress:
                    self.progress(what, min((batch.place + 1) * recipe.batch_size, count), count)
        finally:
            batches.close()
        scores = teacher.validate()
        if not math.isfinite(scores.loss):
            raise NonFinite(
                f"training {teacher.network.architecture.name}: the validation loss is "
                f"{scores.loss} after epoch {state.epoch}"
            )
        done = current_sums()
        return self._log(
            state,
            Epoch(
                epoch=state.epoch,
                loss=done.loss / count,
                accuracy=done.correct / count,
                val_loss=scores.loss,
                val_accuracy=scores.top1,
                val_top5=scores.top5,
                learning_rate=rate(steps - 1),
                renormalised=done.renormalised,
                steps=steps,
                seconds=round(done.seconds, 3),
            ),
        )

    def _log(self, state: State, done: Epoch) -> State:
        """Write the epoch, and last the state after it, which a resumed run goes by."""
        state = state.next_epoch(done)
        if self.folder is not None:
            self.folder.log(done)
            if self.recipe.keeps(done.epoch):
                self.folder.keep(self.teacher.network, done.epoch)
            self._save(state)
        return state

    def _test(self, state: State) -> tuple[CropScores, ...]:
        """Score the final weights by one crop; where the recipe crops, by ten too (paper §3)."""
        last = state.history[-1]
        one = CropScores(1, last.val_loss, last.val_accuracy, last.val_top5)
        return (one, self.teacher.validate(10)) if self.teacher.feed.slack else (one,)

    def _is_due(self) -> bool:
        return time.monotonic() - self.saved >= self.keeping.every

    def _save(self, state: State) -> None:
        """Write the state, unless an update has just spoilt the weights: the good one stays."""
        assert self.folder is not None
        network, folder = self.teacher.network, self.folder
        if all(weight.isfinite().all() for weight in network.parameters()):
            state = replace(state, checkpoints=folder.run.checkpoints)
            metadata, beside = about_network(network, folder.preprocess, folder.run.classes)
            facts = {**metadata, **folder.facts(state.epoch - 1)}
            save_state(folder.folder / STATE, network, self.teacher.optimiser, state, facts, beside)
        self.saved = time.monotonic()


def _with_classes(architecture: Architecture, recipe: Recipe, classes: int) -> Architecture:
    """Return the architecture with as many outputs as there are classes, and the recipe's dropout.

    Raises:
        BadData: There is one class only.
    """
    if classes < 2:
        raise BadData("the images are all of one class: a network learns to tell two or more apart")
    architecture = architecture.with_classes(classes)
    if recipe.dropout is None:
        return architecture
    return replace(architecture, dropout=recipe.dropout)


def _new_run(
    architecture: Architecture,
    lesson: TrainingData,
    recipe: Recipe,
    device: torch.device,
    ranks: Ranks,
) -> Run:
    return Run(
        architecture,
        recipe,
        lesson.pictures.classes,
        data=_set_facts(lesson.pictures),
        validation=_set_facts(lesson.validation),
        versions={
            "convscope": __version__,
            "torch": torch.__version__,
            "device": device.type,
        },
        processes=ranks.count,
        notes=recipe.notes(),
    )


def _check_same(out: str | os.PathLike[str], existing: Run, wanted: Run) -> None:
    """Check that the run in the folder can go on with the settings that are asked for.

    Raises:
        FolderInUse: The run there has other settings, or has diverged.
    """
    if differing := existing.difference(wanted):
        raise FolderInUse(
            f"{out} holds a run of other settings: {differing}; use the same, or give a new folder"
        )
    if existing.status is RunStatus.DIVERGED:
        raise FolderInUse(
            f"{out} holds a run that diverged, as it would again: give a new folder and a lower "
            "learning rate"
        )


def _finished_before(folder: Path, run: Run, ranks: Ranks) -> TrainingResult:
    if ranks.first:
        tidy(folder)
    return TrainingResult(
        folder, folder / WEIGHTS, run.history, run.tested, already=True, pretraining=run.pretraining
    )


@contextmanager
def _generators_kept(device: torch.device) -> Iterator[None]:
    """Restore torch's random generators, from which dropout draws, after the `with` block."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        yield


def _set_facts(pictures: LabelledPictures) -> dict[str, str | int]:
    return {
        "spec": pictures.spec,
        "identity": pictures.identity,
        "count": len(pictures),
        "skipped": len(pictures.skipped),
    }
