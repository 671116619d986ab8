"""Small networks that several tests look at."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn


class Calling(nn.Module):
    """A network whose forward is a given function of itself and the images."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.gain = nn.Parameter(torch.rand(1, 4, 1, 1))
        self.register_buffer("count", torch.zeros(()))
        self.register_buffer("table", torch.arange(8.0).view(1, 8, 1, 1))
        self.function = function

    def forward(self, x: Tensor) -> Any:
        return self.function(self, x)
