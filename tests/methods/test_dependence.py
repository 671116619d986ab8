"""Where a deconvnet's picture is the same for every image, and that it is said."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from convscope.methods.dependence import about_bends, about_images, depends_on_image
from convscope.methods.project import project
from convscope.methods.rules import DECONVNET, GRADIENT, GUIDED, Rules, rectify, skip
from convscope.network.network import open_network
from nets import Apply, Residual

SHAPE = (3, 24, 24)


def block(channels: int) -> nn.Module:
    return nn.Sequential(
        Residual(
            nn.Sequential(
                nn.Conv2d(channels, channels, 3, padding=1),
                nn.BatchNorm2d(channels),
                nn.ReLU(),
                nn.Conv2d(channels, channels, 3, padding=1),
                nn.BatchNorm2d(channels),
            )
        ),
        nn.ReLU(),
    )


def resnet() -> nn.Module:
    """As ResNet-20 is built: strides and no pooling but the last."""
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), block(8),
        nn.Conv2d(8, 12, 3, 2, padding=1), nn.ReLU(), block(12),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, 5),
    )  # fmt: skip


def after(layer: nn.Module) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.ReLU(), layer, nn.Conv2d(6, 4, 3, padding=1), nn.ReLU()
    )


class Excite(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Conv2d(6, 6, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(self.fc(x.mean((2, 3), keepdim=True)))


NETS: dict[str, tuple[nn.Module, bool]] = {
    "resnet": (resnet(), False),
    "max pooling": (after(nn.MaxPool2d(2)), True),
    "average pooling": (after(nn.AvgPool2d(2)), False),
    "contrast normalisation": (after(nn.LocalResponseNorm(3)), False),
    "silu": (after(nn.SiLU()), False),
    "silu, written out": (after(Apply(lambda x: x * torch.sigmoid(x))), False),
    "hardswish": (after(nn.Hardswish()), False),
    "leaky": (after(nn.LeakyReLU(0.2)), False),
    "a gate": (after(Excite()), True),
    "a sigmoid": (after(nn.Sigmoid()), True),
    "a tanh": (after(nn.Tanh()), True),
    "a softmax": (after(nn.Softmax(1)), True),
    "a square": (after(Apply(lambda x: x * x)), True),
    "up-sampling": (after(nn.Upsample(scale_factor=2, mode="bilinear")), False),
    "a frozen norm": (after(Apply(lambda x: x * 1.5 + 0.1)), False),
    "sums": (after(Apply(lambda x: F.relu(x) - 0.5 * F.avg_pool2d(x, 3, 1, 1))), False),
}


def pictures(name: str, rules: Rules) -> tuple[bool, bool]:
    """Whether it is said that a unit's pictures depend on the image, and whether they do."""
    torch.manual_seed(0)
    module = NETS[name][0].double().eval()
    network = open_network(module, SHAPE)
    trace = network.trace(torch.randn(2, *SHAPE, dtype=torch.float64))
    conv = network.conv_layers()[-1]
    unit = f"{conv}/1@3,3"
    found = project(trace, [unit, unit], rules, images=[0, 1])
    # the signal's sign decides what a rectifier passes: take the picture of a signal of one
    one = rules.replace({}, seed=GRADIENT.seed)
    first, second = project(trace, [unit, unit], one, images=[0, 1]).projection
    for activation, picture in zip(found.activation, found.projection, strict=True):
        if activation > 0 and torch.allclose(first, second):
            torch.testing.assert_close(picture, first * activation)
    return depends_on_image(network, conv, rules), not torch.allclose(first, second)


@pytest.mark.parametrize("name", NETS)
def test_what_is_said_of_a_deconvnet_is_so(name: str):
    said, seen = pictures(name, DECONVNET)
    assert said is seen is NETS[name][1]


@pytest.mark.parametrize("rules", [GRADIENT, GUIDED])
@pytest.mark.parametrize("name", ["resnet", "silu", "max pooling"])
def test_the_other_methods_look_at_every_rectifier(name: str, rules: Rules):
    assert pictures(name, rules) == (True, True)


def test_layers_are_told_apart_within_a_network():
    network = open_network(after(nn.MaxPool2d(2)), SHAPE)
    names = [layer.name for layer in network.layers]
    same = [name for name in names if not depends_on_image(network, name, DECONVNET)]
    assert same == ["0", "1"]
    words = str(about_images(network, names, DECONVNET))  # a rectifier's own gate lets a unit pass
    assert words.startswith("those of 0, 1 are the same") and "--rules" not in words
    assert about_images(network, ["3"], DECONVNET) is None
    assert depends_on_image(network, "1", GRADIENT) and not depends_on_image(network, "0", GRADIENT)
    plain = open_network(resnet(), SHAPE)
    words = str(about_images(plain, [x.name for x in plain.layers], DECONVNET))
    assert words.startswith("those of all layers are the same for every image")
    assert words.endswith("; --rules gradient and guided look at rectifiers, too")


def test_what_is_done_at_each_bend_is_said():
    module = nn.Sequential(
        after(nn.Sequential(nn.MaxPool2d(2), Excite(), nn.LocalResponseNorm(3))), nn.SiLU()
    )
    assert about_bends(open_network(module, SHAPE)) == (
        "rectifies the signal at relu, silu; takes the derivative at sigmoid; skips lrn; "
        "follows the switches of max_pool; multiplies by the other factor at mul; "
        "the shape of silu is not looked at"
    )
    assert about_bends(open_network(nn.Conv2d(3, 2, 3), SHAPE)).startswith("nothing to decide")


def test_what_other_rules_do_at_a_bend_is_told_by_the_rule():
    """Of a leaky relu and an LRN, by a gradient that skips the one and rectifies at the other."""
    network = open_network(after(nn.Sequential(nn.LeakyReLU(), nn.LocalResponseNorm(3))), SHAPE)
    rules = GRADIENT.replace({"lrn": skip, "leaky_relu": rectify}, name="mixed")
    assert about_bends(network, rules) == (
        "rectifies the signal at leaky_relu; skips lrn; the shape of leaky_relu is not looked at"
    )
