"""Taking a unit away: the loss is what a network without it gives."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from convscope.errors import BadInput
from convscope.methods.removal import label_losses, losses_without
from convscope.network.network import Network, open_network

SHAPE = (3, 12, 12)


def build() -> nn.Sequential:
    torch.manual_seed(2)
    return nn.Sequential(
        nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(5, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(54, 4),
    ).double().eval()  # fmt: skip


@pytest.fixture(scope="module")
def network() -> Network:
    return open_network(build(), SHAPE)


IMAGES = torch.randn(7, *SHAPE, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 1, 2, 3, 0, 1, 2])


def test_the_loss_without_a_unit_is_that_of_a_module_without_it(network: Network) -> None:
    before, without = losses_without(network.trace(IMAGES), ["2/3", "5/0", "7/1"], LABELS)
    module = build()
    loss = nn.CrossEntropyLoss(reduction="none")
    torch.testing.assert_close(before, loss(module(IMAGES), LABELS))
    for row, after, channel in ((0, 3, 3), (1, 6, 0), (2, 8, 1)):
        values = module[:after](IMAGES).clone()
        values[:, channel] = 0
        torch.testing.assert_close(without[row], loss(module[after:](values), LABELS))


def test_a_map_may_be_set_to_its_mean(network: Network) -> None:
    maps = network.values(IMAGES, ["2"])["2"]
    means = {"2": maps.mean((0, 2, 3))}
    _, without = losses_without(network.trace(IMAGES), ["2/1"], LABELS, means=means)
    changed = maps.clone()
    changed[:, 1] = means["2"][1]
    expected = nn.functional.cross_entropy(build()[3:](changed), LABELS, reduction="none")
    torch.testing.assert_close(without[0], expected)


def test_one_logit_is_two_classes() -> None:
    network = open_network(nn.Sequential(nn.Flatten(), nn.Linear(432, 1)).double(), SHAPE)
    output = torch.tensor([[2.0], [-1.0]], dtype=torch.float64)
    losses = label_losses(network, output, torch.tensor([1, 0]))
    expected = [math.log1p(math.exp(-2)), math.log1p(math.exp(-1))]
    assert losses.tolist() == pytest.approx(expected)


def test_labels_that_the_network_does_not_tell_are_refused(network: Network) -> None:
    with pytest.raises(BadInput, match="classes 0 to 3"):
        losses_without(network.trace(IMAGES), ["5/0"], LABELS + 1)
