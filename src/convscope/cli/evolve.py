"""`convscope evolve`: features of a training run while they grow, the paper's Fig. 4."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from convscope import __version__
from convscope.cli.outputs import write_study
from convscope.cli.screen import Screen
from convscope.errors import BadInput
from convscope.experiments.options import (
    DataArgument,
    FolderOption,
    LayersOption,
    ResumeOption,
    RulesName,
    RulesOption,
    Running,
)
from convscope.experiments.session import choose_device
from convscope.text import listed, numbers, table

if TYPE_CHECKING:
    from convscope.experiments.evolution.result import Evolution, LayerEvolution
    from convscope.images.image_set import ImageSet
    from convscope.training.checkpoint import Run

__all__ = ["evolve"]


def evolve(
    run: Annotated[
        str,
        typer.Argument(
            metavar="RUN",
            help="A folder of `convscope train`, finished or not.",
            show_default=False,
        ),
    ],
    data: DataArgument,
    out: FolderOption,
    running: Running,
    layers: LayersOption = None,
    maps: Annotated[
        int, typer.Option(min=1, max=32, metavar="N", help="Feature maps shown of each layer.")
    ] = 5,
    measured: Annotated[
        int,
        typer.Option(min=1, metavar="N", help="Feature maps of each layer that are measured."),
    ] = 64,
    epochs: Annotated[
        str | None,
        typer.Option(metavar="E,E,...", help="These kept epochs only. Default: all of them."),
    ] = None,
    threshold: Annotated[
        float,
        typer.Option(
            metavar="SHARE",
            help="Similarity to the last epoch from which on a map counts as settled.",
        ),
    ] = 0.9,
    rules: RulesOption = RulesName.DECONVNET,
    resume: ResumeOption = False,
) -> None:
    """Watch a network's features grow over the kept epochs of its training.

    At each of them, what excites a random subset of the feature maps most among all images, and
    its projection; a mark where another image takes the lead; and the epoch at which each layer
    settles. A folder with a figure, a page with a slider (index.html) and the numbers.

    Examples:

        convscope evolve runs/demo/zfnet scenes:train --out evolution
        convscope evolve runs/photos photos/train --layers conv1,conv5 --maps 8 --out evolution
    """
    screen = Screen(running.as_json)
    device = choose_device(running.device)
    from convscope.experiments.evolution.study import evolve as watch
    from convscope.images.datasets import open_images
    from convscope.methods.rules import rules_named
    from convscope.training.checkpoint import read_run

    folder = Path(run.removeprefix("run:")).expanduser()
    told = read_run(folder)
    images = open_images(data, size=told.architecture.input_size, seed=running.seed)
    screen.facts(_facts(folder, told, images, str(device), rules))
    with screen.progress(out) as progress:
        found = watch(
            folder,
            images,
            layers=None if layers is None else listed(layers, "--layers"),
            maps=maps,
            measured=measured,
            epochs=None if epochs is None else numbers(epochs, "--epochs", least=0),
            threshold=threshold,
            rules=rules_named(rules),
            out=out,
            resume=resume,
            seed=running.seed,
            batch_size=running.batch_size,
            workers=running.workers,
            device=device,
            progress=progress,
        )
    record = _record(told, images, str(device), running.seed)
    page = _write(screen, found, out, record)
    for name, reason in found.skipped:
        screen.warn(f"skipped {name}: {reason}")
    screen.say("", *_table(found), "", *_findings(found), "", f"Open {page}")
    screen.result({**record, **found.to_dict(), "out": str(out), "page": str(page)})


def _facts(folder: Path, told: Run, images: ImageSet, device: str, rules: str) -> dict[str, str]:
    learned = told.data.get("identity") == images.identity()
    whose = "those it was trained on" if learned else "not those it was trained on"
    return {
        "run": f"{folder}: {told.architecture.name}, {told.status}",
        "images": f"{images.spec}: {len(images)}, {whose}",
        "rules": rules,
        "device": device,
    }


def _record(told: Run, images: ImageSet, device: str, seed: int) -> dict[str, Any]:
    return {
        "convscope": __version__,
        "recipe": told.recipe.to_dict(),
        "learned_from": dict(told.data),
        "images_identity": images.identity(),
        "device": device,
        "seed": seed,
    }


def _write(screen: Screen, found: Evolution, out: Path, record: dict[str, Any]) -> Path:
    from convscope.report.evolution_figure import evolution_figure
    from convscope.report.evolution_page import write_evolution_page

    try:
        words = f"{found.run} · {found.images:,} images of {found.data} · {found.rules}"
        title = f"Feature evolution of {found.architecture}"
        figures = {"evolution": evolution_figure(found, title=title, subtitle=words)}
    except BadInput as error:
        screen.warn(f"no figure was drawn: {error}")
        figures = {}
    write_study(out, figures, found.to_dict(), record)
    return write_evolution_page(found, out)


# ---- words ------------------------------------------------------------------------------------


def _table(found: Evolution) -> list[str]:
    """A line per layer; epochs as median (quartiles)."""
    head = ("layer", "maps", "dead", "projection settles", "image settles", "filter settles")
    return table(head, [_row(layer) for layer in found.layers], left=True)


def _row(layer: LayerEvolution) -> tuple[str, ...]:
    settled = (layer.convergence.get(measure) for measure in ("projection", "image", "filter"))
    epochs = (
        "-" if one is None else f"{one.median:3} ({one.lower} to {one.upper})" for one in settled
    )
    return (layer.name, str(layer.channels), str(len(layer.dead_at_end)), *epochs)


def _findings(found: Evolution) -> list[str]:
    first, last = found.epochs[0], found.epochs[-1]
    lines = [f"by {measure}: {trend.words()}" for measure, trend in found.trends.items()]
    lines.append(
        f"kept epochs {', '.join(map(str, found.epochs))}; an epoch is the first of these from "
        f"which on similarity to epoch {last} is at least {found.threshold:g} "
        "(median of the measured maps, quartiles)"
    )
    lines.append(
        "a projection passes through the filters below it; by filter there is no such bias"
    )
    if first == 0:
        lines.append("epoch 0 is before training: random weights")
    return lines
