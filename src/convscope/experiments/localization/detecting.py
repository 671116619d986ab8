"""Detection by regions: windows, their features from shared maps, a linear SVM, and suppression.

After R-CNN (Girshick et al. 2014), on the maps of one forward pass per image (He et al. 2014). A
region is an example of a class where it overlaps one of its objects by RIGHT or more, and of none
where it overlaps every object by less than APART; what lies between is left out. Half of the latter
overlap an object a little, where there are such: they are the hard ones. The SVM is the probe's,
with its scaling and its C chosen by cross-validation among the learned regions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from convscope.errors import BadData, BadImage
from convscope.experiments.localization.marked_images import place_boxes
from convscope.experiments.localization.precision import (
    detection_average_precision,
    match_detections,
)
from convscope.experiments.localization.regions import RegionPooling, sliding_windows
from convscope.experiments.localization.result import (
    CENTRED,
    RIGHT,
    DetectedImage,
    Detection,
    RegionScore,
)
from convscope.experiments.transfer.classifier import Probe, fit_probe
from convscope.experiments.transfer.linear_model import LinearProblem, Loss
from convscope.geometry.overlap import overlaps, suppressed
from convscope.images.image_set import ImageSet
from convscope.images.marked_boxes import BoxedImages
from convscope.images.preprocess import Preprocess
from convscope.network.network import Network
from convscope.progress import Progress, silent
from convscope.scan.features import Features
from convscope.stats import Share, bootstrap

__all__ = ["Detector", "detection", "learned"]

APART, TOUCHING = 0.3, 0.1  # IoU: of no class below the first; a hard one above the second
POSITIVE, NEGATIVE = 8, 16  # regions of an image that are learned, at most
KEPT = 100  # detections of an image, the surest
SHOWN = 8  # images with what was detected in them
DRAWS = 200  # of the bootstrap over images
WINDOWS, MARKED = "sliding windows", "marked boxes"

Boxes = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class _Image:
    """An image's maps and objects: (C, h, w); (n, 4), int (n,) and bool (n,); and its picture."""

    maps: NDArray[np.float32]
    truth: Boxes
    labels: NDArray[np.int64]
    difficult: NDArray[np.bool_]
    picture: NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Detector:
    """How images become regions with features.

    Attributes:
        network: On its device.
        preprocess: From pictures to its input.
        layer: Whose maps are pooled.
        images: The set.
        boxed: Where its objects are.

    Raises:
        BadOption: The layer has no places.
    """

    network: Network
    preprocess: Preprocess
    layer: str
    images: ImageSet
    boxed: BoxedImages

    @property
    def pooling(self) -> RegionPooling:
        """From maps to features."""
        return RegionPooling.of(self.network, self.layer)

    @property
    def windows(self) -> Boxes:
        """The regions that are proposed, of any image."""
        return sliding_windows(self.preprocess.size)

    def look(self, index: int) -> _Image | None:
        """One forward pass; None where the image cannot be read, or its input shows no object."""
        try:
            picture = self.images.picture_as(index, self.preprocess.form)
        except BadImage:
            return None
        known = self.boxed.boxes[index]
        placed = place_boxes(known, self.preprocess, picture.size, self.images.name(index))
        if not len(placed.edges):
            return None
        image = self.preprocess.tensor(picture)[None].to(self.network.device)
        maps = self.network.values(image, [self.layer])[self.layer][0].float().cpu().numpy()
        labels = np.array([box.label for box in known])[placed.seen]
        difficult = np.array([box.difficult for box in known])[placed.seen]
        return _Image(maps, placed.edges, labels, difficult, self.preprocess.shown(picture))


def learned(
    detector: Detector, indices: Sequence[int], *, seed: int, progress: Progress | None = None
) -> Probe:
    """Fit the SVM on regions of some images; its last class is "none".

    Args:
        detector: How images become regions.
        indices: The images.
        seed: Of the regions that are drawn.
        progress: Is told how many images were looked at.

    Raises:
        BadData: None of them can be looked at.
    """
    dice, none = np.random.default_rng([seed, 4]), len(detector.boxed.classes)
    pooling, windows, tell = detector.pooling, detector.windows, progress or silent
    rows, targets = [], []
    for number, index in enumerate(indices, 1):
        seen = detector.look(index)
        if seen is not None:
            boxes, labels = _examples(seen, windows, none, dice)
            rows.append(pooling(seen.maps, boxes))
            targets.append(labels)
        tell("images to learn from", number, len(indices))
    if not rows:
        raise BadData(f"{detector.images.spec}: no image to learn detection from can be read")
    features, every = np.concatenate(rows), np.concatenate(targets)
    problem = LinearProblem(Loss.SVM, none + 1, torch.device("cpu"))
    where = Features(detector.layer, "regions", features)
    return fit_probe(where, np.arange(len(every)), every, problem, seed=seed)


def _examples(
    seen: _Image, windows: Boxes, none: int, dice: np.random.Generator
) -> tuple[Boxes, NDArray[np.int64]]:
    """Regions of an image to learn, and their classes: its objects, windows on and off them."""
    over = overlaps(windows, seen.truth)
    best, nearest = over.max(1), over.argmax(1)
    easy = ~seen.difficult
    on = np.flatnonzero((best >= RIGHT) & easy[nearest])
    off = np.flatnonzero(best < APART)
    hard = off[best[off] >= TOUCHING]
    on = dice.permutation(on)[: max(0, POSITIVE - int(easy.sum()))]
    half = dice.permutation(hard)[: NEGATIVE // 2]
    rest = dice.permutation(np.setdiff1d(off, half))[: NEGATIVE - len(half)]
    boxes = np.concatenate([seen.truth[easy], windows[on], windows[half], windows[rest]])
    labels = np.concatenate([
        seen.labels[easy], seen.labels[nearest[on]], np.full(len(half) + len(rest), none)
    ])  # fmt: skip
    return boxes, labels


# ---- judging


@dataclass(frozen=True, eq=False)
class _Judged:
    """The detections of an image: box, class, score and verdict; objects by class; the share."""

    boxes: Boxes
    labels: NDArray[np.int64]
    scores: NDArray[np.float64]
    right: NDArray[np.int8]
    objects: NDArray[np.int64]
    covered: NDArray[np.bool_]
    regions: int


def detection(
    detector: Detector,
    probe: Probe,
    indices: Sequence[int],
    centred: Boxes,
    *,
    seed: int,
    progress: Progress | None = None,
) -> Detection:
    """Detect objects in images that were not learned from, and judge it.

    Args:
        detector: How images become regions.
        probe: The SVM.
        indices: The images.
        centred: The centred box, which is proposed alone for comparison.
        seed: Of the bootstrap.
        progress: Is told how many images are done.

    Raises:
        BadData: None of them can be looked at.

    Shape:
        centred: (4,).
    """
    pooling, tell = detector.pooling, progress or silent
    found: dict[str, list[_Judged]] = {WINDOWS: [], CENTRED: [], MARKED: []}
    drawn: list[DetectedImage] = []
    for number, index in enumerate(indices, 1):
        seen = detector.look(index)
        if seen is not None:
            for kind, boxes in (
                (WINDOWS, detector.windows), (CENTRED, centred[None]), (MARKED, seen.truth)
            ):  # fmt: skip
                found[kind].append(_judge(seen, boxes, pooling(seen.maps, boxes), probe))
            if len(drawn) < SHOWN:
                name, classes = detector.images.name(index), detector.boxed.classes
                drawn.append(_shown(name, seen, found[WINDOWS][-1], classes))
        tell("images to detect in", number, len(indices))
    if not found[WINDOWS]:
        raise BadData(f"{detector.images.spec}: no image to detect in can be read")
    scores = tuple(_scored(kind, rows, seed) for kind, rows in found.items())
    objects = np.sum([row.objects for row in found[WINDOWS]], 0)
    shown = [
        (name, int(count), scores[0].by_class[i])
        for i, (name, count) in enumerate(zip(detector.boxed.classes, objects, strict=True))
        if count
    ]
    return Detection(detector.layer, len(found[WINDOWS]), scores, tuple(shown), tuple(drawn))


def _judge(seen: _Image, boxes: Boxes, features: NDArray[np.float32], probe: Probe) -> _Judged:
    """Score regions, keep the best of those that overlap, and hold them against the truth."""
    rows = Features("", "regions", features)
    scores = probe.scores(rows, np.arange(len(boxes))).astype(np.float64)[:, :-1]
    kept = [(label, each) for label in range(scores.shape[1]) if np.isfinite(scores[0, label])
            for each in suppressed(boxes, scores[:, label])]  # fmt: skip
    kept.sort(key=lambda pair: -scores[pair[1], pair[0]])
    labels = np.array([label for label, _ in kept[:KEPT]], np.int64)
    chosen = np.array([each for _, each in kept[:KEPT]], np.int64)
    right = np.zeros(len(labels), np.int8)
    for label in np.unique(labels):
        of, there = labels == label, seen.labels == label
        right[of] = match_detections(
            boxes[chosen[of]], scores[chosen[of], label], seen.truth[there], seen.difficult[there]
        )
    needed = ~seen.difficult
    objects = np.bincount(seen.labels[needed], minlength=scores.shape[1])
    covered = overlaps(boxes, seen.truth[needed]).max(0) >= RIGHT
    return _Judged(
        boxes[chosen], labels, scores[chosen, labels], right, objects, covered, len(boxes)
    )


def _shown(name: str, seen: _Image, judged: _Judged, classes: Sequence[str]) -> DetectedImage:
    """An image with its sure detections, for the figure."""
    sure = max(1, int((judged.scores > 0).sum()))
    return DetectedImage(
        name, seen.picture, seen.truth, tuple(classes[label] for label in seen.labels),
        judged.boxes[:sure], tuple(classes[label] for label in judged.labels[:sure]),
        judged.scores[:sure], judged.right[:sure],
    )  # fmt: skip


def _scored(kind: str, rows: Sequence[_Judged], seed: int) -> RegionScore:
    def by_class(numbers: NDArray[np.int64], *, eleven: bool = False) -> list[float]:
        some = [rows[i] for i in numbers]
        labels, scores, right = (
            np.concatenate([getattr(row, name) for row in some])
            for name in ("labels", "scores", "right")
        )
        objects = np.sum([row.objects for row in some], 0)
        return [
            detection_average_precision(
                scores[labels == k], right[labels == k], int(objects[k]), eleven=eleven
            )
            for k in range(len(objects))
        ]

    def mean(numbers: NDArray[np.int64]) -> float:
        known = [value for value in by_class(numbers) if not np.isnan(value)]
        return float(np.mean(known)) if known else 0.0

    every = np.arange(len(rows))
    low, high = bootstrap(
        lambda times: np.array([mean(np.repeat(every, row)) for row in times]),
        len(rows), draws=DRAWS, seed=[seed, 5],
    )  # fmt: skip
    eleven = float(np.nanmean(by_class(every, eleven=True)))
    covered = np.concatenate([row.covered for row in rows]).tolist()
    return RegionScore(
        kind, float(np.mean([row.regions for row in rows])), Share.of(covered), mean(every), low,
        high, eleven, tuple(by_class(every)),
    )  # fmt: skip
