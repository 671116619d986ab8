"""The loop of Zeiler & Fergus 2014, §4.1, closed: diagnose, change the architecture, train again.

Both networks learn the same images by the same recipe, for as many epochs, from the same seeds.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor

from convscope.errors import BadOption
from convscope.experiments.bench import Bench, named, runs_in, spread
from convscope.experiments.diagnosis.findings import Finding, Kind, Remedy, Severity
from convscope.experiments.diagnosis.remedies import Change, remedied
from convscope.experiments.diagnosis.study import diagnose
from convscope.experiments.pieces import Pieces
from convscope.images.image_set import ImageSet
from convscope.images.preprocess import middle
from convscope.network.architectures import Architecture
from convscope.network.exported import open_network
from convscope.network.zoo import open_model
from convscope.training.loop import Lesson, TrainingResult, load_lesson
from convscope.training.pictures import Advance
from convscope.training.recipe import Recipe

__all__ = ["Attempt", "Trial", "try_remedies"]

DIAGNOSED = 200  # validation images with which every trained network is diagnosed
TOGETHER = 50


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
    with runs_in(folder) as runs:
        bench = _Bench(Bench(lesson, pieces, runs, device), progress)
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

    def __init__(self, bench: Bench, progress: Advance | None) -> None:
        self.bench, self.progress = bench, progress

    def attempt(self, architecture: Architecture, recipe: Recipe, seed: int) -> Attempt:
        values = dict(self._piece(architecture, recipe, seed)["attempt"])
        return Attempt(**{**values, "faults": tuple(values["faults"])})

    def findings(self, architecture: Architecture, recipe: Recipe) -> tuple[Finding, ...]:
        """Of the network that was trained from the recipe's own seed."""
        found = self._piece(architecture, recipe, recipe.seed)["findings"]
        return tuple(_read(finding) for finding in found)

    def _piece(self, architecture: Architecture, recipe: Recipe, seed: int) -> dict[str, Any]:
        name = f"{architecture.name}, radius={recipe.radius}, seed={seed}"
        return self.bench.piece(
            name,
            architecture,
            replace(recipe, seed=seed),
            lambda done: self._measured(done, seed),
            named(self.progress, name),
        )

    def _measured(self, done: TrainingResult, seed: int) -> dict[str, Any]:
        last = done.history[-1]
        model = open_model(f"run:{done.folder}")
        network = open_network(model.module, model.input_shape).to(self.bench.device)
        diagnosis = diagnose(network, _tests(self.bench.lesson))
        attempt = Attempt(
            seed=seed,
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


def _tests(lesson: Lesson) -> Iterator[Tensor]:
    """Validation images as the network sees them: the middle of each picture."""
    pixels = lesson.validation.pixels[:DIAGNOSED]
    size = lesson.preprocess.shape[1]
    start = middle(pixels.shape[1], size)
    seen = pixels[:, start : start + size, start : start + size]
    for part in seen.split(TOGETHER):
        yield lesson.preprocess.tensors(part.numpy())


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
