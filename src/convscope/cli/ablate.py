"""`convscope ablate`: what each layer and each width of a network is worth, the paper's Table 2."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from convscope import __version__
from convscope.cli.learning import (
    Learning,
    choose_recipe,
    describe,
    open_lesson,
    show_recipe,
    workers_or,
)
from convscope.cli.outputs import leave_study
from convscope.cli.screen import Screen
from convscope.experiments.options import ArchOption, CacheOption, Running, ValOption
from convscope.experiments.session import choose_device
from convscope.store.lock import check_unused
from convscope.text import table

if TYPE_CHECKING:
    from convscope.experiments.ablation.study import Ablation, Row
    from convscope.experiments.ablation.variants import Variant

__all__ = ["ablate"]

_PANEL = "Variants"


@dataclasses.dataclass(frozen=True)
class Varying:
    """Which rows the table has."""

    variant: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME: CHANGES",
            help="A row of the table; repeatable: 'no middle: -3 -4' leaves layers out, "
            "'narrow: 6,7*0.5 3=64' changes widths. Default: the paper's Table 2.",
            show_default=False,
            rich_help_panel=_PANEL,
        ),
    ] = None
    variants: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Such rows, one per line; or FILE.yaml, a mapping of names to changes.",
            show_default=False,
            rich_help_panel=_PANEL,
        ),
    ] = None
    seeds: Annotated[
        int,
        typer.Option(min=1, metavar="K", help="Trainings per variant.", rich_help_panel=_PANEL),
    ] = 3

    def rows(self) -> tuple[Variant, ...] | None:
        """Those that were asked for; None is the paper's table. Raises  BadOption: no rows."""
        if self.variant is None and self.variants is None:
            return None
        from convscope.experiments.ablation.variants import Variant, read_variants

        read = () if self.variants is None else read_variants(self.variants)
        return (*read, *(Variant.parse(line) for line in self.variant or ()))


def ablate(
    arch: ArchOption,
    data: Annotated[
        str,
        typer.Option(
            metavar="DATA", help="Labelled images, as `train` takes them.", show_default=False
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            metavar="DIR",
            help="A new folder: a run of every training, result.json and ablation.png.",
            show_default=False,
        ),
    ],
    varying: Varying,
    learning: Learning,
    running: Running,
    val: ValOption = None,
    cache: CacheOption = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Go on with a study that was interrupted, or to which variants or seeds are "
            "added: no training is done twice.",
        ),
    ] = False,
) -> None:
    """Train a network without some layers, or with other widths, and see what they were worth.

    Every variant is trained on the same images by the same recipe, from several seeds. A table of
    training and validation error, parameters and time, beside the paper's Table 2, and which of its
    claims hold here.

    Examples:

        convscope ablate --arch zfnet-small --data scenes --out ablation
        convscope ablate --arch zfnet-small --data photos/ --epochs 20 --out narrow
            --variant "no middle: -3 -4" --variant "narrow: 6,7*0.5" --seeds 5
    """
    screen = Screen(running.as_json)
    recipe = choose_recipe(learning, arch, data, running)
    if learning.show_recipe:
        show_recipe(recipe, running)
        return
    variants = varying.rows()
    device = choose_device(running.device)
    from convscope.experiments.ablation.study import ablate as study
    from convscope.experiments.ablation.study import planned
    from convscope.network.architectures import architecture_named
    from convscope.training.lesson import load_lesson

    architecture = architecture_named(arch)
    plan = planned(architecture, variants)
    check_unused(out, resume=resume)
    images, validation = open_lesson(data, val, architecture, running.seed)
    screen.facts(
        {
            "network": arch,
            "images": f"{images.spec}: {len(images)}",
            "val": f"{validation.spec}: {len(validation)}",
            "recipe": describe(recipe),
            "trainings": f"{len(plan) * varying.seeds}: {len(plan)} variants, "
            f"{varying.seeds} seeds",
            "device": str(device),
        }
    )
    with screen.progress(out) as progress:
        lesson = load_lesson(
            architecture, images, validation, recipe,
            workers=workers_or(running), cache=cache, progress=progress,
        )  # fmt: skip
        found = study(
            architecture, lesson, recipe, out, variants=variants, device=device,
            seeds=range(recipe.seed, recipe.seed + varying.seeds),
            progress=progress, resume=resume,
        )  # fmt: skip
    _write(screen, found, out, {"convscope": __version__, "device": str(device)})


def _write(screen: Screen, found: Ablation, out: Path, record: dict[str, Any]) -> None:
    from convscope.report.ablation_figure import ablation_figure

    screen.say("", *_table(found), "", *_claims(found))
    for row in found.rows:
        for seed, why in row.diverged:
            screen.warn(f"{row.variant.name}, seed {seed}, diverged and does not count: {why}")
    for name, seed in found.at_chance:
        screen.warn(f"{name}, seed {seed}, learned nothing: no better than guessing")
    leave_study(screen, out, {"ablation": ablation_figure(found)}, found.to_dict(), record)


# ---- words ------------------------------------------------------------------------------------


def _table(found: Ablation) -> list[str]:
    """A line per variant; errors as mean ± standard deviation over the seeds, %."""
    from convscope.experiments.wording import spread_words

    crops = any(row.values("crops_error") for row in found.rows)
    head = ["variant", "train", "val", "top-5", *(["10 crops"] if crops else []), "effect"]
    head += ["parameters", "seconds", "paper: train", "val", "top-5"]
    fields = ["train_error", "error", "top5_error", *(["crops_error"] if crops else [])]
    rows = []
    for row in found.rows:
        cells = [row.variant.name, *(spread_words(row.values(field)) for field in fields)]
        cells += [_effect(row), f"{row.parameters:,}", _seconds(row), *_paper(row)]
        rows.append(cells)
    counted = f"{len(found.seeds)} seeds" if len(found.seeds) > 1 else "one seed"
    return [
        f"errors, %, mean ± standard deviation over {counted}; guessing {100 * found.chance:.1f}",
        *table(head, rows),
    ]


def _effect(row: Row) -> str:
    """On the validation error, points."""
    return "" if row.effect is None else f"{100 * row.effect.value:+.1f}"


def _seconds(row: Row) -> str:
    values = row.values("seconds")
    return f"{sum(values) / len(values):.0f}" if values else "-"


def _paper(row: Row) -> list[str]:
    if row.paper is None:
        return ["", "", ""]
    from convscope.experiments.published import NAMES

    column, errors = row.paper.beside(row.architecture.name)
    return [f"{NAMES[column]} {errors[0]}", f"{errors[1]}", f"{errors[2]}"]


def _claims(found: Ablation) -> list[str]:
    lines = []
    for judged in found.claims:
        lines += [f"{judged.verdict}: {judged.claim.words}", f"    {judged.evidence}"]
    return lines
