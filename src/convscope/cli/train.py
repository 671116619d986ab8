"""`convscope train`: one of the paper's networks, learning from labelled images."""

from __future__ import annotations

from dataclasses import asdict, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .. import __version__
from ..errors import BadOption
from .inputs import choose_device
from .options import Running
from .screen import Screen

if TYPE_CHECKING:
    from ..images.image_set import ImageSet
    from ..network.architectures import Architecture
    from ..training.checkpoint import Epoch
    from ..training.recipe import Recipe

__all__ = ["epoch_line", "train"]


class RecipeName(StrEnum):
    """How to train; `training.recipe.RECIPES` holds them."""

    PAPER = "paper"
    SMALL = "small"


VALIDATION = ("val", "validation", "valid", "test")  # folders that may lie beside `train`


def train(
    arch: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="zfnet, alexnet, alexnet-dense, zfnet-small or alexnet-small.",
            show_default=False,
        ),
    ],
    data: Annotated[
        str,
        typer.Option(
            metavar="DATA",
            help="Labelled images: a folder or zip with a folder per class, or with folders "
            "train/ and val/ of them; scenes; torchvision:NAME.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path, typer.Option(metavar="RUN", help="A new folder for the run.", show_default=False)
    ],
    running: Running,
    val: Annotated[
        str | None,
        typer.Option(
            metavar="DATA", help="Images to validate on. Default: scenes:val, or DATA/val."
        ),
    ] = None,
    recipe: Annotated[
        RecipeName | None,
        typer.Option(
            help="paper: 70 epochs of random crops and flips; small: 8 epochs, for the small "
            "networks. Default: as the name of the network says.",
            show_default=False,
        ),
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="In place of the recipe's.")
    ] = None,
    learning_rate: Annotated[
        float | None, typer.Option(metavar="RATE", help="In place of the recipe's.")
    ] = None,
) -> None:
    """Train a network of the paper, with its recipe.

    Stochastic gradient descent with momentum, dropout and filter renormalisation. The run's
    folder holds the weights of chosen epochs and the curves; open it as run:RUN.

    Examples:

        convscope train --arch zfnet-small --data scenes --out runs/zfnet
        convscope train --arch zfnet --data photos/ --epochs 20 --out runs/photos
    """
    screen = Screen(running.as_json)
    device = choose_device(running.device)
    from ..network.architectures import architecture_named
    from ..training.loop import train as learn

    architecture = architecture_named(arch)
    chosen = choose_recipe(recipe, arch, running, epochs=epochs, learning_rate=learning_rate)
    images, validation = open_lesson(data, val, architecture, chosen, running.seed)
    screen.facts(
        {
            "network": arch,
            "images": f"{images.spec}: {len(images)}",
            "val": f"{validation.spec}: {len(validation)}",
            "recipe": describe(chosen),
            "device": str(device),
        }
    )
    with screen.progress() as progress:
        done = learn(
            architecture,
            images,
            validation,
            chosen,
            out,
            device=device,
            workers=workers_or(running),
            progress=progress,
        )
    screen.say("", *(epoch_line(epoch) for epoch in done.history))
    screen.say("", f"Written: {done.folder}, to be opened as run:{done.folder}")
    screen.result(
        {
            "convscope": __version__,
            "out": str(done.folder),
            "weights": str(done.weights),
            "recipe": chosen.to_dict(),
            "history": [asdict(epoch) for epoch in done.history],
        }
    )


def choose_recipe(name: RecipeName | None, arch: str, running: Running, **changes: Any) -> Recipe:
    """The recipe by name, or by the network's, with what was asked for changed."""
    from ..training.recipe import recipe_named

    small = arch.endswith("-small")
    known = recipe_named(name or (RecipeName.SMALL if small else RecipeName.PAPER))
    wanted = {**changes, "batch_size": running.batch_size, "seed": running.seed}
    return replace(known, **{key: value for key, value in wanted.items() if value is not None})


def open_lesson(
    data: str, val: str | None, architecture: Architecture, recipe: Recipe, seed: int
) -> tuple[ImageSet, ImageSet]:
    """The images to learn from, and those to validate on; scenes drawn at the input's size.

    Raises  BadOption: nothing says what to validate on.
    """
    from ..images.datasets import open_images

    if val is None:
        data, val = _split(data)
    size = architecture.input_size
    return open_images(data, size=size, seed=seed), open_images(val, size=size, seed=seed)


def _split(data: str) -> tuple[str, str]:
    if data.split(":")[0] == "scenes":
        return data, "scenes:val"
    for name in VALIDATION:
        if (Path(data) / "train").is_dir() and (Path(data) / name).is_dir():
            return f"{data.rstrip('/')}/train", f"{data.rstrip('/')}/{name}"
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
        f"{recipe.initialisation} initialisation, filter radius {recipe.radius}, "
        f"seed {recipe.seed}"
    )


def epoch_line(epoch: Epoch) -> str:
    """An epoch in a line."""
    return (
        f"epoch {epoch.epoch:3}  loss {epoch.loss:.3f}  train {epoch.accuracy:6.1%}  "
        f"val {epoch.val_accuracy:6.1%}  top-5 {epoch.val_top5:6.1%}  {epoch.seconds:.1f} s"
    )
