"""`convscope invariance`: how far features move as a picture is shifted, enlarged and turned."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from convscope.cli.inputs import UNTRAINED, Microscope, open_microscope
from convscope.cli.options import FolderOption, ModelArgument, Reading, ResumeOption, Running
from convscope.cli.outputs import leave_study
from convscope.cli.samples import open_samples
from convscope.cli.screen import Screen
from convscope.cli.words import listed
from convscope.store.lock import check_unused

if TYPE_CHECKING:
    from convscope.experiments.invariance.study import Curves, Invariance

__all__ = ["invariance"]

OTHERS = 32  # pictures besides, for the distance between different ones
EDGES = (
    "filled with the picture beyond the crop, then the mean colour; shifts by whole pixels, "
    "scales and turns bilinear"
)


def invariance(
    model: ModelArgument,
    images: Annotated[
        list[str],
        typer.Argument(
            metavar="IMAGES...",
            help="Image files or DATA#NAME; or one set of images (a folder, a zip, scenes:SPLIT), "
            "of which some are drawn, of different classes where these are known.",
            show_default=False,
        ),
    ],
    out: FolderOption,
    reading: Reading,
    running: Running,
    layers: Annotated[
        str | None,
        typer.Option(
            metavar="A,B,...",
            help="Compare these layers. Default: the first convolution, and the features "
            "the classifier reads (the paper's layers 1 and 7), or the scores where a network "
            "ends in a convolution and a pooling.",
        ),
    ] = None,
    count: Annotated[int, typer.Option(min=1, metavar="N", help="Pictures drawn from a set.")] = 5,
    steps: Annotated[
        int,
        typer.Option(
            min=2, metavar="N", help="Steps from the unchanged picture to the largest change."
        ),
    ] = 10,
    resume: ResumeOption = False,
) -> None:
    """Shift, enlarge and turn pictures, and see how far their features move.

    The paper's curves: vertical shifts of ±60 pixels in 224, scales of 1 to 1.8, a whole turn. For
    each layer the Euclidean distance to the features of the picture as it is, beside that between
    different pictures, and the class's probability.

    Examples:

        convscope invariance run:runs/demo/zfnet scenes:val --out invariance
        convscope invariance torchvision:vgg16 dog.jpg cat.jpg --layers features.0 --out vgg
    """
    check_unused(out, resume=resume)
    names = None if layers is None else listed(layers, "--layers")
    screen = Screen(running.as_json)
    scope = open_microscope(model, reading, running)
    samples, others = open_samples(scope, images, count, OTHERS)
    given = images[0] if len(images) == 1 else f"{len(images)} pictures"
    from convscope.experiments.invariance.motions import papers_motions
    from convscope.experiments.invariance.study import first_and_last
    from convscope.experiments.invariance.study import invariance as move
    from convscope.report.invariance_figure import invariance_figure

    names = names or first_and_last(scope.network)
    screen.facts(
        {
            **scope.facts(),
            "images": f"{given}: {len(samples)} looked at",
            "layers": ", ".join(names),
            "edges": EDGES,
        }
    )
    with screen.progress(out) as progress:
        found = move(
            scope.network,
            scope.model.preprocess,
            samples,
            layers=names,
            others=others,
            motions=papers_motions(scope.model.preprocess.size[0], steps),
            out=out,
            resume=resume,
            progress=progress,
        )
    record = {**scope.record(), "images": images, "edges": EDGES}
    subtitle = f"{scope.title()} · {given}"
    figure = invariance_figure(found, classes=scope.model.classes, subtitle=subtitle)
    screen.say("", *_words(found, scope))
    leave_study(screen, out, {"invariance": figure}, found.to_dict(), record)


def _words(found: Invariance, scope: Microscope) -> list[str]:
    width = max(map(len, found.layers))
    lines = []
    for curves in found.curves:
        lines.append(f"{curves.motions.motion}")
        largest = found.largest(curves)
        for i, layer in enumerate(found.layers):
            line = f"  {layer.ljust(width)}  {_shares(found, curves, i)}"
            if largest is not None:
                line += f"; that is {largest[i].mean:.2f} of different pictures'"
            lines.append(line)
        if len(found.layers) > 1:
            count = f"{found.steeper_below(curves)} of {len(found.names)} pictures"
            lines.append(f"  {found.layers[0]} changes earlier than {found.layers[-1]} in {count}")
    if scope.model.random_weights:
        lines.append(UNTRAINED)
    return lines


def _shares(found: Invariance, curves: Curves, layer: int) -> str:
    from convscope.experiments.invariance.study import SETTLED
    from convscope.experiments.wording import plus_minus

    early: Any = found.early(curves)[layer]
    words = f"{plus_minus(early.mean, early.deviation, digits=0)} %"
    words = f"{words.rjust(9)} of its largest distance after a tenth"
    if curves.motions.motion not in SETTLED:
        return words
    line = found.linearity(curves)[layer]
    return f"{words}, R² of a line {plus_minus(line.mean, line.deviation, digits=2, unit=1)}"
