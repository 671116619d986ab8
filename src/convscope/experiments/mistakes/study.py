"""`convscope errors`: what a network confuses, which maps tell, and which labels are in doubt."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated

import typer

from convscope.experiments.options import DataArgument, LayersOption, ModelArgument, Reading
from convscope.experiments.study import Context, Outcome, Study
from convscope.text import split_names

if TYPE_CHECKING:
    from convscope.experiments.mistakes.examined import MistakesOptions

__all__ = ["ErrorsStudy"]


@dataclass(frozen=True)
class ErrorsStudy(Study):
    """Find why a network is wrong: confusions, maps that tell, labels in doubt, duplicates.

    Of each class with enough mistakes, the maps that tell mistakes from right answers are chosen on
    half of its images and judged on the others, against mistakes that are dealt at random; then
    each is taken away, to see whether mistakes come right. Labels are judged by a linear probe on a
    layer's features that did not learn from the image (confident learning, Northcutt et al. 2021),
    beside the labels of the nearest images. Near-duplicates are found by their pictures and by
    features. The page shows all of it, doubts.csv and pairs.csv are the lists.

    Where the network has other classes than the images, the probe's predictions stand for its own.

    Examples:

        convscope errors run:runs/demo/zfnet scenes:val --out errors
        convscope errors torchvision:resnet18@mine.pth photos/train --against photos/val --out why
    """

    verb = "errors"
    out_help = "A new folder: index.html, doubts.csv, pairs.csv, result.json, errors.png."

    model: ModelArgument
    data: DataArgument
    reading: Reading = field(default_factory=Reading)
    layers: LayersOption = None
    layer: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Whose features judge the labels. Default: the last hidden one.",
            show_default=False,
        ),
    ] = None
    against: Annotated[
        str | None,
        typer.Option(
            metavar="DATA",
            help="Another split, such as the one to test on: its images that are here too are "
            "named.",
            show_default=False,
        ),
    ] = None
    draws: Annotated[
        int, typer.Option(min=99, metavar="N", help="Dealings of the mistakes, for p.")
    ] = 999
    shown: Annotated[
        int,
        typer.Option(
            min=1, metavar="N", help="Doubtful labels, and pairs, on the page; the lists have all."
        ),
    ] = 60

    def run(self, context: Context) -> Outcome:
        from convscope.experiments.mistakes.examined import ExaminedImages
        from convscope.experiments.mistakes.finding import find_mistakes

        session = context.session(self.model, self.reading)
        images = session.images(self.data)
        against = None if self.against is None else session.images(self.against)
        examined = ExaminedImages.of(session, images, against, self._asked(context))
        context.facts(
            {**session.facts(), "images": f"{images.spec}: {len(images)}", **examined.facts()}
        )
        more = {
            "layers": list(examined.layers), "layer": examined.layer,
            "against": None if against is None else against.identity(),
            "labels": examined.labels_identity,
        }  # fmt: skip
        with context.results(self, session, images, more=more) as results:
            found = find_mistakes(examined, results, context)
        return Outcome.on(session, found, images.spec, images=images.spec, against=self.against)

    def _asked(self, context: Context) -> MistakesOptions:
        from convscope.experiments.mistakes.examined import MistakesOptions

        layers = None if self.layers is None else split_names(self.layers, "--layers")
        return MistakesOptions(layers, self.layer, self.draws, self.shown, context.running.seed)
