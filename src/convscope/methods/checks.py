"""How far a projection can be trusted: three numbers beside it, each against chance.

A deep deconvnet picture shows where, and not which unit: pictures of different units of one
position agree at r = .9 and more in deep layers. So it says so of each picture.

    place         the unit falls more when the picture's own places are covered than others
    specific      the picture differs from those of the position's other strong units
    own weights   the picture changes when the unit's own block is drawn anew

Sixt et al. 2020, "When explanations lie"; Nie et al. 2018, "A theoretical explanation for
perplexing behaviors of backpropagation-based visualizations"; Adebayo et al. 2018, "Sanity checks
for saliency maps".
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from convscope.display import Brief
from convscope.methods.contrastive import NEIGHBOURS, strong_neighbours
from convscope.methods.masking import PlaceScore, place_score, strongest_places
from convscope.methods.own_block import own_block, with_block_redrawn
from convscope.methods.project import Projections, project
from convscope.methods.rules import DECONVNET, InitialSignal, Rules
from convscope.network.graph import Graph
from convscope.network.trace import Trace
from convscope.network.unit import Unit
from convscope.stats import Estimate, mean_of

__all__ = ["SPECIFIC", "CheckSettings", "Checker", "Trust", "check", "picture_correlations"]

SPECIFIC = 0.2
"""Below this a picture shows what the image has at a place, and not what the unit looks for."""
SAME = 0.999
"""Two pictures that agree at least so far are one picture."""
EQUAL = 1e-5
"""Units whose activations differ by no larger share may be one unit built twice."""
CANDIDATES = 4
"""How many such units are looked at, at most."""


@dataclass(frozen=True)
class CheckSettings:
    """How carefully pictures are checked.

    Attributes:
        shifts: moved copies of a picture's mask that stand for chance, 2 or more.
        neighbours: other units of the position that it is compared with, at most.
        draws: how often the unit's own block is drawn anew.
        seed: of the moves and the draws.
    """

    shifts: int = 20
    neighbours: int = NEIGHBOURS
    draws: int = 3
    seed: int = 0


@dataclass(frozen=True)
class Trust(Brief):
    """How far one picture can be trusted.

    Attributes:
        unit: at its position.
        activation: its value in the image.
        place: how the unit falls where the picture points; None where it is not above zero.
        specific: 1 - r, mean over the neighbours' pictures; 0 if one of them is the same picture;
            None where no other unit of the position is above zero, or a picture is all zero.
        own_weights: 1 - r, mean over draws of the unit's own block; None where it has no weights,
            or a picture is all zero.
        neighbours: the units it is compared with, the strongest first.
        twin: the neighbour, or unit of the same activation, that has the same picture, if there is
            one.
    """

    unit: Unit
    activation: float
    place: PlaceScore | None
    specific: Estimate | None
    own_weights: Estimate | None
    neighbours: tuple[Unit, ...]
    twin: Unit | None

    def __repr__(self) -> str:
        return f"Trust({self.unit}: {self.sentence})"

    @property
    def in_place(self) -> bool:
        """Whether the picture points at what the unit responds to, and beats a centred disc."""
        above = self.place.above if self.place is not None else None
        if self.place is None or above is None or above.low is None:
            return False
        return above.low > 0 and above.mean > self.place.disc

    @property
    def is_specific(self) -> bool:
        """Whether the picture is this unit's own, and not its neighbours' too."""
        return self.specific is not None and self.specific.mean >= SPECIFIC

    @property
    def is_foreign(self) -> bool:
        """Whether it is measured that the picture is not this unit's own."""
        return self.specific is not None and not self.is_specific

    @property
    def sentence(self) -> str:
        """What the numbers say, in plain words."""
        return f"{_about_place(self)} {_about_unit(self)}"

    def to_dict(self) -> dict[str, Any]:
        """Convert to a JSON-able dictionary; what is not known is None."""
        above = self.place.above if self.place is not None else None
        return {
            "unit": str(self.unit),
            "activation": self.activation,
            "place": above and above.mean,
            "place_low": above and above.low,
            "place_high": above and above.high,
            "place_p": self.place and self.place.p,
            "disc": self.place and self.place.disc,
            **_numbers("specific", self.specific),
            **_numbers("own_weights", self.own_weights),
            "neighbours": [str(unit) for unit in self.neighbours],
            "twin": self.twin and str(self.twin),
            "sentence": self.sentence,
        }


def _numbers(name: str, value: Estimate | None) -> dict[str, float | None]:
    return {
        name: None if value is None else value.mean,
        f"{name}_low": None if value is None else value.low,
        f"{name}_high": None if value is None else value.high,
    }


def _about_place(trust: Trust) -> str:
    if trust.place is None:
        return "The unit is not above zero here, so nothing can be said of the place."
    above = trust.place.above
    if above.low is None or above.low <= 0:
        return "Covering what it marks does no more than covering other places: do not trust it."
    if above.mean <= trust.place.disc:
        return "It marks where the activation comes from, but no better than a centred disc does."
    return "It marks where the activation comes from."


def _about_unit(trust: Trust) -> str:
    if trust.specific is None:
        return "There is no other picture to tell it from."
    if trust.twin is not None:
        return f"{trust.twin} has the very same picture: it is not this unit's own."
    if not trust.is_specific:
        return (
            "It shows what the image has here, not what this unit looks for: other strong units "
            "of the place have nearly the same picture."
        )
    if trust.own_weights is not None and trust.own_weights.mean < SPECIFIC:
        return "The unit's own weights hardly matter to it."
    return "It differs from the pictures of other strong units of the place."


def check(
    trace: Trace,
    units: Sequence[Unit | str] | Unit | str,
    rules: Rules = DECONVNET,
    *,
    images: Sequence[int] | int | None = None,
    settings: CheckSettings = CheckSettings(),
) -> list[Trust]:
    """Measure how far the projections of units can be trusted.

    Args:
        trace: A forward pass, from `Network.trace`.
        units: A unit without a position stands for its map's strongest one in its image.
        rules: The method of projection.
        images: For each unit, the row of the trace to see it in (one number: the same for all);
            may be left out where the trace holds one image.
        settings: How carefully.

    Returns:
        For each unit what was measured.

    Raises:
        NoSuchLayer, NoSuchUnit, BadInput, NonFinite: as `project`.

    Source:
        Sixt et al. 2020; Nie et al. 2018; Adebayo et al. 2018.

    Example:
        >>> [trust] = check(network.trace(image), "conv5/12")
        >>> trust.specific.mean, trust.sentence
    """
    return Checker(trace.network, rules, settings).check(trace, units, images=images)


class Checker:
    """Checks pictures of one network, for many traces: networks drawn anew are kept.

    Args:
        network: The network.
        rules: The method of projection.
        settings: How carefully.
    """

    def __init__(
        self, network: Graph, rules: Rules, settings: CheckSettings = CheckSettings()
    ) -> None:
        self.network = network
        self.settings = settings
        self.rules = rules.replace({}, seed=InitialSignal.ONE)  # what is compared has no strength
        self._redrawn: dict[str, list[Graph]] = {}

    def check(
        self,
        trace: Trace,
        units: Sequence[Unit | str] | Unit | str,
        *,
        images: Sequence[int] | int | None = None,
    ) -> list[Trust]:
        """Measure how far the projections of units in a trace can be trusted. See `check`."""
        own = project(trace, units, self.rules, images=images)
        rows = own.images.tolist()
        others = [
            strong_neighbours(trace, unit, row, self.settings.neighbours)
            for unit, row in zip(own.units, rows, strict=True)
        ]
        compared = [
            (*some, *_equals(trace, unit, row, some))
            for unit, row, some in zip(own.units, rows, others, strict=True)
        ]
        theirs = project(
            trace,
            [other for some in compared for other in some],
            self.rules,
            images=[row for row, some in zip(rows, compared, strict=True) for _ in some],
        ).fields
        weights = self._own_weights(trace, own)
        found, used = [], 0
        for index, (unit, row) in enumerate(zip(own.units, rows, strict=True)):
            some = others[index]
            pictures = compared[index]
            likeness = picture_correlations(own.fields[index], theirs[used : used + len(pictures)])
            used += len(pictures)
            twin = next((o for o, r in zip(pictures, likeness, strict=True) if r >= SAME), None)
            found.append(
                Trust(
                    unit=unit,
                    activation=float(own.activation[index]),
                    place=self._place(trace, own, index, row),
                    specific=Estimate(0.0, None, None, None, len(some))
                    if twin
                    else _differing(likeness[: len(some)]),
                    own_weights=weights[index],
                    neighbours=some,
                    twin=twin,
                )
            )
        return found

    def _place(self, trace: Trace, own: Projections, index: int, row: int) -> PlaceScore | None:
        """How the unit falls where its picture points."""
        if own.seen(index).empty:  # the unit sees padding alone
            return None
        unit = own.units[index]
        generator = torch.Generator().manual_seed(
            zlib.crc32(f"{self.settings.seed} {unit}".encode())
        )
        return place_score(
            self.network,
            trace["input"][row],
            unit,
            strongest_places(own.seen_picture(index)),
            shifts=self.settings.shifts,
            generator=generator,
            whole=float(own.activation[index]),
        )

    def _own_weights(self, trace: Trace, own: Projections) -> list[Estimate | None]:
        """For each unit, how far its picture changes when its own block is drawn anew."""
        likeness: list[list[float]] = [[] for _ in own.units]
        for layer in dict.fromkeys(unit.layer for unit in own.units):
            mine = [i for i, unit in enumerate(own.units) if unit.layer == layer]
            block = own_block(self.network, layer)
            images, rows = own.images[mine].unique(return_inverse=True)
            few = trace if len(images) == len(trace) else trace.rows(images, layer)
            for network in self._networks(layer):
                changed = project(
                    few.under(network, block),
                    [own.units[i] for i in mine],
                    self.rules,
                    images=rows.tolist(),
                ).fields
                for i, field in zip(mine, changed, strict=True):
                    likeness[i] += picture_correlations(own.fields[i], [field])
        return [_differing(some) for some in likeness]

    def _networks(self, layer: str) -> list[Graph]:
        """The network with the layer's own block drawn anew, once for each draw."""
        if layer not in self._redrawn:
            generator = torch.Generator().manual_seed(self.settings.seed)
            drawn = (
                with_block_redrawn(self.network, layer, generator)
                for _ in range(self.settings.draws)
            )
            self._redrawn[layer] = [network for network in drawn if network is not None]
        return self._redrawn[layer]


def _equals(trace: Trace, unit: Unit, row: int, known: Sequence[Unit]) -> list[Unit]:
    """Units of a position that may be the unit itself once more, beyond the strongest few."""
    values = trace[unit.layer][row]
    values = values if values.dim() == 1 else values[(slice(None), *(unit.position or (0, 0)))]
    own = values[unit.channel]
    equal = (values - own).abs() <= EQUAL * own.abs()
    seen = {unit.channel, *(other.channel for other in known)}
    channels = [c for c in (equal & (own > 0)).nonzero().flatten().tolist() if c not in seen]
    return [Unit(unit.layer, c, unit.row, unit.column) for c in channels[:CANDIDATES]]


def picture_correlations(picture: Tensor, others: Sequence[Tensor]) -> list[float]:
    """Compute Pearson's r, signed, of a picture with each of some others.

    Args:
        picture: Of one unit.
        others: What it is compared with.

    Returns:
        -1 to 1 for each; NaN where one of the two is the same everywhere, such as all zero.

    Shape:
        picture, others: (C, h, w) each.
    """
    own = picture.double().flatten()
    own = own - own.mean()
    found = []
    for other in others:
        theirs = other.double().flatten()
        theirs = theirs - theirs.mean()
        norm = own.norm() * theirs.norm()
        found.append(float(own @ theirs / norm) if norm > 0 else math.nan)
    return found


def _differing(likeness: Sequence[float]) -> Estimate | None:
    """1 - r, its mean and interval; None where nothing can be compared."""
    known = [1 - r for r in likeness if not math.isnan(r)]
    return mean_of(known) if known else None
