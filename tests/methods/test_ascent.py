"""Optimised pictures where the best one is known."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from convscope.errors import BadOption
from convscope.methods.ascent.loop import AscentMethod, AscentSettings, forward_to, maximise
from convscope.methods.ascent.objectives import before_activation, diversity, small, units
from convscope.methods.ascent.parametrisations import (
    COLOURS,
    Canvas,
    Count,
    MagnitudePictures,
    correlated,
    decorrelated,
    magnitude_of,
)
from convscope.methods.ascent.transforms import STILL, Transforms
from convscope.network.from_export import INPUT
from convscope.network.network import Network, open_network

SHAPE = (3, 24, 24)
CANVAS = Canvas(torch.full(SHAPE, -2.0), torch.full(SHAPE, 2.0))


@pytest.fixture(scope="module")
def network() -> Network:
    torch.manual_seed(4)
    return open_network(
        nn.Sequential(
            nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(6, 8, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
            nn.Linear(8, 4), nn.Softmax(1),
        ).eval(),
        SHAPE,
    )  # fmt: skip


def test_on_a_linear_unit_erhans_ascent_ends_at_its_weights(network: Network) -> None:
    settings = AscentSettings(AscentMethod.ERHAN, norm=3.0)
    found = maximise(network, "0", None, CANVAS, settings)
    weight = network.nodes["0"].tensors["weight"]
    assert found.picture.shape == (6, 3, 3, 3)
    for picture, filter_ in zip(found.picture, weight, strict=True):
        assert float(picture.norm()) == pytest.approx(3.0, rel=1e-5)
        cosine = functional.cosine_similarity(picture.flatten(), filter_.flatten(), dim=0)
        assert float(cosine) >= 0.999
    bias = network.nodes["0"].tensors["bias"]
    # the layer's activation is behind batch norm, so what is optimised is the normalised value
    scale = network.nodes["1"].tensors["weight"] / (1 + 1e-5) ** 0.5
    expected = scale * (3.0 * weight.flatten(1).norm(dim=1) + bias)
    torch.testing.assert_close(found.value, expected, atol=1e-3, rtol=1e-3)


def test_the_class_model_is_where_its_gradient_meets_the_penalty() -> None:
    torch.manual_seed(0)
    network = open_network(nn.Sequential(nn.Flatten(), nn.Linear(3 * 24 * 24, 2)), SHAPE)
    penalty = 1e-2 * 3 * 24 * 24
    settings = AscentSettings(AscentMethod.CLASS, penalty=penalty, steps=250)
    found = maximise(network, "1", [1], CANVAS, settings)
    best = network.nodes["1"].tensors["weight"][1] / (2 * 1e-2)  # of w·x - λ‖x‖²
    cosine = functional.cosine_similarity(found.picture.flatten(), best, dim=0)
    assert float(cosine) > 0.99
    assert float(found.picture.norm()) == pytest.approx(float(best.norm()), rel=0.1)


@pytest.mark.parametrize("layer", ["2", "5"])
def test_every_method_drives_the_unit_beyond_random_images(network: Network, layer: str) -> None:
    examples = torch.randn(5, *SHAPE)
    values = network.values(torch.randn(20, *SHAPE), [layer])[layer][:, 1]
    random = values.mean() + 2 * values.std()
    for method in (AscentMethod.FOURIER, AscentMethod.ERHAN):
        settings = AscentSettings(method, steps=40, transforms=STILL, examples=examples)
        found = maximise(network, layer, [1], CANVAS, settings)
        assert found.layer == before_activation(network, layer)
        assert float(found.activation[0]) > float(random)


class Joined(nn.Module):
    """Rectified maps side by side, and pooled: what asks for one of them sees no rectifier on top.

    None answers to grey, nor to the faint noise in which an ascent begins.
    """

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Conv2d(3, 3, 3), nn.Conv2d(3, 3, 3)
        with torch.no_grad():
            for convolution in (self.left, self.right):
                convolution.bias.fill_(-1.0)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        both = torch.cat([self.left(images).relu(), self.right(images).relu()], 1)
        return functional.max_pool2d(both, 2).mean((2, 3))


@pytest.mark.parametrize("layer", ["cat", "max_pool", "mean"])
def test_units_that_are_silent_at_the_start_are_woken_up(layer: str) -> None:
    torch.manual_seed(2)
    network = open_network(Joined().eval(), SHAPE)
    settings = AscentSettings(steps=40, transforms=STILL)
    together = maximise(network, layer, [1, 3, 4], CANVAS, settings)
    assert (together.activation > 0.1).all()
    for place, channel in enumerate(together.channels):
        alone = maximise(network, layer, [channel], CANVAS, settings)
        torch.testing.assert_close(alone.picture[0], together.picture[place])


@pytest.mark.parametrize("layer", ["cat", "max_pool", "mean"])
def test_a_lifted_unit_is_computed_without_the_rectifiers_below_it(layer: str) -> None:
    torch.manual_seed(2)
    module = Joined().eval()
    network = open_network(module, SHAPE)
    frame = forward_to(network, layer)
    pictures = torch.randn(2, 3, *frame.size)
    assert frame.lifted is not None
    lifted = frame.lifted(pictures, [layer])[layer]
    maps = torch.cat([module.left(pictures), module.right(pictures)], 1)
    pooled = functional.max_pool2d(maps, 2) if layer != "cat" else maps
    expected = pooled.mean((2, 3)) if layer == "mean" else pooled
    torch.testing.assert_close(lifted, expected)
    assert (expected < 0).any()


def test_the_value_told_is_that_of_the_whole_network_on_the_picture(network: Network) -> None:
    found = maximise(network, "5", [2, 6], CANVAS, AscentSettings(steps=12))
    size = found.picture.shape[-1]
    row = network.layer("5").grid[0] // 2
    [box] = [network.layer("5").field.box((row, row))]
    assert size == box.height
    for picture, activation, channel in zip(
        found.picture, found.activation, found.channels, strict=True
    ):
        image = torch.zeros(1, *SHAPE)
        image[0, :, box.top : box.bottom, box.left : box.right] = picture
        value = network.values(image, ["5"])["5"][0, channel, row, row]
        assert float(activation) == pytest.approx(float(value), abs=1e-5)


def test_a_picture_does_not_depend_on_what_else_is_asked_for(network: Network) -> None:
    settings = AscentSettings(steps=6)
    together = maximise(network, "5", None, CANVAS, settings)
    alone = maximise(network, "5", [7], CANVAS, settings)
    torch.testing.assert_close(together.picture[7:], alone.picture, atol=1e-4, rtol=1e-4)


def test_maco_keeps_the_magnitudes_of_the_images_and_changes_phases_alone() -> None:
    torch.manual_seed(0)
    examples = torch.randn(6, *SHAPE)
    magnitude = magnitude_of(CANVAS, examples)
    colours = decorrelated(CANVAS.shares(examples))
    expected = torch.fft.rfft2(colours).abs().mean(0)
    torch.testing.assert_close(magnitude[:, 1:], expected[:, 1:])
    assert float(magnitude[:, 0, 0].abs().max()) == 0
    pictures = MagnitudePictures(CANVAS, magnitude, Count(2), torch.Generator().manual_seed(0))
    for _ in range(3):
        [gradient] = torch.autograd.grad(pictures.images().sum(), [pictures.parameter])
        pictures.step(gradient)
    # where a real image's spectrum is free: not in the columns that are their own mirror image
    kept = torch.fft.rfft2(pictures.planes()).abs()[..., 1:-1]
    torch.testing.assert_close(kept, magnitude[:, :, 1:-1].expand_as(kept), atol=1e-4, rtol=1e-4)


def test_colours_go_both_ways_and_other_channels_stay() -> None:
    planes = torch.randn(2, 3, 4, 5)
    torch.testing.assert_close(decorrelated(correlated(planes)), planes, atol=1e-4, rtol=1e-4)
    assert float(COLOURS.det()) != 0
    grey = torch.randn(2, 1, 4, 5)
    assert torch.equal(correlated(grey), grey)


def test_transforms_keep_the_picture_in_the_middle_and_grey_around_it() -> None:
    generator = torch.Generator().manual_seed(0)
    grey = torch.full((3, 20, 20), 0.5)
    pictures = torch.ones(2, 3, 20, 20)
    assert STILL(pictures, grey, (20, 20), generator) is pictures
    wider = STILL(pictures, grey, (30, 30), generator)
    assert bool((wider[..., 6:24, 6:24] == 1).all()) and bool((wider[..., :4, :] == 0.5).all())
    for _ in range(5):
        moved = Transforms()(pictures, grey, (20, 20), generator)
        assert bool((moved[..., 8:12, 8:12] == 1).all())
        torch.testing.assert_close(moved[0], moved[1])
    shifts = {
        int((Transforms((8,), 0, 0)(pictures, grey, (20, 20), generator)[0, 0, 10] < 0.75).sum())
        for _ in range(20)
    }
    assert max(shifts) in (3, 4) and min(shifts) < 3


def test_objectives_add_scale_and_say_what_they_are() -> None:
    values = {"a": torch.arange(8.0).reshape(2, 4), INPUT: torch.ones(2, 1, 2, 2)}
    objective = 2 * units("a", [1, 3]) - small(0.5)
    assert objective.value(values).tolist() == [2 * 1 - 2, 2 * 7 - 2]
    assert objective.layers == ("a",) and str(objective) == "2 × (a/1, 3) + -1 × (0.5 ‖I‖²)"


def test_variants_of_a_unit_are_less_alike_than_without_diversity(network: Network) -> None:
    found = maximise(network, "5", [3], CANVAS, AscentSettings(steps=20, variants=3))
    assert found.channels == (3, 3, 3)
    values = forward_to(network, "4").forward(found.picture, ["4"])
    likeness = -diversity("4", 1).value(values)
    assert float(likeness.max()) < 0.9999
    assert not torch.equal(found.picture[0], found.picture[1])


def test_negative_pictures_are_of_what_a_unit_refuses(network: Network) -> None:
    found = maximise(network, "5", [3], CANVAS, AscentSettings(steps=30, negative=True))
    assert float(found.value) < 0 and float(found.activation) == 0


def test_a_class_is_driven_by_its_score_and_not_its_probability(network: Network) -> None:
    assert before_activation(network, "9") == "8"
    found = maximise(network, "9", [2], CANVAS, AscentSettings(steps=30))
    assert found.layer == "8" and found.picture.shape[1:] == SHAPE


def test_what_cannot_work_is_refused(network: Network) -> None:
    with pytest.raises(BadOption, match="maco keeps the magnitudes"):
        maximise(network, "5", [0], CANVAS, AscentSettings(AscentMethod.MACO))
    with pytest.raises(BadOption, match="steps"):
        maximise(network, "5", [0], CANVAS, AscentSettings(steps=0))


def test_the_network_is_left_as_it_was(network: Network) -> None:
    before = {n: t.clone() for n, node in network.nodes.items() for t in node.tensors.values()}
    maximise(network, "5", [0], CANVAS, AscentSettings(steps=3))
    for name, node in network.nodes.items():
        for tensor in node.tensors.values():
            assert tensor.grad is None
        if name in before:
            assert torch.equal(before[name], list(node.tensors.values())[-1])
