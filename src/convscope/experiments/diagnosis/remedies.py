"""A remedy applied: from what a diagnosis proposes to the architecture and recipe that have it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from convscope.errors import BadOption
from convscope.experiments.diagnosis.filters import RADIUS
from convscope.experiments.diagnosis.findings import Finding, FindingKind, Remedy, Severity
from convscope.models.architectures import Architecture, Convolution
from convscope.training.recipe import Recipe

__all__ = ["Change", "remedied"]

SHRINK = 7 / 11  # paper §4.1; the nearest odd size, so that 7 becomes 5, and 5 becomes 3
SMALLEST = 3


@dataclass(frozen=True)
class Change:
    """What remedies turn an architecture and a recipe into.

    Attributes:
        architecture: The changed network.
        recipe: The changed recipe.
        applied: What was done, a phrase each; none if nothing was.
        left: What was proposed and not done, a phrase each, with the layer and its finding.
    """

    architecture: Architecture
    recipe: Recipe
    applied: tuple[str, ...]
    left: tuple[str, ...]


def remedied(
    architecture: Architecture,
    recipe: Recipe,
    findings: Sequence[Finding],
    *,
    notes: bool = False,
) -> Change:
    """Make the network that the faults among the findings ask for, at the same training budget.

    A remedy is applied where its finding was made: filter and stride are made smaller in the first
    layer if the fault is there. A smaller stride makes every map above larger; so the second layer
    takes the stride over where it had none, with the padding that leaves the grids above it as they
    were: what makes ZFNet of AlexNet (Fig. 3). A smaller filter has the odd size nearest to 7/11 of
    the old. Duplicates cost their layer as many maps. Renormalisation holds for all layers, as in
    the paper (§3). A lower learning rate or a longer training would change the budget and are left
    to the user, as are other layers' filters and strides.

    Args:
        architecture: The network that was diagnosed.
        recipe: What it was trained with.
        findings: What the diagnosis found.
        notes: Whether to act on notes, too, and not on faults alone.
    """
    heeded = [finding for finding in findings if notes or finding.severity is Severity.FAULT]
    applied: list[str] = []
    done: set[tuple[str, Remedy]] = set()
    new, first = architecture, architecture.convolutions[0]
    bottom = _name(first)
    asked = {remedy for each in heeded if each.layer == bottom for remedy in each.remedies}
    smaller = _smaller(architecture, asked)
    if smaller != first:
        new = _with_first(architecture, smaller)
        applied.append(f"first layer {_spelled(first)} to {_spelled(smaller)}")
        done |= {(bottom, Remedy.SMALLER_FILTER)} if smaller.size < first.size else set()
        done |= {(bottom, Remedy.SMALLER_STRIDE)} if smaller.stride < first.stride else set()
        if new.convolutions[1:2] != architecture.convolutions[1:2]:
            applied.append(f"second layer {_spelled(new.convolutions[1])}, so that the rest stays")
    for number, count in _fewer(new, heeded).items():
        new = new.with_maps({number: count})
        applied.append(f"layer {number} with {count} maps")
        done.add((f"conv{number}", Remedy.FEWER_MAPS))
    radius = recipe.radius
    if radius is None and any(Remedy.RENORMALISE in each.remedies for each in heeded):
        radius = RADIUS
        applied.append(f"filters renormalised to RMS {RADIUS}")
        done |= {(finding.layer, Remedy.RENORMALISE) for finding in findings}
    left = [
        _proposed(finding, remedy)
        for finding in findings
        for remedy in finding.remedies
        if (finding.layer, remedy) not in done
    ]
    return Change(new, replace(recipe, radius=radius), tuple(applied), tuple(left))


def _smaller(architecture: Architecture, asked: Iterable[Remedy]) -> Convolution:
    """The first layer, with the padding that gives it the grid of the old one, refined."""
    first = architecture.convolutions[0]
    size, stride = first.size, first.stride
    if Remedy.SMALLER_FILTER in asked and size > SMALLEST:
        size = max(SMALLEST, 2 * round((SHRINK * size - 1) / 2) + 1)
    if Remedy.SMALLER_STRIDE in asked and stride > 1:
        stride = stride // 2
    if (size, stride) == (first.size, first.stride):
        return first
    wanted = _side(architecture.input_size, first) * first.stride // stride
    paddings = range((size - 1) // 2 + 1)
    choices = [replace(first, size=size, stride=stride, padding=padding) for padding in paddings]
    return min(choices, key=lambda each: abs(_side(architecture.input_size, each) - wanted))


def _with_first(architecture: Architecture, smaller: Convolution) -> Architecture:
    """The first layer replaced, the second adapted where the stride has changed."""
    first, *above = architecture.convolutions
    name = f"{architecture.name} conv1={smaller.size}/{smaller.stride}"
    changed = replace(architecture, name=name, convolutions=(smaller, *above))
    if smaller.stride == first.stride or not above or above[0].stride != 1:
        return changed
    second = replace(above[0], stride=first.stride // smaller.stride)
    choices = []
    for padding in range(second.size // 2 + 1):
        with suppress(BadOption):  # nothing would be left of the maps
            seconds = replace(second, padding=padding)
            choices.append(replace(changed, convolutions=(smaller, seconds, *above[1:])))
    wanted = _sides(architecture)
    return min(choices, key=lambda each: abs(_sides(each) - wanted), default=changed)


def _side(below: int, layer: Convolution) -> int:
    return (below + 2 * layer.padding - layer.size) // layer.stride + 1


def _sides(architecture: Architecture) -> int:
    """The grid's side above the second layer and its pool."""
    number = architecture.convolutions[1].number
    sides = [side for name, (_, side, _) in architecture.maps() if name.endswith(str(number))]
    return sides[-1]


def _fewer(architecture: Architecture, heeded: Sequence[Finding]) -> dict[int, int]:
    """layer number -> the maps that it keeps, of layers with duplicates"""
    layers = {_name(layer): layer for layer in architecture.convolutions}
    wanted = {}
    for finding in heeded:
        if finding.kind is FindingKind.TWINS:
            layer = layers[finding.layer]
            count = layer.maps - int(finding.evidence["redundant"])
            wanted[layer.number] = max(layer.groups, count // layer.groups * layer.groups)
    return wanted


def _proposed(finding: Finding, remedy: Remedy) -> str:
    """A remedy that was not applied, and where it was asked for."""
    note = ", a note" if finding.severity is Severity.NOTE else ""
    return f"{finding.layer} ({finding.kind}{note}): {remedy.said}"


def _name(layer: Convolution) -> str:
    return f"conv{layer.number}"


def _spelled(layer: Convolution) -> str:
    return f"{layer.size}x{layer.size}/{layer.stride}"
