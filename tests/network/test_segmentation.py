"""Networks that go down and up again: windows all the way, in both directions."""

from __future__ import annotations

from functools import cache
from unittest.mock import patch

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from convscope.methods import descent
from convscope.methods.project import project
from convscope.methods.rules import GRADIENT, RULES
from convscope.network.local.incremental import BoxGrid, IncrementalSweep
from convscope.network.network import Network, open_network

SHAPE = (3, 48, 40)


def block(below: int, above: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(below, above, 3, padding=1), nn.BatchNorm2d(above), nn.ReLU(),
    )  # fmt: skip


class UNet(nn.Module):
    """Two steps down, two up; what was seen on the way down is put beside it, cropped if need be.

    up : "transposed", or a mode of F.interpolate
    """

    def __init__(self, up: str) -> None:
        super().__init__()
        self.up, self.padding = up, int(up != "cropped")
        self.down = nn.ModuleList([block(3, 4), block(4, 6), block(6, 8)])
        self.grow = nn.ModuleList(
            [nn.ConvTranspose2d(8, 6, 2, 2), nn.ConvTranspose2d(6, 4, 3, 2, 1, output_padding=1)]
        )
        self.mix = nn.ModuleList([nn.Conv2d(8, 6, 1), nn.Conv2d(6, 4, 1)])
        self.join = nn.ModuleList([block(12, 6), block(8, 4)])
        self.classes = nn.Conv2d(4, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        one = self.down[0](x)
        two = self.down[1](F.max_pool2d(one, 2))
        y = self.down[2](F.max_pool2d(two, 2))
        for i, skip in enumerate((two, one)):
            y = self.join[i](self.beside(self.larger(y, i, skip), skip))
        return self.classes(y)

    def larger(self, y: Tensor, i: int, skip: Tensor) -> Tensor:
        if self.up in ("transposed", "cropped"):
            return self.grow[i](y)
        return self.mix[i](F.interpolate(y, size=skip.shape[2:], mode=self.up))

    def beside(self, y: Tensor, skip: Tensor) -> Tensor:
        if self.up == "cropped":  # as in the first U-Net, whose convolutions were not padded
            y = y[:, :, 1:-1, 1:-1]
            skip = skip[:, :, 1 : 1 + y.shape[2], 1 : 1 + y.shape[3]]
        return torch.cat([skip, y], 1)


class SegNet(nn.Module):
    """Up again by the switches of the pools on the way down."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = block(3, 4), block(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        y, switches = F.max_pool2d(self.first(x), 2, return_indices=True)
        return self.second(F.max_unpool2d(y, switches, 2))


UPS = ["transposed", "nearest", "bilinear", "cropped"]


@cache
def opened(up: str) -> tuple[nn.Module, Network]:
    torch.manual_seed(0)
    module = (SegNet() if up == "switches" else UNet(up)).double().eval().requires_grad_(False)
    return module, open_network(module, SHAPE)


@pytest.mark.parametrize("up", [*UPS, "switches"])
def test_a_map_of_classes_under_an_occluder_is_the_modules(up: str) -> None:
    module, network = opened(up)
    image, change = torch.rand(2, *SHAPE, dtype=torch.float64)
    boxes = BoxGrid(((0, 6), (21, 27), (42, 48)), ((3, 9), (33, 40)))
    sweep = IncrementalSweep(network, boxes, [network.output], {network.output: [0, 2]})
    outputs, sums = sweep.run(image, change)
    for i, (top, bottom) in enumerate(boxes.rows):
        for j, (left, right) in enumerate(boxes.columns):
            variant = image.clone()
            variant[:, top:bottom, left:right] = change[:, top:bottom, left:right]
            expected = module(variant[None])[0]
            torch.testing.assert_close(
                outputs[network.output][i, j], expected, rtol=1e-12, atol=1e-13
            )
            total = expected[[0, 2]].sum((1, 2))
            torch.testing.assert_close(sums[network.output][i, j], total, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("up", UPS)
def test_windows_stay_windows_up_to_the_map_of_classes(up: str) -> None:
    _, network = opened(up)
    boxes = BoxGrid(((0, 6), (21, 27), (42, 48)), ((3, 9), (33, 40)))
    sweep = IncrementalSweep(network, boxes, [network.output])
    assert all(step.windowed for step in sweep.plan.steps)
    assert sweep.work.executed <= 1.05 * sweep.work.exact < 0.5 * sweep.work.full
    cone = network.cone(network.output)
    assert cone is not None
    assert cone.share() < 0.6


@pytest.mark.parametrize("up", [*UPS, "switches"])
def test_a_class_at_a_position_is_projected_by_its_gradient(up: str) -> None:
    module, network = opened(up)
    image = torch.rand(1, *SHAPE, dtype=torch.float64, requires_grad=True)
    value = module(image)[0]
    rows, columns = value.shape[1:]
    places = [(0, 0), (rows // 2, columns // 2), (rows // 2 + 1, columns // 2 - 2), (rows - 1, 3)]
    units = [f"{network.output}/{i % 3}@{row},{column}" for i, (row, column) in enumerate(places)]
    trace = network.trace(image.detach())
    for share in (0.0, 1e9):
        with patch.object(descent, "WORTH_WINDOWS", share):
            found = project(trace, units, GRADIENT)
        for i, ((row, column), picture) in enumerate(zip(places, found.projection, strict=True)):
            (expected,) = torch.autograd.grad(value[i % 3, row, column], image, retain_graph=True)
            torch.testing.assert_close(picture, expected[0], rtol=1e-10, atol=1e-14)
            top, left, bottom, right = found.box[i].clamp(min=0).tolist()
            outside = expected[0].clone()
            outside[:, top:bottom, left:right] = 0
            assert not outside.any()


@pytest.mark.parametrize("up", UPS)
def test_every_method_gives_in_windows_what_it_gives_over_whole_maps(up: str) -> None:
    _, network = opened(up)
    trace = network.trace(torch.rand(2, *SHAPE, dtype=torch.float64))
    units, images = [f"{network.output}/{c}" for c in (0, 1, 2)], [0, 1, 1]
    for rules in RULES.values():
        found = []
        for share in (0.0, 1e9):
            with patch.object(descent, "WORTH_WINDOWS", share):
                found.append(project(trace, units, rules, images=images).projection)
        assert found[0].abs().max() > 0
        torch.testing.assert_close(found[1], found[0], rtol=1e-12, atol=1e-14)
