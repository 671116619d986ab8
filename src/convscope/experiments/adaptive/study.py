"""`convscope adaptive`: features learned without labels, by the deconvolutional network of 2011."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from convscope.errors import BadOption
from convscope.experiments.options import DataArgument, Reading
from convscope.experiments.study import Context, Outcome, Study
from convscope.text import split_integers
from convscope.version import __version__

if TYPE_CHECKING:
    from convscope.experiments.adaptive.finding import AdaptiveOptions
    from convscope.images.image_set import ImageSet
    from convscope.training.deconvolution.layerwise import DeconvolutionArchitecture, Learning

__all__ = ["AdaptiveStudy"]

_PROBE = "What the features are worth"


@dataclass(frozen=True)
class AdaptiveStudy(Study):
    """Learn features without labels, by an adaptive deconvolutional network (Zeiler et al. 2011).

    Layer by layer, filters are learned whose sparse codes reconstruct the pixels: through all
    layers below, unpooled by the switches of 3-D max pooling over space and pairs of maps. Codes
    are found by ISTA with backtracking, filters by gradient steps in turn. The images are grey and
    contrast-normalised. The figure shows each map by its nine strongest codes, every one of them
    carried down to the pixels alone, and by the patches where they stand.

    With --probe a linear SVM says what the features are worth, beside those of random filters of
    the same sizes, and of a network that learned from labels (--against).

    Examples:

        convscope adaptive scenes:train --out learned
        convscope adaptive photos/ --maps 12,24 --probe scenes:transfer
            --against run:runs/demo/zfnet --out worth
    """

    verb = "adaptive"
    out_help = "A new folder: result.json, adaptive.png, and the filters in pieces/."

    data: DataArgument
    maps: Annotated[
        str,
        typer.Option(
            metavar="N,N,...",
            help="Feature maps of each layer, bottom up, even numbers: as many layers as numbers.",
        ),
    ] = "8,16"
    side: Annotated[
        int, typer.Option(min=1, metavar="N", help="Side of each filter, an odd number.")
    ] = 7
    size: Annotated[
        int,
        typer.Option(
            min=8, metavar="PX", help="Side of the images; a multiple of 2 for every layer."
        ),
    ] = 64
    count: Annotated[
        int,
        typer.Option(min=2, metavar="N", help="Images to learn from, spread evenly over DATA."),
    ] = 100
    epochs: Annotated[
        int, typer.Option(min=1, metavar="N", help="Rounds of codes and filters for each layer.")
    ] = 10
    weight: Annotated[
        float,
        typer.Option(
            metavar="VALUE",
            help="λ of layer 1, of the squared error against the codes' magnitudes: larger, and "
            "more codes are not zero.",
        ),
    ] = 4.0
    sparser: Annotated[
        float,
        typer.Option(
            metavar="VALUE",
            help="λ is so many times smaller in each layer than in the one below. With 1 codes of "
            "layer 2 are so many that its filters look like noise.",
        ),
    ] = 20.0
    steps: Annotated[
        int, typer.Option(min=2, metavar="N", help="Of ISTA, each time that codes are inferred.")
    ] = 20
    probe: Annotated[
        str | None,
        typer.Option(
            metavar="DATA",
            help="Labelled images to tell the classes of, from each layer's features.",
            show_default=False,
            rich_help_panel=_PROBE,
        ),
    ] = None
    per_class: Annotated[
        int,
        typer.Option(
            min=1, metavar="N", help="Images of each class to learn from; the others are tested.",
            rich_help_panel=_PROBE,
        ),
    ] = 15  # fmt: skip
    folds: Annotated[
        int,
        typer.Option(
            min=2, metavar="N", help="Random draws of these images.", rich_help_panel=_PROBE
        ),
    ] = 5
    against: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help="A network that learned from labels, whose hidden layers are probed, too.",
            show_default=False,
            rich_help_panel=_PROBE,
        ),
    ] = None

    reading: Reading = field(default_factory=Reading)

    def check(self) -> None:
        self._architecture().check((self.size, self.size))
        if not 0 < self.weight < float("inf"):
            raise BadOption(f"--weight {self.weight}: a number above 0")
        if not 1 <= self.sparser < float("inf"):
            raise BadOption(f"--sparser {self.sparser}: 1 or more")
        if self.against is not None and self.probe is None:
            raise BadOption("--against: say with --probe which images the features are judged on")

    def run(self, context: Context) -> Outcome:
        from convscope.experiments.adaptive.finding import AdaptiveOptions, find
        from convscope.experiments.adaptive.probing import Probing
        from convscope.experiments.adaptive.reading import read_images
        from convscope.images.subsets import evenly
        from convscope.scan.items import open_results

        images = context.images(self.data, size=self.size)
        session = None if self.against is None else context.session(self.against, self.reading)
        probing = None
        if self.probe is not None:
            labelled = context.images(self.probe, size=self.size)
            probing = Probing(labelled, self.per_class, self.folds, context.running.seed)
        chosen = evenly(len(images), self.count)
        context.facts({
            "images": f"{images.spec}: {len(chosen)} of {len(images)}",
            "layers": f"maps {self.maps}, filters {self.side}×{self.side}",
            **({} if probing is None else {"probe": f"{self.probe}: {len(probing.images)}"}),
            **({} if session is None else {"against": session.title()}),
        })  # fmt: skip
        read = read_images(images, chosen, self.size, context.device)
        asked = AdaptiveOptions(self._architecture(), self._learning(), read, probing, session)
        settings = {} if context.out is None else self._depends_on(images, asked, context)
        with open_results(
            context.out, settings, resume=context.resume, ranks=context.together()
        ) as results:
            found = find(asked, results, context)
        unread = tuple((images.name(index), reason) for index, reason in read.unread)
        about = {"convscope": __version__, "images": images.spec, "against": self.against}
        return Outcome(
            replace(found, unread=unread), about, f"{found.images} images of {images.spec}"
        )

    def _architecture(self) -> DeconvolutionArchitecture:
        from convscope.training.deconvolution.layerwise import DeconvolutionArchitecture

        return DeconvolutionArchitecture(split_integers(self.maps, "--maps"), self.side)

    def _learning(self) -> Learning:
        from convscope.training.deconvolution.layerwise import Learning
        from convscope.training.deconvolution.sparse_codes import Sparsity

        return Learning(self.epochs, sparsity=Sparsity(self.weight, self.steps, self.sparser))

    def _depends_on(
        self, images: ImageSet, asked: AdaptiveOptions, context: Context
    ) -> dict[str, Any]:
        """What the results depend on."""
        probing, session = asked.probing, asked.session
        settings = self.settings()
        if self.sparser == 1 or len(asked.architecture.maps) == 1:
            del settings["sparser"]  # as in studies that were begun when there was one λ for all
        return {
            "study": self.verb, **settings, "seed": context.running.seed,
            "data": images.identity(),
            "probe": None if probing is None else probing.images.identity(),
            "against": None if session is None else session.network.identity()[:16],
        }  # fmt: skip
