"""`convscope project`: single units of one image, carried down to the pixels."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from convscope.cli.outputs import check_output, write_arrays, write_figure
from convscope.cli.screen import Screen
from convscope.experiments.options import (
    ImageArgument,
    ModelArgument,
    Reading,
    RulesName,
    RulesOption,
    Running,
)
from convscope.experiments.session import Picture, Session, open_session

if TYPE_CHECKING:
    from convscope.methods.project import Projections

__all__ = ["project"]


def project(
    model: ModelArgument,
    image: ImageArgument,
    units: Annotated[
        list[str],
        typer.Argument(
            metavar="UNIT",
            help="layer/channel (its strongest position) or layer/channel@row,column.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            metavar="FILE",
            help=".png, a figure; or .npz, the arrays projection (units, 3, H, W), activation, "
            "box (top, left, bottom, right in input pixels) and units.",
            show_default=False,
        ),
    ],
    reading: Reading,
    running: Running,
    rules: RulesOption = RulesName.DECONVNET,
) -> None:
    """Project units of one image down to its pixels.

    Each unit's activation alone is sent back through the network: what in the image excited it.

    Examples:

        convscope project run:runs/demo/zfnet dog.jpg conv5/12 conv3/7@4,9 --out dog.png
        convscope project torchvision:alexnet dog.jpg features.6/17 --out dog.npz
    """
    check_output(out, (".png", ".npz"))
    screen = Screen(running.as_json)
    scope = open_session(model, reading, running)
    wanted = [scope.network.unit(unit) for unit in units]
    picture = scope.picture(image)
    from convscope.methods.dependence import about_images
    from convscope.methods.project import project as carry_down
    from convscope.methods.rules import rules_named

    facts = {**scope.facts(), "image": picture.describe(), "rules": rules}
    same = about_images(scope.network, [unit.layer for unit in wanted], rules_named(rules))
    screen.facts({**facts, "pictures": same} if same else facts)

    trace = scope.network.trace(scope.tensor(picture), [unit.layer for unit in wanted])
    found = carry_down(trace, wanted, rules_named(rules))
    record = {**scope.record(), "image": picture.name, "rules": rules}
    if out.suffix.lower() == ".npz":
        write_arrays(out, _arrays(found), record)
    else:
        write_figure(out, _figure(found, scope, picture, rules), record)
    table = _table(found)
    screen.say("", *(_line(row) for row in table), "", f"Written: {out}")
    screen.result({**record, "units": table, "out": str(out)})


def _arrays(found: Projections) -> dict[str, Any]:
    return {
        "projection": found.projection.cpu().numpy(),
        "activation": found.activation.cpu().numpy(),
        "box": found.box.cpu().numpy(),
        "units": [str(unit) for unit in found.units],
    }


def _figure(found: Projections, scope: Session, picture: Picture, rules: str) -> Any:
    import numpy as np

    from convscope.report.projection_figure import projection_figure

    preprocess = scope.model.preprocess
    seen = np.array(preprocess.picture(picture.image))
    return projection_figure(
        found, [seen], preprocess, title=picture.name, subtitle=f"{scope.title()} · {rules}"
    )


def _table(found: Projections) -> list[dict[str, Any]]:
    return [
        {"unit": str(unit), "activation": float(activation), "box": box}
        for unit, activation, box in zip(
            found.units, found.activation, found.box.tolist(), strict=True
        )
    ]


def _line(row: dict[str, Any]) -> str:
    top, left, bottom, right = row["box"]
    field = f"sees {bottom - top}×{right - left} px from row {top}, column {left}"
    return f"{row['unit']:24} activation {row['activation']:.5g}, {field}"
