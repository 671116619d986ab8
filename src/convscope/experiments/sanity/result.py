"""What pictures of a network are worth: how each kind points, whose it is, what was planted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from convscope.experiments.number_words import (
    NONE,
    interval_words,
    minus,
    percent,
    signed_number,
)
from convscope.experiments.sanity.planted import Planted
from convscope.experiments.study import Result
from convscope.record import Record
from convscope.stats import Estimate, Rate, mean_of
from convscope.text import table

__all__ = ["LayerPictures", "Pointing", "Redrawn", "Sanity"]

Values = tuple[float | None, ...]
"""A number for each image; None is not known."""


LAYER_WORDS = (
    "r with other units: the correlation of a unit's picture with those of other strong units of "
    "its place; low is good",
    "falls more than moved: how much more of its activation the unit loses where the picture "
    "points, covered, than with the same mask elsewhere; than a disc: than with a disc in the "
    "centre of what it sees; high is good",
)
REDRAWN_WORDS = (
    "the correlation of a class's picture with that of the trained network, while layers are drawn "
    "anew from the top; low is good"
)


@dataclass(frozen=True)
class Pointing(Record):
    """How often a kind of picture is brightest on the object.

    Attributes:
        kind: The kind.
        rate: How often, beside the share of the places it could have marked that are on the object.
        lead: The same less how often the centre of the unit's field is on the object, image by
            image; None of that centre itself.
    """

    kind: str
    rate: Rate
    lead: Estimate | None


@dataclass(frozen=True)
class LayerPictures(Record):
    """The pictures of a layer, of the unit that speaks most for each image's class.

    Attributes:
        layer: The layer.
        units: A unit for each image.
        alike: By method, the mean correlation of its picture with those of other strong units of
            its place.
        above: By method, by how much more it falls where the picture points than with the mask
            moved, a share of its activation.
        disc: By method, the same of a disc in the centre of its field, as large as the mask.
    """

    layer: str
    units: tuple[str, ...]
    alike: Mapping[str, Values]
    above: Mapping[str, Values]
    disc: Mapping[str, Values]

    def over_disc(self, method: str) -> Values:
        """By how much more the unit falls where the picture points than with the disc covered."""
        pairs = zip(self.above[method], self.disc[method], strict=True)
        return tuple(None if a is None or d is None else a - d for a, d in pairs)


@dataclass(frozen=True)
class Redrawn(Record):
    """A class's pictures while the weights below it are drawn anew, from the top down.

    Attributes:
        steps: The layers of each step.
        likeness: By method, for each image the correlation with its picture after each step.
    """

    steps: tuple[tuple[str, ...], ...]
    likeness: Mapping[str, tuple[tuple[float, ...], ...]]

    def by_step(self, method: str) -> list[Estimate]:
        """The mean over the images after each step."""
        return [mean_of(values) for values in zip(*self.likeness[method], strict=True)]

    def by_image(self, method: str) -> tuple[float, ...]:
        """The mean over the steps of each image."""
        return tuple(fmean(values) for values in self.likeness[method])


@dataclass(frozen=True)
class Sanity(Record, Result):
    """What was found.

    Attributes:
        images: How many were looked at.
        pointing: By kind of picture; none where nobody says where the objects are.
        layers: From the bottom up.
        redrawn: What is left of pictures when the network is drawn anew.
        planted: What was planted, and how often it was found.
    """

    images: int
    pointing: tuple[Pointing, ...]
    layers: tuple[LayerPictures, ...]
    redrawn: Redrawn
    planted: tuple[Planted, ...]

    def words(self) -> list[str]:
        """The findings, as tables."""
        return [
            *self._pointing_words(),
            "",
            *self._layer_words(),
            "",
            *self._redrawn_words(),
            "",
            *self.planted_words(),
        ]

    def planted_words(self) -> list[str]:
        """How often what was planted was found; kinds of pictures that found it alike together."""
        together: dict[str, list[str]] = {}
        for each in self.planted:
            words = f"{each.found} of {each.count} {each.what}"
            together.setdefault(words, []).append(each.by)
        return [
            f"{words} by {', '.join(kinds)}" if any(kinds) else words
            for words, kinds in together.items()
        ]

    def _pointing_words(self) -> list[str]:
        if not self.pointing:
            return [
                "nobody says where the objects are in these images: pointing was not measured; "
                "--parts says it"
            ]
        rows = [
            (
                each.kind,
                f"{each.rate.hits} of {each.rate.count}",
                percent(each.rate.expected),
                f"{each.rate.p:.2g}",
                NONE if each.lead is None else _signed(each.lead),
            )
            for each in self.pointing
        ]
        head = ("brightest on the object", "images", "chance", "p", "more than the centre")
        return table(head, rows)

    def _layer_words(self) -> list[str]:
        rows = [
            (
                layer.layer,
                method,
                *map(_mean, (layer.alike[method], layer.above[method], layer.over_disc(method))),
            )
            for layer in self.layers
            for method in layer.alike
        ]
        head = ("layer", "method", "r with other units", "falls more than moved", "than a disc")
        return [*table(head, rows), *LAYER_WORDS]

    def _redrawn_words(self) -> list[str]:
        methods = list(self.redrawn.likeness)
        columns = [self.redrawn.by_step(method) for method in methods]
        rows = [
            (step[-1], *(minus(f"{column[i].mean:.2f}") for column in columns))
            for i, step in enumerate(self.redrawn.steps)
        ]
        return [*table(("drawn anew down to", *methods), rows), REDRAWN_WORDS]


def known(values: Sequence[float | None]) -> list[float]:
    """Those that are known."""
    return [value for value in values if value is not None]


def _mean(values: Values) -> str:
    some = known(values)
    return _signed(mean_of(some)) if some else NONE


def _signed(estimate: Estimate) -> str:
    return f"{signed_number(estimate.mean, 2)} ({interval_words(estimate)})"
