"""What the overview shows first: the network as a strip, the maps that stand for each layer, and
the one unit that it begins with."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from convscope.atlas.folder import OPTIMISED
from convscope.atlas.manifest import LayerRecord
from convscope.atlas.store import Atlas
from convscope.geometry.box import Box
from convscope.methods.checks import SPECIFIC
from convscope.report.page_evidence import LayerResponses
from convscope.report.page_pictures import STRIP_MAPS, has_sheets_of_maps, shown_kinds

__all__ = ["LayerChoice", "LeadUnit", "NetworkStrip", "lead_unit"]

STEP, WIDEST_STEP = 28.0, 96.0  # pixels from one layer to the next: a target, and with few layers
WIDTH = 1040.0  # that a strip takes if it can
TALLEST, LOWEST = 72.0, 6.0  # pixels of a layer with the most maps, and of one with one
GLYPH = 14.0  # side of the square that stands for the input
GAP = 14.0  # between branches
PLAIN_ENOUGH = 1.7  # AUC times 1 + the share of its class among the strongest: beyond it, all are
ENOUGH = 0.05  # of the image that a unit sees, to show more than an edge or a colour
INSIDE = 0.9  # of what a unit sees that lies within the image: beyond it a picture is of one piece
SMALLEST_SHARE = 0.08  # of the input: a field that is drawn smaller could not be seen


# ---- the maps that stand for a layer ---------------------------------------------------------


@dataclass(frozen=True, eq=False)
class LayerChoice:
    """Chooses maps of a layer by what the atlas knows of them.

    Attributes:
        atlas: the atlas.
        record: of the layer.
    """

    atlas: Atlas
    record: LayerRecord

    @cached_property
    def responses(self) -> LayerResponses | None:
        """How its maps respond to all images."""
        return LayerResponses.of(self.atlas, self.record)

    def name_of(self, channel: int) -> str | None:
        """The class that a map tells better than chance; None where it tells none."""
        named = self.responses.named(channel) if self.responses else None
        return named[0] if named and named[1] is not None and named[1] > named[2] else None

    def auc(self, channel: int) -> float:
        """How well a map tells that class; 0 where it tells none."""
        named = self.responses.named(channel) if self.responses else None
        return float(named[1]) if named and self.name_of(channel) is not None else 0.0

    def specific(self, channel: int) -> float:
        """How far the map's strongest picture is its own; -1 where nobody looked."""
        trust = self.atlas.trust(self.record.name, channel)
        return -1.0 if trust is None or trust.specific is None else trust.specific.mean

    def inside(self, channel: int) -> float:
        """How much of what the map's strongest unit sees lies within the image, 0 to 1."""
        height, width = self.atlas.manifest.input_shape[-2:]
        seen = Box(*self.atlas.layers[self.record.name].box[channel, 0].tolist())
        clipped = seen.clip(height, width)
        return clipped.height * clipped.width / max(seen.height * seen.width, 1)

    @cached_property
    def most_selective(self) -> list[int]:
        """The maps that stand for the layer, at most six, the most selective first.

        Those that tell a class best come first, then those whose pictures are most their own, then
        those that were above zero in the most images; last come maps that were above zero in fewer
        images than the atlas shows of each.
        """
        table = self.atlas.layers[self.record.name]
        active, ranks = table.active.tolist(), table.value.shape[1]

        def key(channel: int) -> tuple[float, ...]:
            rare = active[channel] < ranks
            return -self.auc(channel), rare, -self.specific(channel), -active[channel], channel

        return sorted(range(self.record.channels), key=key)[:STRIP_MAPS]


# ---- the unit that comes first ----------------------------------------------------------------


@dataclass(frozen=True)
class LeadUnit:
    """The unit that the overview begins with.

    Attributes:
        record: of its layer.
        channel: its map.
        kinds: the pictures that it is shown in.
        sentence: what there is to see, in plain words.
    """

    record: LayerRecord
    channel: int
    kinds: tuple[str, ...]
    sentence: str


def lead_unit(atlas: Atlas, choices: Mapping[str, LayerChoice]) -> LeadUnit | None:
    """The most telling unit of an atlas: it names a class, and its picture can be trusted.

    Of several that tell their class plainly, it is the one that sees most of the image; so it is of
    those whose picture is their own where the atlas knows no classes, if what they saw lies within
    the image. Else it is the one whose picture is most its own, of those that see enough
    to show something, and best with an optimised picture; where nothing was checked, the one that
    is above zero in the most images, of the layer in the middle.

    Args:
        atlas: the atlas.
        choices: of each layer.

    Returns:
        The unit; None where all maps are dead.
    """
    candidates = [
        (record, channel)
        for record in atlas.manifest.layers
        for channel in choices[record.name].most_selective
        if atlas.layers[record.name].active[channel] > 0
    ]
    if not candidates:
        return None
    middle = len(atlas.manifest.layers) / 2
    area = {
        one.name: math.prod(field_share(one, atlas.manifest.input_shape))
        for one in atlas.manifest.layers
    }
    optimised = {
        one.name
        for one in atlas.manifest.layers
        if has_sheets_of_maps(atlas.folder, one, OPTIMISED)
    }
    order = {record.name: at for at, record in enumerate(atlas.manifest.layers)}

    def score(candidate: tuple[LayerRecord, int]) -> tuple[float, ...]:
        record, channel = candidate
        choice = choices[record.name]
        trust = atlas.trust(record.name, channel)
        placed = trust is not None and trust.place is not None and (trust.place.above.low or 0) > 0
        own = placed and choice.specific(channel) >= SPECIFIC
        shows = choice.auc(channel) > 0 or (own and choice.inside(channel) >= INSIDE)
        return (
            float(own),
            min(PLAIN_ENOUGH, choice.auc(channel) * (1 + _share(choice, channel))),
            area[record.name] if shows else min(ENOUGH, area[record.name]),
            record.name in optimised,
            choice.specific(channel),
            -abs(order[record.name] + 0.5 - middle),
        )

    record, channel = max(candidates, key=score)
    last = OPTIMISED if record.name in optimised else "projection"
    kinds = ("patch", *(k for k in shown_kinds(atlas.manifest) if k == "spotlight"), last)
    return LeadUnit(record, channel, kinds, _sentence(atlas, choices[record.name], channel))


def _count_of_class(choice: LayerChoice, channel: int) -> int:
    """How many of a map's strongest images are of the class that it tells."""
    name = choice.name_of(channel)
    found = choice.atlas.layers[choice.record.name].image[channel].tolist()
    return sum(choice.atlas.images[image].class_name == name for image in found if image >= 0)


def _share(choice: LayerChoice, channel: int) -> float:
    if choice.name_of(channel) is None:
        return 0.0
    return _count_of_class(choice, channel) / choice.atlas.manifest.top


def _sentence(atlas: Atlas, choice: LayerChoice, channel: int) -> str:
    name = choice.name_of(channel)
    table = atlas.layers[choice.record.name]
    images = atlas.manifest.data.count - len(atlas.manifest.skipped)
    if name is None:
        trust = atlas.trust(choice.record.name, channel)
        active = int(table.active[channel])
        found = f"It answers to {active:,} of {images:,} images; this one excites it most."
        if trust is not None and trust.place is not None and choice.specific(channel) >= SPECIFIC:
            found += (
                f" Covered where it is lit, it loses {100 * trust.place.own:.0f} % of that; other "
                "strong units of the place have another picture."
            )
        return found
    count, kept = _count_of_class(choice, channel), int((table.image[channel] >= 0).sum())
    auc = f"{100 * choice.auc(channel):.0f}"
    return (
        f"It answers to “{name}”: {count} of its {kept} strongest images show that. Of two images, "
        f"one with it and one without, it answers more to the right one {auc} times in 100."
    )


# ---- the network as a strip --------------------------------------------------------------------


@dataclass(frozen=True)
class NetworkStrip:
    """A network drawn from left to right, a bar for each layer of the atlas, as high as it is wide.

    Attributes:
        width: of the drawing, in pixels.
        height: of it.
        bars: for each layer, in their order, what the page draws: left, top, step and height of
            all that is the layer's; (x, y, width, height) of its bar and of what a unit sees; (x,
            y, side) of the input.
        lines: paths from a layer to those that read it.
    """

    width: float
    height: float
    bars: list[dict[str, Any]]
    lines: list[str]

    @classmethod
    def of(cls, layers: Sequence[LayerRecord], input_shape: tuple[int, int, int]) -> NetworkStrip:
        """Lay the layers out: as far to the right as there are layers between it and the image.

        Layers at the same distance, the branches, lie one above the other. Where an atlas does not
        say what a layer reads, it reads the one before.
        """
        depths = _depths(layers)
        columns: dict[int, list[LayerRecord]] = {}
        for record in layers:
            columns.setdefault(depths[record.name], []).append(record)
        step = max(STEP, min(WIDEST_STEP, WIDTH / len(columns)))
        most = max(record.channels for record in layers)
        heights = {
            record.name: LOWEST + (TALLEST - LOWEST) * math.sqrt(record.channels / most)
            for record in layers
        }
        tall = {
            depth: sum(heights[r.name] + GLYPH + 4 for r in some) + GAP * (len(some) - 1)
            for depth, some in columns.items()
        }
        height = max(tall.values())
        bars: list[dict[str, Any]] = []
        for depth, some in columns.items():
            top = (height - tall[depth]) / 2
            for record in some:
                bars.append(
                    _bar(record, input_shape, depth * step, top, step, heights[record.name])
                )
                top += bars[-1]["height"] + GAP
        places = {bar["name"]: bar for bar in bars}
        lines = [
            _line(places[below], places[record.name])
            for record in layers
            for below in _reads(layers)[record.name]
        ]
        order = {record.name: at for at, record in enumerate(layers)}
        bars.sort(key=lambda bar: order[bar["name"]])
        return cls(round(len(columns) * step, 1), round(height, 1), bars, lines)


def _reads(layers: Sequence[LayerRecord]) -> dict[str, tuple[str, ...]]:
    before = [(), *((record.name,) for record in layers)]
    known = {record.name for record in layers}
    return {
        record.name: previous
        if record.reads is None
        else tuple(r for r in record.reads if r in known)
        for record, previous in zip(layers, before, strict=False)
    }


def _depths(layers: Sequence[LayerRecord]) -> dict[str, int]:
    depths: dict[str, int] = {}
    for name, below in _reads(layers).items():
        depths[name] = 1 + max((depths[one] for one in below if one in depths), default=-1)
    return depths


def _bar(
    record: LayerRecord,
    input_shape: tuple[int, int, int],
    left: float,
    top: float,
    step: float,
    high: float,
) -> dict[str, Any]:
    share = field_share(record, input_shape)
    wide = min(20.0, step * 0.5)
    middle = left + step / 2
    return {
        "name": record.name,
        "left": left,
        "top": round(top, 1),
        "step": step,
        "height": round(GLYPH + 4 + high, 1),
        "bar": (round(middle - wide / 2, 1), round(top + GLYPH + 4, 1), wide, round(high, 1)),
        "frame": (round(middle - GLYPH / 2, 1), round(top, 1), GLYPH),
        "field": (
            round(middle - GLYPH * share[1] / 2, 1),
            round(top + GLYPH * (1 - share[0]) / 2, 1),
            round(GLYPH * share[1], 1),
            round(GLYPH * share[0], 1),
        ),
    }


def _line(below: Mapping[str, Any], above: Mapping[str, Any]) -> str:
    """A path from the right of one bar to the left of another."""
    x1 = below["bar"][0] + below["bar"][2]
    x2, half = above["bar"][0], (above["bar"][0] - x1) / 2
    y1, y2 = (one["bar"][1] + one["bar"][3] / 2 for one in (below, above))
    return (
        f"M{x1:.1f},{y1:.1f} C{x1 + half:.1f},{y1:.1f} {x2 - half:.1f},{y2:.1f} {x2:.1f},{y2:.1f}"
    )


def field_share(record: LayerRecord, input_shape: tuple[int, int, int]) -> tuple[float, float]:
    """A layer's field as parts of the input, rows and columns, large enough to be seen."""
    height, width = record.field.size
    return (
        max(SMALLEST_SHARE, min(1.0, height / input_shape[1])),
        max(SMALLEST_SHARE, min(1.0, width / input_shape[2])),
    )
