"""What the page knows of a map beside its pictures: how far to trust them, how it responds to all.

Everything here is optional: of an atlas that does not hold it, there is nothing to hand over.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from convscope.atlas.manifest import LayerRecord
from convscope.atlas.statistics import STATISTICS, top_images
from convscope.atlas.store import Atlas
from convscope.methods.checks import Trust
from convscope.stats import Estimate

__all__ = ["LayerResponses", "few_bars", "relevant_of_map", "trust_of_map"]

DIGITS = 3  # significant digits
BARS = 32  # of a histogram on the page, at most
CLASSES = 6  # of the images that a map answers to most


def trust_of_map(atlas: Atlas, record: LayerRecord, channel: int) -> list[list[Any] | None] | None:
    """How far a map's strongest pictures can be trusted; None of an atlas that does not say.

    An entry for each checked rank, null or [sentence, place, specific, own weights, disc,
    contrast]; a place, specific or own weights are null or [mean, low, high]. Contrast is the
    largest loss that is the unit's own, null where nobody looked; above zero there is a picture.
    """
    extras = atlas.manifest.extras
    if extras is None or extras.check == 0:
        return None
    found = (atlas.trust(record.name, channel, rank) for rank in range(extras.check))
    return [
        None
        if one is None
        else [
            one.sentence,
            *_trust_numbers(one),
            _short(atlas.contrast_strength(record.name, channel, rank)),
        ]
        for rank, one in enumerate(found)
    ]


def relevant_of_map(atlas: Atlas, record: LayerRecord, channel: int) -> list[list[Any]]:
    """Where a map is worth most to each class of interest: [class, number of the class, images].

    An image is [relevance, name, class name], the strongest first; there may be none.
    """
    extras, classes = atlas.manifest.extras, atlas.manifest.model.classes
    found = []
    for number in () if extras is None else extras.relevant:
        table = atlas.relevance(record.name, number)
        places = zip(table.value[channel].tolist(), table.image[channel].tolist(), strict=True)
        images = [[_short(value), *_name(atlas, at)] for value, at in places if at >= 0]
        found.append([str(number) if classes is None else classes[number], number, images])
    return found


def _trust_numbers(trust: Trust) -> list[Any]:
    place = trust.place
    return [
        None if place is None else _interval(place.above),
        _interval(trust.specific),
        _interval(trust.own_weights),
        None if place is None else _short(place.disc),
    ]


def _interval(value: Estimate | None) -> list[float | None] | None:
    if value is None:
        return None
    return [_short(one) if one is not None else None for one in (value.mean, value.low, value.high)]


@dataclass(frozen=True, eq=False)
class LayerResponses:
    """How a layer's maps respond to all images.

    Attributes:
        atlas: the atlas.
        numbers: its statistics of the layer.
        quantiles: at which there are examples, shares of the images.
    """

    atlas: Atlas
    numbers: dict[str, Tensor]
    quantiles: tuple[float, ...]

    @classmethod
    def of(cls, atlas: Atlas, record: LayerRecord) -> LayerResponses | None:
        """What an atlas says of a layer; None of one that does not say."""
        extras = atlas.manifest.extras
        if extras is None or not (atlas.folder / STATISTICS).is_file():
            return None
        return cls(atlas, atlas.statistics(record.name), extras.quantiles)

    def of_map(self, channel: int) -> dict[str, Any]:
        """What a map's page tells.

        `histogram` is [where the first bar begins, width of a bar, counts]; `examples` has for
        each quantile [value, name, class name] or null; `classes` how many of the map's top images
        are of which class, the most frequent first; `named` is as below.
        """
        return {
            "quantiles": list(self.quantiles),
            "histogram": few_bars(self.numbers, channel),
            "density": self.density(channel),
            "share": _short(float(self.numbers["active_share"][channel])),
            "examples": self._examples(channel),
            "classes": self.classes(channel),
            "named": self.named(channel),
        }

    def density(self, channel: int) -> float | None:
        """The share of all positions of all images with the map above zero."""
        return _short(float(self.numbers["density"][channel]))

    def classes(self, channel: int) -> list[list[Any]]:
        """[class, how many] of the map's top images, the most frequent first."""
        images = top_images(self.numbers, channel)
        counted = Counter(name for at in images if (name := self.atlas.images[at].class_name))
        return [[name, count] for name, count in counted.most_common(CLASSES)]

    def named(self, channel: int) -> list[Any] | None:
        """The class that the map tells best: [class, AUC, what chance reaches]; None without."""
        label = int(self.numbers["class"][channel])
        if label < 0:
            return None
        auc, chance = (_short(float(self.numbers[key][channel])) for key in ("auc", "auc_chance"))
        return [self.atlas.class_names.get(label, f"class {label}"), auc, chance]

    def nearest(self, channel: int) -> list[list[Any]]:
        """[map, r] of the maps that answer to the same images, the nearest first."""
        columns = (self.numbers[key][channel].tolist() for key in ("nearest", "nearest_r"))
        return [[other, _short(r)] for other, r in zip(*columns, strict=True) if other >= 0]

    def connected(self, side: str, channel: int, layers: Sequence[str]) -> list[list[Any]]:
        """[layer, map, strength] of those that feed the map ("input"), or that it feeds ("output").

        Args:
            side: "input" or "output".
            channel: the map.
            layers: the atlas's, in its order.
        """
        if side not in self.numbers:  # of an older atlas
            return []
        places = self.numbers[side][channel].tolist()
        strengths = self.numbers[f"{side}_strength"][channel].tolist()
        return [
            [layers[at], other, _short(strength)]
            for (at, other), strength in zip(places, strengths, strict=True)
            if at >= 0
        ]

    def _examples(self, channel: int) -> list[list[Any] | None]:
        columns = (self.numbers[key][channel].tolist() for key in ("quantile", "example"))
        return [
            None if at < 0 else [_short(value), *_name(self.atlas, at)]
            for value, at in zip(*columns, strict=True)
        ]


def _name(atlas: Atlas, image: int) -> list[str]:
    return [atlas.images[image].name, atlas.images[image].class_name or ""]


def few_bars(numbers: dict[str, Tensor], channel: int) -> list[Any]:
    """A map's histogram as [where the first bar begins, width of a bar, counts], in few bars.

    Empty ends are left out, and neighbouring bins joined.
    """
    counts = numbers["histogram"][channel]
    low, width = float(numbers["low"][channel]), float(numbers["width"][channel])
    filled = counts.nonzero().flatten()
    if not len(filled):
        return [0.0, 0.0, []]
    first, last = int(filled[0]), int(filled[-1]) + 1
    joined = max(1, math.ceil((last - first) / BARS))
    bars = [int(part.sum()) for part in counts[first:last].split(joined)]
    return [_short(low + first * width), width * joined, bars]


def _short(value: float) -> float | None:
    return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None
