"""Random small networks: kernels, strides, padding, dilation, groups, ceil_mode, branches."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from hypothesis import strategies as st
from torch import Tensor, nn

__all__ = ["SpaceToDepth", "graphs"]


class Residual(nn.Module):
    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + self.body(x))


class Concat(nn.Module):
    def __init__(self, *branches: nn.Module) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([branch(x) for branch in self.branches], dim=1)


class Crop(nn.Module):
    """Some rows and columns: from the first on, short of the last, in steps."""

    def __init__(self, first: tuple[int, int], short: int, step: tuple[int, int]) -> None:
        super().__init__()
        self.cut = tuple(slice(a, -short or None, s) for a, s in zip(first, step, strict=True))

    def forward(self, x: Tensor) -> Tensor:
        return x[:, :, self.cut[0], self.cut[1]]


class SpaceToDepth(nn.Module):
    """Every second row and column, four times, side by side along the channels."""

    def forward(self, x: Tensor) -> Tensor:
        x = x[:, :, : x.shape[2] // 2 * 2, : x.shape[3] // 2 * 2]
        return torch.cat([x[:, :, i::2, j::2] for i in (0, 1) for j in (0, 1)], 1)


PLACED: dict[str, Callable[[Tensor], Tensor]] = {
    "mirrored": lambda x: F.pad(x, (1, 0, 1, 1), "reflect"),
    "repeated": lambda x: F.pad(x, (2, -1, 0, 1), "replicate"),
    "circular": lambda x: F.pad(x, (1, 1, 1, 1), "circular"),
    "filled": lambda x: F.pad(x, (1, 0, 0, 2, 0, 1), value=0.5)[:, :-1],
    "doubled": lambda x: F.interpolate(x, scale_factor=2),
    "bilinear": lambda x: F.interpolate(x, scale_factor=1.5, mode="bilinear"),
    "bicubic": lambda x: F.interpolate(x, size=(11, 12), mode="bicubic"),
    "averaged": lambda x: F.adaptive_avg_pool2d(x, (5, 7)),
    "largest": lambda x: F.adaptive_max_pool2d(x, (5, 7)),
    "uncounted": lambda x: F.avg_pool2d(x, 3, 2, 1, count_include_pad=False),
    "upside down": lambda x: x.flip(1, 2),
    "rolled": lambda x: x.roll((1, -2), (2, 3)),
    "repeated rows": lambda x: x.repeat_interleave(2, 2)[:, :, :, 1:],
    "skipped": lambda x: x + F.interpolate(F.max_pool2d(x, 2), size=x.shape[2:]),
}


class Placed(nn.Module):
    """What windows do where they are told where they lie: borders, sizes, orders of positions."""

    def __init__(self, form: str) -> None:
        super().__init__()
        self.form = form

    def forward(self, x: Tensor) -> Tensor:
        return PLACED[self.form](x)


class Trident(nn.Module):
    """Three views of different reach, two of which meet before the third is looked at."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(channels, 4, 3, padding=1), nn.Conv2d(channels, 4, 1)
        self.again, self.wide = nn.Conv2d(4, 2, 1), nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        one, two = self.one(x), self.two(x)
        again = self.again(one)
        return torch.cat([self.wide(one + two), again], 1)


class ByPosition(nn.Module):
    """What tells positions apart: a map added or multiplied, a softmax along an axis, ..."""

    def __init__(self, kind: str, channels: int, grid: tuple[int, int]) -> None:
        super().__init__()
        self.kind = kind
        self.register_buffer("map", torch.rand(1, channels, *grid) + 0.5)
        self.register_buffer("row", torch.rand(grid[0], 1) + 0.5)

    def forward(self, x: Tensor) -> Tensor:
        if self.kind == "add":
            return x + self.map
        if self.kind == "multiply":
            return x * self.row
        if self.kind == "softmax":
            return x + x.softmax(3)
        return x - x.mean(2, keepdim=True)


class LayerNorm2d(nn.LayerNorm):
    """A layer norm of the channels at each position."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Function(nn.Module):
    """Some of the functions of single numbers, where a quotient has no bound but a guard."""

    def forward(self, x: Tensor) -> Tensor:
        one, two = x.clamp(-1, 2), (x * x + 0.1).sqrt()
        return torch.where(x > 0, one / two, torch.maximum(x, -two)) + two.amax(1, keepdim=True)


class Gate(nn.Module):
    """Squeeze and excite: a global operation that feeds back into the maps."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(self.fc(x.mean((2, 3), keepdim=True)))


@st.composite
def graphs(draw: st.DrawFn, gates: bool = True) -> tuple[nn.Module, tuple[int, int, int]]:
    """A random network in evaluation mode that ends in 5 classes, and its input shape."""
    height, width = draw(st.integers(14, 30)), draw(st.integers(14, 30))
    torch.manual_seed(draw(st.integers(0, 2**16)))
    blocks: list[nn.Module] = []
    channels = 3
    for _ in range(draw(st.integers(2, 5))):
        with torch.no_grad():
            grid = nn.Sequential(*blocks).eval()(torch.zeros(1, 3, height, width)).shape[-2:]
        block, channels = draw(_blocks(channels, tuple(grid), gates))
        try:
            with torch.no_grad():
                rows, columns = (
                    nn.Sequential(*blocks, block)
                    .eval()(torch.zeros(1, 3, height, width))
                    .shape[-2:]
                )
        except RuntimeError:  # the map has become smaller than the kernel
            break
        if not 2 <= min(rows, columns) <= max(rows, columns) <= 48:  # too small, or slow
            break
        blocks.append(block)
    with torch.no_grad():
        features = nn.Sequential(*blocks).eval()(torch.zeros(1, 3, height, width))
    channels, rows, columns = features.shape[1:]
    if draw(st.booleans()):
        end = [nn.Flatten(), nn.Dropout(), nn.Linear(channels * rows * columns, 5)]
    else:
        end = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 5)]
    net = nn.Sequential(*blocks, *end).eval()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2.0)
    return net, (3, height, width)


@st.composite
def _blocks(
    draw: st.DrawFn, channels: int, grid: tuple[int, int], gates: bool
) -> tuple[nn.Module, int]:
    """gates : also what windows cannot follow."""
    kinds = ["conv", "conv", "depthwise", "max", "avg", "residual", "concat", "trident", "lrn"]
    kinds += ["crop", "space to depth", "placed", "transposed", "layer norm", "function", "prelu"]
    kind = draw(st.sampled_from([*kinds, "gate", "position", "group norm"] if gates else kinds))
    if kind == "conv":
        groups = draw(st.sampled_from([g for g in (1, 2, 3) if channels % g == 0]))
        out = 6
        kernel = (draw(st.integers(1, 5)), draw(st.integers(1, 5)))
        conv = nn.Conv2d(
            channels,
            out,
            kernel,
            stride=draw(st.integers(1, 3)),
            padding=draw(st.integers(0, 2)),
            dilation=draw(st.integers(1, 2)),
            groups=groups,
            bias=draw(st.booleans()),
        )
        after: list[nn.Module] = [nn.BatchNorm2d(out)] if draw(st.booleans()) else []
        after += draw(st.sampled_from([[], [nn.ReLU()], [nn.ReLU(inplace=True)], [nn.SiLU()]]))
        return nn.Sequential(conv, *after), out
    if kind == "depthwise":
        kernel = draw(st.sampled_from([3, 5]))
        conv = nn.Conv2d(channels, channels, kernel, padding=kernel // 2, groups=channels)
        return nn.Sequential(conv, nn.ReLU6()), channels
    if kind in ("max", "avg"):
        kernel = draw(st.integers(2, 3))
        settings = {
            "kernel_size": kernel,
            "stride": draw(st.integers(1, 2)),
            "padding": draw(st.integers(0, kernel // 2)),
            "ceil_mode": draw(st.booleans()),
        }
        if kind == "max":
            return nn.MaxPool2d(**settings), channels
        return nn.AvgPool2d(**settings, count_include_pad=draw(st.booleans())), channels
    if kind == "residual":
        kernel = draw(st.sampled_from([1, 3]))
        body = nn.Sequential(
            nn.Conv2d(channels, channels, kernel, padding=kernel // 2),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1),
        )
        return Residual(body), channels
    if kind == "concat":
        one = nn.Conv2d(channels, 3, 1)
        two = nn.Sequential(nn.Conv2d(channels, 3, 3, padding=1), nn.ReLU())
        three = nn.MaxPool2d(3, 1, padding=1)
        return Concat(one, two, three), 6 + channels
    if kind == "trident":
        return Trident(channels), 6
    if kind == "crop":
        pairs = [st.tuples(st.integers(low, 2), st.integers(low, 2)) for low in (0, 1)]
        return Crop(draw(pairs[0]), draw(st.integers(0, 2)), draw(pairs[1])), channels
    if kind == "placed":
        return Placed(draw(st.sampled_from(list(PLACED)))), channels
    if kind == "transposed":
        stride = draw(st.integers(1, 3))
        conv = nn.ConvTranspose2d(
            channels, 4, (draw(st.integers(1, 4)), draw(st.integers(1, 4))), stride,
            padding=draw(st.integers(0, 1)), output_padding=draw(st.integers(0, stride - 1)),
            dilation=draw(st.integers(1, 2)),
        )  # fmt: skip
        return nn.Sequential(conv, nn.ReLU()), 4
    if kind == "space to depth":
        return SpaceToDepth(), 4 * channels
    if kind == "position":
        which = draw(st.sampled_from(["add", "multiply", "softmax", "mean"]))
        return ByPosition(which, channels, grid), channels
    if kind == "layer norm":
        return LayerNorm2d(channels), channels
    if kind == "function":
        return Function(), channels
    if kind == "prelu":
        return nn.PReLU(channels), channels
    if kind == "group norm":
        return nn.GroupNorm(1, channels), channels
    if kind == "lrn":
        return nn.LocalResponseNorm(3), channels
    return Gate(channels), channels
