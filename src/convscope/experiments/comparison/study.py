"""`convscope compare`: which maps two networks have in common, and how alike their layers are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from convscope.errors import BadOption
from convscope.experiments.options import DataArgument, ModelArgument, Reading
from convscope.experiments.study import Context, Outcome, Study
from convscope.progress import named
from convscope.text import split_names

if TYPE_CHECKING:
    from convscope.experiments.session import Session

__all__ = ["CompareStudy", "MapPooling"]


class MapPooling(StrEnum):
    """How a map's activations become one number per image."""

    MEAN = "mean"
    MAX = "max"


@dataclass(frozen=True)
class CompareStudy(Study):
    """Match the maps of two networks over the same images: kept, moved, lost and new ones.

    Two checkpoints, two seeds, a pruned and a dense network, or two architectures. Maps are matched
    one to one by the correlation of their activations (the Hungarian method), and by their filters
    where the shapes agree; a pair counts where shuffled images would not reach it. How alike layers
    are as a whole is told by linear CKA (Kornblith et al. 2019), debiased.

    Maps of unrelated networks correlate, too, as all of them see the same brightness and contrast:
    compare with a network of random weights to see how much.

    Examples:

        convscope compare run:runs/a run:runs/b scenes:val --out compared
        convscope compare run:runs/a run:runs/b photos --atlas a --other-atlas b --out page
        convscope compare torchvision:alexnet zfnet photos --layers features.0=conv1 --out both
    """

    verb = "compare"
    out_help = "A new folder: result.json, comparison.png, and index.html with --atlas."

    model: ModelArgument
    other: Annotated[
        str,
        typer.Argument(metavar="OTHER", help="The other network, as MODEL.", show_default=False),
    ]
    data: DataArgument
    reading: Reading = field(default_factory=Reading)
    layers: Annotated[
        str | None,
        typer.Option(
            metavar="A,B=C,...",
            help="These layers only; B=C where OTHER calls it C. Default: every convolutional one "
            "that both have.",
        ),
    ] = None
    pooling: Annotated[
        MapPooling, typer.Option(help="The number that a map has for an image: over its positions.")
    ] = MapPooling.MEAN
    least: Annotated[
        float,
        typer.Option(
            min=0, max=1, metavar="R",
            help="The correlation that the same map must have at least, besides that of chance.",
        ),
    ] = 0.5  # fmt: skip
    draws: Annotated[
        int, typer.Option(min=19, metavar="N", help="Shuffles of the images, for the level.")
    ] = 99

    atlas: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="An atlas of MODEL: also write a page, index.html, with the maps of both "
            "networks side by side.",
        ),
    ] = None
    other_atlas: Annotated[
        Path | None, typer.Option(metavar="DIR", help="An atlas of OTHER, for that page.")
    ] = None

    def check(self) -> None:
        if (self.atlas is None) != (self.other_atlas is None):
            raise BadOption("--atlas and --other-atlas belong together: give both, or none")

    def settings(self) -> dict[str, Any]:
        """The atlases are left out: the page may be added later."""
        kept = super().settings()
        return {name: kept[name] for name in kept if name not in ("atlas", "other_atlas")}

    def run(self, context: Context) -> Outcome:
        from convscope.experiments.comparison.comparing import (
            ComparedNetwork,
            Matching,
            activations,
            compare,
            layer_pairs,
        )
        from convscope.scan.engine import Scan

        sessions = [context.session(spec, self.reading) for spec in (self.model, self.other)]
        images = sessions[0].images(self.data)
        atlases = self._atlases(sessions)
        pairs = layer_pairs(
            sessions[0].network, sessions[1].network, split_names(self.layers, "--layers")
        )
        for session in sessions:
            context.facts(session.facts())
        context.facts({"images": f"{images.spec}: {len(images)}"})
        more = {
            "other_network": sessions[1].network.identity()[:16],
            "other_preprocess": sessions[1].model.preprocess.to_dict(),
        }
        sides = []
        with context.results(self, sessions[0], images, more=more) as results:
            for number, (name, session) in enumerate(zip(_names(sessions), sessions, strict=True)):
                scan = Scan(
                    session.network, images, session.model.preprocess,
                    workers=context.running.workers, batch_size=context.running.batch_size,
                    ranks=context.together(), progress=named(context.progress, name),
                )  # fmt: skip
                layers = tuple(dict.fromkeys(pair[number] for pair in pairs))
                seen = activations(scan, layers, str(self.pooling), results, f"network {number}")
                sides.append(
                    ComparedNetwork(name, session.network, seen, session.model.random_weights)
                )
        how = Matching(str(self.pooling), self.least, self.draws, sessions[0].seed)
        found = context.together().from_first(
            lambda: compare(sides[0], sides[1], pairs, images, how)
        )
        return Outcome(
            replace(found, atlases=atlases),
            about={
                **sessions[0].record(),
                "other": sessions[1].record(),
                "images": images.spec,
            },
            subtitle=f"{found.model} · {found.other} · {found.images:,} images of {images.spec}",
        )

    def _atlases(self, sessions: Sequence[Session]) -> tuple[Path, Path] | None:
        """The folders of both atlases; BadOption where one is of another network."""
        from convscope.atlas.store import open_atlas

        if self.atlas is None or self.other_atlas is None:
            return None
        for option, folder, session in zip(
            ("--atlas", "--other-atlas"), (self.atlas, self.other_atlas), sessions, strict=True
        ):
            made_of = open_atlas(folder).manifest.model
            if made_of.weights_sha256 != session.model.weights_sha256:
                raise BadOption(
                    f"{option} {folder} is an atlas of other weights ({made_of.spec}) than those "
                    f"of {session.model.spec}"
                )
        return self.atlas, self.other_atlas


def _names(sessions: Sequence[Session]) -> list[str]:
    """A name for each network, different from the other's."""
    titles = [session.title() for session in sessions]
    specs = [session.model.spec for session in sessions]
    for names in (titles, specs):
        if len(set(names)) == len(names):
            return names
    return [f"{title} ({number})" for number, title in enumerate(titles, 1)]
