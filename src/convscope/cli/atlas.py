"""`convscope atlas`: what excites every feature map, over many images."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from convscope.cli.screen import Screen
from convscope.experiments.begun import as_begun
from convscope.experiments.options import (
    DataArgument,
    FolderOption,
    LayersOption,
    ModelArgument,
    Reading,
    ResumeOption,
    RulesName,
    RulesOption,
    Running,
)
from convscope.experiments.session import Session, choose_device, open_session
from convscope.text import split_names

if TYPE_CHECKING:
    from convscope.atlas.build import Search
    from convscope.atlas.store import Atlas
    from convscope.distributed import Ranks
    from convscope.images.image_set import ImageSet

__all__ = ["Mining", "atlas"]


@dataclass(frozen=True)
class Mining:
    """What an atlas looks for.

    Attributes:
        layers: their names, separated by commas; None is every convolutional layer.
        top: how many images each feature map keeps.
        rules: the method of projection.
        resume: go on with an unfinished atlas.
        plain: patches and projections alone.
        check: how many of the strongest pictures of each map are checked.
        relevant: classes of interest, separated by commas.
        optimised: layers that get optimised pictures, separated by commas; all is all of them.
        names: a file of names and stars of units.
    """

    layers: LayersOption = None
    top: Annotated[
        int, typer.Option(min=1, max=100, metavar="N", help="Images kept of each feature map.")
    ] = 9
    rules: RulesOption = RulesName.DECONVNET
    resume: ResumeOption = False
    plain: Annotated[
        bool,
        typer.Option(
            "--plain",
            help="Patches and projections alone: no spotlights, checks and statistics, in less "
            "than half of the time.",
        ),
    ] = False
    check: Annotated[
        int,
        typer.Option(
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


def atlas(
    model: ModelArgument,
    data: DataArgument,
    out: FolderOption,
    reading: Reading,
    running: Running,
    mining: Mining,
) -> None:
    """Find what excites every feature map over a set of images.

    The strongest images of each map, cut to what its unit sees, beside their projections: a
    folder with an index.html that opens by double-click, and the numbers behind it. Several
    processes share the work, to the same bytes, with torchrun --nproc-per-node N -m convscope
    atlas (docs/scale.md).

    Examples:

        convscope atlas run:runs/demo/zfnet scenes:val --out atlas
        convscope atlas torchvision:resnet18 photos/ --out atlas --resume
    """
    layers = None if mining.layers is None else split_names(mining.layers, "--layers")
    device = choose_device(running.device)
    from convscope.atlas.build import Search, write_atlas
    from convscope.atlas.names import read_names, write_names
    from convscope.distributed import processes
    from convscope.methods.rules import rules_named

    rules = rules_named(mining.rules)
    names = None if mining.names is None else read_names(mining.names)
    with processes(device) as ranks:
        screen = Screen(running.as_json, silent=not ranks.first)
        session = replace(open_session(model, reading, running), warn=screen.warn)
        if mining.resume:
            session = replace(session, model=as_begun(session.model, out, reading.fit))
        images = session.images(data)
        search = Search(
            layers, mining.top, rules, running.batch_size, running.workers, mining.plain,
            mining.check, _classes(mining.relevant, session),
        )  # fmt: skip
        screen.facts(_facts(session, images, search, ranks))
        with screen.progress(out) as progress:
            write_atlas(
                session.model, images, out, search,
                resume=mining.resume, device=str(session.device), progress=progress, ranks=ranks,
            )  # fmt: skip
        if not mining.plain:
            _fill_gallery(screen, session, images, out, running, ranks)
        if mining.optimised is not None:
            _optimise(screen, session, out, mining.optimised, ranks)
        if ranks.first:
            from convscope.atlas.store import open_atlas
            from convscope.report.page import write_page

            if names is not None:
                write_names(open_atlas(out), names)
            page = write_page(out)
            _report(screen, session, open_atlas(out), page)


def _fill_gallery(
    screen: Screen, session: Session, images: ImageSet, out: Path, running: Running, ranks: Ranks
) -> None:
    """Add whole images, predictions and pictures with random weights to an atlas."""
    from convscope.atlas.gallery import write_gallery
    from convscope.atlas.store import open_atlas

    made = open_atlas(out) if ranks.first else None
    if made is not None and made.manifest.extras is None:
        made = None  # a plain one, that is gone on with
    with screen.progress(out) as progress:
        write_gallery(
            session.model, images, made, batch_size=running.batch_size, workers=running.workers,
            device=str(session.device), progress=progress, ranks=ranks,
        )  # fmt: skip


def _classes(words: str | None, session: Session) -> tuple[int, ...]:
    """The numbers of the classes of interest."""
    if words is None:
        return ()
    from convscope.experiments.naming import find_class

    names = split_names(words, "--relevant")
    return tuple(find_class(name, session, "--relevant") for name in names)


def _optimise(screen: Screen, session: Session, out: Path, wanted: str, ranks: Ranks) -> None:
    """Add optimised pictures to an atlas that is finished, and say beforehand how long it takes."""
    from convscope.atlas.optimised import expected_seconds, write_optimised
    from convscope.atlas.store import open_atlas
    from convscope.experiments.number_words import duration

    layers = None if wanted == "all" else split_names(wanted, "--optimised")
    device, made = str(session.device), None
    if ranks.first:
        made = open_atlas(out)
        seconds = expected_seconds(session.model, made, layers, device=device)
        screen.say(f"optimised pictures: about {duration(seconds / ranks.count)}")
    with screen.progress(out) as progress:
        write_optimised(session.model, made, layers, device=device, progress=progress, ranks=ranks)


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


def _report(screen: Screen, session: Session, atlas: Atlas, page: Path) -> None:
    """What the atlas holds, in words and for a program."""
    manifest = atlas.manifest
    maps = sum(layer.channels for layer in manifest.layers)
    dead = sum(layer.dead for layer in manifest.layers)
    screen.say(
        "",
        f"{maps} feature maps in {len(manifest.layers)} layers, {manifest.data.count} images, "
        f"{manifest.seconds:.1f} s; {dead} maps never active",
    )
    for skipped in manifest.skipped:
        screen.warn(f"skipped {skipped.name}: {skipped.reason}")
    for layer in manifest.layers:
        if layer.non_finite:
            screen.warn(f"{layer.name}: {layer.non_finite} activations were NaN or infinite")
    screen.say(f"Open {page}")
    screen.result(
        {
            **session.record(),
            "out": str(atlas.folder),
            "page": str(page),
            "images": manifest.data.count,
            "skipped": [skipped.model_dump() for skipped in manifest.skipped],
            "layers": [
                layer.model_dump(include={"name", "activation", "channels", "dead", "non_finite"})
                for layer in manifest.layers
            ],
            "seconds": manifest.seconds,
        }
    )
