"""Correspondence: is the same part treated alike in different pictures of one kind of object?

Zeiler & Fergus, arXiv:1311.2901, §4.4, Table 1. For n pictures of a kind, the same part is covered
in each. At a layer, ε_i = x_i - x̃_i is what the cover changes in picture i. Δ is the normalised
Hamming distance H(sign ε_i, sign ε_j), the share of the layer's values whose signs differ, averaged
over all pairs i ≠ j (the paper writes their sum). The sign of 0 is 0, a third sign: where the cover
changes nothing in either picture they agree, so Δ is small where it changes little. Lower is more
alike. Because of that, Δ is told beside its share among the values that the cover changes in at
least one of the two pictures: a cover that changes less is not for that treated more alike.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from convscope.distributed import ALONE, Ranks
from convscope.errors import BadData, BadOption, NonFinite
from convscope.execution import Execution
from convscope.experiments.correspondence.aligned_parts import AlignedParts
from convscope.experiments.correspondence.result import Alike, Baseline, Correspondence
from convscope.geometry.box import Box
from convscope.methods.occluder import Fill, covered, fill_planes
from convscope.network.feature_layers import last_hidden_layer
from convscope.network.from_export import INPUT
from convscope.network.network import Network
from convscope.progress import Progress, counted_as
from convscope.scan.items import for_each, open_results
from convscope.stats import interval, left_out
from convscope.store.fingerprint import array_fingerprint
from convscope.store.results import Arrays

__all__ = ["correspond", "hamming", "maps_and_features"]

BATCH = 16
CHUNK = 1 << 14  # values of a layer that are compared at a time
MEMORY = 1 << 31  # bytes of signs


def correspond(
    network: Network,
    faces: AlignedParts,
    *,
    fill: Fill,
    layers: Sequence[str] | None = None,
    size: int | tuple[int, int] | None = None,
    places: int = 24,
    draws: int = 9999,
    seed: int = 0,
    out: str | os.PathLike[str] | None = None,
    resume: bool = False,
    ranks: Ranks = ALONE,
    progress: Progress | None = None,
) -> Correspondence:
    """Δ of each part in each layer, beside that of random places of the same size.

    Args:
        network: on the device that is to be used.
        faces: pictures with their parts, from `align_parts`.
        fill: what the cover shows, in preprocessed units.
        layers: default: the last layer with a grid, and the features that the classes are told by
            (or the output, where these have a grid themselves); the paper's 5 and 7.
        size: of the cover, input pixels; default a seventh of the input. Its centre is on the part.
        places: random places that lie wholly in the input, the same in all pictures.
        draws: how often one of them is drawn for each picture.
        seed: of the places and the draws.
        out: a folder that keeps what each picture gave; None keeps nothing.
        resume: go on with an interrupted study there.
        ranks: which of several processes this is; each covers its share of the pictures.
        progress: is told how many pictures are done.

    Raises:
        NoSuchLayer: with the nearest names.
        BadData: fewer than 2 pictures.
        BadOption: size, places, draws or fill.
        NonFinite: a layer makes NaN or infinity.
        FolderInUse: as `ResultStore`.

    Source:
        arXiv:1311.2901, §4.4, Table 1

    Example:
        >>> faces = align_parts(images, marked_images(images), preprocess)
        >>> convscope.correspond(network, faces, fill=0.0).to_dict()
    """
    count = len(faces.names)
    if count < 2:
        raise BadData(f"{count} picture: correspondence compares 2 or more")
    if places < 2 or draws < 1:
        raise BadOption(f"{places} places, {draws} draws: it takes 2 places and 1 draw or more")
    names = maps_and_features(network) if layers is None else tuple(layers)
    names = tuple(network.feature_layer(name).name for name in names)
    cover = _size(size, faces.images.shape[-2:])
    anywhere = _random_boxes(cover, faces.images.shape[-2:], places, seed)
    boxes = {part: tuple(_centred(at, cover) for at in faces.points[part]) for part in faces.parts}
    covers = [[*(boxes[part][i] for part in faces.parts), *anywhere] for i in range(count)]
    _check_memory(network, names, count, len(covers[0]))
    settings = {}
    if out is not None:
        settings = {
            "study": "correspond",
            "network": network.identity()[:16],
            "count": count,
            "pictures": array_fingerprint([faces.images.numpy()]),
            "parts": {part: np.array(faces.points[part]).tolist() for part in faces.parts},
            "layers": list(names),
            "size": list(cover),
            "places": places,
            "draws": draws,
            "fill": array_fingerprint([fill_planes(fill, faces.images[0]).numpy()]),
            "seed": seed,
        }

    def changed(number: int) -> Arrays:
        return _changes(network, faces.images[number], covers[number], fill, names)

    with open_results(out, settings, resume=resume, ranks=ranks) as results:
        signs = for_each(
            [f"picture {number}" for number in range(count)], changed, results, results.arrays,
            Execution(ranks=ranks, progress=counted_as(progress, "pictures")), spread=False,
        )  # fmt: skip
    rows = np.random.default_rng((seed, 1)).integers(0, places, (draws, count))
    found = ranks.from_first(
        lambda: {
            name: _compare([sign.pop(str(k)) for sign in signs], faces.parts, rows)
            for k, name in enumerate(names)
        }
    )
    return Correspondence(
        faces=faces,
        layers=names,
        parts=faces.parts,
        table={name: found[name][0] for name in names},
        random={name: found[name][1] for name in names},
        same={name: found[name][2] for name in names},
        boxes=boxes,
        size=cover,
        places=places,
    )


def maps_and_features(network: Network) -> tuple[str, str]:
    """The last layer with a grid, and what the classes are told by, else the output.

    Raises:
        BadOption: no layer has a grid.
    """
    features = last_hidden_layer(network)
    if network.layer(features).grid != (1, 1):
        return features, network.output
    name = features
    while name != INPUT and network.layer(name).grid == (1, 1):
        name = network.nodes[name].inputs[0]
    if name == INPUT:
        raise BadOption("this network has no layer with a grid: name the layers to look at")
    return name, features


def hamming(*signs: Tensor) -> tuple[Tensor, Tensor]:
    """How often the signs of two rows differ, for every pair of rows.

    Args:
        *signs: int8 (m, F) of -1, 0 and 1 each; M rows in all.

    Returns:
        Two float64 (M, M): the share of values whose signs differ, first of all F values, then of
        those that are not 0 in both rows (0 where there is none).
    """
    rows, values = sum(map(len, signs)), signs[0].shape[1]
    differ, either = (torch.zeros(rows, rows, dtype=torch.float64) for _ in range(2))
    for start in range(0, values, CHUNK):
        numbers = torch.cat([sign[:, start : start + CHUNK] for sign in signs]).float()
        moved = numbers.abs()
        both = moved @ moved.T  # exact, as all counts are below 2^24
        count = moved.sum(1)
        somewhere = count[:, None] + count[None] - both
        either += somewhere.double()
        differ += (somewhere - (both + numbers @ numbers.T) / 2).double()
    return differ / values, differ / either.clip(min=1)


def _check_memory(network: Network, layers: Sequence[str], pictures: int, covers: int) -> None:
    values = sum(int(np.prod(network.layer(name).shape)) for name in layers)
    if pictures * covers * values > MEMORY:
        raise BadOption(
            f"{pictures} pictures with {covers} covers in layers of {values:,} values "
            "do not fit in memory: give fewer random places, or higher layers"
        )


def _changes(
    network: Network, image: Tensor, boxes: Sequence[Box], fill: Fill, layers: Sequence[str]
) -> Arrays:
    """A layer's number -> (P, F): the sign of what each cover changes in one picture."""
    base = network.values(image, layers)
    signs: dict[str, list[Tensor]] = {name: [] for name in layers}
    for start in range(0, len(boxes), BATCH):
        values = network.values(covered(image, boxes[start : start + BATCH], fill), layers)
        for name in layers:
            change = (base[name] - values[name]).reshape(len(values[name]), -1)
            if not torch.isfinite(change).all():
                raise NonFinite(f"layer {name!r} makes NaN or infinity: check the weights")
            signs[name].append(change.sign().to(torch.int8).cpu())
    return {str(k): torch.cat(signs[name]).numpy() for k, name in enumerate(layers)}


def _compare(
    signs: Sequence[NDArray[np.int8]], parts: Sequence[str], rows: NDArray[np.int64]
) -> tuple[dict[str, Alike], Baseline, Baseline]:
    """Of one layer: each part, random places of each picture, and the same in all pictures.

    Args:
        signs: of each picture (P, F): what each cover changes, the parts' first.
        parts: their names.
        rows: (draws, N), the random place that is drawn for each picture.
    """
    count, covers = len(signs), len(signs[0])
    changed = np.stack([(sign != 0).mean(1) for sign in signs])  # (N, P)
    shape = (count, covers, count, covers)
    table, among = (h.numpy().reshape(shape) for h in hamming(*map(torch.from_numpy, signs)))
    first = len(parts)
    pairs = np.triu_indices(count, 1)
    drawn, fixed = _draws(table[:, first:, :, first:], rows)
    drawn_among, fixed_among = _draws(among[:, first:, :, first:], rows)
    elsewhere = float(changed[:, first:].mean())
    own = _baseline(drawn, elsewhere, drawn_among, count)
    same = _baseline(fixed, elsewhere, fixed_among, count)
    alike = {}
    for k, part in enumerate(parts):
        square, inside = table[:, k, :, k], float(among[:, k, :, k][pairs].mean())
        delta, without = float(square[pairs].mean()), left_out(square)
        low, high = interval(delta, without)
        alike[part] = Alike(
            delta,
            float(square[pairs].std(ddof=1)) if len(pairs[0]) > 1 else None,
            low,
            high,
            float(changed[:, k].mean()),
            inside,
            _as_low(drawn, delta),
            _as_low(fixed, delta),
            _as_low(drawn_among, inside),
            without,
        )
    return alike, own, same


def _draws(
    table: NDArray[np.float64], rows: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(draws, pairs) with a place of its own for each picture, (places, pairs) with one for all."""
    count, places = table.shape[:2]
    first, second = np.triu_indices(count, 1)
    own = table[first, rows[:, first], second, rows[:, second]]
    return own, np.stack([table[first, p, second, p] for p in range(places)])


def _as_low(draws: NDArray[np.float64], delta: float) -> float:
    """Monte Carlo p-value, the part itself counted among the draws."""
    lower = int((draws.mean(1) <= delta + 1e-12).sum())
    return (1 + lower) / (1 + len(draws))


def _baseline(
    draws: NDArray[np.float64], changed: float, among: NDArray[np.float64], count: int
) -> Baseline:
    means = draws.mean(1)
    low, high = (float(edge) for edge in np.percentile(means, [2.5, 97.5]))
    deviation = float(draws.std(1, ddof=1).mean()) if draws.shape[1] > 1 else None
    mean, inside = float(means.mean()), float(among.mean())
    table = np.zeros((count, count))
    table[np.triu_indices(count, 1)] = draws.mean(0)
    without = left_out(table + table.T)
    return Baseline(mean, deviation, low, high, len(draws), changed, inside, without)


def _size(size: int | tuple[int, int] | None, extent: Sequence[int]) -> tuple[int, int]:
    height, width = extent
    if size is None:
        size = (max(1, height // 7), max(1, width // 7))
    pair = (size, size) if isinstance(size, int) else size
    if not (1 <= pair[0] <= height and 1 <= pair[1] <= width):
        raise BadOption(f"occluder {pair[0]}×{pair[1]}: it must fit the input, {height}×{width}")
    return pair


def _random_boxes(size: tuple[int, int], extent: Sequence[int], count: int, seed: int) -> list[Box]:
    rng = np.random.default_rng((seed, 0))
    tops = rng.integers(0, extent[0] - size[0] + 1, count).tolist()
    lefts = rng.integers(0, extent[1] - size[1] + 1, count).tolist()
    return [
        Box(top, left, top + size[0], left + size[1]) for top, left in zip(tops, lefts, strict=True)
    ]


def _centred(place: tuple[float, float], size: tuple[int, int]) -> Box:
    """The cover whose centre is nearest to a place; the input's edge may cut it."""
    top, left = (round(at - side / 2) for at, side in zip(place, size, strict=True))
    return Box(top, left, top + size[0], left + size[1])
