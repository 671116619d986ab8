"""`convscope invariance`: how far features move as a picture is shifted, enlarged and turned."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

import typer

from convscope.experiments.options import ModelArgument, Reading
from convscope.experiments.study import Context, Outcome, Study
from convscope.text import split_names

__all__ = ["InvarianceStudy"]

OTHERS = 32  # pictures besides, for the distance between different ones
EDGES = (
    "filled with the picture beyond the crop, then the mean colour; shifts by whole pixels, "
    "scales and turns bilinear"
)


@dataclass(frozen=True)
class InvarianceStudy(Study):
    """Shift, enlarge and turn pictures, and see how far their features move.

    The paper's curves: vertical shifts of ±60 pixels in 224, scales of 1 to 1.8, a whole turn. For
    each layer the Euclidean distance to the features of the picture as it is, beside that between
    different pictures, and the class's probability.

    Examples:

        convscope invariance run:runs/demo/zfnet scenes:val --out invariance
        convscope invariance torchvision:vgg16 dog.jpg cat.jpg --layers features.0 --out vgg
    """

    verb = "invariance"

    model: ModelArgument
    images: Annotated[
        list[str],
        typer.Argument(
            metavar="IMAGES...",
            help="Image files or DATA#NAME; or one set of images (a folder, a zip, scenes:SPLIT), "
            "of which some are drawn, of different classes where these are known.",
            show_default=False,
        ),
    ]
    reading: Reading = field(default_factory=Reading)
    layers: Annotated[
        str | None,
        typer.Option(
            metavar="A,B,...",
            help="Compare these layers. Default: the first convolution, and the features "
            "the classifier reads (the paper's layers 1 and 7), or the scores where a network "
            "ends in a convolution and a pooling.",
        ),
    ] = None
    count: Annotated[int, typer.Option(min=1, metavar="N", help="Pictures drawn from a set.")] = 5
    steps: Annotated[
        int,
        typer.Option(
            min=2, metavar="N", help="Steps from the unchanged picture to the largest change."
        ),
    ] = 10

    def check(self) -> None:
        split_names(self.layers, "--layers")

    def run(self, context: Context) -> Outcome:
        from convscope.experiments.invariance.curves import first_and_last, invariance
        from convscope.experiments.invariance.transforms import papers_transforms
        from convscope.experiments.samples import open_samples

        session = context.session(self.model, self.reading)
        network, preprocess = session.network, session.model.preprocess
        samples, others = open_samples(session, self.images, self.count, OTHERS)
        given = self.images[0] if len(self.images) == 1 else f"{len(self.images)} pictures"
        names = split_names(self.layers, "--layers") or first_and_last(network)
        context.facts(
            {
                **session.facts(),
                "images": f"{given}: {len(samples)} looked at",
                "layers": ", ".join(names),
                "edges": EDGES,
            }
        )
        result = invariance(
            network,
            preprocess,
            samples,
            layers=names,
            others=others,
            motions=papers_transforms(preprocess.size[0], self.steps),
            out=context.out,
            resume=context.resume,
            ranks=context.together(),
            progress=context.progress,
        )
        return Outcome.on(session, result, given, images=self.images, edges=EDGES)
