"""The loop of Zeiler & Fergus 2014, §4.1, closed: diagnose, change the architecture, train again.

Both networks learn the same images by the same recipe, for as many epochs, from the same seeds.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from convscope.execution import ONE_PROCESS, Execution
from convscope.experiments.diagnosis.diagnosis import diagnose
from convscope.experiments.diagnosis.examined import Examined, examine
from convscope.experiments.diagnosis.findings import Finding
from convscope.experiments.diagnosis.remedies import Change, remedied
from convscope.experiments.training_runner import (
    Training,
    TrainingRunner,
    check_seeds,
    mean_and_spread,
    measured,
)
from convscope.images.fitting import middle
from convscope.images.image_set import ImageSet
from convscope.models.architectures import Architecture
from convscope.models.zoo import open_model
from convscope.stats import Estimate, mean_of
from convscope.training.loop import TrainingData, TrainingResult, load_training_data
from convscope.training.recipe import Recipe

__all__ = ["Attempt", "Trial", "attempted", "try_remedies"]

DIAGNOSED = 200  # validation images with which every trained network is diagnosed
TOGETHER = 50


@dataclass(frozen=True)
class Attempt:
    """One trained network.

    Attributes:
        training: Its errors.
        parameters: How many it has.
        faults: Layer and kind of every fault that its own diagnosis finds.
    """

    training: Training
    parameters: int
    faults: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        faults = list(self.faults)
        return {**self.training.to_dict(), "parameters": self.parameters, "faults": faults}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Attempt:
        """The inverse of `to_dict`."""
        known = dict(values)
        parameters, faults = known.pop("parameters"), tuple(known.pop("faults"))
        return cls(Training(**known), parameters, faults)


@dataclass(frozen=True)
class Trial:
    """What `try_remedies` returns; `before` and `after` hold the seeds in the same order.

    Attributes:
        before: The network as it was, trained; where no remedy could be applied, the one that was
            diagnosed, if it was trained for that.
        after: The network with the remedies, trained; empty where none could be applied.
        examined: The network that the findings are of; None if they were given.
    """

    change: Change
    architecture: Architecture
    findings: tuple[Finding, ...]
    before: tuple[Attempt, ...]
    after: tuple[Attempt, ...]
    examined: Examined | None = None

    @property
    def differences(self) -> tuple[float, ...]:
        """Error after less error before, seed by seed."""
        return tuple(
            b.training.error - a.training.error
            for a, b in zip(self.before, self.after, strict=False)
        )

    @property
    def difference(self) -> Estimate | None:
        """The mean of `differences` and its 95 % interval; None of fewer than two seeds."""
        return mean_of(self.differences) if len(self.differences) > 1 else None

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        sure = self.difference
        between = None if sure is None else [sure.low, sure.high]
        differences = mean_and_spread(self.differences)
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
            "difference": differences and {**differences, "interval": between},
        }


@dataclass(frozen=True)
class TrialPlan:
    """What a trial of the remedies trains.

    Attributes:
        architecture, recipe: of the network as it is.
        findings: what asks for the remedies; None diagnoses the first network that is trained.
        notes: act on notes, too, not on faults alone.
        seeds: a training of each network from each.
    """

    architecture: Architecture
    recipe: Recipe
    findings: Sequence[Finding] | None = None
    notes: bool = False
    seeds: Sequence[int] = (0, 1, 2)

    def remedied(self, findings: Sequence[Finding]) -> Change:
        """What these findings change."""
        return remedied(self.architecture, self.recipe, findings, notes=self.notes)


def try_remedies(
    plan: TrialPlan,
    data: tuple[ImageSet, ImageSet],
    *,
    out: str | os.PathLike[str] | None = None,
    resume: bool = False,
    how: Execution = ONE_PROCESS,
) -> Trial:
    """Train a network as it is and with the remedies, and compare.

    Where no remedy can be applied, there is nothing to compare, and nothing (more) is trained.

    Args:
        plan: what is trained.
        data: the images to learn from, and to test on.
        out: a folder that keeps every finished training, so that an interrupted trial goes on with
            `resume`.
        resume: go on with the trial in that folder.
        how: each training is made by one of the processes; progress is in images learned, over all
            trainings, and in trainings.

    Raises:
        BadOption: no seed, or one given twice.
        FolderInUse, BadData, NonFinite: as `train` and `ResultStore`.
    """
    architecture, findings, seeds = plan.architecture, plan.findings, plan.seeds
    check_seeds(seeds)
    if findings is not None:
        change = plan.remedied(findings)
        if not change.applied:
            return Trial(change, architecture, tuple(findings), (), ())
    lesson = load_training_data(architecture, *data, plan.recipe, how=how)
    plan = replace(plan, recipe=replace(plan.recipe, seed=seeds[0]))
    recipe = plan.recipe
    with TrainingRunner.of(architecture, recipe, lesson, out, resume=resume, how=how) as runner:
        attempts = partial(_attempts, runner, of=2 * len(seeds))
        first, examined = attempts(architecture, [recipe]), None
        if findings is None:
            examined = how.ranks.from_first(lambda: _examined(runner, architecture, recipe))
            findings = examined.diagnosis.findings
        change, asked = plan.remedied(findings), tuple(findings)
        if not change.applied:
            return Trial(change, architecture, asked, first, (), examined)
        untried = [replace(recipe, seed=seed) for seed in seeds[1:]]
        before = (*first, *attempts(architecture, untried))
        remedies = [replace(change.recipe, seed=seed) for seed in seeds]
        after = attempts(change.architecture, remedies)
    return Trial(change, architecture, asked, before, after, examined)


def _attempts(
    runner: TrainingRunner, architecture: Architecture, recipes: Sequence[Recipe], *, of: int
) -> tuple[Attempt, ...]:
    """A network that is trained by each recipe and diagnosed, once for every recipe and seed."""
    names = [_name(architecture, recipe) for recipe in recipes]

    def made(number: int) -> dict[str, Any]:
        done = runner.trained(names[number], architecture, recipes[number])
        attempt, _ = attempted(done, runner.lesson, runner.device)
        return {"attempt": attempt.to_dict()}

    return tuple(Attempt.from_dict(found["attempt"]) for found in runner.each(names, made, of=of))


def _examined(runner: TrainingRunner, architecture: Architecture, recipe: Recipe) -> Examined:
    """The trained network of that recipe and seed, on the first validation images."""
    done = runner.trained(_name(architecture, recipe), architecture, recipe)
    model = open_model(f"run:{done.folder}")
    network = model.network().to(runner.device)
    title = f"{architecture.name}, trained from seed {recipe.seed}"
    return examine(network, model.preprocess, title, list(_tests(runner.lesson)))


def _name(architecture: Architecture, recipe: Recipe) -> str:
    return f"{architecture.name} radius={recipe.radius} seed={recipe.seed}"


def attempted(
    done: TrainingResult, lesson: TrainingData, device: torch.device
) -> tuple[Attempt, tuple[Finding, ...]]:
    """A finished run's network, measured on its lesson and diagnosed."""
    model = open_model(f"run:{done.folder}")
    network = model.network().to(device)
    diagnosis = diagnose(network, _tests(lesson))
    attempt = Attempt(
        measured(done, lesson, device),
        sum(weights.numel() for weights in model.module.parameters()),
        tuple(f"{fault.layer}: {fault.kind}" for fault in diagnosis.faults),
    )
    return attempt, diagnosis.findings


def _tests(lesson: TrainingData) -> Iterator[Tensor]:
    """Validation images as the network sees them: the middle of each picture."""
    pixels = lesson.validation.pixels[:DIAGNOSED]
    size = lesson.preprocess.shape[1]
    start = middle(pixels.shape[1], size)
    seen = pixels[:, start : start + size, start : start + size]
    for part in seen.split(TOGETHER):
        yield lesson.preprocess.tensors(part.numpy())


def _summary(attempts: Sequence[Attempt]) -> dict[str, Any]:
    return {
        "error": mean_and_spread([attempt.training.error for attempt in attempts]),
        "attempts": [attempt.to_dict() for attempt in attempts],
    }
