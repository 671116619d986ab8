"""What an adaptive deconvolutional network learned, and what its features are worth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from convscope.experiments.number_words import NONE, interval_words, percent, plus_minus
from convscope.experiments.study import Result
from convscope.record import Record, not_in_json
from convscope.stats import Estimate
from convscope.text import counted, table

__all__ = ["LEARNED", "RANDOM", "Adaptive", "LayerMaps", "LearnedFilters", "ProbedFeatures"]

Pixels = NDArray[np.uint8]

LEARNED, RANDOM = "adaptive", "random filters"
NAMED = 5  # images that could not be read, in the warnings


@dataclass(frozen=True)
class LearnedFilters(Record):
    """A layer that was learned.

    Attributes:
        name: Of the layer.
        maps: How many feature maps it has.
        window: (height, width) of the pixels that one code of it can reach.
        energy: The mean over the images after each epoch; in each, codes and then filters moved.
        explained: The share of the pixels' squares that the codes reconstruct.
        active: The share of codes that are not zero.
    """

    name: str
    maps: int
    window: tuple[int, int]
    energy: tuple[float, ...]
    explained: float
    active: float


@dataclass(frozen=True)
class ProbedFeatures(Record):
    """How well a linear classifier tells the classes from some features.

    Attributes:
        kind: LEARNED, RANDOM, or the MODEL that learned from labels.
        layer: Whose features they are.
        length: Features per image.
        accuracies: By fold, the mean over the classes.
        mean, deviation: Over the folds.
    """

    kind: str
    layer: str
    length: int
    accuracies: tuple[float, ...]
    mean: float
    deviation: float | None

    @property
    def name(self) -> str:
        """Kind and layer."""
        return f"{self.kind}, {self.layer}"


@dataclass(frozen=True, eq=False)
class LayerMaps:
    """What a layer's maps stand for.

    Attributes:
        name: Of the layer.
        values: The largest codes of each map, one an image at most, the largest first; 0 is none.
        patches: What the pixels show where they stand; white beyond the image.
        projections: Each code alone, carried down to the pixels by its image's switches; grey is 0.
        rebuilt: Some images, as this layer's codes reconstruct them.

    Shape:
        values: (K, n). patches: uint8 (K, n, h, w, 3). projections: uint8 (K, n, h, w, 3).
        rebuilt: uint8 (m, H, W, 3).
    """

    name: str
    values: NDArray[np.float32]
    patches: Pixels
    projections: Pixels
    rebuilt: Pixels


@dataclass(frozen=True, eq=False)
class Adaptive(Record, Result):
    """An adaptive deconvolutional network.

    Attributes:
        images: How many it learned from.
        size: Pixels of a side of these.
        layers: Bottom up.
        shown: Some images, contrast-normalised.
        probed: The worth of its features and of others on the same images; empty if not asked for.
        per_class: Labelled images of each class that the classifiers learned from.
        chance: One over the classes; None where nothing was probed.
        lead: The accuracy of the best learned layer less that of the best random one, by fold.
        unread: (name, reason) of images that could not be read.
        pictures: Of each layer.

    Shape:
        shown: uint8 (H, W, 3) each.
    """

    images: int
    size: int
    layers: tuple[LearnedFilters, ...]
    shown: tuple[Pixels, ...] = not_in_json()
    probed: tuple[ProbedFeatures, ...] = ()
    per_class: int | None = None
    chance: float | None = None
    lead: Estimate | None = None
    unread: tuple[tuple[str, str], ...] = ()
    pictures: tuple[LayerMaps, ...] = not_in_json(default=())

    def best(self, kind: str) -> ProbedFeatures | None:
        """The layer of a kind that tells the classes best; None where none was probed."""
        rows = [row for row in self.probed if row.kind == kind]
        return max(rows, key=lambda row: row.mean) if rows else None

    def verdict(self) -> str:
        """What learning without labels was worth, in a sentence; "" where nothing was probed."""
        learned, lead = self.best(LEARNED), self.lead
        if learned is None or lead is None:
            return ""
        sure = lead.low is not None and lead.high is not None and (lead.low > 0 or lead.high < 0)
        how = ("better" if lead.mean > 0 else "worse") if sure else "no better"
        said = f"learned filters tell the classes {how} than random ones"
        others = [row for row in self.probed if row.kind not in (LEARNED, RANDOM)]
        if others:
            best = max(others, key=lambda row: row.mean)
            word = "more" if best.mean > learned.mean else "no more"
            said += f"; features learned from labels ({best.name}) {word} than either: " + (
                f"{100 * best.mean:.1f} against {100 * learned.mean:.1f} %"
            )
        return said

    def words(self) -> list[str]:
        """A row per layer, a row per kind of features, and what they say."""
        head = ("layer", "maps", "window", "pixels explained", "codes not zero", "energy")
        rows = [
            (
                layer.name, layer.maps, f"{layer.window[0]}×{layer.window[1]}",
                percent(layer.explained, 1), percent(layer.active, 1),
                f"{layer.energy[0]:,.0f} to {layer.energy[-1]:,.0f}",
            )
            for layer in self.layers
        ]  # fmt: skip
        lines = [
            *table(head, rows),
            f"learned from {counted(self.images, 'image')} of {self.size}×{self.size}, no labels",
        ]
        if not self.probed or self.lead is None:
            return lines
        scores = [
            (row.name, f"{row.length:,}", plus_minus(row.mean, row.deviation))
            for row in self.probed
        ]
        folds = len(self.probed[0].accuracies)
        apart = NONE if self.lead.low is None else interval_words(self.lead, 1, 0.01)
        return [
            *lines,
            "",
            *table(("features", "length", "accuracy, %"), scores),
            f"linear SVM, {self.per_class} images per class, {counted(folds, 'fold')}; guessing "
            f"{100 * (self.chance or 0):.1f}",
            f"best learned layer less best random one: {100 * self.lead.mean:+.1f} points "
            f"(95 % {apart})",
            self.verdict(),
        ]

    def warnings(self) -> Sequence[str]:
        """The images that were left out."""
        lines = [f"skipped {name}: {reason}" for name, reason in self.unread[:NAMED]]
        if (more := len(self.unread) - NAMED) > 0:
            lines.append(f"skipped {more} more images that cannot be read")
        return lines
