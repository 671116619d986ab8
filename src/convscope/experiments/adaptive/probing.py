"""What features are worth: a linear classifier on each, all on the same images and folds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from convscope.errors import BadData
from convscope.experiments.adaptive.reading import in_batches, read_images
from convscope.experiments.adaptive.result import ProbedFeatures
from convscope.experiments.session import Session
from convscope.experiments.study import Context
from convscope.experiments.transfer.classifier import fit_probe
from convscope.experiments.transfer.folds import Fold, Protocol, draw_folds, labels_of
from convscope.experiments.transfer.linear_model import LinearProblem, Loss
from convscope.experiments.transfer.scores import mean_class_accuracy
from convscope.images.image_set import ImageSet
from convscope.network.feature_layers import hidden_layers
from convscope.scan.engine import Scan
from convscope.scan.feature_cache import extract
from convscope.scan.features import Features, FeatureSettings
from convscope.scan.pooling import Pooling
from convscope.stats import Estimate, mean_of, over_folds
from convscope.training.deconvolution.layerwise import infer_codes
from convscope.training.deconvolution.reconstruction import DeconvolutionLayer
from convscope.training.deconvolution.sparse_codes import Sparsity

__all__ = ["POOLING", "Probing", "kept_rows", "lead_of", "rows_kept", "unlabelled_features"]

POOLING = "grid4"  # of every layer's maps, learned with labels or without


@dataclass(frozen=True, eq=False)
class Probing:
    """Labelled images, and how classifiers learn from them.

    Attributes:
        images: The set.
        per_class: Images of each class to learn from.
        folds: How many random draws.
        seed: Of the draws.

    Raises:
        BadData: There are no labels, or too few images in a class.
    """

    images: ImageSet
    per_class: int
    folds: int
    seed: int

    def __post_init__(self) -> None:
        draw_folds(self.images, self._protocol)  # what is wrong is said before anything is learned

    @property
    def chance(self) -> float:
        """One over the classes."""
        return 1 / len(self.images.classes or ())

    @property
    def tested(self) -> int:
        """How many images each fold is tested on."""
        return len(draw_folds(self.images, self._protocol)[0].test)

    def probed(self, kind: str, features: Features, device: torch.device) -> ProbedFeatures:
        """Fit and test a linear SVM in every fold.

        Args:
            kind: Whose features they are.
            features: A row for each image.
            device: Where to fit.
        """
        without = {skip.index for skip in features.skipped}
        labels, classes = labels_of(self.images), len(self.images.classes or ())
        accuracies = []
        for number, fold in enumerate(self._folds(without)):
            train = fold.train(self.per_class)
            problem = LinearProblem(Loss.SVM, classes, device)
            probe = fit_probe(features, train, labels[train], problem, seed=self.seed + number)
            told = probe.scores(features, fold.test).argmax(1)
            accuracies.append(mean_class_accuracy(told, labels[fold.test], classes))
        over = mean_of(accuracies)
        return ProbedFeatures(
            kind, features.layer, features.values.shape[1], tuple(accuracies), over.mean,
            over.deviation,
        )  # fmt: skip

    @property
    def _protocol(self) -> Protocol:
        return Protocol((self.per_class,), self.folds, seed=self.seed)

    def _folds(self, without: set[int]) -> list[Fold]:
        return draw_folds(self.images, self._protocol, without=frozenset(without))

    def supervised_features(self, session: Session, context: Context) -> list[Features]:
        """The features of a network's hidden layers, pooled as those of the others."""
        running = context.running
        scan = Scan(
            session.network, self.images, session.model.preprocess,
            batch_size=running.batch_size, workers=running.workers, progress=context.progress,
        )  # fmt: skip
        found = extract(
            session.model, scan, hidden_layers(session.network), FeatureSettings(POOLING)
        )
        return list(found.values())


def unlabelled_features(
    layers: Sequence[DeconvolutionLayer],
    images: ImageSet,
    size: int,
    sparsity: Sparsity,
    context: Context,
) -> list[Features]:
    """The features of every layer: magnitudes of its pooled codes, means over a grid.

    Args:
        layers: From the pixels up, learned or random.
        images: The set.
        size: Pixels of a side.
        sparsity: How codes are inferred.
        context: Of the study: where it runs, and who is told how far it is.

    Raises:
        BadData: An image cannot be read: all features are judged on the same images.
    """
    pool = Pooling(POOLING)
    rows: list[list[NDArray[Any]]] = [[] for _ in layers]
    for batch in in_batches(len(images)):
        read = read_images(images, batch, size, context.device)
        if read.unread:
            index, reason = read.unread[0]
            raise BadData(
                f"{images.spec}: {images.name(index)}: {reason}: leave it out, as all features "
                "are judged on the same images"
            )
        found = infer_codes(layers, read.pixels, sparsity)
        for column, layer, each in zip(rows, layers, found, strict=True):
            column.append(pool(each.pooled(layer.pool).abs()).float().cpu().numpy())
        if context.progress is not None:
            context.progress("images encoded", batch.stop, len(images))
    return [
        Features(f"layer {number}", POOLING, np.concatenate(column))
        for number, column in enumerate(rows, start=1)
    ]


def lead_of(one: ProbedFeatures, other: ProbedFeatures, probing: Probing) -> Estimate:
    """How much more one tells than the other, over the same folds."""
    pairs = zip(one.accuracies, other.accuracies, strict=True)
    differences = [mine - theirs for mine, theirs in pairs]
    learned = probing.per_class * len(probing.images.classes or ())
    return over_folds(differences, learned, probing.tested)


def kept_rows(rows: Sequence[ProbedFeatures]) -> dict[str, Any]:
    """Rows as a store keeps them."""
    return {"rows": [row.to_dict() for row in rows]}


def rows_kept(record: Mapping[str, Any]) -> tuple[ProbedFeatures, ...]:
    """The rows that `kept_rows` wrote."""
    return tuple(
        ProbedFeatures(**{**row, "accuracies": tuple(row["accuracies"])}) for row in record["rows"]
    )
