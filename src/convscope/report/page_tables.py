"""The numbers that the page's scripts receive, each one call of `convscope.receive(place, table)`.

    data/<slug>.js               a layer's wall, see `wall_table`
    data/units/<slug>/<map>.js   a unit, see `unit_tables`; its pictures, too
    page/chosen.js               [map, class that it tells] of those that stand for each layer; the
                                 network as a strip
    page/images.js               [index, name, class] of all images that are shown
    page/images/<n>.js           an image, see `image_tables`

The place is the path without `.js`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from convscope.atlas.compared import ComparedLayer, read_compared
from convscope.atlas.manifest import LayerRecord
from convscope.atlas.store import Atlas
from convscope.atlas.tables import LayerTable
from convscope.report.page_evidence import LayerResponses, relevant_of_map, trust_of_map

__all__ = [
    "ShownImages",
    "image_tables",
    "ranks_of",
    "relatives",
    "rounded",
    "similar_order",
    "unit_tables",
    "wall_table",
]

DIGITS = 5  # significant digits of a value on the page; tables.safetensors has them all


class ShownImages:
    """The images that are among some map's strongest.

    Args:
        atlas: the atlas.

    Attributes:
        indices: of the images in their set, in its order.
        named: index -> [name, class name].
    """

    def __init__(self, atlas: Atlas) -> None:
        found = {
            image for table in atlas.layers.values() for image in table.image.unique().tolist()
        }
        self.indices = sorted(image for image in found if image >= 0)
        self.named = {
            image: [atlas.images[image].name, atlas.images[image].class_name or ""]
            for image in self.indices
        }


def _active(table: LayerTable) -> list[int | None]:
    """In how many images each map was above zero; None of one that is nowhere finite."""
    pairs = zip(table.active.tolist(), table.not_finite.tolist(), strict=True)
    return [None if lost else count for count, lost in pairs]


def wall_table(atlas: Atlas, record: LayerRecord, images: ShownImages) -> dict[str, Any]:
    """What the wall of a layer shows, sorts and finds, an entry for each map.

    `images` lists [name, class name] of those that occur, `image` has K of them for each map; -1
    is an empty rank. `specific` and `named` ([class, AUC, what chance reaches]) are null where
    nothing is known. `similar` is an order in which maps that answer to the same images are near.
    """
    table = atlas.layers[record.name]
    found = table.image.flatten().tolist()
    occurring = sorted({image for image in found if image >= 0})
    position = {image: at for at, image in enumerate(occurring)} | {-1: -1}
    responses = LayerResponses.of(atlas, record)
    channels = range(record.channels)
    trusts = [trust_of_map(atlas, record, channel) for channel in channels]
    return {
        "images": [images.named[image] for image in occurring],
        "image": [position[image] for image in found],
        "value": [rounded(value) for value in table.value[:, 0].tolist()],
        "active": _active(table),
        "specific": [
            None if not t or t[0] is None or t[0][2] is None else t[0][2][0] for t in trusts
        ],
        "density": responses and [responses.density(c) for c in channels],
        "named": responses and [responses.named(c) for c in channels],
        "similar": responses and similar_order([responses.nearest(c) for c in channels]),
    }


def unit_tables(atlas: Atlas, record: LayerRecord, images: ShownImages) -> Iterator[dict[str, Any]]:
    """What the page of each map of a layer tells.

    `ranks` has [value, row, column, box, image, name, class name] or null for an empty rank; the
    image is its index in the set. `place` is the map's among all of its layer by strength,
    from 1. `trust` and `responses` are null where the atlas does not say (see page_evidence).
    `input` and `output` list [layer, map, strength].
    """
    table = atlas.layers[record.name]
    best = table.value[:, 0]
    responses = LayerResponses.of(atlas, record)
    compared = read_compared(atlas)
    beside = None if compared is None else compared.layers.get(record.name)
    names = [layer.name for layer in atlas.manifest.layers]
    active = _active(table)
    for channel, ranks in enumerate(ranks_of(atlas, record, images)):
        yield {
            "ranks": ranks,
            "place": int((best > best[channel]).sum()) + 1,
            "active": active[channel],
            "trust": trust_of_map(atlas, record, channel),
            "relevant": relevant_of_map(atlas, record, channel),
            "responses": responses and responses.of_map(channel),
            "nearest": responses.nearest(channel) if responses else [],
            "input": responses.connected("input", channel, names) if responses else [],
            "output": responses.connected("output", channel, names) if responses else [],
            **_in_other(beside, channel),
        }


def ranks_of(
    atlas: Atlas, record: LayerRecord, images: ShownImages
) -> Iterator[list[list[Any] | None]]:
    """The `ranks` of each map of a layer, see `unit_tables`."""
    table = atlas.layers[record.name]
    columns = [
        column.tolist() for column in (table.value, table.row, table.column, table.box, table.image)
    ]
    for channel in range(record.channels):
        entry = zip(*(column[channel] for column in columns), strict=True)
        yield [_rank(one, images) for one in entry]


def _in_other(beside: ComparedLayer | None, channel: int) -> dict[str, Any]:
    """`other`: [layer, map or null, correlation or null, level, place in the comparison].

    Nothing where the layer was compared with none.
    """
    if beside is None:
        return {}
    found = beside.of_map(channel) or (None, None)
    return {"other": [beside.layer, *found, beside.level, beside.number]}


def _rank(entry: tuple[Any, ...], images: ShownImages) -> list[Any] | None:
    value, row, column, box, image = entry
    if image < 0:
        return None
    return [rounded(value), row, column, box, image, *images.named[image]]


def relatives(record: LayerRecord, unit: dict[str, Any]) -> dict[str, list[tuple[str, int]]]:
    """The maps whose pictures a unit's page shows beside its own, as (layer, map)."""
    return {
        "nearest": [(record.name, channel) for channel, _ in unit["nearest"]],
        "input": [(layer, channel) for layer, channel, _ in unit["input"]],
        "output": [(layer, channel) for layer, channel, _ in unit["output"]],
    }


def image_tables(atlas: Atlas, images: ShownImages) -> Iterator[tuple[int, dict[str, Any]]]:
    """Each image's index and what its page tells.

    `units` lists [layer number, map, rank from 0, value, box] of those that it excites, above zero,
    among their strongest, the first layer and rank first.
    """
    units: dict[int, list[list[Any]]] = {image: [] for image in images.indices}
    for number, record in enumerate(atlas.manifest.layers):
        table = atlas.layers[record.name]
        values, boxes = table.value.tolist(), table.box.tolist()
        for channel, row in enumerate(table.image.tolist()):
            for rank, image in enumerate(row):
                if image >= 0 and values[channel][rank] > 0:
                    value, box = rounded(values[channel][rank]), boxes[channel][rank]
                    units[image].append([number, channel, rank, value, box])
    for image, (name, label) in images.named.items():
        found = sorted(units[image], key=lambda one: (one[0], one[2], -(one[3] or 0.0), one[1]))
        yield image, {"name": name, "label": label, "units": found}


def similar_order(nearest: Sequence[Sequence[Sequence[Any]]]) -> list[int]:
    """Maps in an order in which each is followed by the one most like it that is left.

    Args:
        nearest: for each map [map, r] of those most like it, the nearest first.
    """
    left = dict.fromkeys(range(len(nearest)))
    order: list[int] = []
    while left:
        at: int | None = next(iter(left))
        while at is not None:
            order.append(at)
            del left[at]
            at = next((other for other, _ in nearest[at] if other in left), None)
    return order


def rounded(value: float) -> float | None:
    """A value with as many digits as the page shows; None where it is not finite."""
    return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None
