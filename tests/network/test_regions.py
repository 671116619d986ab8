"""Blocks under a setting, copies, and maps whose channels come last: nothing of them is left."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from convscope.geometry.window import Field, Status, Window
from convscope.methods.project import project
from convscope.methods.rules import DECONVNET, GRADIENT, GUIDED, RULES
from convscope.network.network import open_network
from convscope.network.ops import OPS
from nets import Apply

SHAPE = (3, 9, 8)


def outer(y: Tensor) -> Tensor:
    """Regions inside each other; one result is used twice, one is returned as it is."""
    with torch.autocast("cpu", enabled=False):
        y = torch.tanh(y.double()) * 2
        with torch.enable_grad():
            z = torch.exp(y)
        w = z + y
    with torch.set_grad_enabled(True):
        return w * z


REGIONS = {
    "regions in regions": (outer, ["tanh", "mul", "exp", "add", "mul"]),
    "an autocast of another device": (
        lambda y: torch.autocast("cuda", torch.float16)(torch.relu)(y),
        ["relu"],
    ),
    "a checkpoint": (lambda y: checkpoint(torch.tanh, y, use_reentrant=False), ["tanh"]),
    "a reentrant checkpoint": (lambda y: checkpoint(torch.tanh, y, use_reentrant=True), ["tanh"]),
}


def after_conv(form) -> nn.Sequential:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), Apply(form))
    return module.double().eval().requires_grad_(False)


@pytest.mark.filterwarnings("ignore:.*CUDA is not available")
@pytest.mark.parametrize("name", REGIONS)
def test_a_region_is_read_as_what_is_inside(name: str) -> None:
    form, kinds = REGIONS[name]
    module = after_conv(form)
    network = open_network(module, SHAPE)
    images = torch.randn(2, *SHAPE, dtype=torch.float64, requires_grad=True)
    kept = [layer.kind for layer in network.layers if layer.kind != "identity"]
    assert kept == ["conv", *kinds]
    value = network.trace(images.detach())[network.output]
    torch.testing.assert_close(value, module(images).detach())
    found = project(
        network.trace(images.detach()), f"{network.output}/1@2,3", GRADIENT, images=[0]
    ).projection
    module(images)[0, 1, 2, 3].backward()  # a reentrant checkpoint knows no autograd.grad
    assert images.grad is not None
    torch.testing.assert_close(found, images.grad[:1], rtol=1e-10, atol=1e-14)


def test_autocast_is_read_at_the_networks_own_precision() -> None:
    def form(y: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return F.linear(y.flatten(1), torch.ones(5, 288))

    module = after_conv(form).float()
    network = open_network(module, SHAPE)
    images = torch.randn(2, *SHAPE)
    value = network.trace(images)[network.output]
    assert value.dtype is torch.float32
    torch.testing.assert_close(value, module[0](images).flatten(1).sum(1, True).expand(-1, 5))


def test_what_is_detached_stops_gradients_as_in_autograd_and_not_the_deconvnet() -> None:
    module = after_conv(lambda y: y + (y.round() - 3 * y).detach())
    network = open_network(module, SHAPE)
    images = torch.randn(1, *SHAPE, dtype=torch.float64, requires_grad=True)
    trace, unit = network.trace(images.detach()), f"{network.output}/1@2,3"
    (expected,) = torch.autograd.grad(module(images)[0, 1, 2, 3], images)
    assert expected.any()
    for rules in (GRADIENT, GUIDED):
        torch.testing.assert_close(project(trace, unit, rules).projection, expected)
    strength = float(trace[network.output][0, 1, 2, 3])
    found = project(trace, unit, DECONVNET).projection
    torch.testing.assert_close(found, -2 * strength * expected)  # 1 + 0 - 3


class Block(nn.Module):
    """A block of ConvNeXt: depthwise filters, then everything with the channels last."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 5, padding=2, groups=channels)
        self.norm = nn.LayerNorm(channels)
        self.wide = nn.Linear(channels, 2 * channels)
        self.narrow = nn.Linear(2 * channels, channels)
        self.gamma = nn.Parameter(torch.rand(channels) + 0.5)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.depthwise(x).permute(0, 2, 3, 1))
        y = self.narrow(F.gelu(self.wide(y))) * self.gamma
        return x + y.permute(0, 3, 1, 2)


def test_a_block_of_convnext_is_convolutions_and_norms_with_exact_fields() -> None:
    """Filters of 3x3, and twice 5x5: 3 + 4 + 4 pixels."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), Block(4), Block(4)).double().eval()
    network = open_network(module, (3, 16, 16))
    found = {layer.name: (layer.kind, layer.shape) for layer in network.layers}
    assert found == {
        "0": ("conv", (4, 16, 16)),
        **{
            f"{block}.{name}": (kind, (channels, 16, 16))
            for block in (1, 2)
            for name, kind, channels in (
                ("depthwise", "conv", 4), ("norm", "layer_norm", 4), ("wide", "conv", 8),
                ("gelu", "gelu", 8), ("narrow", "conv", 4), ("mul", "mul", 4), ("add", "add", 4),
            )
        },
    }  # fmt: skip
    assert network.layer("2.add").field == Field(Window(11, 1, -5), Window(11, 1, -5))
    assert network.conv_layers() == (
        "0", "1.depthwise", "1.wide", "1.narrow", "2.depthwise", "2.wide", "2.narrow",
    )  # fmt: skip
    images = torch.randn(2, 3, 16, 16, dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(network.trace(images.detach())["2.add"], module(images).detach())
    found = project(network.trace(images.detach()), "2.add/3@0,9", GRADIENT, images=[0]).projection
    (expected,) = torch.autograd.grad(module(images)[0, 3, 0, 9], images)
    torch.testing.assert_close(found, expected[:1], rtol=1e-9, atol=1e-13)
    with torch.no_grad():  # the network follows its module
        module[1].wide.weight.mul_(2)
        module[1].norm.weight.add_(1)
    torch.testing.assert_close(network.trace(images.detach())["2.add"], module(images).detach())


LAST = {
    "everything turned": (
        lambda y: torch.cat(
            [F.glu(y, -1), y[..., 1:3] * y.softmax(3).amax(-1, keepdim=True), y.mean(3, True)], -1
        ),
        True,
    ),
    "constants": (lambda y: y * torch.arange(4.0).double() + torch.ones(9, 8, 4).double(), True),
    "rows and columns reduced": (lambda y: y * y.mean((1, 2), keepdim=True).sigmoid(), True),
    "a view inside": (lambda y: y + y.flatten(1, 2).cumsum(1).view(-1, 9, 8, 4), False),
    "one slope for each row": (lambda y: F.prelu(y, torch.linspace(0.1, 1, 9).double()), False),
    "nothing": (lambda y: y, True),
}


@pytest.mark.parametrize("name", LAST)
def test_what_has_its_channels_last_is_the_modules(name: str) -> None:
    form, turned = LAST[name]
    module = after_conv(
        lambda y: torch.tanh(form(y.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)) + y[:, :1]
    )
    network = open_network(module, SHAPE)
    assert all(layer.kind != "permute" for layer in network.layers) == turned
    images = torch.randn(2, *SHAPE, dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(
        network.trace(images.detach())[network.output], module(images).detach()
    )
    found = project(
        network.trace(images.detach()), f"{network.output}/1@2,3", GRADIENT, images=[0]
    ).projection
    (expected,) = torch.autograd.grad(module(images)[0, 1, 2, 3], images)
    torch.testing.assert_close(found, expected[:1], rtol=1e-10, atol=1e-14)


def test_permuted_outputs_keep_their_shape() -> None:
    module = after_conv(
        lambda y: (torch.tanh(y.permute(0, 2, 3, 1)), y.permute(0, 2, 3, 1).permute(0, 3, 1, 2))
    )
    network = open_network(module, SHAPE)
    images = torch.randn(2, *SHAPE, dtype=torch.float64)
    for layer, value in zip(network.outputs.values(), module(images), strict=True):
        torch.testing.assert_close(network.trace(images)[layer], value)


def scale_by_loops(norm: nn.Module, x: Tensor) -> Tensor:
    """weight / sqrt(mean square deviation + eps), number by number."""
    scale = torch.empty_like(x)
    channels, rows, columns = x.shape
    for c in range(channels):
        for i in range(rows):
            for j in range(columns):
                if isinstance(norm, nn.GroupNorm):
                    size = channels // norm.num_groups
                    group = x[c // size * size : c // size * size + size].flatten()
                elif isinstance(norm, nn.InstanceNorm2d):
                    group = x[c].flatten()
                else:
                    group = x[:, i, j]
                mean = sum(group) / len(group)
                square = sum((g - mean) ** 2 for g in group) / len(group)
                scale[c, i, j] = norm.weight[c] / (square + norm.eps) ** 0.5
    return scale


class LayerNorm2d(nn.LayerNorm):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


@pytest.mark.parametrize(
    "norm", [LayerNorm2d(4, 0.1), nn.GroupNorm(2, 4, 0.1), nn.InstanceNorm2d(4, 0.1, affine=True)],
    ids=["layer norm", "group norm", "instance norm"],
)  # fmt: skip
def test_the_deconvnet_crosses_a_norm_by_its_scale_the_statistics_taken_as_given(
    norm: nn.Module,
) -> None:
    torch.manual_seed(0)
    norm.weight.data.uniform_(0.5, 2)
    norm.bias.data.normal_()
    module = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), norm, nn.Conv2d(4, 4, 3, padding=1))
    module = module.double().requires_grad_(False)
    network = open_network(module, (3, 5, 4))
    images = torch.randn(1, 3, 5, 4, dtype=torch.float64)
    first = module[0](images)
    strength = module(images)[0, 2, 3, 1]
    signal = torch.zeros(1, 4, 5, 4, dtype=torch.float64)
    signal[0, 2, 3, 1] = strength
    signal = F.conv_transpose2d(signal, module[2].weight, padding=1)
    signal = signal * scale_by_loops(norm, first[0])
    expected = F.conv_transpose2d(signal, module[0].weight, padding=1)
    found = project(network.trace(images), "2/2@3,1", DECONVNET).projection
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-13)


def test_lrn_and_batch_norm_stay_what_they_are_where_another_operation_is_taken_apart() -> None:
    """Beside two that the table lacks."""
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.Hardswish(inplace=True),
        nn.LocalResponseNorm(3), nn.MaxPool2d(2), nn.Upsample(scale_factor=2), nn.Dropout(),
        Apply(lambda y: F.cosine_similarity(y, y * y).unsqueeze(1) * y),
        Apply(lambda y: F.huber_loss(y, 2 * y, reduction="none")),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3), nn.Softmax(1),
    ).double().eval()  # fmt: skip
    network = open_network(module, SHAPE)
    kinds = [layer.kind for layer in network.layers]
    assert {"conv", "batch_norm", "hardswish", "lrn", "max_pool", "upsample", "adaptive_avg_pool",
            "linear", "softmax"} <= set(kinds)  # fmt: skip
    assert network.activation("0") == "2"
    images = torch.randn(2, *SHAPE, dtype=torch.float64)
    torch.testing.assert_close(network.trace(images)[network.output], module(images).detach())


def test_every_kind_that_a_method_decides_on_is_in_the_table_of_the_documentation() -> None:
    text = (Path(__file__).parents[2] / "docs" / "rules.md").read_text()
    decided = {op.kind for op in OPS if op.adjoint is None} - {"lrn"}
    assert all(set(rules.table) >= decided for rules in RULES.values())
    assert {kind for kind in decided if kind not in text} == set()


def test_status_of_a_norm_over_space_is_global() -> None:
    network = open_network(nn.Sequential(nn.Conv2d(3, 4, 3), nn.GroupNorm(2, 4)), SHAPE)
    assert network.layer("0").status is Status.EXACT
    assert network.layer("1").status is Status.GLOBAL
