"""Transfer (paper §5.2, Tables 3-5, Fig. 9): a trained network's features serve another task.

The network stays as it is; a softmax or linear SVM learns new classes from the features of one of
its layers, from n images per class, for several n and random folds of images. Images that show
several classes each are measured by average precision (multilabel.py).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from convscope.execution import Execution
from convscope.experiments.number_words import plus_minus
from convscope.experiments.transfer.classifier import fit_probe
from convscope.experiments.transfer.folds import Fold, Protocol, draw_folds, labels_of
from convscope.experiments.transfer.linear_model import LinearProblem, Loss
from convscope.experiments.transfer.reading import FeatureResult, LayerReader, doubles_of
from convscope.experiments.transfer.scores import class_accuracies
from convscope.experiments.transfer.scratch import Scratch
from convscope.images.duplicates import Duplicate
from convscope.images.image_set import ImageSet
from convscope.network.feature_layers import last_hidden_layer
from convscope.progress import counted_as
from convscope.record import Record, not_in_json
from convscope.scan.features import Features
from convscope.scan.items import for_each, open_results
from convscope.stats import mean_of
from convscope.store.results import ResultStore
from convscope.text import table

__all__ = ["Point", "ProbeFits", "Transfer", "about_plain", "differs", "transfer"]

SAME = "same"  # in a table, where plain accuracy is the mean over the classes


@dataclass(frozen=True)
class Point(Record):
    """One number of a table.

    Attributes:
        layer: whose features, or the architecture that was trained from scratch.
        classifier: softmax, svm, or scratch.
        per_class: training images per class.
        accuracies: by fold, per-class accuracy averaged over the classes, 0..1.
        mean, std: over the folds.
        plain: by fold, the share of all test images that is told right.
        choices: by fold, the scaling and C that cross-validation chose.
    """

    layer: str
    classifier: str
    per_class: int
    accuracies: tuple[float, ...]
    mean: float
    std: float
    choices: tuple[dict[str, Any], ...] = ()
    plain: tuple[float, ...] = ()


@dataclass(frozen=True)
class Transfer(FeatureResult):
    """The learning curve of one layer's features.

    Attributes:
        length: features per image.
        test_images: in each fold.
        chance: one over the classes.
        skipped, duplicates, dropped, against: as `FeatureResult` has them.
        scratch: the architecture and the recipe of what was trained from scratch.
    """

    layer: str
    pooling: str
    length: int
    classes: tuple[str, ...]
    images: int
    test_images: int
    chance: float
    protocol: Protocol
    points: tuple[Point, ...]
    skipped: tuple[str, ...] = ()
    duplicates: tuple[Duplicate, ...] | None = None
    dropped: bool = False
    scratch: dict[str, Any] | None = None
    against: str | None = not_in_json(default=None)

    def point(self, classifier: str, per_class: int) -> Point:
        """Return one point of the curve.

        Args:
            classifier: softmax or svm.
            per_class: How many training images of each class.

        Raises:
            KeyError: It was not measured.
        """
        for point in self.points:
            if (point.classifier, point.per_class) == (classifier, per_class):
                return point
        raise KeyError((classifier, per_class))

    def words(self) -> list[str]:
        """A row per classifier, a column per number of images."""
        curves: dict[str, dict[int, str]] = {}
        for point in self.points:
            name = point.classifier
            name = name if name != "scratch" else f"{point.layer} from scratch"
            curves.setdefault(name, {})[point.per_class] = plus_minus(point.mean, point.std)
            if differs(point):
                plain = mean_of(point.plain)
                words = plus_minus(plain.mean, plain.deviation or 0.0)
                curves.setdefault(f"{name}, of all images", {})[point.per_class] = words
        counts = self.protocol.per_class
        rows = [[name, *(row.get(n, SAME) for n in counts)] for name, row in curves.items()]
        return [
            f"accuracy, mean over {len(self.classes)} classes and {self.protocol.folds} folds ± "
            f"standard deviation, %; guessing {100 * self.chance:.1f}",
            *table(["images per class", *map(str, counts)], rows),
            *about_plain(self.points),
            "",
            f"features of {self.layer}: {self.length:,} per image ({self.pooling}); "
            f"{self.test_images} test images a fold, {self.protocol.tested()}",
            *self.overlap_words(),
        ]


def transfer(
    reader: LayerReader,
    images: ImageSet,
    protocol: Protocol | None = None,
    *,
    layer: str | None = None,
    test: ImageSet | None = None,
    duplicates: Sequence[Duplicate] | None = None,
    drop_duplicates: bool = False,
    scratch: Scratch | None = None,
    out: str | os.PathLike[str] | None = None,
    resume: bool = False,
) -> Transfer:
    """Measure the accuracy of new classes told by one layer's features, by images per class.

    Args:
        reader: Reads the features of a model.
        images: A labelled set of the new classes.
        protocol: How it is measured.
        layer: Which layer; by default the last hidden one.
        test: A set that tests come from; by default `images`.
        duplicates: Images of `images` (or of `test`) that the network itself was trained on
            (images/duplicates.py).
        drop_duplicates: Leave these out of the tests.
        scratch: The baseline that learns everything from the same images.
        out: A folder that keeps each fold's result. Another baseline is trained beside those that
            are there.
        resume: Go on with an interrupted study in that folder.

    Raises:
        BadData: There are no labels, or a class has too few images.
        NoSuchLayer: There is no such layer.
        FolderInUse: The folder holds something else, or a study of other settings.

    Source:
        Zeiler & Fergus 2014, §5.2.

    Example:
        >>> reader = convscope.LayerReader(model, "cache")
        >>> convscope.transfer(reader, convscope.open_images("birds/")).point("softmax", 15)
    """
    protocol = protocol or Protocol()
    network, ranks = reader.network, reader.ranks
    layer = last_hidden_layer(network) if layer is None else network.feature_layer(layer).name
    doubles = doubles_of(duplicates) if drop_duplicates else set()
    draw_folds(images, protocol, test=test)  # what is wrong is said before features are read
    settings = {}
    if ranks.first:
        settings = {
            **reader.settings(images, test, doubles),
            "study": "transfer",
            "layer": layer,
            **protocol.drawn(),
            "most": max(protocol.per_class),
        }
    with open_results(out, settings, resume=resume, ranks=ranks) as results:
        readings = reader.both(images, test, [layer])
        features, tested = readings.learned[layer], readings.tested[layer]
        folds = readings.folds(images, protocol, test, doubles)
        fits = ProbeFits(reader, images, test or images, protocol, folds, results)
        points = fits.points(features, tested)
        if scratch is not None:
            points += fits.from_scratch(scratch)
    classes = images.classes or ()
    return Transfer(
        layer=layer,
        pooling=features.pooling,
        length=features.values.shape[1],
        classes=classes,
        images=len(images),
        test_images=len(folds[0].test),
        chance=1 / len(classes),
        protocol=protocol,
        points=tuple(points),
        skipped=readings.skipped,
        duplicates=None if duplicates is None else tuple(duplicates),
        dropped=drop_duplicates,
        scratch=None if scratch is None else scratch.to_dict(),
    )


@dataclass(frozen=True, eq=False)
class ProbeFits:
    """Classifiers that are fitted and tested on the folds of a study, each a result in its store.

    Attributes:
        images, tests: to learn from, and to test on; may be the same.
        folds: of these, as the protocol has them drawn.
        results: the study's.
    """

    reader: LayerReader
    images: ImageSet
    tests: ImageSet
    protocol: Protocol
    folds: Sequence[Fold]
    results: ResultStore

    def points(self, features: Features, tested: Features) -> list[Point]:
        """One layer's accuracy by classifier and images per class, over the folds.

        Args:
            features: of the images to learn from.
            tested: of those to test on.
        """
        todo = [
            (loss, per_class, number)
            for loss in self.protocol.classifiers
            for per_class in self.protocol.per_class
            for number in range(len(self.folds))
        ]
        layer = features.layer
        labels, truth = labels_of(self.images), labels_of(self.tests)
        classes = len(self.images.classes or ())

        def measure(item: int) -> dict[str, Any]:
            loss, per_class, number = todo[item]
            fold = self.folds[number]
            train = fold.train(per_class)
            probe = fit_probe(
                features,
                train,
                labels[train],
                LinearProblem(loss, classes, self.reader.network.device),
                seed=self.protocol.seed + number,
            )
            predicted = probe.scores(tested, fold.test).argmax(1)
            each = class_accuracies(predicted, truth[fold.test], classes)
            return {"accuracies": each.tolist(), "choice": probe.choice.to_dict()}

        found = for_each(
            [f"{layer} {loss} {per_class}, fold {number}" for loss, per_class, number in todo],
            measure, self.results, self.results.record,
            Execution(
                ranks=self.reader.ranks,
                progress=counted_as(self.reader.progress, f"classifiers on {layer}"),
            ),
        )  # fmt: skip
        by_point: dict[tuple[Loss, int], list[Mapping[str, Any]]] = {}
        for (loss, per_class, _), each in zip(todo, found, strict=True):
            by_point.setdefault((loss, per_class), []).append(each)
        return [
            self._point(layer, str(loss), per_class, each)
            for (loss, per_class), each in by_point.items()
        ]

    def _point(
        self, layer: str, classifier: str, per_class: int, found: Sequence[Mapping[str, Any]]
    ) -> Point:
        """What came of the folds: their accuracies by class."""
        by_fold = [np.array(piece["accuracies"], float) for piece in found]
        accuracies = [float(np.nanmean(by_class)) for by_class in by_fold]
        truth, classes = labels_of(self.tests), len(self.images.classes or ())
        counts = [np.bincount(truth[fold.test], minlength=classes) for fold in self.folds]
        plain = [
            float(np.nansum(by_class * count) / count.sum())
            for by_class, count in zip(by_fold, counts, strict=True)
        ]
        over = mean_of(accuracies)
        choices = tuple(piece["choice"] for piece in found if "choice" in piece)
        return Point(
            layer, classifier, per_class, tuple(accuracies), over.mean, over.deviation or 0.0,
            choices, tuple(plain),
        )  # fmt: skip

    def from_scratch(self, scratch: Scratch) -> list[Point]:
        """The baseline's accuracy by images per class, over the folds."""
        todo = [(count, n) for count in self.protocol.per_class for n in range(len(self.folds))]

        def measure(item: int) -> dict[str, Any]:
            per_class, number = todo[item]
            return scratch(self.folds[number], per_class, number)

        found = for_each(
            [f"scratch {scratch.key}, {per_class}, fold {number}" for per_class, number in todo],
            measure, self.results, self.results.record, Execution(ranks=self.reader.ranks),
        )  # fmt: skip
        by_point: dict[int, list[Mapping[str, Any]]] = {}
        for (per_class, _), each in zip(todo, found, strict=True):
            by_point.setdefault(per_class, []).append(each)
        return [
            self._point(scratch.architecture, "scratch", per_class, each)
            for per_class, each in by_point.items()
        ]


def differs(point: Point) -> bool:
    """Whether the plain accuracy is another than the mean over the classes."""
    pairs = zip(point.plain, point.accuracies, strict=False)
    return any(abs(plain - mean) > 1e-9 for plain, mean in pairs)


def about_plain(points: Iterable[Point]) -> list[str]:
    """Say that plain accuracy, of all images alike, is the same; nothing where it is another."""
    known = [point for point in points if point.plain]
    if not known or any(map(differs, known)):
        return []
    return ["the share of all test images told right is the same: classes have as many of them"]
