"""`convscope train`: one of the paper's networks, learning from labelled images."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from convscope import __version__
from convscope.cli.learning import (
    Learning,
    choose_recipe,
    describe,
    epoch_line,
    open_lesson,
    show_recipe,
    workers_or,
)
from convscope.cli.screen import Screen
from convscope.errors import BadOption, NonFinite
from convscope.experiments.options import ArchOption, Running, ValOption
from convscope.experiments.session import choose_device

if TYPE_CHECKING:
    from convscope.network.ranks import Ranks
    from convscope.training.evaluation import Scores
    from convscope.training.loop import TrainingResult
    from convscope.training.recipe import Recipe

__all__ = ["train"]

_KEEPING = "Keeping"


@dataclass(frozen=True)
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
        images, validation = open_lesson(data, val, architecture, running.seed)
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


def score_line(scores: Scores) -> str:
    """The final weights' scores in a line."""
    how = "the middle of each picture" if scores.crops == 1 else "10 crops, averaged"
    return (
        f"final weights, {how}: loss {scores.loss:.3f}  top-1 {scores.top1:.1%}  "
        f"top-5 {scores.top5:.1%}"
    )
