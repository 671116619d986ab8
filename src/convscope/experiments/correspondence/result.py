"""What a correspondence study finds: how much alike parts are treated, beside random places."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from convscope.experiments.correspondence.aligned_parts import AlignedParts
from convscope.experiments.study import Result
from convscope.geometry.box import Box
from convscope.record import Record, key, not_in_json, plain

__all__ = ["Alike", "Baseline", "Correspondence"]

ALIKE = 0.05  # p from which on a part counts as treated alike
OWN, SAME = "random, another in each", "random, the same in all"


@dataclass(frozen=True)
class Alike(Record):
    """Δ of one part in one layer.

    Attributes:
        delta: mean over the pairs.
        deviation: standard deviation over the pairs.
        low, high: its 95 % interval over the pictures (jackknife; pairs share pictures); None of
            two pictures.
        changed: share of the layer's values that covering the part changes, mean over the pictures.
        among: Δ over the values that are changed in one picture of a pair at least.
        p_own: how often random places, another in each picture, are as alike or more.
        p_same: the same, for one random place that is the same in all pictures.
        p_among: as p_own, for `among`.
        without: Δ without each of the pictures.
    """

    delta: float
    deviation: float | None = field(metadata=key("deviation_over_pairs"))
    low: float | None
    high: float | None
    changed: float
    among: float = field(metadata=key("among_changed"))
    p_own: float = field(metadata=key("p_random"))
    p_same: float = field(metadata=key("p_same_place"))
    p_among: float = field(metadata=key("p_random_among_changed"))
    without: tuple[float, ...] = not_in_json()


@dataclass(frozen=True)
class Baseline(Record):
    """Δ of random places in one layer.

    Attributes:
        delta: mean over the draws.
        deviation: standard deviation over the pairs of a draw, mean over draws; None of one pair.
        low, high: the middle 95 % of the draws.
        draws: how many.
        changed: share of the layer's values that a cover changes.
        among: Δ over the values that are changed in one picture of a pair at least.
        without: Δ without each of the pictures.
    """

    delta: float
    deviation: float | None = field(metadata=key("deviation_over_pairs"))
    low: float
    high: float
    draws: int
    changed: float
    among: float = field(metadata=key("among_changed"))
    without: tuple[float, ...] = not_in_json()


@dataclass(frozen=True, eq=False)
class Correspondence(Result):
    """The paper's Table 1 of the first version.

    Attributes:
        faces: the pictures with their parts.
        layers, parts: their names.
        table: layer -> part -> Alike.
        random: layer -> another random place in each picture, the paper's baseline.
        same: layer -> one random place, the same in all pictures: what being covered at the same
            place alone gives.
        boxes: part -> the cover in each picture, input pixels.
        size: (height, width) of the cover, input pixels.
        places: how many random places there are.
    """

    faces: AlignedParts
    layers: tuple[str, ...]
    parts: tuple[str, ...]
    table: Mapping[str, Mapping[str, Alike]]
    random: Mapping[str, Baseline]
    same: Mapping[str, Baseline]
    boxes: Mapping[str, tuple[Box, ...]]
    size: tuple[int, int]
    places: int

    def to_dict(self) -> dict[str, Any]:
        """JSON-able, without pictures."""
        record: dict[str, Any] = plain(
            {
                "images": self.faces.names,
                "left_out": self.faces.left_out,
                "crop": self.faces.crop,
                "occluder": self.size,
                "random_places": self.places,
                "normalisation": (
                    "mean over pairs of the share of values whose signs differ; sign(0)=0"
                ),
                "layers": {
                    layer: {
                        "parts": {part: self.table[layer][part] for part in self.parts},
                        "random": self.random[layer],
                        "same_random_place": self.same[layer],
                    }
                    for layer in self.layers
                },
                "places": {
                    part: [box.as_tuple() for box in boxes] for part, boxes in self.boxes.items()
                },
            }
        )
        return record

    def cover(self) -> str:
        """The cover's size in words."""
        height, width = self.size
        words = f"cover {height}×{width} px"
        if self.faces.crop is None:
            return words
        share = height / self.faces.images.shape[2] * self.faces.crop
        return f"{words}, {share:.2f} of the object's box"

    def words(self) -> list[str]:
        """A table for each layer, and which parts are treated alike."""
        return [*self._table(), "", *map(self._finding, self.layers)]

    def warnings(self) -> list[str]:
        """Which pictures could not be read."""
        return [f"skipped {name}: it could not be read" for name in self.faces.unreadable]

    def _table(self) -> list[str]:
        width = max(len(OWN), *map(len, self.parts))
        lines = [
            f"{self.cover()}; Δ is a mean over pairs, ± its spread over pairs; p: that random "
            "places are as low, first another in each picture, then the same in all"
        ]
        for layer in self.layers:
            lines += ["", layer, f"  {'':{width}}      Δ             changed  among changed"]
            for part in self.parts:
                one = self.table[layer][part]
                chance = f"p {one.p_own:.4f}, {one.p_same:.2f}; among changed {one.p_among:.4f}"
                lines.append(f"  {part:{width}}  {_numbers(one)}  {chance}")
            lines.append(f"  {OWN:{width}}  {_numbers(self.random[layer])}")
            lines.append(f"  {SAME:{width}}  {_numbers(self.same[layer])}")
        return lines

    def _finding(self, layer: str) -> str:
        table = self.table[layer]
        alike = [part for part in self.parts if table[part].p_own < ALIKE]
        place = [part for part in alike if table[part].p_same < ALIKE]
        words = ", ".join(alike) if alike else "no part"
        line = f"{layer}: {words} treated more alike than random places"
        if alike:
            line += f"; than one place, the same in all: {', '.join(place) if place else 'none'}"
        return line


def _numbers(one: Alike | Baseline) -> str:
    spread = "        " if one.deviation is None else f" ± {one.deviation:.3f}"
    return f"{one.delta:.3f}{spread}   {one.changed:6.1%}   {one.among:.3f}        "
