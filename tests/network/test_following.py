"""A network follows its module: weights that change, and what is computed from them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm, weight_norm

from convscope.methods.occluder import Occluder
from convscope.methods.project import project
from convscope.methods.rules import RULES
from convscope.methods.sweep import sweep
from convscope.network.network import open_network

SHAPE = (3, 32, 32)


class Standardised(nn.Conv2d):
    """A convolution whose filters are standardised when it runs."""

    def forward(self, x: Tensor) -> Tensor:
        mean = self.weight.mean((1, 2, 3), keepdim=True)
        spread = self.weight.var((1, 2, 3), keepdim=True, unbiased=False)
        return F.conv2d(x, (self.weight - mean) / torch.sqrt(spread + 1e-5), self.bias)


class Scaled(nn.Conv2d):
    """One whose filters are scaled, in place, in a copy; and whose bias is a piece of another."""

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight.clone().mul_(1.5)
        weight += 0.1
        first, _ = torch.cat([self.bias, self.bias]).split(len(self.bias))
        return F.conv2d(x, weight, first.expand(1, -1).reshape(-1))


class Frozen(nn.Module):
    def __init__(self, conv: nn.Module, channels: int) -> None:
        super().__init__()
        self.conv = conv
        self.var = nn.Parameter(torch.rand(channels) + 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x) * (self.var + 0.1).rsqrt().view(1, -1, 1, 1)


CONVS: dict[str, Callable[[int, int], nn.Module]] = {
    "plain": lambda i, o: nn.Conv2d(i, o, 3),
    "standardised": lambda i, o: Standardised(i, o, 3),
    "scaled in place": lambda i, o: Scaled(i, o, 3),
    "weight norm": lambda i, o: weight_norm(nn.Conv2d(i, o, 3)),
    "spectral norm": lambda i, o: spectral_norm(nn.Conv2d(i, o, 3)),
    "frozen norm": lambda i, o: Frozen(nn.Conv2d(i, o, 3), o),
}


def made(name: str) -> nn.Module:
    conv = CONVS[name]
    return (
        nn.Sequential(
            conv(3, 6), nn.ReLU(), nn.MaxPool2d(2), conv(6, 4), nn.ReLU(),
            nn.Flatten(), nn.Linear(676, 3),
        ).double().eval()
    )  # fmt: skip


def optimise(module: nn.Module) -> None:
    torch.manual_seed(7)
    optimiser = torch.optim.SGD(module.parameters(), lr=0.05)
    module(torch.rand(2, *SHAPE, dtype=torch.float64)).square().sum().backward()
    optimiser.step()


def load(module: nn.Module) -> None:
    torch.manual_seed(8)
    state = {
        key: value + 0.1 * torch.rand_like(value) for key, value in module.state_dict().items()
    }
    module.load_state_dict(state)


@pytest.mark.parametrize("change", [optimise, load])
@pytest.mark.parametrize("name", CONVS)
def test_values_pictures_and_occlusion_follow_the_weights(
    name: str, change: Callable[[nn.Module], None]
):
    torch.manual_seed(0)
    module = made(name)
    network = open_network(module, SHAPE)
    image = torch.rand(1, *SHAPE, dtype=torch.float64)
    units = ["3/1@2,3", "4/2", "0/4@5,5"]
    for rules in RULES.values():
        project(network.trace(image), units, rules)  # leaves what it laid out for another time
    before, old = network.identity(), network.trace(image)["6"]
    change(module)
    assert not torch.equal(network.trace(image)["6"], old)
    torch.testing.assert_close(network.trace(image)["6"], module(image))
    anew = open_network(module, SHAPE)
    for rules in RULES.values():
        torch.testing.assert_close(
            project(network.trace(image), units, rules).projection,
            project(anew.trace(image), units, rules).projection,
        )
    occluder = Occluder.fitting(32, 32, 8, 8)
    torch.testing.assert_close(
        sweep(network, image[0], occluder, fill=0.0).logits,
        sweep(anew, image[0], occluder, fill=0.0).logits,
    )
    assert network.identity() == anew.identity() != before


@pytest.mark.parametrize("name", CONVS)
def test_the_module_stays_as_it_is_and_can_be_trained_on(name: str):
    torch.manual_seed(0)
    module = made(name)
    network = open_network(module, SHAPE)
    optimise(module)
    kept = {key: value.clone() for key, value in module.state_dict().items()}
    versions = [p._version for p in module.parameters()]
    for _ in range(2):
        network.trace(torch.rand(1, *SHAPE))
    assert [p._version for p in module.parameters()] == versions
    assert all(torch.equal(value, kept[key]) for key, value in module.state_dict().items())
    optimise(module)


def test_a_network_that_was_moved_has_copies():
    module = made("standardised")
    network = open_network(module, SHAPE)
    same, moved = network.to("cpu"), network.to(torch.float32)
    image = torch.rand(1, *SHAPE, dtype=torch.float64)
    old = moved.trace(image)["6"]
    optimise(module)
    torch.testing.assert_close(same.trace(image)["6"], module(image))
    assert torch.equal(moved.trace(image)["6"], old)
