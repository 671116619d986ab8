"""Small networks that several tests look at."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from convscope.network.network import Network, open_network


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


class Residual(nn.Module):
    """x + body(x)"""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


class Branches(nn.Module):
    """Several views of x, side by side along the maps."""

    def __init__(self, *branches: nn.Module) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([branch(x) for branch in self.branches], 1)


class TwoReaders(nn.Module):
    """A convolution that two read: a rectifier, and a sum further on."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 4, 3, padding=1)
        self.relu = nn.ReLU()
        self.drop = nn.Dropout()
        self.conv2 = nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        value = self.conv1(x)
        return self.conv2(self.relu(value)) + self.drop(value)


class Apply(nn.Module):
    """A function of the images as a module."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def _pool(pool: type[nn.Module], *args: Any, **settings: Any) -> Callable[[], nn.Module]:
    return lambda: nn.Sequential(nn.Conv2d(3, 4, 1), pool(*args, **settings))


def _conv(*args: Any, **settings: Any) -> Callable[[], nn.Module]:
    return lambda: nn.Sequential(nn.Conv2d(*args, **settings))


def _after_conv(function: Callable[[Tensor], Tensor]) -> Callable[[], nn.Module]:
    return lambda: nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), Apply(function))


ODD_SETTINGS: dict[str, tuple[Callable[[], nn.Module], tuple[int, int, int]]] = {
    "conv 'same', even kernel": (_conv(3, 4, 4, padding="same"), (3, 9, 8)),
    "conv 'same', even kernel, dilated": (
        _conv(3, 4, (2, 4), padding="same", dilation=(3, 1)),
        (3, 9, 8),
    ),
    "conv 'valid'": (_conv(3, 4, 3, padding="valid", stride=2), (3, 9, 8)),
    "conv, all unequal": (
        _conv(3, 4, (3, 2), stride=(2, 3), padding=(0, 1), dilation=(2, 1), bias=False),
        (3, 13, 11),
    ),
    "conv with rows left over": (_conv(3, 4, 2, stride=3), (3, 10, 9)),
    "conv, padding beyond the kernel": (_conv(3, 4, 2, padding=3), (3, 5, 6)),
    "depthwise conv": (_conv(3, 6, 3, groups=3, padding=1, stride=2), (3, 8, 7)),
    "max-pool, rounded up": (_pool(nn.MaxPool2d, 3, 2, ceil_mode=True), (3, 8, 10)),
    "max-pool, rounded up, padded": (
        _pool(nn.MaxPool2d, 2, 2, padding=1, ceil_mode=True),
        (3, 7, 10),
    ),
    "max-pool, dilated": (_pool(nn.MaxPool2d, 2, 1, dilation=(2, 3), padding=1), (3, 8, 9)),
    "max-pool with gaps": (_pool(nn.MaxPool2d, 2, 3), (3, 9, 10)),
    "max-pool, unequal": (_pool(nn.MaxPool2d, (1, 3), (2, 1)), (3, 9, 8)),
    "avg-pool, rounded up": (_pool(nn.AvgPool2d, 3, 2, ceil_mode=True), (3, 8, 10)),
    "avg-pool, the pad not counted": (
        _pool(nn.AvgPool2d, 3, 2, padding=1, count_include_pad=False),
        (3, 8, 9),
    ),
    "avg-pool, the pad counted, rounded up": (
        _pool(nn.AvgPool2d, 3, 2, padding=1, ceil_mode=True),
        (3, 8, 10),
    ),
    "avg-pool, own divisor": (_pool(nn.AvgPool2d, 2, divisor_override=3), (3, 7, 8)),
    "adaptive, not divisible": (_pool(nn.AdaptiveAvgPool2d, (3, 4)), (3, 8, 9)),
    "adaptive, divisible": (_pool(nn.AdaptiveAvgPool2d, (4, 3)), (3, 8, 9)),
    "adaptive, larger than the map": (_pool(nn.AdaptiveAvgPool2d, 7), (3, 4, 5)),
    "adaptive, one row": (_pool(nn.AdaptiveAvgPool2d, (1, 3)), (3, 8, 9)),
    "adaptive, size kept": (_pool(nn.AdaptiveAvgPool2d, (None, 4)), (3, 8, 4)),
    "global mean": (_after_conv(lambda x: x.mean((2, 3))), (3, 6, 5)),
    "mean over columns": (_after_conv(lambda x: x.mean(3, keepdim=True)), (3, 6, 5)),
    "up-sampled by 2": (_pool(nn.Upsample, scale_factor=2), (3, 4, 5)),
    "up-sampled by 3": (_pool(nn.Upsample, scale_factor=3), (3, 4, 5)),
    "up-sampled by 1.3": (_pool(nn.Upsample, scale_factor=1.3), (3, 8, 9)),
    "up-sampled to a size": (_pool(nn.Upsample, size=(7, 8)), (3, 5, 3)),
    "down-sampled to a size": (_pool(nn.Upsample, size=(3, 5)), (3, 7, 8)),
    "bilinear by 2": (_pool(nn.UpsamplingBilinear2d, scale_factor=2), (3, 4, 5)),
    "bilinear by 1.3": (_pool(nn.Upsample, scale_factor=1.3, mode="bilinear"), (3, 8, 9)),
    "bilinear to a size": (_pool(nn.Upsample, size=(7, 8), mode="bilinear"), (3, 5, 3)),
    "bilinear to a smaller size": (_pool(nn.Upsample, size=(3, 5), mode="bilinear"), (3, 7, 8)),
    "bilinear, corners aligned": (
        _pool(nn.Upsample, size=(7, 3), mode="bilinear", align_corners=True),
        (3, 5, 8),
    ),
    "LRN of size 2": (_pool(nn.LocalResponseNorm, 2, alpha=0.7, beta=0.6, k=1.2), (3, 4, 5)),
    "LRN of size 3": (_pool(nn.LocalResponseNorm, 3, alpha=0.7, beta=0.6, k=1.2), (3, 4, 5)),
    "LRN of size 4": (_pool(nn.LocalResponseNorm, 4, alpha=0.7, beta=0.6, k=1.2), (3, 4, 5)),
    "LRN wider than the channels": (_pool(nn.LocalResponseNorm, 11, alpha=0.7), (3, 4, 5)),
    "padded and cropped": (_after_conv(lambda x: F.pad(x, (2, -1, -2, 1), value=3.0)), (3, 6, 5)),
    "padded columns": (_pool(nn.ZeroPad2d, (1, 2, 0, 0)), (3, 6, 5)),
    "rows and columns swapped": (_after_conv(lambda x: x.transpose(2, 3)), (3, 6, 5)),
    "channels last and back": (
        _after_conv(lambda x: x.permute(0, 2, 3, 1).permute(0, 3, 1, 2)),
        (3, 6, 5),
    ),
    "every second row": (_after_conv(lambda x: x[:, 1:, ::2]), (3, 6, 5)),
    "one channel": (_after_conv(lambda x: x[:, 2].unsqueeze(1)), (3, 6, 5)),
    "channels shuffled": (
        _after_conv(lambda x: x.view(-1, 2, 2, 6, 5).transpose(1, 2).reshape(-1, 4, 6, 5)),
        (3, 6, 5),
    ),
    "a gate of channels": (
        _after_conv(lambda x: x * torch.sigmoid(F.adaptive_avg_pool2d(x, 1))),
        (3, 6, 5),
    ),
    "a gate of positions": (
        _after_conv(lambda x: x * F.hardsigmoid(x.mean(1, keepdim=True))),
        (3, 6, 5),
    ),
    "a difference, scaled": (
        _after_conv(lambda x: torch.sub(x, torch.tanh(x), alpha=3)),
        (3, 4, 5),
    ),
    "one minus a third": (_after_conv(lambda x: 1 - x / 3), (3, 4, 5)),
    "a square": (_after_conv(lambda x: x * x), (3, 4, 5)),
    "a mean spread over channels": (_after_conv(lambda x: x - x.mean(1, keepdim=True)), (3, 4, 5)),
    "one branch twice": (_after_conv(lambda x: torch.cat([x, -2 * x, x], 1)), (3, 4, 5)),
    "pieces in another order": (
        _after_conv(lambda x: torch.cat(x.split([1, 3], 1)[::-1], 1)),
        (3, 4, 5),
    ),
    "one above the other": (_after_conv(lambda x: torch.cat([x, 2 * x[:, :, 1:]], 2)), (3, 4, 5)),
    "softmax over channels": (_after_conv(lambda x: F.softmax(x, 1)), (3, 6, 5)),
    "log-softmax of a vector": (_after_conv(lambda x: F.log_softmax(x.flatten(1), -1)), (3, 4, 3)),
    "a dense layer of a flat view": (
        lambda: nn.Sequential(nn.Flatten(), nn.Linear(60, 7, bias=False)),
        (3, 4, 5),
    ),
    "dimensions of length one left out": (
        _after_conv(lambda x: F.adaptive_avg_pool2d(x, 1).squeeze(3).squeeze(2)),
        (3, 4, 5),
    ),
    **{
        name: (_after_conv(function), (3, 4, 5))
        for name, function in {
            "relu": F.relu,
            "relu6": lambda x: F.relu6(8 * x),
            "hardtanh": lambda x: F.hardtanh(x, -0.1, 0.2),
            "leaky_relu": lambda x: F.leaky_relu(x, 0.3),
            "elu": lambda x: F.elu(x, 0.7),
            "silu": F.silu,
            "silu with a beta": lambda x: x * torch.sigmoid(1.7 * x),
            "mish": F.mish,
            "gelu": F.gelu,
            "gelu, tanh": lambda x: F.gelu(x, approximate="tanh"),
            "hardswish": lambda x: F.hardswish(4 * x),
            "sigmoid": torch.sigmoid,
            "hardsigmoid": lambda x: F.hardsigmoid(4 * x),
            "tanh": torch.tanh,
        }.items()
    },
}
"""name -> (makes a small module, the shape of its images): settings that are easily got wrong"""


@cache
def odd_network(name: str) -> tuple[nn.Module, Network]:
    """A module of `ODD_SETTINGS`, float64 and in evaluation mode, and the network read from it."""
    torch.manual_seed(0)
    make, shape = ODD_SETTINGS[name]
    module = make().double().eval()
    return module, open_network(module, shape)
