"""Operations that tell one position from another: crops, maps of constants, sums along rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["BY_POSITION", "CROPS", "ByPosition"]

SIZE = (14, 13)
"""Rows and columns that the forms are made for."""


def at_each(*shape: int) -> Tensor:
    return torch.rand(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(3)) + 0.5


PER_CHANNEL = at_each(1, 4, 1, 1)
PER_VALUE = at_each(1, 4, *SIZE)
PER_POSITION = at_each(*SIZE)
PER_ROW = at_each(1, 1, SIZE[0], 1)
PER_COLUMN = at_each(SIZE[1])
MASK = PER_POSITION > 1

CROPS: dict[str, Callable[[Tensor], Tensor]] = {
    "[:, :, 1:-1]": lambda y: y[:, :, 1:-1],
    "[:, :, ::2, ::2]": lambda y: y[:, :, ::2, ::2],
    "[:, :, 1:, 1:]": lambda y: y[:, :, 1:, 1:],
    "[:, :, :-1]": lambda y: y[:, :, :-1],
    "[..., 2:11:3]": lambda y: y[..., 2:11:3],
    "[:, :, -6:, 5:6]": lambda y: y[:, :, -6:, 5:6],
    "[:, 1:, ::3]": lambda y: y[:, 1:, ::3],
    "[:, :, 0:99, :]": lambda y: y[:, :, 0:99],
    "narrow": lambda y: y.narrow(2, 3, 7).narrow(-1, -9, 8),
    "chunk": lambda y: y.chunk(2, 2)[1],
    "split": lambda y: torch.split(y, [5, 8], 3)[1],
    "tensor_split": lambda y: torch.tensor_split(y, (4, 9), -1)[1],
    "padded by less than nothing": lambda y: F.pad(y, (-1, -2, 0, -3)),
    "padded and cropped": lambda y: F.pad(y, (3, -1, -2, 1)),
    "space to depth": lambda y: torch.cat(
        [y[:, :, i:12:2, j:12:2] for i in (0, 1) for j in (0, 1)], 1
    ),
    "a crop beside a pool": lambda y: y[:, :, 1:-1, 1:-1] + F.max_pool2d(y, 3, 1),
    "the step of a ResNet's shortcut": lambda y: F.pad(y[:, :, ::2, ::2], (0, 0, 0, 0, 0, 0)),
    "per channel": lambda y: y * PER_CHANNEL + PER_CHANNEL[0],
    "a mean of channels": lambda y: y * torch.sigmoid(y.mean(1, keepdim=True)),
    "a softmax of channels": lambda y: y.softmax(-3),
}
"""Exact on windows. name -> a function of maps (N, 4, 14, 13)"""

BY_POSITION: dict[str, Callable[[Tensor], Tensor]] = {
    "a map per channel": lambda y: y + PER_VALUE,
    "a mask": lambda y: y * MASK,
    "a number per row": lambda y: y * PER_ROW,
    "a number per column": lambda y: PER_COLUMN - y,
    "divided by a map": lambda y: y / PER_POSITION[None],
    "a gate spread by a map": lambda y: y + y.mean((2, 3), keepdim=True) / PER_POSITION,
    "a softmax of rows": lambda y: y.softmax(2),
    "a log-softmax of columns": lambda y: y.log_softmax(-1),
    "a softmax of positions": lambda y: y.flatten(2).softmax(2).view(-1, 4, *SIZE),
    "doubled rows": lambda y: torch.cat([y, 2 * y], 2),
    "doubled columns": lambda y: torch.cat([y * -1, y], -1),
    "a mean of rows": lambda y: y * y.mean(2, keepdim=True),
    "a mean of columns": lambda y: y - y.mean(-1, keepdim=True),
    "a mean without its axis": lambda y: y.mean(3),
    "one row": lambda y: y[:, :, 5],
    "one column": lambda y: y[..., -2],
    "one channel": lambda y: y[:, 2],
    "one channel, flat": lambda y: y[:, 2].flatten(1),
    "rows folded into channels": lambda y: y.reshape(-1, 8, SIZE[0] // 2, SIZE[1]),
    "rows and columns folded": lambda y: y.reshape(-1, 4, SIZE[0] // 2, 2 * SIZE[1]),
    "rows and columns swapped": lambda y: y.transpose(2, 3),
    "rows first": lambda y: y.permute(0, 2, 1, 3),
    "flat": lambda y: y.flatten(2),
    "doubled in size": lambda y: F.interpolate(y, scale_factor=2),
}
"""Not on windows. name -> a function of maps (N, 4, 14, 13)"""


class ByPosition(nn.Module):
    """relu(conv), one of the forms, and where it leaves maps a convolution; 5 classes."""

    def __init__(self, form: Callable[[Tensor], Tensor], rectify: bool = True) -> None:
        super().__init__()
        self.form = form
        self.act: Any = nn.ReLU() if rectify else nn.Identity()
        self.first = nn.Conv2d(3, 4, 3, padding=1)
        value = form(torch.zeros(1, 4, *SIZE))
        self.second = nn.Conv2d(value.shape[1], 3, 3, padding=1) if value.dim() == 4 else None
        size = value[0].numel() // value.shape[1] * 3 if self.second else value[0].numel()
        self.scores = nn.Linear(size, 5)

    def maps(self, x: Tensor) -> Tensor:
        y = self.form(self.act(self.first(x)))
        return y if self.second is None else self.act(self.second(y))

    def forward(self, x: Tensor) -> Tensor:
        return self.scores(self.maps(x).flatten(1))
