"""What the verbs that train have in common: recipes from options, images to learn from, words."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from convscope.errors import BadOption
from convscope.experiments.options import Running
from convscope.experiments.study import Preview
from convscope.text import counted

if TYPE_CHECKING:
    from convscope.images.image_set import ImageSet
    from convscope.models.architectures import Architecture
    from convscope.training.checkpoint import Epoch
    from convscope.training.recipe import Recipe

__all__ = [
    "RecipeOptions",
    "choose_recipe",
    "describe",
    "epoch_line",
    "open_training_images",
    "options_for",
    "recipe_preview",
    "workers_or",
]

_RECIPE = "Recipe"


@dataclass(frozen=True)
class RecipeOptions:
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
    pretrain: Annotated[
        int | None,
        typer.Option(
            min=0,
            metavar="N",
            help="First, without labels, each layer but the last learns for N epochs to rebuild "
            "what arrives at it (denoising autoencoders, bottom up; Vincent et al. 2008). "
            "Overrides the recipe's value.",
            rich_help_panel=_RECIPE,
        ),
    ] = None
    show_recipe: Annotated[
        bool,
        typer.Option(
            "--show-recipe",
            help="Print the recipe as YAML, with the source of every number, and exit.",
            rich_help_panel=_RECIPE,
        ),
    ] = False


def choose_recipe(learning: RecipeOptions, arch: str, data: str, running: Running) -> Recipe:
    """Choose the recipe to train with, and change what was asked for.

    The recipe is the one named, one from a file, or else the one that fits the network and data.

    Args:
        learning: The options of the verb.
        arch: The name of the architecture.
        data: What to learn from, as on the command line.
        running: The options that all verbs share.

    Raises:
        BadOption: There is no such recipe, or a value is outside its range.
    """
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
        "pretrain": learning.pretrain,
        "batch_size": running.batch_size,
        "seed": running.seed or None,  # 0 is the option's default, and a file's seed counts
    }
    known = replace(known, **{key: value for key, value in wanted.items() if value is not None})
    return changed(known, learning.set or [])


def options_for(recipe: Recipe, base: Recipe) -> RecipeOptions:
    """Find the options, without the seed, that make a recipe of the one that they start from.

    Args:
        recipe: the recipe.
        base: the one that the architecture and the data choose.
    """
    differing = {
        name: ",".join(map(str, value)) if isinstance(value, tuple) else value
        for name, value in recipe.to_dict().items()
        if name not in ("seed", "epochs") and value != getattr(base, name)
    }
    return RecipeOptions(
        epochs=None if recipe.epochs == base.epochs else recipe.epochs,
        set=[f"{name}={value}" for name, value in differing.items()],
    )


def recipe_preview(recipe: Recipe) -> Preview:
    """What `--show-recipe` prints: YAML with the source of every number."""
    from convscope.training.recipe_file import recipe_text

    return Preview(recipe_text(recipe).rstrip(), recipe.to_dict())


def open_training_images(
    data: str, val: str | None, architecture: Architecture, seed: int
) -> tuple[ImageSet, ImageSet]:
    """Open the images to learn from and those to validate on; scenes are drawn at the input's size.

    Args:
        data: The images to learn from, as on the command line.
        val: The images to validate on; None where the data says which.
        architecture: Says how large the input is.
        seed: Of what is drawn at random.

    Raises:
        BadOption: Nothing says what to validate on.
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
    return running.workers or os.cpu_count() or 1


def describe(recipe: Recipe) -> str:
    """A recipe in a line."""
    return (
        f"{counted(recipe.epochs, 'epoch')}, batches of {recipe.batch_size}, learning rate "
        f"{recipe.learning_rate:g} ({recipe.schedule}), momentum {recipe.momentum:g}, "
        f"{recipe.initialisation} initialisation, filter radius "
        f"{'none' if recipe.radius is None else recipe.radius}, "
        f"{'crops, ' if recipe.crops else ''}{'flips, ' if recipe.flips else ''}"
        f"{f'pre-training {recipe.pretrain} epochs a layer, ' if recipe.pretrain else ''}"
        f"seed {recipe.seed}"
    )


def epoch_line(epoch: Epoch) -> str:
    """An epoch in a line."""
    return (
        f"epoch {epoch.epoch:3}  loss {epoch.loss:.3f}  train {epoch.accuracy:6.1%}  "
        f"val {epoch.val_accuracy:6.1%}  top-5 {epoch.val_top5:6.1%}  {epoch.seconds:.1f} s"
    )
