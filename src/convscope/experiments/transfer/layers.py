"""Feature analysis (paper §5.3, Table 7): what each layer's features are worth to a classifier.

The paper's finding is that deeper layers tell classes better. A softmax or a linear SVM on each
layer's features, all from the same images in the same folds, gives the curve over depth.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from convscope.errors import BadOption
from convscope.experiments.number_words import plus_minus
from convscope.experiments.transfer.folds import Protocol, draw_folds
from convscope.experiments.transfer.learning_curve import (
    Point,
    ProbeFits,
    about_plain,
    differs,
)
from convscope.experiments.transfer.linear_model import Loss
from convscope.experiments.transfer.reading import FeatureResult, LayerReader, doubles_of
from convscope.images.duplicates import Duplicate
from convscope.images.image_set import ImageSet
from convscope.network.feature_layers import hidden_layers
from convscope.record import Record, not_in_json
from convscope.scan.items import open_results
from convscope.stats import mean_of
from convscope.text import table

__all__ = ["LayerProbe", "Probed", "probe"]


@dataclass(frozen=True)
class Probed(Record):
    """A layer.

    Attributes:
        shape: (C, H, W) or (C,).
        pooling: as settled.
        length: features per image.
    """

    name: str
    shape: tuple[int, ...]
    pooling: str
    length: int


@dataclass(frozen=True)
class LayerProbe(FeatureResult):
    """Accuracy by layer, bottom up, at one number of images per class.

    Attributes:
        points: for each classifier its points in the layers' order.
        rises: by classifier, Kendall's rank correlation of depth and mean accuracy, 1 where every
            layer beats all below it.
        skipped, duplicates, dropped, against: as `FeatureResult` has them.
    """

    layers: tuple[Probed, ...]
    classes: tuple[str, ...]
    images: int
    test_images: int
    chance: float
    protocol: Protocol
    points: dict[str, tuple[Point, ...]]
    rises: dict[str, float]
    skipped: tuple[str, ...] = ()
    duplicates: tuple[Duplicate, ...] | None = None
    dropped: bool = False
    against: str | None = not_in_json(default=None)

    def best(self, classifier: str) -> Point:
        """The layer that tells best, the lowest of equals."""
        return max(self.points[classifier], key=lambda point: point.mean)

    def words(self) -> list[str]:
        """A row per layer, and whether deeper is better here."""
        rows = [
            [
                layer.name,
                f"{layer.length:,} ({layer.pooling})",
                *(plus_minus(points[i].mean, points[i].std) for points in self.points.values()),
            ]
            for i, layer in enumerate(self.layers)
        ]
        every = [point for points in self.points.values() for point in points]
        lines = [
            f"accuracy, mean over {len(self.classes)} classes and {self.protocol.folds} folds ± "
            f"standard deviation, %, from {self.protocol.per_class[0]} images per class; guessing "
            f"{100 * self.chance:.1f}",
            *table(["layer", "features", *self.points], rows),
            *about_plain(every),
            "",
            f"{self.test_images} test images a fold, {self.protocol.tested()}",
        ]
        for classifier, rise in self.rises.items():
            best = self.best(classifier)
            lines.append(
                f"{classifier}: best on {best.layer}, {100 * best.mean:.1f}; deeper is better in "
                f"{(1 + rise) / 2:.0%} of the pairs of layers"
            )
            if differs(best):
                lines[-1] += f"; of all test images it tells {mean_of(best.plain).mean:.1%} right"
        return [*lines, *self.overlap_words()]


def probe(
    reader: LayerReader,
    images: ImageSet,
    protocol: Protocol | None = None,
    *,
    layers: Sequence[str] | None = None,
    test: ImageSet | None = None,
    duplicates: Sequence[Duplicate] | None = None,
    drop_duplicates: bool = False,
    out: str | os.PathLike[str] | None = None,
    resume: bool = False,
) -> LayerProbe:
    """Measure how well each layer's features tell the classes of a set of images.

    Args:
        reader: Reads the features of a model.
        images: A labelled set.
        protocol: How it is measured, with one number of images per class.
        layers: Which layers; by default those between which everything passes
            (network/feature_layers.py).
        test: A set that tests come from; by default `images`.
        duplicates: As in `transfer`.
        drop_duplicates: As in `transfer`.
        out: A folder that keeps each result.
        resume: Go on with an interrupted study in that folder.

    Raises:
        BadOption: Several numbers of images per class are given.
        BadData: There are no labels, or too few images in a class.
        NoSuchLayer: There is no such layer.
        FolderInUse: The folder holds something else, or a study of other settings.

    Source:
        Zeiler & Fergus 2014, Table 7.

    Example:
        >>> reader = convscope.LayerReader(model, "cache")
        >>> convscope.probe(reader, convscope.open_images("birds/")).to_dict()
    """
    protocol = protocol or Protocol(per_class=(30,), classifiers=(Loss.SOFTMAX, Loss.SVM))
    if len(protocol.per_class) != 1:
        raise BadOption("the layers are compared at one number of images per class: give one")
    network, ranks = reader.network, reader.ranks
    names = (
        hidden_layers(network)
        if layers is None
        else [network.feature_layer(n).name for n in layers]
    )
    doubles = doubles_of(duplicates) if drop_duplicates else set()
    draw_folds(images, protocol, test=test)  # what is wrong is said before features are read
    settings = {}
    if ranks.first:
        settings = {
            **reader.settings(images, test, doubles),
            "study": "layers",
            "per_class": list(protocol.per_class),
            **protocol.drawn(),
        }
    points: dict[str, list[Point]] = {str(each): [] for each in protocol.classifiers}
    with open_results(out, settings, resume=resume, ranks=ranks) as results:
        readings = reader.both(images, test, names)
        features = readings.learned
        folds = readings.folds(images, protocol, test, doubles)
        fits = ProbeFits(reader, images, test or images, protocol, folds, results)
        for name in names:
            for point in fits.points(features[name], readings.tested[name]):
                points[point.classifier].append(point)
    classes = images.classes or ()
    return LayerProbe(
        layers=tuple(
            Probed(n, network.layer(n).shape, features[n].pooling, features[n].values.shape[1])
            for n in names
        ),
        classes=classes,
        images=len(images),
        test_images=len(folds[0].test),
        chance=1 / len(classes),
        protocol=protocol,
        points={classifier: tuple(each) for classifier, each in points.items()},
        rises={classifier: _rise([p.mean for p in each]) for classifier, each in points.items()},
        skipped=readings.skipped,
        duplicates=None if duplicates is None else tuple(duplicates),
        dropped=drop_duplicates,
    )


def _rise(values: Sequence[float]) -> float:
    """Kendall's tau of values with their place: (pairs that rise - pairs that fall) / pairs."""
    pairs = [(b > a) - (b < a) for i, a in enumerate(values) for b in values[i + 1 :]]
    return sum(pairs) / len(pairs) if pairs else 0.0
