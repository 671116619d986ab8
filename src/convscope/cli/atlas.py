"""`convscope atlas`: what excites every feature map, over many images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from convscope.cli.screen import Screen
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
from convscope.progress import Progress
from convscope.text import listed

if TYPE_CHECKING:
    from convscope.atlas.store import Atlas
    from convscope.images.image_set import ImageSet
    from convscope.network.ranks import Ranks

__all__ = ["atlas", "make_atlas"]


def atlas(
    model: ModelArgument,
    data: DataArgument,
    out: FolderOption,
    reading: Reading,
    running: Running,
    layers: LayersOption = None,
    top: Annotated[
        int, typer.Option(min=1, max=100, metavar="N", help="Images kept of each feature map.")
    ] = 9,
    rules: RulesOption = RulesName.DECONVNET,
    resume: ResumeOption = False,
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
    names = None if layers is None else listed(layers, "--layers")
    device = choose_device(running.device)
    from convscope.network.ranks import processes

    with processes(device) as ranks:
        screen = Screen(running.as_json, silent=not ranks.first)
        scope = open_session(model, reading, running)
        images = scope.images(data)
        facts = {**scope.facts(), "images": f"{images.spec}: {len(images)}", "rules": rules}
        if same := _about_images(scope, names, rules):
            facts["pictures"] = same
        together = {"processes": str(ranks.count)} if ranks.count > 1 else {}
        screen.facts({**facts, **together})
        with screen.progress(out) as progress:
            make_atlas(
                scope, images, out, running, progress,
                layers=names, top=top, rules=rules, resume=resume, ranks=ranks,
            )  # fmt: skip
        if ranks.first:
            from convscope.atlas.store import open_atlas
            from convscope.report.page import write_page

            page = write_page(out)
            _report(screen, scope, open_atlas(out), page)


def make_atlas(
    scope: Session,
    images: ImageSet,
    out: Path,
    running: Running,
    progress: Progress,
    *,
    layers: tuple[str, ...] | None = None,
    top: int = 9,
    rules: RulesName = RulesName.DECONVNET,
    resume: bool = False,
    ranks: Ranks | None = None,
) -> None:
    """Write the atlas; as one of several processes if `ranks` says."""
    from convscope.atlas.scan import Search, write_atlas
    from convscope.methods.rules import rules_named
    from convscope.network.ranks import ALONE

    search = Search(layers, top, rules_named(rules), running.batch_size, running.workers)
    write_atlas(
        scope.model,
        images,
        out,
        search,
        resume=resume,
        device=str(scope.device),
        progress=progress,
        ranks=ranks or ALONE,
    )


def _about_images(scope: Session, layers: tuple[str, ...] | None, rules: RulesName) -> str | None:
    """Which layers' projections are the same for every image, if any are."""
    from convscope.methods.dependence import about_images
    from convscope.methods.rules import rules_named

    network = scope.network
    looked = [network.activation(name) for name in layers or network.conv_layers()]
    return about_images(network, looked, rules_named(rules))


def _report(screen: Screen, scope: Session, made: Atlas, page: Path) -> None:
    manifest = made.manifest
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
            **scope.record(),
            "out": str(made.folder),
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
