"""Which images a classifier learns from, and which it is tested on: random folds (paper §5.2).

A fold draws, from each class, the training images in an order, so that those for 5 per class are
among those for 15, and test images that are the same for every number: a learning curve differs
from point to point in what was learned, and in nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convscope.errors import BadData, BadOption
from convscope.experiments.transfer.linear_model import Loss
from convscope.images.image_set import ImageSet
from convscope.store.fingerprint import text_fingerprint

__all__ = [
    "Fold",
    "Protocol",
    "draw_folds",
    "draw_parts",
    "labelled_identity",
    "labels_of",
    "targets_of",
]  # fmt: skip

Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Protocol:
    """How transfer is measured.

    Attributes:
        per_class: Numbers of training images per class.
        folds: How many random draws of them.
        test_per_class: Test images per class at most, such as the paper's 50 for Caltech-101; None
            is all that are not learned from.
        classifiers: softmax, svm, or both.
        seed: Of the draws.

    Raises:
        BadOption: A number is below 1, there is none, or a classifier is another one.
    """

    per_class: tuple[int, ...] = (1, 5, 15, 30)
    folds: int = 5
    test_per_class: int | None = None
    classifiers: tuple[Loss, ...] = field(default=(Loss.SOFTMAX,))
    seed: int = 0

    def __post_init__(self) -> None:
        numbers = tuple(sorted(set(self.per_class)))
        most = 1 if self.test_per_class is None else self.test_per_class
        if not numbers or min(*numbers, self.folds, most) < 1:
            raise BadOption(
                f"per class {list(self.per_class)}, {self.folds} folds, "
                f"{self.test_per_class} test images per class: each is at least 1"
            )
        if not self.classifiers or Loss.SIGMOID in self.classifiers:
            raise BadOption("classifiers are softmax and svm; give at least one of them")
        object.__setattr__(self, "per_class", numbers)

    def tested(self) -> str:
        """Which images are tested on, in words."""
        if self.test_per_class is None:
            return "all that are not learned from"
        return f"at most {self.test_per_class} per class"

    def drawn(self) -> dict[str, int | None]:
        """What the folds are drawn by, besides the images and their most training images."""
        return {"folds": self.folds, "test_per_class": self.test_per_class, "seed": self.seed}

    def to_dict(self) -> dict[str, Any]:
        return {
            "per_class": list(self.per_class),
            "classifiers": [str(each) for each in self.classifiers],
            **self.drawn(),
        }


@dataclass(frozen=True, eq=False)
class Fold:
    """One random draw of images to learn from and to test on.

    Attributes:
        order: The training images of each class, in the order in which they are taken.
        test: The test images.

    Shape:
        order: int64 (classes, most). test: int64 (n,).
    """

    order: Indices
    test: Indices

    def train(self, per_class: int) -> Indices:
        """The training images for that number per class."""
        return np.sort(self.order[:, :per_class].ravel())


def draw_folds(
    images: ImageSet,
    protocol: Protocol,
    *,
    test: ImageSet | None = None,
    without: Set[int] = frozenset(),
    test_without: Set[int] = frozenset(),
) -> list[Fold]:
    """Draw the folds of a labelled set, or of two.

    Args:
        images: Where training images come from.
        protocol: How many images of each class, and how many folds.
        test: Where tests come from; None: from `images`.
        without: Images that are in no fold, such as unreadable ones.
        test_without: The same for the images of `test`.

    Raises:
        BadData: There are no labels, or a class has too few images.
    """
    labels = labels_of(images)
    most = max(protocol.per_class)
    names = images.classes or ()
    tests = None if test is None else labels_of(test)
    if test is not None and test.classes != images.classes:
        raise BadData(f"{test.spec} has other classes than {images.spec}: both need the same")
    folds = []
    for number in range(protocol.folds):
        dice = np.random.default_rng([protocol.seed, number])
        order, chosen = [], []
        for each, name in enumerate(names):
            members = dice.permutation(_members(labels, each, without))
            left = members[most:] if tests is None else dice.permutation(
                _members(tests, each, test_without)
            )  # fmt: skip
            if len(members) < most or not len(left):
                raise _too_few(images, name, len(members), most, tests is None)
            order.append(members[:most])
            chosen.append(left[: protocol.test_per_class])
        folds.append(Fold(np.array(order), np.sort(np.concatenate(chosen))))
    return folds


def draw_parts(targets: Indices, parts: int, dice: np.random.Generator) -> list[Indices]:
    """Draw a partition in which each class's images are spread as evenly as can be.

    Images with the rarest class come first, and each goes to the part that has fewest of it.

    Args:
        targets: 1 where an image shows a class.
        parts: How many parts.
        dice: Draws where parts are equal.

    Shape:
        targets: (N, classes).

    Source:
        Iterative stratification, Sechidis et al. 2011.
    """
    shows = targets == 1
    waiting = np.ones(len(targets), bool)
    counts = np.zeros((parts, targets.shape[1]))
    sizes = np.zeros(parts)
    part_of = np.zeros(len(targets), np.int64)
    order = dice.permutation(len(targets))
    while waiting.any():
        left = shows[waiting].sum(0)
        rarest = int(np.where(left > 0, left, len(targets) + 1).argmin())
        members = [i for i in order if waiting[i] and (shows[i, rarest] or not left.any())]
        for i in members:
            keys = (sizes, counts[:, rarest]) if left.any() else (sizes,)
            part_of[i] = np.lexsort(keys)[0]
            counts[part_of[i]] += shows[i]
            sizes[part_of[i]] += 1
            waiting[i] = False
    return [np.flatnonzero(part_of == part) for part in range(parts)]


def labels_of(images: ImageSet) -> Indices:
    """Return each image's class.

    Args:
        images: A labelled set.

    Shape:
        The result: int64 (N,).

    Raises:
        BadData: An image has no class, or several.
    """
    labels = [images.label(index) for index in range(len(images))]
    known = [-1 if label is None else label for label in labels]
    if images.classes is None or images.multi_label or min(known) < 0:
        raise BadData(
            f"{images.spec} has no one class for every image: give a folder per class, or "
            "index:, caltech: or voc: before a place that has labels"
        )
    return np.array(known, np.int64)


def targets_of(images: ImageSet) -> Indices:
    """int64 (N, classes) of 1, 0 and -1 (`ImageSet.targets`)."""
    return np.array([images.targets(index) for index in range(len(images))], np.int64)


def labelled_identity(images: ImageSet) -> str:
    """SHA-256 of a labelled set, hex: of its images (`ImageSet.identity`), classes and truth."""
    truth = targets_of(images) if images.multi_label else labels_of(images)
    words = repr((images.identity(), images.classes, truth.tolist()))
    return text_fingerprint(words)


def _members(labels: Indices, each: int, without: Set[int]) -> Sequence[int]:
    return [index for index in np.flatnonzero(labels == each).tolist() if index not in without]


def _too_few(images: ImageSet, name: str, count: int, most: int, splits: bool) -> BadData:
    needed = f"{most} to learn from" + (" and one to test on" if splits else "")
    return BadData(
        f"{images.spec}: class {name} has {count} images, and {needed} are asked for: "
        f"give a smaller --per-class, or leave the class out with --drop"
    )
