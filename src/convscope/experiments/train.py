"""`convscope train`: one of the paper's networks, learning from labelled images."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from convscope.errors import BadOption, NonFinite
from convscope.experiments.learning import (
    RecipeOptions,
    choose_recipe,
    describe,
    epoch_line,
    open_training_images,
    recipe_preview,
    workers_or,
)
from convscope.experiments.options import ArchOption, ValOption
from convscope.experiments.study import Context, Outcome, Preview, Result, Study
from convscope.text import table
from convscope.version import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence

    from convscope.images.image_set import ImageSet
    from convscope.models.architectures import Architecture
    from convscope.training.checkpoint import PretrainedLayer
    from convscope.training.evaluation import CropScores
    from convscope.training.loop import CheckpointPolicy, TrainingResult
    from convscope.training.recipe import Recipe

__all__ = ["Storing", "TrainStudy", "TrainedNetwork"]

_KEEPING = "Keeping"


@dataclass(frozen=True)
class TrainedNetwork(Result):
    """A training that is finished, or was stopped.

    Attributes:
        run: its folder, the epochs, and what the final weights are worth.
        recipe: how it was trained.
    """

    run: TrainingResult
    recipe: Recipe

    def to_dict(self) -> dict[str, Any]:
        pretraining = [asdict(layer) for layer in self.run.pretraining]
        return {
            "weights": str(self.run.weights),
            "recipe": self.recipe.to_dict(),
            "history": [asdict(epoch) for epoch in self.run.history],
            "tested": [asdict(scores) for scores in self.run.tested],
            "already": self.run.already,
            **({"pretraining": pretraining} if pretraining else {}),
        }

    def words(self) -> list[str]:
        done = ["Already finished, nothing was done."] if self.run.already else []
        return [
            *_pretraining_lines(self.run.pretraining),
            *map(epoch_line, self.run.history),
            *map(_score_line, self.run.tested),
            "",
            *done,
            f"To be opened as run:{self.run.folder}",
        ]


def _pretraining_lines(layers: Sequence[PretrainedLayer]) -> list[str]:
    """A row per layer that learned without labels first; none of a training that did not."""
    if not layers:
        return []
    from convscope.experiments.number_words import percent

    epochs = range(1, len(layers[0].losses) + 1)
    head = ("without labels", *(f"epoch {epoch}" for epoch in epochs))
    rows = [(layer.layer, *(percent(loss, 1) for loss in layer.losses)) for layer in layers]
    return [*table(head, rows), "squared error of the rebuilt input, of that of its mean", ""]


def _score_line(scores: CropScores) -> str:
    """The final weights' scores on the validation images, in a line."""
    how = "the middle of each picture" if scores.crops == 1 else "10 crops, averaged"
    return (
        f"final weights, {how}: loss {scores.loss:.3f}  top-1 {scores.top1:.1%}  "
        f"top-5 {scores.top5:.1%}"
    )


@dataclass(frozen=True)
class Storing:
    """What a training keeps on disk while it runs.

    Attributes:
        checkpoint_every: seconds between two checkpoints.
        cache: the folder of decoded images; None keeps them in memory.
        tensorboard: write curves for TensorBoard.
    """

    checkpoint_every: Annotated[
        float,
        typer.Option(
            min=0,
            metavar="SECONDS",
            help="Between two checkpoints: the most that a kill undoes. Each epoch ends with one, "
            "too.",
            rich_help_panel=_KEEPING,
        ),
    ] = 300.0
    cache: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Decode the images once into a file there, and read that: for sets that do "
            "not fit in memory. Default: in memory.",
            rich_help_panel=_KEEPING,
        ),
    ] = None
    tensorboard: Annotated[
        bool,
        typer.Option(
            "--tensorboard",
            help="Write curves for TensorBoard to RUN/tensorboard.",
            rich_help_panel=_KEEPING,
        ),
    ] = False

    def policy(self, resume: bool) -> CheckpointPolicy:
        """The same as the training loop takes it."""
        from convscope.training.loop import CheckpointPolicy

        return CheckpointPolicy(resume, self.checkpoint_every, self.tensorboard, self.cache)


@dataclass(frozen=True)
class TrainStudy(Study):
    """Train a network of the paper, with its recipe.

    Stochastic gradient descent with momentum, dropout and filter renormalisation. The run's
    folder holds the weights of chosen epochs and the curves; open it as run:RUN. Several processes
    share the work with torchrun --nproc-per-node N -m convscope train (docs/scale.md).

    Examples:

        convscope train --arch zfnet-small --data scenes --out runs/zfnet
        convscope train --arch zfnet --data photos/ --epochs 20 --out runs/photos --resume
        convscope train --recipe paper --show-recipe
    """

    verb = "train"
    out_help = "A new folder for the run."
    out_metavar = "RUN"
    out_needed = False
    own_files = True
    resume_help = (
        "Go on with the run in RUN, to the same weights as if it had not been interrupted; begin "
        "it if there is none."
    )

    arch: ArchOption = ""
    data: Annotated[
        str,
        typer.Option(
            metavar="DATA",
            help="Labelled images: a folder or zip with a folder per class, or with folders "
            "train/ and val/ of them; scenes; torchvision:NAME.",
            show_default=False,
        ),
    ] = ""
    val: ValOption = None
    learning: RecipeOptions = field(default_factory=RecipeOptions)
    storing: Storing = field(default_factory=Storing)

    def preview(self, context: Context) -> Preview | None:
        """The recipe, where it is asked for; it needs no folder.

        Raises:
            BadOption: no folder, no architecture or no images are given, a wrong recipe, or
                --tensorboard without its package.
        """
        recipe = choose_recipe(self.learning, self.arch, self.data, context.running)
        if self.learning.show_recipe:
            return recipe_preview(recipe)
        given = (("--arch", self.arch), ("--data", self.data), ("--out", context.out))
        if missing := [name for name, value in given if not value]:
            raise BadOption(f"train needs {' and '.join(missing)} (see convscope train --help)")
        if self.storing.tensorboard:
            from convscope.training.tensorboard_logger import summary_writer

            summary_writer()  # refuses before anything is read where it is not installed
        return None

    def run(self, context: Context) -> Outcome:
        from convscope.models.architectures import architecture_named

        recipe = choose_recipe(self.learning, self.arch, self.data, context.running)
        return self.train(architecture_named(self.arch), recipe, context)

    def train(self, architecture: Architecture, recipe: Recipe, context: Context) -> Outcome:
        """Train this network by this recipe, in place of those that the options name.

        Raises:
            BadData, FolderInUse, NonFinite: as `training.loop.train`.
        """
        from convscope.training import loop

        assert context.out is not None
        out, keeping = context.out, self.storing.policy(context.resume)
        how = replace(context.execution, workers=workers_or(context.running))
        try:
            if context.lesson is not None:
                result = loop.train_on(
                    architecture, context.lesson, recipe, out, keeping=keeping, how=how
                )  # fmt: skip
            else:
                images, validation = open_training_images(
                    self.data, self.val, architecture, context.running.seed
                )
                context.facts(_facts(architecture, images, validation, recipe, context))
                result = loop.train(
                    architecture, (images, validation), recipe, out, keeping=keeping, how=how
                )  # fmt: skip
        except (NonFinite, KeyboardInterrupt):
            _draw_stopped(out, recipe, context)
            raise
        return Outcome(TrainedNetwork(result, recipe), {"convscope": __version__})


def _draw_stopped(out: Path, recipe: Recipe, context: Context) -> None:
    """Draw the epochs of a training that was stopped, if it had any."""
    from convscope.training.checkpoint import RUN, WEIGHTS, read_run
    from convscope.training.loop import TrainingResult

    if context.drawing is not None and (out / RUN).exists():
        run = TrainingResult(out, out / WEIGHTS, read_run(out).history)
        context.drawing.page(TrainedNetwork(run, recipe), out)


def _facts(
    architecture: Architecture,
    images: ImageSet,
    validation: ImageSet,
    recipe: Recipe,
    context: Context,
) -> dict[str, str]:
    """What is used, for a person."""
    notes, ranks = recipe.notes(), context.together()
    return {
        "network": architecture.name,
        "images": f"{images.spec}: {len(images)}",
        "val": f"{validation.spec}: {len(validation)}",
        "recipe": describe(recipe),
        "device": f"{context.device}{f', {ranks.count} processes' if ranks.count > 1 else ''}",
        **{f"note {n}" if n > 1 else "note": note for n, note in enumerate(notes, start=1)},
    }
