"""What was found about a network's mistakes and its images' labels, in numbers and in words."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convscope.experiments.mistakes.telling import CLAIMED
from convscope.experiments.number_words import percent
from convscope.experiments.study import Result
from convscope.record import Record
from convscope.text import table

__all__ = ["Confused", "Doubt", "MapRemoval", "Mistakes", "Pair", "PlacedImage", "TellingMap"]

LINES = 10  # of a table
COLUMNS = (
    "name", "label", "suggested", "probability", "suggested_probability", "margin",
    "neighbours_agree", "predicted", "loss",
)  # fmt: skip


@dataclass(frozen=True)
class Confused(Record):
    """How often one class was taken for another.

    Attributes:
        label: the class of the images.
        predicted: what was said of them.
        count: how often.
        of: how many images of the class there are.
    """

    label: str
    predicted: str
    count: int
    of: int


@dataclass(frozen=True)
class MapRemoval(Record):
    """What becomes of a class's judging images when one map is set to zero.

    Attributes:
        mistakes, mended: how many mistakes there are, and how many of them come right.
        right, broken: how many right answers there are, and how many of them go wrong.
        effect: of a map that is more active in mistakes, by how much their mean loss falls; of one
            that is less, by how much the loss of the right answers rises. In nats.
        low, high: its 95 % interval over the images.
        others: how many other maps of the layer were removed for comparison.
        largest: the largest effect that one of them has.
        confirmed: whether the interval lies above 0 and the effect above that of all others.
    """

    mistakes: int
    mended: int
    right: int
    broken: int
    effect: float
    low: float
    high: float
    others: int
    largest: float
    confirmed: bool


@dataclass(frozen=True)
class TellingMap(Record):
    """A map that tells a class's mistakes from its right answers.

    Attributes:
        label: the class.
        unit: the map.
        more: whether it is more active in mistakes; else it is less.
        area: how often it is more active in a mistake than in a right answer, in images that it was
            not chosen by.
        low, high: its 95 % interval.
        p: how often dealt mistakes reach as much for this map.
        p_corrected: how often they do for any map and class.
        mistaken_for: what the class's mistakes are taken for most often.
        in_mistakes, in_right: the judging images of both kinds in which the map is most active, by
            index, the strongest first; in mistakes the least active where it is less active there.
        removal: what becomes of the images without it; None where that was not tried.
    """

    also = ("claimed",)

    label: str
    unit: str
    more: bool
    area: float
    low: float
    high: float
    p: float
    p_corrected: float
    mistaken_for: str
    in_mistakes: tuple[int, ...]
    in_right: tuple[int, ...]
    removal: MapRemoval | None = None

    @property
    def claimed(self) -> bool:
        """Whether it stands out from chance."""
        return self.p_corrected < CLAIMED

    def cells(self) -> tuple[str, ...]:
        """The cells of a table's row."""
        cells = (
            self.label, self.unit, "more" if self.more else "less",
            f"{self.area:.2f} ({self.low:.2f} to {self.high:.2f})", f"{self.p_corrected:.3f}",
        )  # fmt: skip
        if self.removal is None:
            return (*cells, "")
        found = self.removal
        mended = f"{found.mended} of {found.mistakes} mended, {found.broken} of {found.right} lost"
        return (*cells, f"{mended}{'' if found.confirmed else ' (not confirmed)'}")


@dataclass(frozen=True)
class Doubt(Record):
    """An image whose label is in doubt.

    Attributes:
        index: of the image in its set.
        name: the image's name.
        label: the given one.
        suggested: the class that is more likely.
        probability: of the label, by the probe that did not learn from the image.
        suggested_probability: of the suggested class.
        margin: the label's probability less the largest of the others.
        neighbours: the indices of the nearest images by their features, nearest first.
        neighbours_agree: how many of them have the image's label, as a share.
        predicted: what the network says; the probe's answer where the network has other classes.
        loss: of the label, in nats, by whoever predicted.
    """

    index: int
    name: str
    label: str
    suggested: str
    probability: float
    suggested_probability: float
    margin: float
    neighbours: tuple[int, ...]
    neighbours_agree: float
    predicted: str
    loss: float


@dataclass(frozen=True)
class Pair(Record):
    """Two images that are the same picture, or that the network cannot tell apart.

    Attributes:
        index, name, label: of the one.
        other, other_name, other_label: of the other; in the set that was compared with if `across`.
        correlation: of the aligned thumbnails; None where they are not the same picture.
        cosine: of the features; None where that was not computed.
        mirrored: whether left and right are swapped.
        across: whether the other is in the set that was compared with.
    """

    also = ("conflicting",)

    index: int
    name: str
    label: str | None
    other: int
    other_name: str
    other_label: str | None
    correlation: float | None
    cosine: float | None
    mirrored: bool
    across: bool

    @property
    def conflicting(self) -> bool:
        """Whether their labels differ."""
        return None not in (self.label, self.other_label) and self.label != self.other_label


@dataclass(frozen=True)
class PlacedImage:
    """An image on the map of all images.

    Attributes:
        index: in the set.
        name: of the image.
        x, y: 0 to 1, from the left and from the top; no axis means anything by itself.
        label, predicted: the classes; "" where there is none.
    """

    index: int
    name: str
    x: float
    y: float
    label: str
    predicted: str

    @property
    def wrong(self) -> bool:
        """Whether what was said is not the label."""
        return bool(self.label and self.predicted) and self.label != self.predicted


@dataclass(frozen=True, eq=False)
class Mistakes(Result):
    """What was found.

    Attributes:
        data: the images, as they are called.
        judge: who predicted: "the network", or "the probe" where the network has other classes.
        layer: whose features the labels were judged by.
        classes: those that images have.
        table: how often each was taken for each, classes of images down.
        confused: pairs of classes that were confused, the most frequent first.
        maps: the chosen maps, the surest first; `telling` are those beyond chance.
        looked_at: how many maps were looked at, and in how many classes.
        doubts: images whose label is in doubt, the most doubtful first.
        noise: the estimated share of wrong labels; None where labels were not judged.
        agreed: the share of labels that the probe gives; if small, its doubts are worth little.
        left_out: classes with too few images for their labels to be judged.
        pairs: near-duplicates with different labels, or across the sets, and what looks alike.
        same: how many pairs of the set are the same picture, whatever their labels.
        against: the set that was compared with.
        unread: (name, reason) of images that could not be read.
        pictures: of the images that the page shows, by index; those of `against` count below 0.
        placed: the images on a map, near each other where their features are alike; none where
            there are too few, or scikit-learn is not installed.

    Shape:
        table: (K, K).
    """

    data: str
    judge: str
    layer: str
    classes: tuple[str, ...]
    table: NDArray[np.int64]
    confused: tuple[Confused, ...]
    maps: tuple[TellingMap, ...]
    looked_at: tuple[int, int]
    doubts: tuple[Doubt, ...]
    noise: float | None
    agreed: float | None
    left_out: tuple[str, ...]
    pairs: tuple[Pair, ...]
    same: int
    against: str | None = None
    unread: tuple[tuple[str, str], ...] = ()
    pictures: Mapping[int, NDArray[np.uint8]] = field(default_factory=dict, repr=False)
    placed: tuple[PlacedImage, ...] = field(default=(), repr=False)

    @property
    def images(self) -> int:
        """How many images have a label and a prediction."""
        return int(self.table.sum())

    @property
    def wrong(self) -> int:
        """How many predictions differ from the label."""
        return int(self.table.sum() - np.trace(self.table))

    @property
    def warning(self) -> str:
        """What to say of a probe that gives fewer than half of the labels; else empty."""
        if self.agreed is None or self.agreed >= 0.5:
            return ""
        return "This probe gives fewer than half of the labels: its doubts are not to be relied on."

    @property
    def telling(self) -> tuple[TellingMap, ...]:
        """The maps that stand out from chance."""
        return tuple(each for each in self.maps if each.claimed)

    def to_dict(self) -> dict[str, Any]:
        return {
            "data": self.data,
            "images": self.images,
            "wrong": self.wrong,
            "judge": self.judge,
            "layer": self.layer,
            "classes": list(self.classes),
            "confusions": [each.to_dict() for each in self.confused],
            "maps_looked_at": self.looked_at[0],
            "classes_looked_at": self.looked_at[1],
            "maps": [each.to_dict() for each in self.maps],
            "estimated_share_of_wrong_labels": self.noise,
            "doubts": [each.to_dict() for each in self.doubts],
            "labels_given_by_the_probe": self.agreed,
            "left_out": list(self.left_out),
            "same_pictures": self.same,
            "against": self.against,
            "pairs": [each.to_dict() for each in self.pairs],
            "unread": [{"name": name, "reason": reason} for name, reason in self.unread],
        }

    def words(self) -> list[str]:
        return [
            *self._confusion_words(), "", *self._map_words(), "", *self._label_words(),
            *self._pair_words(),
        ]  # fmt: skip

    def warnings(self) -> Sequence[str]:
        lines = [f"skipped {name}: {reason}" for name, reason in self.unread]
        if self.left_out:
            some = ", ".join(self.left_out[:LINES])
            more = ", ..." if len(self.left_out) > LINES else ""
            lines.append(f"too few images for their labels to be judged: {some}{more}")
        return lines

    def doubts_csv(self) -> str:
        """The list of doubtful labels, as a table that spreadsheets open."""
        return _csv(COLUMNS, [each.to_dict() for each in self.doubts])

    def pairs_csv(self) -> str:
        """The list of pairs, likewise."""
        columns = tuple(Pair.__dataclass_fields__)
        return _csv(
            (*columns, "conflicting"),
            [each.to_dict() for each in self.pairs],
        )

    def _confusion_words(self) -> list[str]:
        share = percent(self.wrong / max(1, self.images), 1)
        lines = [f"{self.judge} is wrong about {self.wrong:,} of {self.images:,} images ({share})"]
        rows = [
            (f"{each.label} → {each.predicted}", f"{each.count} of {each.of}")
            for each in self.confused[:LINES]
        ]
        return [*lines, *table(("taken for", "images"), rows)] if rows else lines

    def _map_words(self) -> list[str]:
        maps, classes = self.looked_at
        if not classes:
            return ["no class has enough mistakes and right answers for its maps to be judged"]
        head = f"{len(self.telling)} maps tell mistakes, of {maps:,} maps in {classes} classes"
        names = ("class", "map", "in mistakes", "ROC area (95 %)", "p, corrected", "without it")
        rows = [each.cells() for each in self.telling[:LINES]]
        return [head, *table(names, rows)] if rows else [head]

    def _label_words(self) -> list[str]:
        if self.noise is None or self.agreed is None:
            return ["labels were not judged: too few images of each class"]
        lines = [
            f"{len(self.doubts):,} labels in doubt; about {percent(self.noise, 1)} of all may be "
            f"wrong, if the features can tell the classes: a probe gives {percent(self.agreed)} of "
            "the labels"
        ]
        lines += [self.warning] if self.warning else []
        rows = [
            (each.name, each.label, each.suggested, f"{each.suggested_probability:.2f}")
            for each in self.doubts[:LINES]
        ]
        return (
            [*lines, *table(("image", "label", "rather", "probability"), rows)] if rows else lines
        )

    def _pair_words(self) -> list[str]:
        across = sum(each.across for each in self.pairs)
        conflicting = sum(each.conflicting and each.correlation is not None for each in self.pairs)
        lines = [
            "",
            f"{self.same} pairs of images are the same picture, {conflicting} pairs of one picture "
            "have different labels",
        ]
        if self.against is not None:
            lines.append(f"{across} images are in {self.against}, too")
        return lines


def _csv(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
