"""What the page knows of a map beside its pictures: how far to trust them, how it responds to all.

Everything here is optional: of an atlas that does not hold it, there is nothing to hand over.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

from safetensors import safe_open
from torch import Tensor

from convscope.atlas.store import Atlas, LayerRecord
from convscope.errors import BadInput
from convscope.methods.checks import Trust
from convscope.stats import Estimate

__all__ = ["few_bars", "response_arrays", "trust_arrays"]

DIGITS = 3  # significant digits
BARS = 32  # of a histogram on the page, at most
CLASSES = 6  # of the images that a map answers to most
STATISTICS = "statistics.safetensors"


def trust_arrays(atlas: Atlas, record: LayerRecord) -> dict[str, Any] | None:
    """How far the strongest pictures can be trusted; None of an atlas that does not say.

    `sentences` lists what is said; `pictures` has an entry for each map and checked rank, null or
    [sentence, place, specific, own weights, disc], a place, specific or own weights being null or
    [mean, low, high].
    """
    extras = atlas.manifest.extras
    if extras is None or extras.check == 0:
        return None
    sentences: dict[str, int] = {}
    pictures: list[list[Any] | None] = []
    for channel in range(record.channels):
        for rank in range(extras.check):
            trust = atlas.trust(record.name, channel, rank)
            if trust is None:
                pictures.append(None)
                continue
            at = sentences.setdefault(trust.sentence, len(sentences))
            pictures.append([at, *_trust_numbers(trust)])
    return {"check": extras.check, "sentences": list(sentences), "pictures": pictures}


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


def response_arrays(atlas: Atlas, record: LayerRecord) -> dict[str, Any] | None:
    """How a layer's maps respond to all images; None of an atlas that does not say.

    `histogram` has an entry for each map: [where the first bar begins, width of a bar, counts].
    `quantiles` are shares of the images; `examples` has for each map and quantile [value, name,
    class name] or null. `classes` has for each map how many of its top images are of which class,
    the most frequent first; `named` [class, AUC, what chance reaches] or null; `nearest` pairs of
    a map and r.
    """
    numbers = _numbers(atlas, record.name)
    extras = atlas.manifest.extras
    if not numbers or extras is None:
        return None
    channels = range(record.channels)
    return {
        "quantiles": list(getattr(extras, "quantiles", ())),
        "histogram": [few_bars(numbers, c) for c in channels],
        "density": [_short(float(numbers["density"][c])) for c in channels],
        "share": [_short(float(numbers["active_share"][c])) for c in channels],
        "examples": [_examples(atlas, numbers, c) for c in channels],
        "classes": [_classes(atlas, numbers["top_image"][c]) for c in channels],
        "named": [_named(atlas, numbers, c) for c in channels],
        "nearest": [_nearest(numbers, c) for c in channels],
    }


def _numbers(atlas: Atlas, layer: str) -> dict[str, Tensor]:
    path = atlas.folder / STATISTICS
    if not path.is_file():
        return {}
    try:
        with safe_open(path, framework="pt") as file:
            names = [name for name in file.keys() if name.rpartition("/")[0] == layer]  # noqa: SIM118
            return {name.rpartition("/")[2]: file.get_tensor(name) for name in names}
    except Exception as error:
        raise BadInput(f"the atlas is damaged at {path}: {error}; make it again") from None


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


def _examples(atlas: Atlas, numbers: dict[str, Tensor], channel: int) -> list[list[Any] | None]:
    found = zip(
        numbers["quantile"][channel].tolist(), numbers["example"][channel].tolist(), strict=True
    )
    return [
        [_short(value), atlas.images[at].name, atlas.images[at].class_name or ""]
        if at >= 0
        else None
        for value, at in found
    ]


def _classes(atlas: Atlas, images: Tensor) -> list[list[Any]]:
    known = [atlas.images[at].class_name for at in images.tolist() if at >= 0]
    counted = Counter(name for name in known if name)
    return [[name, count] for name, count in counted.most_common(CLASSES)]


def _named(atlas: Atlas, numbers: dict[str, Tensor], channel: int) -> list[Any] | None:
    label = int(numbers["class"][channel])
    if label < 0:
        return None
    name = next((one.class_name for one in atlas.images if one.label == label), None)
    auc, chance = (_short(float(numbers[key][channel])) for key in ("auc", "auc_chance"))
    return [name or f"class {label}", auc, chance]


def _nearest(numbers: dict[str, Tensor], channel: int) -> list[list[Any]]:
    found = zip(
        numbers["nearest"][channel].tolist(), numbers["nearest_r"][channel].tolist(), strict=True
    )
    return [[other, _short(r)] for other, r in found if other >= 0]


def _short(value: float) -> float | None:
    return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None
