"""`convscope diagnose --try`: the remedies applied, both networks trained, and compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from convscope import __version__
from convscope.cli.learning import Learning, choose_recipe, open_lesson, workers_or
from convscope.cli.outputs import leave_study
from convscope.cli.screen import Screen
from convscope.errors import BadOption
from convscope.experiments.options import VALIDATION, Running
from convscope.experiments.session import choose_device

if TYPE_CHECKING:
    from convscope.experiments.diagnosis.findings import Finding
    from convscope.experiments.diagnosis.trial import Attempt, Trial
    from convscope.network.architectures import Architecture
    from convscope.training.recipe import Recipe

__all__ = ["TryOptions", "check_trial", "run_trial"]

SEEDS = 3  # trainings of each network
_PANEL = "Trying the remedy"


@dataclass(frozen=True)
class TryOptions:
    """The loop closed: change the architecture as the findings ask, and train again."""

    try_: Annotated[
        bool,
        typer.Option(
            "--try",
            help="Apply the remedies, train the network with and without them, and compare. For "
            "our own architectures (zfnet-small ..., run:DIR), with labelled --data.",
            rich_help_panel=_PANEL,
        ),
    ] = False
    val: Annotated[
        str | None,
        typer.Option(
            metavar="DATA",
            help=VALIDATION,
            rich_help_panel=_PANEL,
        ),
    ] = None
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
    notes: Annotated[
        bool,
        typer.Option(
            "--notes", help="Act on notes, too, not on faults alone.", rich_help_panel=_PANEL
        ),
    ] = False


def check_trial(trying: TryOptions, model: str, data: str | None, against: str | None) -> None:
    """Raises  BadOption: what --try needs is missing, or options that need --try are there."""
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
    from convscope.network.architectures import ARCHITECTURES

    if not model.startswith("run:") and model.partition("@")[0] not in ARCHITECTURES:
        raise BadOption(
            f"--try cannot change {model}; it can change {', '.join(ARCHITECTURES)}, or run:DIR, a "
            "run of one of them"
        )


def run_trial(
    screen: Screen,
    model: str,
    data: str,
    out: Path,
    running: Running,
    trying: TryOptions,
    *,
    resume: bool,
    findings: Sequence[Finding] | None = None,
    result: Mapping[str, Any] | None = None,
    figures: Mapping[str, Any] | None = None,
) -> None:
    """Trains, says what came out, and writes the study.

    findings : of the model's diagnosis; None diagnoses the first network that is trained
    result, figures : of that diagnosis, written with the trial's
    """
    from convscope.experiments.diagnosis.trial import try_remedies
    from convscope.report.diagnosis_figure import diagnosis_figure
    from convscope.report.trial_figure import trial_figure

    architecture, recipe = _start(model, data, running, trying)
    images, validation = open_lesson(data, trying.val, architecture, running.seed)
    device, seeds = choose_device(running.device), trying.seeds or SEEDS
    screen.facts(
        {
            "trial": f"{architecture.name}, {recipe.epochs} epochs, {seeds} seeds",
            "images": f"{images.spec}: {len(images)}",
            "val": f"{validation.spec}: {len(validation)}",
            "device": str(device),
        }
    )
    with screen.progress(out) as progress:
        trial = try_remedies(
            architecture, recipe, images, validation, findings=findings,
            notes=trying.notes, seeds=range(recipe.seed, recipe.seed + seeds),
            out=out, resume=resume, device=device,
            workers=workers_or(running), progress=progress,
        )  # fmt: skip
    screen.say("", *_words(trial))
    written = {**(result or {}), "data": data, "trial": trial.to_dict()}
    shown = {**(figures or {}), **({"trial": trial_figure(trial)} if trial.after else {})}
    if trial.examined is not None:
        written["networks"] = [
            {"model": trial.examined.title, **trial.examined.diagnosis.to_dict()}
        ]
        shown["diagnosis"] = diagnosis_figure([trial.examined], subtitle=f"on {validation.spec}")
    record = {"convscope": __version__, "model": model, "device": str(device), "seed": running.seed}
    leave_study(screen, out, shown, written, record)


def _start(
    model: str, data: str, running: Running, trying: TryOptions
) -> tuple[Architecture, Recipe]:
    """The architecture that is changed, and the recipe that both learn by."""
    from convscope.network.architectures import architecture_named
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
    learning = Learning(recipe=trying.recipe, epochs=trying.epochs)
    recipe = choose_recipe(learning, architecture.name.split(" ")[0], data, running)
    return architecture, replace(recipe, keep_epochs=())


def _words(trial: Trial) -> list[str]:
    from convscope.experiments.diagnosis.findings import Severity

    lines = [f"found: {f.layer}, {f.kind} ({f.severity})" for f in trial.findings]
    lines += [f"applied: {words}" for words in trial.change.applied]
    lines += [f"left to you: {words}" for words in trial.change.left]
    lines += ["", *_rows("before", trial.before), *_rows("after", trial.after)]
    if trial.after:
        return [*lines, "", _outcome(trial)]
    found = any(finding.severity is Severity.FAULT for finding in trial.findings)
    why = "None of its faults has a remedy that can be applied" if found else "No fault was found"
    return [*lines, "", f"{why}: there is nothing to try."]


def _rows(when: str, attempts: Sequence[Attempt]) -> list[str]:
    return [
        f"{when:6}  seed {each.training.seed}  error {each.training.error:6.1%}  "
        f"train {each.training.train_error:6.1%}  {each.parameters:,} weights  "
        f"{each.training.seconds:.0f} s  faults: {'; '.join(each.faults) or 'none'}"
        for each in attempts
    ]


def _outcome(trial: Trial) -> str:
    from convscope.experiments.wording import minus, plus_minus, spread_words

    before, after = (
        spread_words([each.training.error for each in attempts])
        for attempts in (trial.before, trial.after)
    )
    said = f"validation error in % {before} before, {after} after: difference "
    sure = trial.difference
    if sure is None or sure.low is None or sure.high is None:
        return f"{said}{plus_minus(trial.differences[0], None)} points, of one seed"
    interval = minus(f"{100 * sure.low:.1f} to {100 * sure.high:.1f}")
    return f"{said}{plus_minus(sure.mean, sure.deviation)} points (95 % interval {interval})"
