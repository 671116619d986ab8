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
from safetensors.torch import load_file, save
from scipy import stats
from torch import Tensor

from convscope.scan.responses import Responses
from convscope.stats import rank_values
from convscope.store.atomic import replace_file

__all__ = ["QUANTILES", "Statistics", "layer_statistics", "read_statistics", "write_statistics"]

STATISTICS = "statistics.safetensors"
QUANTILES = (0.25, 0.5, 0.75, 0.9, 0.99)
RELATIVES = 5
FEWEST = 5
"""Images that a class must have in each half of the sample to be named."""
CHANCE = 0.05
"""How often chance alone may give some map of one class its name."""

Statistics = dict[str, Tensor]
"""A layer's numbers by field."""


def layer_statistics(
    responses: Responses, layer: str, active: Tensor, labels: Sequence[int | None]
) -> Statistics:
    """Work out what is stored of a layer.

    Args:
        responses: that have seen all images.
        layer: its name.
        active: int64 (C,), in how many images each map was above zero.
        labels: of the images of the sample; None where an image has none.
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
    maxima: NDArray[np.float32], labels: Sequence[int | None]
) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.float32]]:
    """The class that each map tells best from the others, by the area under the ROC curve.

    The class is chosen on one half of the images and measured on the other, so that the best of
    many classes is not flattered. Chance is the normal approximation of the rank sum's
    distribution, without ties, which makes it larger; its level is divided by the number of
    classes.

    Args:
        maxima: (S, C), NaN where one is not known; such an image ranks lowest.
        labels: of the S images; None where there is none.

    Returns:
        (class, AUC, what chance reaches), (C,) each; -1 and NaN where no class has enough images.
    """
    channels = maxima.shape[1]
    named = np.full(channels, -1, np.int64)
    auc = np.full(channels, np.nan, np.float32)
    chance = auc.copy()
    numbers = np.array([-1 if label is None else label for label in labels], np.int64)
    halves = _halves(numbers)
    classes = [
        number
        for number in np.unique(numbers[numbers >= 0])
        if all((numbers[half] == number).sum() >= FEWEST for half in halves)
    ]
    if len(classes) < 2:
        return named, auc, chance
    first, second = (
        _class_aucs(maxima[half], numbers[half], classes) for half in halves
    )  # (K, C) each
    best = first.argmax(0)
    tested = numbers[halves[1]]
    inside = np.array([(tested == number).sum() for number in classes])
    outside = len(tested) - inside
    spread = np.sqrt((inside + outside + 1) / (12.0 * inside * outside))
    bound = 0.5 + stats.norm.isf(CHANCE / len(classes)) * spread  # (K,)
    return (
        np.asarray(classes, np.int64)[best],
        np.take_along_axis(second, best[None], 0)[0].astype(np.float32),
        bound[best].astype(np.float32),
    )


def _halves(numbers: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows of the images that have a label, dealt to two halves class by class."""
    order = np.random.default_rng(0).permutation(len(numbers))
    order = order[numbers[order] >= 0]
    order = order[np.argsort(numbers[order], kind="stable")]
    return np.sort(order[::2]), np.sort(order[1::2])


def _class_aucs(
    maxima: NDArray[np.float32], numbers: NDArray[np.int64], classes: Sequence[int]
) -> NDArray[np.float64]:
    """(K, C), for each class how often one of its images ranks above one of the others."""
    ranks = rank_values(np.nan_to_num(maxima, nan=-np.inf).T)  # (C, S)
    inside = (numbers == np.array(classes)[:, None]).astype(np.float64)  # (K, S)
    count = inside.sum(1)[:, None]
    above = inside @ ranks.T - count * (count + 1) / 2
    aucs: NDArray[np.float64] = above / (count * (len(numbers) - count))
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


def read_statistics(atlas: Path, layers: Sequence[str]) -> dict[str, Statistics]:
    """The numbers of an atlas's feature maps by layer.

    Raises:
        OSError, SafetensorError, KeyError: the file is damaged.
    """
    tensors = load_file(atlas / STATISTICS)
    found: dict[str, Statistics] = {layer: {} for layer in layers}
    for name, tensor in tensors.items():
        layer, _, field = name.rpartition("/")
        found[layer][field] = tensor
    return found
