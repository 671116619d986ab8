"""`convscope saliency`: which pixels of an image a class's score answers to."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from convscope.cli.outputs import check_output, write_arrays
from convscope.cli.screen import Screen
from convscope.experiments.options import ImageArgument, ModelArgument, Reading, Running
from convscope.experiments.session import open_session

if TYPE_CHECKING:
    from convscope.methods.saliency import Saliency

__all__ = ["Asking", "saliency"]


class MethodName(StrEnum):
    """The methods there are; `methods.saliency.SaliencyMethod` has them."""

    GRADIENT = "gradient"
    SMOOTH = "smooth"
    INTEGRATED = "integrated"
    GRAD_CAM = "grad-cam"


@dataclass(frozen=True)
class Asking:
    """What is asked of the image, by which method, and where the result goes.

    Attributes:
        out: the file that is written, .png or .npz.
        target: a class, by index or name; CLASS@ROW,COLUMN of maps of classes.
        method: how the map is made.
        layer: of grad-cam.
        copies, noise: of smooth.
        steps: of integrated.
    """

    out: Annotated[
        Path,
        typer.Option(
            metavar="FILE",
            help=".png, a figure; or .npz, the arrays map (H, W) and gradient (C, H, W).",
            show_default=False,
        ),
    ]
    target: Annotated[
        str | None,
        typer.Option(
            metavar="CLASS",
            help="By index or name. Default: the class that is predicted.",
        ),
    ] = None
    method: Annotated[
        MethodName,
        typer.Option(
            help="gradient (Simonyan et al. 2013), smooth (SmoothGrad), integrated (integrated "
            "gradients, from an image of zeros), grad-cam (Selvaraju et al. 2017)."
        ),
    ] = MethodName.GRADIENT
    layer: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Of grad-cam. Default: the last convolution."),
    ] = None
    copies: Annotated[
        int, typer.Option(min=1, metavar="N", help="Of smooth, noisy copies of the image.")
    ] = 50
    noise: Annotated[
        float, typer.Option(metavar="S", help="Of smooth, as a share of the image's range.")
    ] = 0.15
    steps: Annotated[
        int, typer.Option(min=1, metavar="N", help="Of integrated, along the line.")
    ] = 50


def saliency(
    model: ModelArgument,
    image: ImageArgument,
    asking: Asking,
    reading: Reading,
    running: Running,
) -> None:
    """Show which pixels of an image a class's score answers to.

    The score is what comes before the softmax. A map of a gradient says where a small change
    matters most, not what the network sees there: `convscope sanity` says what such maps are worth.

    Examples:

        convscope saliency run:runs/demo/zfnet dog.jpg --out dog.png
        convscope saliency torchvision:alexnet dog.jpg --method grad-cam --target 207 --out dog.png
    """
    out = check_output(asking.out, (".png", ".npz"))
    screen = Screen(running.as_json)
    session = open_session(model, reading, running)
    picture = session.picture(image)
    from convscope.cli.occlude import find_target
    from convscope.methods.saliency import SaliencyMethod, SaliencySettings
    from convscope.methods.saliency import saliency as find

    settings = SaliencySettings(
        SaliencyMethod(asking.method), copies=asking.copies, noise=asking.noise,
        steps=asking.steps, layer=asking.layer, seed=running.seed,
    )  # fmt: skip
    target = None if asking.target is None else find_target(asking.target, session)
    screen.facts({**session.facts(), "image": picture.describe(), "method": asking.method})
    with screen.progress() as progress:
        found = find(
            session.network, session.tensor(picture)[0], target, settings, progress=progress
        )
    record = {**session.record(), "image": picture.name}
    if out.suffix.lower() == ".npz":
        write_arrays(out, found.arrays(), {**record, **found.to_dict()})
    else:
        from convscope.report.saliency_figure import saliency_figure
        from convscope.report.style import write_figure

        figure = saliency_figure(found, title=picture.name, subtitle=session.title())
        write_figure(out, figure, {**record, **found.to_dict()})
    screen.say("", _words(found), "", f"Written: {out}")
    screen.result({**record, **found.to_dict(), "out": str(out)})


def _words(found: Saliency) -> str:
    told = found.to_dict()
    row, column = told["largest_at"]
    gap = "" if found.gap is None else f"; the shares miss what it gains by {found.gap:.2g}"
    return (
        f"{found.target.name}: {found.target.quantity} {found.value:.4g}; largest at row {row}, "
        f"column {column}{gap}"
    )
