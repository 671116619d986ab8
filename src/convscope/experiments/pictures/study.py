"""`convscope pictures`: every kind of picture of a unit in one row, with what each is worth."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated

import typer

from convscope.experiments.options import ModelArgument, Reading, UnitsArgument
from convscope.experiments.study import Context, Outcome, Study

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from convscope.experiments.session import Session
    from convscope.network.unit import Unit
    from convscope.store.results import ResultStore

__all__ = ["PicturesStudy"]


@dataclass(frozen=True)
class PicturesStudy(Study):
    """Show every kind of picture of units side by side, and what each is worth.

    A row for each unit: what it sees; the spotlight; its projections by deconvnet, guided
    backpropagation, gradient, DeepLIFT and LRP-γ, each with the numbers of `check`; saliency,
    contrastive occlusion, the optimised picture, and the inversion of its layer.

    Examples:

        convscope pictures run:runs/demo/zfnet scenes:val conv1/3 conv5/12 --out pictures
        convscope pictures torchvision:alexnet dog.jpg features.10/17 --out dog
    """

    verb = "pictures"

    model: ModelArgument
    source: Annotated[
        str,
        typer.Argument(
            metavar="IMAGE|DATA",
            help="An image (a file, or DATA#NAME), or a set of images: each unit is then seen in "
            "the one that excites it most.",
            show_default=False,
        ),
    ]
    units: UnitsArgument
    reading: Reading = field(default_factory=Reading)
    steps: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Of optimised pictures and of inversions. Default: as `visualize` and `invert`.",
        ),
    ] = None

    def run(self, context: Context) -> Outcome:
        from convscope.experiments.checking import is_picture
        from convscope.experiments.pictures.making import pictures

        session = context.session(self.model, self.reading)
        units = list(dict.fromkeys(session.network.unit(unit) for unit in self.units))
        whole = None if is_picture(self.source) else session.images(self.source)
        seen = _fingerprint(session, self.source) if whole is None else whole
        context.facts({**session.facts(), "images": self.source, "units": str(len(units))})
        more = {"units": [str(unit) for unit in units], "seed": session.seed}
        with context.results(self, session, seen, more=more) as results:
            specs = context.together().from_first(
                lambda: self._images(session, units, results, context, one=whole is None)
            )
            examples = None if whole is None else _examples(session, self.source)
            found = pictures(
                session, units, specs, results,
                steps=self.steps, examples=examples, how=context.execution,
            )  # fmt: skip
        return Outcome.on(session, found, self.source, images=self.source)

    def _images(
        self,
        session: Session,
        units: Sequence[Unit],
        results: ResultStore,
        context: Context,
        *,
        one: bool,
    ) -> list[str]:
        """For each unit the image that it is seen in, as `Session.picture` opens it."""
        from convscope.experiments.checking import strongest_images

        if one:
            return [self.source] * len(units)

        def found() -> dict[str, list[int]]:
            return {"images": strongest_images(session, self.source, units, context.progress)}

        return [f"{self.source}#{number}" for number in results.record("images", found)["images"]]


def _fingerprint(session: Session, source: str) -> str:
    """Of one image, as the network takes it."""
    image = session.tensor(session.picture(source)).cpu().contiguous()
    return hashlib.sha256(image.numpy().tobytes()).hexdigest()


def _examples(session: Session, source: str) -> Tensor | None:
    """Images whose features' distance is the unit of an inversion's error, if there are two."""
    from convscope.experiments.inverting import EXAMPLES
    from convscope.experiments.visualizing import example_images

    found = example_images(session, session.images(source), EXAMPLES)
    return found if len(found) > 1 else None
