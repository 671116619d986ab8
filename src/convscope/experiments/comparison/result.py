"""What two networks have in common, in numbers and in words."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import ClassVar

from convscope.experiments.number_words import minus
from convscope.experiments.study import Result
from convscope.record import Record, not_in_json
from convscope.text import table

__all__ = ["Comparison", "FilterMatch", "LayerMatch"]


@dataclass(frozen=True)
class FilterMatch(Record):
    """The maps of two layers matched by their filters instead of their activations.

    Attributes:
        partner: of each map of MODEL its map of OTHER.
        cosine: of the filters of each such pair.
    """

    partner: tuple[int | None, ...]
    cosine: tuple[float | None, ...]


@dataclass(frozen=True)
class LayerMatch(Record):
    """The maps of two layers, matched one to one by what they answer to the same images.

    Attributes:
        layer: of MODEL.
        other: of OTHER.
        partner: of each map of MODEL the map of OTHER that the match gives it; None where there is
            none left, or one of the two is silent.
        correlation: of the activations of each such pair.
        chance: the correlation that the best of all pairs exceeds in 5 % of shuffles of the images.
        level: above which a pair counts as the same map: chance, or what was asked for, if larger.
        maps: how many each layer has.
        silent: maps of each layer that answer the same to all images.
        cka: how alike the layers are as a whole; None where one is silent.
        filters: the match by filters; None where their shapes differ.
    """

    also: ClassVar[tuple[str, ...]] = ("kept", "moved", "lost", "new")

    layer: str
    other: str
    partner: tuple[int | None, ...]
    correlation: tuple[float | None, ...]
    chance: float
    level: float
    maps: tuple[int, int]
    silent: tuple[tuple[int, ...], tuple[int, ...]]
    cka: float | None
    filters: FilterMatch | None

    @property
    def name(self) -> str:
        """The layer's name, or both where they differ."""
        return self.layer if self.layer == self.other else f"{self.layer} = {self.other}"

    @property
    def pairs(self) -> dict[int, int]:
        """The maps that are in both networks: that of MODEL -> that of OTHER."""
        return {
            number: partner
            for number, (partner, r) in enumerate(zip(self.partner, self.correlation, strict=True))
            if partner is not None and r is not None and r > self.level
        }

    @property
    def kept(self) -> tuple[int, ...]:
        """Maps that are in both networks under the same number."""
        return tuple(number for number, partner in self.pairs.items() if number == partner)

    @property
    def moved(self) -> tuple[int, ...]:
        """Maps of MODEL that OTHER has under another number."""
        return tuple(number for number, partner in self.pairs.items() if number != partner)

    @property
    def lost(self) -> tuple[int, ...]:
        """Maps of MODEL that OTHER lacks; silent ones are not counted."""
        gone = {*self.pairs, *self.silent[0]}
        return tuple(number for number in range(self.maps[0]) if number not in gone)

    @property
    def new(self) -> tuple[int, ...]:
        """Maps of OTHER that MODEL lacks; silent ones are not counted."""
        known = {*self.pairs.values(), *self.silent[1]}
        return tuple(number for number in range(self.maps[1]) if number not in known)

    @property
    def median(self) -> float | None:
        """The median correlation of all pairs of the match; None where there is none."""
        known = [r for r in self.correlation if r is not None]
        return median(known) if known else None

    @property
    def agreeing(self) -> tuple[int, int] | None:
        """Of how many of the common maps the filters say the same; None without that match."""
        if self.filters is None:
            return None
        same = sum(self.filters.partner[one] == other for one, other in self.pairs.items())
        return same, len(self.pairs)


@dataclass(frozen=True)
class Comparison(Record, Result):
    """Two networks over the same images.

    Attributes:
        model: the one network.
        other: the other.
        data: which images.
        images: how many both could read.
        pooling: how a map's activations became one number per image.
        layers: pairs of layers, their maps matched.
        cka: of every compared layer of MODEL (rows) with every one of OTHER (columns).
        random: networks whose weights are random.
        skipped: names of images that could not be read.
        atlases: folders of the two networks' atlases, for the page; None draws no page.
    """

    model: str
    other: str
    data: str
    images: int
    pooling: str
    layers: tuple[LayerMatch, ...]
    cka: tuple[tuple[float | None, ...], ...]
    random: tuple[str, ...]
    skipped: tuple[str, ...]
    atlases: tuple[Path, Path] | None = not_in_json(default=None)

    def words(self) -> list[str]:
        """A table, a line per pair of layers, and what its columns say."""
        head = ("layer", "maps", "kept", "moved", "lost", "new", "silent", "median r", "level",
                "CKA", "filters")  # fmt: skip
        return [
            f"{self.model} and {self.other}, over {self.images:,} images of {self.data}",
            *table(head, [_row(match) for match in self.layers]),
            "",
            "kept: the same map under the same number; moved: under another; lost: of "
            f"{self.model} alone; new: of {self.other} alone; silent: the same for all images.",
            f"Maps are matched one to one by r, the correlation of the {self.pooling} of each map "
            "over the images; two are the same map where r is above the level, which the best of "
            "all pairs exceeds in at most 5 % of shuffles of the images.",
            "CKA: how alike the layers are as a whole. filters: of how many common maps a match "
            "by filters says the same.",
        ]

    def warnings(self) -> list[str]:
        """Which networks were never trained, and which images could not be read."""
        return [
            *(f"{name}: its weights are random, it was never trained" for name in self.random),
            *(f"skipped {name}: it could not be read" for name in self.skipped),
        ]


def _row(match: LayerMatch) -> tuple[str, ...]:
    one, other = match.maps
    silent = tuple(map(len, match.silent))
    return (
        match.name,
        str(one) if one == other else f"{one}, {other}",
        *(str(len(maps)) for maps in (match.kept, match.moved, match.lost, match.new)),
        str(silent[0]) if silent[0] == silent[1] else f"{silent[0]}, {silent[1]}",
        _number(match.median),
        _number(match.level),
        _number(match.cka),
        "" if match.agreeing is None else "{} of {}".format(*match.agreeing),
    )


def _number(value: float | None) -> str:
    return "-" if value is None else minus(f"{value:.2f}")
