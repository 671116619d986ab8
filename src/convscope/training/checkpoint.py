"""A training run on disk: a folder that is readable at any moment.

    run.json                     what is trained on what, by which recipe, and how far it is (`Run`)
    metrics.jsonl                a line per epoch
    epoch-0005.safetensors       the weights after the recipe's `keep_epochs`
    weights.safetensors          the final weights, there only once training is complete

Each file of weights says itself how to use it (network/weights.py).
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from convscope.errors import BadData, FolderInUse
from convscope.images.preprocess import Preprocess
from convscope.network.architectures import Architecture, Convnet
from convscope.network.weights import replace_file, write_network
from convscope.training.recipe import Recipe

__all__ = ["Checkpoint", "Epoch", "Run", "RunFolder", "Status", "check_unused", "claim", "read_run"]

SCHEMA_VERSION = 1
RUN, METRICS, WEIGHTS = "run.json", "metrics.jsonl", "weights.safetensors"


class Status(StrEnum):
    """How far a run is."""

    RUNNING = "running"  # or killed
    FINISHED = "finished"
    DIVERGED = "diverged"


@dataclass(frozen=True)
class Epoch:
    """What an epoch brought. Accuracies are shares, 0..1; losses are mean cross-entropies, nats.

    loss, accuracy : of the training images while they were learned, with dropout
    renormalised : how often a filter was scaled back to the radius
    learning_rate : at the epoch's last step; seconds : of training and validation together
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
class Checkpoint:
    """Kept weights: after which epoch, in which file of the folder, its sha256."""

    epoch: int
    file: str
    sha256: str


@dataclass(frozen=True)
class Run:
    """What run.json says.

    data, validation : spec, identity, count and number of skipped images of each set
    versions : of convscope, torch and the device
    """

    architecture: Architecture
    recipe: Recipe
    classes: tuple[str, ...]
    data: Mapping[str, Any]
    validation: Mapping[str, Any]
    versions: Mapping[str, str]
    status: Status = Status.RUNNING
    checkpoints: tuple[Checkpoint, ...] = ()
    weights_sha256: str | None = None
    history: tuple[Epoch, ...] = field(default=(), repr=False)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"schema_version": SCHEMA_VERSION, **asdict(self)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Run:
        """Raises  TypeError, KeyError, ValueError: not what `to_dict` wrote."""
        fields = dict(values)
        version = fields.pop("schema_version")
        if version != SCHEMA_VERSION:
            raise ValueError(f"schema version {version}, this convscope reads {SCHEMA_VERSION}")
        fields["architecture"] = Architecture.from_dict(fields["architecture"])
        fields["recipe"] = Recipe.from_dict(fields["recipe"])
        fields["classes"] = tuple(fields["classes"])
        fields["status"] = Status(fields["status"])
        fields["checkpoints"] = tuple(Checkpoint(**each) for each in fields["checkpoints"])
        fields["history"] = tuple(Epoch(**each) for each in fields["history"])
        return cls(**fields)


def read_run(folder: str | os.PathLike[str]) -> Run:
    """Raises  BadData: no run in that folder, or its run.json cannot be read."""
    path = Path(folder) / RUN
    try:
        return Run.from_dict(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise BadData(
            f"{folder} holds no {RUN}: give a folder that 'convscope train' made"
        ) from None
    except (OSError, ValueError, TypeError, KeyError) as error:
        words = " ".join(str(error).split())
        raise BadData(
            f"{path} cannot be read ({words}): train again into another folder"
        ) from error


def claim(folder: str | os.PathLike[str]) -> Path:
    """Makes the folder, if need be, for a run. Raises as `check_unused` does."""
    path = check_unused(folder)
    path.mkdir(parents=True, exist_ok=True)
    return path


def check_unused(folder: str | os.PathLike[str]) -> Path:
    """Whether a run may go there; makes nothing.

    Raises  FolderInUse: it holds something already, which is never overwritten.
    """
    path = Path(folder)
    if path.exists() and not path.is_dir():
        raise FolderInUse(f"{folder} is a file: give a folder for the run")
    if path.is_dir() and any(path.iterdir()):
        raise FolderInUse(f"{folder} is not empty: give a new folder, or remove this one")
    return path


class RunFolder:
    """Writes a run into a claimed folder while it happens."""

    def __init__(self, folder: Path, run: Run, preprocess: Preprocess) -> None:
        self.folder, self.run, self.preprocess = folder, run, preprocess
        self._record()

    def log(self, epoch: Epoch) -> None:
        """Adds an epoch to metrics.jsonl and run.json."""
        self.run = replace(self.run, history=(*self.run.history, epoch))
        lines = "".join(f"{json.dumps(asdict(each))}\n" for each in self.run.history)
        replace_file(self.folder / METRICS, lines.encode())
        self._record()

    def keep(self, network: Convnet, epoch: int) -> None:
        """Writes the weights after that epoch."""
        file = f"epoch-{epoch:04d}.safetensors"
        kept = Checkpoint(epoch, file, self._write(file, network, epoch))
        self.run = replace(self.run, checkpoints=(*self.run.checkpoints, kept))
        self._record()

    def finish(self, network: Convnet) -> Path:
        """Writes the final weights, and that the run is complete; their path."""
        sha256 = self._write(WEIGHTS, network, self.run.recipe.epochs)
        self.run = replace(self.run, status=Status.FINISHED, weights_sha256=sha256)
        self._record()
        return self.folder / WEIGHTS

    def stop(self, status: Status) -> None:
        """Records why no further epoch comes."""
        self.run = replace(self.run, status=status)
        self._record()

    def _write(self, file: str, network: Convnet, epoch: int) -> str:
        facts = {  # nothing of the clock: the same training writes the same bytes
            "epoch": str(epoch),
            "recipe": json.dumps(self.run.recipe.to_dict()),
            "data": json.dumps(dict(self.run.data)),
            **self.run.versions,
        }
        if self.run.history:
            facts["val_accuracy"] = f"{self.run.history[-1].val_accuracy:.4f}"
        path = self.folder / file
        return write_network(path, network, self.preprocess, self.run.classes, facts)

    def _record(self) -> None:
        replace_file(self.folder / RUN, json.dumps(self.run.to_dict(), indent=1).encode())
