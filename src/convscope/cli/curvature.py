"""`convscope curvature`: along which changes of a picture a unit bends, and along which not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from convscope.cli.outputs import check_output, write_arrays
from convscope.cli.screen import Screen
from convscope.experiments.options import ModelArgument, Reading, Running, UnitsArgument
from convscope.experiments.session import open_session

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from convscope.experiments.curving import CurvedUnit

__all__ = ["Curving", "curvature"]


@dataclass(frozen=True)
class Curving:
    """Where curvature is measured, how, and where the result goes.

    Attributes:
        out: the file that is written, .png or .npz.
        image: whose part that a unit sees is the start, in place of an optimised picture.
        step: how far a changed picture is from the first.
        samples: changed pictures that are looked at.
        directions: most curved ones, and as many of the least.
        steps: of the ascent.
    """

    out: Annotated[
        Path,
        typer.Option(
            metavar="FILE",
            help=".png, a figure; or .npz, the arrays units, activation, picture (units, C, h, w) "
            "in preprocessed units, rgb, eigenvalues (units, functions), and by direction, the "
            "most curved first: most, curvature, interval, slope, split_half, direction, "
            "strip (units, directions, frames, h, w, 3), activations; walk, where the frames are.",
            show_default=False,
        ),
    ]
    image: Annotated[
        str | None,
        typer.Option(
            metavar="IMAGE",
            help="Start from what the unit sees of this image, at its position or its feature "
            "map's strongest one. Default: from an optimised picture.",
        ),
    ] = None
    step: Annotated[
        float,
        typer.Option(
            metavar="S",
            help="Root mean square of a pixel's change, as a share of the way from black to white.",
        ),
    ] = 0.05
    samples: Annotated[
        int, typer.Option(min=4, metavar="N", help="Changed pictures that are looked at.")
    ] = 1024
    directions: Annotated[
        int, typer.Option(min=1, metavar="N", help="Most curved, and as many of the least curved.")
    ] = 3
    steps: Annotated[
        int, typer.Option(min=1, metavar="N", help="Steps of the ascent to an optimised picture.")
    ] = 128


def curvature(
    model: ModelArgument,
    units: UnitsArgument,
    curving: Curving,
    reading: Reading,
    running: Running,
) -> None:
    """Show which changes of its optimal picture a unit minds most, and which it does not mind.

    The second derivatives of the value before the rectifier, taken at a finite step, as those of a
    network of rectifiers are zero; along up to 48 smooth functions of what the unit sees. Each
    direction is walked as a film strip. A direction on which two halves of the samples do not agree
    (split-half cosine) is not known, only its curvature is.

    Examples:

        convscope curvature run:runs/demo/zfnet conv3/12 conv5/3 --out curvature.png
        convscope curvature torchvision:alexnet features.6/9 --image dog.jpg --out curvature.npz
    """
    out = check_output(curving.out, (".png", ".npz"))
    screen = Screen(running.as_json)
    from convscope.experiments.curving import curve_units
    from convscope.methods.ascent.loop import AscentSettings
    from convscope.methods.curvature import CurvatureSettings

    settings = CurvatureSettings(
        curving.step, curving.samples, curving.directions,
        AscentSettings(steps=curving.steps, seed=running.seed), running.seed,
    )  # fmt: skip
    session = open_session(model, reading, running)
    image, facts = None, session.facts()
    if curving.image is not None:
        picture = session.picture(curving.image)
        image = (picture.name, session.tensor(picture)[0])
        facts["image"] = picture.describe()
    how = f"step {settings.step:g}, {settings.samples} samples, seed {settings.seed}"
    screen.facts({**facts, "curvature": how})
    with screen.progress() as progress:
        found = curve_units(session, units, settings, image, progress)
    record = {**session.record(), "step": settings.step, "samples": settings.samples}
    told = {**record, "units": [one.to_dict() for one in found]}
    if out.suffix.lower() == ".npz":
        write_arrays(out, _arrays(found), told)
    else:
        from convscope.report.curvature_figure import curvature_figure
        from convscope.report.style import write_figure

        subtitle = f"{session.title()} · {how}"
        write_figure(out, curvature_figure(found, subtitle=subtitle), told)
    screen.say("", *(line for one in found for line in _words(one)), "", f"Written: {out}")
    screen.result({**told, "out": str(out)})


def _words(unit: CurvedUnit) -> list[str]:
    """What was found of a unit, for a person."""
    found = unit.found
    where = "its optimised picture" if unit.image is None else unit.image
    lines = [f"{found.unit}: activation {found.activation:.4g} in {where}; curvature at step "
             f"{found.step:g}, halves that are noise agree {found.chance:.2f}"]  # fmt: skip
    for one in found.directions:
        strip = " ".join(f"{float(value):.3g}" for value in one.activations)
        lines.append(
            f"  {'most' if one.most else 'least':5} {one.curvature:9.3g} "
            f"({one.low:.3g} to {one.high:.3g}), halves agree {one.split_half:.2f}, walk {strip}"
        )
    return lines


def _arrays(found: Sequence[CurvedUnit]) -> dict[str, NDArray[Any]]:
    """The arrays of the file; what is smaller than the largest unit's is filled with NaN or 0."""
    import numpy as np

    from convscope.methods.curvature import WALK

    def by_unit(name: str) -> NDArray[Any]:
        return _joined(
            [np.array([getattr(each, name) for each in one.found.directions]) for one in found]
        )

    rows = [one.found.directions for one in found]
    ends = [np.array([(each.low, each.high) for each in row]) for row in rows]
    return {
        "units": np.array([str(one.found.unit) for one in found]),
        "activation": np.array([one.found.activation for one in found]),
        "picture": _joined([one.found.picture.numpy() for one in found]),
        "rgb": _joined([one.start for one in found]),
        "size": np.array([one.start.shape[:2] for one in found]),
        "eigenvalues": _joined([one.found.eigenvalues.numpy() for one in found]),
        **{name: by_unit(name) for name in ("most", "curvature", "slope", "split_half")},
        "interval": _joined(ends),
        "direction": _joined([np.stack([one.direction.numpy() for one in row]) for row in rows]),
        "strip": _joined([one.strips for one in found]),
        "activations": _joined(
            [np.stack([one.activations.numpy() for one in row]) for row in rows]
        ),
        "walk": np.array([[one.found.norm * at for at in WALK] for one in found]),
    }


def _joined(parts: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Arrays as one, each from the first corner on, in an array as large as the largest."""
    import numpy as np

    shape = np.max([part.shape for part in parts], axis=0)
    empty = np.nan if parts[0].dtype.kind == "f" else 0
    whole = np.full((len(parts), *shape), empty, parts[0].dtype)
    for number, part in enumerate(parts):
        whole[number][tuple(slice(0, extent) for extent in part.shape)] = part
    return whole
