"""Objectives of an inversion: to answer as an image does, and to look like one.

Each is a number for each picture, to be made small: subtract it. The priors count in levels of
0 to 255 around mid-grey, whatever numbers the network takes.
"""

from __future__ import annotations

from torch import Tensor

from convscope.methods.ascent.objectives import Objective, Values
from convscope.methods.ascent.parametrisations import Canvas
from convscope.network.from_export import INPUT

__all__ = ["alpha_norm", "from_levels", "levels", "mismatch", "total_variation"]

WHITE = 255.0


def levels(canvas: Canvas, images: Tensor) -> Tensor:
    """Bring the network's numbers to levels around mid-grey, -127.5 (black) to 127.5 (white)."""
    return WHITE * (canvas.shares(images) - 0.5)


def from_levels(canvas: Canvas, values: Tensor) -> Tensor:
    """The way back from levels to the network's numbers."""
    return canvas.preprocessed(values / WHITE + 0.5)


def mismatch(layer: str, features: Tensor) -> Objective:
    """How far a layer's values are from those of an image: ‖Φ(x) - Φ₀‖² / ‖Φ₀‖².

    Args:
        layer: The layer.
        features: Φ₀, its values in that image, not all of them zero.

    Shape:
        features: the layer's.
    """
    norm = features.square().sum()

    def value(values: Values) -> Tensor:
        return (values[layer] - features).flatten(1).square().sum(1) / norm

    return Objective(f"‖Φ - Φ₀‖²/‖Φ₀‖² of {layer}", (layer,), value)


def total_variation(weight: float, canvas: Canvas) -> Objective:
    """The squared differences of neighbouring pixels' levels, added up, times a weight.

    Args:
        weight: Of the sum.
        canvas: Whose colours the pictures have.

    Source:
        Mahendran & Vedaldi 2015, eq. 3: the norm V with β = 2, which they take for networks.
    """

    def value(values: Values) -> Tensor:
        pixels = levels(canvas, values[INPUT])
        down, across = pixels.diff(dim=-2), pixels.diff(dim=-1)
        both = down.square().sum((1, 2, 3)) + across.square().sum((1, 2, 3))
        return weight * both

    return Objective(f"{weight:g} TV", (), value)


def alpha_norm(weight: float, canvas: Canvas, alpha: int = 6) -> Objective:
    """The levels to a high even power, added up, times a weight: it bounds them softly.

    Args:
        weight: Of the sum.
        canvas: Whose colours the pictures have.
        alpha: The power.

    Source:
        Mahendran & Vedaldi 2015, §2, with α = 6.
    """

    def value(values: Values) -> Tensor:
        return weight * levels(canvas, values[INPUT]).pow(alpha).flatten(1).sum(1)

    return Objective(f"{weight:g} ‖x‖_{alpha}^{alpha}", (), value)
