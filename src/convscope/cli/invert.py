"""`convscope invert`: what layers keep of an image."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from convscope.cli.outputs import check_output, write_arrays
from convscope.cli.screen import Screen
from convscope.experiments.options import (
    ImageArgument,
    LayersOption,
    ModelArgument,
    Reading,
    Running,
)
from convscope.experiments.session import open_session

if TYPE_CHECKING:
    from convscope.methods.inversion import Inversion

__all__ = ["Inverting", "invert"]


class InversionMethodName(StrEnum):
    """The methods there are; `methods.inversion.InversionMethod` has them."""

    FOURIER = "fourier"
    MAHENDRAN = "mahendran"


@dataclass(frozen=True)
class Inverting:
    """Which layers are inverted, how, and where the result goes.

    Attributes:
        out: the file that is written, .png or .npz.
        layers: names, with commas between them.
        method: how the picture is kept like an image.
        steps, variation: of the method.
        data: images whose features' distances are the errors' unit.
    """

    out: Annotated[
        Path,
        typer.Option(
            metavar="FILE",
            help=".png, a figure; or .npz, the arrays layers, picture (layers, C, H, W) in "
            "preprocessed units, rgb (layers, H, W, 3), image, image_rgb, error, distance, norm, "
            "correlation, loss (layers, steps), and between with --data.",
            show_default=False,
        ),
    ]
    layers: LayersOption = None
    method: Annotated[
        InversionMethodName,
        typer.Option(
            help="fourier, frequencies of decorrelated colours by Adam; mahendran, pixels by "
            "descent with momentum, with an α-norm (Mahendran & Vedaldi 2014, as published)."
        ),
    ] = InversionMethodName.FOURIER
    steps: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Default: 120 of fourier, 400 of mahendran.",
            show_default=False,
        ),
    ] = None
    variation: Annotated[
        float | None,
        typer.Option(
            min=0,
            metavar="W",
            help="Weight of the total variation; more is smoother. Default: 0.44 of fourier; 1, 10 "
            "or 100 by depth of mahendran.",
            show_default=False,
        ),
    ] = None
    data: Annotated[
        str | None,
        typer.Option(
            metavar="DATA",
            help="Images: an error is then a share of the mean distance between their features, as "
            "in the paper. Default: a share of the norm of IMAGE's features.",
        ),
    ] = None


def invert(
    model: ModelArgument,
    image: ImageArgument,
    inverting: Inverting,
    reading: Reading,
    running: Running,
) -> None:
    """Show what layers keep of an image: the picture that each answers to as it does to the image.

    A small error says that the layer cannot tell picture and image apart; how unlike they look is
    what the layer has let go. A convolution stands for its activation.

    Examples:

        convscope invert run:runs/demo/zfnet dog.jpg --layers conv1,conv3,conv5 --out dog.png
        convscope invert torchvision:alexnet dog.jpg --data photos/ --method mahendran --out dog.npz
    """
    out = check_output(inverting.out, (".png", ".npz"))
    screen = Screen(running.as_json)
    from convscope.experiments.inverting import invert_layers
    from convscope.methods.inversion import InversionMethod, InversionSettings
    from convscope.text import split_names

    settings = InversionSettings(
        InversionMethod(inverting.method), inverting.steps, inverting.variation, running.seed
    )
    layers = split_names(inverting.layers, "--layers")
    session = open_session(model, reading, running)
    picture = session.picture(image)
    how = f"{settings.method}, {settings.taken} steps, seed {settings.seed}"
    screen.facts({**session.facts(), "image": picture.describe(), "method": how})
    with screen.progress() as progress:
        found = invert_layers(
            session, session.tensor(picture)[0], layers, settings,
            data=inverting.data, progress=progress,
        )  # fmt: skip
    record = {**session.record(), "image": picture.name, "data": inverting.data, **found.to_dict()}
    if out.suffix.lower() == ".npz":
        write_arrays(out, found.arrays(), record)
    else:
        from convscope.report.inversion_figure import inversion_figure
        from convscope.report.style import write_figure

        subtitle = f"{session.title()} · {how}"
        write_figure(out, inversion_figure(found, title=picture.name, subtitle=subtitle), record)
    screen.say("", *_words(found), "", f"Written: {out}")
    screen.result({**record, "out": str(out)})


def _words(found: Inversion) -> list[str]:
    """What was found, for a person."""
    width = max(len(one.layer) for one in found.layers)
    lines = [
        f"{one.layer:{width}}  error {one.error:7.2%}, pixels' r with the image "
        f"{one.correlation:5.2f}"
        for one in found.layers
    ]
    return [*lines, f"An error is the features' distance as a share of {found.unit}."]
