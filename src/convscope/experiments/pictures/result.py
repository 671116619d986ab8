"""Every kind of picture of some units: typed rows, their words, and how they are kept."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from convscope.experiments.number_words import NONE, minus
from convscope.experiments.study import Result
from convscope.record import Record, key
from convscope.store.results import Arrays
from convscope.text import table

if TYPE_CHECKING:
    from convscope.methods.checks import Trust

__all__ = ["RULES", "PictureKind", "Pictures", "UnitPicture", "UnitPictures", "Worth"]

Pixels = NDArray[np.uint8]

TOLD = "told"  # the name of what is no picture, where they are kept


class PictureKind(StrEnum):
    """The kinds of pictures, in the order in which they are shown; those of RULES are checked."""

    PATCH = "patch"
    SPOTLIGHT = "spotlight"
    DECONVNET = "deconvnet"
    GUIDED = "guided"
    GRADIENT = "gradient"
    DEEPLIFT = "deeplift"
    LRP_GAMMA = "lrp-gamma"
    SALIENCY = "saliency"
    CONTRASTIVE = "contrastive"
    OPTIMISED = "optimised"
    INVERTED = "inverted"


RULES = (
    PictureKind.DECONVNET,
    PictureKind.GUIDED,
    PictureKind.GRADIENT,
    PictureKind.DEEPLIFT,
    PictureKind.LRP_GAMMA,
)
"""Projections, by the name of their rules."""


@dataclass(frozen=True)
class Worth(Record):
    """How far a picture can be trusted: the three numbers of `convscope.check`.

    Attributes:
        place: How much more the unit falls where the picture points than where moved copies of its
            mask do; None where it cannot fall.
        disc: The same of a disc in the centre of the field.
        in_place: Whether the picture points, and better than the disc.
        specific: How far it differs from the pictures of the place's other strong units.
        is_specific: Whether that is enough to be the unit's own.
        own_weights: How far it changes when the unit's own weights are drawn anew.
        sentence: What the numbers say.
    """

    place: float | None
    disc: float | None
    in_place: bool
    specific: float | None
    is_specific: bool
    own_weights: float | None
    sentence: str

    @classmethod
    def of(cls, trust: Trust) -> Worth:
        """The numbers of a checked picture."""
        told = trust.to_dict()
        numbers = {name: told[name] for name in ("place", "disc", "specific", "own_weights")}
        return cls(
            **numbers,
            in_place=trust.in_place,
            is_specific=trust.is_specific,
            sentence=trust.sentence,
        )


@dataclass(frozen=True, eq=False)
class UnitPicture(Record):
    """One picture of a unit; all show what it sees of its image, `UnitPictures.box`.

    Attributes:
        kind: Which.
        pixels: As it is shown; None where there is no such picture.
        worth: Of projections, how far it can be trusted.
        numbers: Of the others, what is known of it, by name.
        refused: Why there is no such picture, or "".

    Shape:
        pixels: uint8 (h, w, 3).
    """

    kind: PictureKind
    pixels: Pixels | None = field(default=None, metadata=key(None))
    worth: Worth | None = None
    numbers: Mapping[str, float] = field(default_factory=dict)
    refused: str = ""


@dataclass(frozen=True, eq=False)
class UnitPictures(Record):
    """A unit in an image, and every kind of picture of it.

    Attributes:
        unit: At its position, in words.
        image: What the image is called.
        activation: The unit's value in it.
        box: What the pictures show of the image, in pixels: top, left, bottom, right.
        pictures: In the order of `PictureKind`.
    """

    unit: str
    image: str
    activation: float
    box: tuple[int, int, int, int]
    pictures: tuple[UnitPicture, ...]

    def __getitem__(self, kind: PictureKind | str) -> UnitPicture:
        return next(one for one in self.pictures if one.kind == kind)

    def arrays(self) -> Arrays:
        """All of it as arrays by name, as a store keeps it: what is said as one JSON text."""
        shown = {one.kind.value: one.pixels for one in self.pictures if one.pixels is not None}
        return {TOLD: np.array(json.dumps(self.to_dict())), **shown}

    @classmethod
    def of(cls, arrays: Arrays) -> UnitPictures:
        """The inverse of `arrays`."""
        told = json.loads(str(arrays[TOLD]))
        pictures = tuple(
            UnitPicture(
                PictureKind(one["kind"]),
                arrays.get(one["kind"]),
                None if one["worth"] is None else Worth(**one["worth"]),
                one["numbers"],
                one["refused"],
            )
            for one in told["pictures"]
        )
        return cls(**{**told, "box": tuple(told["box"]), "pictures": pictures})


@dataclass(frozen=True, eq=False)
class Pictures(Record, Result):
    """Every kind of picture of some units.

    Attributes:
        units: In the order that was asked for.
    """

    units: tuple[UnitPictures, ...]

    def __repr__(self) -> str:
        return f"<Pictures of {', '.join(one.unit for one in self.units)}>"

    def words(self) -> list[str]:
        """A table for each unit: what each of its projections is worth."""
        lines = []
        for one in self.units:
            head = f"{one.unit}  activation {one.activation:.5g} in {one.image}"
            rows = [[each.kind, *_cells(each.worth)] for each in one.pictures if each.worth]
            lines += ["", head, *table(["", "place", "disc", "specific", "own weights"], rows)]
            lines += [f"no {each.kind}: {each.refused}" for each in one.pictures if each.refused]
        return [*lines, "", *self.summary()]

    def summary(self) -> list[str]:
        """For each kind of projection, of how many units it marks the place, and is the own."""
        lines = []
        for kind in RULES:
            worths = [each.worth for one in self.units if (each := one[kind]).worth is not None]
            if worths:
                places, owns = (
                    sum(getattr(worth, name) for worth in worths)
                    for name in ("in_place", "is_specific")
                )
                lines.append(
                    f"{kind}: marks the place better than a centred disc for {places} of "
                    f"{len(worths)} units, is the unit's own for {owns}."
                )
        return lines


def _cells(worth: Worth) -> list[str]:
    numbers = (worth.place, worth.disc, worth.specific, worth.own_weights)
    return [NONE if value is None else minus(f"{value:.2f}") for value in numbers]
