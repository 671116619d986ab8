"""Labels and maps judged by what was seen of every image."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from convscope.errors import BadData, BadImage, BadOption
from convscope.experiments.features.image_map import LEAST as LEAST_PLACED
from convscope.experiments.features.image_map import MOST, check_sklearn_installed, places_of
from convscope.experiments.mistakes.confident import LEAST, Doubts, cross_validated, doubts_of
from convscope.experiments.mistakes.examined import ExaminedImages
from convscope.experiments.mistakes.nearest import Neighbours, nearest
from convscope.experiments.mistakes.pairs import looked_alike
from convscope.experiments.mistakes.result import (
    Confused,
    Doubt,
    MapRemoval,
    Mistakes,
    PlacedImage,
    TellingMap,
)
from convscope.experiments.mistakes.telling import FEWEST, CandidateMap, telling_maps
from convscope.experiments.study import Context
from convscope.images.pictures import square
from convscope.images.subsets import evenly
from convscope.scan.features import Features
from convscope.store.results import Arrays, ResultStore

__all__ = ["JudgedMistakes"]

NEIGHBOURS, BESIDE = 10, 3  # that are asked for their labels; that the page shows
EXAMPLES = 6  # images of each kind that show what a map tells
SIDE = 112  # pixels of the page's pictures
DIGITS = 6

Indices = NDArray[np.int64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class JudgedMistakes:
    """What is known before maps are taken away; in the first process alone.

    Attributes:
        examined: what is looked at.
        seen: the maps' activations, features and answers.
        predicted: (N,), the class that is said of each image, -1 for none.
        loss: (N,), of its label.
        rows: the images whose labels are judged.
        probabilities: of their classes, which are `kept`, by a probe; (n, K).
        kept: the classes that have enough images.
        doubts: which labels are in doubt; None where too few images are there.
        near: the nearest of `everyone`, the images that could be read.
        maps: those that may tell.
    """

    examined: ExaminedImages
    seen: Arrays
    predicted: Indices
    loss: NDArray[np.float64]
    rows: Indices
    probabilities: NDArray[np.float64]
    kept: Indices
    doubts: Doubts | None
    everyone: Indices
    near: Neighbours
    maps: tuple[CandidateMap, ...]

    @classmethod
    def of(
        cls, examined: ExaminedImages, seen: Arrays, results: ResultStore, context: Context
    ) -> JudgedMistakes:
        """Judge labels and maps."""
        labels, readable = examined.labels, seen["readable"]
        everyone = np.flatnonzero(readable)
        sizes = np.bincount(labels[readable & (labels >= 0)], minlength=len(examined.classes))
        kept = np.flatnonzero(sizes >= LEAST)
        rows = np.flatnonzero(readable & np.isin(labels, kept))
        dense = np.searchsorted(kept, labels[rows])
        features = Features(examined.layer, "mean", seen["features"])
        doubts, probabilities = None, np.zeros((len(rows), len(kept)))
        if len(kept) > 1:
            probabilities = results.arrays(
                "cross-validated",
                lambda: {
                    "probabilities": cross_validated(
                        features, rows, dense, seed=examined.asked.seed, progress=context.progress
                    )
                },
            )["probabilities"]
            doubts = doubts_of(probabilities, dense)
        elif not examined.judged:
            raise BadData(
                f"{examined.images.spec}: fewer than two classes have {LEAST} images that can be "
                "read, which predictions by cross-validation need"
            )
        if examined.judged:
            predicted, loss = seen["predicted"], seen["loss"]
        else:
            predicted, loss = np.full(len(labels), -1), np.full(len(labels), np.nan)
            predicted[rows] = kept[probabilities.argmax(1)]
            own = probabilities[np.arange(len(rows)), dense]
            loss[rows] = -np.log(np.maximum(own, np.finfo(float).tiny))
        near = nearest(seen["features"][everyone], NEIGHBOURS, progress=context.progress)
        told = readable & (labels >= 0) & (predicted >= 0)
        maps = telling_maps(
            seen["maps"], np.where(told, labels, -1), predicted != labels,
            draws=examined.asked.draws, seed=examined.asked.seed,
        )  # fmt: skip
        return cls(
            examined, seen, predicted, loss, rows, probabilities, kept, doubts, everyone, near,
            tuple(maps),
        )  # fmt: skip

    def result(
        self, removed: Sequence[MapRemoval], results: ResultStore, context: Context
    ) -> Mistakes:
        """Put everything together."""
        examined, labels = self.examined, self.examined.labels
        told = self.seen["readable"] & (labels >= 0) & (self.predicted >= 0)
        pairs, same = looked_alike(
            examined.images, examined.against, (self.everyone, self.near), results, context
        )
        wrong = told & (self.predicted != labels)
        maps = [self._telling(each) for each in self.maps]
        for number, without in enumerate(removed):  # the surest come first, as claims do
            maps[number] = dataclasses.replace(maps[number], removal=without)
        table, classes = self._table(told)
        doubts = self._doubts()
        judged = sum(
            min(int((wrong & (labels == c)).sum()), int((told & ~wrong & (labels == c)).sum()))
            >= FEWEST
            for c in np.unique(labels[told])
        )
        few = [] if self.doubts is None else np.setdiff1d(labels[labels >= 0], self.kept).tolist()
        found = Mistakes(
            data=examined.images.spec,
            judge="the network" if examined.judged else "the probe",
            layer=examined.layer,
            classes=tuple(examined.name_of(label) for label in classes),
            table=table,
            confused=self._confused(wrong, told),
            maps=tuple(maps),
            looked_at=(self.seen["maps"].shape[1], int(judged)),
            doubts=doubts,
            noise=None if self.doubts is None else round(self.doubts.share, DIGITS),
            agreed=self._agreed(),
            left_out=tuple(examined.name_of(label) for label in few),
            pairs=pairs,
            same=same,
            against=None if examined.against is None else examined.against.spec,
            unread=tuple((str(name), str(why)) for name, why in self.seen["unread"]),
        )
        return dataclasses.replace(
            found, pictures=self._pictures(found, results), placed=self._placed(results)
        )

    def _placed(self, results: ResultStore) -> tuple[PlacedImage, ...]:
        """The images on a map by the features that judged the labels; t-SNE."""
        rows = self.everyone[evenly(len(self.everyone), MOST)]
        try:
            check_sklearn_installed()
        except BadOption:
            return ()
        if len(rows) < LEAST_PLACED:
            return ()

        def place() -> Arrays:
            places, _ = places_of(self.seen["features"][rows], self.examined.asked.seed)
            return {"places": np.zeros((0, 2)) if places is None else places}

        places = results.arrays("map", place)["places"]
        if not len(places):
            return ()
        low, high = places.min(0), places.max(0)
        shares = (places - low) / np.where(high > low, high - low, 1)
        name = self._name
        return tuple(
            PlacedImage(
                index, self.examined.images.name(index), float(x), float(1 - y),
                name(self.examined.labels[index]), name(self.predicted[index]),
            )
            for index, (x, y) in zip(rows.tolist(), shares, strict=True)
        )  # fmt: skip

    def _name(self, label: int) -> str:
        """A class's name; "" of none."""
        return self.examined.name_of(int(label)) if label >= 0 else ""

    def _agreed(self) -> float | None:
        """How many labels the probe gives, as a share."""
        if self.doubts is None:
            return None
        given = self.kept[self.probabilities.argmax(1)]
        return round(float((given == self.examined.labels[self.rows]).mean()), DIGITS)

    def _table(self, told: Flags) -> tuple[Indices, list[int]]:
        """How often each class was taken for each, of the classes that come up."""
        labels, predicted = self.examined.labels[told], self.predicted[told]
        classes = np.unique(np.concatenate([labels, predicted]))
        table = np.zeros((len(classes), len(classes)), np.int64)
        np.add.at(table, (np.searchsorted(classes, labels), np.searchsorted(classes, predicted)), 1)
        return table, classes.tolist()

    def _confused(self, wrong: Flags, told: Flags) -> tuple[Confused, ...]:
        labels = self.examined.labels
        pairs, counts = np.unique(
            np.stack([labels[wrong], self.predicted[wrong]]), axis=1, return_counts=True
        )
        sizes = np.bincount(labels[told])
        order = np.argsort(-counts, kind="stable")
        name = self.examined.name_of
        return tuple(
            Confused(name(int(pairs[0, i])), name(int(pairs[1, i])), int(counts[i]),
                     int(sizes[pairs[0, i]]))
            for i in order
        )  # fmt: skip

    def _telling(self, told: CandidateMap) -> TellingMap:
        """A map with its name, and images that show what it tells."""
        labels, values = self.examined.labels, self.seen["maps"][told.judged, told.map]
        wrong = self.predicted[told.judged] != labels[told.judged]
        taken = self.predicted[told.judged][wrong]
        order = np.argsort(-values if told.more else values, kind="stable")
        mistakes = told.judged[order][wrong[order]][:EXAMPLES]
        strongest = np.argsort(-values, kind="stable")
        right = told.judged[strongest][~wrong[strongest]][:EXAMPLES]
        return TellingMap(
            self.examined.name_of(told.label), str(self.examined.units[told.map]), told.more,
            round(told.area, DIGITS), round(told.low, DIGITS), round(told.high, DIGITS),
            told.p, told.corrected, self.examined.name_of(int(np.bincount(taken).argmax())),
            tuple(mistakes.tolist()), tuple(right.tolist()),
        )  # fmt: skip

    def _doubts(self) -> tuple[Doubt, ...]:
        if self.doubts is None:
            return ()
        examined, place = self.examined, {int(i): n for n, i in enumerate(self.everyone)}
        labels = examined.labels
        agreement = self.near.agreement(labels[self.everyone])
        dense = np.searchsorted(self.kept, labels[self.rows])
        found = []
        for number in self.doubts.ranked(dense).tolist():
            index = int(self.rows[number])
            row, other = place[index], int(self.doubts.suggested[number])
            own = self.probabilities[number]
            found.append(
                Doubt(
                    index, examined.images.name(index), examined.name_of(int(labels[index])),
                    examined.name_of(int(self.kept[other])),
                    round(float(own[dense[number]]), DIGITS), round(float(own[other]), DIGITS),
                    round(float(self.doubts.margin[number]), DIGITS),
                    tuple(self.everyone[self.near.rows[row]].tolist()),
                    round(float(agreement[row]), DIGITS),
                    examined.name_of(int(self.predicted[index])),
                    round(float(self.loss[index]), DIGITS),
                )
            )  # fmt: skip
        return tuple(found)

    def _pictures(self, found: Mistakes, results: ResultStore) -> dict[int, NDArray[np.uint8]]:
        """The pictures of the page, small, by index; those of the other set below 0."""
        wanted: dict[int, None] = {}
        for doubt in found.doubts[: self.examined.asked.shown]:
            wanted |= dict.fromkeys([doubt.index, *doubt.neighbours[:BESIDE]])
        for pair in found.pairs[: self.examined.asked.shown]:
            wanted |= dict.fromkeys([pair.index, -1 - pair.other if pair.across else pair.other])
        for told in found.telling:
            wanted |= dict.fromkeys([*told.in_mistakes, *told.in_right])

        def small() -> Arrays:
            pixels = np.zeros((len(wanted), SIDE, SIDE, 3), np.uint8)
            for number, index in enumerate(wanted):
                images = self.examined.images if index >= 0 else self.examined.against
                assert images is not None
                try:
                    picture = images.picture(index if index >= 0 else -1 - index)
                except BadImage:  # it has gone since; its place stays black
                    continue
                pixels[number] = np.asarray(square(picture, SIDE))
            return {"index": np.array(list(wanted), np.int64), "pixels": pixels}

        kept = results.arrays("pictures", small)
        return dict(zip(kept["index"].tolist(), kept["pixels"], strict=True))
