"""`convscope train`: one of the paper's networks, learning from labelled images."""

from __future__ import annotations

import dataclasses
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from convscope import __version__
from convscope.cli.inputs import choose_device
from convscope.cli.options import ArchOption, Running, ValOption
from convscope.cli.screen import Screen
from convscope.errors import BadOption, NonFinite

if TYPE_CHECKING:
    from convscope.images.image_set import ImageSet
    from convscope.network.architectures import Architecture
    from convscope.network.ranks import Ranks
    from convscope.training.checkpoint import Epoch
    from convscope.training.evaluation import Scores
    from convscope.training.loop import TrainingResult
    from convscope.training.recipe import Recipe

__all__ = ["choose_recipe", "describe", "epoch_line", "train", "workers_or"]

_RECIPE, _KEEPING = "Recipe", "Keeping"


@dataclasses.dataclass(frozen=True)
class Learning:
    """How to train: options that make a recipe."""

    recipe: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FILE",
            help="paper: as the paper, 70 epochs of random crops and flips; small: 10 epochs, for "
            "the small networks on scenes; photos: 40 epochs of crops and flips, for the small "
            "networks on photographs; or a FILE.yaml of names and values. Default: by --arch and "
            "--data.",
            show_default=False,
            rich_help_panel=_RECIPE,
        ),
    ] = None
    set: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE",
            help="Overrides the recipe's value; repeatable: --set radius=none "
            "--set schedule=steps --set drops=20,30.",
            show_default=False,
            rich_help_panel=_RECIPE,
        ),
    ] = None
    epochs: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="N", help="Overrides the recipe's value.", rich_help_panel=_RECIPE
        ),
    ] = None
    learning_rate: Annotated[
        float | None,
        typer.Option(metavar="RATE", help="Overrides the recipe's value.", rich_help_panel=_RECIPE),
    ] = None
    show_recipe: Annotated[
        bool,
        typer.Option(
            "--show-recipe",
            help="Print the recipe as YAML, with the source of every number, and exit.",
            rich_help_panel=_RECIPE,
        ),
    ] = False


@dataclasses.dataclass(frozen=True)
class Storing:
    """What is kept on disk meanwhile."""

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


def train(
    learning: Learning,
    storing: Storing,
    running: Running,
    arch: ArchOption = "",
    data: Annotated[
        str,
        typer.Option(
            metavar="DATA",
            help="Labelled images: a folder or zip with a folder per class, or with folders "
            "train/ and val/ of them; scenes; torchvision:NAME.",
            show_default=False,
        ),
    ] = "",
    out: Annotated[
        Path | None,
        typer.Option(metavar="RUN", help="A new folder for the run.", show_default=False),
    ] = None,
    val: ValOption = None,
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
    chosen = choose_recipe(learning, arch, data, running)
    if learning.show_recipe:
        show_recipe(chosen, running)
        return
    if out is None or not arch or not data:
        missing = [
            name
            for name, there in (("--arch", arch), ("--data", data), ("--out", out))
            if not there
        ]
        raise BadOption(f"train needs {' and '.join(missing)} (see convscope train --help)")
    device = choose_device(running.device)
    from convscope.network.ranks import processes

    with processes(device) as ranks:
        from convscope.network.architectures import architecture_named
        from convscope.training.loop import Keeping
        from convscope.training.loop import train as learn

        screen = Screen(running.as_json, silent=not ranks.first)
        architecture = architecture_named(arch)
        images, validation = open_lesson(data, val, architecture, chosen, running.seed)
        screen.facts(
            {
                "network": arch,
                "images": f"{images.spec}: {len(images)}",
                "val": f"{validation.spec}: {len(validation)}",
                "recipe": describe(chosen),
                "device": f"{device}{f', {ranks.count} processes' if ranks.count > 1 else ''}",
                **{
                    "note" if not at else f"note {at + 1}": n for at, n in enumerate(chosen.notes())
                },
            }
        )
        try:
            with screen.progress(out) as progress:
                done = learn(
                    architecture,
                    images,
                    validation,
                    chosen,
                    out,
                    device=device,
                    workers=workers_or(running),
                    cache=storing.cache,
                    keeping=Keeping(storing.resume, storing.checkpoint_every, storing.tensorboard),
                    ranks=ranks,
                    progress=progress,
                )
        except (NonFinite, KeyboardInterrupt):
            leave_page(out, ranks)  # of what there is
            raise
        leave_page(out, ranks)
        report(screen, done, chosen)


def leave_page(run: Path, ranks: Ranks) -> None:
    """The run's page, written by the first process, where there is a run."""
    from convscope.report.training_page import write_training_page

    if ranks.first and (run / "run.json").exists():
        write_training_page(run)


def report(screen: Screen, done: TrainingResult, recipe: Recipe) -> None:
    """What a training brought, in words and for a program."""
    screen.say("", *(epoch_line(epoch) for epoch in done.history))
    screen.say(*(score_line(scores) for scores in done.tested))
    what = "Already finished, nothing was done:" if done.already else "Written:"
    screen.say("", f"{what} {done.folder}, to be opened as run:{done.folder}")
    screen.say(f"Open {done.folder / 'index.html'}")
    screen.result(
        {
            "convscope": __version__,
            "out": str(done.folder),
            "weights": str(done.weights),
            "page": str(done.folder / "index.html"),
            "recipe": recipe.to_dict(),
            "history": [asdict(epoch) for epoch in done.history],
            "tested": [asdict(scores) for scores in done.tested],
            "already": done.already,
        }
    )


def show_recipe(recipe: Recipe, running: Running) -> None:
    """The recipe as YAML with sources, or for a program."""
    from convscope.training.recipe_file import recipe_text

    screen = Screen(running.as_json)
    screen.say(recipe_text(recipe).rstrip())
    screen.result(recipe.to_dict())


def choose_recipe(learning: Learning, arch: str, data: str, running: Running) -> Recipe:
    """The recipe by name or file, or by the network's and the data's, with what was asked for
    changed. Raises  BadOption: an unknown name, or a value outside its range."""
    from convscope.training.recipe import recipe_named
    from convscope.training.recipe_file import changed, read_recipe

    fitting = "paper"
    if arch.endswith("-small"):
        fitting = "small" if data.split(":")[0] == "scenes" else "photos"
    name = learning.recipe or fitting
    if name.lower().endswith((".yaml", ".yml")):
        known = read_recipe(name, recipe_named(fitting))
    else:
        known = recipe_named(name)
    wanted: dict[str, Any] = {
        "epochs": learning.epochs,
        "learning_rate": learning.learning_rate,
        "batch_size": running.batch_size,
        "seed": running.seed or None,  # 0 is the option's default, and a file's seed counts
    }
    known = replace(known, **{key: value for key, value in wanted.items() if value is not None})
    return changed(known, learning.set or [])


def open_lesson(
    data: str, val: str | None, architecture: Architecture, recipe: Recipe, seed: int
) -> tuple[ImageSet, ImageSet]:
    """The images to learn from, and those to validate on; scenes drawn at the input's size.

    Raises  BadOption: nothing says what to validate on.
    """
    from convscope.images.datasets import open_images

    if val is None:
        data, val = _split(data)
    size = architecture.input_size
    return open_images(data, size=size, seed=seed), open_images(val, size=size, seed=seed)


def _split(data: str) -> tuple[str, str]:
    from convscope.images.datasets import split_folders

    if data.split(":")[0] == "scenes":
        return data, "scenes:val"
    if folders := split_folders(data):
        return folders
    raise BadOption(
        f"--data {data}: nothing says what to validate on; give --val DATA, or a folder that "
        f"holds train/ and val/"
    )


def workers_or(running: Running) -> int:
    """Processes or threads that make the images: as asked for, or as many as there are cores."""
    import os

    return running.workers or os.cpu_count() or 1


def describe(recipe: Recipe) -> str:
    """A recipe in a line."""
    return (
        f"{recipe.epochs} epochs, batches of {recipe.batch_size}, learning rate "
        f"{recipe.learning_rate:g} ({recipe.schedule}), momentum {recipe.momentum:g}, "
        f"{recipe.initialisation} initialisation, filter radius "
        f"{'none' if recipe.radius is None else recipe.radius}, "
        f"{'crops, ' if recipe.crops else ''}{'flips, ' if recipe.flips else ''}seed {recipe.seed}"
    )


def epoch_line(epoch: Epoch) -> str:
    """An epoch in a line."""
    return (
        f"epoch {epoch.epoch:3}  loss {epoch.loss:.3f}  train {epoch.accuracy:6.1%}  "
        f"val {epoch.val_accuracy:6.1%}  top-5 {epoch.val_top5:6.1%}  {epoch.seconds:.1f} s"
    )


def score_line(scores: Scores) -> str:
    """The final weights' scores in a line."""
    how = "the middle of each picture" if scores.crops == 1 else "10 crops, averaged"
    return (
        f"final weights, {how}: loss {scores.loss:.3f}  top-1 {scores.top1:.1%}  "
        f"top-5 {scores.top5:.1%}"
    )
