"""Layers that say what is true, or where something is: they run, and have no activations."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from convscope.errors import NoSuchLayer
from convscope.images.preprocess import Preprocess
from convscope.live.network import LiveNetwork
from convscope.methods.ascent.parametrisations import Canvas
from convscope.methods.inversion import invert
from convscope.methods.occlusion import occlude
from convscope.methods.project import project
from convscope.methods.rules import GRADIENT
from convscope.methods.saliency import SaliencySettings, saliency
from convscope.network.network import Network, open_network
from convscope.scan.strongest import layers_with_maps

SHAPE = (3, 12, 12)


class Gated(nn.Module):
    """Squares what is large, and adds which map is the strongest of each place."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.low = nn.Conv2d(3, 4, 3, padding=1)
        self.high = nn.Conv2d(4, 5, 3, padding=1)
        self.last = nn.Linear(5, 3)

    def forward(self, images: Tensor) -> Tensor:
        low = self.low(images)
        low = torch.where(low > 0.1, low * low, low)
        which = low.argmax(1, keepdim=True)
        scores: Tensor = self.last((self.high(low) + 0.1 * which).mean((2, 3)))
        return scores


@pytest.fixture(scope="module")
def network() -> Network:
    return open_network(Gated().eval(), SHAPE)


@pytest.fixture(scope="module")
def image() -> Tensor:
    return torch.rand(SHAPE, generator=torch.Generator().manual_seed(1))


def test_which_layers_hold_real_numbers(network: Network) -> None:
    assert {layer.name for layer in network.layers if not layer.real} == {"gt", "argmax"}


def test_the_derivative_goes_past_them(network: Network, image: Tensor) -> None:
    image = image.clone().requires_grad_()
    module = Gated().eval()
    (wanted,) = torch.autograd.grad(module(image[None])[0, 1], image)
    found = project(network.trace(image.detach()[None]), "last/1", GRADIENT).projection[0]
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("layer", ["gt", "argmax"])
@pytest.mark.parametrize(
    "ask",
    [
        lambda network, image, layer: network.unit(f"{layer}/0"),
        lambda network, image, layer: project(network.trace(image[None]), f"{layer}/0"),
        lambda network, image, layer: occlude(network, image, fill=0.0, layer=layer),
        lambda network, image, layer: occlude(network, image, fill=0.0, unit=f"{layer}/0"),
        lambda network, image, layer: invert(
            network, image, [layer], Canvas(torch.zeros(SHAPE), torch.ones(SHAPE))
        ),
        lambda network, image, layer: saliency(
            network, image, settings=SaliencySettings("grad-cam", layer=layer)
        ),
        lambda network, image, layer: layers_with_maps(network, [layer]),
    ],
)
def test_they_are_refused_by_name_wherever_activations_are_wanted(
    network: Network, image: Tensor, layer: str, ask: Callable[..., object]
) -> None:
    with pytest.raises(NoSuchLayer, match=rf"layer {layer} .* has no activations"):
        ask(network, image, layer)


def test_the_explorer_shows_the_other_layers(network: Network) -> None:
    live = LiveNetwork(network, Preprocess(SHAPE, "unit", "none"))
    key = live.add(Image.new("RGB", (12, 12)), "black")
    shown = [layer.name for layer in live.look(key).layers]
    assert "low" in shown and not {"gt", "argmax"} & set(shown)
