"""An activation that is written out is the activation: its layers, its values and its pictures."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from convscope.methods.project import project
from convscope.methods.rules import RULES
from convscope.network.network import Network, open_network
from nets import Apply

SHAPE = (3, 16, 16)


class Net(nn.Module):
    """A convolution, an activation under the name `act`, and a convolution, rectified."""

    def __init__(self, act: nn.Module) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.a = nn.Conv2d(3, 6, 3)
        self.act = act
        self.b = nn.Conv2d(6, 4, 3)
        with torch.no_grad():
            self.a.weight *= 8  # far into both ends of every activation

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.b(self.act(self.a(x))))


def opened(act: nn.Module) -> tuple[nn.Module, Network]:
    module = Net(act).double().eval()
    return module, open_network(module, SHAPE)


def images() -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(1, *SHAPE, generator=generator, dtype=torch.float64)


class HandMade(nn.Module):
    """Hardswish as a class of its own, with a module inside."""

    def __init__(self, **settings: Any) -> None:
        super().__init__()
        self.relu6 = nn.ReLU6(**settings)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.relu6(x + 3.0) / 6.0


def sigmoid_in_place(x: Tensor) -> Tensor:
    return x.clone().sigmoid_().mul_(x)


def max_zero(x: Tensor) -> Tensor:
    return torch.max(x, torch.zeros_like(x))


Function = Callable[[Tensor], Tensor]

SPELLINGS: dict[str, tuple[nn.Module, list[Function | nn.Module]]] = {
    "silu": (nn.SiLU(), [
        lambda x: x * torch.sigmoid(x), lambda x: torch.sigmoid(x) * x,
        lambda x: x.mul(x.sigmoid()), sigmoid_in_place,
        lambda x: x / (1 + torch.exp(-x)), lambda x: x * torch.special.expit(x),
        lambda x: x * (1 / (1 + torch.exp(-x))), lambda x: x * torch.reciprocal(1 + torch.exp(-x)),
        lambda x: x * torch.exp(F.logsigmoid(x)), lambda x: x * (1 + torch.tanh(x / 2)) / 2,
    ]),
    "hardswish": (nn.Hardswish(), [
        HandMade(), HandMade(inplace=True),
        lambda x: x * F.relu6(x + 3) / 6, lambda x: x * (F.relu6(x + 3) / 6),
        lambda x: F.relu6(3 + x) * x / 6, lambda x: x.mul(F.relu6(x + 3).div(6)),
        lambda x: F.relu6(x + 3) * (1 / 6) * x, lambda x: x * 0.16666666666666666 * F.relu6(x + 3),
        lambda x: x * (x + 3).clamp(0, 6) / 6, lambda x: x * F.hardsigmoid(x),
        lambda x: x * F.hardtanh(x + 3, 0, 6) / 6, lambda x: x * torch.clamp(x / 6 + 0.5, 0, 1),
        lambda x: x * F.relu(x + 3).clamp(max=6).div_(6),
    ]),
    "hardsigmoid": (nn.Hardsigmoid(), [
        lambda x: F.relu6(x + 3) / 6, lambda x: F.relu6(x + 3, inplace=True) * (1 / 6),
        lambda x: (x + 3).clamp(0, 6) / 6, lambda x: torch.clamp(x / 6 + 0.5, 0, 1),
        lambda x: F.relu6(x + 3).div_(6), lambda x: torch.clip((x + 3) / 6, 0, 1),
    ]),
    "relu": (nn.ReLU(), [
        lambda x: x.clamp(min=0), lambda x: torch.clamp_min(x, 0), lambda x: x.clamp_(min=0.0),
        lambda x: F.threshold(x, 0, 0), max_zero, lambda x: torch.maximum(torch.zeros_like(x), x),
        lambda x: torch.max(x, torch.tensor(0.0).double()), lambda x: x * (x > 0),
        lambda x: torch.where(x > 0, x, 0.0), lambda x: (x + x.abs()) / 2,
        lambda x: torch.where(x < 0, torch.zeros_like(x), x), lambda x: x.masked_fill(x < 0, 0),
        lambda x: -torch.minimum(-x, torch.zeros_like(x)),
    ]),
    "relu6": (nn.ReLU6(), [
        lambda x: x.clamp(0, 6), lambda x: F.relu(x).clamp(max=6),
        lambda x: F.relu(x) - F.relu(x - 6),
    ]),
    "hardtanh": (nn.Hardtanh(), [
        lambda x: x.clamp(-1, 1), lambda x: x.clamp(min=-1).clamp(max=1),
        lambda x: torch.clip(x, -1.0, 1.0),
    ]),
    "leaky_relu": (nn.LeakyReLU(0.1), [
        lambda x: torch.max(x, 0.1 * x), lambda x: torch.maximum(x * 0.1, x),
        lambda x: torch.where(x > 0, x, 0.1 * x), lambda x: torch.where(x >= 0, x, x / 10),
        lambda x: F.relu(x) - 0.1 * F.relu(-x), lambda x: x.clamp(min=0) + 0.1 * x.clamp(max=0),
        lambda x: 0.55 * x + 0.45 * x.abs(),
    ]),
    "elu": (nn.ELU(0.7), [
        lambda x: torch.where(x > 0, x, 0.7 * torch.expm1(x)),
        lambda x: F.relu(x) + 0.7 * (torch.exp(x.clamp(max=0)) - 1),
    ]),
    "elu of 1": (nn.ELU(), [F.celu, nn.CELU()]),
    "gelu": (nn.GELU(), [
        lambda x: x * 0.5 * (1 + torch.erf(x / math.sqrt(2))),
        lambda x: 0.5 * x * (1.0 + torch.erf(x * 0.7071067811865476)),
        lambda x: x * (torch.erf(x / 2**0.5) + 1) / 2,
    ]),
    "gelu, tanh": (nn.GELU(approximate="tanh"), [
        lambda x: 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
        lambda x: 0.5 * x * (1 + torch.tanh((2 / math.pi) ** 0.5 * (x + 0.044715 * x * x * x))),
        lambda x: x * torch.sigmoid(2 * (2 / math.pi) ** 0.5 * (x + 0.044715 * torch.pow(x, 3))),
    ]),
    "mish": (nn.Mish(), [
        lambda x: x * torch.tanh(F.softplus(x)), lambda x: x * F.softplus(x).tanh(),
    ]),
}  # fmt: skip
CASES = [(name, i) for name, (_, spelled) in SPELLINGS.items() for i in range(len(spelled))]


@pytest.mark.parametrize(("name", "index"), CASES)
def test_layers_values_and_projections_are_those_of_the_activations_own_module(
    name: str, index: int
):
    act, spelled = SPELLINGS[name]
    written = spelled[index]
    module, ours = opened(written if isinstance(written, nn.Module) else Apply(written))
    _, theirs = opened(act)
    assert [(x.name, x.kind) for x in ours.layers] == [(x.name, x.kind) for x in theirs.layers]
    assert ours.activation("a") == "act"
    trace, expected = ours.trace(images()), theirs.trace(images())
    torch.testing.assert_close(trace[ours.output], module(images()))
    for rules in RULES.values():
        for unit in ("act/2", "b/1", f"{ours.output}/3"):
            torch.testing.assert_close(
                project(trace, unit, rules).projection,
                project(expected, unit, rules).projection,
                msg=f"{rules} {unit}",
            )


@pytest.mark.parametrize("beta", [0.5, 1.702])
def test_a_swish_with_a_beta_is_a_silu_with_its_values(beta: float):
    module, network = opened(Apply(lambda x: x * torch.sigmoid(beta * x)))
    assert network.layer("act").kind == "silu"
    trace = network.trace(images())
    torch.testing.assert_close(trace[network.output], module(images()))
    assert network.nodes["act"].settings == {"beta": pytest.approx(beta)}


class Learned(nn.Module):
    """A function of x and of numbers that are learned."""

    def __init__(self, function: Callable[[Tensor, Tensor], Tensor], *numbers: float) -> None:
        super().__init__()
        self.number = nn.Parameter(torch.tensor(numbers).view(-1, 1, 1))
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x, self.number)


@pytest.mark.parametrize(
    ("kind", "function", "numbers"),
    [
        ("silu", lambda x, n: x * torch.sigmoid(n * x), (1.0,)),
        ("silu", lambda x, n: x * torch.sigmoid(n * x), (0.5, 1, 1.5, 2, 3, 1)),
        ("leaky_relu", lambda x, n: torch.max(x, n * x), (0.2,)),
        ("leaky_relu", lambda x, n: torch.max(x, n * x), (0.1, 0.2, 0.3, 0.4, 0.5, 0.6)),
    ],
)
def test_a_learned_number_in_a_spelling_is_followed(
    kind: str, function: Any, numbers: tuple[float, ...]
):
    module, network = opened(Learned(function, *numbers))
    assert [layer.kind for layer in network.layers] == ["conv", kind, "conv", "relu"]
    with torch.no_grad():
        module.act.number *= 0.6
    torch.testing.assert_close(network.trace(images())[network.output], module(images()))
    found = project(network.trace(images()), "b/1@3,4", RULES["gradient"]).projection[0]
    x = images().requires_grad_()
    module.b(module.act(module.a(x)))[0, 1, 3, 4].backward()
    torch.testing.assert_close(found, x.grad[0])
    assert network.identity() != open_network(Net(nn.SiLU()).double().eval(), SHAPE).identity()
    moved = network.to(torch.float32)
    torch.testing.assert_close(
        moved.trace(images())[moved.output].double(), module(images()), rtol=1e-3, atol=1e-4
    )


def test_what_a_learned_number_makes_a_rectifier_for_now_stays_as_it_is_written():
    """relu(x) * 1 + 0, as such networks start: tomorrow the numbers are others."""
    written = Learned(lambda x, n: F.relu(x) * n[0] + n[1], 1.0, 0.0)
    assert [layer.kind for layer in opened(written)[1].layers] == [
        "conv", "relu", "mul", "add", "conv", "relu",
    ]  # fmt: skip


def test_constants_that_are_rounded_make_the_same_kind_and_keep_their_values():
    module, network = opened(Apply(lambda x: x * F.relu6(x + 3) * 0.1667))
    assert network.layer("act").kind == "hardswish"
    trace = network.trace(images())
    assert torch.equal(trace["act"], module.act(trace["a"]))
    exact = opened(nn.Hardswish())[1]
    assert network.identity() != exact.identity()
    theirs = project(exact.trace(images()), "b/1@2,2").projection
    ours = project(trace, "b/1@2,2").projection
    ratio = float(trace["b"][0, 1, 2, 2] / exact.trace(images())["b"][0, 1, 2, 2])
    torch.testing.assert_close(ours, theirs * ratio)  # the deconvnet's way down is the same


def both(x: Tensor) -> Tensor:
    gate = torch.sigmoid(x)
    return x * gate + 0.3 * gate.mean((2, 3), keepdim=True)


STAY: dict[str, tuple[Function, list[str]]] = {
    "a gate that something else reads": (both, ["sigmoid", "mul", "mean", "mul", "add"]),
    "a gate of another value": (
        lambda x: x * torch.sigmoid(x.mean(1, keepdim=True)),
        ["mean", "sigmoid", "mul"],
    ),
    "a product of other pieces": (
        lambda x: x[:, :3] * torch.sigmoid(x[:, 3:]),
        ["slice", "slice", "sigmoid", "mul"],
    ),
    "another function": (lambda x: x * torch.tanh(x), ["tanh", "mul"]),
    "sums and scales": (lambda x: (x * 2 + 1) / 3 - 4, ["mul", "add", "div", "sub"]),
    "an activation as it is, scaled": (lambda x: F.silu(x) * 1.5, ["silu", "mul"]),
    "one activation after the other": (lambda x: F.relu(F.leaky_relu(x)), ["leaky_relu", "relu"]),
    "a guard of a division": (lambda x: 1 / (x.abs() + 1e-5), ["abs", "add", "reciprocal", "mul"]),
    "a tiny shift": (lambda x: x + 1e-8, ["add"]),
    "nearly itself": (lambda x: x * 0.9999, ["mul"]),
    "times one": (lambda x: F.relu(x * 1.0), ["mul", "relu"]),
    "a rectifier of a step up": (lambda x: F.relu(x) + 1, ["relu", "add"]),
    "a gate that differs by place": (
        lambda x: x * torch.sigmoid(x * torch.tensor([0.1, 1.0] * 7).double()),
        ["mul", "sigmoid", "mul"],
    ),
    "an exponential": (torch.exp, ["exp"]),
    "a square": (lambda x: x**2, ["pow"]),
    "a clamp above zero": (lambda x: x.clamp(min=1), ["clamp"]),
    "a clamp that guards a division": (
        lambda x: 1 / x.clamp(min=1e-9),
        ["clamp", "reciprocal", "mul"],
    ),
    "a sign": (lambda x: -x, ["neg"]),
    "a softplus": (F.softplus, ["softplus"]),
    "a quotient": (lambda x: x / x.abs(), ["abs", "div"]),
    "a slope that is learned": (nn.PReLU(), ["prelu"]),
    "the larger of two maps": (
        lambda x: torch.max(x, x.mean(1, keepdim=True)),
        ["mean", "maximum"],
    ),
}


@pytest.mark.parametrize("name", STAY)
def test_what_is_no_activation_is_read_as_it_is_written(name: str):
    function, kinds = STAY[name]
    module = nn.Sequential(nn.Conv2d(3, 6, 3), Apply(function)).double().eval()
    network = open_network(module, SHAPE)
    assert [layer.kind for layer in network.layers] == ["conv", *kinds]
    torch.testing.assert_close(network.trace(images())[network.output], module(images()))


ROUNDED: dict[str, Function] = {
    "after a rectifier": lambda x: F.relu(x).float().double(),
    "before and after": lambda x: F.silu(x.float()).double(),
    "inside of a spelling": lambda x: (x.float() * torch.sigmoid(x.float())).double(),
    "after a spelling": lambda x: (x * torch.sigmoid(x)).bfloat16().double(),
    "in one factor": lambda x: (x * F.relu6(x + 3).float() / 6).double(),
}


@pytest.mark.parametrize("name", ROUNDED)
def test_numbers_that_are_rounded_on_the_way_are_rounded_here(name: str):
    module, network = opened(Apply(ROUNDED[name]))
    image = images().requires_grad_()
    answer = module(image)
    assert torch.equal(network.values(image.detach(), [network.output])[network.output], answer)
    (expected,) = torch.autograd.grad(answer[0, 1, 2, 2], image)
    unit = f"{network.output}/1@2,2"
    found = project(network.trace(image.detach()), unit, RULES["gradient"]).projection
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)


def test_a_mask_that_is_calculated_with_is_no_activation():
    module, network = opened(Apply(lambda x: x * (~(x > 0.5)).double()))
    assert torch.equal(network.values(images(), [network.output])[network.output], module(images()))


def test_the_names_are_those_of_the_module_or_the_kind():
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 3, padding=1)
            self.act = Apply(lambda x: x * torch.sigmoid(x))

        def forward(self, x: Tensor) -> Tensor:
            x = self.act(self.act(self.conv(x))) + x
            return x * F.relu6(x + 3) / 6

    network = open_network(nn.Sequential(Block()), SHAPE)
    assert [layer.name for layer in network.layers] == [
        "0.conv", "0.act", "0.act:2", "0.add", "0.hardswish",
    ]  # fmt: skip
