"""`convscope transfer`: what a network's features are worth for other classes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from convscope.cli.features import (
    ClassifierName,
    ClassifierOption,
    DropOption,
    FeatureReading,
    FoldsOption,
    TestOption,
    TestPerClassOption,
    losses,
    open_reader,
    open_sets,
    read_several,
    say_precisions,
)
from convscope.cli.inputs import Microscope, open_microscope
from convscope.cli.options import DataArgument, ModelArgument, Reading, ResumeOption, Running
from convscope.cli.outputs import leave_study
from convscope.cli.screen import Screen
from convscope.cli.words import numbers, table
from convscope.errors import BadOption
from convscope.progress import Progress

if TYPE_CHECKING:
    from convscope.experiments.transfer.scratch import Scratch
    from convscope.experiments.transfer.study import Transfer
    from convscope.images.duplicates import Duplicate
    from convscope.images.image_set import ImageSet

__all__ = ["transfer"]

SHOWN = 5  # duplicates that are named on the screen


def transfer(
    model: ModelArgument,
    data: DataArgument,
    out: Annotated[
        Path,
        typer.Option(
            metavar="DIR", help="A new folder: result.json and transfer.png.", show_default=False
        ),
    ],
    reading: Reading,
    features: FeatureReading,
    running: Running,
    layer: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="The layer whose features are used. Default: the last hidden layer.",
            show_default=False,
        ),
    ] = None,
    per_class: Annotated[
        str, typer.Option(metavar="N,N,...", help="Images per class to learn from.")
    ] = "1,5,15,30",
    folds: FoldsOption = 5,
    classifier: ClassifierOption = ClassifierName.SOFTMAX,
    test: TestOption = None,
    test_per_class: TestPerClassOption = 50,
    drop: DropOption = None,
    against: Annotated[
        str | None,
        typer.Option(
            metavar="DATA",
            help="Images that the network was trained on: near-duplicates of them among the test "
            "images are searched for and reported.",
            show_default=False,
        ),
    ] = None,
    drop_duplicates: Annotated[
        bool, typer.Option("--drop-duplicates", help="Leave near-duplicates out of the tests.")
    ] = False,
    scratch: Annotated[
        str | None,
        typer.Option(
            metavar="ARCH",
            help="Also train this architecture from scratch on the same images: zfnet-small, ...",
            show_default=False,
        ),
    ] = None,
    scratch_epochs: Annotated[
        int, typer.Option(min=1, metavar="N", help="Epochs of each training from scratch.")
    ] = 60,
    resume: ResumeOption = False,
) -> None:
    """Put a new classifier on a network's features, and see how few images it needs.

    The network stays as it is; a softmax or linear SVM learns new classes from one layer, from n
    images per class, over random folds. Images that show several classes each (scenes:multi,
    voc:, index:) are scored by average precision, as PASCAL VOC 2012 does.

    Examples:

        convscope transfer run:runs/demo/zfnet scenes:transfer --out transfer
        convscope transfer torchvision:vgg16@vgg16.pth caltech:101_ObjectCategories
            --classifier both --out caltech
    """
    if drop_duplicates and against is None:
        raise BadOption("--drop-duplicates: say with --against what the network was trained on")
    counts = numbers(per_class, "--per-class")
    screen = Screen(running.as_json)
    scope = open_microscope(model, reading, running)
    images, tests = open_sets(data, test, drop, scope)
    facts = {**scope.facts(), "images": f"{images.spec}: {len(images)}"}
    screen.facts(facts if tests is None else {**facts, "test": f"{tests.spec}: {len(tests)}"})
    if images.multi_label:
        if scratch or against:
            raise BadOption("--scratch and --against are for images of one class each only")
        _several(screen, scope, (images, tests), out, features, running, layer, folds, resume)
        return
    from convscope.experiments.transfer.folds import Protocol
    from convscope.experiments.transfer.study import transfer as study
    from convscope.report.transfer_figure import transfer_figure

    protocol = Protocol(counts, folds, test_per_class, losses(classifier), running.seed)
    with screen.progress(out) as progress:
        found = study(
            open_reader(scope, features, running, out, progress),
            images,
            protocol,
            layer=layer,
            test=tests,
            duplicates=_duplicates(against, tests or images, scope, running, progress),
            drop_duplicates=drop_duplicates,
            scratch=_scratch(scratch, scratch_epochs, images, tests, out, scope, running, progress),
            out=out,
            resume=resume,
        )
    record = {**scope.record(), "images": images.spec, "against": against}
    subtitle = f"{scope.title()} · {found.layer} · {Path(images.spec).name}"
    figure = transfer_figure(found, title="Transfer", subtitle=subtitle)
    _say(screen, found, against)
    leave_study(screen, out, {"transfer": figure}, found.to_dict(), record)


def _several(
    screen: Screen,
    scope: Microscope,
    sets: tuple[ImageSet, ImageSet | None],
    out: Path,
    features: FeatureReading,
    running: Running,
    layer: str | None,
    folds: int,
    resume: bool,
) -> None:
    """Images that show several classes each."""
    from convscope.report.transfer_figure import precision_figure

    layers = None if layer is None else [layer]
    found = read_several(screen, scope, sets, out, features, running, layers, folds, resume)
    images = sets[0].spec
    record = {**scope.record(), "images": images}
    subtitle = f"{scope.title()} · {Path(images).name}"
    figure = precision_figure(found, title="Transfer: several classes an image", subtitle=subtitle)
    say_precisions(screen, found)
    leave_study(screen, out, {"transfer": figure}, found.to_dict(), record)


def _duplicates(
    against: str | None, tests: ImageSet, scope: Microscope, running: Running, progress: Progress
) -> tuple[Duplicate, ...] | None:
    if against is None:
        return None
    from convscope.images.duplicates import near_duplicates

    return near_duplicates(tests, scope.images(against), workers=running.workers, progress=progress)


def _scratch(
    name: str | None,
    epochs: int,
    images: ImageSet,
    tests: ImageSet | None,
    out: Path,
    scope: Microscope,
    running: Running,
    progress: Progress,
) -> Scratch | None:
    """The baseline that learns all from the same images, if it was asked for."""
    if name is None:
        return None
    from dataclasses import replace

    from convscope.experiments.transfer.scratch import Scratch
    from convscope.network.architectures import architecture_named
    from convscope.training.recipe import recipe_named

    architecture_named(name)  # before features take their time
    recipe = recipe_named("small" if name.endswith("-small") else "paper")
    recipe = replace(recipe, epochs=epochs, seed=running.seed)
    return Scratch(
        name, recipe, images, out / "scratch", tests, scope.device, running.workers or 0, progress
    )


def _say(screen: Screen, found: Transfer, against: str | None) -> None:
    from convscope.experiments.wording import plus_minus

    curves: dict[str, dict[int, str]] = {}
    for point in found.points:
        name = point.classifier if point.classifier != "scratch" else f"{point.layer} from scratch"
        curves.setdefault(name, {})[point.per_class] = plus_minus(point.mean, point.std)
    counts = found.protocol.per_class
    rows = [[name, *(row[n] for n in counts)] for name, row in curves.items()]
    screen.say(
        "",
        f"accuracy, mean over {len(found.classes)} classes and {found.protocol.folds} folds ± "
        f"standard deviation, %; guessing {100 * found.chance:.1f}",
        *table(["images per class", *map(str, counts)], rows),
        "",
        f"features of {found.layer}: {found.length:,} per image ({found.pooling}); "
        f"{found.test_images} test images a fold",
    )
    for name in found.skipped:
        screen.warn(f"skipped {name}: it could not be read")
    if found.duplicates is None:
        return
    what = "left out of the tests" if found.dropped else "still among the images"
    screen.say(f"{len(found.duplicates)} near-duplicates of {against}, {what}")
    for pair in found.duplicates[:SHOWN]:
        mirrored = ", mirrored" if pair.mirrored else ""
        screen.say(f"  {pair.name} is {pair.other_name}{mirrored} ({pair.correlation:.3f})")
