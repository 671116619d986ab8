"""A forward pass: what it keeps, where it stops, where a map is strongest."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from convscope.errors import NonFinite, NoSuchLayer
from convscope.network.network import Network, open_network
from convscope.network.unit import Unit
from nets import Apply


@pytest.fixture
def network() -> Network:
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.MaxPool2d(3, 2, ceil_mode=True), nn.Conv2d(4, 2, 2)
    )
    return open_network(module, (3, 10, 9))


class Counting:
    """Counts how often each layer of a network is run."""

    def __init__(self, network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
        self.runs: list[str] = []
        node_type = type(next(iter(network.nodes.values())))
        forward = node_type.forward

        def counted(node: object, *inputs: Tensor) -> Tensor:
            self.runs.append(node.name)  # type: ignore[attr-defined]
            return forward(node, *inputs)  # type: ignore[arg-type]

        monkeypatch.setattr(node_type, "forward", counted)


def test_every_layer_is_kept_and_the_images_too(network: Network):
    images = torch.randn(2, 3, 10, 9)
    trace = network.trace(images)
    assert len(trace) == 2
    assert torch.equal(trace["input"], images)
    for layer in network.layers:
        assert layer.name in trace
        assert trace[layer.name].shape == (2, *layer.shape)
    torch.testing.assert_close(trace["2"], F.max_pool2d(trace["1"], 3, 2, ceil_mode=True))


def test_one_image_needs_no_batch_axis(network: Network):
    image = torch.randn(3, 10, 9)
    assert torch.equal(network.trace(image)["3"], network.trace(image[None])["3"])


def test_a_pass_stops_below_and_goes_on_when_asked(
    network: Network, monkeypatch: pytest.MonkeyPatch
):
    counting = Counting(network, monkeypatch)
    trace = network.trace(torch.randn(1, 3, 10, 9), layers=["1"])
    assert counting.runs == ["0", "1"]
    assert "1" in trace
    assert "3" not in trace
    trace["3"]
    assert counting.runs == ["0", "1", "2", "3"]  # each layer once
    trace["3"], trace["0"]
    assert len(counting.runs) == 4


def test_a_layer_that_the_network_does_not_have_is_refused(network: Network):
    trace = network.trace(torch.randn(1, 3, 10, 9), layers=["1"])
    with pytest.raises(NoSuchLayer):
        trace["conv9"]
    with pytest.raises(NoSuchLayer):
        network.trace(torch.randn(1, 3, 10, 9), layers=["conv9"])


def test_no_gradient_is_kept(network: Network):
    trace = network.trace(torch.randn(1, 3, 10, 9, requires_grad=True))
    assert not trace["3"].requires_grad


def test_switches_say_where_each_maximum_came_from(network: Network):
    trace = network.trace(torch.randn(2, 3, 10, 9))
    switches = trace.switches("2")
    assert switches.shape == trace["2"].shape
    found = trace["1"].flatten(2).gather(2, switches.flatten(2)).view_as(switches)
    assert torch.equal(found, trace["2"])


def maps(values: Tensor) -> tuple[Network, Tensor]:
    """A network whose layer "relu" holds the given maps (C, H, W), for the image returned."""
    network = open_network(Apply(lambda x: F.relu(x)), tuple(values.shape))
    return network, values[None]


def test_the_strongest_position_is_the_largest_value():
    values = torch.tensor([[[1.0, 5, 2], [3, 4, 5.5]], [[0, 0, 0], [0, 0, 9]]])
    network, image = maps(values)
    trace = network.trace(image)
    assert trace.strongest(Unit("relu", 0), 0) == Unit("relu", 0, 1, 2)
    assert trace.strongest(Unit("relu", 1), 0) == Unit("relu", 1, 1, 2)


def test_of_equal_maxima_the_first_in_reading_order_is_the_strongest():
    values = torch.tensor([[[1.0, 2, 7], [7, 0, 7]], [[0, 0, 0], [0, 0, 0]]])
    network, image = maps(values)
    trace = network.trace(image)
    assert trace.strongest(Unit("relu", 0), 0).position == (0, 2)
    assert trace.strongest(Unit("relu", 1), 0).position == (0, 0)


def test_large_maps_full_of_ties_are_read_in_order_too():
    values = torch.zeros(1, 301, 257)
    values[0, 150, 3:] = 1
    values[0, 200, 0] = 1
    network, image = maps(values)
    assert network.trace(image).strongest(Unit("relu", 0), 0).position == (150, 3)


def test_a_map_with_nan_has_no_strongest_position():
    values = torch.tensor([[[1.0, float("nan")]], [[2.0, 3.0]]])
    network, image = maps(values)
    trace = network.trace(image)
    with pytest.raises(NonFinite, match=r"feature map relu/0 holds NaN"):
        trace.strongest(Unit("relu", 0), 0)
    assert trace.strongest(Unit("relu", 1), 0).position == (0, 1)
