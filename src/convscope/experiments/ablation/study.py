"""The paper's Table 2: what each layer and each width is worth, by training without it.

Every variant learns the same images by the same recipe for as many epochs, from several seeds.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch

from convscope.errors import BadOption, NonFinite
from convscope.experiments.ablation.claims import Judged, judge
from convscope.experiments.ablation.variants import (
    NONE,
    PaperRow,
    Variant,
    paper_row,
    parameters_of,
    table2,
)
from convscope.experiments.bench import (
    Bench,
    Training,
    check_seeds,
    measured,
    spread,
)
from convscope.experiments.published import Errors
from convscope.images.image_set import ImageSet
from convscope.network.architectures import Architecture, architecture_named
from convscope.progress import Progress
from convscope.stats import Contrast, contrast
from convscope.store.lock import check_unused
from convscope.training.loop import Lesson, load_lesson
from convscope.training.recipe import Recipe

__all__ = ["Ablation", "Row", "ablate", "planned"]

AT_CHANCE = 0.02  # share of the images by which training must beat the most frequent class


@dataclass(frozen=True)
class Row:
    """A row of the table.

    trainings : one a seed, but for those that diverged, (seed, why)
    effect : on the validation error, less the whole network's; None where either has no training
    paper : the paper's row, where it is one of the paper's
    """

    variant: Variant
    architecture: Architecture
    parameters: int
    trainings: tuple[Training, ...]
    diverged: tuple[tuple[int, str], ...]
    effect: Contrast | None
    paper: PaperRow | None

    def values(self, field: str) -> list[float]:
        """A field of Training over the seeds, where it is known."""
        found = (getattr(training, field) for training in self.trainings)
        return [value for value in found if value is not None]

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        fields = ("train_error", "error", "top5_error", "crops_error", "crops_top5_error")
        beside = self.paper.beside(self.architecture.name) if self.paper else None
        return {
            **self.variant.to_dict(),
            "architecture": self.architecture.to_dict(),
            "parameters": self.parameters,
            **{field: spread(self.values(field)) for field in fields},
            "seconds": spread(self.values("seconds")),
            "effect": None if self.effect is None else self.effect.to_dict(),
            "trainings": [asdict(training) for training in self.trainings],
            "diverged": [{"seed": seed, "why": why} for seed, why in self.diverged],
            "paper": None if beside is None else _papers(*beside),
        }


@dataclass(frozen=True)
class Ablation:
    """What `ablate` returns.

    rows : the whole network first
    claims : what the paper says of its Table 2, put to these figures
    chance : error of always saying the most frequent class of the training images
    """

    architecture: Architecture
    recipe: Recipe
    seeds: tuple[int, ...]
    data: str
    validation: str
    images: tuple[int, int]
    rows: tuple[Row, ...]
    claims: tuple[Judged, ...]
    chance: float

    @property
    def at_chance(self) -> tuple[tuple[str, int], ...]:
        """(variant, seed) of the networks that learned nothing: no better than guessing."""
        return tuple(
            (row.variant.name, training.seed)
            for row in self.rows
            for training in row.trainings
            if training.train_error > self.chance - AT_CHANCE
        )

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {
            "architecture": self.architecture.to_dict(),
            "recipe": replace(self.recipe, seed=self.seeds[0]).to_dict(),
            "seeds": list(self.seeds),
            "data": self.data,
            "validation": self.validation,
            "images": list(self.images),
            "chance": self.chance,
            "rows": [row.to_dict() for row in self.rows],
            "claims": [claim.to_dict() for claim in self.claims],
            "at_chance": [list(each) for each in self.at_chance],
        }


Planned = tuple[tuple[Variant, Architecture], ...]


def planned(architecture: Architecture, variants: Iterable[Variant] | None = None) -> Planned:
    """What would be trained: the whole network, then each variant; None is the paper's Table 2.

    Raises  BadOption: a variant that cannot be made, or two that are one.
    """
    chosen = table2(architecture) if variants is None else tuple(variants)
    plan: list[tuple[Variant, Architecture]] = [(NONE, architecture)]
    for variant in chosen:
        made = variant.applied(architecture)
        if made == architecture and variant.name == NONE.name:
            continue
        for other, there in plan:
            if variant.name == other.name:
                raise BadOption(f"two variants are called {variant.name!r}: give each its name")
            if replace(made, name="") == replace(there, name=""):
                raise BadOption(
                    f"variants {other.name!r} and {variant.name!r} are the same network: "
                    "give one of them"
                )
        plan.append((variant, made))
    return tuple(plan)


def ablate(
    architecture: Architecture | str,
    data: Lesson | tuple[ImageSet, ImageSet],
    recipe: Recipe,
    out: str | os.PathLike[str],
    *,
    variants: Iterable[Variant] | None = None,
    seeds: Sequence[int] = (0, 1, 2),
    device: str | torch.device = "cpu",
    progress: Progress | None = None,
    resume: bool = False,
) -> Ablation:
    """Trains the network and its variants at equal budget, and compares them.

    data : a lesson that is there already (`load_lesson`), or images to learn from and to test on
    variants : None is the paper's Table 2, as far as the network has those layers
    seeds : a training of each from each
    out : a folder, for a run of every training (OUT/runs) and what was measured on it; with
        `resume` a study goes on that was interrupted, or to which variants or seeds are added
    progress : in images learned, over all trainings, and in trainings

    Raises  BadOption: no seed, one given twice, or as `planned`; FolderInUse, BadData: as `train`
            and `Pieces`. A training that diverges is a finding and does not end the study.
    Source: Zeiler & Fergus 2014, §5.1 and Table 2
    """
    if isinstance(architecture, str):
        architecture = architecture_named(architecture)
    check_seeds(seeds)
    planned(architecture, variants)
    check_unused(out, resume=resume)
    lesson = data if isinstance(data, Lesson) else load_lesson(architecture, *data, recipe)
    architecture = architecture.with_classes(len(lesson.pictures.classes))
    plan = planned(architecture, variants)
    with Bench.of(
        architecture, recipe, lesson, out,
        trainings=len(plan) * len(seeds), device=device, progress=progress, resume=resume,
    ) as bench:  # fmt: skip
        recipes = [replace(recipe, seed=seed, keep_epochs=()) for seed in seeds]
        done = {v.name: [_training(bench, made, each) for each in recipes] for v, made in plan}
    rows = [_row(architecture, variant, made, done) for variant, made in plan]
    return Ablation(
        architecture,
        recipe,
        tuple(seeds),
        lesson.pictures.spec,
        lesson.validation.spec,
        (len(lesson.pictures), len(lesson.validation)),
        tuple(rows),
        _claims(rows),
        1 - float(lesson.pictures.labels.bincount().max()) / len(lesson.pictures),
    )


def _training(bench: Bench, architecture: Architecture, recipe: Recipe) -> dict[str, Any]:
    """A Training as a dict, or {"seed", "diverged"}."""
    name = f"{architecture.name} seed={recipe.seed}"

    def made() -> dict[str, Any]:
        try:
            done = bench.trained(name, architecture, recipe)
            return asdict(measured(done, bench.lesson, bench.device))
        except NonFinite as error:
            return {"seed": recipe.seed, "diverged": str(error)}

    return bench.piece(name, made)


def _row(
    architecture: Architecture,
    variant: Variant,
    made: Architecture,
    done: dict[str, list[dict[str, Any]]],
) -> Row:
    found, whole = done[variant.name], _errors(done[NONE.name])
    errors = _errors(found)
    effect = None
    if variant != NONE and errors and whole:
        effect = contrast([(1.0, errors), (-1.0, whole)])
    return Row(
        variant,
        made,
        parameters_of(made),
        tuple(Training(**each) for each in found if "diverged" not in each),
        tuple((each["seed"], each["diverged"]) for each in found if "diverged" in each),
        effect,
        paper_row(architecture, made),
    )


def _errors(done: list[dict[str, Any]]) -> list[float]:
    return [each["error"] for each in done if "diverged" not in each]


def _claims(rows: Sequence[Row]) -> tuple[Judged, ...]:
    known = {
        row.paper.variant.name: (row.values("train_error"), row.values("error"))
        for row in rows
        if row.paper is not None and row.trainings
    }
    return judge(known)


def _papers(column: str, errors: Errors) -> dict[str, Any]:
    return {
        "network": column,
        "train_error": errors.train,
        "error": errors.top1,
        "top5_error": errors.top5,
    }
