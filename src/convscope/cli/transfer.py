"""`convscope transfer`: what a network's features are worth for other classes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from convscope.cli.features import (
    ClassifierName,
    DropOption,
    FeatureReading,
    Measuring,
    Overlap,
    TestOption,
    open_reader,
    open_sets,
    read_several,
    say_precisions,
)
from convscope.cli.outputs import leave_study
from convscope.cli.screen import Screen
from convscope.errors import BadOption
from convscope.experiments.learning import Learning, choose_recipe, describe
from convscope.experiments.options import (
    DataArgument,
    ModelArgument,
    Reading,
    ResumeOption,
    Running,
)
from convscope.experiments.session import Session, open_session
from convscope.text import numbers, table

if TYPE_CHECKING:
    from convscope.experiments.transfer.multilabel import MultiTransfer
    from convscope.experiments.transfer.scratch import Scratch
    from convscope.experiments.transfer.study import Transfer
    from convscope.images.image_set import ImageSet

__all__ = ["transfer"]

PER_CLASS = "1,5,15,30"
SCRATCH_EPOCHS = 60  # there are few images, and so few steps in an epoch


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
    measuring: Measuring,
    overlap: Overlap,
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
        str | None,
        typer.Option(
            metavar="N,N,...",
            help=f"Images per class to learn from. Default: {PER_CLASS}.",
            show_default=False,
        ),
    ] = None,
    test: TestOption = None,
    drop: DropOption = None,
    scratch: Annotated[
        str | None,
        typer.Option(
            metavar="ARCH",
            help="Also train this architecture from scratch on the same images: zfnet-small, ...",
            show_default=False,
        ),
    ] = None,
    scratch_recipe: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FILE",
            help="How it learns, as `train --recipe`. Default: as `train` would on such images, in "
            f"{SCRATCH_EPOCHS} epochs, batches of 16, without dropout. The rate falls by a cosine "
            "where the recipe would wait for a plateau: tests must not steer the training.",
            show_default=False,
        ),
    ] = None,
    scratch_epochs: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Epochs of each training from scratch, in place of the recipe's.",
        ),
    ] = None,
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
    overlap.check()
    counts = numbers(per_class or PER_CLASS, "--per-class")
    screen = Screen(running.as_json)
    scope = open_session(model, reading, running)
    images, tests = open_sets(data, test, drop, scope)
    baseline = _scratch(scratch, scratch_recipe, scratch_epochs, images, tests, out, scope, running)
    facts = {**scope.facts(), "images": f"{images.spec}: {len(images)}"}
    if tests is not None:
        facts["test"] = f"{tests.spec}: {len(tests)}"
    if baseline is not None:
        facts["scratch"] = f"{baseline.architecture}: {describe(baseline.recipe)}"
    screen.facts(facts)
    if images.multi_label:
        parts = measuring.parts(images, tests, per_class=per_class, scratch=scratch)
        layers = None if layer is None else [layer]
        several = read_several(
            screen, scope, (images, tests), out, features, running, layers, parts, overlap, resume
        )
        _leave_several(screen, scope, several, images, out, overlap)
        return
    from convscope.experiments.transfer.study import transfer as study
    from convscope.report.transfer_figure import transfer_figure

    protocol = measuring.protocol(counts, ClassifierName.SOFTMAX, running.seed)
    with screen.progress(out) as progress:
        found = study(
            open_reader(scope, features, running, out, progress),
            images,
            protocol,
            layer=layer,
            test=tests,
            duplicates=overlap.search(tests or images, scope, running, progress),
            drop_duplicates=overlap.drop_duplicates,
            scratch=None if baseline is None else replace(baseline, progress=progress),
            out=out,
            resume=resume,
        )
    record = {**scope.record(), "images": images.spec, "against": overlap.against}
    subtitle = f"{scope.title()} · {found.layer} · {Path(images.spec).name}"
    figure = transfer_figure(found, title="Transfer", subtitle=subtitle)
    _say(screen, found)
    overlap.say(screen, found.duplicates)
    leave_study(screen, out, {"transfer": figure}, found.to_dict(), record)


def _leave_several(
    screen: Screen,
    scope: Session,
    found: MultiTransfer,
    images: ImageSet,
    out: Path,
    overlap: Overlap,
) -> None:
    """Of images that show several classes each."""
    from convscope.report.transfer_figure import precision_figure

    record = {**scope.record(), "images": images.spec, "against": overlap.against}
    subtitle = f"{scope.title()} · {Path(images.spec).name}"
    figure = precision_figure(found, title="Transfer: several classes an image", subtitle=subtitle)
    say_precisions(screen, found)
    overlap.say(screen, found.duplicates)
    leave_study(screen, out, {"transfer": figure}, found.to_dict(), record)


def _scratch(
    name: str | None,
    recipe: str | None,
    epochs: int | None,
    images: ImageSet,
    tests: ImageSet | None,
    out: Path,
    scope: Session,
    running: Running,
) -> Scratch | None:
    """The baseline that learns all from the same images, if it was asked for."""
    if name is None:
        if recipe is not None or epochs is not None:
            raise BadOption("--scratch-recipe and --scratch-epochs: say with --scratch what learns")
        return None
    from convscope.experiments.transfer.scratch import Scratch, for_few_images
    from convscope.network.architectures import architecture_named

    architecture_named(name)  # before features take their time
    how = Learning(recipe=recipe, epochs=epochs)
    if recipe is None:
        how = replace(how, epochs=epochs or SCRATCH_EPOCHS)
    chosen = choose_recipe(how, name, images.spec, replace(running, batch_size=None))
    if recipe is None:
        chosen = for_few_images(chosen)
    folder, workers = out / "scratch", running.workers or 0
    return Scratch(name, chosen, images, folder, tests, scope.device, workers)


def _say(screen: Screen, found: Transfer) -> None:
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
