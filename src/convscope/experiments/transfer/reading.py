"""How a network's features are read, of the images to learn from and of those to test on."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

from convscope.display import Brief
from convscope.distributed import ALONE, Ranks
from convscope.experiments.study import Result
from convscope.experiments.transfer.folds import Fold, Protocol, draw_folds, labelled_identity
from convscope.images.batches import Skipped
from convscope.images.duplicates import Duplicate
from convscope.images.image_set import ImageSet
from convscope.models.zoo import Model
from convscope.network.network import Network
from convscope.progress import Progress
from convscope.record import Record
from convscope.scan.engine import Scan
from convscope.scan.feature_cache import extract, identity_of
from convscope.scan.features import Features, FeatureSettings
from convscope.store.fingerprint import text_fingerprint

__all__ = ["FeatureResult", "LayerReader", "Readings", "doubles_of"]

SHOWN = 5  # duplicates that are named in words


class FeatureResult(Record, Result):
    """What the results of studies on features share.

    Attributes:
        skipped: names of the images that could not be read.
        duplicates: pairs of a test image and one that the network was trained on; None where
            nobody searched.
        dropped: whether these were left out of the tests.
        against: the images that the network was trained on, as they are called.
    """

    skipped: tuple[str, ...]
    duplicates: tuple[Duplicate, ...] | None
    dropped: bool
    against: str | None

    def warnings(self) -> list[str]:
        return [f"skipped {name}: it could not be read" for name in self.skipped]

    def overlap_words(self) -> list[str]:
        """How many near-duplicates were found, the first ones named."""
        if self.duplicates is None:
            return []
        what = ", left out of the tests" if self.dropped else ", still among the images"
        others = self.against or "the images that were learned from"
        lines = [f"{len(self.duplicates)} near-duplicates of {others}"]
        lines[0] += what if self.duplicates else ""
        for pair in self.duplicates[:SHOWN]:
            mirrored = ", mirrored" if pair.mirrored else ""
            lines.append(f"  {pair.name} is {pair.other_name}{mirrored} ({pair.correlation:.3f})")
        return lines


SOLVER = "torch"
"""Who fits the classifiers: folders of studies say it, and those of another are refused."""


@dataclass(frozen=True, eq=False)
class Readings:
    """Features by layer.

    Attributes:
        learned: Of the images to learn from.
        tested: Of the images to test on, which may be `learned` again.
    """

    learned: Mapping[str, Features]
    tested: Mapping[str, Features]

    @property
    def unread(self) -> tuple[set[int], set[int]]:
        """The images that could not be read, to learn from and to test on."""
        learned, tested = ({skip.index for skip in each} for each in self._skipped())
        return learned, tested

    def folds(
        self, images: ImageSet, protocol: Protocol, test: ImageSet | None, doubles: Set[int]
    ) -> list[Fold]:
        """Draw the folds from the images that could be read.

        Args:
            images: Where training images come from.
            protocol: How many images of each class, and how many folds.
            test: Where tests come from; None: from `images`.
            doubles: Images that are left out of the tests.

        Raises:
            BadData: There are no labels, or a class has too few images.
        """
        unread, unread_tests = self.unread
        return draw_folds(
            images,
            protocol,
            test=test,
            without=unread if test is not None else unread | doubles,
            test_without=unread_tests | doubles,
        )

    @property
    def skipped(self) -> tuple[str, ...]:
        """Their names."""
        return tuple(dict.fromkeys(skip.name for each in self._skipped() for skip in each))

    def _skipped(self) -> tuple[Sequence[Skipped], Sequence[Skipped]]:
        """The same in every layer."""
        learned, tested = (next(iter(each.values())) for each in (self.learned, self.tested))
        return learned.skipped, tested.skipped


@dataclass(frozen=True, eq=False)
class LayerReader(Brief):
    """A network, and how its features are read: what every experiment on features shares.

    Attributes:
        model: holds the weights, and how the network wants its images.
        network: the model's, on the device that is to be used.
        pooling, flips, half: as `FeatureSettings` has them.
        cache: a folder for features, shared by any number of studies; None keeps them in memory.
        batch_size, workers, progress, ranks: as `Scan` has them.

    Example:
        >>> model = convscope.open_model("run:runs/demo/zfnet")
        >>> reader = convscope.LayerReader(model, model.network(), cache="features")
        >>> reader.read(convscope.open_images("scenes:val"), ["pool5"])["pool5"].values.shape
    """

    model: Model
    network: Network
    pooling: str = "auto"
    flips: bool = False
    half: bool = False
    cache: str | os.PathLike[str] | None = None
    batch_size: int | None = None
    workers: int | None = None
    progress: Progress | None = None
    ranks: Ranks = ALONE

    def read(self, images: ImageSet, layers: Sequence[str]) -> dict[str, Features]:
        """The features of some layers for every image, by layer. Raises as `extract` does."""
        scan = Scan(
            self.network, images, self.model.preprocess,
            batch_size=self.batch_size, workers=self.workers, ranks=self.ranks,
            progress=self.progress,
        )  # fmt: skip
        how = FeatureSettings(self.pooling, self.flips, self.half)
        return extract(self.model, scan, layers, how, cache=self.cache)

    def both(self, images: ImageSet, test: ImageSet | None, layers: Sequence[str]) -> Readings:
        """Of the images to learn from and of those to test on. Raises as `extract` does."""
        learned = self.read(images, layers)
        return Readings(learned, learned if test is None else self.read(test, layers))

    def settings(
        self, images: ImageSet, test: ImageSet | None, doubles: Set[int]
    ) -> dict[str, Any]:
        """Return what results depend on, JSON-able.

        Args:
            images: Where training images come from.
            test: Where tests come from; None: from `images`.
            doubles: Images that are left out of the tests.
        """
        return {
            "images": labelled_identity(images),
            "test": None if test is None else labelled_identity(test),
            "dropped": _left_out(doubles),
            **identity_of(self.model, self.network),
            "pooling": self.pooling,
            "flips": self.flips,
            "half": self.half,
            "solver": SOLVER,
        }


def doubles_of(duplicates: Sequence[Duplicate] | None) -> set[int]:
    """The images that are in the other set too, by index."""
    return {pair.index for pair in duplicates or ()}


def _left_out(doubles: Set[int]) -> str:
    """Which images are in no test, in a word that other images change."""
    words = " ".join(map(str, sorted(doubles)))
    return f"{len(doubles)} images, {text_fingerprint(words)[:12]}"
