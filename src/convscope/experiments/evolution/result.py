"""What `evolve` found: the leads of each map, its pictures, and when the layers converge."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convscope.experiments.evolution.convergence import Convergence, Trend
from convscope.experiments.study import Result
from convscope.record import Record, not_in_json
from convscope.text import counted, table

__all__ = ["MEASURES", "Evolution", "LayerEvolution", "Lead", "MapEvolution"]

Pixels = NDArray[np.uint8]

MEASURES = {
    "projection": "the projection of one unit from one image, the map's winner at the end: cosine "
    "similarity of what it is at a kept epoch with what it is at the end",
    "image": "whether the image that excites the map most is the one that does so at the end",
    "filter": "the share of the way to the end that the map's own filter has gone: 1 − d² / D², of "
    "the distance d of its weights to the end, and the largest such distance D of all kept epochs",
}
"""What is compared with the end of training, by the name of the measure; 1 is the same.

`projection` is what the paper's Fig. 4 lets one see, with the image held fixed, so that a jump of
the winner does not count as a change of the feature. A projection goes down through all filters
below, so that an upper layer's cannot settle before the lower layers do; `filter` has no such bias.
It is a share of the change that there was: filters that hardly leave their random start, as those
of upper layers in a short training, would else look converged from the start.
"""


@dataclass(frozen=True)
class Lead(Record):
    """The strongest activation of a map over all images, at a kept epoch.

    Attributes:
        epoch: The kept epoch.
        image: The number of the image; None where the map is above zero in no image (`dead`), or
            NaN or infinite everywhere (`not_finite`).
        name: The image's name, "" where there is none.
        label: The image's class, "" where there is none.
        value: The activation.
        row: Of the unit, on the layer's grid.
        column: Of the unit, on the layer's grid.
        changed: Whether it is another image than at the last kept epoch at which the map was not
            without one.
        not_finite: Whether the map is NaN or infinite everywhere, in all images.
    """

    epoch: int
    image: int | None
    name: str
    label: str
    value: float | None
    row: int | None
    column: int | None
    changed: bool
    not_finite: bool = not_in_json(default=False)

    @property
    def empty(self) -> bool:
        """Whether there is no such image."""
        return self.image is None

    @property
    def dead(self) -> bool:
        """Whether the map has numbers, of which none is above zero."""
        return self.empty and not self.not_finite


@dataclass(frozen=True, eq=False)
class MapEvolution:
    """One row of Fig. 4: what became of a feature map.

    Attributes:
        channel: The map.
        leads: One for each kept epoch.
        patches: Tiles of the images, as an atlas has them; grey where there is no image.
        projections: Tiles of the projections; grey where there is no image.
        converged: The map's convergence epoch by measure.

    Shape:
        patches, projections: uint8 (E, th, tw, 3).
    """

    channel: int
    leads: tuple[Lead, ...]
    patches: Pixels
    projections: Pixels
    converged: Mapping[str, int]

    @property
    def changes(self) -> tuple[int, ...]:
        """The epochs at which the winning image was another than before."""
        return tuple(lead.epoch for lead in self.leads if lead.changed)

    def to_dict(self) -> dict[str, Any]:
        """For JSON, without pictures."""
        return {
            "channel": self.channel,
            "converged": dict(self.converged),
            "leads": [lead.to_dict() for lead in self.leads],
        }


@dataclass(frozen=True, eq=False)
class LayerEvolution:
    """One block of Fig. 4: what became of a layer.

    Attributes:
        name: The layer.
        activation: The layer whose value is its activation.
        channels: How many feature maps it has.
        field: (height, width) of what a unit sees, in pixels.
        window: The same as far as pictures show it.
        cell: Side of a tile's cell, in pixels.
        dead: At each kept epoch, how many maps were above zero in no image.
        dead_at_end: Which maps are so at the end; they are never drawn or measured.
        rows: The maps that are drawn.
        measured: The maps that convergence is measured on, those drawn among them.
        similarity: By measure, of each map at each epoch with the end; of `image` 1 where it is
            the same.
        convergence: By measure, over `measured`; a measure that the layer does not allow is left
            out.
        not_finite: At each kept epoch, how many maps were NaN or infinite everywhere. In JSON where
            there are some, as the two that follow.
        not_finite_at_end: Which maps are so at the end; they are never drawn or measured.
        lost: At each kept epoch, how many activations were NaN or infinite.

    Shape:
        similarity: float (M, E) for each measure.
    """

    name: str
    activation: str
    channels: int
    field: tuple[int, int]
    window: tuple[int, int]
    cell: int
    dead: tuple[int, ...]
    dead_at_end: tuple[int, ...]
    rows: tuple[MapEvolution, ...]
    measured: tuple[int, ...]
    similarity: Mapping[str, NDArray[np.float64]]
    convergence: Mapping[str, Convergence]
    not_finite: tuple[int, ...] = ()
    not_finite_at_end: tuple[int, ...] = ()
    lost: tuple[int, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """For JSON, without pictures."""
        return {
            "name": self.name,
            "activation": self.activation,
            "channels": self.channels,
            "field": list(self.field),
            "dead": list(self.dead),
            "dead_at_end": list(self.dead_at_end),
            **(self._lost() if any(self.lost) else {}),
            "maps": [row.to_dict() for row in self.rows],
            "measured": list(self.measured),
            "similarity": {
                measure: values.round(4).tolist() for measure, values in self.similarity.items()
            },
            "convergence": {
                measure: found.to_dict() for measure, found in self.convergence.items()
            },
        }

    def _lost(self) -> dict[str, list[int]]:
        return {
            "not_finite": list(self.not_finite),
            "not_finite_at_end": list(self.not_finite_at_end),
            "lost": list(self.lost),
        }


@dataclass(frozen=True, eq=False)
class Evolution(Result):
    """What became of a network's features while it was trained.

    Attributes:
        run: The name of the run.
        architecture: Its architecture.
        status: Of the run: running, finished or diverged.
        epochs: Those that were kept, ascending; 0 is before the first step, the last is the end so
            far.
        threshold: The similarity from which on a map counts as what it is at the end.
        rules: The method of projection.
        seed: Of the choice of maps.
        data: The set of images.
        images: How many images were looked at.
        skipped: (name, reason) of those that could not be read.
        layers: From the bottom up.
        trends: By measure, whether lower layers converge first.

    Source:
        Zeiler & Fergus 2014, Fig. 4.
    """

    run: str
    architecture: str
    status: str
    epochs: tuple[int, ...]
    threshold: float
    rules: str
    seed: int
    data: str
    images: int
    skipped: tuple[tuple[str, str], ...]
    layers: tuple[LayerEvolution, ...]
    trends: Mapping[str, Trend]

    def to_dict(self) -> dict[str, Any]:
        """For JSON, without pictures."""
        return {
            "run": self.run,
            "architecture": self.architecture,
            "status": self.status,
            "epochs": list(self.epochs),
            "threshold": self.threshold,
            "rules": self.rules,
            "seed": self.seed,
            "data": self.data,
            "images": self.images,
            "skipped": [{"name": name, "reason": reason} for name, reason in self.skipped],
            "measures": {**MEASURES},
            "layers": [layer.to_dict() for layer in self.layers],
            "lower_layers_first": {
                measure: {**trend.to_dict(), "words": trend.words()}
                for measure, trend in self.trends.items()
            },
        }

    def words(self) -> list[str]:
        """A line per layer, epochs as median (quartiles); then which layers settle first."""
        head = ("layer", "maps", "dead", "projection settles", "image settles", "filter settles")
        lines = [
            *table(head, [_cells(layer) for layer in self.layers], left=True),
            "",
            *(f"by {measure}: {trend.words()}" for measure, trend in self.trends.items()),
            f"kept epochs {', '.join(map(str, self.epochs))}; an epoch is the first of these from "
            f"which on similarity to epoch {self.epochs[-1]} is at least {self.threshold:g} "
            "(median of the measured maps, quartiles)",
            "a projection passes through the filters below it; by filter there is no such bias",
        ]
        if self.epochs[0] == 0:
            lines.append("epoch 0 is before training: random weights")
        return lines

    def warnings(self) -> list[str]:
        """The images that could not be read, and activations that are no numbers."""
        lines = [f"skipped {name}: {reason}" for name, reason in self.skipped]
        for layer in self.layers:
            counts = zip(self.epochs, layer.lost, layer.not_finite, strict=False)
            lines += [
                f"{layer.name}: {lost:,} activations were NaN or infinite at epoch {epoch}"
                + (f", all of {counted(maps, 'map')}" if maps else "")
                for epoch, lost, maps in counts
                if lost
            ]
        return lines


def _cells(layer: LayerEvolution) -> tuple[str, ...]:
    settled = (layer.convergence.get(measure) for measure in ("projection", "image", "filter"))
    epochs = (
        "-" if one is None else f"{one.median:3} ({one.lower} to {one.upper})" for one in settled
    )
    return (layer.name, str(layer.channels), str(len(layer.dead_at_end)), *epochs)
