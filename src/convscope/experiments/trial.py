"""The loop of Zeiler & Fergus 2014, §4.1, closed: diagnose, change the architecture, train again.

Both networks learn the same images by the same recipe, for as many epochs, from the same seeds.
"""

from __future__ import annotations

import os
import shutil
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from convscope.errors import BadOption
from convscope.images.image_set import ImageSet
from convscope.images.preprocess import middle
from convscope.network.architectures import Architecture
from convscope.network.exported import open_network
from convscope.network.zoo import open_model
from convscope.training.loop import Lesson, load_lesson, train_on
from convscope.training.pictures import Advance
from convscope.training.recipe import Recipe

from .diagnosis import diagnose
from .findings import Finding, Kind, Remedy, Severity
from .pieces import Pieces
from .remedies import Change, remedied

__all__ = ["Attempt", "Trial", "try_remedies"]

DIAGNOSED = 200  # validation images with which every trained network is diagnosed
TOGETHER = 50
RUNS = "runs"


@dataclass(frozen=True)
class Attempt:
    """One trained network. Errors are shares of the validation images, 0..1.

    faults : layer and kind of every fault that its own diagnosis finds
    """

    seed: int
    error: float
    top5_error: float
    train_error: float
    parameters: int
    seconds: float
    faults: tuple[str, ...]


@dataclass(frozen=True)
class Trial:
    """What `try_remedies` returns; `before` and `after` hold the seeds in the same order.

    after : empty where no remedy could be applied
    """

    change: Change
    architecture: Architecture
    findings: tuple[Finding, ...]
    before: tuple[Attempt, ...]
    after: tuple[Attempt, ...]

    @property
    def differences(self) -> tuple[float, ...]:
        """Error after less error before, seed by seed."""
        return tuple(b.error - a.error for a, b in zip(self.before, self.after, strict=False))

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {
            "before": {
                "architecture": self.architecture.to_dict(),
                **_summary(self.before),
            },
            "after": {
                "architecture": self.change.architecture.to_dict(),
                "recipe": self.change.recipe.to_dict(),
                **_summary(self.after),
            },
            "applied": list(self.change.applied),
            "left": list(self.change.left),
            "findings": [finding.to_dict() for finding in self.findings],
            "difference": spread(self.differences),
        }


def try_remedies(
    architecture: Architecture,
    recipe: Recipe,
    images: ImageSet,
    validation: ImageSet,
    *,
    findings: Sequence[Finding] | None = None,
    seeds: int = 3,
    folder: str | os.PathLike[str] | None = None,
    resume: bool = False,
    device: str | torch.device = "cpu",
    workers: int = 0,
    progress: Advance | None = None,
) -> Trial:
    """Trains the network as it is and with the remedies, and compares.

    findings : what asks for the remedies; None diagnoses the first network that was trained here
    seeds : recipe.seed and those that follow, one training of each network with each
    folder : keeps every finished training, so that an interrupted trial goes on with `resume`

    Raises  BadOption: no seed;  FolderInUse, BadData, NonFinite: as `train` and `Pieces`.
    """
    if seeds < 1:
        raise BadOption(f"a trial with {seeds} seeds: give at least 1")
    lesson = load_lesson(
        architecture, images, validation, recipe, workers=workers, progress=progress
    )
    settings = {
        "architecture": architecture.to_dict(),
        "recipe": replace(recipe, seed=0).to_dict(),
        "data": lesson.pictures.identity,
        "validation": lesson.validation.identity,
    }
    pieces = Pieces(folder, settings, resume=resume)
    with ExitStack() as stack:
        runs = Path(folder) / RUNS if folder else Path(stack.enter_context(_temporary()))
        bench = _Bench(lesson, pieces, runs, torch.device(device), progress)
        numbers = range(recipe.seed, recipe.seed + seeds)
        before = [bench.attempt(architecture, recipe, seed) for seed in numbers]
        asked = bench.findings(architecture, recipe) if findings is None else tuple(findings)
        change = remedied(architecture, recipe, asked)
        after = [
            bench.attempt(change.architecture, change.recipe, seed)
            for seed in numbers
            if change.applied
        ]
    return Trial(change, architecture, asked, tuple(before), tuple(after))


class _Bench:
    """Trains, diagnoses, and keeps what came out, once for every network and seed."""

    def __init__(
        self,
        lesson: Lesson,
        pieces: Pieces,
        runs: Path,
        device: torch.device,
        progress: Advance | None,
    ) -> None:
        self.lesson, self.pieces, self.runs = lesson, pieces, runs
        self.device, self.progress = device, progress

    def attempt(self, architecture: Architecture, recipe: Recipe, seed: int) -> Attempt:
        values = dict(self._piece(architecture, recipe, seed)["attempt"])
        return Attempt(**{**values, "faults": tuple(values["faults"])})

    def findings(self, architecture: Architecture, recipe: Recipe) -> tuple[Finding, ...]:
        """Of the network that was trained from the recipe's own seed."""
        found = self._piece(architecture, recipe, recipe.seed)["findings"]
        return tuple(_read(finding) for finding in found)

    def _piece(self, architecture: Architecture, recipe: Recipe, seed: int) -> dict[str, Any]:
        name = f"{architecture.name}, radius={recipe.radius}, seed={seed}"
        return self.pieces.get(
            name, lambda: self._made(architecture, replace(recipe, seed=seed), name)
        )

    def _made(self, architecture: Architecture, recipe: Recipe, name: str) -> dict[str, Any]:
        out = self.runs / name.replace("/", "-")
        if out.exists():  # a training that was interrupted: its piece is not there
            shutil.rmtree(out)
        done = train_on(
            architecture, self.lesson, recipe, out, device=self.device, progress=self._named(name)
        )
        last = done.history[-1]
        model = open_model(f"run:{out}")
        network = open_network(model.module, model.input_shape).to(self.device)
        diagnosis = diagnose(network, self._tests())
        attempt = Attempt(
            seed=recipe.seed,
            error=1 - last.val_accuracy,
            top5_error=1 - last.val_top5,
            train_error=1 - last.accuracy,
            parameters=sum(p.numel() for p in model.module.parameters()),
            seconds=round(sum(epoch.seconds for epoch in done.history), 3),
            faults=tuple(f"{fault.layer}: {fault.kind}" for fault in diagnosis.faults),
        )
        return {
            "attempt": asdict(attempt),
            "findings": [finding.to_dict() for finding in diagnosis.findings],
        }

    def _tests(self) -> Iterator[Tensor]:
        """Validation images as the network sees them: the middle of each picture."""
        pixels = self.lesson.validation.pixels[:DIAGNOSED]
        size = self.lesson.preprocess.shape[1]
        start = middle(pixels.shape[1], size)
        seen = pixels[:, start : start + size, start : start + size]
        for part in seen.split(TOGETHER):
            yield self.lesson.preprocess.tensors(part.numpy())

    def _named(self, name: str) -> Advance | None:
        """Progress that says which training it is of."""
        tell = self.progress
        if tell is None:
            return None
        return lambda what, done, total: tell(f"{name}: {what}", done, total)


def spread(values: Sequence[float]) -> dict[str, Any] | None:
    """Mean and sample standard deviation (None of one value), and the values."""
    if not values:
        return None
    deviation = statistics.stdev(values) if len(values) > 1 else None
    return {"mean": statistics.fmean(values), "std": deviation, "values": list(values)}


def _summary(attempts: Sequence[Attempt]) -> dict[str, Any]:
    return {
        "error": spread([each.error for each in attempts]),
        "attempts": [asdict(each) for each in attempts],
    }


def _read(values: dict[str, Any]) -> Finding:
    """A finding from its dict."""
    return Finding(
        **{
            **values,
            "kind": Kind(values["kind"]),
            "severity": Severity(values["severity"]),
            "units": tuple(values["units"]),
            "remedies": tuple(Remedy(remedy) for remedy in values["remedies"]),
        }
    )


def _temporary() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="convscope-trial-")
