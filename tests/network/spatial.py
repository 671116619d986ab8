"""Operations that tell one position from another: crops, maps of constants, sums along rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["BY_POSITION", "CROPS", "PLACED", "ByPosition"]

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

FILTERS = at_each(4, 2, 3, 2) - 1


def transposed(*args: Any, groups: int = 2, **settings: Any) -> Callable[[Tensor], Tensor]:
    """A transposed convolution with a bias, 4 channels to 4, or 2 with one group."""
    bias = PER_CHANNEL.flatten()[: 2 * groups]
    return lambda y: F.conv_transpose2d(
        y, FILTERS.to(y), bias.to(y), *args, groups=groups, **settings
    )


def resized(**settings: Any) -> Callable[[Tensor], Tensor]:
    return lambda y: F.interpolate(y, **settings)


def padded(*pads: int, **settings: Any) -> Callable[[Tensor], Tensor]:
    return lambda y: F.pad(y, pads, **settings)


PLACED: dict[str, Callable[[Tensor], Tensor]] = {
    "nearest x 2": resized(scale_factor=2),
    "nearest x 3 and x 2": resized(scale_factor=(3, 2)),
    "nearest x 1.3": resized(scale_factor=1.3),
    "nearest to a smaller size": resized(size=(5, 20)),
    "nearest-exact to a size": resized(size=(20, 9), mode="nearest-exact"),
    "bilinear x 2": resized(scale_factor=2, mode="bilinear"),
    "bilinear x 2, corners aligned": resized(scale_factor=2, mode="bilinear", align_corners=True),
    "bilinear to a size": resized(size=(9, 30), mode="bilinear"),
    "bilinear x 1.5, scale recomputed": resized(
        scale_factor=1.5, mode="bilinear", recompute_scale_factor=True
    ),
    "bilinear, antialiased": resized(size=(6, 7), mode="bilinear", antialias=True),
    "bicubic x 2": resized(scale_factor=2, mode="bicubic"),
    "bicubic x 0.4, corners aligned": resized(scale_factor=0.4, mode="bicubic", align_corners=True),
    "bicubic, antialiased": resized(scale_factor=0.5, mode="bicubic", antialias=True),
    "area": resized(size=(4, 6), mode="area"),
    "adaptive mean": lambda y: F.adaptive_avg_pool2d(y, (5, 20)),
    "adaptive mean, rows alone": lambda y: F.adaptive_avg_pool2d(y, (7, None)),
    "mean pool, rounded up": lambda y: F.avg_pool2d(y, 3, 2, 1, True),
    "mean pool, the pad not counted": lambda y: F.avg_pool2d(y, 3, 2, 1, False, False),
    "mirrored border": padded(2, 1, 0, 3, mode="reflect"),
    "repeated border": padded(2, 1, 0, 3, mode="replicate"),
    "repeated border, cropped": padded(2, -1, -2, 3, mode="replicate"),
    "circular border": padded(1, 2, 3, 0, mode="circular"),
    "border of threes": padded(1, 2, -2, 1, value=3.0),
    "channels and border of threes": padded(1, 0, 0, 1, 1, 2, value=3.0),
    "shortcut with channels of zeros": lambda y: F.pad(y[:, :, ::2, ::2], (0, 0, 0, 0, 2, 2)),
    "channels cropped": padded(0, 0, 1, 1, -1, 1),
    "upside down": lambda y: y.flip(2),
    "turned around": lambda y: y.flip(1, 3, 2),
    "rolled rows": lambda y: y.roll(3, 2),
    "rolled all ways": lambda y: y.roll((2, -3, 1), (3, 2, 1)),
    "rolled twice along an axis": lambda y: y.roll((2, 3), (2, 2)),
    "channels in another order": lambda y: y[:, [2, 1, 0]],
    "rows in another order": lambda y: y[:, :, [0, 3, 3, 12, -1, 5]],
    "columns selected": lambda y: y.index_select(3, torch.tensor([1, 4, 7, 10])),
    "channels selected": lambda y: y.index_select(-3, torch.tensor([3, 0])),
    "rows repeated one by one": lambda y: y.repeat_interleave(3, 2),
    "channels repeated one by one": lambda y: y.repeat_interleave(2, 1),
    "tiled": lambda y: y.repeat(1, 2, 1, 2),
    "channels tiled": lambda y: y.tile(1, 3, 1, 1),
    "spread over channels": lambda y: y * y.mean(1, keepdim=True).expand(-1, 4, -1, -1),
    "spread like another": lambda y: y + y[:, :1].expand_as(y),
    "written into channels": lambda y: y.slice_scatter(2 * y[:, 2:], 1, 0, 2),
    "channels shuffled": lambda y: F.channel_shuffle(y, 2),
    "pixels shuffled": lambda y: F.pixel_shuffle(y, 2),
    "pixels unshuffled": lambda y: F.pixel_unshuffle(y[:, :, :, 1:], 2),
    "transposed convolution": transposed(2, 1),
    "transposed convolution, one more": transposed((2, 3), (0, 1), (1, 2)),
    "transposed convolution with gaps": transposed(4),
    "transposed convolution of stride one": transposed(1, 1, groups=1),
    "transposed convolution, dilated": transposed((2, 1), 2, groups=1, dilation=(2, 3)),
    "adaptive maximum": lambda y: F.adaptive_max_pool2d(y, (5, 6)),
    "doubled rows": lambda y: torch.cat([y, 2 * y], 2),
    "doubled columns": lambda y: torch.cat([y * -1, y], -1),
    "rows above others": lambda y: torch.cat([y[:, :, 3:], 2 * y[:, :, 1:4], y], 2),
    "a pool of a border of nothing": lambda y: F.max_pool2d(
        F.pad(y, (0, 1, 1, 0), value=-torch.inf), 3, 2
    ),
    "a skip beside what was doubled": lambda y: torch.cat(
        [y[:, :, :, :12], F.interpolate(F.max_pool2d(y, 2), scale_factor=2)], 1
    ),
    "a crop beside a transposed convolution": lambda y: torch.cat(
        [y[:, :, 1:-2, 1:-1], transposed(2, 1)(y[:, :, ::2, ::2])[:, :, :11, :11]], 1
    ),
}
"""On windows that are told where they lie. name -> a function of maps (N, 4, 14, 13)"""

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
    "a mean of rows": lambda y: y * y.mean(2, keepdim=True),
    "a mean of columns": lambda y: y - y.mean(-1, keepdim=True),
    "a mean without its axis": lambda y: y.mean(3),
    "rows below a constant": lambda y: torch.cat([torch.ones_like(y[:, :, :2]), y], 2),
    "written into rows": lambda y: y.slice_scatter(2 * y[:, :, 1::2], 2, 0, None, 2),
    "written into a column": lambda y: y.select_scatter(y[..., 2], 3, 5),
    "one row": lambda y: y[:, :, 5],
    "one column": lambda y: y[..., -2],
    "one channel": lambda y: y[:, 2],
    "one channel, flat": lambda y: y[:, 2].flatten(1),
    "rows folded into channels": lambda y: y.reshape(-1, 8, SIZE[0] // 2, SIZE[1]),
    "rows and columns folded": lambda y: y.reshape(-1, 4, SIZE[0] // 2, 2 * SIZE[1]),
    "rows and columns swapped": lambda y: y.transpose(2, 3),
    "rows first": lambda y: y.permute(0, 2, 1, 3),
    "flat": lambda y: y.flatten(2),
    "side by side on an axis of their own": lambda y: torch.stack([y, y * 2], 2).flatten(1, 2),
    "taken apart": lambda y: y.unbind(1)[2],
    "axes moved": lambda y: y.movedim(1, -1).moveaxis((3, 1), (1, 2)).swapaxes(2, 3),
    "matrices turned": lambda y: y.mT,
    "a quarter turn": lambda y: y.rot90(1, (2, 3)),
    "unpooled": lambda y: F.max_unpool2d(
        *F.max_pool2d(y, 2, return_indices=True), 2, output_size=SIZE
    ),
    "unpooled to another size": lambda y: F.max_unpool2d(
        *F.max_pool2d(y, 2, 3, return_indices=True), 2, 3, output_size=SIZE
    ),
    "columns of patches": lambda y: F.unfold(y, 3, padding=1, stride=2),
    "patches put back": lambda y: F.fold(F.unfold(y, 3, padding=1), SIZE, 3, padding=1),
    "rows unfolded": lambda y: y.unfold(2, 3, 2).flatten(3),
    "rolled where it is flat": lambda y: y.flatten(2).roll(2, 1),
    "a filter along channels": lambda y: (
        y
        * torch.sigmoid(
            F.conv1d(y.mean((2, 3)).unsqueeze(1), FILTERS[:1, :1, :, 0].to(y), padding=1)
            .transpose(1, 2)
            .unsqueeze(-1)
        ).expand_as(y)
    ),
    "one-dimensional pools": lambda y: F.adaptive_avg_pool1d(
        F.max_pool1d(F.avg_pool1d(y.flatten(2), 3, 2, 1), 2), 30
    ),
    "one-dimensional interpolation": lambda y: F.interpolate(
        F.interpolate(y.flatten(2), scale_factor=0.5, mode="linear"), size=77
    ),
}
"""Not on windows. name -> a function of maps (N, 4, 14, 13)"""


class ByPosition(nn.Module):
    """relu(conv), one of the forms, and where it leaves maps a convolution; 5 classes."""

    def __init__(self, form: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.form = form
        self.act: nn.Module = nn.ReLU()
        self.first = nn.Conv2d(3, 4, 3, padding=1)
        value = form(torch.zeros(1, 4, *SIZE, dtype=torch.float64))
        self.second = nn.Conv2d(value.shape[1], 3, 3, padding=1) if value.dim() == 4 else None
        size = value[0].numel() // value.shape[1] * 3 if self.second else value[0].numel()
        self.scores = nn.Linear(size, 5)

    def maps(self, x: Tensor) -> Tensor:
        y = self.form(self.act(self.first(x)))
        return y if self.second is None else self.act(self.second(y))

    def forward(self, x: Tensor) -> Tensor:
        return self.scores(self.maps(x).flatten(1))
