"""The search for the strongest: short cuts that must not change any table."""

import pytest
import torch
from torch import nn

from convscope.atlas.mine import scan
from convscope.atlas.topk import FIELDS, TopK
from convscope.network.exported import Network, open_network

SHAPE = (3, 17, 19)


class Branches(nn.Module):
    """A convolution that two read: a rectifier, and a sum further on."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 4, 3, padding=1)
        self.relu = nn.ReLU()
        self.drop = nn.Dropout()
        self.conv2 = nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        value = self.conv1(x)
        return self.conv2(self.relu(value)) + self.drop(value)


def pooled(*pool: nn.Module) -> nn.Sequential:
    first, second = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 5, 3, padding=1)
    return nn.Sequential(
        first, nn.ReLU(), *pool, second, nn.BatchNorm2d(5), nn.ReLU(), nn.AdaptiveAvgPool2d(1)
    )


NETS = {
    "overlapping pool": lambda: pooled(nn.MaxPool2d(3, 2, ceil_mode=True)),
    "pool that leaves a border out": lambda: pooled(nn.MaxPool2d(2, 2), nn.MaxPool2d(3, 3)),
    "pool with gaps": lambda: pooled(nn.MaxPool2d(2, 3, padding=1)),
    "dilated pool": lambda: pooled(nn.MaxPool2d(2, 1, dilation=2)),
    "pool with a border": lambda: pooled(nn.MaxPool2d(3, 1, padding=1)),
    "no pool": pooled,
    "branches": Branches,
}


def opened(name: str) -> Network:
    torch.manual_seed(0)
    return open_network(NETS[name]().eval(), SHAPE)


def planted(network: Network, count: int) -> torch.Tensor:
    """Images with NaN in one and infinity in another."""
    images = torch.randn(count, *network.input_shape, generator=torch.Generator().manual_seed(1))
    images[1, 0, 3, 4] = float("nan")
    images[2, 1, 16, 18] = float("inf")
    return images


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("spoiled", [False, True])
def test_the_tables_are_those_of_every_map_looked_at_whole(name: str, spoiled: bool) -> None:
    network = opened(name)
    images = planted(network, 7)
    if not spoiled:
        images = images.nan_to_num(0.0, 0.0, 0.0)
    activations = {layer: network.activation(layer) for layer in network.conv_layers()}
    found = {n: TopK.empty(network.layer(n).channels, 3) for n in activations}
    wanted = {n: TopK.empty(network.layer(n).channels, 3) for n in activations}
    trace = network.trace(images)  # the same layout of memory, so the same sums
    for part in (slice(0, 4), slice(4, 7)):
        indices = torch.arange(7)[part]
        scan(network, images[part], indices, activations, found)
        for layer, activation in activations.items():
            values = network.trace(images[part])[activation]
            torch.testing.assert_close(values, trace[activation][part], equal_nan=True)
            wanted[layer].update(values, indices)
    for layer in activations:
        for field in FIELDS:
            assert torch.equal(getattr(found[layer], field), getattr(wanted[layer], field))
