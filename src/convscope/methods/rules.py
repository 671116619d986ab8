"""Rules: how a signal crosses each operation downward. A method is a table of them.

Linear operations (convolution, pooling with its switches, sums, concatenation, ...) carry their
adjoint in the op table. A method decides only where the network is not linear:

- GRADIENT takes the derivative everywhere.
- DECONVNET rectifies the signal itself at rectifiers, skips LRN (Zeiler & Fergus 2014,
  §2.1), and crosses other normalisations by their scale alone.
- GUIDED does both at rectifiers (Springenberg et al. 2015, §3.4).
- GRADIENT_X_INPUT, DEEPLIFT, LRP_EPSILON and LRP_GAMMA share a value out among the pixels
  (`methods/shares.py`): what arrives there is multiplied by the image.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

import torch
from torch import Tensor

from convscope.display import Brief
from convscope.errors import BadOption, UnsupportedOp
from convscope.methods.shares import (
    WHOLE_MAPS,
    halved,
    pass_function,
    pass_on,
    refuse_sharing,
    rescale_function,
    rescale_quotient,
    share_by_epsilon,
    share_by_gamma,
    share_maxima,
    share_numerator,
    share_product,
    share_rescaled,
)
from convscope.network.node import Node, Rule, Saved, WindowRule
from convscope.network.ops import OPS
from convscope.network.ops.elementwise import RECTIFIERS as SMOOTH_RECTIFIERS
from convscope.network.ops.normalising import lrn_gradient
from convscope.network.ops.shared import derivative, no_signal

__all__ = [
    "DECONVNET",
    "DEEPLIFT",
    "GRADIENT",
    "GRADIENT_X_INPUT",
    "GUIDED",
    "LRP_EPSILON",
    "LRP_GAMMA",
    "RULES",
    "InitialSignal",
    "Rules",
    "derivative",
    "gate_by_input",
    "rectify",
    "rectify_derivative",
    "rectify_gated",
    "rules_named",
    "skip",
    "statistics_given",
    "unpool_overwriting",
]

RECTIFIERS = (
    "relu", "hardtanh", "leaky_relu", "elu", "silu", "mish", "gelu", "hardswish",
    *SMOOTH_RECTIFIERS,
)  # fmt: skip
"""Nonlinearities that let positive values pass: these the deconvnet replaces by a rectification."""


class InitialSignal(Enum):
    """What the downward walk starts with, at the unit in question."""

    ACTIVATION = "activation"
    """Its activation, all others set to zero (the paper's deconvnet)."""
    ONE = "one"
    """One: the result is a derivative."""


@dataclass(frozen=True, eq=False)
class Rules(Brief):
    """A method of projection: a rule per kind of operation that differs from its adjoint.

    Where Captum offers the same method, its result is that of `seed` InitialSignal.ONE.

    Attributes:
        name: What `--rules` and the pages call it.
        table: The rule of each kind of operation; where there is none, the adjoint is taken.
        seed: What the walk down starts with at the unit.
        times_image: Whether what arrives at the pixels is multiplied by the preprocessed image.

    Example:
        >>> absolute = convscope.DECONVNET.replace(
        ...     {"relu": lambda node, signal, saved: (signal.abs(),)}, name="absolute"
        ... )
        >>> convscope.project(trace, "conv2/3", absolute).shape
        (3, 32, 32)
    """

    name: str
    table: Mapping[str, Rule]
    seed: InitialSignal
    times_image: bool = False

    def __getitem__(self, node: Node) -> Rule:
        """Return the rule for a node: the table's, or else its operation's adjoint.

        Raises:
            UnsupportedOp: Neither this table nor the op table says what to do.
        """
        rule = self.table.get(node.kind, node.op.adjoint)
        if rule is None:
            raise UnsupportedOp(
                f"{self.name} has no rule for {node.kind} (layer {node.name!r}): "
                f"give it one with rules.replace({{{node.kind!r}: rule}})"
            )
        return rule

    def on_window(self, node: Node) -> WindowRule | None:
        """Return the rule for signals in windows; None where the method needs whole maps.

        A rule for a pointwise node serves both. Elsewhere windows know the operation's adjoint.

        Args:
            node: The node to be crossed.
        """
        rule = self[node]
        if rule in WHOLE_MAPS:
            return None
        if node.pointwise:
            return rule
        return node.op.adjoint_on_window if rule is node.op.adjoint else None

    def looks(self, node: Node) -> bool:
        """Whether the rule for a node looks at what the forward pass saved there.

        Args:
            node: The node to be crossed.
        """
        rule = self[node]
        return node.op.adjoint_looks(node) if rule is node.op.adjoint else rule not in BLIND

    def replace(
        self,
        changes: Mapping[str, Rule],
        *,
        name: str | None = None,
        seed: InitialSignal | None = None,
        times_image: bool | None = None,
    ) -> Rules:
        """Make a method that is the same but for some rules.

        Args:
            changes: The new rules, by kind of operation.
            name: Of the new method; by default the old one's.
            seed: What the walk down starts with; by default the same.
            times_image: Whether the result is multiplied by the image; by default the same.

        Example:
            >>> convscope.DECONVNET.replace({"lrn": gate_by_input}, name="mine").name
            'mine'
        """
        times = self.times_image if times_image is None else times_image
        return Rules(name or self.name, {**self.table, **changes}, seed or self.seed, times)

    def __str__(self) -> str:
        return self.name

    def __repr__(self) -> str:
        return f"Rules({self.name}: {len(self.table)} rules, starts with {self.seed.value})"


def gate_by_input(node: Node, signal: Tensor, saved: Saved) -> tuple[Tensor, ...]:
    """relu's derivative: pass where the forward input was positive."""
    # what autograd calls: a third of the time of a product with a mask
    return (torch.ops.aten.threshold_backward(signal, saved.input(), 0),)


def rectify(node: Node, signal: Tensor, saved: Saved) -> tuple[Tensor, ...]:
    """Pass what is positive in the signal, whatever the forward pass did."""
    return (torch.relu(signal),)


def rectify_derivative(node: Node, signal: Tensor, saved: Saved) -> tuple[Tensor, ...]:
    """Both: the derivative, of what is positive in the signal."""
    return derivative(node, torch.relu(signal), saved)


def rectify_gated(node: Node, signal: Tensor, saved: Saved) -> tuple[Tensor, ...]:
    """The same at relu, whose derivative is a gate."""
    return gate_by_input(node, torch.relu(signal), saved)


def skip(node: Node, signal: Tensor, saved: Saved) -> tuple[Tensor, ...]:
    """Pass the signal unchanged, as if the operation were not there."""
    return (signal,)


def statistics_given(node: Node, signal: Tensor, saved: Saved) -> tuple[Tensor, ...]:
    """Cross a normalisation by its scale alone, as if the image's statistics were stored ones."""
    assert node.op.own_scale is not None
    return (signal * node.op.own_scale(node, saved.input()),)


BLIND = (rectify, skip, no_signal)
"""Rules that look at the signal alone."""


def unpool_overwriting(node: Node, signal: Tensor, saved: Saved) -> tuple[Tensor, ...]:
    """Unpool where the strongest of the values that share a switch wins, instead of their sum.

    `torch.nn.functional.max_unpool2d` keeps an arbitrary one of them; this is its deterministic
    form, for comparison.
    """
    rows, columns = node.below[0][-2:]
    below = signal.new_zeros((*signal.shape[:-2], rows * columns))
    switches, values = saved.switches().flatten(-2), signal.flatten(-2)
    below.scatter_reduce_(-1, switches, values, "amax", include_self=False)
    return (below.unflatten(-1, (rows, columns)),)


_NORMS = ("layer_norm", "rms_norm", "group_norm", "instance_norm")
"""Normalisations by the image's own statistics: these the deconvnet takes as given, as if
they were stored ones, as a batch norm's are."""
_OTHERS = ("sigmoid", "hardsigmoid", "tanh", "softmax", "log_softmax")
"""Gates and outputs: no rectifiers, so every method takes their derivative."""

GRADIENT = Rules(
    "gradient",
    {
        **dict.fromkeys((*RECTIFIERS, *_NORMS, *_OTHERS), derivative),
        "relu": gate_by_input,
        "detach": no_signal,
        "lrn": lrn_gradient,
    },
    InitialSignal.ONE,
)
DECONVNET = GRADIENT.replace(
    {
        **dict.fromkeys(RECTIFIERS, rectify),
        **dict.fromkeys(_NORMS, statistics_given),
        "lrn": skip,
        "detach": skip,
    },
    name="deconvnet",
    seed=InitialSignal.ACTIVATION,
)
GUIDED = GRADIENT.replace(
    {**dict.fromkeys(RECTIFIERS, rectify_derivative), "relu": rectify_gated}, name="guided"
)

GRADIENT_X_INPUT = GRADIENT.replace({}, name="gradient-x-input", times_image=True)

_NONLINEAR = {op.kind: op.elementwise for op in OPS if op.adjoint in (None, derivative)}
"""Kinds that are not linear, and whether they work number by number."""
_CHOOSING = ("amax", "amin", "fmax", "fmin", "maximum", "minimum", "where", "masked_fill")
"""Values that are passed on as they are, one or another of them: their derivative shares out."""
_MAXIMA = ("max_pool", "max_pool1d", "adaptive_max_pool", "amax")

DEEPLIFT = Rules(
    "deeplift",
    {
        **{k: rescale_function if each else refuse_sharing for k, each in _NONLINEAR.items()},
        **dict.fromkeys(_CHOOSING, refuse_sharing),
        **dict.fromkeys(_MAXIMA, share_maxima),
        "mul": share_product,
        "matmul": share_product,
        "div": rescale_quotient,
        "lrn": share_rescaled,
        "detach": skip,
    },
    InitialSignal.ONE,
    times_image=True,
)
LRP_EPSILON = Rules(
    "lrp-epsilon",
    {
        **{k: pass_function if each else refuse_sharing for k, each in _NONLINEAR.items()},
        **dict.fromkeys(_CHOOSING, derivative),
        **dict.fromkeys(_NORMS, statistics_given),
        **dict.fromkeys(("conv", "conv_transposed", "linear"), share_by_epsilon),
        **dict.fromkeys(("mul", "matmul"), halved),
        "relu": gate_by_input,
        "div": share_numerator,
        "lrn": pass_on,
        "detach": skip,
    },
    InitialSignal.ONE,
    times_image=True,
)
LRP_GAMMA = LRP_EPSILON.replace({"conv": share_by_gamma}, name="lrp-gamma")

RULES = {
    rules.name: rules
    for rules in (
        DECONVNET, GRADIENT, GUIDED, GRADIENT_X_INPUT, DEEPLIFT, LRP_EPSILON, LRP_GAMMA,
    )
}  # fmt: skip


def rules_named(name: str) -> Rules:
    """Return the method of projection of a name in RULES.

    Args:
        name: deconvnet, gradient, guided, gradient-x-input, deeplift, lrp-epsilon or lrp-gamma.

    Raises:
        BadOption: There is no method of that name; the message lists them.

    Example:
        >>> rules_named("guided") is convscope.GUIDED
        True
    """
    if name not in RULES:
        raise BadOption(f"no rules named {name!r}: choose one of {', '.join(RULES)}")
    return RULES[name]
