"""`convscope diagnose --try`: the remedies applied, both networks trained, and compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from convscope.errors import BadOption
from convscope.experiments.learning import (
    RecipeOptions,
    choose_recipe,
    open_training_images,
    workers_or,
)
from convscope.experiments.options import VALIDATION, Running
from convscope.experiments.study import Context
from convscope.text import counted

if TYPE_CHECKING:
    from convscope.experiments.diagnosis.findings import Finding
    from convscope.experiments.diagnosis.trial import Trial
    from convscope.models.architectures import Architecture
    from convscope.training.recipe import Recipe

__all__ = ["TryOptions", "check_trial", "run_trial"]

SEEDS = 3  # trainings of each network
_PANEL = "Trying the remedy"


@dataclass(frozen=True)
class TryOptions:
    """The loop closed: change the architecture as the findings ask, and train again."""

    val: Annotated[
        str | None,
        typer.Option(
            metavar="DATA",
            help=VALIDATION,
            rich_help_panel=_PANEL,
        ),
    ] = None
    try_: Annotated[
        bool,
        typer.Option(
            "--try",
            help="Apply the remedies, train the network with and without them, and compare. For "
            "our own architectures (zfnet-small ..., run:DIR), with labelled --data.",
            rich_help_panel=_PANEL,
        ),
    ] = False
    notes: Annotated[
        bool,
        typer.Option(
            "--notes", help="Act on notes, too, not on faults alone.", rich_help_panel=_PANEL
        ),
    ] = False
    seeds: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="K",
            help=f"Trainings of each network. Default: {SEEDS}.",
            rich_help_panel=_PANEL,
        ),
    ] = None
    recipe: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FILE",
            help="How both are trained, as in `train`. Default: the run's own, or by architecture "
            "and data.",
            rich_help_panel=_PANEL,
        ),
    ] = None
    epochs: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="N", help="Overrides the recipe's value.", rich_help_panel=_PANEL
        ),
    ] = None


def check_trial(trying: TryOptions, model: str, data: str | None, against: str | None) -> None:
    """Refuse options that do not go together with --try.

    Args:
        trying: The options of the trial.
        model: The model, as on the command line.
        data: The images; None where none are given.
        against: The network to compare with; None where none is given.

    Raises:
        BadOption: What --try needs is missing, or options that need --try are there.
    """
    if not trying.try_:
        given = {
            "--val": trying.val,
            "--seeds": trying.seeds,
            "--recipe": trying.recipe,
            "--epochs": trying.epochs,
            "--notes": trying.notes or None,
        }
        for name, value in given.items():
            if value is not None:
                raise BadOption(f"{name} belongs to --try: add it, or leave {name} out")
        return
    if against is not None:
        raise BadOption("--try compares a network with its own remedy: leave --against out")
    if data is None:
        raise BadOption("--try trains: give the labelled images with --data")
    from convscope.models.architectures import ARCHITECTURES

    if not model.startswith("run:") and model.partition("@")[0] not in ARCHITECTURES:
        raise BadOption(
            f"--try cannot change {model}; it can change {', '.join(ARCHITECTURES)}, or run:DIR, a "
            "run of one of them"
        )


def run_trial(
    model: str,
    data: str,
    trying: TryOptions,
    context: Context,
    findings: Sequence[Finding] | None = None,
) -> tuple[Trial, str]:
    """Train the network as it is and with the remedies.

    Args:
        model: the network that is changed.
        data: labelled images, as `train` takes them.
        trying: the options of the trial.
        context: where and how it runs.
        findings: of the model's diagnosis; None diagnoses the first network that is trained.

    Returns:
        The trial, and the validation images, as they are called.
    """
    from convscope.experiments.diagnosis.trial import TrialPlan, try_remedies

    architecture, recipe = _start(model, data, context.running, trying)
    images, validation = open_training_images(data, trying.val, architecture, context.running.seed)
    device, seeds = context.device, trying.seeds or SEEDS
    context.facts(
        {
            "trial": f"{architecture.name}, {counted(recipe.epochs, 'epoch')}, "
            f"{counted(seeds, 'seed')}",
            "images": f"{images.spec}: {len(images)}",
            "val": f"{validation.spec}: {len(validation)}",
            "device": str(device),
        }
    )
    plan = TrialPlan(
        architecture, recipe, findings, trying.notes, range(recipe.seed, recipe.seed + seeds)
    )
    how = replace(context.execution, workers=workers_or(context.running))
    trial = try_remedies(
        plan, (images, validation), out=context.out, resume=context.resume, how=how
    )
    return trial, validation.spec


def _start(
    model: str, data: str, running: Running, trying: TryOptions
) -> tuple[Architecture, Recipe]:
    """The architecture that is changed, and the recipe that both learn by."""
    from convscope.models.architectures import architecture_named
    from convscope.training.checkpoint import read_run

    if not model.startswith("run:"):
        architecture = architecture_named(model.partition("@")[0])
    else:
        run = read_run(Path(model.removeprefix("run:")).expanduser())
        architecture = run.architecture
        if trying.recipe is None:
            wanted: dict[str, Any] = {"epochs": trying.epochs, "batch_size": running.batch_size}
            changes = {key: value for key, value in wanted.items() if value is not None}
            return architecture, replace(run.recipe, keep_epochs=(), seed=running.seed, **changes)
    learning = RecipeOptions(recipe=trying.recipe, epochs=trying.epochs)
    recipe = choose_recipe(learning, architecture.name.split(" ")[0], data, running)
    return architecture, replace(recipe, keep_epochs=())
