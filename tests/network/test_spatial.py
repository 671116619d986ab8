"""Operations that tell one position from another, against the module itself, in float64."""

from __future__ import annotations

from copy import deepcopy
from functools import cache
from itertools import product
from unittest.mock import patch

import pytest
import torch
from torch import Tensor, nn

from convscope.geometry.window import Status
from convscope.methods import descent
from convscope.methods.project import project
from convscope.methods.rules import GRADIENT, RULES
from convscope.network.local.fusion import fused_steps
from convscope.network.local.incremental import BoxGrid, IncrementalSweep
from convscope.network.network import Network, open_network

from .refusing import may_refuse
from .spatial import BY_POSITION, CROPS, PLACED, SIZE, ByPosition

ON_WINDOWS = {**CROPS, **PLACED}
FORMS = {**ON_WINDOWS, **BY_POSITION}
HIDING = (
    "a mask", "a crop beside a pool", "adaptive maximum", "a skip beside what was doubled",
    "a pool of a border of nothing",
)  # fmt: skip
"""Where what is not the maximum, or is masked, is not read."""
SHAPE = (3, *SIZE)
BOXES = BoxGrid(((0, 3), (4, 7), (5, 6), (11, 14)), ((0, 2), (3, 6), (10, 13)))


@cache
def opened(name: str) -> tuple[ByPosition, Network]:
    torch.manual_seed(0)
    module = ByPosition(FORMS[name]).double().eval().requires_grad_(False)
    return module, open_network(module, SHAPE)


def last_maps(module: ByPosition, network: Network) -> str:
    """The layer that `ByPosition.maps` gives."""
    shape = tuple(module.maps(torch.zeros(1, *SHAPE, dtype=torch.float64)).shape[1:])
    return next(name for name in reversed(network.nodes) if network.layer(name).shape == shape)


@pytest.mark.parametrize("name", FORMS)
def test_a_sweep_gives_what_the_module_says_of_each_changed_image(name: str) -> None:
    module, network = opened(name)
    image, change = torch.rand(2, *SHAPE, dtype=torch.float64)
    layer = last_maps(module, network)
    sums = {layer: [0, 2]} if len(network.layer(layer).shape) == 3 else {}
    sweep = IncrementalSweep(network, BOXES, [network.output], sums)
    outputs, activities = sweep.run(image, change)
    for (i, rows), (j, columns) in product(enumerate(BOXES.rows), enumerate(BOXES.columns)):
        variant = image.clone()
        for row, column in product(range(*rows), range(*columns)):
            variant[:, row, column] = change[:, row, column]
        torch.testing.assert_close(
            outputs[network.output][i, j], module(variant[None])[0], rtol=1e-12, atol=1e-13
        )
        if sums:
            expected = module.maps(variant[None])[0, [0, 2]].sum((1, 2))
            torch.testing.assert_close(activities[layer][i, j], expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("name", FORMS)
def test_what_is_exact_on_windows_runs_on_windows_and_nothing_else(name: str) -> None:
    module, network = opened(name)
    maps = [n.name for n in network.nodes.values() if len(n.shape) > 1]
    on_windows = all(step.windowed for step in fused_steps(network, maps))
    assert on_windows == (name in ON_WINDOWS)
    if name in CROPS:
        assert network.layer(last_maps(module, network)).status is Status.EXACT
    if name in ON_WINDOWS:
        assert network.cone(last_maps(module, network)) is not None


@pytest.mark.parametrize("share", [0.0, 1e9], ids=["whole maps", "windows"])
@pytest.mark.parametrize("name", FORMS)
def test_a_projection_by_the_gradients_rules_is_the_gradient(name: str, share: float) -> None:
    module, network = opened(name)
    image = torch.rand(1, *SHAPE, dtype=torch.float64, requires_grad=True)
    trace = network.trace(image.detach())
    layer = network.layer(last_maps(module, network))
    rows, columns = layer.grid
    units = [(f"{network.output}/3", module(image)[0, 3])]
    if len(layer.shape) == 3:
        value = module.maps(image)[0]
        units += [
            (f"{layer.name}/{channel}@{row},{column}", value[channel, row, column])
            for channel, row, column in ((0, 0, 0), (1, rows // 2, columns // 2), (2, -1, -1))
            for row, column in [(row % rows, column % columns)]
        ]
    with patch.object(descent, "WORTH_WINDOWS", share):
        found = project(trace, [unit for unit, _ in units], GRADIENT)
    for projection, (_, value) in zip(found.projection, units, strict=True):
        (expected,) = torch.autograd.grad(value, image, retain_graph=True)
        torch.testing.assert_close(projection, expected[0], rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("name", [*CROPS, "bilinear x 2", "mirrored border", "pixels shuffled"])
@pytest.mark.parametrize("rules", RULES.values(), ids=str)
def test_every_method_gives_on_windows_what_it_gives_on_whole_maps(
    name: str, rules: descent.Rules
) -> None:
    module, network = opened(name)
    layer = last_maps(module, network)
    trace = network.trace(torch.rand(2, *SHAPE, dtype=torch.float64))
    units, images = [f"{layer}/{c}" for c in (0, 1, 2)], [0, 1, 1]
    found = []
    for share in (0.0, 1e9):
        with patch.object(descent, "WORTH_WINDOWS", share), may_refuse(rules):
            found.append(project(trace, units, rules, images=images).projection)
    if not found:
        return  # refused both ways
    assert found[0].abs().max() > 0
    torch.testing.assert_close(found[1], found[0], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", FORMS)
def test_a_layers_field_holds_all_that_it_reads_and_an_exact_one_no_more(name: str) -> None:
    """Rectifiers hide what is read, and read no more: the module is asked without them. Channels
    are weighted so as not to cancel.

    Values at the border of a map read the padding, which is nowhere in the image.
    """
    module, network = opened(name)
    layer = network.layer(last_maps(module, network))
    module = deepcopy(module)
    module.act = nn.Identity()
    image = torch.rand(1, *SHAPE, dtype=torch.float64, requires_grad=True)
    value = module.maps(image)[0]
    if value.dim() < 3:  # rows and columns alone, or a vector
        value = value[None] if value.dim() == 2 else value[:, None, None]
    rows, columns = value.shape[1:]
    found = 0
    for row, column in product(range(rows), range(columns)):
        at = value[:, row, column]
        weights = torch.linspace(1, 2, len(at), dtype=torch.float64) ** 3
        (gradient,) = torch.autograd.grad((at * weights).sum(), image, retain_graph=True)
        box = layer.field.box((row, column))
        seen = box.clip(*SIZE)
        inside = gradient[0, :, seen.top : seen.bottom, seen.left : seen.right]
        assert inside.count_nonzero() == gradient.count_nonzero()
        found += int(inside.count_nonzero())
        between = 0 < row < rows - 1 and 0 < column < columns - 1
        if layer.status is Status.EXACT and box == seen and between and name not in HIDING:
            hit = (inside != 0).any(0)
            assert hit.any(1)[[0, -1]].all() and hit.any(0)[[0, -1]].all()
    assert found > 0


def test_a_step_and_a_crop_have_the_windows_of_the_formula() -> None:
    """Row i of y[2:11:3] is row 2 + 3i; a 3x3 filter, padded by one, sees one row around it."""
    _, network = opened("[..., 2:11:3]")
    field = network.layer("slice").field
    assert (field.columns.size, field.columns.stride, field.columns.start) == (3, 3, 1)
    assert (field.rows.size, field.rows.stride, field.rows.start) == (3, 1, -1)


class Shared(nn.Module):
    """Two inputs of a sum are brought the same signal; one of them is read once more above."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(3, 4, 3, padding=1)
        self.three, self.four = nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 3, padding=1)
        self.last = nn.Conv2d(8, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        one, two = self.one(x), self.two(x)
        again = self.three(one)
        return self.last(torch.cat([self.four(one + two), again], 1))


def test_what_is_brought_to_one_input_of_a_sum_stays_away_from_the_other() -> None:
    torch.manual_seed(0)
    module = Shared().double()
    network = open_network(module, (3, 20, 20))
    image = torch.rand(1, 3, 20, 20, dtype=torch.float64, requires_grad=True)
    assert network.cone("last") is not None
    found = project(network.trace(image.detach()), "last/1@9,9", GRADIENT).projection
    (expected,) = torch.autograd.grad(module(image)[0, 1, 9, 9], image)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-14)


def test_a_projection_follows_weights_that_are_trained_on() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3, 2), nn.Conv2d(4, 4, 3)).double()
    network = open_network(module, (3, 30, 30))
    image = torch.rand(1, 3, 30, 30, dtype=torch.float64, requires_grad=True)
    assert network.cone("2") is not None
    for _ in range(2):
        found = project(network.trace(image.detach()), "2/1@3,3", GRADIENT).projection
        (expected,) = torch.autograd.grad(module(image)[0, 1, 3, 3], image)
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-14)
        with torch.no_grad():
            for layer in module:
                layer.weight.mul_(2)
