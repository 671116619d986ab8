"""What localisation and detection found: typed rows, and their words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convscope.experiments.number_words import (
    NONE,
    interval_words,
    minus,
    percent,
    signed_number,
)
from convscope.experiments.study import Result
from convscope.record import Record, not_in_json
from convscope.stats import Estimate, Share, mean_of
from convscope.text import counted, table

__all__ = [
    "CENTRED", "RIGHT", "WHOLE", "BoxScore", "DetectedImage", "Detection", "Example",
    "Localization", "RegionScore",
]  # fmt: skip

RIGHT = 0.5
"""The intersection over union from which on a box is right, as PASCAL VOC has it."""
CENTRED, WHOLE = "centred box", "whole image"
NAMED = 5  # images that could not be read, in the warnings


@dataclass(frozen=True)
class BoxScore(Record):
    """How well one kind of box finds the objects.

    Attributes:
        kind: A method, or one of CENTRED and WHOLE, which look at no image.
        threshold: The share of the map's largest value at which it is cut; None of the latter.
        accuracy: How often the intersection over union is RIGHT or more.
        iou: The mean intersection over union.
        lead: The same less the centred box's, image by image; None of the centred box itself.
        p: Two-sided, of the sign test, that it is right as often as the centred box.
        by_image: The intersection over union in each image.
    """

    kind: str
    threshold: float | None
    accuracy: Share
    iou: Estimate
    lead: Estimate | None
    p: float | None
    by_image: tuple[float, ...]

    @property
    def better(self) -> bool:
        """Whether it overlaps the objects more than the centred box does, beyond chance."""
        return self.lead is not None and self.lead.low is not None and self.lead.low > 0


@dataclass(frozen=True, eq=False)
class Example:
    """An image with the boxes that were found in it.

    Attributes:
        name: Of the image.
        target: The class that was asked for.
        picture: As the network sees it.
        truth: The marked boxes.
        maps: By method; 255 is the largest value.
        boxes: By method, at the threshold that was chosen.

    Shape:
        picture: uint8 (H, W, 3). truth: (n, 4). Of maps: uint8 (H, W); of boxes: (4,).
    """

    name: str
    target: int
    picture: NDArray[np.uint8]
    truth: NDArray[np.float64]
    maps: Mapping[str, NDArray[np.uint8]]
    boxes: Mapping[str, NDArray[np.float64]]


@dataclass(frozen=True)
class RegionScore(Record):
    """Detection from one kind of regions.

    Attributes:
        kind: Sliding windows; the centred box alone; or the marked boxes, which no detector knows.
        regions: How many an image has, on average.
        recall: How many objects a region overlaps by RIGHT or more: what detection cannot exceed.
        precision: Mean average precision, the area under the curve (VOC since 2010).
        low, high: Its 95 % interval, by bootstrap over the images.
        eleven: The same over 11 recalls, as VOC 2007 has it.
        by_class: Average precision of each class, the area; NaN of one without an object.
    """

    kind: str
    regions: float
    recall: Share
    precision: float
    low: float
    high: float
    eleven: float
    by_class: tuple[float, ...] = not_in_json()


@dataclass(frozen=True, eq=False)
class DetectedImage:
    """An image with what was detected in it, the surest first.

    Attributes:
        name: Of the image.
        picture: As the network sees it.
        truth: The marked boxes.
        objects: The class of each.
        boxes: That were detected; all whose score is above 0, and at least the surest.
        found: The class of each.
        scores: Of the SVM.
        right: 1 right, 0 wrong, -1 of an object that need not be found.

    Shape:
        picture: uint8 (H, W, 3). truth: (n, 4). boxes: (m, 4). scores, right: (m,).
    """

    name: str
    picture: NDArray[np.uint8]
    truth: NDArray[np.float64]
    objects: tuple[str, ...]
    boxes: NDArray[np.float64]
    found: tuple[str, ...]
    scores: NDArray[np.float64]
    right: NDArray[np.int8]


@dataclass(frozen=True)
class Detection(Record):
    """Objects detected by regions of shared maps and a linear SVM.

    Attributes:
        layer: Whose maps they are.
        images: How many were judged.
        scores: Of the sliding windows first.
        classes: (name, objects, average precision) of each class that is there.
        shown: Some images, with what was detected from the sliding windows.
    """

    layer: str
    images: int
    scores: tuple[RegionScore, ...]
    classes: tuple[tuple[str, int, float], ...]
    shown: tuple[DetectedImage, ...] = not_in_json(default=())

    def words(self) -> list[str]:
        """A row per kind of regions."""
        head = ("detection from", "regions", "recall", "mean AP (area)", "95 %", "mean AP (11)")
        rows = [
            (
                row.kind, f"{row.regions:.0f}", percent(row.recall.share),
                f"{100 * row.precision:.1f}", f"{100 * row.low:.1f} to {100 * row.high:.1f}",
                f"{100 * row.eleven:.1f}",
            )
            for row in self.scores
        ]  # fmt: skip
        return [*table(head, rows), f"features of {self.layer}, {counted(self.images, 'image')}"]


@dataclass(frozen=True, eq=False)
class Localization(Record, Result):
    """Where the objects are, as maps tell it, and as a detector does.

    Attributes:
        asked: Of which class the maps are: the marked one, or the one that is predicted.
        layer: Of the spotlight, the contrastive map and grad-cam.
        images: How many were judged.
        tuned: On how many others the thresholds were chosen, and the centred box measured.
        centred: (height, width) of the centred box, pixels of the input.
        scores: Of each method, of the centred box and of the whole image.
        beyond: Boxes that reached beyond their pictures, and were cut.
        unseen: Images left out, as the input shows none of their boxes.
        unread: (name, reason) of images that could not be read.
        detection: By regions and an SVM; None where it was not asked for.
        examples: Some of the images.
    """

    asked: str
    layer: str
    images: int
    tuned: int
    centred: tuple[float, float]
    scores: tuple[BoxScore, ...]
    beyond: int = 0
    unseen: int = 0
    unread: tuple[tuple[str, str], ...] = ()
    detection: Detection | None = None
    examples: tuple[Example, ...] = not_in_json(default=())

    def score(self, kind: str) -> BoxScore:
        """The row of a kind of box."""
        return next(row for row in self.scores if row.kind == kind)

    @property
    def best(self) -> BoxScore | None:
        """The method whose boxes overlap the objects most; None if none was asked for."""
        rows = [row for row in self.scores if row.threshold is not None]
        return max(rows, key=lambda row: row.iou.mean) if rows else None

    def verdict(self) -> str:
        """Whether a map finds the objects better than what looks at no image, in a sentence.

        That is the centred box, or the whole image where that overlaps the objects more.
        """
        best = self.best
        blind = max((self.score(CENTRED), self.score(WHOLE)), key=lambda row: row.iou.mean)
        if best is None:
            return f"the {blind.kind} overlaps by {blind.iou.mean:.2f}"
        pairs = zip(best.by_image, blind.by_image, strict=True)
        lead = mean_of([one - other for one, other in pairs])
        if lead.low is not None and lead.low > 0:
            said = f"{best.kind} localises best, and better than the {blind.kind}"
        elif lead.mean > 0:
            said = f"{best.kind} localises best, but no better than the {blind.kind} beyond chance"
        else:
            said = f"no map localises better than the {blind.kind}; of the maps {best.kind} is best"
        return f"{said}: mean IoU {best.iou.mean:.2f} against {blind.iou.mean:.2f}"

    def words(self) -> list[str]:
        """A row per kind of box, and what they say."""
        head = ("box of", "cut at", f"IoU ≥ {RIGHT:g}", "95 %", "mean IoU", "over the centred box")
        rows = [_cells(row) for row in self.scores]
        height, width = self.centred
        return [
            *table(head, rows),
            "",
            self.verdict(),
            f"{counted(self.images, 'image')}, maps of the {self.asked} class; thresholds chosen, "
            f"and the {CENTRED} ({height:.0f}×{width:.0f} px) measured, on {self.tuned} others",
            *(["", *self.detection.words()] if self.detection is not None else []),
        ]

    def warnings(self) -> Sequence[str]:
        """What was left out or cut."""
        lines = [f"skipped {name}: {reason}" for name, reason in self.unread[:NAMED]]
        if (more := len(self.unread) - NAMED) > 0:
            lines.append(f"skipped {more} more images that cannot be read")
        if self.unseen:
            lines.append(
                f"left out {counted(self.unseen, 'image')}: what the network sees of them shows "
                "none of the marked boxes"
            )
        if self.beyond:
            lines.append(f"{self.beyond} boxes reach beyond their pictures, and were cut")
        return lines


def _cells(row: BoxScore) -> tuple[Any, ...]:
    share = row.accuracy
    lead = NONE
    if row.lead is not None:
        lead = f"{signed_number(row.lead.mean, 2)} ({interval_words(row.lead)})"
    return (
        row.kind,
        NONE if row.threshold is None else f"{row.threshold:.2f}",
        percent(share.share),
        f"{percent(share.low)} to {percent(share.high)}",
        minus(f"{row.iou.mean:.3f}"),
        lead,
    )
