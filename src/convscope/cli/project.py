"""`convscope project`: single units of one image, carried down to the pixels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from convscope.cli.outputs import check_output, write_arrays
from convscope.cli.screen import Screen
from convscope.experiments.options import (
    ImageArgument,
    ModelArgument,
    Reading,
    RulesName,
    RulesOption,
    Running,
    UnitsArgument,
)
from convscope.experiments.session import Picture, Session, open_session

if TYPE_CHECKING:
    from convscope.methods.project import Projections

__all__ = ["Projecting", "project"]


@dataclass(frozen=True)
class Projecting:
    """Which units are projected, by which method, and where the result goes.

    Attributes:
        units: their addresses, `layer/channel` or `layer/channel@row,column`.
        out: the file that is written, .png or .npz.
        rules: the method of projection.
    """

    units: UnitsArgument
    out: Annotated[
        Path,
        typer.Option(
            metavar="FILE",
            help=".png, a figure; or .npz, the arrays projection (units, C, H, W), activation, "
            "box (top, left, bottom, right in input pixels) and units.",
            show_default=False,
        ),
    ]
    rules: RulesOption = RulesName.DECONVNET


def project(
    model: ModelArgument,
    image: ImageArgument,
    projecting: Projecting,
    reading: Reading,
    running: Running,
) -> None:
    """Project units of one image down to its pixels.

    Each unit's activation alone is sent back through the network: what in the image excited it.

    Examples:

        convscope project run:runs/demo/zfnet dog.jpg conv5/12 conv3/7@4,9 --out dog.png
        convscope project torchvision:alexnet dog.jpg features.6/17 --out dog.npz
    """
    out, rules = check_output(projecting.out, (".png", ".npz")), projecting.rules
    screen = Screen(running.as_json)
    session = open_session(model, reading, running)
    units = [session.network.unit(unit) for unit in projecting.units]
    picture = session.picture(image)
    from convscope.methods.dependence import about_images
    from convscope.methods.project import project as project_units
    from convscope.methods.rules import rules_named

    facts = {**session.facts(), "image": picture.describe(), "rules": rules}
    layers = [unit.layer for unit in units]
    same_for_all = about_images(session.network, layers, rules_named(rules))
    screen.facts({**facts, "pictures": same_for_all} if same_for_all else facts)

    trace = session.network.trace(session.tensor(picture), layers)
    projections = project_units(trace, units, rules_named(rules))
    record = {**session.record(), "image": picture.name, "rules": rules}
    if out.suffix.lower() == ".npz":
        write_arrays(out, _arrays(projections), record)
    else:
        from convscope.report.style import write_figure

        write_figure(out, _figure(projections, session, picture, rules), record)
    table = _table(projections)
    screen.say("", *(_line(row) for row in table), "", f"Written: {out}")
    screen.result({**record, "units": table, "out": str(out)})


def _arrays(projections: Projections) -> dict[str, Any]:
    return {
        "projection": projections.projection.cpu().numpy(),
        "activation": projections.activation.cpu().numpy(),
        "box": projections.box.cpu().numpy(),
        "units": [str(unit) for unit in projections.units],
    }


def _figure(projections: Projections, session: Session, picture: Picture, rules: str) -> Any:
    from convscope.report.projection_figure import projection_figure

    preprocess = session.model.preprocess
    pixels = preprocess.shown(picture.image)
    subtitle = f"{session.title()} · {rules}"
    return projection_figure(
        projections, [pixels], preprocess, title=picture.name, subtitle=subtitle
    )


def _table(projections: Projections) -> list[dict[str, Any]]:
    """A row for each unit, JSON-able."""
    return [
        {"unit": str(unit), "activation": float(activation), "box": box}
        for unit, activation, box in zip(
            projections.units, projections.activation, projections.box.tolist(), strict=True
        )
    ]


def _line(row: dict[str, Any]) -> str:
    top, left, bottom, right = row["box"]
    field = f"sees {bottom - top}×{right - left} px from row {top}, column {left}"
    return f"{row['unit']:24} activation {row['activation']:.5g}, {field}"
