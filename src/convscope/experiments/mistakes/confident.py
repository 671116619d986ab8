"""Labels in doubt, by confident learning: probabilities and labels -> which labels are doubtful.

Each image's class probabilities come from a linear probe that did not learn from the image. A class
is confident for an image where its probability is at least what it is on average for the images
that have this label. An image whose most probable confident class is not its label is in doubt.
So a class that the probe is never sure of is not held against its images.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from convscope.errors import BadData
from convscope.experiments.transfer.classifier import fit_probe
from convscope.experiments.transfer.linear_model import LinearProblem, Loss
from convscope.progress import Progress, silent
from convscope.scan.features import Features

__all__ = ["LEAST", "Doubts", "cross_validated", "dealt_parts", "doubts_of"]

PARTS = 5  # of the cross-validation, at most
LEAST = 3  # images of a class, for its labels to be judged

Indices = NDArray[np.int64]
Numbers = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Doubts:
    """What confident learning finds.

    Attributes:
        joint: how many images of each label have each class as their most probable confident one.
        suggested: of each image that class; its label where no class is confident.
        margin: the probability of the label less the largest of another class; the lower, the more
            doubtful.
        share: the estimated share of labels that are wrong: the joint, scaled to the images of
            each label, off its diagonal.

    Shape:
        joint: (K, K), labels down. suggested, margin: (n,).
    """

    joint: Indices
    suggested: Indices
    margin: Numbers
    share: float

    def ranked(self, labels: Indices) -> Indices:
        """The images in doubt, the most doubtful first."""
        found = np.flatnonzero(self.suggested != labels)
        return found[np.argsort(self.margin[found], kind="stable")]


def cross_validated(
    features: Features,
    indices: Indices,
    labels: Indices,
    *,
    seed: int = 0,
    progress: Progress | None = None,
) -> Numbers:
    """Class probabilities of each image by a softmax that learned from others.

    Args:
        features: of one layer.
        indices: of the images.
        labels: their classes, 0 to K - 1, each with LEAST images or more.
        seed: of the parts.
        progress: called with (what, done, total).

    Shape:
        indices, labels: (n,). The result: (n, K).

    Raises:
        BadData: there are fewer than two classes.
    """
    tell, classes = progress or silent, int(labels.max()) + 1
    if classes < 2:
        raise BadData("all labels are of one class: nothing can be held against them")
    problem = LinearProblem(Loss.SOFTMAX, classes)
    found = np.zeros((len(labels), classes))
    parts = dealt_parts(labels, PARTS, seed)
    for number, part in enumerate(parts, 1):
        others = np.setdiff1d(np.arange(len(labels)), part)
        probe = fit_probe(features, indices[others], labels[others], problem, seed=seed)
        scores = probe.scores(features, indices[part]).astype(np.float64)
        powers = np.exp(scores - scores.max(1, keepdims=True))
        found[part] = powers / powers.sum(1, keepdims=True)
        tell("cross-validation", number, len(parts))
    return found


def dealt_parts(labels: Indices, parts: int, seed: int) -> list[Indices]:
    """Deal images to parts, each with as many of each class as the others, or one more.

    Args:
        labels: of the images.
        parts: how many.
        seed: of the order.
    """
    dice = np.random.default_rng([seed, parts])
    part_of, start = np.empty(len(labels), np.int64), 0
    for label in np.unique(labels):
        members = dice.permutation(np.flatnonzero(labels == label))
        part_of[members] = (start + np.arange(len(members))) % parts
        start += len(members)  # so that small classes do not all fill the first part
    return [np.flatnonzero(part_of == part) for part in range(parts)]


def doubts_of(probabilities: Numbers, labels: Indices) -> Doubts:
    """Find the labels in doubt.

    Args:
        probabilities: of each image by a model that did not learn from it.
        labels: the given ones, each class with an image at least.

    Shape:
        probabilities: (n, K). labels: (n,).

    Source:
        Northcutt, Jiang & Chuang 2021, "Confident learning: estimating uncertainty in dataset
        labels", JAIR 70: the off-diagonals of the confident joint, ranked by normalised margin.

    Example:
        >>> sure = np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.2, 0.8], [0.05, 0.95]])
        >>> doubts_of(sure, np.array([0, 0, 1, 1, 0])).ranked(np.array([0, 0, 1, 1, 0]))
        array([4])
    """
    count, classes = probabilities.shape
    sizes = np.bincount(labels, minlength=classes)
    rows = np.arange(count)
    sums = np.bincount(labels, weights=probabilities[rows, labels], minlength=classes)
    confident = probabilities >= sums / np.maximum(sizes, 1)
    among = np.where(confident, probabilities, -1.0)
    suggested = np.where(confident.any(1), among.argmax(1), labels)
    joint = np.zeros((classes, classes), np.int64)
    np.add.at(joint, (labels[confident.any(1)], suggested[confident.any(1)]), 1)
    others = probabilities.copy()
    others[rows, labels] = -np.inf
    margin = probabilities[rows, labels] - others.max(1)
    scaled = joint * (sizes / np.maximum(joint.sum(1), 1))[:, None]
    off = scaled.sum() - np.trace(scaled)
    share = float(off / scaled.sum()) if scaled.sum() else 0.0
    return Doubts(joint, suggested, margin, share)
