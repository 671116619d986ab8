"""Fig. 6 in numbers: the map finds what the network looks at."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from convscope.errors import BadInput, BadOption, NonFinite
from convscope.geometry.box import Box
from convscope.methods.occluder import Occluder
from convscope.methods.occlusion import OcclusionMaps, occlude, strongest_map
from convscope.network.network import Network, open_network
from convscope.network.unit import Unit

SQUARE = Box(18, 9, 26, 17)


def square_detector() -> Network:
    """Class 1 where an 8 x 8 square is bright, class 0 otherwise. Map 0 sees it, map 1 is blind."""
    module = nn.Sequential(
        nn.Conv2d(3, 2, 8), nn.ReLU(), nn.MaxPool2d(33), nn.Flatten(), nn.Linear(2, 2)
    )
    with torch.no_grad():
        module[0].weight[0].fill_(1 / (3 * 64))  # the mean of what it sees
        module[0].weight[1].zero_()
        module[0].bias.copy_(torch.tensor([-0.5, 0.01]))
        module[4].weight.copy_(torch.tensor([[0.0, 0.0], [40.0, 0.0]]))
        module[4].bias.copy_(torch.tensor([8.0, 0.0]))
    return open_network(module, (3, 40, 40))


def scene() -> torch.Tensor:
    """Dim noise with one bright square in it."""
    image = 0.4 * torch.rand(3, 40, 40, generator=torch.Generator().manual_seed(0))
    image[:, SQUARE.top : SQUARE.bottom, SQUARE.left : SQUARE.right] += 0.6
    return image


def maps(**settings: object) -> OcclusionMaps:
    return occlude(square_detector(), scene(), Occluder(8, 3), fill=0.2, **settings)


def least(values: torch.Tensor, result: OcclusionMaps) -> Box:
    """The occluder where a map is lowest."""
    return result.occluder.box(*divmod(int(values.argmin()), values.shape[1]))


def share(box: Box, other: Box) -> float:
    common = box.intersect(other)
    return common.height * common.width / (other.height * other.width)


def test_probability_and_activity_are_lowest_on_the_object():
    result = maps()
    assert (result.target, result.base_label) == (1, 1)
    assert result.base_probability > 0.9
    assert float(result.probability.min()) < 0.1
    for values in (result.probability, result.activity):
        assert share(least(values, result), SQUARE) > 0.5


def test_far_from_the_object_nothing_changes():
    result = maps()
    boxes = Occluder(8, 3).boxes(40, 40)
    apart = torch.tensor([box.intersect(SQUARE).empty for box in boxes]).reshape(14, 14)
    assert float(result.probability[apart].min()) > 0.9
    assert (result.label[apart] == 1).all()
    assert (result.label == 0).any()


def test_the_strongest_map_is_projected_where_the_object_is():
    result = maps()
    assert result.unit == Unit("1", 0, 18, 9)
    assert result.box == SQUARE
    inside = result.projection[:, SQUARE.top : SQUARE.bottom, SQUARE.left : SQUARE.right]
    assert (inside > 0).all()
    torch.testing.assert_close(inside.sum(), result.projection.sum())


def test_another_target_gives_the_other_probability():
    torch.testing.assert_close(maps(target=0).probability, 1 - maps().probability)


def test_a_unit_may_be_named_and_a_convolution_stands_for_its_activation():
    blind = maps(unit="0/1")
    assert blind.unit == Unit("1", 1, 0, 0)
    assert float(blind.activity.std()) < 1e-6
    assert maps(unit="0/0@3,4").unit == Unit("1", 0, 3, 4)
    assert maps(layer="0").unit == Unit("1", 0, 18, 9)


def test_the_default_occluder_fits_the_image():
    result = occlude(square_detector(), scene(), fill=0.2)
    assert result.occluder == Occluder(5, 1)
    assert result.probability.shape == (40, 40)


def test_of_equally_strong_maps_the_first_is_taken():
    network = open_network(nn.Sequential(nn.Conv2d(1, 3, 1), nn.ReLU()), (1, 2, 3))
    with torch.no_grad():
        network.nodes["0"].tensors["weight"].fill_(1.0)
        network.nodes["0"].tensors["bias"].zero_()
    image = torch.tensor([[[0.0, 1.0, 2.0], [2.0, 0.0, 0.0]]])
    assert strongest_map(network, image) == Unit("1", 0, 0, 2)


def test_a_dense_layer_has_a_strongest_unit_without_a_position():
    assert strongest_map(square_detector(), scene(), "4") == Unit("4", 1)


def test_a_target_that_is_no_class_is_refused_before_the_sweep():
    with pytest.raises(BadOption, match="classes 0 to 1"):
        maps(target=2, progress=lambda what, done, total: pytest.fail("it ran"))


def test_a_network_without_convolutions_needs_a_layer():
    network = open_network(nn.Sequential(nn.Flatten(), nn.Linear(12, 2)), (3, 2, 2))
    with pytest.raises(BadInput, match="no convolutional layer"):
        occlude(network, torch.zeros(3, 2, 2), Occluder(1, 1), fill=0.0)
    assert (
        occlude(network, torch.zeros(3, 2, 2), Occluder(1, 1), fill=0.0, layer="1").unit.layer
        == "1"
    )


def test_nan_activations_are_named_by_layer():
    network = square_detector()
    with torch.no_grad():
        network.nodes["0"].tensors["bias"][1] = torch.nan
    with pytest.raises(NonFinite, match="layer '0'"):
        occlude(network, scene(), Occluder(8, 8), fill=0.0)


def test_the_arrays_are_positions_down_and_across():
    result = occlude(square_detector(), scene(), Occluder((8, 9), (10, 20)), fill=0.2)
    arrays = result.arrays()
    for name in ("probability", "label", "activity"):
        assert arrays[name].shape == (4, 2)
    assert arrays["rows"].tolist() == [0, 10, 20, 30]
    assert arrays["columns"].tolist() == [0, 20]
    assert arrays["label"].dtype == np.int64
    assert int(arrays["target"]) == 1
    assert str(arrays["unit"]) == "1/0@18,9"
    assert arrays["size"].tolist() == [8, 9]
    assert float(arrays["base_probability"]) == pytest.approx(result.base_probability)
