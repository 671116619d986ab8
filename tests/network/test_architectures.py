"""The networks of the paper: their maps, their parameters, every row of Table 2."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

from convscope.errors import BadModel, BadOption
from convscope.models.architectures import (
    ARCHITECTURES,
    Architecture,
    Initialisation,
    alexnet,
    architecture_named,
    build,
    zfnet,
)


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def count_by_hand(convolutions, dense, classes: int, features: int) -> int:
    """Weights and biases: (maps, channels per group, size) and units, from the paper's Fig. 3."""
    total = sum(maps * channels * size**2 + maps for maps, channels, size in convolutions)
    for units in (*dense, classes):
        total += features * units + units
        features = units
    return total


def test_zfnet_has_the_papers_maps_and_62_357_608_parameters():
    network = zfnet()
    assert parameters(network) == 62_357_608
    sides = [height for _, (_, height, _) in network.architecture.maps()]
    assert sides == [110, 55, 26, 13, 13, 13, 13, 6]


def test_alexnet_is_krizhevskys_with_groups_and_the_replication_without():
    assert parameters(alexnet()) == 60_965_224
    assert parameters(alexnet(groups=1)) == 62_378_344
    sides = [height for _, (_, height, _) in alexnet(2).architecture.maps()]
    assert sides == [55, 27, 27, 13, 13, 13, 13, 6]


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_stated_maps_are_the_ones_a_forward_pass_makes(name: str):
    network = build(ARCHITECTURES[name].with_classes(7)).eval()
    value = torch.zeros(1, *network.architecture.input_shape)
    found = []
    with torch.inference_mode():
        for child, module in network.named_children():
            value = module(value)
            if child.startswith(("conv", "pool")):
                found.append((child, tuple(value.shape[1:])))
    assert found == network.architecture.maps()
    assert value.shape == (1, 7)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_network_names_its_layers_as_the_paper_counts_them(name: str):
    names = [child for child, _ in build(ARCHITECTURES[name], None).named_children()]
    assert names == [
        *("conv1", "relu1", "pool1", "norm1", "conv2", "relu2", "pool2", "norm2"),
        *("conv3", "relu3", "conv4", "relu4", "conv5", "relu5", "pool5", "flatten"),
        *("fc6", "relu6", "drop6", "fc7", "relu7", "drop7", "fc8"),
    ]


FC = (4096, 4096)
LOW = [(96, 3, 11), (256, 48, 5)]  # Krizhevsky's layers 1 and 2, grouped
MID = [(384, 256, 3), (384, 192, 3)]
TOP = [(256, 192, 3)]
Z = [(96, 3, 7), (256, 96, 5)]
TABLE_2 = {
    "alexnet without 3,4": (
        lambda: alexnet(without=(3, 4)),
        count_by_hand([*LOW, (256, 128, 3)], FC, 1000, 9216),
    ),
    "alexnet without 7": (
        lambda: alexnet(without=(7,)),
        count_by_hand(LOW + MID + TOP, (4096,), 1000, 9216),
    ),
    "alexnet without 6,7": (
        lambda: alexnet(without=(6, 7)),
        count_by_hand(LOW + MID + TOP, (), 1000, 9216),
    ),
    "alexnet without 3,4,6,7": (
        lambda: alexnet(without=(3, 4, 6, 7)),
        count_by_hand([*LOW, (256, 128, 3)], (), 1000, 9216),
    ),
    "alexnet, 2048 units": (
        lambda: alexnet(units=2048),
        count_by_hand(LOW + MID + TOP, (2048, 2048), 1000, 9216),
    ),
    "alexnet, 8192 units": (
        lambda: alexnet(units=8192),
        count_by_hand(LOW + MID + TOP, (8192, 8192), 1000, 9216),
    ),
    "zfnet, 2048 units": (
        lambda: zfnet(units=2048),
        count_by_hand([*Z, (384, 256, 3), (384, 384, 3), (256, 384, 3)], (2048,) * 2, 1000, 9216),
    ),
    "zfnet, 512, 1024, 512 maps": (
        lambda: zfnet(maps={3: 512, 4: 1024, 5: 512}),
        count_by_hand([*Z, (512, 256, 3), (1024, 512, 3), (512, 1024, 3)], FC, 1000, 18432),
    ),
    "zfnet, both": (
        lambda: zfnet(units=8192, maps={3: 512, 4: 1024, 5: 512}),
        count_by_hand(
            [*Z, (512, 256, 3), (1024, 512, 3), (512, 1024, 3)], (8192,) * 2, 1000, 18432
        ),
    ),
}


@pytest.mark.parametrize("row", TABLE_2)
def test_every_row_of_table_2_can_be_built(row: str, monkeypatch):
    make, expected = TABLE_2[row]
    skip_initialisation = "convscope.models.architectures.initialise"
    monkeypatch.setattr(skip_initialisation, lambda *_, **__: None)  # only shapes matter here
    assert parameters(make()) == expected


def test_a_variant_survives_json_and_a_plain_one_keeps_its_name():
    wide = ARCHITECTURES["zfnet"].with_maps({3: 512, 5: 512}).with_units(2048).without(7, 4)
    assert wide.name == "zfnet maps=3:512,5:512 units=2048 without 4,7"
    assert Architecture.from_dict(json.loads(json.dumps(wide.to_dict()))) == wide
    same = ARCHITECTURES["zfnet"].with_maps({3: 384}).with_units(4096).without()
    assert same == ARCHITECTURES["zfnet"]


def test_the_same_seed_draws_the_same_weights_and_leaves_the_global_generator_alone():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    small = ARCHITECTURES["zfnet-small"]
    first, again, other = build(small, seed=3), build(small, seed=3), build(small, seed=4)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first.conv1.weight, again.conv1.weight)
    assert not torch.equal(first.conv1.weight, other.conv1.weight)


def test_he_keeps_signals_alive_from_pixels_to_logits():
    generator = torch.Generator().manual_seed(0)
    for name in ("zfnet-small", "alexnet-small"):
        network = build(ARCHITECTURES[name]).eval()
        value = 60 * torch.randn(8, *network.architecture.input_shape, generator=generator)
        with torch.inference_mode():
            for child, module in network.named_children():
                value = module(value)
                assert 0.01 < value.std() < 100, child


def test_the_papers_initialisation_is_a_hundredth_with_zero_biases():
    network = build(ARCHITECTURES["zfnet-small"], Initialisation.PAPER)
    assert network.fc6.weight.std().item() == pytest.approx(0.01, rel=0.01)
    assert not network.fc6.bias.any()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: zfnet(without=(2,)), "only layers 3, 4, 6, 7 can be left out"),
        (lambda: zfnet(maps={6: 10}), "no convolutional layer 6"),
        (lambda: alexnet(maps={4: 383}), "multiple of 2"),
        (lambda: zfnet(units=0), "at least 1"),
        (lambda: zfnet(0), "0 classes"),
        (lambda: alexnet(groups=3), "give 2 .* or 1"),
    ],
)
def test_impossible_variants_are_refused_with_the_remedy(make, message: str):
    with pytest.raises(BadOption, match=message):
        make()


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(BadModel, match="zfnet-small"):
        architecture_named("zfnet_small")
