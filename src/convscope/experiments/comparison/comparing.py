"""From two networks and one set of images to what they have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from convscope.errors import BadData, BadOption
from convscope.experiments.comparison.matching import (
    assigned,
    chance_level,
    cka,
    cosines,
    map_correlations,
    silent_maps,
)
from convscope.experiments.comparison.result import Comparison, FilterMatch, LayerMatch
from convscope.images.image_set import ImageSet
from convscope.network.network import Network
from convscope.scan.checkpoint import checkpoint_in
from convscope.scan.engine import Scan
from convscope.scan.features import FeatureSettings, FeatureWriter
from convscope.scan.items import made_together
from convscope.scan.strongest import layers_with_maps
from convscope.store.results import Arrays, ResultStore

__all__ = [
    "ComparedNetwork",
    "LayerActivations",
    "Matching",
    "activations",
    "compare",
    "layer_pairs",
]

LEAST_IMAGES = 4  # of which debiased CKA can be computed
DIGITS = 6  # of correlations: later ones depend on the machine

Pairs = Sequence[tuple[str, str]]


@dataclass(frozen=True, eq=False)
class LayerActivations:
    """What the maps of some layers answer to every image of a set.

    Attributes:
        layers: layer -> (images, maps).
        readable: which images could be read, (images,).
    """

    layers: Mapping[str, NDArray[np.float32]]
    readable: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class ComparedNetwork:
    """One of the two networks.

    Attributes:
        name: another one than the other's.
        network: it.
        seen: its maps' activations.
        random: whether its weights are random.
    """

    name: str
    network: Network
    seen: LayerActivations
    random: bool = False


@dataclass(frozen=True)
class Matching:
    """How maps are matched.

    Attributes:
        pooling: how a map's activations became one number per image: mean or max.
        least: the correlation that a pair must exceed, besides that of chance.
        draws: shuffles of the images, for chance.
        seed: of the shuffles.
    """

    pooling: str = "mean"
    least: float = 0.5
    draws: int = 99
    seed: int = 0


def layer_pairs(first: Network, second: Network, asked: Sequence[str] | None) -> Pairs:
    """The layers to be compared, in the first network's order.

    Args:
        first: the one network.
        second: the other.
        asked: names of layers that both have, or `A=B` where the second calls A B; None is every
            convolutional layer that both have.

    Raises:
        BadOption: there are none, or one has no feature maps, or one is named twice.
        NoSuchLayer: with the nearest names.
    """
    if asked is None:
        there = set(second.conv_layers(all_outputs=True))
        asked = [name for name in first.conv_layers(all_outputs=True) if name in there]
        if not asked:
            raise BadOption(
                "the networks have no convolutional layer of the same name: say which of them "
                "belong together by --layers A=B,... (`convscope layers` lists them)"
            )
    parted = [name.partition("=") for name in asked]
    partners = {one: other or one for one, _, other in parted}
    if len(partners) < len(parted):
        raise BadOption("--layers: a layer of the first network is named twice")
    layers_with_maps(second, partners.values())
    return [(name, partners[name]) for name in layers_with_maps(first, partners)]


def activations(
    scan: Scan, layers: Sequence[str], pooling: str, results: ResultStore, name: str
) -> LayerActivations:
    """Run all images through a network, and keep one number per map and image.

    Args:
        scan: of the images through the network.
        layers: whose activations, behind their rectifier, are looked at.
        pooling: mean or max, over a map's positions.
        results: where they are kept; they are read if they are there.
        name: under which they are kept.

    Returns:
        The activations, in every process.

    Raises:
        NonFinite: a layer is NaN or infinite.
    """
    network, count, how = scan.network, len(scan.images), FeatureSettings(pooling)
    nodes = {layer: network.activation(layer) for layer in layers}
    commits = checkpoint_in(results, name)

    def looked_at() -> Arrays:
        tables = {
            node: np.zeros((count, how.length_of(network, node)), how.dtype)
            for node in nodes.values()
        }
        writer = FeatureWriter(
            network, scan.images, tuple(tables), how, tables if scan.ranks.first else None
        )
        scan.run(writer, commits=commits)
        readable = np.ones(count, bool)
        readable[list(writer.unread)] = False
        filled = writer.tables or {}
        return {"readable": readable, **{layer: filled[node] for layer, node in nodes.items()}}

    kept = made_together(name, looked_at, results, results.arrays, ranks=scan.ranks)
    if commits is not None and scan.ranks.first:
        commits.remove()  # what it found is kept
    return LayerActivations({layer: kept[layer] for layer in layers}, kept["readable"])


def compare(
    first: ComparedNetwork,
    second: ComparedNetwork,
    pairs: Pairs,
    images: ImageSet,
    how: Matching | None = None,
) -> Comparison:
    """Match the maps of each pair of layers, and see how alike all layers are.

    Args:
        first: the one network, and what its maps answer to the images.
        second: the other.
        pairs: the layers whose maps are matched.
        images: that both looked at.
        how: the maps are matched; by default as `Matching` has it.

    Raises:
        BadData: fewer than 4 images could be read.
    """
    how = how or Matching()
    both = first.seen.readable & second.seen.readable
    if int(both.sum()) < LEAST_IMAGES:
        raise BadData(
            f"{int(both.sum())} images of {images.spec} could be read, and {LEAST_IMAGES} are "
            "needed to compare networks"
        )
    one, other = (
        {layer: values[both].astype(np.float64) for layer, values in side.seen.layers.items()}
        for side in (first, second)
    )
    matches = []
    for number, (layer, its) in enumerate(pairs):
        dice = np.random.default_rng([how.seed, number])
        chance = chance_level(one[layer], other[its], how.draws, dice)
        filters = _by_filters(first.network, second.network, layer, its)
        matches.append(_matched((layer, one[layer]), (its, other[its]), chance, how.least, filters))
    return Comparison(
        model=first.name,
        other=second.name,
        data=images.spec,
        images=int(both.sum()),
        pooling=how.pooling,
        layers=tuple(matches),
        cka=tuple(tuple(_alike(one[layer], other[its]) for _, its in pairs) for layer, _ in pairs),
        random=tuple(side.name for side in (first, second) if side.random),
        skipped=tuple(images.name(int(index)) for index in np.flatnonzero(~both)),
    )


def _matched(
    first: tuple[str, NDArray[np.float64]],
    second: tuple[str, NDArray[np.float64]],
    chance: float,
    least: float,
    filters: FilterMatch | None,
) -> LayerMatch:
    """The maps of two layers matched by their activations; each layer with its name."""
    (layer, one), (its, other) = first, second
    silent = tuple(tuple(map(int, np.flatnonzero(silent_maps(each)))) for each in (one, other))
    alike = map_correlations(one, other)
    found = {
        row: (column, round(float(alike[row, column]), DIGITS))
        for row, column in assigned(alike)
        if row not in silent[0] and column not in silent[1]
    }
    partners = [found.get(number, (None, None)) for number in range(len(alike))]
    chance = round(chance, DIGITS)
    return LayerMatch(
        layer=layer,
        other=its,
        partner=tuple(partner for partner, _ in partners),
        correlation=tuple(r for _, r in partners),
        chance=chance,
        level=max(chance, least),
        maps=(one.shape[1], other.shape[1]),
        silent=(silent[0], silent[1]),
        cka=_alike(one, other),
        filters=filters,
    )


def _alike(one: NDArray[np.float64], other: NDArray[np.float64]) -> float | None:
    alike = cka(one, other)
    return None if alike is None else round(alike, DIGITS)


def _by_filters(first: Network, second: Network, layer: str, its: str) -> FilterMatch | None:
    """The match by filters; None where a layer has none, or their shapes differ."""
    nodes = first.nodes[layer], second.nodes[its]
    if not all(node.op.convolves and "weight" in node.tensors for node in nodes):
        return None
    one, other = (node.tensors["weight"].detach().cpu().double() for node in nodes)
    if one.shape != other.shape:
        return None
    alike = cosines(one.flatten(1).numpy(), other.flatten(1).numpy())
    found = assigned(alike)
    return FilterMatch(
        tuple(column for _, column in found),
        tuple(round(float(alike[row, column]), DIGITS) for row, column in found),
    )
