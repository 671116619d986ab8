"""What was found by taking units away: tables by class and by unit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convscope.experiments.number_words import minus, percent
from convscope.experiments.removal.effects import ClassMeans, Null
from convscope.experiments.study import Result
from convscope.record import Record
from convscope.text import first_name, table

__all__ = ["CORRECTED", "ClassEffect", "KnownClass", "Removal"]

CORRECTED = 0.05
"""A unit matters for a class where chance reaches as much, anywhere, less often than this."""
FIRST, LINES = 3, 40  # of a class's units, or a unit's classes; of a table
HEAD = ("rise of the loss (95 %)", "accuracy lost", "p, corrected")


@dataclass(frozen=True)
class KnownClass(Record):
    """A class of the images, and how well the whole network knows it.

    Attributes:
        index: its number among the network's classes.
        name: its name.
        images: how many images of it were looked at.
        loss: their mean loss, in nats.
        accuracy: the share of them whose most probable class it is.
    """

    index: int
    name: str
    images: int
    loss: float
    accuracy: float


@dataclass(frozen=True)
class ClassEffect(Record):
    """What one class loses without one unit.

    Attributes:
        unit: the feature map.
        name: of the class.
        rise: of the class's mean loss, in nats.
        low, high: its 95 % interval over the class's images; None for a single image.
        accuracy_lost: by how much the share of right answers falls.
        p: how often labels that are dealt anew give the class as much more than the others.
        p_corrected: how often they do for any unit and class.
    """

    unit: str
    name: str
    rise: float
    low: float | None
    high: float | None
    accuracy_lost: float
    p: float
    p_corrected: float

    def cells(self) -> tuple[str, str, str]:
        """The cells of a table's row, without unit and class."""
        between = "" if self.low is None else f" ({self.low:+.3g} to {self.high:+.3g})"
        p = f"{self.p_corrected:.3f}"
        return minus(f"{self.rise:+.3g}{between}"), percent(self.accuracy_lost, 1), p


@dataclass(frozen=True, eq=False)
class Removal(Result):
    """What each of C classes loses without each of U units.

    Attributes:
        units: the feature maps.
        classes: those that images were looked at of.
        to: what was put in a map's place, zero or mean.
        rise: of each class's mean loss, with its interval.
        accuracy_lost: (U, C), by how much the share of right answers falls.
        null: what labels that are dealt anew give.
        draws: how often they were.
        left_out: images without a label among the network's classes, or that cannot be read.
    """

    units: tuple[str, ...]
    classes: tuple[KnownClass, ...]
    to: str
    rise: ClassMeans
    accuracy_lost: NDArray[np.float64]
    null: Null
    draws: int
    left_out: int = 0

    @property
    def images(self) -> int:
        """How many images were looked at."""
        return sum(known.images for known in self.classes)

    def effect(self, unit: int, known: int) -> ClassEffect:
        """What the class of a number in `classes` loses without the unit of one in `units`."""
        at = unit, known
        low, high = (
            None if np.isnan(end[at]) else float(end[at]) for end in (self.rise.low, self.rise.high)
        )
        return ClassEffect(
            self.units[unit], self.classes[known].name, float(self.rise.mean[at]), low, high,
            float(self.accuracy_lost[at]), float(self.null.p[at]), float(self.null.corrected[at]),
        )  # fmt: skip

    @cached_property
    def matters(self) -> NDArray[np.bool_]:
        """(U, C), whether the unit matters for the class, beyond chance and more than for others.

        Its loss rises, and by more than that of the other classes.
        """
        found: NDArray[np.bool_] = (self.null.corrected < CORRECTED) & (self.rise.mean > 0)
        return found

    def by_class(self) -> dict[str, list[ClassEffect]]:
        """By class the units that matter for it, those that it needs most first."""
        return {
            known.name: self._sorted((k, number) for k in self.matters[:, number].nonzero()[0])
            for number, known in enumerate(self.classes)
        }

    def by_unit(self) -> dict[str, list[ClassEffect]]:
        """By unit the classes that need it, those that need it most first."""
        return {
            unit: self._sorted((number, known) for known in self.matters[number].nonzero()[0])
            for number, unit in enumerate(self.units)
        }

    def _sorted(self, cells: Any) -> list[ClassEffect]:
        effects = [self.effect(int(unit), int(known)) for unit, known in cells]
        return sorted(effects, key=lambda effect: -effect.rise)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able; tables are lists of rows, a row per unit and a column per class."""
        return {
            "to": self.to,
            "images": self.images,
            "left_out": self.left_out,
            "units": list(self.units),
            "classes": [known.to_dict() for known in self.classes],
            "rise": _rows(self.rise.mean),
            "rise_low": _rows(self.rise.low),
            "rise_high": _rows(self.rise.high),
            "accuracy_lost": _rows(self.accuracy_lost),
            "contrast": _rows(self.null.contrast),
            "p": _rows(self.null.p),
            "p_corrected": _rows(self.null.corrected),
            "correction": f"largest statistic over units and classes, {self.draws} dealings",
            "units_of_class": {
                name: [effect.to_dict() for effect in effects]
                for name, effects in self.by_class().items()
            },
            "classes_of_unit": {
                unit: [effect.to_dict() for effect in effects]
                for unit, effects in self.by_unit().items()
            },
        }

    def words(self) -> list[str]:
        """Two tables, of what lies beyond chance: units by class, and classes by unit."""
        cells = f"{len(self.units)} units and {len(self.classes)} classes"
        put = "zero" if self.to == "zero" else "their mean"
        about = [
            f"{self.images} images; feature maps set to {put}, each alone; losses in nats",
            f"p: {self.draws} random dealings of the labels, corrected over {cells} (the largest "
            "statistic of each dealing)",
        ]
        count = int(self.matters.sum())
        if not count:
            return [
                *about,
                "",
                "no unit matters more for one class than for the others (p < .05)",
            ]
        by_class = [
            (first_name(effect.name), effect.unit, *effect.cells())
            for effects in self.by_class().values()
            for effect in effects[:FIRST]
        ]
        by_unit = [
            (effect.unit, first_name(effect.name), *effect.cells())
            for effects in self.by_unit().values()
            for effect in effects[:FIRST]
        ]
        return [
            *about, "", f"the units that matter for a class (p < .05: {count} pairs in all)",
            *_shortened(("class", "unit", *HEAD), by_class),
            "", "the classes that need a unit", *_shortened(("unit", "class", *HEAD), by_unit),
        ]  # fmt: skip

    def warnings(self) -> list[str]:
        """What little images cannot say."""
        single = [known.name for known in self.classes if known.images < 2]
        if not single:
            return []
        return [
            f"{len(single)} of {len(self.classes)} classes have a single image: their rise has no "
            "interval, and one image says little of a class"
        ]


def _rows(values: NDArray[np.float64]) -> list[list[float | None]]:
    return [[None if np.isnan(value) else value for value in row] for row in values.tolist()]


def _shortened(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A table of the first rows, and how many more there are."""
    more = len(rows) - LINES
    rest = [f"... {more} more rows; result.json has all"] if more > 0 else []
    return [*table(head, rows[:LINES], left=True), *rest]
