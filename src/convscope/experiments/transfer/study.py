"""Transfer (paper §5.2, Tables 3-5, Fig. 9): a trained network's features serve another task.

The network stays as it is; a softmax or linear SVM learns new classes from the features of one of
its layers, from n images per class, for several n and random folds of images. Images that show
several classes each are measured by average precision (multilabel.py).
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np

from convscope.experiments.transfer.classifier import fit_probe
from convscope.experiments.transfer.folds import Fold, Protocol, draw_folds, labels_of
from convscope.experiments.transfer.linear_model import Loss
from convscope.experiments.transfer.reading import LayerReader, doubles_of
from convscope.experiments.transfer.scores import class_accuracies
from convscope.experiments.transfer.scratch import Scratch
from convscope.images.duplicates import Duplicate
from convscope.images.image_set import ImageSet
from convscope.network.hidden import last_hidden_layer
from convscope.scan.features import Features
from convscope.stats import mean_of
from convscope.store.results import ResultStore

__all__ = ["Point", "Transfer", "points_of", "transfer"]


@dataclass(frozen=True)
class Point:
    """One number of a table.

    layer : whose features, or the architecture that was trained from scratch
    classifier : softmax, svm, or scratch;   per_class : training images per class
    accuracies : by fold, per-class accuracy averaged over the classes, 0..1
    mean, std : over the folds
    choices : by fold, the scaling and C that cross-validation chose
    """

    layer: str
    classifier: str
    per_class: int
    accuracies: tuple[float, ...]
    mean: float
    std: float
    choices: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True)
class Transfer:
    """The learning curve of one layer's features.

    length : features per image;   test_images : in each fold;   chance : one over the classes
    duplicates : pairs of a transfer image and one that the network was trained on; `dropped` says
        whether these were left out of the tests
    scratch : the architecture and the recipe of what was trained from scratch
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

    def point(self, classifier: str, per_class: int) -> Point:
        """Raises  KeyError: not measured."""
        for point in self.points:
            if (point.classifier, point.per_class) == (classifier, per_class):
                return point
        raise KeyError((classifier, per_class))

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {**asdict(self), "protocol": self.protocol.to_dict()}


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
    """The accuracy of new classes told by one layer's features, by images per class.

    layer : default the last hidden one;   test : tests come from this set (default: from `images`)
    duplicates : of `images` (or of `test`) with the network's own training images
        (images/duplicates.py); drop_duplicates leaves them out of the tests
    scratch : the baseline that learns everything from the same images
    out, resume : a folder that keeps each fold's result, so that a study goes on (pieces.py);
        another baseline is trained, beside those that are there

    Raises  BadData: no labels, or a class with too few images;  NoSuchLayer;  FolderInUse.
    """
    protocol = protocol or Protocol()
    network = reader.network
    layer = last_hidden_layer(network) if layer is None else network.layer(layer).name
    doubles = doubles_of(duplicates) if drop_duplicates else set()
    settings = {
        **reader.settings(images, test, doubles),
        "study": "transfer",
        "layer": layer,
        **protocol.drawn(),
        "most": max(protocol.per_class),
    }
    draw_folds(images, protocol, test=test)  # what is wrong is said before features are read
    pieces = ResultStore(out, settings, resume=resume)
    readings = reader.both(images, test, [layer])
    features, tested = readings.learned[layer], readings.tested[layer]
    folds = readings.folds(images, protocol, test, doubles)
    points = points_of(reader, features, folds, images, protocol, pieces, test, tested)
    if scratch is not None:
        points += _from_scratch(scratch, folds, protocol, pieces)
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


def points_of(
    reader: LayerReader,
    features: Features,
    folds: Sequence[Fold],
    images: ImageSet,
    protocol: Protocol,
    pieces: ResultStore,
    test: ImageSet | None = None,
    tested: Features | None = None,
) -> list[Point]:
    """One layer's accuracy by classifier and images per class, over the folds."""
    labels = labels_of(images)
    truth = labels if test is None else labels_of(test)
    tested = features if tested is None else tested
    classes = len(images.classes or ())

    def measure(loss: Loss, per_class: int, number: int) -> dict[str, Any]:
        fold = folds[number]
        train = fold.train(per_class)
        probe = fit_probe(
            features,
            train,
            labels[train],
            loss,
            classes=classes,
            seed=protocol.seed + number,
            device=reader.network.device,
        )
        predicted = probe.scores(tested, fold.test).argmax(1)
        each = class_accuracies(predicted, truth[fold.test], classes)
        return {"accuracies": each.tolist(), "choice": probe.choice.to_dict()}

    todo = [
        (loss, per_class, number)
        for loss in protocol.classifiers
        for per_class in protocol.per_class
        for number in range(len(folds))
    ]
    found: dict[tuple[str, int], list[Mapping[str, Any]]] = {}
    for done, (loss, per_class, number) in enumerate(todo):
        key = f"{features.layer} {loss} {per_class}, fold {number}"
        piece = pieces.record(key, partial(measure, loss, per_class, number))
        found.setdefault((str(loss), per_class), []).append(piece)
        if reader.progress:
            reader.progress(f"classifiers on {features.layer}", done + 1, len(todo))
    return [
        _point(features.layer, classifier, per_class, pieces_found)
        for (classifier, per_class), pieces_found in found.items()
    ]


def _from_scratch(
    scratch: Scratch,
    folds: Sequence[Fold],
    protocol: Protocol,
    pieces: ResultStore,
) -> list[Point]:
    points = []
    for per_class in protocol.per_class:
        found = [
            pieces.record(
                f"scratch {scratch.key}, {per_class}, fold {number}",
                partial(scratch, fold, per_class, number),
            )
            for number, fold in enumerate(folds)
        ]
        points.append(_point(scratch.architecture, "scratch", per_class, found))
    return points


def _point(
    layer: str, classifier: str, per_class: int, found: Sequence[Mapping[str, Any]]
) -> Point:
    accuracies = [float(np.nanmean(np.array(piece["accuracies"], float))) for piece in found]
    over = mean_of(accuracies)
    choices = tuple(piece["choice"] for piece in found if "choice" in piece)
    return Point(
        layer, classifier, per_class, tuple(accuracies), over.mean, over.deviation or 0.0, choices
    )
