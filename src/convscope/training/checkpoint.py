"""A training run on disk: a folder that is readable at any moment.

    run.json                     what is trained on what, by which recipe, and how far it is (`Run`)
    recipe.yaml                  the recipe, with the source of every number
    metrics.jsonl                a line per epoch
    epoch-0005.safetensors       the weights after the recipe's `keep_epochs`
    weights.safetensors          the final weights, there only once training is complete
    state.safetensors            until then: what training goes on with (state.py)
    tensorboard/                 curves for TensorBoard, where they were asked for

Each file of weights says itself how to use it (network/weights.py).
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
from convscope.network.architectures import Architecture, Convnet
from convscope.network.weights import write_network
from convscope.store.atomic import remove_leftovers, replace_file
from convscope.store.lock import LOCK, check_unused, held
from convscope.training.evaluation import Scores
from convscope.training.recipe import Recipe
from convscope.training.recipe_file import recipe_text

__all__ = [
    "STATE",
    "Checkpoint",
    "Epoch",
    "Run",
    "RunFolder",
    "Status",
    "claim",
    "read_run",
    "run_to_resume",
    "tidy",
]

SCHEMA_VERSION = 1
RUN, METRICS, WEIGHTS = "run.json", "metrics.jsonl", "weights.safetensors"
RECIPE, STATE = "recipe.yaml", "state.safetensors"


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
    processes : that share each batch; notes : what a user should know about how it was computed
    tested : the final weights' scores on the validation images
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
    processes: int = 1
    notes: tuple[str, ...] = ()
    tested: tuple[Scores, ...] = ()

    def difference(self, wanted: Run) -> str | None:
        """The first thing in which another training would differ, in words; None: it would not."""
        if differing := self.recipe.difference(wanted.recipe):
            return f"the recipe's {differing}"
        if self.architecture != wanted.architecture:
            there, now = self.architecture, wanted.architecture
            if there.name != now.name:
                return f"the architecture is {there.name} there, {now.name} now"
            if there.classes == now.classes:
                return f"the architecture {there.name} has other layers"
        pairs: dict[str, tuple[object, object]] = {
            "the number of classes": (len(self.classes), len(wanted.classes)),
            "the classes' names": (self.classes, wanted.classes),
        }
        for name in ("data", "validation"):
            mine, theirs = getattr(self, name), getattr(wanted, name)
            for fact in ("count", "identity"):
                pairs[f"the {name}'s {fact}"] = (mine[fact], theirs[fact])
        pairs["the number of processes"] = (self.processes, wanted.processes)
        pairs["the device"] = (self.versions["device"], wanted.versions["device"])
        for name, (there_is, now_is) in pairs.items():
            if there_is != now_is:
                return f"{name} is {_brief(there_is)} there, {_brief(now_is)} now"
        return None

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
        fields["notes"] = tuple(fields.get("notes", ()))
        fields["tested"] = tuple(Scores(**each) for each in fields.get("tested", ()))
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


def run_to_resume(folder: str | os.PathLike[str], *, resume: bool) -> Run | None:
    """The run in a folder that is to go on; None where a new one may begin. Makes nothing.

    Raises  FolderInUse: it holds something that must not be overwritten; BadData: as `read_run`.
    """
    path = Path(folder)
    if not resume or not path.is_dir():
        check_unused(path, resume=False)
        return None
    if (path / RUN).exists():
        return read_run(path)
    strangers = sorted(each.name for each in path.iterdir() if not _is_leftover(each))
    if strangers:
        raise FolderInUse(
            f"{folder} holds {strangers[0]}, but no {RUN}: give a run, or a new folder"
        )
    return None


@contextmanager
def claim(folder: str | os.PathLike[str]) -> Iterator[Path]:
    """Makes the folder, if need be, and holds it for this process; the system lets go of it when
    the process ends, however it ends.

    Raises  FolderInUse: another process is at work there.
    """
    path = Path(folder)
    path.mkdir(parents=True, exist_ok=True)
    busy = f"another process is training in {folder}: wait for it, or stop it first"
    with held(path / LOCK, busy):
        remove_leftovers(path)
        yield path


def tidy(folder: Path) -> None:
    """Removes what a finished run left when it was killed in its very last moment."""
    if any(_is_leftover(entry) or entry.name == STATE for entry in folder.iterdir()):
        with claim(folder):
            (folder / STATE).unlink(missing_ok=True)


class RunFolder:
    """Writes a run into a claimed folder while it happens."""

    def __init__(self, folder: Path, run: Run, preprocess: Preprocess) -> None:
        self.folder, self.run, self.preprocess = folder, run, preprocess
        self._record()
        replace_file(folder / RECIPE, recipe_text(run.recipe).encode())

    def go_back(self, history: tuple[Epoch, ...], checkpoints: tuple[Checkpoint, ...]) -> None:
        """Takes back what came after a state, so that nothing is there twice."""
        self.run = replace(self.run, history=history, checkpoints=checkpoints)
        self._write_metrics()
        self._record()

    def log(self, epoch: Epoch) -> None:
        """Adds an epoch to metrics.jsonl and run.json."""
        self.run = replace(self.run, history=(*self.run.history, epoch))
        self._write_metrics()
        self._record()

    def keep(self, network: Convnet, epoch: int) -> None:
        """Writes the weights after that epoch."""
        file = f"epoch-{epoch:04d}.safetensors"
        kept = Checkpoint(epoch, file, self._write(file, network, epoch))
        self.run = replace(self.run, checkpoints=(*self.run.checkpoints, kept))
        self._record()

    def finish(self, network: Convnet, tested: tuple[Scores, ...] = ()) -> Path:
        """Writes the final weights, and that the run is complete; their path."""
        sha256 = self._write(WEIGHTS, network, self.run.recipe.epochs)
        self.run = replace(self.run, status=Status.FINISHED, weights_sha256=sha256, tested=tested)
        self._record()
        (self.folder / STATE).unlink(missing_ok=True)
        return self.folder / WEIGHTS

    def last_good(self) -> str:
        """The newest weights that are whole and finite, in words."""
        if (self.folder / STATE).exists():
            return f"the last good checkpoint is {self.folder / STATE}"
        if self.run.checkpoints:
            return f"the last good checkpoint is {self.folder / self.run.checkpoints[-1].file}"
        return "no checkpoint was written before"

    def stop(self, status: Status) -> None:
        """Records why no further epoch comes."""
        self.run = replace(self.run, status=status)
        self._record()

    def facts(self, epoch: int) -> dict[str, str]:
        """Metadata of weights. Nothing of the clock: the same training writes the same bytes."""
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
        lines = "".join(f"{json.dumps(asdict(each))}\n" for each in self.run.history)
        replace_file(self.folder / METRICS, lines.encode())

    def _record(self) -> None:
        replace_file(self.folder / RUN, json.dumps(self.run.to_dict(), indent=1).encode())


def _is_leftover(entry: Path) -> bool:
    """Whether a run that was killed before it had written anything left this."""
    return entry.name == LOCK or (entry.name.startswith(".") and entry.suffix == ".tmp")


def _brief(value: object) -> str:
    """A word for a message: identities are long."""
    words = ", ".join(value) if isinstance(value, tuple) else str(value)
    return words if len(words) <= 40 else f"{words[:40]}…"
