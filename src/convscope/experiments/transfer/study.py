"""`convscope transfer` and `convscope probe`: what features are worth for other images."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from convscope.errors import BadOption
from convscope.experiments.begun import setting_begun
from convscope.experiments.learning import RecipeOptions, choose_recipe, describe
from convscope.experiments.options import DataArgument, ModelArgument, Reading
from convscope.experiments.session import Session
from convscope.experiments.study import Context, Outcome, Study
from convscope.experiments.transfer.options import (
    ClassifierName,
    DropOption,
    FeatureReading,
    Measuring,
    Overlap,
    TestOption,
)
from convscope.text import split_integers, split_names

if TYPE_CHECKING:
    from collections.abc import Sequence

    from convscope.experiments.transfer.layers import LayerProbe
    from convscope.experiments.transfer.learning_curve import Transfer
    from convscope.experiments.transfer.multilabel import MultiTransfer
    from convscope.experiments.transfer.scratch import Scratch
    from convscope.images.image_set import ImageSet

__all__ = ["FeatureStudy", "ProbeStudy", "TransferStudy"]

CURVE, ONE_POINT = "1,5,15,30", 30  # images per class to learn from
SCRATCH_EPOCHS = 60  # there are few images, and so few steps in an epoch


@dataclass(frozen=True)
class _Opened:
    """A study's network and images.

    Attributes:
        tests: to test on; None where some of the images are tested on.
    """

    session: Session
    images: ImageSet
    tests: ImageSet | None

    def facts(self) -> dict[str, str]:
        """What is used, for a person."""
        facts = {**self.session.facts(), "images": f"{self.images.spec}: {len(self.images)}"}
        if self.tests is not None:
            facts["test"] = f"{self.tests.spec}: {len(self.tests)}"
        return facts


@dataclass(frozen=True)
class FeatureStudy(Study):
    """Base of the studies on features: their common options, and what they do with them."""

    model: ModelArgument
    data: DataArgument
    reading: Reading = field(default_factory=Reading)
    features: FeatureReading = field(default_factory=FeatureReading)
    measuring: Measuring = field(default_factory=Measuring)
    overlap: Overlap = field(default_factory=Overlap)
    test: TestOption = None
    drop: DropOption = None

    def check(self) -> None:
        self.overlap.check()

    def _measuring(self, context: Context) -> Measuring:
        """How accuracy is measured: as a study that is gone on with was begun."""
        if self.measuring.test_per_class is not None or not (context.resume and context.out):
            return self.measuring
        begun = setting_begun(context.out, "test_per_class")
        return replace(self.measuring, test_per_class=begun if isinstance(begun, int) else None)

    def _open(self, context: Context) -> _Opened:
        """Open the model and the images; BadData or BadOption where a set or class is missing."""
        from convscope.images.subsets import without_classes

        session = context.session(self.model, self.reading)
        dropped = split_names(self.drop, "--drop") or ()

        def images(spec: str) -> ImageSet:
            return without_classes(session.images(spec), dropped)

        tests = None if self.test is None else images(self.test)
        return _Opened(session, images(self.data), tests)

    def _how(self, opened: _Opened, context: Context) -> dict[str, Any]:
        """What the experiments take alike, by name."""
        tests = opened.tests or opened.images
        return {
            "test": opened.tests,
            "duplicates": self.overlap.search(tests, opened.session, context),
            "drop_duplicates": self.overlap.drop_duplicates,
            "out": context.out,
            "resume": context.resume,
        }

    def _several(
        self, opened: _Opened, context: Context, layers: Sequence[str] | None, **others: Any
    ) -> MultiTransfer:
        """Of images that show several classes each.

        Args:
            opened: network and images.
            context: of the study.
            layers: whose features; None is the last hidden one.
            **others: options that are for images of one class each, by name.
        """
        from convscope.experiments.transfer.multilabel import transfer_several

        parts = self.measuring.parts(opened.images, opened.tests, **others)
        return transfer_several(
            self.features.reader(opened.session, context),
            opened.images,
            layers=layers,
            parts=parts,
            seed=context.running.seed,
            **self._how(opened, context),
        )

    def _outcome(
        self, opened: _Opened, found: Transfer | LayerProbe | MultiTransfer, layer: str = ""
    ) -> Outcome:
        session, images = opened.session, opened.images
        against, place = self.overlap.against, Path(images.spec).name
        outcome = Outcome.on(
            session, replace(found, against=against), f"{layer} · {place}" if layer else place,
            images=images.spec, against=against,
        )  # fmt: skip
        return replace(outcome, more={"verb": self.verb})


@dataclass(frozen=True)
class TransferStudy(FeatureStudy):
    """Put a new classifier on a network's features, and see how few images it needs.

    The network stays as it is; a softmax or linear SVM learns new classes from one layer, from n
    images per class, over random folds. Images that show several classes each (scenes:multi,
    voc:, index:) are scored by average precision, as PASCAL VOC 2012 does.

    Examples:

        convscope transfer run:runs/demo/zfnet scenes:transfer --out transfer
        convscope transfer torchvision:vgg16@vgg16.pth caltech:101_ObjectCategories
            --classifier both --out caltech
    """

    verb = "transfer"
    out_help = "A new folder: result.json and transfer.png."

    layer: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="The layer whose features are used. Default: the last hidden layer.",
            show_default=False,
        ),
    ] = None
    per_class: Annotated[
        str | None,
        typer.Option(
            metavar="N,N,...",
            help=f"Images per class to learn from. Default: {CURVE}.",
            show_default=False,
        ),
    ] = None
    scratch: Annotated[
        str | None,
        typer.Option(
            metavar="ARCH",
            help="Also train this architecture from scratch on the same images: zfnet-small, ...",
            show_default=False,
        ),
    ] = None
    scratch_recipe: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FILE",
            help="How it learns, as `train --recipe`. Default: as `train` would on such images, in "
            f"{SCRATCH_EPOCHS} epochs, batches of 16, without dropout. The rate falls by a cosine "
            "where the recipe would wait for a plateau: tests must not steer the training.",
            show_default=False,
        ),
    ] = None
    scratch_epochs: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Epochs of each training from scratch, in place of the recipe's.",
        ),
    ] = None

    def check(self) -> None:
        super().check()
        self._counts()
        if self.scratch is None and (self.scratch_recipe, self.scratch_epochs) != (None, None):
            raise BadOption("--scratch-recipe and --scratch-epochs: say with --scratch what learns")

    def run(self, context: Context) -> Outcome:
        opened = self._open(context)
        baseline = self._baseline(opened, context)
        facts = opened.facts()
        if baseline is not None:
            facts["scratch"] = f"{baseline.architecture}: {describe(baseline.recipe)}"
        context.facts(facts)
        if opened.images.multi_label:
            layers = None if self.layer is None else [self.layer]
            return self._outcome(
                opened,
                self._several(
                    opened, context, layers, per_class=self.per_class, scratch=self.scratch
                ),
            )
        from convscope.experiments.transfer.learning_curve import transfer

        seed = context.running.seed
        found = transfer(
            self.features.reader(opened.session, context),
            opened.images,
            self._measuring(context).protocol(self._counts(), ClassifierName.SOFTMAX, seed),
            layer=self.layer,
            scratch=baseline,
            **self._how(opened, context),
        )
        return self._outcome(opened, found, found.layer)

    def _counts(self) -> tuple[int, ...]:
        return split_integers(self.per_class or CURVE, "--per-class")

    def _baseline(self, opened: _Opened, context: Context) -> Scratch | None:
        """What learns all from the same images, if it was asked for."""
        if self.scratch is None:
            return None
        from convscope.experiments.transfer.scratch import Scratch, for_few_images
        from convscope.models.architectures import architecture_named

        architecture_named(self.scratch)  # before features take their time
        if context.kept is None:
            raise BadOption("a baseline from scratch needs a folder for its trainings: give `out`")
        how = RecipeOptions(recipe=self.scratch_recipe, epochs=self.scratch_epochs)
        if how.recipe is None:
            how = replace(how, epochs=how.epochs or SCRATCH_EPOCHS)
        running = replace(context.running, batch_size=None)
        recipe = choose_recipe(how, self.scratch, opened.images.spec, running)
        return Scratch(
            self.scratch,
            recipe if self.scratch_recipe else for_few_images(recipe),
            opened.images,
            context.kept / "scratch",
            opened.tests,
            opened.session.device,
            running.workers or 0,
            context.progress,
        )


@dataclass(frozen=True)
class ProbeStudy(FeatureStudy):
    """See how much each layer knows: a softmax and a linear SVM on every layer's features.

    The curve over depth of the paper's feature analysis. All layers are read in one pass, and
    judged on the same images in the same folds.

    Examples:

        convscope probe run:runs/demo/zfnet scenes:transfer --out depth
        convscope probe torchvision:vgg16@vgg16.pth voc:VOCdevkit/VOC2012:train
            --test voc:VOCdevkit/VOC2012:val --out depth
    """

    verb = "probe"
    out_help = "A new folder: result.json and probe.png."

    layers: Annotated[
        str | None,
        typer.Option(
            metavar="A,B,...",
            help="These layers. Default: those that everything passes through, except the last.",
            show_default=False,
        ),
    ] = None
    per_class: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help=f"Images per class to learn from. Default: {ONE_POINT}.",
            show_default=False,
        ),
    ] = None

    def check(self) -> None:
        super().check()
        self._names()

    def run(self, context: Context) -> Outcome:
        opened, names = self._open(context), self._names()
        context.facts(opened.facts())
        if opened.images.multi_label:
            from convscope.network.feature_layers import hidden_layers

            layers = names or hidden_layers(opened.session.network)
            found = self._several(opened, context, layers, per_class=self.per_class)
            return self._outcome(opened, found)
        from convscope.experiments.transfer.layers import probe

        counts, seed = (self.per_class or ONE_POINT,), context.running.seed
        return self._outcome(
            opened,
            probe(
                self.features.reader(opened.session, context),
                opened.images,
                self._measuring(context).protocol(counts, ClassifierName.BOTH, seed),
                layers=names,
                **self._how(opened, context),
            ),
        )

    def _names(self) -> tuple[str, ...] | None:
        return split_names(self.layers, "--layers")
