"""Windows against whole maps: what units saw, and the adjoint of every linear operation."""

from __future__ import annotations

from functools import partial
from unittest.mock import patch

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from convscope.methods import descent
from convscope.methods.project import project
from convscope.methods.rules import GRADIENT
from convscope.models.architectures import zfnet
from convscope.network.from_export import INPUT
from convscope.network.local.receptive_windows import ReceptiveWindows, SavedInCrops, SavedInMaps
from convscope.network.network import Network, open_network
from convscope.network.ops.filters import transposed_convolution
from convscope.network.unit import Unit

from .graphs import graphs


def cone_of(network: Network, layer: str) -> ReceptiveWindows:
    cone = network.cone(layer)
    assert cone is not None
    return cone


def last_map(network: Network) -> str | None:
    """The highest layer whose units' windows move with them."""
    grids = [n for n in network.nodes if len(network.layer(n).shape) == 3]
    return next((name for name in reversed(grids) if network.cone(name) is not None), None)


def crops_of(images: Tensor, cone: ReceptiveWindows, rows: Tensor, positions: Tensor) -> Tensor:
    """Cut each receptive field out of its image, zero outside, by padding (not by `take`)."""
    reach = max(cone.size(INPUT)) + 64
    padded = F.pad(images, [reach] * 4)
    return torch.stack(
        [
            padded[
                row, :, box.top + reach : box.bottom + reach, box.left + reach : box.right + reach
            ]
            for row, box in zip(rows.tolist(), cone.boxes(positions), strict=True)
        ]
    )


def check_the_crops(network: Network, layer: str) -> None:
    """A crop shows a unit what the whole image shows it."""
    cone = cone_of(network, layer)
    images = torch.randn(2, *network.input_shape, dtype=torch.float64)
    height, width = network.layer(layer).grid
    positions = torch.tensor([[0, 0], [height // 2, width // 2], [height - 1, width - 1]])
    rows = torch.tensor([0, 1, 1])
    trace = network.trace(images, [layer])
    whole = SavedInMaps(cone, positions, trace, rows)
    alone = SavedInCrops(cone, positions, crops_of(images, cone, rows, positions))
    for node in cone.nodes:
        torch.testing.assert_close(
            alone.window(node.name), whole.window(node.name), atol=1e-9, rtol=1e-9
        )
        if node.kind == "max_pool":  # places of values that are in the map; ties may differ
            mask = cone.inside(node.name, positions)
            same = alone.places(node) == whole.places(node)
            same = same if mask is None else same | ~mask
            assert same.float().mean() > 0.98


def check_the_frontier(network: Network, layer: str) -> None:
    """Whole maps below, and windows cut out of them above, are what the whole pass gives."""
    cone = cone_of(network, layer)
    images = torch.randn(2, *network.input_shape, dtype=torch.float64)
    height, width = network.layer(layer).grid
    positions = torch.tensor([[0, 0], [height // 2, width // 2], [height - 1, width - 1]])
    rows = torch.tensor([0, 1, 1])
    expected = cone.take(network.values(images, [layer])[layer], layer, rows, positions)
    for worth in (0.0, 0.2, 0.5, 1e9):
        below = cone.frontier(worth)
        maps = network.values(images, below)
        windows = {name: cone.take(maps[name], name, rows, positions) for name in below}
        cone.run(layer, windows, positions)
        torch.testing.assert_close(windows[layer], expected, atol=1e-9, rtol=1e-9)


def check_the_gradient(network: Network, layer: str) -> None:
    """In windows, over whole maps and by autograd: one gradient, inside the receptive field."""
    height, width = network.layer(layer).grid
    places = [(0, 0), (height // 2, width // 2), (height - 1, width - 1)]
    units = [Unit(layer, channel, *place) for channel, place in enumerate(places)]
    image = torch.rand(1, *network.input_shape, dtype=torch.float64, requires_grad=True)
    value = network_value(network, image, layer)
    for share in (0.0, 1e9):
        with patch.object(descent, "WORTH_WINDOWS", share):
            found = project(network.trace(image.detach()), units, GRADIENT)
        for unit, projection, box in zip(units, found.projection, found.box, strict=True):
            at = value[0, unit.channel, unit.row, unit.column]
            (expected,) = torch.autograd.grad(at, image, retain_graph=True)
            torch.testing.assert_close(projection, expected[0], rtol=1e-9, atol=1e-12)
            top, left, bottom, right = box.clamp(min=0).tolist()
            outside = expected[0].clone()
            outside[:, top:bottom, left:right] = 0
            assert not outside.any()


class Gated(nn.Module):
    """A layer of yes and no between two convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.below, self.above = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.below(images)
        return self.above(torch.where(maps > 0, 2 * maps, maps * maps))


def test_a_layer_of_yes_and_no_stays_one_outside_the_map() -> None:
    torch.manual_seed(0)
    network = open_network(Gated().double().requires_grad_(False), (3, 16, 16))
    check_the_crops(network, "above")
    check_the_gradient(network, "above")


def network_value(network: Network, image: Tensor, layer: str) -> Tensor:
    """A layer's value by the operations of the graph, with autograd's record of them."""
    values = {INPUT: image}
    for node in network.below([layer]):
        values[node.name] = node.forward(*(values[name] for name in node.inputs))
    return values[layer]


@given(graphs(gates=False), st.integers(0, 2**16))
def test_random_graphs_in_windows_are_what_they_are_over_whole_maps(
    graph: tuple[nn.Module, tuple[int, int, int]], seed: int
) -> None:
    """What units see, their projections, and the adjoints of operations, in float64."""
    module, shape = graph
    network = open_network(module.double().requires_grad_(False), shape)
    layer = last_map(network)
    if layer is None:
        return
    torch.manual_seed(seed)
    check_the_crops(network, layer)
    check_the_frontier(network, layer)
    check_the_gradient(network, layer)
    check_the_adjoints(network, layer)


def check_the_adjoints(network: Network, layer: str) -> None:
    """<A x, y> = <x, A^T y>, A being a linear operation on a window that holds its border."""
    cone = cone_of(network, layer)
    height, width = network.layer(layer).grid
    positions = torch.tensor([[height // 2, width // 2]])
    images = torch.randn(1, *network.input_shape, dtype=torch.float64)
    seen = SavedInMaps(cone, positions, network.trace(images, [layer]), torch.tensor([0]))
    for node in cone.nodes:
        rule = node.op.adjoint_on_window
        if node.pointwise or node.op.adjoint_looks(node) or "bias" in node.tensors:
            continue
        size = cone.edges[node.name][0].size
        x = torch.randn(1, node.below[0][0], *size, dtype=torch.float64)
        y = torch.randn(1, node.shape[0], *cone.size(node.name), dtype=torch.float64)
        assert rule is not None
        (back,) = rule(node, y, seen.at(node))
        place = cone.place(node, positions) if node.placed else None
        run = partial(node.forward_on_window, place=place)
        linear = run(x) - run(torch.zeros_like(x))  # a border may be filled with a number
        torch.testing.assert_close((linear * y).sum(), (x * back).sum())


@pytest.mark.parametrize("stride", [1, 2, 3, 4])
@pytest.mark.parametrize("kernel", [1, 3, 4, 7])
@pytest.mark.parametrize("channels", [3, 8])
def test_every_way_to_transpose_a_convolution_is_the_adjoint(
    stride: int, kernel: int, channels: int
) -> None:
    torch.manual_seed(0)
    module = nn.Conv2d(channels, 6, kernel, stride, bias=False).double()
    network = open_network(nn.Sequential(module), (channels, 24, 24))
    (node,) = network.nodes.values()
    signal = torch.randn(2, 6, 3, 4, dtype=torch.float64)
    size = (2 * stride + kernel, 3 * stride + kernel)
    x = torch.randn(2, channels, *size, dtype=torch.float64)
    back = transposed_convolution(node)(signal)
    assert back.shape == x.shape
    torch.testing.assert_close((module(x) * signal).sum(), (x * back).sum())


def test_zfnets_cones_are_the_receptive_fields() -> None:
    network = open_network(zfnet(10).eval(), (3, 224, 224))
    sizes = {f"conv{i}": cone_of(network, f"conv{i}").size(INPUT) for i in range(1, 6)}
    assert sizes == {
        "conv1": (7, 7),
        "conv2": (27, 27),
        "conv3": (75, 75),
        "conv4": (107, 107),
        "conv5": (139, 139),
    }


def test_a_layer_that_sees_everything_has_no_cone() -> None:
    network = open_network(zfnet(10).eval(), (3, 224, 224))
    assert network.cone("fc6") is None
