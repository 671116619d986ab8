"""`convscope occlude`: which part of an image the network's answer rests on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from convscope.cli.outputs import check_output, write_arrays
from convscope.cli.screen import Screen
from convscope.errors import BadOption
from convscope.experiments.naming import find_class
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
from convscope.text import is_number

if TYPE_CHECKING:
    from torch import Tensor

    from convscope.methods.occlusion_maps import OcclusionMaps
    from convscope.methods.targets import ClassAt

__all__ = [
    "Occluding",
    "background_class",
    "find_class",
    "find_target",
    "occlude",
    "occlusion_row",
    "read_fill",
    "sweep_image",
]


class SweepMethodName(StrEnum):
    """How the network is run at each of the occluder's positions (`methods.sweep.Method`)."""

    INCREMENTAL = "incremental"
    FULL = "full"


class PrecisionName(StrEnum):
    """The numbers that the network is run in (`methods.sweep.Precision`)."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"


GREYS = {"grey": 128, "black": 0, "white": 255}
"""Levels 0..255 of the colours that have a name."""


@dataclass(frozen=True)
class Occluding:
    """The occluder, what is watched under it, and how the network is run.

    Attributes:
        size: the occluder's side in pixels; None is a seventh of the input's.
        stride: its step in pixels; None is a quarter of its side.
        fill: its colour.
        target: the class that is watched, by index or name; None is the predicted one. Of maps
            also with a position, CLASS@ROW,COLUMN.
        layer: the layer whose strongest feature map is watched; None is the last convolution.
        unit: the feature map that is watched instead.
        contrast: which part of the image is the unit's own, and not its neighbours' too.
        method: recompute what the occluder touches, or everything.
        precision: of the numbers that the network is run in.
    """

    size: SizeOption = None
    stride: StrideOption = None
    fill: Annotated[
        str,
        typer.Option(
            metavar="COLOUR",
            help="The occluder's colour: grey, black, white, mean (zero after "
            "preprocessing), a level 0..255, or R,G,B.",
        ),
    ] = "grey"
    target: Annotated[
        str | None,
        typer.Option(
            metavar="CLASS",
            help="The class to watch, by index or name; of maps of classes also at one position, "
            "CLASS@ROW,COLUMN; of a regression the number of the value. Default: the predicted "
            "class; of maps, the one that is predicted at most positions.",
        ),
    ] = None
    layer: WatchOption = None
    unit: Annotated[
        str | None, typer.Option(metavar="UNIT", help="Watch this feature map instead.")
    ] = None
    contrast: Annotated[
        bool,
        typer.Option(
            "--contrast",
            help="Which part of the image is the --unit's own: what it loses, less what the "
            "strongest other units of its position lose. The box moves within its receptive field; "
            "by default a seventh of that, by half of itself.",
        ),
    ] = False
    method: Annotated[
        SweepMethodName,
        typer.Option(
            help="incremental recomputes only what the occluder touches, exactly; full runs the "
            "whole network at every position."
        ),
    ] = SweepMethodName.INCREMENTAL
    precision: Annotated[
        PrecisionName,
        typer.Option(
            help="bfloat16 rounds, which is faster on some processors; the error is reported."
        ),
    ] = PrecisionName.FLOAT32

    def check(self) -> None:
        """Refuse options that contradict each other.

        Raises:
            BadOption: both a layer and a unit are to be watched, or --contrast has no unit, or an
                option that is not of a unit's contrast.
        """
        if self.layer is not None and self.unit is not None:
            raise BadOption("--layer and --unit: give one of them; a unit names its layer")
        if not self.contrast:
            return
        if self.unit is None:
            raise BadOption("--contrast: give --unit, the unit whose own part is looked for")
        if self.target is not None:
            raise BadOption("--contrast and --target: a unit is watched, no class; leave one out")
        if (self.method, self.precision) != (SweepMethodName.INCREMENTAL, PrecisionName.FLOAT32):
            raise BadOption("--contrast is incremental in float32: leave --method and --precision")

    def watched(self, session: Session) -> dict[str, Any]:
        """What is watched, found in the network: keywords of `methods.occlusion.occlude`.

        Raises:
            NoSuchLayer: with the nearest names.
            NoSuchUnit: with the channels and positions there are.
            BadOption: no such class.
        """
        network = session.network
        return {
            "layer": None if self.layer is None else network.feature_layer(self.layer).name,
            "unit": None if self.unit is None else network.unit(self.unit),
            "target": None if self.target is None else find_target(self.target, session),
            "background": background_class(session.model.classes),
        }


def occlude(
    model: ModelArgument,
    image: ImageArgument,
    out: Annotated[
        Path,
        typer.Option(
            metavar="FILE",
            help=".png, the row of the paper's Fig. 6; or .npz, the maps probability, label, "
            "activity (positions down, positions across), with rows, columns, target, unit; where "
            "no class is watched, value instead of probability. With --contrast the maps contrast, "
            "drop, neighbours_drop.",
            show_default=False,
        ),
    ],
    reading: Reading,
    running: Running,
    occluding: Occluding,
) -> None:
    """Slide a box over an image and see what the network's answer rests on.

    Maps, by the box's position: activity of the strongest feature map, probability of a class,
    most probable class; and that feature map's projection beside them. Where the probability hardly
    changes, its log-odds are drawn; where the network ends in maps or in values, what is watched is
    a mean score or a value, and the axis says so (docs/how-to/outputs.md). With --contrast, what is
    one unit's own: deep projections show where, and all strong units of a place show the same.

    Examples:

        convscope occlude run:runs/demo/zfnet dog.jpg --out dog.png
        convscope occlude torchvision:vgg16 dog.jpg --target 235 --out dog.npz
        convscope occlude mine:segment street.jpg --target car --out car.png
        convscope occlude run:runs/demo/zfnet dog.jpg --unit conv5/12 --contrast --out own.png
    """
    check_output(out, (".png", ".npz"))
    occluding.check()
    if occluding.contrast:
        from convscope.cli.contrast import ContrastBox, contrast

        session = open_session(model, reading, running)
        box = ContrastBox(
            session.network.unit(occluding.unit or ""), occluding.size, occluding.stride,
            occluding.fill, read_fill(occluding.fill, session),
        )  # fmt: skip
        contrast(session, image, box, out, running)
        return
    from convscope.methods.targets import about_answer

    screen = Screen(running.as_json)
    session = open_session(model, reading, running)
    watched = occluding.watched(session)
    fill = read_fill(occluding.fill, session)
    picture = session.picture(image)
    answer = about_answer(session.network)
    told = {} if answer is None else {"answer": answer}
    screen.facts({**session.facts(), **told, "image": picture.describe()})
    how = {"method": occluding.method, "precision": occluding.precision}
    maps = sweep_image(
        screen, session, picture, (occluding.size, occluding.stride),
        fill=fill, batch_size=running.batch_size, **watched, **how,
    )  # fmt: skip
    record = {**session.record(), "image": picture.name, "fill": occluding.fill, **how}
    if out.suffix.lower() == ".npz":
        write_arrays(out, maps.arrays(), record)
    else:
        from convscope.report.style import write_figure

        write_figure(out, occlusion_row(maps, session, picture), record)
    found = _summary(maps, session)
    rounding = [] if maps.rounding is None else [f"bfloat16 {maps.rounding}"]
    screen.say("", *_words(found), *rounding, "", f"Written: {out}")
    screen.result({**record, **found, "out": str(out)})


def sweep_image(
    screen: Screen,
    session: Session,
    picture: Picture,
    box: tuple[int | None, int | None],
    **options: Any,
) -> OcclusionMaps:
    """The occlusion maps of one image, with progress on the screen.

    Args:
        screen: shows the progress.
        session: the network.
        picture: the image.
        box: the occluder's (size, stride) in pixels; None is the default of each.
        **options: as `methods.occlusion.occlude` has them.

    Raises:
        BadOption: the occluder does not fit the image.
    """
    from convscope.methods.occluder import Occluder
    from convscope.methods.occlusion import occlude as sweep_occluder

    _, height, width = session.model.input_shape
    occluder = Occluder.fitting(height, width, *box)
    with screen.progress() as progress:
        return sweep_occluder(
            session.network, session.tensor(picture)[0], occluder, progress=progress, **options
        )


def occlusion_row(maps: OcclusionMaps, session: Session, picture: Picture) -> Any:
    """The figure of one image's occlusion maps, as a row of the paper's Fig. 6."""
    from convscope.report.occlusion_figure import occlusion_figure

    return occlusion_figure(
        maps,
        session.model.preprocess,
        classes=session.model.classes,
        title=picture.name,
        subtitle=f"{session.title()} · occluder {maps.occluder}",
    )


def find_target(words: str, session: Session) -> ClassAt:
    """What is watched, of the words CLASS or CLASS@ROW,COLUMN.

    Args:
        words: the class, and for maps of classes a position on their grid.
        session: the network and its class names.

    Raises:
        BadOption: no such class; the nearest names are offered.
    """
    from convscope.methods.targets import ClassAt

    name, position = ClassAt.split(words)
    names = session.model.classes or ()
    if position is None or words.strip().lower() in (each.strip().lower() for each in names):
        return ClassAt(find_class(words, session))
    return ClassAt(find_class(name, session), position)


def background_class(classes: Sequence[str] | None) -> int | None:
    """The index of the class that is called background, if one is."""
    names = [name.strip(" _").lower() for name in classes or ()]
    return names.index("background") if "background" in names else None


def read_fill(words: str, session: Session) -> Tensor | float:
    """The occluder's colour as the network sees it.

    Args:
        words: grey, black, white, mean, a level 0..255, or R,G,B.
        session: how images are preprocessed.

    Returns:
        Planes (C, H, W) in preprocessed units, or 0 for the mean.

    Raises:
        BadOption: not a colour.
    """
    import numpy as np

    if words == "mean":
        return 0.0
    levels = [str(GREYS.get(words, words)).strip()] if "," not in words else words.split(",")
    if not all(is_number(level.strip(), 255) for level in levels):
        raise BadOption(
            f"--fill {words!r}: give {', '.join(GREYS)}, mean, a level 0..255, or R,G,B of 0..255"
        )
    channels, height, width = session.model.input_shape
    if len(levels) not in (1, channels):
        raise BadOption(f"--fill {words!r}: the network takes {channels} channels; give a level")
    pixels = np.empty((1, height, width, channels), dtype=np.uint8)
    pixels[...] = [int(level) for level in levels]
    return session.model.preprocess.tensors(pixels)[0]


def _summary(maps: OcclusionMaps, session: Session) -> dict[str, Any]:
    """The numbers that matter most, JSON-able.

    `quantity` says what `value` is: what the figure shows of the target.
    """
    row, column = divmod(int(maps.score.argmin()), maps.score.shape[1])
    rounding = None if maps.rounding is None else asdict(maps.rounding)
    return {
        **_answer(maps, session.model.classes),
        "quantity": maps.quantity,
        "value": maps.base_value,
        "lowest_value": float(maps.value.min()),
        "highest_value": float(maps.value.max()),
        "lowest_at": [int(maps.rows[row]), int(maps.columns[column])],
        "unit": str(maps.unit),
        "activity": maps.base_activity,
        "lowest_activity": float(maps.activity.min()),
        "size": list(maps.occluder.size),
        "stride": list(maps.occluder.stride),
        "positions": list(maps.value.shape),
        "rounding": rounding,
    }


def _answer(maps: OcclusionMaps, classes: Sequence[str] | None) -> dict[str, Any]:
    """What was watched, and of a class its probability."""
    from convscope.methods.occlusion_maps import TargetMaps

    index = maps.target_index
    if isinstance(maps.answer, TargetMaps):
        watched = maps.answer.watched
        named = watched.target.name if classes is None or index is None else classes[index]
        return {"target": index, "target_name": named, "where": watched.where or None}
    return {
        "target": index,
        "target_name": None if classes is None else classes[maps.target],
        "probability": maps.base_probability,
        "lowest_probability": float(maps.probability.min()),
    }


def _words(summary: dict[str, Any]) -> list[str]:
    """The summary for a person."""
    row, column = summary["lowest_at"]
    at = f"with the occluder at row {row}, column {column}"
    if "probability" in summary:
        name = f" ({summary['target_name']})" if summary["target_name"] else ""
        answer = [
            f"class {summary['target']}{name}: probability {summary['probability']:.3f}, down to "
            f"{summary['lowest_probability']:.3f} {at}"
        ]
        if summary["quantity"] == "log-odds":
            answer.append(
                f"the probability hardly changes: its log-odds are drawn, {summary['value']:.2f}, "
                f"down to {summary['lowest_value']:.2f}"
            )
    else:
        where = f" {summary['where']}" if summary["where"] else ""
        answer = [
            f"{summary['target_name']}: {summary['quantity']}{where}: {summary['value']:.4g}, down "
            f"to {summary['lowest_value']:.4g} {at}, up to {summary['highest_value']:.4g} elsewhere"
        ]
    return [
        *answer,
        f"{summary['unit']}: summed activity {summary['activity']:.4g}, "
        f"down to {summary['lowest_activity']:.4g}",
    ]
