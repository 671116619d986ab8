"""Whose a picture is: as alike as those of other units, and as that of a network never trained.

Two units of one place, and the same answer of a network whose weights are drawn anew layer by
layer: where a method's pictures hardly differ, they show the image, and not the unit or what the
network has learned. And whether the unit falls where its picture points.

Sixt et al. 2020; Adebayo et al. 2018; Nie et al. 2018.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from statistics import fmean
from typing import Any

import torch

from convscope.experiments.sanity.pointing import RULES
from convscope.methods.checks import picture_correlations
from convscope.methods.contrastive import NEIGHBOURS, strong_neighbours
from convscope.methods.masking import place_score, strongest_places
from convscope.methods.own_block import with_redrawn
from convscope.methods.project import project
from convscope.methods.relevance import strongest_for_class
from convscope.methods.rules import InitialSignal, Rules
from convscope.network.from_export import INPUT
from convscope.network.graph import Graph
from convscope.network.network import Network
from convscope.network.trace import Trace
from convscope.network.unit import Unit

__all__ = ["redrawn_likeness", "redrawn_steps", "unit_likeness"]

STEPS = 10
"""Networks of more layers are drawn anew in so many steps of several layers."""
SHIFTS = 20
"""Moved copies of a picture's mask that stand for chance."""


def unit_likeness(
    trace: Trace, layer: str, target: int, generator: torch.Generator
) -> dict[str, Any]:
    """Measure the pictures of the unit of a layer that speaks most for a class.

    Args:
        trace: A forward pass over one image.
        layer: The layer.
        target: The class.
        generator: Of the moved masks.

    Returns:
        JSON-able: the `unit`, and by method `alike`, the mean correlation of its picture with those
        of other strong units of its place, `above`, by how much more it falls where the picture
        points than with the mask moved, and `disc`, the same of a centred disc. None is not known.
    """
    unit = strongest_for_class(trace, layer, target)
    others = strong_neighbours(trace, unit, 0, NEIGHBOURS)
    found = {name: _of(trace, [unit, *others], rules, generator) for name, rules in RULES.items()}
    return {"unit": str(unit), **{
        each: {name: values[each] for name, values in found.items()}
        for each in ("alike", "above", "disc")
    }}  # fmt: skip


def _of(
    trace: Trace, units: Sequence[Unit], rules: Rules, generator: torch.Generator
) -> dict[str, float | None]:
    """What is known of the first unit's picture by one method."""
    found = project(trace, units, _bare(rules))
    alike = [
        r for r in picture_correlations(found.fields[0], found.fields[1:]) if not math.isnan(r)
    ]
    picture, there = found.seen_picture(0), None
    if bool(picture.any()):
        there = place_score(
            trace.network, trace[INPUT][0], units[0], strongest_places(picture),
            shifts=SHIFTS, generator=generator,
        )  # fmt: skip
    return {
        "alike": fmean(alike) if alike else None,
        "above": None if there is None else there.above.mean,
        "disc": None if there is None else there.disc,
    }


def redrawn_steps(network: Network) -> list[tuple[str, ...]]:
    """List the layers with weights that the answer depends on, from the top down, in steps."""
    layers = [node.name for node in network.below([network.output]) if node.op.weighs][::-1]
    size = max(1, math.ceil(len(layers) / STEPS))
    return [tuple(layers[i : i + size]) for i in range(0, len(layers), size)]


def redrawn_likeness(
    trace: Trace, target: int, steps: Sequence[Sequence[str]], generator: torch.Generator
) -> dict[str, list[float]]:
    """Correlate a class's picture with those of networks whose weights are drawn anew.

    From the top down, so that after the last step nothing of the network is left.

    Args:
        trace: A forward pass over one image.
        target: The class.
        steps: The layers of each step, see `redrawn_steps`.
        generator: Of the draws.

    Returns:
        By method, a correlation after each step; 0 where a picture has vanished.

    Source:
        Adebayo et al. 2018, "Sanity checks for saliency maps", §4.
    """
    top = trace.network.output
    unit = Unit(top, min(target, trace[top][0].numel() - 1))
    own = {name: project(trace, unit, _bare(rules)).projection[0] for name, rules in RULES.items()}
    found: dict[str, list[float]] = {name: [] for name in RULES}
    for changed, network in _redrawn(trace.network, steps, generator):
        after = trace.under(network, changed)
        for name, rules in RULES.items():
            [r] = picture_correlations(
                own[name], [project(after, unit, _bare(rules)).projection[0]]
            )
            found[name].append(0.0 if math.isnan(r) else r)
    return found


def _redrawn(
    network: Graph, steps: Sequence[Sequence[str]], generator: torch.Generator
) -> Iterator[tuple[list[str], Graph]]:
    changed: list[str] = []
    for layers in steps:
        network = with_redrawn(network, layers, generator)
        changed += layers
        yield changed, network


def _bare(rules: Rules) -> Rules:
    """The method, started with one: what is compared has no strength."""
    return rules.replace({}, seed=InitialSignal.ONE)
