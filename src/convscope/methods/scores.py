"""The score of a class as a target: what is differentiated when one asks why a class was told."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from convscope.methods.classes import Head
from convscope.methods.targets import ClassAt, Target, TargetLike, as_target, watched
from convscope.network.network import Network

__all__ = ["score_target"]


def score_target(
    network: Network,
    image: Tensor,
    given: TargetLike | None = None,
    names: Sequence[str] | None = None,
) -> Target:
    """Make a target of a class, in an image.

    It is the class's score before the softmax (Simonyan et al. 2013, §3); of a network that gives
    probabilities, or one number for two classes, the class's log-odds. A class of maps is its mean
    score where it is predicted, as for occlusion.

    Args:
        network: The network.
        image: Preprocessed.
        given: The class, or a function of the output, which stays as it is; None is the class that
            is predicted.
        names: Of the classes, if known.

    Raises:
        BadOption: There is no such class or position.
        BadInput: The answer is neither classes nor values: the target has to be a function.

    Shape:
        image: (C, H, W).

    Example:
        >>> score_target(network, image, 1, ["cat", "dog"]).name
        'dog'
    """
    wish = as_target(given)
    seen = watched(network, image, wish)
    if seen is not None:
        return seen.target
    head = Head.of(network)
    if isinstance(wish, ClassAt):
        index = wish.index
    else:
        with torch.no_grad():
            output = network.values(image, [network.output])[network.output]
        index = int(head.labels(head.vectors(output)))
    name = names[index] if names else f"class {index}"
    if head.single or head.normalised:
        return Target(
            lambda output: head.log_odds(output.reshape(head.outputs), index), name,
            quantity="log-odds",
        )  # fmt: skip
    return Target(lambda output: output.reshape(-1)[index], name, quantity="score")
