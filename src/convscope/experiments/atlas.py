"""`convscope atlas`: what excites every feature map, over many images."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from convscope.experiments.options import (
    DataArgument,
    LayersOption,
    ModelArgument,
    Reading,
    RulesName,
    RulesOption,
)
from convscope.experiments.study import Context, Outcome, Result, Study
from convscope.store.lock import claimed
from convscope.text import counted, split_names

if TYPE_CHECKING:
    from convscope.atlas.build import Search
    from convscope.atlas.manifest import Manifest
    from convscope.distributed import Ranks
    from convscope.experiments.session import Session
    from convscope.images.image_set import ImageSet

__all__ = ["AtlasStudy", "WrittenAtlas"]


@dataclass(frozen=True)
class WrittenAtlas(Result):
    """A finished atlas.

    Attributes:
        folder: its folder.
        manifest: what it holds.
    """

    folder: Path
    manifest: Manifest

    def to_dict(self) -> dict[str, Any]:
        told = {"name", "activation", "channels", "dead", "non_finite", "not_finite"}
        return {
            "images": self.manifest.data.count,
            "skipped": [skipped.model_dump() for skipped in self.manifest.skipped],
            "layers": [layer.model_dump(include=told) for layer in self.manifest.layers],
            "seconds": self.manifest.seconds,
        }

    def words(self) -> list[str]:
        layers = self.manifest.layers
        maps, dead = (
            sum(getattr(layer, name) for layer in layers) for name in ("channels", "dead")
        )
        return [
            f"{counted(maps, 'feature map')} in {counted(len(layers), 'layer')}, "
            f"{counted(self.manifest.data.count, 'image')}, "
            f"{self.manifest.seconds:.1f} s; {counted(dead, 'map')} never active"
        ]

    def warnings(self) -> list[str]:
        skipped = [f"skipped {each.name}: {each.reason}" for each in self.manifest.skipped]
        return skipped + [
            f"{layer.name}: {layer.non_finite} activations were NaN or infinite"
            + (f", all of {counted(layer.not_finite, 'map')}" if layer.not_finite else "")
            for layer in self.manifest.layers
            if layer.non_finite
        ]


@dataclass(frozen=True)
class AtlasStudy(Study):
    """Find what excites every feature map over a set of images.

    The strongest images of each map, cut to what its unit sees, beside their projections: a
    folder with an index.html that opens by double-click, and the numbers behind it. Several
    processes share the work, to the same bytes, with torchrun --nproc-per-node N -m convscope
    atlas (docs/scale.md).

    Examples:

        convscope atlas run:runs/demo/zfnet scenes:val --out atlas
        convscope atlas torchvision:resnet18 photos/ --out atlas --resume
    """

    verb = "atlas"
    own_files = True

    model: ModelArgument
    data: DataArgument
    reading: Reading = field(default_factory=Reading)
    layers: LayersOption = None
    top: Annotated[
        int, typer.Option(min=1, max=100, metavar="N", help="Images kept of each feature map.")
    ] = 9
    rules: RulesOption = RulesName.DECONVNET
    plain: Annotated[
        bool,
        typer.Option(
            "--plain",
            help="Patches and projections alone: no spotlights, checks, contrastive pictures and "
            "statistics, in about a quarter of the time.",
        ),
    ] = False
    check_best: Annotated[
        int,
        typer.Option(
            "--check",
            min=0,
            metavar="N",
            help="Check the strongest N pictures of each map, as `convscope check` does, with "
            "fewer draws.",
        ),
    ] = 1
    relevant: Annotated[
        str | None,
        typer.Option(
            metavar="A,B,...",
            help="Classes, by index or name: of each map also the patches where it is worth most "
            "to one of them, its activation times the derivative of the class's log-odds. A unit "
            "that fires on one class may serve another.",
        ),
    ] = None
    optimised: Annotated[
        str | None,
        typer.Option(
            metavar="A,B,...|all",
            help="Make optimised pictures of these layers' maps, too, as `convscope visualize` "
            "does; of a finished atlas with --resume.",
        ),
    ] = None
    names: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Names and stars of units, as the atlas's page exports them, to be shown on it; "
            "of a finished atlas with --resume.",
        ),
    ] = None
    diagnosis: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="What `convscope diagnose` found in the same network, to be shown on the page; of "
            "a finished atlas with --resume.",
        ),
    ] = None
    compare: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="What `convscope compare` found of the same network and another, to lead from "
            "each map to the other network's; of a finished atlas with --resume.",
        ),
    ] = None

    def run(self, context: Context) -> Outcome:
        from convscope.atlas.checkpoint import check_atlas_folder
        from convscope.atlas.compared import compared_of_study, write_compared
        from convscope.atlas.findings import findings_of_study, write_findings
        from convscope.atlas.names import read_unit_names, write_names
        from convscope.atlas.store import open_atlas

        out = context.out
        assert out is not None
        context.together().from_first(lambda: check_atlas_folder(out))
        names = None if self.names is None else read_unit_names(self.names)
        found = None if self.diagnosis is None else findings_of_study(self.diagnosis)
        compared = None if self.compare is None else compared_of_study(self.compare, out)
        session = context.session(self.model, self.reading)
        images = session.images(self.data)
        first = context.together().first
        with claimed(out) if first else nullcontext():
            outcome = self.build(session, images, context)
            if not self.plain:
                _fill_gallery(session, images, context)
            if self.optimised is not None:
                self._optimise(session, context, out)
            if names is not None and first:
                write_names(open_atlas(out), names)
            if found is not None and first:
                write_findings(open_atlas(out), found)
            if compared is not None and first:
                write_compared(open_atlas(out), compared)
        return outcome

    def build(self, session: Session, images: ImageSet, context: Context) -> Outcome:
        """Make the atlas alone, without whole images, optimised pictures and names."""
        from convscope.atlas.build import Search, write_atlas
        from convscope.atlas.store import open_atlas
        from convscope.methods.rules import rules_named

        assert context.out is not None
        out, ranks, running = context.out, context.together(), context.running
        search = Search(
            split_names(self.layers, "--layers"), self.top,
            rules_named(self.rules), running.batch_size, running.workers, self.plain,
            self.check_best, self._classes(session),
        )  # fmt: skip
        context.facts(_facts(session, images, search, ranks))
        write_atlas(
            session.model, images, out, search, resume=context.resume, how=context.execution
        )
        manifest = ranks.from_first(lambda: open_atlas(out).manifest)
        return Outcome.on(session, WrittenAtlas(out, manifest), images.spec)

    def _classes(self, session: Session) -> tuple[int, ...]:
        """The numbers of the classes of interest."""
        from convscope.experiments.naming import find_class

        names = split_names(self.relevant, "--relevant") or ()
        return tuple(find_class(name, session, "--relevant") for name in names)

    def _optimise(self, session: Session, context: Context, out: Path) -> None:
        """Add optimised pictures to the finished atlas, and say beforehand how long it takes."""
        from convscope.atlas.optimised import expected_seconds, write_optimised
        from convscope.atlas.store import open_atlas
        from convscope.experiments.number_words import duration

        assert self.optimised is not None
        layers = None if self.optimised == "all" else split_names(self.optimised, "--optimised")
        device, made, ranks = str(session.device), None, context.together()
        if ranks.first:
            made = open_atlas(out)
            seconds = expected_seconds(session.model, made, layers, device=device)
            context.say(f"optimised pictures: about {duration(seconds / ranks.count)}")
        write_optimised(session.model, made, layers, how=context.execution)


def _fill_gallery(session: Session, images: ImageSet, context: Context) -> None:
    """Add whole images, predictions and pictures with random weights to an atlas."""
    from convscope.atlas.gallery import write_gallery
    from convscope.atlas.store import open_atlas

    assert context.out is not None
    made = open_atlas(context.out) if context.together().first else None
    if made is not None and made.manifest.extras is None:
        made = None  # a plain one, that is gone on with
    write_gallery(
        session.model, images, made, batch_size=context.running.batch_size, how=context.execution
    )


def _facts(session: Session, images: ImageSet, search: Search, ranks: Ranks) -> dict[str, str]:
    """What is used, for a person; among it, which layers' projections are alike for all images."""
    from convscope.methods.dependence import about_images

    network, rules = session.network, search.rules
    facts = {
        **session.facts(),
        "images": f"{images.spec}: {len(images)}",
        "rules": rules.name,
    }
    names = search.layers or network.conv_layers(all_outputs=True)
    looked_at = [network.activation(name) for name in names]
    if same_for_all := about_images(network, looked_at, rules):
        facts["pictures"] = same_for_all
    if ranks.count > 1:
        facts["processes"] = str(ranks.count)
    return facts
