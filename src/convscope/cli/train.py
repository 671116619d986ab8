"""`convscope train`: one of the paper's networks, learning from labelled images."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from convscope.cli.screen import Screen
from convscope.cli.verb import show
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
from convscope.experiments.options import ArchOption, Running, ValOption
from convscope.experiments.session import choose_device
from convscope.version import __version__

if TYPE_CHECKING:
    import torch

    from convscope.distributed import Ranks
    from convscope.images.image_set import ImageSet
    from convscope.models.architectures import Architecture
    from convscope.training.evaluation import CropScores
    from convscope.training.loop import CheckpointPolicy, TrainingResult
    from convscope.training.recipe import Recipe

__all__ = ["train"]

_KEEPING = "Keeping"


@dataclass(frozen=True)
class Storing:
    """What a training keeps on disk while it runs.

    Attributes:
        resume: go on with the run that is there.
        checkpoint_every: seconds between two checkpoints.
        cache: the folder of decoded images; None keeps them in memory.
        tensorboard: write curves for TensorBoard.
    """

    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Go on with the run in RUN, to the same weights as if it had not been "
            "interrupted; begin it if there is none.",
            rich_help_panel=_KEEPING,
        ),
    ] = False
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

    def policy(self) -> CheckpointPolicy:
        """The same as the training loop takes it."""
        from convscope.training.loop import CheckpointPolicy

        return CheckpointPolicy(self.resume, self.checkpoint_every, self.tensorboard)


@dataclass(frozen=True)
class TrainingInputs:
    """What is trained, on which images, and where it goes.

    Attributes:
        arch: name of the network's architecture.
        data: the images to learn from.
        out: the run's folder.
        val: the images to validate on.
    """

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
    out: Annotated[
        Path | None,
        typer.Option(metavar="RUN", help="A new folder for the run.", show_default=False),
    ] = None
    val: ValOption = None

    def folder(self) -> Path:
        """The run's folder.

        Raises:
            BadOption: no folder, no architecture or no images are given.
        """
        given = (("--arch", self.arch), ("--data", self.data), ("--out", self.out))
        missing = [name for name, value in given if not value]
        if self.out is None or missing:
            raise BadOption(f"train needs {' and '.join(missing)} (see convscope train --help)")
        return self.out


def train(
    learning: RecipeOptions, storing: Storing, running: Running, inputs: TrainingInputs
) -> None:
    """Train a network of the paper, with its recipe.

    Stochastic gradient descent with momentum, dropout and filter renormalisation. The run's
    folder holds the weights of chosen epochs and the curves; open it as run:RUN. Several processes
    share the work with torchrun --nproc-per-node N -m convscope train (docs/scale.md).

    Examples:

        convscope train --arch zfnet-small --data scenes --out runs/zfnet
        convscope train --arch zfnet --data photos/ --epochs 20 --out runs/photos --resume
        convscope train --recipe paper --show-recipe
    """
    recipe = choose_recipe(learning, inputs.arch, inputs.data, running)
    if learning.show_recipe:
        show(recipe_preview(recipe), running)
        return
    out, device = inputs.folder(), choose_device(running.device)
    from convscope.distributed import processes

    with processes(device) as ranks:
        from convscope.models.architectures import architecture_named
        from convscope.training.loop import train as train_network

        screen = Screen(running.as_json, silent=not ranks.first)
        architecture = architecture_named(inputs.arch)
        images, validation = open_training_images(
            inputs.data, inputs.val, architecture, running.seed
        )
        screen.facts(_facts(architecture, images, validation, recipe, device, ranks))
        try:
            with screen.progress(out) as progress:
                result = train_network(
                    architecture, images, validation, recipe, out,
                    device=device, workers=workers_or(running), cache=storing.cache,
                    keeping=storing.policy(), ranks=ranks, progress=progress,
                )  # fmt: skip
        except (NonFinite, KeyboardInterrupt):
            write_run_page(out, ranks)  # of what there is
            raise
        write_run_page(out, ranks)
        report(screen, result, recipe)


def _facts(
    architecture: Architecture,
    images: ImageSet,
    validation: ImageSet,
    recipe: Recipe,
    device: torch.device,
    ranks: Ranks,
) -> dict[str, str]:
    """What is used, for a person."""
    notes = recipe.notes()
    return {
        "network": architecture.name,
        "images": f"{images.spec}: {len(images)}",
        "val": f"{validation.spec}: {len(validation)}",
        "recipe": describe(recipe),
        "device": f"{device}{f', {ranks.count} processes' if ranks.count > 1 else ''}",
        **{f"note {n}" if n > 1 else "note": note for n, note in enumerate(notes, start=1)},
    }


def write_run_page(run: Path, ranks: Ranks) -> None:
    """Write the run's page, in the first process, where there is a run."""
    from convscope.report.training_page import write_training_page

    if ranks.first and (run / "run.json").exists():
        write_training_page(run)


def report(screen: Screen, result: TrainingResult, recipe: Recipe) -> None:
    """Say what a training brought, in words and for a program."""
    screen.say("", *(epoch_line(epoch) for epoch in result.history))
    screen.say(*(score_line(scores) for scores in result.tested))
    what = "Already finished, nothing was done:" if result.already else "Written:"
    screen.say("", f"{what} {result.folder}, to be opened as run:{result.folder}")
    screen.say(f"Open {result.folder / 'index.html'}")
    screen.result(
        {
            "convscope": __version__,
            "out": str(result.folder),
            "weights": str(result.weights),
            "page": str(result.folder / "index.html"),
            "recipe": recipe.to_dict(),
            "history": [asdict(epoch) for epoch in result.history],
            "tested": [asdict(scores) for scores in result.tested],
            "already": result.already,
        }
    )


def score_line(scores: CropScores) -> str:
    """The final weights' scores on the validation images, in a line."""
    how = "the middle of each picture" if scores.crops == 1 else "10 crops, averaged"
    return (
        f"final weights, {how}: loss {scores.loss:.3f}  top-1 {scores.top1:.1%}  "
        f"top-5 {scores.top5:.1%}"
    )
