"""Operations of users' own code against the module itself, in float64."""

from __future__ import annotations

from functools import cache
from itertools import product
from unittest.mock import patch

import pytest
import torch

from convscope.methods import descent
from convscope.methods.project import project
from convscope.methods.rules import GRADIENT, RULES
from convscope.network.local.incremental import BoxGrid, IncrementalSweep
from convscope.network.network import Network, open_network

from .kinds import FUNCTIONS, KINDS, SIZE, Layered
from .refusing import may_refuse

SHAPE = (3, *SIZE)
BOXES = BoxGrid(((0, 3), (5, 6)), ((0, 2), (4, 7)))


@cache
def opened(name: str) -> tuple[Layered, Network]:
    torch.manual_seed(0)
    module = Layered(KINDS[name]).double().eval().requires_grad_(False)
    return module, open_network(module, SHAPE)


def top(network: Network) -> str:
    """The layer that `Layered.maps` gives."""
    return network.activation("second")


@pytest.mark.parametrize("name", KINDS)
def test_values_and_every_changed_images_are_the_modules(name: str) -> None:
    module, network = opened(name)
    image, change = torch.randn(2, *SHAPE, dtype=torch.float64)
    outputs, _ = IncrementalSweep(network, BOXES, [network.output]).run(image, change)
    for (i, rows), (j, columns) in product(enumerate(BOXES.rows), enumerate(BOXES.columns)):
        variant = image.clone()
        variant[:, slice(*rows), slice(*columns)] = change[:, slice(*rows), slice(*columns)]
        expected = module(variant[None])[0]
        found = outputs[network.output][i, j]
        torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("name", KINDS)
def test_a_projection_by_the_gradients_rules_is_autograds(name: str) -> None:
    module, network = opened(name)
    images = torch.randn(2, *SHAPE, dtype=torch.float64, requires_grad=True)
    maps, scores = module.maps(images), module(images)
    units = {f"{network.output}/3": scores[1, 3]}
    for row, column in ((3, 4), (0, 7)):
        units[f"{top(network)}/2@{row},{column}"] = maps[1, 2, row, column]
    for share in (0.0, 1e9):
        with patch.object(descent, "WORTH_WINDOWS", share):
            trace = network.trace(images.detach())
            found = project(trace, list(units), GRADIENT, images=[1] * 3).projection
        for picture, value in zip(found, units.values(), strict=True):
            (expected,) = torch.autograd.grad(value, images, retain_graph=True)
            torch.testing.assert_close(picture, expected[1], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", KINDS)
def test_what_works_position_by_position_has_exact_windows_and_the_rest_says_global(
    name: str,
) -> None:
    _, network = opened(name)
    layer = network.layer(top(network))
    exact = (layer.field.size, layer.status.value) == ((5, 5), "exact")
    assert exact == (name in FUNCTIONS)
    assert (network.cone(layer.name) is not None) == (name in FUNCTIONS)
    if not exact:
        assert layer.status.value == "global"


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("rules", RULES.values(), ids=str)
def test_every_method_gives_on_windows_what_it_gives_on_whole_maps(
    name: str, rules: descent.Rules
) -> None:
    _, network = opened(name)
    trace = network.trace(torch.randn(2, *SHAPE, dtype=torch.float64))
    units, images = [f"{top(network)}/{c}" for c in (0, 1, 2)], [0, 1, 1]
    found = []
    for share in (0.0, 1e9):
        with patch.object(descent, "WORTH_WINDOWS", share), may_refuse(rules):
            found.append(project(trace, units, rules, images=images).projection)
    if not found:
        return  # refused both ways
    torch.testing.assert_close(found[1], found[0], rtol=1e-11, atol=1e-13)


def test_a_network_that_is_moved_keeps_its_windows_its_masks_and_its_types() -> None:
    """From float32, in which the casts and constants were made, to float64."""
    for name in ("masks", "constants", "channels of zeros"):
        torch.manual_seed(0)
        module = Layered(lambda y, name=name: KINDS[name](y.half().float())).eval()
        network = open_network(module, SHAPE).to(torch.float64)
        image = torch.randn(1, *SHAPE)
        assert network.dtype is torch.float64
        value = network.values(image, [network.output])[network.output]
        assert value.dtype is torch.float64
        torch.testing.assert_close(value.float(), module(image), rtol=0.02, atol=0.02)
        assert network.cone(top(network)) is not None
