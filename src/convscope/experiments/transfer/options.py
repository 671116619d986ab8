"""Options of the studies on features, in groups."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from convscope.errors import BadOption
from convscope.experiments.session import Session
from convscope.experiments.study import Context

if TYPE_CHECKING:
    from convscope.experiments.transfer.folds import Protocol
    from convscope.experiments.transfer.linear_model import Loss
    from convscope.experiments.transfer.reading import LayerReader
    from convscope.images.duplicates import Duplicate
    from convscope.images.image_set import ImageSet

__all__ = ["ClassifierName", "DropOption", "FeatureReading", "Measuring", "Overlap", "TestOption"]

CACHE = "features"  # in the study's folder, unless --cache says otherwise
FOLDS = 5
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
            help="Test images per class, at most, such as the paper's 50 for Caltech-101. Default: "
            "all that are not learned from.",
            show_default=False,
        ),
    ] = None

    def protocol(
        self, per_class: tuple[int, ...], classifier: ClassifierName, seed: int
    ) -> Protocol:
        """Make the protocol for images of one class each.

        Args:
            per_class: Numbers of training images per class.
            classifier: The one that is taken if none was asked for.
            seed: Of the folds.
        """
        from convscope.experiments.transfer.folds import Protocol

        return Protocol(
            per_class,
            self.folds or FOLDS,
            self.test_per_class,
            _losses(self.classifier or classifier),
            seed,
        )

    def parts(self, images: ImageSet, tests: ImageSet | None, **others: object) -> int:
        """Choose into how many parts images of several classes each are dealt.

        Args:
            images: The images.
            tests: A test set; None where there is none.
            others: Further options of the verb, by name, that are for images of one class each;
                None where they were not given.

        Raises:
            BadOption: An option that has no meaning for these images was given.
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
        """Refuse options about duplicates where there is nothing to be a duplicate of.

        Raises:
            BadOption: There is nothing to be a duplicate of.
        """
        if self.drop_duplicates and self.against is None:
            raise BadOption("--drop-duplicates: say with --against what the network was trained on")

    def search(
        self, tests: ImageSet, session: Session, context: Context
    ) -> tuple[Duplicate, ...] | None:
        """The near-duplicates among the tests, None where there is nothing to hold them against."""
        if self.against is None:
            return None
        from convscope.images.duplicates import near_duplicates

        others, workers = session.images(self.against), context.running.workers
        return context.together().from_first(
            lambda: near_duplicates(tests, others, workers=workers, progress=context.progress)
        )


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

    def reader(self, session: Session, context: Context) -> LayerReader:
        """How features are read and judged."""
        from convscope.experiments.transfer.reading import LayerReader
        from convscope.scan.pooling import Pooling

        cache = self.cache
        if cache is None and context.kept is not None:
            cache = context.kept / CACHE
        return LayerReader(
            session.model,
            session.network,
            pooling=Pooling(self.pooling).name,
            flips=self.flips,
            half=self.half,
            cache=cache,
            batch_size=context.running.batch_size,
            workers=context.running.workers,
            progress=context.progress,
            ranks=context.together(),
        )


def _losses(classifier: ClassifierName) -> tuple[Loss, ...]:
    """The classifiers of an option's word."""
    from convscope.experiments.transfer.linear_model import Loss

    if classifier is ClassifierName.BOTH:
        return Loss.SOFTMAX, Loss.SVM
    return (Loss(classifier),)
