"""Projections against a second deconvnet written from the formulas, and by eye."""

from __future__ import annotations

from collections.abc import Callable
from unittest.mock import patch

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import Tensor, nn

from convscope.methods import descent
from convscope.methods.project import project
from convscope.methods.rules import DECONVNET, GRADIENT, GUIDED, Rules
from convscope.network.network import open_network
from convscope.network.unit import Unit
from methods.naive import Method, project_naively
from nets import ODD_SETTINGS, Branches, Residual, odd_network

METHODS: dict[Method, Rules] = {"deconvnet": DECONVNET, "gradient": GRADIENT, "guided": GUIDED}
WINDOWS = {"whole maps": 0.0, "windows": 1e9}


def relative_error(found: Tensor, expected: np.ndarray) -> float:
    difference = np.abs(found.double().numpy() - expected).max()
    return float(difference / (np.abs(expected).max() or 1.0))


def random_weights(module: nn.Module) -> nn.Module:
    for child in module.modules():
        if isinstance(child, nn.BatchNorm2d):
            nn.init.normal_(child.weight)
            nn.init.normal_(child.bias, 0, 0.3)
            nn.init.normal_(child.running_mean, 0, 0.3)  # type: ignore[arg-type]
            nn.init.uniform_(child.running_var, 0.5, 2)  # type: ignore[arg-type]
    return module.double().eval()


def check_against_naive(module: nn.Sequential, image: Tensor, tolerance: float) -> None:
    """Every layer of the Sequential, two units each, every method, by both ways down."""
    network = open_network(module, tuple(image.shape))
    trace = network.trace(image)
    for depth in range(1, len(module) + 1):
        layer = network.layer(str(depth - 1))
        for channel in {0, layer.channels - 1}:
            grid = layer.grid
            place = (grid[0] // 2, grid[1] - 1) if len(layer.shape) == 3 else ()
            unit = Unit(layer.name, channel, *place)
            for method, rules in METHODS.items():
                activation, expected = project_naively(
                    module[:depth], image.double().numpy(), (channel, *place), method
                )
                for share in WINDOWS.values():
                    with patch.object(descent, "WORTH_WINDOWS", share):
                        found = project(trace, unit, rules)
                    assert found.activation.item() == pytest.approx(activation, rel=tolerance)
                    assert relative_error(found.projection[0], expected) <= tolerance
                    assert outside(found.projection[0], found.box[0]).abs().max() == 0


def outside(projection: Tensor, box: Tensor) -> Tensor:
    """The projection with its receptive field blanked."""
    top, left, bottom, right = box.clamp(min=0).tolist()
    rest = projection.clone()
    rest[:, top:bottom, left:right] = 0
    return rest


conv, relu, pool = nn.Conv2d, nn.ReLU, nn.MaxPool2d
CASES: dict[str, Callable[[], list[nn.Module]]] = {
    "unequal kernel, stride and padding": lambda: [conv(2, 3, (3, 2), (2, 1), (0, 2)), relu()],
    "dilation": lambda: [conv(2, 3, 2, dilation=(2, 3), padding=1), relu(), conv(3, 2, 2)],
    "groups": lambda: [conv(2, 6, 3, groups=2), relu(), conv(6, 4, 2, groups=2)],
    "depthwise": lambda: [conv(2, 4, 3, groups=2), relu(), conv(4, 3, 1)],
    "rows left over by a stride": lambda: [conv(2, 3, 2, stride=3), relu(), conv(3, 3, 1)],
    "overlapping pools share switches": lambda: [
        conv(2, 3, 3), relu(), pool(3, 1), conv(3, 2, 2), relu(),
    ],
    "a pool rounded up": lambda: [conv(2, 3, 2), relu(), pool(3, 2, ceil_mode=True)],
    "a padded, dilated pool": lambda: [
        conv(2, 3, 2), pool(2, 2, padding=1, dilation=2), relu(),
    ],
    "a pool before its rectifier": lambda: [
        conv(2, 3, 3, padding=1), pool(2), relu(), conv(3, 2, 3, padding=1),
    ],
    "LRN": lambda: [
        conv(2, 5, 3), relu(), nn.LocalResponseNorm(3, 0.7, 0.6, 1.3), conv(5, 2, 2),
    ],
    "LRN of even size": lambda: [
        conv(2, 5, 3), relu(), nn.LocalResponseNorm(4, 0.7, 0.6, 1.3), conv(5, 2, 2),
    ],
    "batch norm": lambda: [
        conv(2, 3, 3, bias=False), nn.BatchNorm2d(3), relu(), conv(3, 2, 3),
        nn.BatchNorm2d(2), relu(),
    ],
    "a residual sum": lambda: [
        conv(2, 3, 3), Residual(nn.Sequential(relu(), conv(3, 3, 3, padding=1))),
        relu(), conv(3, 2, 2),
    ],
    "branches side by side": lambda: [
        conv(2, 3, 2), relu(),
        Branches(
            nn.Sequential(conv(3, 2, 1), relu()),
            nn.Sequential(conv(3, 3, 3, padding=1), relu()),
            pool(3, 1, 1),
        ),
        conv(8, 2, 2), relu(),
    ],
    "the paper's order, to a vector": lambda: [
        conv(2, 4, 3, padding=1), relu(), pool(3, 2, ceil_mode=True),
        nn.LocalResponseNorm(3, 0.5, 0.75, 2.0), conv(4, 4, 3, padding=1), relu(),
        nn.Flatten(), nn.Dropout(), nn.Linear(48, 6), relu(), nn.Linear(6, 3),
    ],
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_the_projection_is_the_one_written_from_the_formulas(name: str):
    torch.manual_seed(0)
    module = random_weights(nn.Sequential(*CASES[name]()))
    check_against_naive(module, torch.randn(2, 8, 7, dtype=torch.float64), 1e-10)


def test_single_precision_stays_within_one_part_in_100_000():
    torch.manual_seed(0)
    module = nn.Sequential(*CASES["the paper's order, to a vector"]()).float().eval()
    check_against_naive(module, torch.randn(2, 8, 7), 1e-5)


@st.composite
def layers(draw: st.DrawFn, maps: int) -> tuple[list[nn.Module], int]:
    """A convolution, a pool, a sum or branches with `maps` maps below, and the maps above."""
    kind = draw(st.sampled_from(["conv", "conv", "pool", "residual", "branches"]))
    small, flag = st.integers(1, 2), st.booleans()
    if kind == "conv":
        above = draw(st.sampled_from([2, 4]))
        settings = {
            "kernel_size": draw(st.tuples(st.integers(1, 3), st.integers(1, 3))),
            "stride": draw(st.tuples(small, small)),
            "padding": draw(st.tuples(st.integers(0, 2), st.integers(0, 2))),
            "dilation": draw(st.tuples(small, small)),
            "groups": draw(st.sampled_from([1, 2])),
            "bias": draw(flag),
        }
        norm = [nn.BatchNorm2d(above)] if draw(flag) else []
        return [nn.Conv2d(maps, above, **settings), *norm, nn.ReLU()], above
    if kind == "pool":
        kernel = draw(st.integers(2, 3))
        pool = nn.MaxPool2d(
            kernel,
            draw(st.integers(1, 3)),
            draw(st.integers(0, 1)),
            dilation=draw(small),
            ceil_mode=draw(flag),
        )
        norm = [nn.LocalResponseNorm(draw(st.integers(1, 4)), 0.7, 0.6, 1.2)] if draw(flag) else []
        return [pool, *norm], maps
    body = nn.Sequential(nn.Conv2d(maps, maps, 3, padding=1), nn.ReLU())
    if kind == "residual":
        return [Residual(body), nn.ReLU()], maps
    return [Branches(body, nn.MaxPool2d(3, 1, 1))], 2 * maps


@st.composite
def networks(draw: st.DrawFn) -> tuple[nn.Sequential, Tensor]:
    torch.manual_seed(draw(st.integers(0, 2**16)))
    stack: list[nn.Module] = [nn.Conv2d(2, 2, draw(st.integers(1, 2)))]
    maps = 2
    for _ in range(draw(st.integers(1, 3))):
        added, maps = draw(layers(maps))
        stack += added
    image = torch.randn(2, draw(st.integers(6, 9)), draw(st.integers(6, 9)), dtype=torch.float64)
    module = random_weights(nn.Sequential(*stack))
    try:
        module(image[None])
    except RuntimeError:  # nothing is left of the map
        assume(False)
    return module, image


@given(networks())
def test_random_networks_project_as_the_formulas_say(drawn: tuple[nn.Sequential, Tensor]):
    check_against_naive(*drawn, tolerance=1e-10)


@pytest.mark.parametrize("name", ODD_SETTINGS)
def test_the_gradient_rules_give_the_derivative_of_every_operation(name: str):
    module, network = odd_network(name)
    layer = network.layers[-1]
    image = torch.randn(1, *network.input_shape, dtype=torch.float64, requires_grad=True)
    value = module(image)[0]
    place = (layer.grid[0] // 2, layer.grid[1] - 1) if value.dim() == 3 else ()
    (expected,) = torch.autograd.grad(value[(1 % layer.channels, *place)], image)
    unit = Unit(layer.name, 1 % layer.channels, *place)
    for share in WINDOWS.values():
        with patch.object(descent, "WORTH_WINDOWS", share):
            found = project(network.trace(image), unit, GRADIENT)
        torch.testing.assert_close(found.projection, expected, rtol=1e-9, atol=1e-12)
