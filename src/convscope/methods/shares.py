"""Rules that share a value out among its causes: DeepLIFT, layer-wise relevance propagation (LRP).

A share is an image's value (less the reference's) times what arrives there, so signals here are
multipliers: what crosses a layer is relevance divided by the layer's value. Written so, every
linear layer keeps its adjoint, and a method differs only in the factor before or after it
(Ancona et al. 2018). Shares add up: over the pixels to the value that was asked for, less what
biases take.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from convscope.errors import UnsupportedOp
from convscope.network.node import Node, Rule, Saved, SavedWithReference
from convscope.network.ops.shared import derivative

__all__ = [
    "WHOLE_MAPS",
    "halved",
    "pass_function",
    "pass_on",
    "refuse_sharing",
    "rescale_function",
    "rescale_quotient",
    "share_by_epsilon",
    "share_by_epsilon_of",
    "share_by_gamma",
    "share_maxima",
    "share_numerator",
    "share_product",
    "share_rescaled",
]

EPSILON = 1e-6
"""Of LRP-ε, as zennit has it."""
GAMMA = 0.25
"""How much more positive weights count (Montavon et al. 2019, figure 10.4)."""
TINY = 1e-9
"""What keeps from dividing by nothing where a method has no epsilon."""
SAME = 1e-6
"""Values that differ by no more are one value: their slope is the derivative (as Captum's)."""


def pass_on(node: Node, signal: Tensor, saved: Saved) -> tuple[Tensor, ...]:
    """An activation hands its relevance on as it is: f(z) / z."""
    value = saved.input()
    return (signal * saved.output() / _stable(value, TINY),)


def halved(node: Node, signal: Tensor, saved: Saved) -> tuple[Tensor, ...]:
    """A product of two values: half of the relevance to each (Achtibat et al. 2024, §3.3.1)."""
    parts = _back(node, signal, saved)
    return tuple(part / 2 for part in parts) if len(parts) == 2 else parts


def share_by_epsilon_of(epsilon: float) -> Rule:
    """LRP-ε: relevance in proportion to what each input adds, weak sums damped.

    Args:
        epsilon: What is added to a value, away from zero, before relevance is divided by it.

    Source:
        Bach et al. 2015, eq. 58; Montavon et al. 2019, §10.2.1.
    """

    def rule(node: Node, signal: Tensor, saved: Saved) -> tuple[Tensor, ...]:
        value = saved.output()
        return _back(node, signal * value / _stable(value, epsilon), saved)

    return rule


share_by_epsilon = share_by_epsilon_of(EPSILON)
"""Where all activations are rectifiers it makes gradient x input
(Ancona et al. 2018)."""


def share_by_gamma(node: Node, signal: Tensor, saved: Saved) -> tuple[Tensor, ...]:
    """LRP-γ: as LRP-ε, but what speaks for a value counts more than what speaks against it.

    Source:
        Montavon et al. 2019, §10.2.1; for inputs below zero Andéol et al. 2021, eq. 14.
    """
    value, image = saved.output(), saved.input()
    above, below = image.clamp(min=0), image.clamp(max=0)
    up, down = _favouring(node, 1.0), _favouring(node, -1.0)
    bare_up, bare_down = _without_bias(up), _without_bias(down)
    speaks_for = up.forward(above) + bare_down.forward(below)
    speaks_against = down.forward(above) + bare_up.forward(below)
    strength = signal * value
    more = torch.where(value > 0, strength / _stable(speaks_for, TINY), 0)
    less = torch.where(value < 0, strength / _stable(speaks_against, TINY), 0)
    of_above = _back(up, more, saved)[0] + _back(down, less, saved)[0]
    of_below = _back(down, more, saved)[0] + _back(up, less, saved)[0]
    return (torch.where(image < 0, of_below, of_above),)


def share_rescaled(node: Node, signal: Tensor, saved: Saved) -> tuple[Tensor, ...]:
    """DeepLIFT's rescale rule: the slope between the reference and the image, not at the image.

    Source:
        Shrikumar et al. 2017, §3.5.1.
    """
    moved = saved.input() - _reference(saved).reference()
    grown = saved.output() - _reference(saved).reference_output()
    [slope] = derivative(node, torch.ones_like(signal), saved)
    same = moved.abs() < SAME
    return (signal * torch.where(same, slope, grown / torch.where(same, 1, moved)),)


def share_maxima(node: Node, signal: Tensor, saved: Saved) -> tuple[Tensor, ...]:
    """A max pooling's difference, split between the image's maximum and the reference's.

    With m the larger of the two maxima, m less the reference's goes to where the image's lies, and
    the image's less m to where the reference's lies, so that the shares add up.

    Source:
        Lundberg & Lee 2017, the rule of DeepSHAP; Shrikumar et al. 2017 has none.
    """
    image, reference = saved.input(), _reference(saved).reference().expand_as(saved.input())
    top, other = saved.output(), _reference(saved).reference_output()
    larger = torch.maximum(top, other)
    given = _to_maxima(node, signal * (larger - other), image)
    given = given + _to_maxima(node, signal * (top - larger), reference)
    moved = image - reference
    same = moved.abs() < SAME
    return (torch.where(same, 0, given / torch.where(same, 1, moved)),)


def share_product(node: Node, signal: Tensor, saved: Saved) -> tuple[Tensor, ...]:
    """A product of two values: each factor times the mean of the other at image and reference."""
    if len(node.inputs) < 2:
        return _back(node, signal, saved)
    at = [saved.input(i) for i in range(2)]
    means = _Given([(value + _reference(saved).reference(i)) / 2 for i, value in enumerate(at)])
    return derivative(node, signal, means)  # type: ignore[arg-type]


def refuse_sharing(node: Node, signal: Tensor, saved: Saved) -> tuple[Tensor, ...]:
    """An operation over which no shares that add up are known.

    Raises:
        UnsupportedOp: Always.
    """
    raise UnsupportedOp(
        f"there is no rule that shares out what {node.kind} (layer {node.name!r}) answers: use "
        "rules gradient, or gradient-x-input"
    )


def pass_function(node: Node, signal: Tensor, saved: Saved) -> tuple[Tensor, ...]:
    """As `pass_on`, of a function of one value; of several, nothing that adds up is known."""
    return (pass_on if len(node.inputs) == 1 else refuse_sharing)(node, signal, saved)


def rescale_function(node: Node, signal: Tensor, saved: Saved) -> tuple[Tensor, ...]:
    """As `share_rescaled`, of a function of one value; of several nothing that adds up is known."""
    return (share_rescaled if len(node.inputs) == 1 else refuse_sharing)(node, signal, saved)


def share_numerator(node: Node, signal: Tensor, saved: Saved) -> tuple[Tensor, ...]:
    """A quotient of two values: all to what is divided; what divides it is taken as given."""
    numerator, *others = _back(node, signal, saved)
    return (numerator, *map(torch.zeros_like, others))


def rescale_quotient(node: Node, signal: Tensor, saved: Saved) -> tuple[Tensor, ...]:
    """A quotient by what is stored is linear; of two values nothing that adds up is known."""
    return (_back if len(node.inputs) == 1 else refuse_sharing)(node, signal, saved)


WHOLE_MAPS = (share_rescaled, rescale_function, share_product)
"""Rules for single numbers that look at a reference, which is at hand over whole maps alone."""


def _reference(saved: Saved) -> SavedWithReference:
    assert isinstance(saved, SavedWithReference)
    return saved


class _Given:
    """Values in place of those of a forward pass."""

    def __init__(self, values: list[Tensor]) -> None:
        self.values = values

    def input(self, index: int = 0) -> Tensor:
        return self.values[index]


def _back(node: Node, signal: Tensor, saved: Saved) -> tuple[Tensor, ...]:
    """The operation's own adjoint."""
    assert node.op.adjoint is not None
    return node.op.adjoint(node, signal, saved)


def _stable(value: Tensor, much: float | Tensor) -> Tensor:
    """A value moved away from zero."""
    return torch.where(value >= 0, value + much, value - much)


def _favouring(node: Node, sign: float) -> Node:
    """The same layer, its weights of one sign counted more."""
    tensors = {
        key: tensor + GAMMA * (sign * tensor).clamp(min=0) * sign
        for key, tensor in node.tensors.items()
    }
    return replace(node, tensors=tensors)


def _without_bias(node: Node) -> Node:
    return replace(node, tensors={"weight": node.tensors["weight"]})


def _to_maxima(node: Node, signal: Tensor, value: Tensor) -> Tensor:
    """Each number to where the largest value of its pooling region lies."""
    [below] = derivative(node, signal, _Given([value]))  # type: ignore[arg-type]
    return below
