"""`convscope correspond`: is the same part treated alike in different pictures of one kind?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from convscope.cli.outputs import leave_study
from convscope.cli.screen import Screen
from convscope.errors import BadOption
from convscope.experiments.options import (
    DataArgument,
    FolderOption,
    ModelArgument,
    Reading,
    ResumeOption,
    Running,
)
from convscope.experiments.session import UNTRAINED, Session, open_session
from convscope.store.lock import check_unused
from convscope.text import listed

if TYPE_CHECKING:
    from convscope.experiments.correspondence.faces import Faces
    from convscope.experiments.correspondence.study import Correspondence

__all__ = ["correspond"]


def correspond(
    model: ModelArgument,
    data: DataArgument,
    out: FolderOption,
    reading: Reading,
    running: Running,
    parts: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help='Where the parts are: JSON, {"a.jpg": {"left eye": [x, y], ...}, ...}. '
            "Default: parts.json or index.json beside the images; scenes know theirs.",
        ),
    ] = None,
    points: Annotated[
        str | None,
        typer.Option(
            metavar="A,B,...", help="These parts only. Default: all that every image has."
        ),
    ] = None,
    subject: Annotated[
        str | None,
        typer.Option(
            "--class", metavar="NAME", help="Images of this class only. Default for scenes: dog."
        ),
    ] = None,
    layers: Annotated[
        str | None,
        typer.Option(
            metavar="A,B,...",
            help="Default: the last layer with a grid, and the features the classifier reads (the "
            "paper's layers 5 and 7).",
        ),
    ] = None,
    count: Annotated[int, typer.Option(min=2, metavar="N", help="Images at most.")] = 24,
    size: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="PX", help="The cover's side. Default: a seventh of the input."
        ),
    ] = None,
    crop: Annotated[
        float,
        typer.Option(
            min=0,
            metavar="SHARE",
            help="Crop each image to a square around its object, that many times the larger side "
            "of the object's box, so that parts line up; 0: as the model takes its images.",
        ),
    ] = 1.25,
    places: Annotated[
        int, typer.Option(min=2, metavar="N", help="Random places to compare with.")
    ] = 24,
    resume: ResumeOption = False,
) -> None:
    """Cover the same part in several pictures, and see whether the features change alike.

    The paper's Δ: the share of a layer's values whose change has another sign in two pictures,
    averaged over all pairs. Low for the eyes and high for random places: the network knows eyes.

    Examples:

        convscope correspond run:runs/demo/zfnet scenes:val --out dogs
        convscope correspond torchvision:vgg16 cats.zip --points left_eye,right_eye,mouth --out cats
    """
    check_unused(out, resume=resume)
    named = None if points is None else listed(points, "--points")
    looked = None if layers is None else listed(layers, "--layers")
    screen = Screen(running.as_json)
    scope = open_session(model, reading, running)
    if size is not None and size > min(scope.model.input_shape[1:]):
        raise BadOption(f"--size {size}: the input is {scope.model.preprocess.size[0]} pixels high")
    from convscope.experiments.correspondence.faces import faces_of
    from convscope.experiments.correspondence.study import correspond as study
    from convscope.images.parts import marked_images
    from convscope.report.correspondence_figure import correspondence_figure

    images = scope.images(data)
    faces = faces_of(
        images,
        marked_images(images, parts, subject=subject),
        scope.model.preprocess,
        parts=named,
        crop=crop or None,
        count=count,
    )
    screen.facts({**scope.facts(), "images": _facts(images.spec, faces)})
    with screen.progress(out) as progress:
        found = study(
            scope.network,
            faces,
            fill=scope.model.preprocess.fill("grey"),
            layers=looked,
            size=size,
            places=places,
            seed=running.seed,
            out=out,
            resume=resume,
            progress=progress,
        )
    record = {**scope.record(), "images": images.spec, "fill": "grey"}
    words = f"{scope.title()} · {images.spec} · {_cover(found)}"
    figure = correspondence_figure(found, subtitle=words)
    screen.say("", *_table(found), "", *_finding(found, scope))
    leave_study(screen, out, {"correspondence": figure}, found.to_dict(), record)


def _facts(spec: str, faces: Faces) -> str:
    how = (
        "as the model takes them"
        if faces.crop is None
        else f"cropped to {faces.crop:g} times the object's box"
    )
    hidden = f", {len(faces.left_out)} left out for a hidden part" if faces.left_out else ""
    return f"{spec}: {len(faces.names)}{hidden}; {how}"


def _cover(found: Correspondence) -> str:
    height, width = found.size
    words = f"cover {height}×{width} px"
    if found.faces.crop is None:
        return words
    share = height / found.faces.images.shape[2] * found.faces.crop
    return f"{words}, {share:.2f} of the object's box"


def _table(found: Correspondence) -> list[str]:
    width = max(len("random, another in each"), *map(len, found.parts))
    lines = [
        f"{_cover(found)}; Δ is a mean over pairs, ± its spread over pairs; p: that random "
        "places are as low, first another in each picture, then the same in all"
    ]
    for layer in found.layers:
        lines += ["", layer, f"  {'':{width}}      Δ             changed  among changed"]
        for part in found.parts:
            one = found.table[layer][part]
            chance = f"p {one.p_own:.4f}, {one.p_same:.2f}; among changed {one.p_among:.4f}"
            lines.append(f"  {part:{width}}  {_numbers(one)}  {chance}")
        lines.append(f"  {'random, another in each':{width}}  {_numbers(found.random[layer])}")
        lines.append(f"  {'random, the same in all':{width}}  {_numbers(found.same[layer])}")
    return lines


def _numbers(one: Any) -> str:
    spread = "        " if one.deviation is None else f" ± {one.deviation:.3f}"
    return f"{one.delta:.3f}{spread}   {one.changed:6.1%}   {one.among:.3f}        "


def _finding(found: Correspondence, scope: Session) -> list[str]:
    lines = []
    for layer in found.layers:
        table = found.table[layer]
        alike = [part for part in found.parts if table[part].p_own < 0.05]
        place = [part for part in alike if table[part].p_same < 0.05]
        words = ", ".join(alike) if alike else "no part"
        line = f"{layer}: {words} treated more alike than random places"
        if alike:
            line += f"; than one place, the same in all: {', '.join(place) if place else 'none'}"
        lines.append(line)
    if scope.model.random_weights:
        lines.append(UNTRAINED)
    return lines
