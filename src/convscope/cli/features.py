"""What the verbs on features share: options, the reader, data sets, tables in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from convscope.cli.screen import Screen
from convscope.errors import BadOption
from convscope.experiments.options import Running
from convscope.experiments.session import Session
from convscope.progress import Progress
from convscope.text import listed

if TYPE_CHECKING:
    from convscope.experiments.transfer.folds import Protocol
    from convscope.experiments.transfer.linear_model import Loss
    from convscope.experiments.transfer.multilabel import MultiTransfer
    from convscope.experiments.transfer.reading import LayerReader
    from convscope.images.duplicates import Duplicate
    from convscope.images.image_set import ImageSet

__all__ = [
    "ClassifierName",
    "DropOption",
    "FeatureReading",
    "Measuring",
    "Overlap",
    "TestOption",
    "open_reader",
    "open_sets",
    "read_several",
    "say_precisions",
]  # fmt: skip

CACHE = "features"  # in the study's folder, unless --cache says otherwise
FOLDS, TESTED = 5, 50  # TESTED: per class
SHOWN = 5  # duplicates that are named on the screen
_PANEL = "Features"


class ClassifierName(StrEnum):
    """What is put on top of the features."""

    SOFTMAX = "softmax"
    SVM = "svm"
    BOTH = "both"


class SolverName(StrEnum):
    """Who fits the classifiers. There is one; the option is kept for commands that name it."""

    AUTO = "auto"
    TORCH = "torch"


TestOption = Annotated[
    str | None,
    typer.Option(
        metavar="DATA",
        help="Test on these images. Default: on those of DATA that were not trained on.",
        show_default=False,
    ),
]
DropOption = Annotated[
    str | None,
    typer.Option(
        metavar="A,B,...",
        help="Classes to leave out, such as Faces_easy, which shows the photographs of Faces.",
        show_default=False,
    ),
]


@dataclass(frozen=True)
class Measuring:
    """How accuracy is measured: on images of one class each, but for --folds."""

    folds: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Random draws of the images; for images with several classes, the parts of a "
            "random split. Default: 5.",
            show_default=False,
        ),
    ] = None
    classifier: Annotated[
        ClassifierName | None,
        typer.Option(
            help="Fitted on top of the features. Default: softmax; probe: both.",
            show_default=False,
        ),
    ] = None
    test_per_class: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Test images per class, at most. Default: 50.",
            show_default=False,
        ),
    ] = None

    def protocol(
        self, per_class: tuple[int, ...], classifier: ClassifierName, seed: int
    ) -> Protocol:
        """For images of one class each.   classifier : if none was asked for"""
        from convscope.experiments.transfer.folds import Protocol

        return Protocol(
            per_class,
            self.folds or FOLDS,
            self.test_per_class or TESTED,
            _losses(self.classifier or classifier),
            seed,
        )

    def parts(self, images: ImageSet, tests: ImageSet | None, **others: object) -> int:
        """For images of several classes each: into how many they are dealt.

        others : by name, further options of the verb that are for images of one class each; None
            where they were not given
        Raises  BadOption: an option that has no meaning for these images was given.
        """
        given = {"classifier": self.classifier, "test_per_class": self.test_per_class, **others}
        named = [f"--{name.replace('_', '-')}" for name, value in given.items() if value]
        if named:
            raise BadOption(
                f"{' and '.join(named)}: for images of one class each; those of {images.spec} "
                "show several, and a sigmoid per class learns from all that are not tested on"
            )
        if tests is not None and self.folds is not None:
            raise BadOption("--folds: images with several classes are not split where --test is")
        if self.folds == 1:
            raise BadOption("--folds 1: images with several classes are split into 2 parts or more")
        return self.folds or FOLDS


@dataclass(frozen=True)
class Overlap:
    """Images of the tests that the network was trained on."""

    against: Annotated[
        str | None,
        typer.Option(
            metavar="DATA",
            help="Images that the network was trained on: near-duplicates of them among the test "
            "images are searched for and reported.",
            show_default=False,
        ),
    ] = None
    drop_duplicates: Annotated[
        bool, typer.Option("--drop-duplicates", help="Leave near-duplicates out of the tests.")
    ] = False

    def check(self) -> None:
        """Raises  BadOption: nothing to be a duplicate of."""
        if self.drop_duplicates and self.against is None:
            raise BadOption("--drop-duplicates: say with --against what the network was trained on")

    def search(
        self, tests: ImageSet, scope: Session, running: Running, progress: Progress | None
    ) -> tuple[Duplicate, ...] | None:
        """The near-duplicates, None where there is nothing to hold the tests against."""
        if self.against is None:
            return None
        from convscope.images.duplicates import near_duplicates

        others = scope.images(self.against)
        return near_duplicates(tests, others, workers=running.workers, progress=progress)

    def say(self, screen: Screen, duplicates: Sequence[Duplicate] | None) -> None:
        """What was found, the first ones named."""
        if duplicates is None:
            return
        what = ", left out of the tests" if self.drop_duplicates else ", still among the images"
        found = f"{len(duplicates)} near-duplicates of {self.against}"
        screen.say(found + (what if duplicates else ""))
        for pair in duplicates[:SHOWN]:
            mirrored = ", mirrored" if pair.mirrored else ""
            screen.say(f"  {pair.name} is {pair.other_name}{mirrored} ({pair.correlation:.3f})")


@dataclass(frozen=True)
class FeatureReading:
    """How features are read off the layers."""

    pooling: Annotated[
        str,
        typer.Option(
            metavar="HOW",
            help="Of a layer with a grid: flatten (the whole layer), mean, max, mean+max, grid3 "
            "(means over 3×3 cells; any number), or auto (flatten up to 20,000 values, else the "
            "finest grid with at most 5,000).",
            rich_help_panel=_PANEL,
        ),
    ] = "auto"
    flips: Annotated[
        bool,
        typer.Option(
            "--flips",
            help="Average the features of each image and its mirror image.",
            rich_help_panel=_PANEL,
        ),
    ] = False
    half: Annotated[
        bool,
        typer.Option(
            "--half",
            help="Store the features in float16, in half the space.",
            rich_help_panel=_PANEL,
        ),
    ] = False
    cache: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Where the features are cached; studies may share it. Default: in --out.",
            show_default=False,
            rich_help_panel=_PANEL,
        ),
    ] = None
    solver: Annotated[
        SolverName,
        typer.Option(
            help="Kept for commands that name it: torch fits all classifiers.",
            rich_help_panel=_PANEL,
        ),
    ] = SolverName.AUTO


def open_reader(
    scope: Session, how: FeatureReading, running: Running, out: Path, progress: Progress | None
) -> LayerReader:
    """How features are read and judged, from the options."""
    from convscope.experiments.transfer.reading import LayerReader
    from convscope.scan.pooling import Pooling

    return LayerReader(
        scope.model,
        scope.network,
        pooling=Pooling(how.pooling).name,
        flips=how.flips,
        half=how.half,
        cache=how.cache or out / CACHE,
        batch_size=running.batch_size,
        workers=running.workers,
        progress=progress,
    )


def open_sets(
    data: str, test: str | None, drop: str | None, scope: Session
) -> tuple[ImageSet, ImageSet | None]:
    """The images to learn from, and those to test on if they are others; classes dropped.

    Raises  BadData: no such set or class; BadOption: no class in `drop`.
    """
    from convscope.images.chosen import without_classes

    dropped = () if drop is None else listed(drop, "--drop")

    def opened(spec: str) -> ImageSet:
        return without_classes(scope.images(spec), dropped)

    return opened(data), None if test is None else opened(test)


def _losses(classifier: ClassifierName) -> tuple[Loss, ...]:
    """The classifiers of an option's word."""
    from convscope.experiments.transfer.linear_model import Loss

    if classifier is ClassifierName.BOTH:
        return Loss.SOFTMAX, Loss.SVM
    return (Loss(classifier),)


def read_several(
    screen: Screen,
    scope: Session,
    sets: tuple[ImageSet, ImageSet | None],
    out: Path,
    features: FeatureReading,
    running: Running,
    layers: Sequence[str] | None,
    parts: int,
    overlap: Overlap,
    resume: bool,
) -> MultiTransfer:
    """Images that show several classes each, judged on the features of some layers."""
    from convscope.experiments.transfer.multilabel import transfer_several

    images, tests = sets
    with screen.progress(out) as progress:
        return transfer_several(
            open_reader(scope, features, running, out, progress),
            images,
            layers=layers,
            test=tests,
            parts=parts,
            seed=running.seed,
            duplicates=overlap.search(tests or images, scope, running, progress),
            drop_duplicates=overlap.drop_duplicates,
            out=out,
            resume=resume,
        )


def say_precisions(screen: Screen, found: MultiTransfer) -> None:
    """Average precision in words: each layer, then the classes of the best."""
    screen.say("", *_precision_words(found))
    for name in found.skipped:
        screen.warn(f"skipped {name}: it could not be read")


def _precision_words(found: MultiTransfer) -> list[str]:
    """A table of the layers, and of the best one's classes."""
    best = max(found.layers, key=lambda layer: layer.mean)
    wide = max(len(layer.layer) for layer in found.layers)
    lines = [f"{'layer'.ljust(wide)}  mean average precision (95 % bootstrap interval)"]
    for layer in found.layers:
        spread = "" if found.repeats < 2 else f" ± {100 * layer.std:.1f} over random splits"
        lines.append(
            f"{layer.layer.ljust(wide)}  {100 * layer.mean:5.1f}{spread}  "
            f"({100 * layer.low:.1f} to {100 * layer.high:.1f})"
        )
    lines += ["", f"guessing reaches {100 * found.chance:.1f}; classes of {best.layer}:"]
    lines += [
        f"  {each.name}: {100 * each.precision:.1f} ({each.images} images, guessing "
        f"{100 * each.chance:.1f})"
        for each in sorted(best.classes, key=lambda each: -each.precision)
    ]
    if found.left_out:
        lines.append(
            f"left out: {len(found.left_out)} classes shown by fewer than {found.least} images"
        )
    return lines
