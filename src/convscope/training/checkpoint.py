"""A training run on disk: a folder that is readable at any moment.

    run.json                     what is trained on what, by which recipe, and how far it is (`Run`)
    recipe.yaml                  the recipe, with the source of every number
    metrics.jsonl                a line per epoch
    epoch-0005.safetensors       the weights after each of the recipe's `keep_epochs`
    weights.safetensors          the final weights, there only once training is complete
    state.safetensors            until then: what training goes on with (state.py)
    pretraining.safetensors      until the labels come in: what pre-training goes on with
    tensorboard/                 curves for TensorBoard, where they were asked for

Each file of weights says itself how to use it (models/weights.py).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from convscope.errors import BadData, FolderInUse
from convscope.images.preprocess import Preprocess
from convscope.models.architectures import Architecture, Convnet
from convscope.models.metadata import read_architecture, read_class_names, read_fact
from convscope.models.weights import write_network
from convscope.store.atomic import is_leftover, remove_leftovers, replace_file
from convscope.store.differences import first_difference
from convscope.store.lock import LOCK, check_unused, held
from convscope.store.names import is_file_name
from convscope.text import error_words
from convscope.training.evaluation import CropScores
from convscope.training.recipe import Recipe
from convscope.training.recipe_file import recipe_text
from convscope.training.run_values import check_images_record, check_list, check_values

__all__ = [
    "PRETRAINING",
    "STATE",
    "Checkpoint",
    "Epoch",
    "PretrainedLayer",
    "Run",
    "RunFolder",
    "RunStatus",
    "claim_run",
    "read_run",
    "run_to_resume",
    "tidy",
]

SCHEMA_VERSION = 1
RUN, METRICS, WEIGHTS = "run.json", "metrics.jsonl", "weights.safetensors"
RECIPE, STATE, PRETRAINING = "recipe.yaml", "state.safetensors", "pretraining.safetensors"


class RunStatus(StrEnum):
    """How far a run is."""

    RUNNING = "running"  # or killed
    FINISHED = "finished"
    DIVERGED = "diverged"


@dataclass(frozen=True)
class Epoch:
    """The results of one epoch. Accuracies are shares, 0..1; losses mean cross-entropies, nats.

    Attributes:
        epoch: Counted from 1.
        loss: Of the training images while they were learned, with dropout.
        accuracy: Of the training images likewise.
        val_loss: Of the validation images.
        val_accuracy: Of the validation images: the share whose class has the highest output.
        val_top5: The share whose class is among the five highest outputs.
        learning_rate: At the epoch's last step.
        renormalised: How often a filter was scaled back to the recipe's radius.
        steps: Updates in the epoch.
        seconds: Of training and validation together.
    """

    epoch: int
    loss: float
    accuracy: float
    val_loss: float
    val_accuracy: float
    val_top5: float
    learning_rate: float
    renormalised: int
    steps: int
    seconds: float


@dataclass(frozen=True)
class PretrainedLayer:
    """A layer that learned without labels to rebuild what arrives at it.

    Attributes:
        layer: Its name.
        losses: After each epoch, the squared error as a share of what the best constant for each
            map, its mean, leaves: 1 is no better than the mean.
    """

    layer: str
    losses: tuple[float, ...]


@dataclass(frozen=True)
class Checkpoint:
    """Weights that are kept.

    Attributes:
        epoch: The epoch after which they were written.
        file: Their file in the run's folder.
        sha256: The file's SHA-256, hex.
    """

    epoch: int
    file: str
    sha256: str


@dataclass(frozen=True)
class Run:
    """What run.json holds: what is trained on what, by which recipe, and how far it is.

    Attributes:
        architecture: The network's, with its number of classes.
        recipe: How it is trained.
        classes: The names of the classes.
        data: Spec, identity, count and number of skipped images of the training set.
        validation: The same of the validation set.
        versions: Of convscope, of torch, and the device's type.
        status: How far the run is.
        checkpoints: The weights kept on the way.
        weights_sha256: The SHA-256, hex, of the final weights; None until they are there.
        history: The results of every finished epoch.
        processes: How many processes share each batch.
        notes: What a user should know about how it was computed.
        tested: The final weights' scores on the validation images.
        pretraining: The layers that learned without labels first, bottom up.
    """

    architecture: Architecture
    recipe: Recipe
    classes: tuple[str, ...]
    data: Mapping[str, Any]
    validation: Mapping[str, Any]
    versions: Mapping[str, str]
    status: RunStatus = RunStatus.RUNNING
    checkpoints: tuple[Checkpoint, ...] = ()
    weights_sha256: str | None = None
    history: tuple[Epoch, ...] = field(default=(), repr=False)
    processes: int = 1
    notes: tuple[str, ...] = ()
    tested: tuple[CropScores, ...] = ()
    pretraining: tuple[PretrainedLayer, ...] = ()

    def difference(self, wanted: Run) -> str | None:
        """Name the first thing in which another training would differ; None if it would not.

        Args:
            wanted: The run that another training would make.
        """
        if differing := self.recipe.difference(wanted.recipe):
            return f"the recipe's {differing}"
        if self.architecture != wanted.architecture:
            there, now = self.architecture, wanted.architecture
            if there.name != now.name:
                return f"the architecture is {there.name} there, {now.name} now"
            if there.classes == now.classes:
                return f"the architecture {there.name} has other layers"
        return first_difference(self._facts(), wanted._facts())

    def _facts(self) -> dict[str, Any]:
        """What a training may not differ in where it goes on, by the words for it."""
        return {
            "the number of classes": len(self.classes),
            "the classes' names": self.classes,
            **{
                f"the {name}'s {fact}": images[fact]
                for name, images in (("data", self.data), ("validation", self.validation))
                for fact in ("count", "identity")
            },
            "the number of processes": self.processes,
            "the device": self.versions["device"],
        }

    def to_dict(self) -> dict[str, Any]:
        """Convert to a JSON-able dictionary; without pre-training nothing is said of it."""
        values = asdict(self) | {"recipe": self.recipe.to_dict()}
        if not self.pretraining:
            del values["pretraining"]
        return {"schema_version": SCHEMA_VERSION, **values}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Run:
        """Convert from what `to_dict` returned.

        Raises:
            TypeError, KeyError, ValueError: It is not what `to_dict` returned.
        """
        fields = dict(values)
        version = fields.pop("schema_version")
        if version != SCHEMA_VERSION:
            raise ValueError(f"schema version {version}, this convscope reads {SCHEMA_VERSION}")
        check_values(Run, fields)
        check_values(Recipe, fields["recipe"])
        for name, kind in {
            "history": Epoch,
            "checkpoints": Checkpoint,
            "tested": CropScores,
            "pretraining": PretrainedLayer,
        }.items():
            check_list(name, fields.get(name, []), kind)
        for name in ("data", "validation"):
            check_images_record(name, fields[name])
        fields["architecture"] = read_architecture(fields["architecture"])
        fields["recipe"] = Recipe.from_dict(fields["recipe"])
        fields["classes"] = read_class_names(fields["classes"])
        fields["status"] = RunStatus(fields["status"])
        named = [entry["file"] for entry in fields["checkpoints"]]
        if not all(map(is_file_name, named)):
            raise ValueError("the file of a checkpoint is no file name")
        fields["checkpoints"] = tuple(Checkpoint(**entry) for entry in fields["checkpoints"])
        fields["history"] = tuple(Epoch(**entry) for entry in fields["history"])
        fields["notes"] = tuple(fields.get("notes", ()))
        fields["tested"] = tuple(CropScores(**entry) for entry in fields.get("tested", ()))
        fields["pretraining"] = tuple(
            PretrainedLayer(entry["layer"], tuple(entry["losses"]))
            for entry in fields.get("pretraining", ())
        )
        return cls(**fields)


def read_run(folder: str | os.PathLike[str]) -> Run:
    """Read the run in a folder.

    Raises:
        BadData: There is no run in that folder, or its run.json cannot be read.

    Example:
        read_run("runs/small").history[-1].val_accuracy
    """
    path = Path(folder) / RUN
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise BadData(
            f"{folder} holds no {RUN}: give a folder that 'convscope train' made"
        ) from None
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error
    try:
        return read_fact(text, Run.from_dict)
    except ValueError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> BadData:
    return BadData(f"{path} cannot be read ({error_words(error)}): train again into another folder")


def run_to_resume(folder: str | os.PathLike[str], *, resume: bool) -> Run | None:
    """Return the run in a folder that is to go on; None where a new one may begin. Makes nothing.

    Args:
        folder: The run's folder, which need not exist.
        resume: Whether an earlier run may go on.

    Raises:
        FolderInUse: The folder holds something that must not be overwritten.
        BadData: Its run.json cannot be read.
    """
    path = Path(folder)
    if not resume or not path.is_dir():
        check_unused(path, resume=False)
        return None
    if (path / RUN).exists():
        return read_run(path)
    other_files = sorted(entry.name for entry in path.iterdir() if not _is_leftover(entry))
    if other_files:
        raise FolderInUse(
            f"{folder} holds {other_files[0]}, but no {RUN}: give a run, or a new folder"
        )
    return None


@contextmanager
def claim_run(folder: str | os.PathLike[str]) -> Iterator[Path]:
    """Make the folder, if need be, and lock it for this process while the `with` block runs.

    The system releases the lock when the process ends, however it ends.

    Raises:
        FolderInUse: Another process is at work there.
    """
    path = Path(folder)
    path.mkdir(parents=True, exist_ok=True)
    busy = f"another process is training in {folder}: wait for it, or stop it first"
    with held(path / LOCK, busy):
        remove_leftovers(path)
        yield path


def tidy(folder: Path) -> None:
    """Remove what a finished run left if it was killed in its very last moment."""
    states = (STATE, PRETRAINING)
    if any(_is_leftover(entry) or entry.name in states for entry in folder.iterdir()):
        with claim_run(folder):
            for name in states:
                (folder / name).unlink(missing_ok=True)


class RunFolder:
    """Writes a run into a locked folder while it happens.

    Args:
        folder: The run's folder, locked by `claim_run`.
        run: What is trained on what; `history` and `checkpoints` grow.
        preprocess: The network's preprocessing, which is stored with the weights.
    """

    def __init__(self, folder: Path, run: Run, preprocess: Preprocess) -> None:
        self.folder, self.run, self.preprocess = folder, run, preprocess
        self._record()
        replace_file(folder / RECIPE, recipe_text(run.recipe).encode())

    def go_back(
        self,
        history: tuple[Epoch, ...],
        checkpoints: tuple[Checkpoint, ...],
        pretraining: tuple[PretrainedLayer, ...] = (),
    ) -> None:
        """Take back what came after a saved state, so that nothing is there twice.

        Args:
            history: The epochs that the state knows.
            checkpoints: The kept weights that it knows.
            pretraining: The layers that learned without labels before.
        """
        self.run = replace(
            self.run, history=history, checkpoints=checkpoints, pretraining=pretraining
        )
        self._write_metrics()
        self._record()
        (self.folder / PRETRAINING).unlink(missing_ok=True)

    def pretrained(self, layers: tuple[PretrainedLayer, ...]) -> None:
        """Record the layers that learned without labels."""
        self.run = replace(self.run, pretraining=layers)
        self._record()

    def log(self, epoch: Epoch) -> None:
        """Add an epoch to metrics.jsonl and run.json."""
        self.run = replace(self.run, history=(*self.run.history, epoch))
        self._write_metrics()
        self._record()

    def keep(self, network: Convnet, epoch: int) -> None:
        """Write the weights after an epoch, to be kept."""
        file = f"epoch-{epoch:04d}.safetensors"
        kept = Checkpoint(epoch, file, self._write(file, network, epoch))
        self.run = replace(self.run, checkpoints=(*self.run.checkpoints, kept))
        self._record()

    def finish(self, network: Convnet, tested: tuple[CropScores, ...] = ()) -> Path:
        """Write the final weights, record that the run is complete, and return the weights' path.

        Args:
            network: The trained network.
            tested: Its scores on the validation images.
        """
        sha256 = self._write(WEIGHTS, network, self.run.recipe.epochs)
        self.run = replace(
            self.run, status=RunStatus.FINISHED, weights_sha256=sha256, tested=tested
        )
        self._record()
        (self.folder / STATE).unlink(missing_ok=True)
        return self.folder / WEIGHTS

    def last_good(self) -> str:
        """Name the newest weights that are whole and finite, for an error message."""
        if (self.folder / STATE).exists():
            return f"the last good checkpoint is {self.folder / STATE}"
        if self.run.checkpoints:
            return f"the last good checkpoint is {self.folder / self.run.checkpoints[-1].file}"
        return "no checkpoint was written before"

    def stop(self, status: RunStatus) -> None:
        """Record that no further epoch comes, and why."""
        self.run = replace(self.run, status=status)
        self._record()

    def facts(self, epoch: int) -> dict[str, str]:
        """Return the metadata of weights. It holds no time: equal trainings write equal bytes.

        Args:
            epoch: The epoch after which the weights are written.
        """
        facts = {
            "epoch": str(epoch),
            "recipe": json.dumps(self.run.recipe.to_dict()),
            "data": json.dumps(dict(self.run.data)),
            **self.run.versions,
        }
        if self.run.history:
            facts["val_accuracy"] = f"{self.run.history[-1].val_accuracy:.4f}"
        return facts

    def _write(self, file: str, network: Convnet, epoch: int) -> str:
        path, run = self.folder / file, self.run
        return write_network(path, network, self.preprocess, run.classes, self.facts(epoch))

    def _write_metrics(self) -> None:
        lines = "".join(f"{json.dumps(asdict(epoch))}\n" for epoch in self.run.history)
        replace_file(self.folder / METRICS, lines.encode())

    def _record(self) -> None:
        replace_file(self.folder / RUN, json.dumps(self.run.to_dict(), indent=1).encode())


def _is_leftover(entry: Path) -> bool:
    """Whether a run that was killed before it had written anything left this file."""
    return entry.name == LOCK or is_leftover(entry.name)
