"""The search for the strongest: short cuts that must not change any table."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from convscope.images.batches import Batch
from convscope.images.datasets import open_images
from convscope.network.network import Network, open_network
from convscope.scan.engine import Scan, forward_batch
from convscope.scan.strongest import Strongest, strongest
from convscope.scan.topk import FIELDS, TopK
from nets import TwoReaders

SHAPE = (3, 17, 19)


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
    "branches": TwoReaders,
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
    found = Strongest(network, activations, 3)
    wanted = {n: TopK.empty(network.layer(n).channels, 3) for n in activations}
    trace = network.trace(images)  # the same layout of memory, so the same sums
    for part in (slice(0, 4), slice(4, 7)):
        indices = torch.arange(7)[part]
        forward_batch(network, Batch(images[part], indices, ("",) * len(indices)), [found])
        for layer, activation in activations.items():
            values = network.trace(images[part])[activation]
            torch.testing.assert_close(values, trace[activation][part], equal_nan=True)
            wanted[layer].update(values, indices)
    for layer in activations:
        for field in FIELDS:
            assert torch.equal(getattr(found.tables[layer], field), getattr(wanted[layer], field))


def test_the_strongest_among_some_images_are_those_of_a_whole_pass(
    pictures: Path, tiny: SimpleNamespace
) -> None:
    model = tiny.model()
    network = open_network(model.module, model.input_shape)
    images = open_images(pictures)
    layers = {name: network.activation(name) for name in network.conv_layers()}
    told: list[tuple[str, int, int]] = []
    scan = Scan(network, images, model.preprocess, progress=lambda *each: told.append(each))
    found = strongest(scan, layers, 3)
    whole = Strongest(network, layers, 3)
    Scan(network, images, model.preprocess, workers=1).run(whole)
    assert told[-1] == ("images", len(images), len(images))
    for layer, table in found.items():
        for name in FIELDS:
            assert torch.equal(getattr(table, name), getattr(whole.tables[layer], name))
    some = strongest(Scan(network, images, model.preprocess, [4, 1]), layers, 3)
    assert all(set(table.image.flatten().tolist()) <= {-1, 1, 4} for table in some.values())
