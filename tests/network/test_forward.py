"""A network computes what its module computes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from convscope.errors import BadInput, NoSuchLayer
from convscope.network.network import Network, open_network
from nets import ODD_SETTINGS, odd_network

Opened = Callable[[str], tuple[nn.Module, Network]]

TORCHVISION = (
    "alexnet", "vgg11_bn", "squeezenet1_1", "resnet18", "googlenet", "inception_v3",
    "densenet121", "mobilenet_v2", "shufflenet_v2_x0_5",
)  # fmt: skip


@pytest.mark.parametrize("name", TORCHVISION)
def test_a_layer_that_bears_a_modules_name_has_that_modules_value(
    name: str, torchvision_network: Opened
):
    module, network = torchvision_network(name)
    images = torch.randn(2, *network.input_shape, generator=torch.Generator().manual_seed(1))
    expected: dict[str, Tensor] = {}

    def keep(path: str) -> Callable[..., None]:
        def hook(child: nn.Module, inputs: Any, value: Tensor) -> None:
            if path not in expected:  # the first call; later ones are `path:2`, ...
                expected[path] = value.clone()  # the next layer may write in place

        return hook

    names = {layer.name for layer in network.layers}
    named = [(path, child) for path, child in module.named_modules() if path in names]
    hooks = [child.register_forward_hook(keep(path)) for path, child in named]
    with torch.no_grad():
        output = module(images)
    for hook in hooks:
        hook.remove()
    trace = network.trace(images)
    assert len(expected) > 20
    for path, value in {**expected, network.output: output}.items():
        assert (trace[path] - value).abs().max() <= 1e-5 * value.abs().max(), path


@pytest.mark.parametrize("name", ODD_SETTINGS)
def test_an_operation_in_odd_settings_gives_the_modules_values(name: str):
    module, network = odd_network(name)
    images = torch.randn(3, *network.input_shape, dtype=torch.float64)
    found = network.values(images, [network.output])[network.output]
    assert found.shape[1:] == network.layers[-1].shape
    torch.testing.assert_close(found, module(images).detach(), rtol=1e-12, atol=1e-12)


def test_a_half_precision_network_takes_float_images():
    module = nn.Sequential(nn.Conv2d(3, 2, 3)).to(torch.bfloat16)
    network = open_network(module, (3, 5, 5))
    images = torch.randn(1, 3, 5, 5)
    assert torch.equal(network.trace(images)["0"], module(images.to(torch.bfloat16)))


def test_a_network_moves_to_another_dtype():
    network = open_network(nn.Sequential(nn.Conv2d(3, 2, 3), nn.BatchNorm2d(2)), (3, 5, 5))
    moved = network.to(torch.float64)
    images = torch.randn(1, 3, 5, 5)
    assert moved.trace(images)["1"].dtype == torch.float64
    assert network.dtype == torch.float32
    torch.testing.assert_close(moved.trace(images)["1"].float(), network.trace(images)["1"])


def test_only_the_values_asked_for_are_returned_and_nothing_above_them_is_run():
    class Explodes(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.view(-1, 2, 9)

    network = open_network(nn.Sequential(nn.Conv2d(3, 2, 3), nn.ReLU(), Explodes()), (3, 5, 5))
    network.nodes["2"].settings  # noqa: B018  exists, but is not run
    images = torch.randn(4, 3, 5, 5)
    values = network.values(images, ["1", "0"])
    assert list(values) == ["1", "0"]
    assert torch.equal(values["1"], values["0"].relu())


@pytest.mark.parametrize("shape", [(3, 5, 6), (1, 3, 5), (2, 4, 5, 5), (5, 5), (1, 1, 3, 5, 5)])
def test_images_of_another_shape_are_refused(shape: tuple[int, ...]):
    network = open_network(nn.Conv2d(3, 2, 3), (3, 5, 5))
    with pytest.raises(BadInput, match=r"this network was opened for N x 3x5x5"):
        network.trace(torch.zeros(shape))


def test_an_unknown_layer_is_refused_with_the_nearest_names(torchvision_network: Opened):
    _, network = torchvision_network("alexnet")
    with pytest.raises(NoSuchLayer, match=r"'feature\.3'.*did you mean features\.3"):
        network.layer("feature.3")
    with pytest.raises(NoSuchLayer, match="see `convscope layers MODEL`"):
        network.values(torch.zeros(1, 3, 96, 96), ["???"])


def test_the_activation_of_a_convolution_is_what_its_norm_and_nonlinearity_make_of_it(
    torchvision_network: Opened,
):
    _, resnet = torchvision_network("resnet18")
    assert resnet.activation("conv1") == "relu"
    assert resnet.activation("layer1.0.conv1") == "layer1.0.relu"
    assert resnet.activation("layer1.0.conv2") == "layer1.0.bn2"  # the sum comes next
    _, mobile = torchvision_network("mobilenet_v2")
    assert mobile.activation("features.1.conv.1") == "features.1.conv.2"
    assert mobile.activation("features.1.conv.0.0") == "features.1.conv.0.2"
    _, inception = torchvision_network("inception_v3")
    assert inception.activation("Conv2d_1a_3x3.conv") == "Conv2d_1a_3x3"
    _, squeeze = torchvision_network("squeezenet1_1")
    assert squeeze.activation("classifier.1") == "classifier.2"


def test_a_value_that_two_layers_read_is_an_activation_already():
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.drop, self.top = nn.Conv2d(3, 3, 1), nn.Dropout(), nn.Conv2d(3, 2, 1)

        def forward(self, x: Tensor) -> Tensor:
            x = self.conv(x)
            return self.top(self.drop(torch.relu(x) + x))

    network = open_network(Twice(), (3, 4, 4))
    assert network.activation("conv") == "conv"
    assert network.activation("top") == "top"
    assert network.activation("add") == "add"
    assert network.conv_layers() == ("conv", "top")


def test_the_table_has_a_row_per_layer_and_prints():
    module = nn.Sequential(nn.Conv2d(3, 2, (3, 1)), nn.Upsample(scale_factor=2), nn.ReLU(),
                           nn.AdaptiveAvgPool2d(1), nn.Flatten())  # fmt: skip
    network = open_network(module, (3, 9, 8))
    assert network.table()[1] == {
        "name": "1", "kind": "upsample", "shape": [2, 14, 16], "receptive_field": [3, 1],
        "stride": [0.5, 0.5], "start": [0, 0], "status": "exact", "inputs": ["0"],
    }  # fmt: skip
    lines = str(network).splitlines()
    assert lines[0].split() == ["layer", "kind", "shape", "field", "stride", "start", "status"]
    assert lines[2].split() == ["1", "upsample", "2x14x16", "3x1", "0.5", "0", "exact"]
    assert lines[4].split() == ["3", "adaptive_avg_pool", "2x1x1", "whole", "image", "-", "-",
                                "global"]  # fmt: skip
