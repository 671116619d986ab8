"""Networks trained at equal budget, with and without some of their layers: the paper's Table 2.

Every variant learns the same images by the same recipe for as many epochs, from several seeds.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from convscope.distributed import ALONE, Ranks
from convscope.errors import BadOption, NonFinite
from convscope.execution import Execution
from convscope.experiments.ablation.claims import JudgedClaim, judge
from convscope.experiments.ablation.table import Ablation, VariantRow
from convscope.experiments.ablation.variants import (
    NONE,
    Variant,
    paper_row,
    parameters_of,
    table2,
)
from convscope.experiments.training_runner import Training, TrainingRunner, check_seeds, measured
from convscope.images.image_set import ImageSet
from convscope.models.architectures import Architecture, architecture_named
from convscope.progress import Progress
from convscope.stats import contrast_of_means
from convscope.store.lock import check_unused
from convscope.training.loop import TrainingData, load_training_data
from convscope.training.recipe import Recipe

__all__ = ["ablate", "planned"]

Planned = tuple[tuple[Variant, Architecture], ...]
Outcomes = Mapping[str, Sequence[dict[str, Any]]]
"""By variant, for each seed: a `Training` as a dict, or {"seed", "diverged"}."""


def planned(architecture: Architecture, variants: Iterable[Variant] | None = None) -> Planned:
    """List what would be trained: the whole network, then each variant.

    Args:
        architecture: The whole network.
        variants: What to change in it; None: the paper's Table 2.

    Raises:
        BadOption: A variant cannot be made, or two are the same.
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
    data: TrainingData | tuple[ImageSet, ImageSet],
    recipe: Recipe,
    out: str | os.PathLike[str],
    *,
    variants: Iterable[Variant] | None = None,
    seeds: Sequence[int] = (0, 1, 2),
    device: str | torch.device = "cpu",
    progress: Progress | None = None,
    resume: bool = False,
    ranks: Ranks = ALONE,
) -> Ablation:
    """Train a network and its variants at equal budget, and compare them.

    Args:
        architecture: the whole network, or its name.
        data: training data that is there already (`load_training_data`), or images to learn from
            and to test on.
        recipe: that all of them learn by.
        out: a folder, for a run of every training (OUT/runs) and what was measured on it.
        variants: None is the paper's Table 2, as far as the network has those layers.
        seeds: a training of each network from each.
        device: where this process trains.
        progress: called with (what, done, total), in images learned over all trainings, and in
            trainings.
        resume: go on with a study that was interrupted, or to which variants or seeds are added.
        ranks: the processes that share the trainings; each is made by one of them, so that the
            result is that of one process.

    Returns:
        The table. A training that diverges is a finding and does not end the study.

    Raises:
        BadOption: no seed, one given twice, or as `planned`.
        FolderInUse, BadData: as `train` and `ResultStore`.

    Source:
        Zeiler & Fergus 2014, §5.1 and Table 2.

    Example:
        >>> images = convscope.open_images("scenes:train"), convscope.open_images("scenes:val")
        >>> convscope.ablate("zfnet-small", images, recipe_named("small"), "ablation", seeds=[0])
    """
    if isinstance(architecture, str):
        architecture = architecture_named(architecture)
    check_seeds(seeds)
    planned(architecture, variants)
    if ranks.first:
        check_unused(out, resume=resume)
    lesson = (
        data if isinstance(data, TrainingData) else load_training_data(architecture, *data, recipe)
    )
    architecture = architecture.with_classes(len(lesson.pictures.classes))
    plan = planned(architecture, variants)
    with TrainingRunner.of(
        architecture, recipe, lesson, out,
        resume=resume, how=Execution(device, ranks=ranks, progress=progress),
    ) as runner:  # fmt: skip
        done = _outcomes(runner, plan, [replace(recipe, seed=s, keep_epochs=()) for s in seeds])
    rows = tuple(_row(architecture, variant, made, done) for variant, made in plan)
    return Ablation(
        architecture=architecture,
        recipe=replace(recipe, seed=seeds[0]),
        seeds=tuple(seeds),
        data=lesson.pictures.spec,
        validation=lesson.validation.spec,
        images=(len(lesson.pictures), len(lesson.validation)),
        chance=1 - float(lesson.pictures.labels.bincount().max()) / len(lesson.pictures),
        rows=rows,
        claims=_claims(rows),
    )


def _outcomes(runner: TrainingRunner, plan: Planned, recipes: Sequence[Recipe]) -> Outcomes:
    """Every variant by every recipe, which differ in their seeds."""
    jobs = [(architecture, recipe) for _, architecture in plan for recipe in recipes]
    names = [f"{architecture.name} seed={recipe.seed}" for architecture, recipe in jobs]

    def trained(number: int) -> dict[str, Any]:
        architecture, recipe = jobs[number]
        try:
            done = runner.trained(names[number], architecture, recipe)
            return measured(done, runner.lesson, runner.device).to_dict()
        except NonFinite as error:
            return {"seed": recipe.seed, "diverged": str(error)}

    found = iter(runner.each(names, trained))
    return {variant.name: [next(found) for _ in recipes] for variant, _ in plan}


def _row(
    architecture: Architecture, variant: Variant, made: Architecture, done: Outcomes
) -> VariantRow:
    found, whole = done[variant.name], _errors(done[NONE.name])
    errors = _errors(found)
    effect = None
    if variant != NONE and errors and whole:
        effect = contrast_of_means([(1.0, errors), (-1.0, whole)])
    return VariantRow(
        variant=variant,
        architecture=made,
        parameters=parameters_of(made),
        trainings=tuple(Training(**each) for each in found if "diverged" not in each),
        diverged=tuple((each["seed"], each["diverged"]) for each in found if "diverged" in each),
        effect=effect,
        paper=paper_row(architecture, made),
    )


def _errors(done: Sequence[dict[str, Any]]) -> list[float]:
    return [outcome["error"] for outcome in done if "diverged" not in outcome]


def _claims(rows: Sequence[VariantRow]) -> tuple[JudgedClaim, ...]:
    known = {
        row.paper.variant.name: (row.values("train_error"), row.values("error"))
        for row in rows
        if row.paper is not None and row.trainings
    }
    return judge(known)
