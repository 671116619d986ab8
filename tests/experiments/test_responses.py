"""Measures of answers to images, on networks whose answer is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from convscope.experiments.diagnosis.filters import folded
from convscope.experiments.diagnosis.responses import (
    Tally,
    interpolation,
    is_rectified,
    measured_folding,
    unsteadiness,
)
from convscope.network.network import open_network

from .banks import gabor, network_of, photographs, sound_bank

GREY = (1.0, 1.0, 1.0)


def test_activity_is_counted_by_image_and_by_position():
    maps = torch.zeros(2, 3, 40, 50)
    maps[0, 0, 0, 0] = 1.0  # one position of 4000: nearly dead
    maps[1, 2] = 2.0
    tally = Tally(3, rectified=True)
    tally.add(maps[:1])
    tally.add(maps[1:])
    found = tally.activity()
    assert (found.images, found.positions) == (2, 4000)
    assert found.dead == (1,)
    assert found.nearly_dead == (0,)
    assert found.active == (1 / 4000, 0, 0.5)
    assert found.images_active == (0.5, 0, 0.5)
    assert found.sparsity == pytest.approx(1 - (0.5 + 1 / 4000) / 3)
    assert found.top_share == pytest.approx(8000 / 8001)
    assert found.missed == 1.0  # two images say nothing: 3 / 2 is above 1


def test_few_positions_say_nothing_about_rare_maps():
    tally = Tally(1, rectified=True)
    tally.add(torch.eye(20)[None, None] * 0 + torch.eye(20)[0, 0] * 0)
    assert tally.activity().nearly_dead is None


def test_without_a_rectifier_a_dead_map_is_one_that_never_changes():
    maps = torch.randn(4, 3, 8, 8)
    maps[:, 1] = -2.5
    tally = Tally(3, rectified=False)
    tally.add(maps)
    assert tally.activity().dead == (1,)
    assert tally.activity().sparsity is None


def test_rectified_layers_are_told_from_others():
    module = nn.Sequential(nn.Conv2d(3, 2, 1), nn.ReLU6(), nn.Hardtanh(), nn.ReLU(), nn.SiLU())
    network = open_network(module.eval(), (3, 4, 4))
    assert [is_rectified(network.nodes[str(i)]) for i in range(5)] == [0, 1, 0, 1, 0]


def test_folding_measured_on_photographs_agrees_with_what_the_filters_say():
    network = network_of(sound_bank(), 4)
    measured = measured_folding(network, photographs(8), ["0"])["0"]
    expected = folded(network.nodes["0"])
    assert float((measured - expected).abs().max()) < 0.12
    assert np.corrcoef(measured, expected)[0, 1] > 0.98


def test_folding_is_all_for_a_fast_wave_and_nothing_for_a_slow_one():
    bank = torch.stack([gabor(9, 0.4, 0.0, GREY), gabor(9, 0.06, 0.0, GREY)])
    fast, slow = measured_folding(network_of(bank, 2), photographs(2), ["0"])["0"].tolist()
    assert fast > 0.9
    assert slow < 0.02


def test_what_the_grid_carries_moves_with_the_image_and_what_folds_does_not():
    bank = torch.stack([gabor(9, 0.5, 0.0, GREY), gabor(9, 0.05, 0.0, GREY)])
    module = nn.Sequential(nn.Conv2d(3, 2, 9, 2, 4, bias=False)).eval()
    with torch.no_grad():
        module[0].weight.copy_(bank)
    network = open_network(module, (3, 64, 64))
    fast, slow = unsteadiness(network, photographs(4, slope=0.0), {"0": "0"})["0"].tolist()
    assert slow < 0.01
    assert fast > 0.4  # it runs along columns alone: rows still move with the image


def test_white_noise_under_a_stride_has_nothing_to_do_with_itself_moved():
    module = nn.Sequential(nn.Conv2d(3, 3, 1, 4, bias=False)).eval()
    with torch.no_grad():
        module[0].weight.copy_(torch.eye(3)[:, :, None, None])
    network = open_network(module, (3, 64, 64))
    found = unsteadiness(network, photographs(8, slope=0.0), {"0": "0"})["0"]
    assert float(found.min()) > 0.9


def test_interpolation_is_right_where_the_grid_carries_a_wave():
    at = np.arange(-2, 4)
    for fraction in (0.5, 1 / 3, 0.25):
        weights = interpolation(fraction).numpy()
        for frequency in (0.0, 0.1, 0.2, 0.3):  # cycles per step, below 0.5
            wave = weights @ np.exp(2j * np.pi * frequency * at)
            assert abs(wave - np.exp(2j * np.pi * frequency * fraction)) < 0.07
    assert interpolation(0.0).numpy() == pytest.approx([0, 0, 1, 0, 0, 0], abs=1e-3)


def test_unsteadiness_is_what_loops_over_positions_find():
    module = nn.Sequential(nn.Conv2d(3, 1, 5, 2, 2, bias=False)).eval()
    network = open_network(module, (3, 64, 64))
    image = photographs(1)
    with torch.no_grad():
        still, right, down = (
            module(image.roll(shift, (2, 3)))[0, 0].double().numpy()
            for shift in ((0, 0), (0, -1), (-1, 0))
        )
    weights = interpolation(0.5).numpy()
    left = []
    for before, after in ((still, right), (still.T, down.T)):
        wanted, predicted = [], []
        for r in range(3, 29):
            for c in range(2, 29):
                predicted.append(sum(weights[j] * before[r, c - 2 + j] for j in range(6)))
                wanted.append(after[r, c])
        difference = np.mean((np.array(wanted) - predicted) ** 2)
        left.append(difference / (np.var(wanted) + np.var(predicted)))
    found = unsteadiness(network, image, {"0": "0"})["0"]
    assert float(found[0]) == pytest.approx(np.mean(left), rel=1e-6)


def test_grids_without_a_step_or_too_small_are_left_out():
    network = network_of(sound_bank(), 1)
    assert unsteadiness(network, photographs(1), {"0": "1", "2": "3"}) == {}
    small = open_network(nn.Sequential(nn.Conv2d(3, 2, 8, 8)).eval(), (3, 32, 32))
    assert unsteadiness(small, torch.zeros(1, 3, 32, 32), {"0": "0"}) == {}


def test_a_map_that_never_varies_has_no_steadiness():
    network = network_of(sound_bank(), 2, bias=torch.tensor([-1e6] + [0.0] * 23))
    found = unsteadiness(network, photographs(1), {"0": "1"})["0"]
    assert math.isnan(found[0])
    assert not found[1:].isnan().any()
