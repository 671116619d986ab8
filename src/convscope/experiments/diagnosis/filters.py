"""What can be said of a layer's filters from their weights alone.

A filter is one feature map's weights (channels, height, width). Frequencies are in cycles per
input pixel, so that filters of any size and networks of any stride lie on one axis, 0 to 0.5.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from convscope.network.network import Network
from convscope.network.node import Node
from convscope.network.ops.normalising import batch_norm_scale_shift
from convscope.record import Record

__all__ = [
    "BANDS", "RADIUS", "Spectrum", "Strength", "Twins",
    "beyond_nyquist", "filter_spectrum", "folded", "noise_flatness", "power", "strength_of",
    "twins_of",
]  # fmt: skip

RADIUS = 0.1  # paper §3: the RMS above which a filter is scaled back
TOP_SHARE = 0.05  # the strongest filters, whose share of all energy is told
GRID = 64  # frequencies per axis of a filter's spectrum
BANDS = (("low", 0.0, 0.125), ("mid", 0.125, 0.25), ("high", 0.25, 1.0))
"""Cycles per pixel: `high` is the top octave of what pixels can hold, `mid` the one below it, `low`
the rest."""
RINGS = 32  # radial bins between 0 and 0.5 cycles per pixel
TWIN_COSINE = 0.95
CHANCE_PAIRS = 0.01  # pairs as alike as that which random filters may be expected to hold
RANDOM_FILTERS = 256  # drawn for the null model of noise
NOISE_QUANTILE = 0.05  # of random filters lies below the flatness from which a filter is noise


@dataclass(frozen=True)
class Strength(Record):
    """How unequal the filters of a layer are in strength.

    Attributes:
        rms: Root mean square of each filter's weights.
        strength: What the comparison is about: the RMS, or, where a batch norm follows and so
            undoes any scale of the filter, the size of that norm's own scale.
        ratio: Largest to median strength; 0 where the median is 0.
        top_share: What the strongest twentieth (one at least) holds of the summed squared
            strengths.
        gini: Gini's coefficient of the squared strengths: 0 where all are equal, towards 1 where
            one filter has all.
        above_radius: How many filters have an RMS above the paper's 0.1, which is meant for pixels
            in [-128, 128].
    """

    rms: tuple[float, ...]
    strength: tuple[float, ...]
    normalised: bool
    ratio: float
    top_share: float
    gini: float
    above_radius: int


@dataclass(frozen=True)
class Twins(Record):
    """Filters that look for the same thing.

    Attributes:
        pairs: (lower, higher, cosine) of filters of the same sign, closest first, among filters
            that read the same maps.
        groups: The maps joined by such pairs.
        redundant: How many maps could go and leave one of each group.
        opposite: Pairs of the same shape and the other sign, which is no fault before a rectifier.
        cosine: From which two filters count as twins: 0.95, or more where filters of so few
            weights are that alike by chance.
    """

    pairs: tuple[tuple[int, int, float], ...]
    groups: tuple[tuple[int, ...], ...]
    redundant: int
    opposite: int
    cosine: float


@dataclass(frozen=True)
class Spectrum(Record):
    """Which spatial frequencies the filters that look at the pixels answer to.

    Attributes:
        frequency: Radial frequencies, in cycles per pixel.
        density: The mean filter's power at each of them, each filter scaled to power 1 beforehand;
            a bank of random numbers has density 1 everywhere.
        shares: The shares of that power in the bands low, mid, high (`BANDS`).
        tuned: How many filters have their peak in each band.
        peak: The peak frequency of each filter.
        colour: The share of the filters' energy that is not the same in all three planes.
        noise: Filters as flat as random numbers; None where filters are too small to tell.
    """

    frequency: tuple[float, ...]
    density: tuple[float, ...]
    shares: tuple[float, float, float]
    tuned: tuple[int, int, int]
    peak: tuple[float, ...]
    colour: float
    noise: tuple[int, ...] | None


def strength_of(network: Network, layer: str) -> Strength:
    """Source: Zeiler & Fergus 2014, §3 and Fig. 5(a): a few filters dominate."""
    weight = _weight(network.nodes[layer])
    rms = weight.flatten(1).square().mean(1).sqrt()
    norm = _batch_norm(network, layer)
    strength = rms if norm is None else _own_scale(norm)
    energy = strength.square().sort(descending=True).values
    total, middle = float(energy.sum()), float(strength.median())
    top = math.ceil(TOP_SHARE * len(energy))
    ranks = torch.arange(len(energy), 0, -1, dtype=energy.dtype)  # the largest has rank K
    gini = 2 * float((ranks * energy).sum()) / (len(energy) * total) if total else 1.0
    return Strength(
        rms=tuple(rms.tolist()),
        strength=tuple(strength.tolist()),
        normalised=norm is not None,
        ratio=float(strength.max()) / middle if middle else 0.0,
        top_share=float(energy[:top].sum()) / total if total else 0.0,
        gini=max(0.0, gini - (len(energy) + 1) / len(energy)),
        above_radius=int((rms > RADIUS).sum()),
    )


def twins_of(node: Node) -> Twins:
    """The filters of a convolution that are the same up to a positive factor."""
    weight = _weight(node).flatten(1)
    count, groups = len(weight), int(node.settings["groups"])
    each = count // groups
    length = weight.norm(dim=1)
    alive = length > 1e-6 * length.max().clip(min=1e-30)
    unit = weight / length.clip(min=1e-30)[:, None] * alive[:, None]
    limit = _twin_cosine(weight.shape[1], groups * each * (each - 1) // 2)
    pairs: list[tuple[int, int, float]] = []
    opposite = 0
    for start in range(0, count, each):
        part = unit[start : start + each]
        cosine = (part @ part.T).triu(1)
        for i, j in (cosine > limit).nonzero().tolist():
            pairs.append((start + i, start + j, float(cosine[i, j])))
        opposite += int((cosine < -limit).sum())
    pairs.sort(key=lambda pair: (-round(pair[2], 6), pair[:2]))  # copies are alike but for rounding
    families = _families(pairs)
    redundant = sum(len(family) - 1 for family in families)
    return Twins(tuple(pairs), families, redundant, opposite, limit)


def filter_spectrum(node: Node, *, noise: bool = True) -> Spectrum:
    """Compute the spectrum of the filters of a layer that looks at the pixels.

    Args:
        node: The layer's convolution, with filters (K, 3, h, w).
        noise: Whether to ask which filters are no more than noise.
    """
    weight = _weight(node)
    spectrum = power(weight)
    radius = _radius()
    whole = spectrum.sum((1, 2)).clip(min=1e-30)
    scaled = spectrum / whole[:, None, None]
    bands = [(radius >= low) & (radius < high) for _, low, high in BANDS]
    shares = [float(scaled[:, band].sum(1).mean()) for band in bands]
    peak = radius.flatten()[spectrum.flatten(1).argmax(1)]
    edges = torch.linspace(0, 0.5, RINGS + 1, dtype=torch.float64)
    rings = [(radius >= low) & (radius < high) for low, high in itertools.pairwise(edges)]
    density = [float(scaled[:, ring].mean()) * GRID * GRID for ring in rings]
    grey = weight.mean(1).square().sum() * weight.shape[1]
    return Spectrum(
        frequency=tuple(((edges[1:] + edges[:-1]) / 2).tolist()),
        density=tuple(density),
        shares=(shares[0], shares[1], shares[2]),
        tuned=_counts(peak),
        peak=tuple(peak.tolist()),
        colour=1 - float(grey / weight.square().sum().clip(min=1e-30)),
        noise=_noise(weight) if noise else None,
    )


def folded(node: Node) -> Tensor:
    """(K,) the share of each map's answer to natural images that its stride folds over.

    A stride of s keeps frequencies up to 1 / (2 s) cycles per pixel along its axis. What lies
    beyond comes back as a lower frequency that the image does not hold. Natural images have a
    power of 1 / f² (Field 1987), and a map's answer has that times its filter's own.
    """
    natural = 1 / _radius().square()
    natural[0, 0] = 0.0  # the mean, which preprocessing takes off
    answer = power(_weight(node)) * natural
    stride = (int(node.settings["stride"][0]), int(node.settings["stride"][1]))
    beyond = answer[:, beyond_nyquist((GRID, GRID), stride)].sum(1)
    return beyond / answer.sum((1, 2)).clip(min=1e-30)


def beyond_nyquist(extent: tuple[int, int], stride: tuple[int, int]) -> Tensor:
    """bool (H, W) of an FFT of that extent: frequencies that a stride (rows, columns) folds."""
    rows, columns = (
        torch.fft.fftfreq(n, dtype=torch.float64).abs() > 1 / (2 * step) + 1e-9
        for n, step in zip(extent, stride, strict=True)
    )
    return rows[:, None] | columns[None, :]


def power(weight: Tensor) -> Tensor:
    """(K, GRID, GRID) of filters (K, C, h, w): squared size of the FFT, summed over channels."""
    return torch.fft.fft2(weight, s=(GRID, GRID)).abs().square().sum(1)


def _radius() -> Tensor:
    axis = torch.fft.fftfreq(GRID, dtype=torch.float64)
    return torch.hypot(axis[:, None], axis[None, :])


def _counts(peak: Tensor) -> tuple[int, int, int]:
    low, mid, high = (int(((peak >= a) & (peak < b)).sum()) for _, a, b in BANDS)
    return low, mid, high


def _noise(weight: Tensor) -> tuple[int, ...] | None:
    """Filters whose spectrum is as flat as that of random numbers."""
    limit = noise_flatness(*(int(n) for n in weight.shape[1:]))
    if limit is None:
        return None
    return tuple((_flatness(weight) > limit).nonzero().flatten().tolist())


@cache
def noise_flatness(channels: int, height: int, width: int) -> float | None:
    """The flatness that 95 of 100 random filters of that shape exceed; none below 5 x 5."""
    if min(height, width) < 5:
        return None  # so few frequencies that an edge may be as flat as noise
    generator = torch.Generator().manual_seed(0)
    shape = (RANDOM_FILTERS, channels, height, width)
    drawn = torch.randn(shape, generator=generator, dtype=torch.float64)
    return float(_flatness(drawn).quantile(NOISE_QUANTILE))


def _flatness(weight: Tensor) -> Tensor:
    """(K,) geometric over arithmetic mean of each filter's power: near 1 if white, 0 if a wave."""
    spectrum = torch.fft.fft2(weight).abs().square().sum(1).flatten(1)
    spectrum = spectrum + 1e-12 * spectrum.amax(1, keepdim=True).clip(min=1e-30)
    return spectrum.log().mean(1).exp() / spectrum.mean(1)


def _twin_cosine(length: int, pairs: int) -> float:
    """0.95, or the cosine that random filters of so many weights reach in 0.01 pairs."""
    for cosine in (TWIN_COSINE, 0.99, 0.999):
        if pairs * _chance(cosine, length) <= CHANCE_PAIRS:
            return cosine
    return 0.9999


def _chance(cosine: float, length: int) -> float:
    """How likely two random directions of that many dimensions are that alike, or more."""
    if length < 2:
        return 0.5
    angle = torch.linspace(0, math.pi, 20_001, dtype=torch.float64)
    height = angle.sin().pow(length - 2)  # of angles between two random directions
    return float(height[angle <= math.acos(cosine)].sum() / height.sum())


def _families(pairs: list[tuple[int, int, float]]) -> tuple[tuple[int, ...], ...]:
    """What pairs join, each family in order."""
    family: dict[int, set[int]] = {}
    for i, j, _ in pairs:
        joined = family.get(i, {i}) | family.get(j, {j})
        family.update(dict.fromkeys(joined, joined))
    return tuple(sorted({tuple(sorted(members)) for members in family.values()}))


def _weight(node: Node) -> Tensor:
    """float64 (K, C, h, w) on the CPU."""
    return node.tensors["weight"].detach().double().cpu()


def _own_scale(norm: Node) -> Tensor:
    """|scale| of a batch norm's maps: the spread that it gives them."""
    if "weight" in norm.tensors:
        return norm.tensors["weight"].detach().double().cpu().abs()
    return torch.ones_like(batch_norm_scale_shift(norm)[0], dtype=torch.float64, device="cpu")


def _batch_norm(network: Network, layer: str) -> Node | None:
    """The batch norm between a convolution and its activation."""
    at = network.nodes[network.activation(layer)]
    while at.name != layer:
        if at.op.scale_shift is not None:
            return at
        at = network.nodes[at.inputs[0]]
    return None
