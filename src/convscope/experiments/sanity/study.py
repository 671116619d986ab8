"""`convscope sanity`: what the pictures of a network are worth.

Named after the field's "sanity checks"; `check` is for the picture of one unit.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

import typer

from convscope.experiments.options import DataArgument, LayersOption, ModelArgument, Reading
from convscope.experiments.study import Context, Outcome, Study
from convscope.text import split_names

__all__ = ["SanityStudy"]


@dataclass(frozen=True)
class SanityStudy(Study):
    """Say what pictures are worth: do they point, whose are they, do they tell what was planted?

    Pointing: how often each kind of picture is brightest on the object, against chance and against
    the centre of what the unit sees. Whose: how alike pictures of different units of one place are,
    and what is left of a class's picture when the network is drawn anew, layer by layer. Where: how
    much more a unit falls where its picture points than elsewhere, and than with a disc covered.
    Planted: detectors, grounds and classes that small networks were built with, to be found.

    Example:

        convscope sanity run:runs/demo/zfnet scenes:val --out sanity
    """

    verb = "sanity"

    model: ModelArgument
    data: DataArgument
    reading: Reading = field(default_factory=Reading)
    count: Annotated[
        int,
        typer.Option(
            min=2, metavar="N", help="Images, drawn from those that are classified correctly."
        ),
    ] = 24
    layers: LayersOption = None
    parts: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Where the objects are, as for sensitivity. Default: the file beside the images; "
            "scenes know their objects' pixels.",
        ),
    ] = None

    def run(self, context: Context) -> Outcome:
        from convscope.experiments.correctly_classified import (
            correctly_classified,
            marked_or_none,
            truth_of,
        )
        from convscope.experiments.sanity.measuring import LookedAt, sanity
        from convscope.scan.strongest import layers_with_maps

        session = context.session(self.model, self.reading)
        images, network = session.images(self.data), session.network
        asked = split_names(self.layers, "--layers")
        names = layers_with_maps(network, asked)
        marked = marked_or_none(images, self.parts)
        selection = context.together().from_first(
            lambda: correctly_classified(
                [(network, session.model.preprocess)], images, self.count,
                classes=session.model.classes,
                indices=[mark.index for mark in marked] or None,
                seed=session.seed,
            )
        )  # fmt: skip
        seen = f"{images.spec}: {len(selection.chosen)}, {selection.passed} passed over"
        context.facts({**session.facts(), "images": seen})
        looked_at = LookedAt(
            images, selection.chosen, session.model.preprocess, truth_of(images, marked)
        )
        with context.results(self, session, images) as results:
            found = sanity(
                network, looked_at, names, results,
                seed=session.seed, how=context.execution,
            )  # fmt: skip
        subtitle = f"{found.images} images of {images.spec}"
        outcome = Outcome.on(session, found, subtitle, images=images.spec)
        return replace(outcome, more={"passed": selection.passed})
