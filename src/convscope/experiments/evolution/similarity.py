"""How near the maps of a network are to what they are at the end: their projections and filters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain

import torch
from torch import Tensor
from torch.nn import functional as F

from convscope.experiments.evolution.kept import OpenedEpoch
from convscope.experiments.evolution.winners import Sight, Winners
from convscope.methods.project import project
from convscope.network.network import Network
from convscope.network.unit import Unit

__all__ = ["filter_distances", "projection_cosines"]

DIGITS = 6
SMALLEST = 1e-30  # a product of norms below it: nothing is there to compare, and the cosine is 0


def projection_cosines(
    now: OpenedEpoch,
    end: OpenedEpoch,
    sight: Sight,
    winners: Mapping[str, Winners],
    channels: Mapping[str, Sequence[int]],
) -> dict[str, list[float]]:
    """By layer, each map's projection now against the end's: their cosine, from -1 to 1.

    Both are of the same unit in the same image, where the map is strongest at the end, so that the
    two lie on each other pixel by pixel. A unit that is silent now projects to nothing: 0.

    Args:
        now, end: the network at an epoch, and at the end.
        sight: how it is looked at; its processes share the images.
        winners: at the end, by layer.
        channels: the maps to compare.

    Returns:
        Whole in the first process.

    Raises:
        NonFinite: a unit is NaN or infinite.
    """
    wanted: dict[int, list[tuple[str, int, Unit]]] = {}  # by image
    for name, chosen in channels.items():
        for place, channel in enumerate(chosen):
            unit = _unit(end.network, sight.activations[name], channel, winners[name])
            entry = (name, place, unit)
            wanted.setdefault(int(winners[name].image[channel]), []).append(entry)
    own: list[tuple[str, int, float]] = []
    total = sum(map(len, wanted.values()))
    for images, entries in sight.batches(now, wanted):
        rows = [row for row, _ in entries]
        units = [unit for _, (_, _, unit) in entries]
        a, b = (_projections(subject, images, units, rows, sight) for subject in (now, end))
        for (_, (name, place, _)), cosine in zip(entries, _cosines(a, b), strict=True):
            own.append((name, place, cosine))
        sight.progress(f"epoch {now.epoch}: similarity", len(own), total)
    found = {name: [0.0] * len(chosen) for name, chosen in channels.items()}
    for name, place, cosine in chain.from_iterable(sight.ranks.gathered(own)):
        found[name][place] = cosine
    return found


def filter_distances(
    now: OpenedEpoch, end: OpenedEpoch, channels: Mapping[str, Sequence[int]]
) -> dict[str, list[float]]:
    """By layer, each map's filter now against the end's: the squared distance of their weights.

    Layers without a filter for each map are left out.
    """
    found = {}
    for name, chosen in channels.items():
        a, b = (subject.network.nodes[name].tensors.get("weight") for subject in (now, end))
        if a is None or b is None or len(a) != end.network.layer(name).channels or a.dim() < 2:
            continue
        change = (a.detach()[list(chosen)].double() - b.detach()[list(chosen)].double()).flatten(1)
        found[name] = change.square().sum(1).tolist()
    return found


def _projections(
    subject: OpenedEpoch, images: Tensor, units: list[Unit], rows: list[int], sight: Sight
) -> Tensor:
    trace = subject.network.trace(images, [])  # it runs as far as it is asked
    return project(trace, units, sight.rules, images=rows).projection


def _cosines(a: Tensor, b: Tensor) -> list[float]:
    """Row by row."""
    a, b = (each.double().flatten(1) for each in (a, b))
    cosines: Tensor = F.cosine_similarity(a, b, dim=1, eps=SMALLEST)
    return [round(cosine, DIGITS) for cosine in torch.clamp(cosines, -1, 1).tolist()]


def _unit(network: Network, activation: str, channel: int, winners: Winners) -> Unit:
    """A map's winner; a layer without a grid has units without a position."""
    on_grid = len(network.layer(activation).shape) == 3
    return Unit(activation, channel, *(winners.place(channel) if on_grid else ()))
