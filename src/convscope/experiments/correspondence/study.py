"""`convscope correspond`: is the same part treated alike in different pictures of one kind?"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from convscope.errors import BadOption
from convscope.experiments.options import DataArgument, ModelArgument, Reading
from convscope.experiments.study import Context, Outcome, Study
from convscope.text import split_names

if TYPE_CHECKING:
    from convscope.experiments.correspondence.aligned_parts import AlignedParts

__all__ = ["CorrespondStudy"]

FILL = "grey"  # of the cover


@dataclass(frozen=True)
class CorrespondStudy(Study):
    """Cover the same part in several pictures, and see whether the features change alike.

    The paper's Δ: the share of a layer's values whose change has another sign in two pictures,
    averaged over all pairs. Low for the eyes and high for random places: the network knows eyes.

    Examples:

        convscope correspond run:runs/demo/zfnet scenes:val --out dogs
        convscope correspond torchvision:vgg16 cats.zip --points left_eye,right_eye,mouth --out cats
    """

    verb = "correspond"

    model: ModelArgument
    data: DataArgument
    reading: Reading = field(default_factory=Reading)
    parts: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help='Where the parts are: JSON, {"a.jpg": {"left eye": [x, y], ...}, ...}. '
            "Default: parts.json or index.json beside the images; scenes know theirs.",
        ),
    ] = None
    points: Annotated[
        str | None,
        typer.Option(
            metavar="A,B,...", help="These parts only. Default: all that every image has."
        ),
    ] = None
    subject: Annotated[
        str | None,
        typer.Option(
            "--class", metavar="NAME", help="Images of this class only. Default for scenes: dog."
        ),
    ] = None
    layers: Annotated[
        str | None,
        typer.Option(
            metavar="A,B,...",
            help="Default: the last layer with a grid, and the features the classifier reads (the "
            "paper's layers 5 and 7).",
        ),
    ] = None
    count: Annotated[int, typer.Option(min=2, metavar="N", help="Images at most.")] = 24
    size: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="PX", help="The cover's side. Default: a seventh of the input."
        ),
    ] = None
    crop: Annotated[
        float,
        typer.Option(
            min=0,
            metavar="SHARE",
            help="Crop each image to a square around its object, that many times the larger side "
            "of the object's box, so that parts line up; 0: as the model takes its images.",
        ),
    ] = 1.25
    places: Annotated[
        int, typer.Option(min=2, metavar="N", help="Random places to compare with.")
    ] = 24

    def check(self) -> None:
        split_names(self.points, "--points")
        split_names(self.layers, "--layers")

    def run(self, context: Context) -> Outcome:
        from convscope.experiments.correspondence.aligned_parts import align_parts
        from convscope.experiments.correspondence.sign_distance import correspond
        from convscope.images.parts import marked_images

        session = context.session(self.model, self.reading)
        preprocess = session.model.preprocess
        if self.size is not None and self.size > min(preprocess.size):
            raise BadOption(f"--size {self.size}: the input is {preprocess.size[0]} pixels high")
        images = session.images(self.data)
        pictures = align_parts(
            images,
            marked_images(images, self.parts, subject=self.subject),
            preprocess,
            parts=split_names(self.points, "--points"),
            crop=self.crop or None,
            count=self.count,
        )
        context.facts({**session.facts(), "images": _facts(images.spec, pictures)})
        correspondence = correspond(
            session.network,
            pictures,
            fill=preprocess.fill(FILL),
            layers=split_names(self.layers, "--layers"),
            size=self.size,
            places=self.places,
            seed=session.seed,
            out=context.out,
            resume=context.resume,
            ranks=context.together(),
            progress=context.progress,
        )
        subtitle = f"{images.spec} · {correspondence.cover()}"
        return Outcome.on(session, correspondence, subtitle, images=images.spec, fill=FILL)


def _facts(spec: str, pictures: AlignedParts) -> str:
    how = (
        "as the model takes them"
        if pictures.crop is None
        else f"cropped to {pictures.crop:g} times the object's box"
    )
    hidden = len(pictures.left_out) - len(pictures.unreadable)
    words = f", {hidden} left out for a hidden part" if hidden else ""
    return f"{spec}: {len(pictures.names)}{words}; {how}"
