"""`convscope ablate`: what each layer and each width of a network is worth, the paper's Table 2."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from convscope.experiments.learning import (
    RecipeOptions,
    choose_recipe,
    describe,
    open_training_images,
    recipe_preview,
    workers_or,
)
from convscope.experiments.options import ArchOption, CacheOption, ValOption
from convscope.experiments.study import Context, Outcome, Preview, Study
from convscope.version import __version__

if TYPE_CHECKING:
    from convscope.experiments.ablation.variants import Variant
    from convscope.models.architectures import Architecture
    from convscope.training.recipe import Recipe
    from convscope.training.training_data import TrainingData

__all__ = ["AblateStudy", "Varying"]

_PANEL = "Variants"


@dataclass(frozen=True)
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
        """Those that were asked for; None is the paper's table.

        Raises:
            BadOption: a row or a file that cannot be read.
        """
        if self.variant is None and self.variants is None:
            return None
        from convscope.experiments.ablation.variants import Variant, read_variants

        read = () if self.variants is None else read_variants(self.variants)
        return (*read, *(Variant.parse(line) for line in self.variant or ()))


@dataclass(frozen=True)
class AblateStudy(Study):
    """Train a network without some layers, or with other widths, and see what they were worth.

    Every variant is trained on the same images by the same recipe, from several seeds. A table of
    training and validation error, parameters and time, beside the paper's Table 2, and which of its
    claims hold here. Several processes share the trainings with torchrun --nproc-per-node N -m
    convscope ablate.

    Examples:

        convscope ablate --arch zfnet-small --data scenes --out ablation
        convscope ablate --arch zfnet-small --data photos/ --epochs 20 --out narrow
            --variant "no middle: -3 -4" --variant "narrow: 6,7*0.5" --seeds 5
    """

    verb = "ablate"
    out_help = "A new folder: a run of every training, result.json and ablation.png."
    resume_help = (
        "Go on with a study that was interrupted, or to which variants or seeds are added: no "
        "training is done twice."
    )

    arch: ArchOption
    data: Annotated[
        str,
        typer.Option(
            metavar="DATA", help="Labelled images, as `train` takes them.", show_default=False
        ),
    ]
    val: ValOption = None
    cache: CacheOption = None
    learning: RecipeOptions = field(default_factory=RecipeOptions)
    varying: Varying = field(default_factory=Varying)

    def preview(self, context: Context) -> Preview | None:
        if not self.learning.show_recipe:
            return None
        return recipe_preview(choose_recipe(self.learning, self.arch, self.data, context.running))

    def run(self, context: Context) -> Outcome:
        from convscope.experiments.ablation.equal_budget import ablate
        from convscope.models.architectures import architecture_named

        assert context.out is not None
        running, ranks = context.running, context.together()
        recipe = choose_recipe(self.learning, self.arch, self.data, running)
        architecture, variants = architecture_named(self.arch), self.varying.rows()
        lesson = context.lesson or self._read(architecture, recipe, context)
        seeds = range(recipe.seed, recipe.seed + self.varying.seeds)
        ablation = ablate(
            architecture, lesson, recipe, context.out, variants=variants, seeds=seeds,
            device=context.device, progress=context.progress, resume=context.resume, ranks=ranks,
        )  # fmt: skip
        return Outcome(ablation, {"convscope": __version__, "device": str(context.device)})

    def _read(self, architecture: Architecture, recipe: Recipe, context: Context) -> TrainingData:
        """Open and read what is learned, and say what is planned."""
        from convscope.experiments.ablation.equal_budget import planned
        from convscope.training.training_data import load_training_data

        running = context.running
        plan, seeds = planned(architecture, self.varying.rows()), self.varying.seeds
        images, validation = open_training_images(self.data, self.val, architecture, running.seed)
        context.facts(
            {
                "network": self.arch,
                "images": f"{images.spec}: {len(images)}",
                "val": f"{validation.spec}: {len(validation)}",
                "recipe": describe(recipe),
                "trainings": f"{len(plan) * seeds}: {len(plan)} variants, {seeds} seeds",
                "device": str(context.device),
            }
        )

        def load() -> TrainingData:
            return load_training_data(
                architecture, images, validation, recipe,
                cache=self.cache, how=replace(context.execution, workers=workers_or(running)),
            )  # fmt: skip

        return load() if self.cache is None else context.together().in_turn(load)
