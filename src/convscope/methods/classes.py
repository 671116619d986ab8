"""A network's output as scores of classes: probabilities, log-odds, and what is refused."""

from __future__ import annotations

import torch
from torch import Tensor

from convscope.errors import BadInput, BadOption
from convscope.network.exported import Network
from convscope.network.hidden import PROBABILITIES
from convscope.network.reader import INPUT

__all__ = [
    "as_probabilities", "check_classifies", "check_target", "ends_in_probabilities", "log_odds_of",
]  # fmt: skip

LEAST = 2.0**-24
"""What float32 tells a probability from 1 by."""


def as_probabilities(network: Network, output: Tensor) -> Tensor:
    """Each class's probability, of the network's output (..., classes)."""
    return output if ends_in_probabilities(network) else output.softmax(-1)


def ends_in_probabilities(network: Network) -> bool:
    """Whether the output is a softmax or sigmoid, with nothing after it but reshaping."""
    node = network.nodes[network.output]
    while node.op.passes_through or node.kind in ("flatten", "view"):
        if node.inputs[0] == INPUT:
            return False
        node = network.nodes[node.inputs[0]]
    return node.kind in PROBABILITIES


def log_odds_of(output: Tensor, target: int, normalised: bool) -> Tensor:
    """(..., classes) -> (...), float64. A class that is alone has p = 1 always: 0 is said of it."""
    output = output.double()
    if normalised:
        share = output[..., target].clip(LEAST, 1 - LEAST)
        return share.log() - (-share).log1p()
    others = torch.cat([output[..., :target], output[..., target + 1 :]], -1)
    if not others.shape[-1]:
        return torch.zeros_like(output[..., target])
    return output[..., target] - others.logsumexp(-1)


def check_classifies(network: Network) -> None:
    """Raises  BadInput: the network ends in maps, not in classes."""
    layer = network.layer(network.output)
    if layer.grid != (1, 1):
        size = "x".join(map(str, layer.shape))
        raise BadInput(
            f"the network ends in {layer.name!r}, {size}, and not in a score per class: "
            "open a network that classifies, or sweep with classify=False"
        )


def check_target(network: Network, target: int) -> None:
    """Raises  BadOption: there is no such class;  BadInput: there are no classes."""
    check_classifies(network)
    classes = network.layer(network.output).channels
    if not 0 <= target < classes:
        raise BadOption(f"target {target}: the network has classes 0 to {classes - 1}")
