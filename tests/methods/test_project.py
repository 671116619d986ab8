"""Projections readable by eye, their laws, and what cannot be projected."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from convscope.errors import BadInput, NonFinite, NoSuchLayer, NoSuchUnit
from convscope.methods.project import project
from convscope.methods.rules import DECONVNET, GRADIENT, GUIDED, RULES, InitialSignal, Rules
from convscope.network.network import Network, open_network
from convscope.network.unit import Unit
from nets import Apply, Branches, Residual


def filters(*weights: list[list[list[float]]], stride: int = 1, padding: int = 0) -> nn.Conv2d:
    """A convolution without bias; weights: per output map, per input map, rows of numbers."""
    kernel = torch.tensor(weights)
    conv = nn.Conv2d(kernel.shape[1], len(kernel), kernel.shape[-1], stride, padding, bias=False)
    conv.weight = nn.Parameter(kernel)
    return conv


def opened(*layers: nn.Module, size: Sequence[int] = (4, 4)) -> Network:
    return open_network(nn.Sequential(*layers), (1, *size))


IMAGE = torch.tensor(
    [[[0.0, 1, 0, 0],
      [1, 0, 0, 0],
      [2, 1, 0, 1],
      [0, 3, 1, 0]]]
)  # fmt: skip
PATTERN = [[1.0, 2], [-1, 3]]


def test_a_filters_unit_paints_its_filter_times_its_activation():
    network = opened(filters([PATTERN], stride=2), nn.ReLU())
    found = project(network.trace(IMAGE), "0/0@1,0")
    assert found.activation.tolist() == [2 + 2 + 9]
    assert found.projection[0].tolist() == [
        [[0, 0, 0, 0], [0, 0, 0, 0], [13, 26, 0, 0], [-13, 39, 0, 0]]
    ]
    assert found.box.tolist() == [[2, 0, 4, 2]]
    assert found.units == (Unit("0", 0, 1, 0),)
    assert found.images.tolist() == [0]


def test_a_pool_sends_its_value_to_the_maximum_it_came_from():
    network = opened(filters([PATTERN], stride=2), nn.ReLU(), nn.MaxPool2d(2))
    trace = network.trace(IMAGE)
    assert trace["1"].tolist() == [[[[1, 0], [13, 1]]]]
    found = project(trace, "2/0")
    assert found.units == (Unit("2", 0, 0, 0),)
    assert found.projection[0].tolist() == [
        [[0, 0, 0, 0], [0, 0, 0, 0], [13, 26, 0, 0], [-13, 39, 0, 0]]
    ]
    assert found.box.tolist() == [[0, 0, 4, 4]]


def test_a_unit_that_sees_padding_alone_projects_to_nothing():
    """A 1x1 filter, padded by two: the outer units lie beside the image."""
    network = opened(filters([[[1.0]]], padding=2), nn.ReLU(), size=(9, 9))
    image = torch.rand(1, 9, 9) + 1
    units = ["0/0@0,0", "0/0@12,3", "1/0@5,1", "0/0@2,2"]
    for rules in RULES.values():
        found = project(network.trace(image), units, rules)
        assert found.box.tolist()[:3] == [[-2, -2, -1, -1], [10, 1, 11, 2], [3, -1, 4, 0]]
        assert not found.projection[:3].any()
        assert found.projection[3].count_nonzero() == 1


def test_values_that_share_a_switch_add():
    image = torch.tensor([[[0.0, 1, 0], [0, 5, 0], [1, 0, 2]]])
    network = opened(nn.MaxPool2d(2, stride=1), filters([[[1.0, 1], [1, 1]]]), size=(3, 3))
    found = project(network.trace(image), "1/0")
    assert found.activation.tolist() == [20]
    assert found.projection[0].tolist() == [[[0, 0, 0], [0, 80, 0], [0, 0, 0]]]


def test_the_three_methods_differ_at_the_rectifier_only():
    """Map 0 is x, map 1 is -x; the unit above weighs them 1 and -2 where x = (3, -1)."""
    below = filters([[[1.0]]], [[[-1.0]]])
    network = opened(below, nn.ReLU(), filters([[[1.0]], [[-2.0]]]), nn.ReLU(), size=(1, 2))
    trace = network.trace(torch.tensor([[[3.0, -1.0]]]))
    assert trace["2"].tolist() == [[[[3, -2]]]]

    def row(unit: str, rules: Rules) -> list[float]:
        return (
            project(trace, unit, rules.replace({}, seed=InitialSignal.ONE))
            .projection[0, 0, 0]
            .tolist()
        )

    # at x = 3: map 0 is on, map 1 off. Downward signals: 1 and -2.
    assert row("2/0@0,0", GRADIENT) == [1, 0]  # passes 1 (on); -2 is gated (off)
    assert row("2/0@0,0", DECONVNET) == [1, 0]  # passes 1 (positive); -2 is rectified
    # at x = -1: map 0 is off, map 1 on.
    assert row("2/0@0,1", GRADIENT) == [0, 2]  # -2 through map 1, times -1
    assert row("2/0@0,1", DECONVNET) == [0, 1]  # 1 through map 0, though it was off
    assert row("2/0@0,1", GUIDED) == [0, 0]  # neither both positive and on


def test_lrn_is_skipped_by_the_deconvnet_and_differentiated_by_the_gradient():
    network = opened(nn.LocalResponseNorm(1, alpha=3.0, beta=1.0, k=1.0), size=(1, 1))
    trace = network.trace(torch.tensor([[[1.0]]]))
    assert trace["0"].item() == 0.25  # 1 / (1 + 3)
    assert project(trace, "0/0").projection.item() == 0.25
    assert project(trace, "0/0", GRADIENT).projection.item() == pytest.approx(1 / 4 - 6 / 16)


def test_the_pixels_are_not_rectified():
    network = opened(filters([[[-2.0]]]), size=(1, 1))
    found = project(network.trace(torch.tensor([[[-1.0]]])), "0/0")
    assert found.projection.item() == -4


def convnet(*, seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        Residual(nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.ReLU())), nn.ReLU(),
        Branches(nn.Conv2d(8, 4, 1), nn.MaxPool2d(3, 1, 1)), nn.Conv2d(12, 4, 2),
    ).eval()  # fmt: skip


@cache
def shifted_network() -> Network:
    return open_network(convnet(), (3, 40, 40))


@given(st.integers(0, 3), st.integers(0, 2), st.integers(0, 2), st.sampled_from(sorted(RULES)))
def test_a_shift_of_the_image_by_the_stride_shifts_the_projection(
    channel: int, down: int, right: int, rules: str
):
    network = shifted_network()
    layer = network.layer("6")
    assert layer.field.rows.stride == layer.field.columns.stride == 4
    scene = torch.randn(3, 48, 48, generator=torch.Generator().manual_seed(channel))
    trace = network.trace(
        torch.stack([scene[:, :40, :40], scene[:, 4 * down :, 4 * right :][:, :40, :40]])
    )
    units = [Unit("6", channel, 5, 5), Unit("6", channel, 5 - down, 5 - right)]
    found = project(trace, units, RULES[rules], images=[0, 1])
    shifted = found.projection[1].roll((4 * down, 4 * right), (1, 2))
    torch.testing.assert_close(shifted, found.projection[0])
    shift = torch.tensor([4 * down, 4 * right] * 2)
    assert torch.equal(found.box[1] + shift, found.box[0])


@pytest.mark.parametrize("rules", RULES)
def test_any_mix_of_units_and_images_gives_what_each_gives_alone(rules: str):
    module = nn.Sequential(convnet(), nn.ReLU(), nn.Flatten(), nn.Linear(64, 5))
    network = open_network(module, (3, 20, 20))
    images = torch.randn(3, 3, 20, 20, generator=torch.Generator().manual_seed(1))
    trace = network.trace(images)
    mix = [("3/4", 2), ("0.0/7@9,9", 0), ("3/1", 0), ("0.3/2", 1), ("0.0/7", 2), ("0.3/2", 0),
           ("0.6/3@0,3", 1), ("3/4", 1), ("3/4", 2)]  # fmt: skip
    together = project(trace, [u for u, _ in mix], RULES[rules], images=[i for _, i in mix])
    assert together.projection.shape == (9, 3, 20, 20)
    assert together.images.tolist() == [i for _, i in mix]
    for i, (unit, image) in enumerate(mix):
        alone = project(network.trace(images[image]), unit, RULES[rules])
        torch.testing.assert_close(together.projection[i], alone.projection[0])
        torch.testing.assert_close(together.activation[i], alone.activation[0])
        assert together.units[i] == alone.units[0]
        assert torch.equal(together.box[i], alone.box[0])


def test_a_unit_of_every_layer_projects_into_its_field():
    module = nn.Sequential(
        convnet(), nn.BatchNorm2d(4), nn.Hardswish(), nn.LocalResponseNorm(3), nn.ReLU6(),
        nn.Upsample(scale_factor=2), nn.ZeroPad2d(1), nn.AvgPool2d(2), nn.Dropout(),
        Apply(lambda x: torch.cat(x.chunk(2, 1)[::-1], 1) * torch.sigmoid(x.mean((2, 3), True))),
        nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 5), nn.Softmax(1),
    ).eval()  # fmt: skip
    network = open_network(module, (3, 20, 20))
    trace = network.trace(torch.randn(3, 20, 20, generator=torch.Generator().manual_seed(2)))
    kinds = {layer.kind for layer in network.layers}
    assert len(kinds) >= 18
    for layer in network.layers:
        for rules in RULES.values():
            if layer.kind == "softmax" and str(rules) in ("deeplift", "lrp-epsilon", "lrp-gamma"):
                continue  # they refuse it by name
            found = project(trace, f"{layer.name}/1", rules)
            value = trace[layer.name][0, 1]
            assert found.activation.item() == value.max()
            assert found.projection.isfinite().all()
            top, left, bottom, right = found.box[0].clamp(0, 20).tolist()
            found.projection[0, :, top:bottom, left:right] = 0
            assert not found.projection.any()


def test_no_units_give_no_projections():
    network = opened(nn.ReLU())
    found = project(network.trace(IMAGE), [])
    assert found.projection.shape == (0, 1, 4, 4)
    assert found.box.shape == (0, 4)
    assert found.activation.shape == found.images.shape == (0,)


def test_a_trace_that_stopped_below_the_unit_goes_on():
    network = open_network(convnet(), (3, 20, 20))
    image = torch.randn(1, 3, 20, 20)
    short, full = network.trace(image, layers=["0"]), network.trace(image)
    assert torch.equal(project(short, "6/1").projection, project(full, "6/1").projection)


def test_projecting_works_in_inference_mode_and_under_enabled_gradients():
    network = opened(filters([PATTERN]), nn.SiLU(), nn.AvgPool2d(2))
    expected = project(network.trace(IMAGE), "2/0", GRADIENT).projection
    with torch.inference_mode():
        assert torch.equal(project(network.trace(IMAGE), "2/0", GRADIENT).projection, expected)
    with torch.enable_grad():
        found = project(network.trace(IMAGE.clone().requires_grad_()), "2/0", GRADIENT)
    assert torch.equal(found.projection, expected)
    assert not found.projection.requires_grad


@pytest.mark.parametrize(
    ("units", "images", "error", "message"),
    [
        ("9/0", 0, NoSuchLayer, "no layer '9'"),
        ("0/1", 0, NoSuchUnit, "feature maps 0 to 0"),
        ("0/0@4,0", 0, NoSuchUnit, "rows 0 to 3"),
        ("0", 0, NoSuchUnit, "is not a unit"),
        ("0/0", None, BadInput, r"the trace holds 2 images: say with images=\[\.\.\.\]"),
        ("0/0", 2, BadInput, r"give one row of the trace, 0 to 1"),
        ("0/0", -1, BadInput, r"give one row of the trace, 0 to 1"),
        (["0/0", "0/0"], [0], BadInput, "for each of the 2 units"),
    ],
)
def test_what_does_not_exist_cannot_be_projected(
    units: Any, images: Any, error: type[Exception], message: str
):
    network = opened(nn.ReLU())
    trace = network.trace(torch.stack([IMAGE, IMAGE]))
    with pytest.raises(error, match=message):
        project(trace, units, images=images)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_unit_that_is_not_finite_is_named(value: float):
    network = opened(nn.ReLU(), nn.Flatten())
    image = IMAGE.clone()
    image[0, 2, 1] = value
    trace = network.trace(image)
    with pytest.raises(NonFinite, match=r"0/0.*(NaN|is inf in image 0)"):
        project(trace, "0/0")
    with pytest.raises(NonFinite, match=r"1/9 is (nan|inf) in image 0: check the weights"):
        project(trace, "1/9")
    assert project(trace, "0/0@2,0").activation.tolist() == [2]


@pytest.mark.parametrize("unit", ["1/0", "1/99", "nowhere/0"])
def test_the_module_and_the_trace_stay_as_they_were(unit: str):
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.BatchNorm2d(4)).train()
    network = open_network(module, (3, 9, 9))
    state = {name: value.clone() for name, value in module.state_dict().items()}
    trace = network.trace(torch.randn(1, 3, 9, 9))
    values = {name: trace[name].clone() for name in ("input", "0", "1", "2")}
    try:
        project(trace, unit)
    except (NoSuchUnit, NoSuchLayer):
        assert unit != "1/0"
    assert all(torch.equal(value, state[name]) for name, value in module.state_dict().items())
    assert all(torch.equal(trace[name], value) for name, value in values.items())
    assert all(child.training for child in module.modules())
    assert all(p.grad is None and p.requires_grad for p in module.parameters())
    assert not any(child._forward_hooks or child._backward_hooks for child in module.modules())
