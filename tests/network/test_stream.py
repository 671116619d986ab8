"""Values handed out layer by layer: what is overwritten to save memory is never seen."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from convscope.errors import NoSuchLayer
from convscope.network.from_export import INPUT
from convscope.network.network import Network, open_network
from nets import TwoReaders

SHAPE = (3, 9, 7)


class Seen(nn.Module):
    """The image is rectified, and goes around a convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x) + self.conv(x.contiguous()).relu()


def _normed() -> nn.Sequential:
    conv, norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)
    return nn.Sequential(conv, norm, nn.ReLU(), nn.ReLU(), nn.Dropout(), nn.Flatten(), nn.ReLU())


NETS = {"branches": TwoReaders, "the image rectified": Seen, "one after another": _normed}


def opened(name: str) -> tuple[Network, Tensor]:
    torch.manual_seed(0)
    network = open_network(NETS[name]().eval(), SHAPE)
    return network, torch.randn(2, *SHAPE)


def whole(network: Network, images: Tensor) -> dict[str, Tensor]:
    """Every value, by a walk that lets nothing go."""
    values = {INPUT: images}
    with torch.no_grad():
        for node in network.nodes.values():
            values[node.name] = node.forward(*(values[name].clone() for name in node.inputs))
    return values


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_what_is_streamed_is_not_overwritten_further_on_nor_are_the_images(name: str, layout):
    network, images = opened(name)
    images = images.contiguous(memory_format=layout)
    before, expected = images.clone(), whole(network, images)
    every = list(expected)
    for wanted in (every, every[-1:], every[::2], every[1::2]):
        for streamed, value in list(network.stream(images, wanted)):
            assert torch.equal(value, expected[streamed]), streamed
        assert torch.equal(images, before)


@pytest.mark.parametrize("name", NETS)
def test_values_are_what_is_streamed_in_the_order_asked_for(name: str):
    network, images = opened(name)
    expected = whole(network, images)
    expected["input"] = expected[INPUT]
    names = [network.output, "input", *network.conv_layers()]
    found = network.values(images, names)
    assert list(found) == list(dict.fromkeys(names))
    assert all(torch.equal(value, expected[each]) for each, value in found.items())


def test_autograd_stays_out_of_it_and_is_left_as_it_was():
    network, images = opened("branches")
    images.requires_grad_()
    with torch.enable_grad():
        for _, value in network.stream(images, ["relu", network.output]):
            assert not value.requires_grad and torch.is_grad_enabled()


def test_the_stream_stops_at_the_highest_layer_asked_for(monkeypatch):
    network, images = opened("branches")
    run: list[str] = []
    whole_step = type(network.nodes["conv1"]).forward

    def noted(self, *inputs: Tensor) -> Tensor:
        run.append(self.name)
        return whole_step(self, *inputs)

    monkeypatch.setattr(type(network.nodes["conv1"]), "forward", noted)
    assert [name for name, _ in network.stream(images, ["conv1"])] == ["conv1"]
    assert run == ["conv1"]


def test_an_unknown_layer_is_refused():
    network, images = opened("branches")
    with pytest.raises(NoSuchLayer, match="did you mean conv"):
        list(network.stream(images, ["conv3"]))
