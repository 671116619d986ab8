"""Addresses of units: their text form, and what does not exist."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from convscope.errors import NoSuchLayer, NoSuchUnit
from convscope.methods.project import project
from convscope.network.network import Network, open_network
from convscope.network.unit import Unit
from nets import Apply

layer_names = st.text(
    st.characters(exclude_categories=("Z", "C")), min_size=1
)  # whatever is printed, / @ , and : too
positions = st.one_of(st.none(), st.tuples(st.integers(0, 999), st.integers(0, 999)))


@given(layer_names, st.integers(0, 9999), positions)
def test_the_text_form_reads_back(layer: str, channel: int, position: tuple[int, int] | None):
    unit = Unit(layer, channel, *(position or ()))
    assert Unit.parse(str(unit)) == unit
    assert unit.position == position


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        ("conv5/128@6,7", Unit("conv5", 128, 6, 7)),
        ("features.10/3", Unit("features.10", 3)),
        (" layer1.0.relu:2/0 ", Unit("layer1.0.relu:2", 0)),
        ("conv1/7x7_s2/3", Unit("conv1/7x7_s2", 3)),
        ("conv1/7x7_s2/3@1,2", Unit("conv1/7x7_s2", 3, 1, 2)),
        ("a/3@1,2/5", Unit("a/3@1,2", 5)),
        ("a/3@1,2/5@0,0", Unit("a/3@1,2", 5, 0, 0)),
        ("a b, c:2/5", Unit("a b, c:2", 5)),
        (("conv5", 3), Unit("conv5", 3)),
        (("conv5", 3, 1, 2), Unit("conv5", 3, 1, 2)),
        (Unit("conv5", 3), Unit("conv5", 3)),
    ],
)
def test_units_are_given_as_text_tuples_or_themselves(text: Any, unit: Unit):
    assert Unit.parse(text) == unit


@pytest.mark.parametrize(
    "text",
    ["conv5", "conv5/", "/3", "conv5/x", "conv5/-1", "conv5/3@", "conv5/3@1", "conv5/3@1,2,3",
     "conv5/3@-1,2", "a/b/c", "conv5/٣", "", ("conv5",), ("conv5", 1, 2), 7, None],
)  # fmt: skip
def test_what_is_not_a_unit_is_refused_with_an_example(text: Any):
    with pytest.raises(NoSuchUnit, match="for example conv5/128@6,6"):
        Unit.parse(text)


def test_half_a_position_is_refused():
    with pytest.raises(NoSuchUnit, match="give both, or neither"):
        Unit("conv5", 3, row=1)


@pytest.fixture(scope="module")
def network() -> Network:
    shuffle = Apply(lambda x: F.relu(x.view(-1, 2, 3, 4, 5)).flatten(1, 2))
    return open_network(
        nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), shuffle, nn.Flatten(), nn.Linear(120, 4)),
        (3, 4, 5),
    )


def test_units_of_a_network_exist(network: Network):
    for text in ("0/0", "0/5@3,4", "3/3", "3/3@0,0"):
        assert str(network.unit(text)) == text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0/6", r"0/6: layer 0 has feature maps 0 to 5"),
        ("0/0@4,0", r"0/0@4,0: layer 0 has rows 0 to 3 and columns 0 to 4"),
        ("0/0@0,5", r"rows 0 to 3 and columns 0 to 4"),
        ("3/1@0,1", r"layer 3 has rows 0 to 0 and columns 0 to 0"),
        ("1.relu/0", r"layer 1\.relu is 2x3x4x5, neither feature maps nor a vector"),
    ],
)
def test_units_that_do_not_exist_are_refused_with_what_is_allowed(
    text: str, message: str, network: Network
):
    with pytest.raises(NoSuchUnit, match=message):
        network.unit(text)


def test_a_unit_of_an_unknown_layer_is_refused(network: Network):
    with pytest.raises(NoSuchLayer, match="no layer 'conv5'"):
        network.unit("conv5/1")


def test_units_have_a_total_order_by_layer_channel_and_position():
    units = [Unit("b", 0, 0, 0), Unit("a", 1, 2, 0), Unit("a", 1, 0, 3), Unit("a", 0, 9, 9)]
    assert [str(unit) for unit in sorted(units)] == ["a/0@9,9", "a/1@0,3", "a/1@2,0", "b/0@0,0"]


def test_a_unit_finds_its_strongest_position(network: Network):
    trace = network.trace(torch.zeros(1, 3, 4, 5))
    assert trace.strongest(Unit("0", 2), 0) == Unit("0", 2, 0, 0)  # all alike: the first
    assert trace.strongest(Unit("3", 2), 0) == Unit("3", 2)
    assert trace.strongest(Unit("0", 2, 1, 1), 0) == Unit("0", 2, 1, 1)


SLASHES = ("conv1/7x7_s2", "conv1/relu@1,2", "a b", "a,b", "a:b", "a/3", "a/3@0,0", "a")


def test_units_of_layers_with_any_name_are_found_and_projected():
    module = nn.Sequential()
    for name in SLASHES:
        module.add_module(name, nn.Conv2d(3, 3, 1))
    network = open_network(module, (3, 4, 5))
    assert [layer.name for layer in network.layers] == list(SLASHES)
    trace = network.trace(torch.rand(1, 3, 4, 5))
    for name in SLASHES:
        unit = network.unit(f"{name}/2@3,1")
        assert unit == Unit(name, 2, 3, 1)
        assert float(project(trace, str(unit)).activation) == float(trace[name][0, 2, 3, 1])
    with pytest.raises(NoSuchLayer, match="no layer 'conv1/7x7' in"):
        network.unit("conv1/7x7/2")
