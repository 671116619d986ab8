"""Transfer to images that show several classes each: a logistic loss per class, average precision.

With a test set, the classifiers learn from all other images. Without one the images are dealt into
parts, each class spread evenly, and every image is scored by classifiers that learned from the
other parts; the dealing is repeated, and its spread stated. With few images the choice of images
matters more than the dealing: the interval is from drawing images with replacement (bootstrap).
"""

from __future__ import annotations

import os
from collections.abc import Sequence, Set
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convscope.errors import BadData
from convscope.execution import Execution
from convscope.experiments.transfer.classifier import fit_probe
from convscope.experiments.transfer.folds import draw_parts, targets_of
from convscope.experiments.transfer.linear_model import LinearProblem, Loss
from convscope.experiments.transfer.reading import FeatureResult, LayerReader, doubles_of
from convscope.experiments.transfer.scores import average_precision, average_precisions
from convscope.images.duplicates import Duplicate
from convscope.images.image_set import ImageSet
from convscope.network.feature_layers import last_hidden_layer
from convscope.progress import counted_as
from convscope.record import Record, not_in_json
from convscope.scan.features import Features
from convscope.scan.items import for_each, open_results
from convscope.stats import bootstrap, mean_of

__all__ = ["ClassScore", "LayerScore", "MultiTransfer", "transfer_several"]

DRAWS = 500  # of the bootstrap
LEAST = 5  # images that show a class, for it to be measured

Numbers = NDArray[Any]


@dataclass(frozen=True)
class ClassScore(Record):
    """One class.

    Attributes:
        images: how many show it.
        precision: average precision, 0..1.
        chance: the share of images that show it, which guessing would reach.
    """

    name: str
    images: int
    precision: float
    chance: float


@dataclass(frozen=True)
class LayerScore(Record):
    """One layer's features.

    Attributes:
        length: features per image.
        mean: average precision, averaged over the classes and the dealings.
        std: over the dealings.
        low, high: 95 % of draws of images with replacement.
    """

    layer: str
    length: int
    mean: float
    std: float
    low: float
    high: float
    classes: tuple[ClassScore, ...]


@dataclass(frozen=True)
class MultiTransfer(FeatureResult):
    """Average precision by layer.

    Attributes:
        parts, repeats: of the dealing, 0 where there was a test set.
        chance: the mean over the classes.
        left_out: classes that too few images show.
        skipped, duplicates, dropped, against: as `FeatureResult` has them.
    """

    layers: tuple[LayerScore, ...]
    pooling: str
    images: int
    test_images: int
    parts: int
    repeats: int
    least: int
    chance: float
    left_out: tuple[str, ...]
    seed: int
    skipped: tuple[str, ...] = ()
    duplicates: tuple[Duplicate, ...] | None = None
    dropped: bool = False
    against: str | None = not_in_json(default=None)

    def words(self) -> list[str]:
        """A table of the layers, and of the best one's classes."""
        best = max(self.layers, key=lambda layer: layer.mean)
        wide = max(len(layer.layer) for layer in self.layers)
        lines = [f"{'layer'.ljust(wide)}  mean average precision (95 % bootstrap interval)"]
        for layer in self.layers:
            spread = "" if self.repeats < 2 else f" ± {100 * layer.std:.1f} over random splits"
            lines.append(
                f"{layer.layer.ljust(wide)}  {100 * layer.mean:5.1f}{spread}  "
                f"({100 * layer.low:.1f} to {100 * layer.high:.1f})"
            )
        lines += ["", f"guessing reaches {100 * self.chance:.1f}; classes of {best.layer}:"]
        lines += [
            f"  {each.name}: {100 * each.precision:.1f} ({each.images} images, guessing "
            f"{100 * each.chance:.1f})"
            for each in sorted(best.classes, key=lambda each: -each.precision)
        ]
        if self.left_out:
            count = len(self.left_out)
            lines.append(f"left out: {count} classes shown by fewer than {self.least} images")
        return [*lines, *self.overlap_words()]


def transfer_several(
    reader: LayerReader,
    images: ImageSet,
    *,
    layers: Sequence[str] | None = None,
    test: ImageSet | None = None,
    parts: int = 5,
    repeats: int = 5,
    least: int = LEAST,
    seed: int = 0,
    duplicates: Sequence[Duplicate] | None = None,
    drop_duplicates: bool = False,
    out: str | os.PathLike[str] | None = None,
    resume: bool = False,
) -> MultiTransfer:
    """Measure the average precision of classes told by each layer's features.

    Args:
        reader: Reads the features of a model.
        images: A set whose images show several classes each.
        layers: Which layers; by default the last hidden one.
        test: A set that tests come from; by default parts of `images`.
        parts: Into how many parts the images are dealt, without a test set.
        repeats: How often they are dealt, without a test set.
        least: Classes that fewer images show, in either set, are left out.
        seed: Of the dealing.
        duplicates: As in `transfer`.
        drop_duplicates: As in `transfer`; without a test set, what is dropped is not learned from
            either.
        out: A folder that keeps each result.
        resume: Go on with an interrupted study in that folder.

    Raises:
        BadData: The labels are of another kind, or no class is shown by `least` images.
        FolderInUse: The folder holds something else, or a study of other settings.

    Source:
        The VOC 2012 development kit, §3.4.1; Zeiler & Fergus 2014, §5.2.

    Example:
        >>> reader = convscope.LayerReader(model, "cache")
        >>> convscope.transfer_several(reader, convscope.open_images("voc:VOC2012")).to_dict()
    """
    ranks = reader.ranks
    names = tuple(layers or [last_hidden_layer(reader.network)])
    truth, known = targets_of(images), images.classes or ()
    tested = truth if test is None else targets_of(test)
    if test is not None and test.classes != images.classes:
        raise BadData(f"{test.spec} has other classes than {images.spec}: both need the same")
    doubles = doubles_of(duplicates) if drop_duplicates else set()
    counted = np.delete(tested, sorted(doubles), axis=0)
    shown = np.minimum((truth == 1).sum(0), (counted == 1).sum(0))
    kept = np.flatnonzero(shown >= least)
    if not len(kept):
        raise BadData(f"{images.spec}: no class is shown by {least} images or more")
    settings = {}
    if ranks.first:
        settings = {
            **reader.settings(images, test, doubles),
            "study": "several classes",
            "layers": list(names),
            "parts": parts,
            "repeats": repeats,
            "least": least,
            "seed": seed,
        }
    with open_results(out, settings, resume=resume, ranks=ranks) as results:
        readings = reader.both(images, test, names)
        features, others = readings.learned, readings.tested
        rows = _readable(others[names[0]], doubles)
        how = (test is not None, parts, repeats, seed)
        study = _Study(reader, truth[:, kept], tested[:, kept], rows, *how)
        found = for_each(
            names, lambda i: study.run(features[names[i]], others[names[i]]),
            results, results.record,
            Execution(ranks=ranks, progress=counted_as(reader.progress, "classifiers")),
        )  # fmt: skip
    words = [known[c] for c in kept]
    scores = [
        _layer_score(name, features[name], each, words, study.tested[rows])
        for name, each in zip(names, found, strict=True)
    ]
    return MultiTransfer(
        layers=tuple(scores),
        pooling=features[names[0]].pooling if len(names) == 1 else reader.pooling,
        images=len(images),
        test_images=len(rows),
        parts=0 if test is not None else parts,
        repeats=0 if test is not None else repeats,
        least=least,
        chance=float(np.mean([score.chance for score in scores[0].classes])),
        left_out=tuple(known[c] for c in range(len(known)) if c not in kept),
        seed=seed,
        skipped=readings.skipped,
        duplicates=None if duplicates is None else tuple(duplicates),
        dropped=drop_duplicates,
    )


@dataclass(frozen=True, eq=False)
class _Study:
    """What is learned and tested, for any layer."""

    reader: LayerReader
    truth: NDArray[np.int64]
    tested: NDArray[np.int64]
    rows: NDArray[np.int64]  # of `tested`, those that are scored
    apart: bool  # whether the tests are another set
    parts: int
    repeats: int
    seed: int

    def run(self, features: Features, others: Features) -> dict[str, Any]:
        """Average precision by repeat and class, and the mean's interval by bootstrap."""
        rows = self.rows
        if self.apart:
            scores = [self._learned(features, _readable(features)).scores(others, rows)]
        else:
            scores = [self._dealt(features, rows, repeat) for repeat in range(self.repeats)]
        truth = self.tested[rows]

        def mean_precision(times: NDArray[np.int64]) -> NDArray[np.float64]:
            of_classes = [
                average_precisions(s, t, times)
                for score in scores
                for s, t in zip(score.T, truth.T, strict=True)
            ]
            means: NDArray[np.float64] = np.nanmean(of_classes, axis=0)
            return means

        interval = bootstrap(mean_precision, len(rows), draws=DRAWS, seed=[self.seed, 3])
        return {
            "precisions": [_precisions(score, truth).tolist() for score in scores],
            "interval": list(interval),
        }

    def _dealt(self, features: Features, rows: NDArray[np.int64], repeat: int) -> Numbers:
        """(N, classes): each image scored by classifiers that learned from the other parts."""
        dice = np.random.default_rng([self.seed, repeat])
        scores = np.zeros((len(rows), self.truth.shape[1]), np.float32)
        for part in draw_parts(self.truth[rows], self.parts, dice):
            learned = self._learned(features, np.delete(rows, part))
            scores[part] = learned.scores(features, rows[part])
        return scores

    def _learned(self, features: Features, train: NDArray[np.int64]) -> Any:
        return fit_probe(
            features,
            train,
            self.truth[train],
            LinearProblem(Loss.SIGMOID, self.truth.shape[1], self.reader.network.device),
            seed=self.seed,
        )


def _precisions(scores: Numbers, truth: Numbers) -> Numbers:
    return np.array([average_precision(s, t) for s, t in zip(scores.T, truth.T, strict=True)])


def _readable(features: Features, without: Set[int] = frozenset()) -> NDArray[np.int64]:
    out = {skipped.index for skipped in features.skipped} | without
    return np.setdiff1d(np.arange(len(features.values)), sorted(out))


def _layer_score(
    name: str, features: Features, found: dict[str, Any], classes: Sequence[str], truth: Numbers
) -> LayerScore:
    precisions = np.array(found["precisions"], float)  # (repeats, classes)
    over = mean_of(np.nanmean(precisions, axis=1).tolist())
    shown, counted = (truth == 1).sum(0), (truth >= 0).sum(0)
    each = tuple(
        ClassScore(
            word, int(shown[c]), float(precisions[:, c].mean()), float(shown[c] / counted[c])
        )
        for c, word in enumerate(classes)
    )
    low, high = found["interval"]
    length = features.values.shape[1]
    return LayerScore(name, length, over.mean, over.deviation or 0.0, low, high, each)
