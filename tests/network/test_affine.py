"""A scale and a shift per channel that are written out are treated as batch norm is."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from convscope.methods.project import project
from convscope.methods.rules import RULES
from convscope.network.network import open_network

SHAPE = (3, 12, 12)


class Written(nn.Module):
    """y = scale * x + shift, from a batch norm's numbers, by some function."""

    def __init__(
        self, norm: nn.BatchNorm2d, forward: Callable[..., Tensor], parameters: bool = False
    ) -> None:
        super().__init__()
        scale = (norm.weight / torch.sqrt(norm.running_var + norm.eps)).detach()
        numbers = {
            "w": norm.weight, "b": norm.bias, "mean": norm.running_mean, "var": norm.running_var,
            "scale": scale, "shift": norm.bias - norm.running_mean * scale,
        }  # fmt: skip
        for name, value in numbers.items():
            value = value.detach().clone()
            if parameters:
                self.register_parameter(name, nn.Parameter(value))
            else:
                self.register_buffer(name, value)
        self.eps, self.function = norm.eps, forward

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self, x)


def column(value: Tensor) -> Tensor:
    return value.view(-1, 1, 1)


def grid(value: Tensor) -> Tensor:
    return value.reshape(1, -1, 1, 1)


def frozen(m: Written, x: Tensor) -> Tensor:
    """As detection networks write it."""
    scale = grid(m.w) * (grid(m.var) + m.eps).rsqrt()
    return x * scale + (grid(m.b) - grid(m.mean) * scale)


WRITTEN: dict[str, Callable[[Written, Tensor], Tensor]] = {
    "(C, 1, 1)": lambda m, x: x * column(m.scale) + column(m.shift),
    "(1, C, 1, 1)": lambda m, x: grid(m.shift) + grid(m.scale) * x,
    "in place": lambda m, x: x.mul(grid(m.scale)).add_(grid(m.shift)),
    "rsqrt from constants": frozen,
    "(x - m) / s": lambda m, x: (
        (x - column(m.mean)) / (column(m.var) + m.eps).sqrt() * column(m.w) + column(m.b)
    ),
    "x * w - (-b)": lambda m, x: x * column(m.scale) - column(-m.shift),
    "(x + b) * w": lambda m, x: (x + column(m.shift / m.scale)).mul(column(m.scale)),
}  # fmt: skip


def nets(written: Callable[[Written, Tensor], Tensor], parameters: bool) -> tuple[nn.Module, ...]:
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(6).eval()
    with torch.no_grad():
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2)
        norm.weight.normal_()
        norm.bias.normal_()
    conv, above = nn.Conv2d(3, 6, 3), nn.Conv2d(6, 4, 3)
    return tuple(
        nn.Sequential(conv, each, nn.ReLU(), above).double().eval()
        for each in (norm, Written(norm, written, parameters))
    )


@pytest.mark.parametrize("parameters", [False, True])
@pytest.mark.parametrize("name", WRITTEN)
def test_the_activation_goes_on_to_the_rectifier_and_pictures_are_batch_norms(
    name: str, parameters: bool
):
    plain, written = (open_network(net, SHAPE) for net in nets(WRITTEN[name], parameters))
    assert written.activation("0") == plain.activation("0") == "2"
    image = torch.randn(1, *SHAPE, dtype=torch.float64)
    ours, theirs = written.trace(image), plain.trace(image)
    for rules in RULES.values():
        for unit in ("2/1", "3/2@4,5", "3/0"):
            torch.testing.assert_close(
                project(ours, unit, rules).projection, project(theirs, unit, rules).projection
            )


class After(nn.Module):
    def __init__(self, function: Callable[[Tensor, Tensor], Tensor], table: Tensor) -> None:
        super().__init__()
        self.register_buffer("table", table)
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x, self.table)


@pytest.mark.parametrize(
    ("function", "table", "goes_on"),
    [
        (lambda x, t: x * t, torch.rand(()), True),
        (lambda x, t: x * t, torch.rand(1), True),
        (lambda x, t: x / 2 - 1, torch.rand(1), True),
        (lambda x, t: 1 - x, torch.rand(1), True),
        (lambda x, t: x * t, torch.rand(10), False),  # a number per column
        (lambda x, t: x * t, torch.rand(10, 1), False),
        (lambda x, t: x + t, torch.rand(10, 10), False),  # a position map
        (lambda x, t: x + t, torch.rand(1, 6, 10, 10), False),
        (lambda x, t: x * t, torch.rand(6, 1, 1), True),
        (lambda x, t: x[:, :1] * t, torch.rand(6, 1, 1), False),  # one map spread over six
        (lambda x, t: x * x.mean((2, 3), keepdim=True), torch.rand(1), False),
    ],
)
def test_only_numbers_per_channel_are_passed(
    function: Callable[[Tensor, Tensor], Tensor], table: Tensor, goes_on: bool
):
    module = nn.Sequential(nn.Conv2d(3, 6, 3), After(function, table), nn.ReLU())
    assert open_network(module, SHAPE).activation("0") == ("2" if goes_on else "0")


def test_a_scaled_vector_goes_on_too():
    module = nn.Sequential(
        nn.Flatten(), nn.Linear(432, 5), After(lambda x, t: x * t, torch.rand(5)), nn.ReLU()
    )
    assert open_network(module, SHAPE).activation("1") == "3"
