"""Measures of filters: against plain loops, and on banks whose answer is known."""

from __future__ import annotations

import cmath
import math

import pytest
import torch
from torch import Tensor, nn

from convscope.experiments.diagnosis.filters import (
    beyond_nyquist,
    filter_spectrum,
    folded,
    noise_flatness,
    power,
    strength_of,
    twins_of,
)
from convscope.network.network import open_network

from .banks import gabor, network_of, sound_bank

GREY = (1.0, 1.0, 1.0)


def layer(bank: Tensor, stride: int = 1):
    return network_of(bank, stride).nodes["0"]


def test_the_power_is_the_squared_sum_of_waves():
    weight = torch.randn(2, 3, 4, 5, dtype=torch.float64)
    u, v = 5, 60  # of 64 frequencies
    for k in range(2):
        wanted = 0.0
        for c in range(3):
            total = 0j
            for r in range(4):
                for s in range(5):
                    total += float(weight[k, c, r, s]) * cmath.exp(
                        -2j * math.pi * (u * r + v * s) / 64
                    )
            wanted += abs(total) ** 2
        assert float(power(weight)[k, u, v]) == pytest.approx(wanted, rel=1e-9)


def test_the_strength_of_five_filters_can_be_worked_out_by_hand():
    bank = torch.stack([torch.full((3, 3, 3), value) for value in (0.02, 0.02, 0.02, 0.02, 0.2)])
    found = strength_of(network_of(bank), "0")
    assert found.rms == pytest.approx((0.02, 0.02, 0.02, 0.02, 0.2))
    assert found.ratio == pytest.approx(10)
    assert found.top_share == pytest.approx(100 / 104)  # one of five is the strongest twentieth
    assert found.gini == pytest.approx(100 / 104 - 1 / 5)  # one rich, four equal: share - 1 / K
    assert found.above_radius == 1


def test_equal_filters_have_no_inequality():
    found = strength_of(network_of(sound_bank()), "0")
    assert found.gini == pytest.approx(0, abs=1e-6)
    assert found.top_share == pytest.approx(2 / 24, rel=1e-4)
    assert not found.normalised


def test_a_batch_norm_undoes_the_filters_scale_and_sets_its_own():
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU()).eval()
    with torch.no_grad():
        module[0].weight[1] *= 50
        module[1].weight.copy_(torch.tensor([1.0, 1.0, -2.0, 1.0]))
    found = strength_of(open_network(module, (3, 8, 8)), "0")
    assert found.normalised
    assert found.strength == (1.0, 1.0, 2.0, 1.0)


def test_twins_are_found_whatever_their_size_and_opposites_are_none():
    bank = sound_bank()
    bank[7] = 3 * bank[2]
    bank[9] = -bank[4]
    bank[11] = bank[2] + 0.1 * bank[3]
    found = twins_of(layer(bank))
    assert found.groups == ((2, 7, 11),)
    assert found.redundant == 2
    assert found.opposite == 1
    assert found.pairs[0][:2] == (2, 7)
    assert found.cosine == 0.95


def test_only_filters_that_read_the_same_maps_are_compared():
    module = nn.Sequential(nn.Conv2d(4, 4, 3, groups=4)).eval()
    with torch.no_grad():
        module[0].weight[:] = module[0].weight[:1].clone()
    assert twins_of(open_network(module, (4, 8, 8)).nodes["0"]).groups == ()


def test_filters_of_three_weights_have_to_be_more_alike_than_chance_makes_them():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = nn.Sequential(nn.Conv2d(3, 64, 1)).eval()
    found = twins_of(open_network(module, (3, 8, 8)).nodes["0"])
    assert found.cosine > 0.999
    assert found.redundant == 0


def test_a_wave_is_tuned_to_its_frequency_and_its_colour_is_known():
    bank = torch.stack(
        [
            gabor(11, 0.06, 0.0, GREY),
            gabor(11, 0.18, 1.0, GREY),
            gabor(11, 0.4, 0.0, GREY),
            gabor(11, 0.18, 0.3, (1.0, 0.0, -1.0)),
        ]
    )
    found = filter_spectrum(layer(bank))
    assert found.tuned == (1, 2, 1)
    assert found.peak[2] == pytest.approx(0.4, abs=0.02)
    assert found.colour == pytest.approx(0.25, abs=1e-3)  # one of four filters of equal energy
    assert sum(found.shares) == pytest.approx(1)


def test_random_filters_have_a_flat_spectrum_and_are_called_noise():
    with torch.random.fork_rng():
        torch.manual_seed(1)
        bank = torch.randn(200, 3, 7, 7)
    found = filter_spectrum(layer(bank))
    assert max(abs(value - 1) for value in found.density) < 0.15
    assert found.noise is not None
    assert len(found.noise) > 180
    assert found.shares[1] == pytest.approx(math.pi * (1 / 16 - 1 / 64), abs=0.02)


def test_waves_are_not_noise_and_filters_of_three_pixels_are_not_asked():
    assert filter_spectrum(layer(sound_bank())).noise == ()
    assert filter_spectrum(layer(sound_bank(3))).noise is None
    assert noise_flatness(3, 3, 3) is None


def test_frequencies_beyond_half_the_sampling_rate_fold():
    beyond = beyond_nyquist((8, 8), (2, 2))  # frequencies 0, 1/8, 1/4, 3/8, 1/2, -3/8 ...
    assert beyond[0].tolist() == [False, False, False, True, True, True, False, False]
    assert beyond[3].all()
    assert not beyond_nyquist((8, 8), (1, 1)).any()


def test_a_wave_beyond_what_the_stride_carries_folds_and_a_slow_one_does_not():
    bank = torch.stack([gabor(9, 0.4, 0.0, GREY), gabor(9, 0.06, 0.0, GREY)])
    fast, slow = folded(layer(bank, 2)).tolist()
    assert fast > 0.9
    assert slow < 0.02
    assert folded(layer(bank, 1)).tolist() == [0, 0]
