"""A layer that learns without labels to rebuild its input: a denoising autoencoder."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["Autoencoder"]


class Autoencoder(nn.Module):
    """A convolutional or dense layer, and the same filters turned around.

    A share of the numbers that arrive is set to 0. From what the layer and its rectifier make of
    the rest, the adjoint of the same layer (tied weights) and a bias for each map rebuild the whole
    input. Without corruption and rectifier the best filters span the principal components.

    Args:
        layer: The layer, which learns.
        corruption: The share of its input that is set to 0 while it learns.
        activation: What follows the layer.

    Attributes:
        back: The bias of the rebuilt input, one for each of its maps.

    Shape:
        (N, C, H, W) or (N, C) -> the same.

    Source:
        Vincent et al. 2008, §2.3, with squared errors.

    Example:
        >>> encoder = Autoencoder(nn.Linear(8, 3), corruption=0.25)
        >>> encoder(torch.ones(2, 8), torch.Generator()).shape
        torch.Size([2, 8])
    """

    def __init__(
        self,
        layer: nn.Conv2d | nn.Linear,
        corruption: float = 0.0,
        activation: Callable[[Tensor], Tensor] = F.relu,
    ) -> None:
        super().__init__()
        self.layer, self.corruption, self.activation = layer, corruption, activation
        inputs = layer.in_channels if isinstance(layer, nn.Conv2d) else layer.in_features
        self.back = nn.Parameter(layer.weight.new_zeros(inputs))

    def forward(self, values: Tensor, noise: torch.Generator) -> Tensor:
        """Rebuild values from a corrupted copy of them.

        Args:
            values: What arrives at the layer.
            noise: What is left out is drawn from it; on the values' device.
        """
        kept = values
        if self.corruption:
            drawn = torch.rand(values.shape, generator=noise, device=values.device)
            kept = values * (drawn >= self.corruption)
        return self.rebuilt(self.activation(self.layer(kept)), values.shape)

    def rebuilt(self, codes: Tensor, shape: torch.Size) -> Tensor:
        """Carry codes back down through the same filters.

        Args:
            codes: What the layer and its activation made of an input.
            shape: Of that input.
        """
        layer = self.layer
        if isinstance(layer, nn.Linear):
            return F.linear(codes, layer.weight.T, self.back)
        sides = zip(
            shape[2:], codes.shape[2:], layer.kernel_size, layer.stride, layer.padding,
            layer.dilation, strict=True,
        )  # fmt: skip
        beyond = [  # rows and columns that no filter reaches whole
            size - ((count - 1) * stride - 2 * int(padding) + dilation * (kernel - 1) + 1)
            for size, count, kernel, stride, padding, dilation in sides
        ]
        return F.conv_transpose2d(
            codes, layer.weight, self.back, layer.stride, layer.padding,  # type: ignore[arg-type]
            beyond, layer.groups, layer.dilation,
        )  # fmt: skip
