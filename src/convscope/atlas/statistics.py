"""What an atlas says of each feature map over all images: histogram, examples, classes, relatives.

    statistics.safetensors, for each layer "<layer>/<field>":
        histogram        int64 (C, B): of each image's maximum
        low, width       float64 (C,): where the first bin begins, and the width of all
        images           int64 (C,): how many are counted
        active_share     float64 (C,): of the images, those with the map above zero somewhere
        density          float64 (C,): of all positions of all images, those above zero
        mean             float64 (C,): over all positions of all images
        quantile         float32 (C, Q): the images' maxima at `QUANTILES`, over the sample
        example          int64 (C, Q): the image that has it; -1 where there is none
        top_image        int64 (C, T): the images of the largest maxima, the strongest first; -1
        class            int64 (C,): the class that the map tells best, chosen on one half of the
                         sample; -1 where the images have no labels, or too few
        auc              float32 (C,): how well, measured on the other half; NaN
        auc_chance       float32 (C,): what chance reaches there once in twenty times the classes;
                         NaN
        nearest          int64 (C, R): maps of the layer whose maxima correlate most; -1
        nearest_r        float32 (C, R): Pearson's r with them, over the sample; NaN
        input, output    int64 (C, R, 2): maps that feed it, and that it feeds, most strongly, as
                         (number of the layer, map), -1; see `atlas.connections`
        input_strength, output_strength
                         float32 (C, R): weight times mean activation; NaN

The sample is all images, or as many as fit (`scan.responses.sample_of`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save
from scipy import stats
from torch import Tensor

from convscope.atlas.manifest import Manifest
from convscope.atlas.schema import check_columns
from convscope.scan.responses import Responses
from convscope.stats import rank_values
from convscope.store.atomic import replace_file

__all__ = [
    "QUANTILES",
    "STATISTICS",
    "Label",
    "Statistics",
    "layer_statistics",
    "statistics_of",
    "top_images",
    "write_statistics",
]

STATISTICS = "statistics.safetensors"
QUANTILES = (0.25, 0.5, 0.75, 0.9, 0.99)
RELATIVES = 5
FEWEST = 5
"""Images that a class must have in each half of the sample to be named."""
CHANCE = 0.05
"""How often chance alone may give some map of one class its name."""

Statistics = dict[str, Tensor]
"""A layer's numbers by field."""
Label = int | tuple[int, ...] | None
"""The number of an image's class; or for each class 1 if it shows it, 0, -1 if that is not known;
None where it has no label."""


def top_images(numbers: Statistics, channel: int) -> list[int]:
    """The images that excite a map most, the strongest first: none where it is not above zero.

    Args:
        numbers: of its layer.
        channel: the map.
    """
    active = round(float(numbers["active_share"][channel] * numbers["images"][channel]))
    return [image for image in numbers["top_image"][channel, :active].tolist() if image >= 0]


def layer_statistics(
    responses: Responses, layer: str, active: Tensor, labels: Sequence[Label]
) -> Statistics:
    """Work out what is stored of a layer.

    Args:
        responses: that have seen all images.
        layer: its name.
        active: int64 (C,), in how many images each map was above zero.
        labels: of the images of the sample.
    """
    counted, maxima = responses.counted[layer], responses.sampled[layer]
    images = counted.histogram.counts.sum(1)
    value, place = _quantiles(maxima)
    example = torch.where(place >= 0, responses.sample[place.clamp(min=0)], -1)
    named, auc, chance = class_selectivity(maxima.numpy(), labels)
    nearest, r = nearest_maps(maxima)
    return {
        "histogram": counted.histogram.counts,
        "low": counted.histogram.low,
        "width": counted.histogram.width,
        "images": images,
        "active_share": active.double() / images.clamp(min=1),
        "density": counted.positive.double() / counted.positions.clamp(min=1),
        "mean": responses.mean(layer),
        "quantile": value,
        "example": example,
        "top_image": counted.image,
        "class": torch.from_numpy(named),
        "auc": torch.from_numpy(auc),
        "auc_chance": torch.from_numpy(chance),
        "nearest": nearest,
        "nearest_r": r,
    }


def _quantiles(maxima: Tensor) -> tuple[Tensor, Tensor]:
    """The maxima at the quantiles, and the rows that have them; of equals, the first row.

    Shape:
        maxima: (S, C), NaN where one is not known. The results: (C, Q); -1 where none is known.
    """
    known = ~maxima.isnan()
    count = known.sum(0)  # (C,)
    value, order = maxima.masked_fill(~known, torch.inf).sort(dim=0, stable=True)
    at = torch.tensor(QUANTILES).double() * (count[:, None] - 1).clamp(min=0)
    rank = at.round().long()  # (C, Q)
    found = value.T.gather(1, rank)
    nothing = (count == 0)[:, None]
    return (
        found.masked_fill(nothing, torch.nan),
        order.T.gather(1, rank).masked_fill(nothing, -1),
    )


def class_selectivity(
    maxima: NDArray[np.float32], labels: Sequence[Label]
) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.float32]]:
    """The class that each map tells best from the others, by the area under the ROC curve.

    The class is chosen on one half of the images and measured on the other, so that the best of
    many classes is not flattered. Chance is the normal approximation of the rank sum's
    distribution, without ties, which makes it larger; its level is divided by the number of
    classes. Images of which a class is not known take no part for that class.

    Args:
        maxima: (S, C), NaN where one is not known; such an image ranks lowest.
        labels: of the S images.

    Returns:
        (class, AUC, what chance reaches), (C,) each; -1 and NaN where no class has enough images.
    """
    channels = maxima.shape[1]
    named = np.full(channels, -1, np.int64)
    auc = np.full(channels, np.nan, np.float32)
    chance = auc.copy()
    numbers, truth = _truth(labels)
    if len(numbers) == 0:
        return named, auc, chance
    halves = _halves(truth)
    shown, other = (
        np.stack([(truth[half] == value).sum(0) for half in halves]) for value in (1, 0)
    )  # (2, K) each
    enough = ((shown >= FEWEST) & (other >= 1)).all(0)
    if enough.sum() < (1 if _several(labels) else 2):
        return named, auc, chance
    numbers, truth, inside, outside = (
        numbers[enough], truth[:, enough], shown[1, enough], other[1, enough]
    )  # fmt: skip
    first, second = (_class_aucs(maxima[half], truth[half]) for half in halves)  # (K, C) each
    best = first.argmax(0)
    spread = np.sqrt((inside + outside + 1) / (12.0 * inside * outside))
    bound = 0.5 + stats.norm.isf(CHANCE / len(numbers)) * spread  # (K,)
    return (
        numbers[best],
        np.take_along_axis(second, best[None], 0)[0].astype(np.float32),
        bound[best].astype(np.float32),
    )


def _several(labels: Sequence[Label]) -> bool:
    """Whether the images may show several classes."""
    return any(isinstance(label, tuple) for label in labels)


def _truth(labels: Sequence[Label]) -> tuple[NDArray[np.int64], NDArray[np.int8]]:
    """The numbers of the classes, and (S, K): 1 of an image that shows one, 0, -1 not known."""
    if _several(labels):
        rows = [label for label in labels if isinstance(label, tuple)]
        truth = np.full((len(labels), len(rows[0])), -1, np.int8)
        truth[[isinstance(label, tuple) for label in labels]] = rows
        return np.arange(truth.shape[1]), truth
    known = np.array([-1 if label is None else label for label in labels], np.int64)
    numbers = np.unique(known[known >= 0])
    return numbers, np.where(known[:, None] >= 0, known[:, None] == numbers, -1).astype(np.int8)


def _halves(truth: NDArray[np.int8]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows of the images that have a label, dealt to two halves, each image by its rarest class."""
    order = np.random.default_rng(0).permutation(len(truth))
    order = order[(truth[order] >= 0).any(1)]
    shown = truth[order] == 1
    frequency = np.where(shown, shown.sum(0), len(truth) + 1)
    order = order[np.argsort(frequency.argmin(1), kind="stable")]
    return np.sort(order[::2]), np.sort(order[1::2])


def _class_aucs(maxima: NDArray[np.float32], truth: NDArray[np.int8]) -> NDArray[np.float64]:
    """(K, C), for each class how often one of its images ranks above one of the others."""
    values = np.nan_to_num(maxima, nan=-np.inf).T  # (C, S)
    if (truth >= 0).all():
        return _aucs(rank_values(values), truth == 1)
    rows = [truth[:, number] >= 0 for number in range(truth.shape[1])]
    return np.concatenate(
        [
            _aucs(rank_values(values[:, known]), truth[known, number][:, None] == 1)
            for number, known in enumerate(rows)
        ]
    )


def _aucs(ranks: NDArray[np.float64], shown: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(K, C) of ranks (C, S) and which images show each class (S, K)."""
    inside = shown.T.astype(np.float64)  # (K, S)
    count = inside.sum(1)[:, None]
    above = inside @ ranks.T - count * (count + 1) / 2
    aucs: NDArray[np.float64] = above / (count * (shown.shape[0] - count))
    return aucs


def nearest_maps(maxima: Tensor) -> tuple[Tensor, Tensor]:
    """The maps whose maxima correlate most with each map's, and Pearson's r.

    Shape:
        maxima: (S, C). The results: (C, R); -1 and NaN where there is no such map.
    """
    rows = ~maxima.isnan().any(1)
    known = maxima[rows].double()
    channels = maxima.shape[1]
    nearest = torch.full((channels, RELATIVES), -1)
    found = torch.full((channels, RELATIVES), torch.nan)
    if len(known) < 3:
        return nearest, found
    known = known - known.mean(0)
    norm = known.norm(dim=0)
    known = known / norm.clamp(min=torch.finfo(torch.float64).tiny)
    r = known.T @ known
    varies = norm > 0
    r[~varies] = -torch.inf
    r[:, ~varies] = -torch.inf
    r.fill_diagonal_(-torch.inf)
    value, order = r.sort(dim=1, descending=True, stable=True)
    count = min(RELATIVES, channels)
    there = value[:, :count] > -torch.inf
    nearest[:, :count] = order[:, :count].masked_fill(~there, -1)
    found[:, :count] = value[:, :count].masked_fill(~there, torch.nan).float()
    return nearest, found


def write_statistics(atlas: Path, layers: Mapping[str, Statistics]) -> None:
    """Write statistics.safetensors."""
    named = {
        f"{layer}/{field}": tensor.contiguous()
        for layer, table in layers.items()
        for field, tensor in table.items()
    }
    replace_file(atlas / STATISTICS, save(named))


def statistics_of(tensors: Mapping[str, Tensor], manifest: Manifest) -> dict[str, Statistics]:
    """The numbers of an atlas's feature maps by layer.

    Args:
        tensors: as they were stored.
        manifest: of the atlas.

    Raises:
        KeyError: one is of a layer that the atlas does not have.
        ValueError: one is missing, has another type or shape, or names what is not there.
    """
    found: dict[str, Statistics] = {layer.name: {} for layer in manifest.layers}
    for name, tensor in tensors.items():
        layer, _, field = name.rpartition("/")
        found[layer][field] = tensor
    for record in manifest.layers:
        try:
            _check(found[record.name], record.channels, manifest)
        except ValueError as error:
            raise ValueError(f"{record.name}: {error}") from None
    return found


def _check(table: Statistics, maps: int, manifest: Manifest) -> None:
    """Compare a layer's numbers with what is stored of so many maps.

    Raises:
        ValueError: one is missing, has another type or shape, or names what is not there.
    """
    extras = manifest.extras
    assert extras is not None
    many, wide = (maps,), (maps, min(RELATIVES, _width(table, "nearest")))
    bins, quantiles, images = (
        (maps, said or _width(table, name))  # older atlases do not say it
        for name, said in (
            ("histogram", extras.bins),
            ("quantile", len(extras.quantiles)),
            ("top_image", extras.top_images),
        )
    )
    whole, single, double = torch.int64, torch.float32, torch.float64
    wanted = {
        "histogram": (whole, bins), "low": (double, many), "width": (double, many),
        "images": (whole, many), "active_share": (double, many), "density": (double, many),
        "quantile": (single, quantiles), "example": (whole, quantiles),
        "top_image": (whole, images), "class": (whole, many), "auc": (single, many),
        "auc_chance": (single, many), "nearest": (whole, wide), "nearest_r": (single, wide),
    }  # fmt: skip
    if "mean" in table:  # older atlases do not say it, nor which maps feed which
        wanted["mean"] = (double, many)
    if "input" in table:
        for way in ("input", "output"):
            wanted[way] = (whole, (*wide, 2))
            wanted[f"{way}_strength"] = (single, wide)
    check_columns(table, wanted)
    layers = torch.tensor([layer.channels for layer in manifest.layers])
    ends = {"example": manifest.data.count, "top_image": manifest.data.count, "nearest": maps}
    for name, end in ends.items():
        _check_range(name, table[name], end)
    for way in ("input", "output"):
        if way in table:
            layer, channel = table[way].unbind(-1)
            _check_range(way, layer, len(layers))
            _check_range(way, channel, layers[layer.clamp(min=0)])
    for name in ("active_share", "density"):
        if not bool(((table[name] >= 0) & (table[name] <= 1)).all()):
            raise ValueError(f"{name} holds numbers beyond 0 to 1")
    if bool((table["histogram"] < 0).any()) or bool((table["images"] < 0).any()):
        raise ValueError("a count is below zero")


def _width(table: Statistics, name: str) -> int:
    return table[name].shape[-1] if name in table and table[name].ndim else 0


def _check_range(name: str, column: Tensor, end: int | Tensor) -> None:
    if not bool(((column >= -1) & (column < end)).all()):
        raise ValueError(f"{name} names what is not there")
