"""`convscope features`: features of every image, in a file for others to use."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from convscope.cli.outputs import check_output
from convscope.cli.screen import Screen
from convscope.experiments.options import DataArgument, ModelArgument, Reading, Running
from convscope.experiments.session import Session, choose_device, open_session
from convscope.progress import Progress
from convscope.text import split_names

if TYPE_CHECKING:
    from convscope.distributed import Ranks
    from convscope.images.image_set import ImageSet

__all__ = ["Extracting", "features"]


@dataclass(frozen=True)
class Extracting:
    """Which features, and where they go.

    Attributes:
        out: the file.
        layers: whose values.
        pooling: of layers with a grid.
        flips: average over each image and its mirror image.
        half: in float16.
        map: the file of a map of the images.
        cache: where finished rows are kept.
        resume: go on with them.
    """

    out: Annotated[
        Path,
        typer.Option(
            metavar="FILE",
            help=".npz, .safetensors, or .parquet (pip install 'convscope[parquet]').",
            show_default=False,
        ),
    ]
    layers: Annotated[
        str | None,
        typer.Option(
            metavar="A,B,...",
            help="Of these layers. Default: the last hidden one, which the classifier reads.",
            show_default=False,
        ),
    ] = None
    pooling: Annotated[
        str,
        typer.Option(
            metavar="HOW",
            help="Of a layer with a grid: flatten (the whole layer, nothing pooled), mean, max, "
            "mean+max, grid3 (means over 3×3 cells; any number), or auto (flatten up to 20,000 "
            "values, else the finest grid with at most 5,000).",
        ),
    ] = "auto"
    flips: Annotated[
        bool,
        typer.Option("--flips", help="Average the features of each image and its mirror image."),
    ] = False
    half: Annotated[
        bool, typer.Option("--half", help="Store the features in float16, in half the space.")
    ] = False
    map: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Also draw a map of the images (.png): near each other where the last of the "
            "layers is alike, by t-SNE (pip install 'convscope[map]').",
        ),
    ] = None
    cache: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Keep the features there, for `transfer`, `probe` and this verb. Default: "
            "FILE.work, until FILE is written.",
        ),
    ] = None
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on where an interrupted run stopped.")
    ] = False


def features(
    model: ModelArgument,
    data: DataArgument,
    extracting: Extracting,
    reading: Reading,
    running: Running,
) -> None:
    """Write the features of every image, with names and labels, to a file.

    What a layer answers to an image describes it, for classifiers, search or clustering elsewhere
    (DeCAF, Donahue et al. 2014). The file has a row for each image that can be read; the others
    are named. Memory does not grow with the number of images.

    Examples:

        convscope features run:runs/demo/zfnet scenes:val --out scenes.npz
        convscope features torchvision:alexnet photos --layers features.10,classifier.4
            --pooling mean --out photos.safetensors --map photos.png
    """
    from convscope.experiments.features.files import ENDINGS, check_ending

    out = check_output(extracting.out, tuple(ENDINGS))
    check_ending(out)
    if extracting.map is not None:
        from convscope.experiments.features.image_map import check_sklearn_installed

        check_output(extracting.map, (".png",), option="--map")
        check_sklearn_installed()
    asked = split_names(extracting.layers, "--layers")
    from convscope.distributed import processes

    with processes(choose_device(running.device)) as ranks:
        screen = Screen(running.as_json, silent=not ranks.first)
        session = replace(open_session(model, reading, running), warn=screen.warn)
        images = session.images(data)
        screen.facts({**session.facts(), "images": f"{images.spec}: {len(images)}"})
        with screen.progress() as progress:
            made = _made(session, images, asked, extracting, FeatureWork(running, ranks, progress))
        screen.say("", *made.words)
        for skip in made.skipped:
            screen.warn(f"skipped {skip}")
        files = [str(path) for path in (out, extracting.map) if path is not None]
        screen.say("", *(f"Written: {file}" for file in files))
        screen.result(made.record)


@dataclass(frozen=True)
class FeatureWork:
    """How the work is done: the options, the processes, and who is told of it."""

    running: Running
    ranks: Ranks
    progress: Progress


@dataclass(frozen=True)
class _Made:
    """What is said of the files that were written."""

    words: list[str]
    skipped: list[str]
    record: dict[str, Any]


def _made(
    session: Session,
    images: ImageSet,
    asked: tuple[str, ...] | None,
    extracting: Extracting,
    work: FeatureWork,
) -> _Made:
    """Read the features, and write them and their map."""
    from convscope.experiments.features.feature_set import layers_of_features, read_features
    from convscope.experiments.features.files import write_features
    from convscope.experiments.features.work_folder import rows_kept_beside
    from convscope.scan.engine import Scan
    from convscope.scan.features import FeatureSettings

    layers = layers_of_features(session.network, asked)
    out, ranks = extracting.out, work.ranks
    with rows_kept_beside(out, extracting.cache, resume=extracting.resume, ranks=ranks) as kept:
        scan = Scan(
            session.network, images, session.model.preprocess,
            batch_size=work.running.batch_size, workers=work.running.workers, ranks=ranks,
            progress=work.progress,
        )  # fmt: skip
        how = FeatureSettings(extracting.pooling, extracting.flips, extracting.half)
        found = read_features(session.model, scan, layers, how, cache=kept)
        record = {**session.record(), "data": images.spec, **found.to_dict()}
        ranks.from_first(lambda: write_features(out, found, record))
        if extracting.map is not None and ranks.first:
            from convscope.report.image_map_figure import write_image_map

            write_image_map(
                extracting.map, found, seed=session.seed, about=record,
                subtitle=f"{session.title()} · {images.spec}",
            )  # fmt: skip
    files = {"out": str(out), **({"map": str(extracting.map)} if extracting.map else {})}
    skipped = [f"{skip.name}: {skip.reason}" for skip in found.skipped]
    return _Made(found.words(), skipped, {**record, **files})
