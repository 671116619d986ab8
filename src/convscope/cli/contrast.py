"""`convscope occlude --contrast`: which part of an image is one unit's own."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from convscope.cli.outputs import write_arrays
from convscope.cli.screen import Screen
from convscope.experiments.options import Running
from convscope.experiments.session import Session

if TYPE_CHECKING:
    from torch import Tensor

    from convscope.methods.contrastive import ContrastiveMap
    from convscope.network.unit import Unit

__all__ = ["ContrastBox", "contrast"]


@dataclass(frozen=True, eq=False)
class ContrastBox:
    """The box that slides over what a unit sees.

    Attributes:
        unit: whose own part of the image is looked for.
        size: the box's side in pixels; None fits it to the receptive field.
        stride: its step in pixels; None likewise.
        colour: as it was asked for.
        fill: the same as the network sees it.
    """

    unit: Unit
    size: int | None
    stride: int | None
    colour: str
    fill: Tensor | float


def contrast(session: Session, image: str, box: ContrastBox, out: Path, running: Running) -> None:
    """Find the part of an image that is one unit's own; write it and say where it is.

    Args:
        session: The network.
        image: IMAGE of the command line.
        box: The unit, the box and its colour.
        out: The file, .png or .npz.
        running: How to speak.

    Raises:
        BadInput: The unit is not above zero in the image.
        BadOption: The box does not fit.
    """
    from convscope.methods.contrastive import contrastive_occlusion, fitting_box

    screen = Screen(running.as_json)
    picture = session.picture(image)
    screen.facts({**session.facts(), "image": picture.describe()})
    tensor = session.tensor(picture)[0]
    found = contrastive_occlusion(
        session.network, tensor, box.unit,
        partial(fitting_box, size=box.size, stride=box.stride), fill=box.fill,
    )  # fmt: skip
    record = {**session.record(), "image": picture.name, "fill": box.colour}
    if out.suffix.lower() == ".npz":
        write_arrays(out, found.arrays(), {**record, **found.to_dict()})
    else:
        from convscope.report.contrast_figure import contrast_figure
        from convscope.report.style import write_figure

        pixels = session.model.preprocess.to_uint8(tensor)
        figure = contrast_figure(found, pixels, title=picture.name, subtitle=session.title())
        write_figure(out, figure, record)
    screen.say("", *_words(found), "", f"Written: {out}")
    screen.result({**record, **found.to_dict(), "out": str(out)})


def _words(found: ContrastiveMap) -> list[str]:
    """What was found, for a person."""
    i, j = found.strongest
    box = found.box(i, j)
    own = float(found.contrast[i, j]) > 0
    most = "its own most of all" if own else "nothing is its own, and nearest to it"
    others = ", ".join(str(unit.channel) for unit in found.neighbours)
    if found.twin is not None:
        return [
            f"{found.unit}: activation {found.activation:.4g}; nothing is its own: {found.twin} "
            "falls alike under every box",
            f"neighbours, the strongest other feature maps of its position: {others}",
        ]
    return [
        f"{found.unit}: activation {found.activation:.4g}; {most} is the box of "
        f"{box.height}×{box.width} pixels at row {box.top}, column {box.left}: covered, the unit "
        f"{_change(found.drop[i, j], 's')}, its neighbours {_change(found.neighbours_drop[i, j])}",
        f"neighbours, the strongest other feature maps of its position: {others}",
    ]


def _change(drop: Tensor, ending: str = "") -> str:
    """What an activation loses or gains, as a share."""
    verb = "lose" if float(drop) >= 0 else "gain"
    return f"{verb}{ending} {abs(float(drop)):.0%}"
