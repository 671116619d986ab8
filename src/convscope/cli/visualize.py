"""`convscope visualize`: pictures that excite units, layers or classes most."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from convscope.cli.outputs import check_output, write_arrays
from convscope.cli.screen import Screen
from convscope.experiments.options import ModelArgument, Reading, Running
from convscope.experiments.session import open_session

if TYPE_CHECKING:
    from collections.abc import Sequence

    from convscope.experiments.visualizing import OptimisedPicture
    from convscope.methods.ascent.loop import AscentSettings

__all__ = ["Visualizing", "visualize"]


class AscentMethodName(StrEnum):
    """How a picture is kept like an image (`methods.ascent.loop.Method`)."""

    FOURIER = "fourier"
    MACO = "maco"
    ERHAN = "erhan"
    CLASS = "class"


@dataclass(frozen=True)
class Visualizing:
    """What pictures are made for, how, and where they go.

    Attributes:
        targets: units, layers and classes.
        out: the file that is written, .png or .npz.
        method: how a picture is kept like an image.
        data: images whose magnitudes MACO keeps, and whose best activation is told.
        atlas: a finished atlas of the network, which knows the best activation.
        steps: of the ascent.
        size: side of the pictures in pixels.
        variants: pictures for each target, unlike each other.
        negative: what makes a unit small.
    """

    targets: Annotated[
        list[str],
        typer.Argument(
            metavar="UNIT|LAYER|CLASS",
            help="layer/channel; a layer, for all of its maps; or a class, by index or name "
            "(class:NAME where a layer is called so, too).",
            show_default=False,
        ),
    ]
    out: Annotated[
        Path,
        typer.Option(
            metavar="FILE",
            help=".png, a figure; or .npz, the arrays picture (units, C, h, w) in preprocessed "
            "units, rgb (units, h, w, 3), activation, units, and best_image_activation where "
            "images or an atlas are given.",
            show_default=False,
        ),
    ]
    method: Annotated[
        AscentMethodName,
        typer.Option(
            help="fourier (Olah et al. 2017); maco, phases only, with the magnitudes of the images "
            "of --data (Fel et al. 2023); erhan, a bounded norm (Erhan et al. 2009); class, "
            "S - λ‖I‖² (Simonyan et al. 2013)."
        ),
    ] = AscentMethodName.FOURIER
    data: Annotated[
        str | None,
        typer.Option(metavar="DATA", help="Images to take magnitudes from, and to compare with."),
    ] = None
    atlas: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="A finished atlas of the network, to compare with."),
    ] = None
    steps: Annotated[int, typer.Option(min=1, metavar="N", help="Steps of the ascent.")] = 128
    size: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="PX",
            help="Side of the pictures. Default: what a unit sees, at most the network's input.",
        ),
    ] = None
    variants: Annotated[
        int, typer.Option(min=1, metavar="N", help="Pictures for each, made unlike each other.")
    ] = 1
    negative: Annotated[
        bool, typer.Option("--negative", help="Look for what makes the value small.")
    ] = False

    def settings(self, seed: int) -> AscentSettings:
        """What the ascent is told."""
        from convscope.methods.ascent.loop import AscentMethod, AscentSettings

        return AscentSettings(
            method=AscentMethod(self.method),
            steps=self.steps,
            size=None if self.size is None else (self.size, self.size),
            negative=self.negative,
            variants=self.variants,
            seed=seed,
        )


def visualize(
    model: ModelArgument, visualizing: Visualizing, reading: Reading, running: Running
) -> None:
    """Make the pictures that excite units, layers or classes most.

    The value before the rectifier is driven up from noise, in the frequencies of decorrelated
    colours, while the picture is moved, turned and scaled a little. Never judge such a picture by
    its activation: noise reaches more.

    Examples:

        convscope visualize run:runs/demo/zfnet conv5/12 conv4 --out pictures.png
        convscope visualize torchvision:alexnet 207 --method maco --data photos/ --out dog.npz
    """
    out = check_output(visualizing.out, (".png", ".npz"))
    screen = Screen(running.as_json)
    session = open_session(model, reading, running)
    from convscope.experiments.visualizing import find_targets, visualize_targets

    targets = find_targets(session, visualizing.targets)
    settings = visualizing.settings(running.seed)
    how = f"{visualizing.method}, {visualizing.steps} steps, seed {running.seed}"
    screen.facts({**session.facts(), "method": how})
    with screen.progress() as progress:
        found = visualize_targets(
            session, targets, settings,
            data=visualizing.data, atlas=visualizing.atlas, progress=progress,
        )  # fmt: skip
    record = {
        **session.record(),
        "method": str(visualizing.method),
        "steps": visualizing.steps,
        "negative": visualizing.negative,
    }
    if out.suffix.lower() == ".npz":
        write_arrays(out, _arrays(found), record)
    else:
        from convscope.report.optimised_figure import optimised_figure
        from convscope.report.style import write_figure

        title = "Optimised pictures" + (", negative" if visualizing.negative else "")
        write_figure(
            out, optimised_figure(found, title=title, subtitle=f"{session.title()} · {how}"), record
        )
    screen.say("", *(_line(one) for one in found), "", f"Written: {out}")
    screen.result({**record, "units": [one.to_dict() for one in found], "out": str(out)})


def _arrays(found: Sequence[OptimisedPicture]) -> dict[str, Any]:
    """The arrays of the file; pictures of several sizes stand in the middle of the largest."""
    import numpy as np

    height = max(one.rgb.shape[0] for one in found)
    width = max(one.rgb.shape[1] for one in found)
    pictures = np.zeros((len(found), len(found[0].picture), height, width), np.float32)
    rgb = np.full((len(found), height, width, 3), 128, np.uint8)
    for number, one in enumerate(found):
        top, left = (height - one.rgb.shape[0]) // 2, (width - one.rgb.shape[1]) // 2
        rows, columns = slice(top, top + one.rgb.shape[0]), slice(left, left + one.rgb.shape[1])
        pictures[number, :, rows, columns] = one.picture.numpy()
        rgb[number, rows, columns] = one.rgb
    arrays = {
        "picture": pictures,
        "rgb": rgb,
        "activation": np.array([one.activation for one in found]),
        "units": [f"{one.target.layer}/{one.target.channel}" for one in found],
        "size": np.array([one.rgb.shape[:2] for one in found]),
    }
    best = [one.best_image_activation for one in found]
    known = [value for value in best if value is not None]
    if len(known) == len(best):
        arrays["best_image_activation"] = np.array(known)
    return arrays


def _line(one: OptimisedPicture) -> str:
    best = one.best_image_activation
    beside = "" if best is None else f", the best image {best:.5g}"
    height, width = one.rgb.shape[:2]
    return f"{one.target.name:24} {height}×{width} px, activation {one.activation:.5g}{beside}"
