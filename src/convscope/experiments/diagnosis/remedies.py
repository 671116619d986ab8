"""A remedy applied: from what a diagnosis proposes to the architecture and recipe that have it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from convscope.errors import BadOption
from convscope.experiments.diagnosis.filters import RADIUS
from convscope.experiments.diagnosis.findings import Finding, Kind, Remedy, Severity
from convscope.network.architectures import Architecture, Convolution
from convscope.training.recipe import Recipe

__all__ = ["Change", "remedied"]

SHRINK = 7 / 11  # paper §4.1; the nearest odd size, so that 7 becomes 5, and 5 becomes 3
SMALLEST = 3


@dataclass(frozen=True)
class Change:
    """What a remedy turns an architecture and a recipe into.

    applied : what was done, a phrase each, none if nothing was;   left : proposed and not done
    """

    architecture: Architecture
    recipe: Recipe
    applied: tuple[str, ...]
    left: tuple[str, ...]


def remedied(architecture: Architecture, recipe: Recipe, findings: Sequence[Finding]) -> Change:
    """The network that the findings ask for, at the same training budget.

    A smaller stride of the first layer makes every map above larger; so the second layer takes the
    stride over where it had none, with the padding that leaves the grids above it as they were:
    what makes ZFNet of AlexNet (Fig. 3). A smaller filter has the odd size nearest to 7/11 of the
    old. Duplicates cost a layer as many maps, if they are a fault. A lower learning rate
    or a longer training would change the budget and are left to the user.
    """
    asked = {remedy for finding in findings for remedy in finding.remedies}
    applied: list[str] = []
    new = architecture
    first = architecture.convolutions[0]
    smaller = _smaller(architecture, asked)
    if smaller != first:
        new = _with_first(architecture, smaller)
        applied.append(f"first layer {_spelled(first)} to {_spelled(smaller)}")
        if new.convolutions[1:2] != architecture.convolutions[1:2]:
            applied.append(f"second layer {_spelled(new.convolutions[1])}, so that the rest stays")
    for number, count in _fewer(new, findings).items():
        new = new.with_maps({number: count})
        applied.append(f"layer {number} with {count} maps")
    radius = recipe.radius
    if Remedy.RENORMALISE in asked and radius is None:
        radius = RADIUS
        applied.append(f"filters renormalised to RMS {RADIUS}")
    left = [remedy.said for remedy in Remedy if remedy in asked & _not_ours(radius, recipe)]
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


def _fewer(architecture: Architecture, findings: Sequence[Finding]) -> dict[int, int]:
    layers = {f"conv{layer.number}": layer for layer in architecture.convolutions}
    wanted = {}
    for finding in findings:
        if finding.kind is Kind.TWINS and finding.severity is Severity.FAULT:
            layer = layers[finding.layer]
            count = layer.maps - int(finding.evidence["redundant"])
            wanted[layer.number] = max(layer.groups, count // layer.groups * layer.groups)
    return wanted


def _not_ours(radius: float | None, recipe: Recipe) -> set[Remedy]:
    """Remedies that were not applied, whoever proposed them."""
    kept = {Remedy.LOWER_RATE, Remedy.TRAIN_LONGER}
    if radius is not None and radius == recipe.radius:
        kept.add(Remedy.RENORMALISE)
    return kept


def _spelled(layer: Convolution) -> str:
    return f"{layer.size}x{layer.size}/{layer.stride}"
