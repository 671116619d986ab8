"""`convscope occlude`: which part of an image the network's answer rests on."""

from __future__ import annotations

import difflib
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from convscope.cli.outputs import check_output, write_arrays, write_figure
from convscope.cli.screen import Screen
from convscope.errors import BadOption
from convscope.experiments.options import (
    ImageArgument,
    ModelArgument,
    Reading,
    Running,
    SizeOption,
    StrideOption,
    WatchOption,
)
from convscope.experiments.session import Picture, Session, open_session

if TYPE_CHECKING:
    from torch import Tensor

    from convscope.methods.occlusion import OcclusionMaps

__all__ = ["find_class", "occlude", "read_fill", "sweep_image"]


class MethodName(StrEnum):
    """How the network is run; `methods.sweep.Method` holds them."""

    INCREMENTAL = "incremental"
    FULL = "full"


class PrecisionName(StrEnum):
    """The numbers that the network is run in; `methods.sweep.Precision` holds them."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"


GREYS = {"grey": 128, "black": 0, "white": 255}


def occlude(
    model: ModelArgument,
    image: ImageArgument,
    out: Annotated[
        Path,
        typer.Option(
            metavar="FILE",
            help=".png, the row of the paper's Fig. 6; or .npz, the maps probability, label, "
            "activity (positions down, positions across), with rows, columns, target, unit.",
            show_default=False,
        ),
    ],
    reading: Reading,
    running: Running,
    size: SizeOption = None,
    stride: StrideOption = None,
    fill: Annotated[
        str,
        typer.Option(
            metavar="COLOUR",
            help="The occluder's colour: grey, black, white, mean (zero after "
            "preprocessing), a level 0..255, or R,G,B.",
        ),
    ] = "grey",
    target: Annotated[
        str | None,
        typer.Option(
            metavar="CLASS",
            help="The class to watch, by index or name. Default: the predicted one.",
        ),
    ] = None,
    layer: WatchOption = None,
    unit: Annotated[
        str | None, typer.Option(metavar="UNIT", help="Watch this feature map instead.")
    ] = None,
    method: Annotated[
        MethodName,
        typer.Option(
            help="incremental recomputes only what the occluder touches, exactly; full runs the "
            "whole network at every position."
        ),
    ] = MethodName.INCREMENTAL,
    precision: Annotated[
        PrecisionName,
        typer.Option(
            help="bfloat16 rounds, which is faster on some processors; the error is reported."
        ),
    ] = PrecisionName.FLOAT32,
) -> None:
    """Slide a box over an image and see what the network's answer rests on.

    Maps, by the box's position: activity of the strongest feature map, probability of a class,
    most probable class; and that feature map's projection beside them.

    Examples:

        convscope occlude run:runs/demo/zfnet dog.jpg --out dog.png
        convscope occlude torchvision:vgg16 dog.jpg --target 235 --out dog.npz
    """
    check_output(out, (".png", ".npz"))
    if layer is not None and unit is not None:
        raise BadOption("--layer and --unit: give one of them; a unit names its layer")
    screen = Screen(running.as_json)
    scope = open_session(model, reading, running)
    watched = {
        "layer": None if layer is None else scope.network.layer(layer).name,
        "unit": None if unit is None else scope.network.unit(unit),
        "target": None if target is None else find_class(target, scope),
    }
    shown = read_fill(fill, scope)
    picture = scope.picture(image)
    screen.facts({**scope.facts(), "image": picture.describe()})
    maps = sweep_image(
        screen, scope, picture, (size, stride), shown, batch_size=running.batch_size,
        method=method, precision=precision, **watched,
    )  # fmt: skip
    record = {
        **scope.record(),
        "image": picture.name,
        "fill": fill,
        "method": method,
        "precision": precision,
    }
    if out.suffix.lower() == ".npz":
        write_arrays(out, maps.arrays(), record)
    else:
        write_figure(out, occlusion_row(maps, scope, picture), record)
    summary = _summary(maps, scope)
    rounding = [] if maps.rounding is None else [f"bfloat16 {maps.rounding}"]
    screen.say("", *_words(summary), *rounding, "", f"Written: {out}")
    screen.result({**record, **summary, "out": str(out)})


def sweep_image(
    screen: Screen,
    scope: Session,
    picture: Picture,
    box: tuple[int | None, int | None],
    fill: Tensor | float,
    **how: Any,
) -> OcclusionMaps:
    """The maps of one image, progress on the screen. box : the occluder's (size, stride)."""
    from convscope.methods.occluder import Occluder
    from convscope.methods.occlusion import occlude as slide

    _, height, width = scope.model.input_shape
    occluder = Occluder.fitting(height, width, *box)
    with screen.progress() as progress:
        return slide(
            scope.network,
            scope.tensor(picture)[0],
            occluder,
            fill=fill,
            progress=progress,
            **how,
        )


def occlusion_row(maps: OcclusionMaps, scope: Session, picture: Picture) -> Any:
    """The figure of one image."""
    from convscope.report.occlusion_figure import occlusion_figure

    return occlusion_figure(
        maps,
        scope.model.preprocess,
        classes=scope.model.classes,
        title=picture.name,
        subtitle=f"{scope.title()} · occluder {maps.occluder}",
    )


def find_class(words: str, scope: Session) -> int:
    """A class by its index or its name (any of the names that commas separate).

    Raises  BadOption: no such class; the nearest names are offered.
    """
    from convscope.methods.classes import Head

    count = Head.of(scope.network).classes
    if words.isdecimal():
        if int(words) < count:
            return int(words)
        raise BadOption(f"--target {words}: the network has classes 0 to {count - 1}")
    classes = scope.model.classes
    if classes is None:
        raise BadOption(
            f"--target {words!r}: this model's classes have no names; give an index, "
            f"0 to {count - 1}, or name them with --classes FILE"
        )
    known = {
        name.strip().lower(): index
        for index in reversed(range(len(classes)))
        for name in (classes[index], *classes[index].split(","))
    }
    if words.strip().lower() not in known:
        near = difflib.get_close_matches(words.lower(), known, n=3, cutoff=0.5)
        hint = f"did you mean {', '.join(near)}?" if near else f"give an index, 0 to {count - 1}"
        raise BadOption(f"--target {words!r}: no such class; {hint}")
    return known[words.strip().lower()]


def read_fill(words: str, scope: Session) -> Tensor | float:
    """The occluder's colour in preprocessed units: planes (3, H, W), or 0 for the mean.

    Raises  BadOption: not a colour.
    """
    import numpy as np

    if words == "mean":
        return 0.0
    levels = [str(GREYS.get(words, words)).strip()] if "," not in words else words.split(",")
    if len(levels) not in (1, 3) or not all(
        level.strip().isdecimal() and int(level) <= 255 for level in levels
    ):
        raise BadOption(
            f"--fill {words!r}: give {', '.join(GREYS)}, mean, a level 0..255, or R,G,B of 0..255"
        )
    _, height, width = scope.model.input_shape
    pixels = np.empty((1, height, width, 3), dtype=np.uint8)
    pixels[...] = [int(level) for level in levels]
    return scope.model.preprocess.tensors(pixels)[0]


def _summary(maps: OcclusionMaps, scope: Session) -> dict[str, Any]:
    lowest = divmod(int(maps.log_odds.argmin()), maps.log_odds.shape[1])
    classes = scope.model.classes
    return {
        "target": maps.target,
        "target_name": None if classes is None else classes[maps.target],
        "probability": maps.base_probability,
        "lowest_probability": float(maps.probability.min()),
        "lowest_at": [int(maps.rows[lowest[0]]), int(maps.columns[lowest[1]])],
        "unit": str(maps.unit),
        "activity": maps.base_activity,
        "lowest_activity": float(maps.activity.min()),
        "size": list(maps.occluder.size),
        "stride": list(maps.occluder.stride),
        "positions": list(maps.probability.shape),
        "rounding": None if maps.rounding is None else asdict(maps.rounding),
    }


def _words(found: dict[str, Any]) -> list[str]:
    name = f" ({found['target_name']})" if found["target_name"] else ""
    row, column = found["lowest_at"]
    return [
        f"class {found['target']}{name}: probability {found['probability']:.3f}, down to "
        f"{found['lowest_probability']:.3f} with the occluder at row {row}, column {column}",
        f"{found['unit']}: summed activity {found['activity']:.4g}, "
        f"down to {found['lowest_activity']:.4g}",
    ]
