"""Receptive fields: the non-zero input gradient lies inside them, and fills those called exact."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from convscope.geometry.box import Box
from convscope.geometry.window import Status
from convscope.models.architectures import zfnet
from convscope.network.network import Network, open_network
from nets import ODD_SETTINGS, odd_network

Opened = Callable[[str], tuple[nn.Module, Network]]

LAYERS = {
    "alexnet": ["features.0", "features.2", "features.4", "features.5", "avgpool"],
    "vgg11": ["features.0", "features.4", "features.9", "features.13", "classifier.0"],
    "vgg11_bn": ["features.1", "features.6", "features.13", "features.18"],
    "squeezenet1_1": ["features.2", "features.3", "features.5", "features.7", "features.9"],
    "resnet18": ["conv1", "maxpool", "layer1.0.bn2", "layer2.0.downsample.1", "layer2.1.conv2"],
    "googlenet": ["conv1", "maxpool2", "inception3a.branch3.1", "inception3a", "inception4a"],
    "inception_v3": ["Conv2d_2b_3x3", "maxpool2", "Mixed_5b.branch5x5_2", "Mixed_5c.branch1x1"],
    "densenet121": [
        "features.pool0",
        "features.denseblock1.denselayer2.conv2",
        "features.denseblock1",
        "features.transition1.pool",
    ],
    "mobilenet_v2": [
        "features.0.2",
        "features.3.conv.1.0",
        "features.4.conv.3",
        "features.9.conv.3",
    ],
    "shufflenet_v2_x0_5": ["maxpool", "stage2.0.branch1.4", "stage2.1.branch2.4", "conv5.2"],
}


def hull(gradient: Tensor) -> Box | None:
    """The smallest box that holds the non-zero pixels of a gradient (C, H, W)."""
    rows, columns = (gradient != 0).any(0).nonzero(as_tuple=True)
    if len(rows) == 0:
        return None
    return Box(int(rows.min()), int(columns.min()), int(rows.max()) + 1, int(columns.max()) + 1)


def inside(inner: Box | None, outer: Box) -> bool:
    return inner is None or inner.hull(outer) == outer


def corners_and_centre(grid: tuple[int, int]) -> list[tuple[int, int]]:
    rows, columns = grid
    centre = (rows // 2, columns // 2)
    return list(dict.fromkeys([(0, 0), (0, columns - 1), (rows - 1, columns - 1), centre]))


def seen(value: Tensor, images: Tensor, position: tuple[int, int]) -> Box | None:
    """The pixels that a layer's value (1, C, H, W) at a position depends on."""
    at = value[0, :, position[0], position[1]] if value.dim() == 4 else value[0]
    weights = torch.linspace(1, 2, at.numel(), dtype=at.dtype) ** 3  # channels must not cancel
    return hull(torch.autograd.grad((at * weights).sum(), images, retain_graph=True)[0][0])


def test_zfnets_fields_are_the_papers():
    network = open_network(zfnet(10, units=16), (3, 224, 224))
    fields = {
        name: (layer.field.size, layer.field.rows.stride)
        for name in network.conv_layers()
        if (layer := network.layer(name)).status is Status.EXACT
    }
    assert fields == {
        "conv1": ((7, 7), 2),
        "conv2": ((27, 27), 8),
        "conv3": ((75, 75), 16),
        "conv4": ((107, 107), 16),
        "conv5": ((139, 139), 16),
    }
    assert network.layer("conv1").field.box((0, 0)) == Box(-1, -1, 6, 6)
    assert network.layer("conv5").field.rows.start == -49
    assert network.layer("fc6").field.box((0, 0)) == Box(0, 0, 224, 224)
    assert network.layer("fc6").status is Status.GLOBAL


@pytest.mark.parametrize("name", LAYERS)
def test_the_input_gradient_of_torchvisions_networks_lies_inside_the_field(
    name: str, torchvision_network: Opened
):
    module, network = torchvision_network(name)
    generator = torch.Generator().manual_seed(2)
    images = torch.randn(1, *network.input_shape, generator=generator, requires_grad=True)
    values: dict[str, Tensor] = {}
    hooks = [
        module.get_submodule(path).register_forward_hook(
            lambda _, __, value, path=path: values.update({path: value.clone()})
        )
        for path in LAYERS[name]
    ]
    module(images)
    for hook in hooks:
        hook.remove()
    found_any = 0
    for path, value in values.items():
        layer = network.layer(path)
        assert tuple(value.shape[1:]) == layer.shape
        for position in corners_and_centre(layer.grid):
            gradient = seen(value, images, position)
            assert inside(gradient, layer.field.box(position)), (path, position)
            found_any += gradient is not None
    assert found_any > len(values)


def reads_all(network: Network) -> bool:
    """Whether no maximum and no rectifier hides what a layer reads."""
    hiding = {"max_pool", "relu", "hardtanh", "hardswish", "hardsigmoid"}
    return not hiding & {layer.kind for layer in network.layers}


@pytest.mark.parametrize("name", ODD_SETTINGS)
def test_the_input_gradient_of_odd_settings_lies_inside_the_field_and_fills_an_exact_one(name: str):
    module, network = odd_network(name)
    layer = network.layers[-1]
    images = torch.rand(1, *network.input_shape, dtype=torch.float64, requires_grad=True)
    value = module(images)
    rows, columns = layer.grid
    for position in [(row, column) for row in range(rows) for column in range(columns)]:
        gradient, box = seen(value, images, position), layer.field.box(position)
        assert inside(gradient, box)
        inside_image = box == box.clip(*network.input_shape[1:])
        if layer.status is Status.EXACT and inside_image and reads_all(network):
            assert gradient == box


class Positive(nn.Module):
    """Random convolutions and mean pools with positive weights: no gradient cancels."""

    def __init__(self, layers: list[tuple[int, int, int]], residual: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.AvgPool2d(kernel, stride, min(padding, kernel // 2))
            if index % 2
            else nn.Conv2d(1, 1, kernel, stride, padding)
            for index, (kernel, stride, padding) in enumerate(layers)
        )
        self.branch = nn.Conv2d(1, 1, 2 * residual + 1, padding=residual)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, 0.5, 1)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return torch.cat([self.branch(x) + x, x.relu()], 1)


@given(
    st.lists(st.tuples(st.integers(1, 3), st.integers(1, 2), st.integers(0, 1)), max_size=4),
    st.integers(0, 1),
)
def test_an_exact_field_inside_the_image_is_the_gradients_box(
    layers: list[tuple[int, int, int]], residual: int
):
    module = Positive(layers, residual).double()
    network = open_network(module, (1, 23, 22))
    layer = network.layers[-1]
    assert layer.status is Status.EXACT
    images = torch.rand(1, 1, 23, 22, dtype=torch.float64, requires_grad=True)
    value = module(images)
    for position in corners_and_centre(layer.grid):
        gradient, box = seen(value, images, position), layer.field.box(position)
        assert inside(gradient, box)
        if box == box.clip(23, 22):
            assert gradient == box


def test_without_padding_every_field_is_the_gradients_box():
    module = Positive([(3, 2, 0), (2, 2, 0), (3, 1, 0)], residual=0).double()
    network = open_network(module, (1, 23, 22))
    images = torch.rand(1, 1, 23, 22, dtype=torch.float64, requires_grad=True)
    value = module(images)
    layer = network.layers[-1]
    for position in corners_and_centre(layer.grid):
        assert seen(value, images, position) == layer.field.box(position)


def test_a_field_may_be_global_along_one_axis_only():
    network = open_network(nn.AdaptiveAvgPool2d((1, 3)), (3, 8, 9))
    layer = network.layers[-1]
    assert layer.status is Status.GLOBAL
    assert layer.field.box((0, 1)) == Box(0, 3, 8, 6)
    assert str(network).splitlines()[1].split()[-4:] == ["8x3", "0x3", "0", "global"]


def test_fields_after_up_sampling_have_fractional_strides():
    network = open_network(
        nn.Sequential(nn.Conv2d(1, 1, 3), nn.Upsample(scale_factor=2)), (1, 6, 6)
    )
    field = network.layer("1").field
    assert (field.size, field.rows.stride) == ((3, 3), Fraction(1, 2))
    assert [field.box((row, 0)).top for row in range(4)] == [0, 0, 1, 1]
