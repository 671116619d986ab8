"""Two networks compared, where it is known which map of one is which of the other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import convscope
from convscope.distributed import Ranks
from convscope.errors import BadData, BadOption, FolderInUse
from convscope.experiments.comparison.comparing import (
    ComparedNetwork,
    Matching,
    activations,
    compare,
    layer_pairs,
)
from convscope.experiments.comparison.matching import (
    assigned,
    chance_level,
    cka,
    map_correlations,
    silent_maps,
)
from convscope.experiments.comparison.result import Comparison
from convscope.experiments.comparison.study import CompareStudy, MapPooling
from convscope.experiments.options import Device, Running
from convscope.experiments.session import session_of
from convscope.experiments.study import Context
from convscope.images.fitting import Fit
from convscope.images.preprocess import Preprocess
from convscope.images.scaling import Scaling
from convscope.models.weights import module_sha256
from convscope.models.zoo import Model
from convscope.network.network import Network, open_network
from convscope.progress import Progress
from convscope.scan.engine import Scan
from convscope.store.results import ResultStore
from experiments.painted import SIDE, Painted
from report.conftest import build
from work_together import all_find_the_same

SEEN = Preprocess((3, SIDE, SIDE), Scaling.UNIT, Fit.STRETCH)
MAPS = 8


def dice(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def colours(count: int = 120, broken: tuple[int, ...] = ()) -> Painted:
    """Pictures of one colour, whose red, green and blue have nothing to do with each other."""
    rgb = dice().integers(0, 256, (count, 3)).tolist()
    return Painted([tuple(each) for each in rgb], [0] * count, broken=broken)


def small_net(seed: int = 0, reads: int | None = None) -> nn.Sequential:
    """Two layers of 8 and 6 maps; with `reads`, of one of red, green and blue alone."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = nn.Sequential(nn.Conv2d(3, MAPS, 3), nn.ReLU(), nn.Conv2d(MAPS, 6, 1), nn.ReLU())
    with torch.no_grad():
        net[0].bias.fill_(0.2)
        net[2].bias.fill_(0.2)
        for channel in range(3):
            if reads is not None and channel != reads:
                net[0].weight[:, channel] = 0
    return net.eval()


def permuted(order: list[int], top: list[int]) -> nn.Sequential:
    """The same function, its maps dealt out anew: map i is the old map order[i]."""
    net = small_net()
    with torch.no_grad():
        net[0].weight.copy_(net[0].weight[order])
        net[2].weight.copy_(net[2].weight[:, order][top])
    return net


def opened(net: nn.Module) -> Network:
    return open_network(net, (3, SIDE, SIDE))


def model(net: nn.Module) -> Model:
    return Model(net, SEEN, "net", module_sha256(net), False, None)


def compared(one: nn.Module, other: nn.Module, images: Painted, **how: Any) -> Comparison:
    networks = opened(one), opened(other)
    pairs, sides = layer_pairs(*networks, None), []
    for number, network in enumerate(networks):
        layers = [pair[number] for pair in pairs]
        with ResultStore(None, {}) as results:
            seen = activations(Scan(network, images, SEEN), layers, "mean", results, "")
        sides.append(ComparedNetwork(f"network {number}", network, seen))
    return compare(*sides, pairs, images, Matching(**{"draws": 19, **how}))


# ---- two networks -------------------------------------------------------------------------------


def test_a_network_keeps_all_of_its_own_maps() -> None:
    found = compared(small_net(), small_net(), colours())
    for match, maps in zip(found.layers, (MAPS, 6), strict=True):
        alive = tuple(i for i in range(maps) if i not in match.silent[0])
        assert match.kept == alive and len(alive) > 3
        assert not (match.moved or match.lost or match.new)
        assert match.filters is not None and match.filters.partner == tuple(range(maps))
        assert match.cka == pytest.approx(1)
    assert np.allclose(np.diag(np.array(found.cka, float)), 1)


def test_a_permuted_layer_is_recovered() -> None:
    order, top = [3, 0, 7, 2, 6, 1, 4, 5], [1, 2, 0, 3, 5, 4]
    found = compared(small_net(), permuted(order, top), colours())
    for match, dealt in zip(found.layers, (order, top), strict=True):
        expected = {old: new for new, old in enumerate(dealt) if old not in match.silent[0]}
        assert match.pairs == expected and len(expected) > 3
        assert set(match.kept) == {old for old, new in expected.items() if old == new}
        assert not (match.lost or match.new)
        assert match.cka == pytest.approx(1)
    first = found.layers[0].filters
    assert first is not None
    assert first.partner == tuple(order.index(number) for number in range(MAPS))


def test_networks_that_see_different_things_have_nothing_in_common() -> None:
    found = compared(small_net(0, reads=0), small_net(1, reads=2), colours(), least=0, draws=99)
    for match in found.layers:
        assert not (match.kept or match.moved)
        assert abs(match.cka or 0) < 0.05
        assert len(match.lost) + len(match.silent[0]) == match.maps[0]
        assert len(match.new) + len(match.silent[1]) == match.maps[1]


def test_lost_new_and_silent_maps_are_told_apart() -> None:
    one, other = small_net(reads=0), small_net(reads=0)
    with torch.no_grad():
        for net in (one, other):
            net[0].weight[:, 0] = net[0].weight[:, 0].abs()  # none is silent by chance
        other[0].weight[2] = 0
        other[0].weight[2, 1] = 1  # sees green instead of red
        other[0].bias[5] = -1e3
    match = compared(one, other, colours(), least=0.9).layers[0]
    assert match.silent == ((), (5,))
    # all other maps rise with red: any may be matched with any, but 7 remain for 6
    assert match.new == (2,) and len(match.lost) == 2 and len(match.pairs) == 6


def test_networks_of_different_sizes_are_matched_as_far_as_they_go() -> None:
    small = nn.Sequential(nn.Conv2d(3, 3, 3), nn.ReLU()).eval()
    with torch.no_grad():
        small[0].weight.copy_(small_net()[0].weight[[6, 1, 4]])
        small[0].bias.fill_(0.2)
    match = compared(small_net(), small, colours()).layers[0]
    alive = {6: 0, 1: 1, 4: 2}
    assert match.pairs == {old: new for old, new in alive.items() if new not in match.silent[1]}
    assert match.filters is None and match.maps == (MAPS, 3) and not match.new


def test_images_that_cannot_be_read_are_left_out_and_named() -> None:
    found = compared(small_net(), small_net(), colours(20, broken=(3, 7)))
    assert found.images == 18 and found.skipped == ("0003", "0007")
    assert "skipped 0003: it could not be read" in found.warnings()
    with pytest.raises(BadData, match="3 images of painted could be read"):
        compared(small_net(), small_net(), colours(5, broken=(3, 4)))


def test_layers_of_other_names_are_paired_by_hand() -> None:
    one, other = opened(small_net()), opened(nn.Sequential(nn.ReLU(), nn.Conv2d(3, 4, 1)).eval())
    with pytest.raises(BadOption, match="--layers A=B"):
        layer_pairs(one, other, None)
    assert layer_pairs(one, other, ["2=1", "0=1"]) == [("0", "1"), ("2", "1")]
    with pytest.raises(BadOption, match="named twice"):
        layer_pairs(one, other, ["0=1", "0=1"])


def shared(folder: Path, ranks: Ranks, progress: Progress) -> dict[str, Any]:
    """A study as one of several processes; the folders of the others stay empty."""
    running = Running(batch_size=4, device=Device.CPU)
    images = colours(48, broken=(5,))
    context = Context(
        folder if ranks.first else folder / "others", running, True, progress, ranks,
        opened={str(i): session_of(model(small_net(i)), running) for i in range(2)},
        sets={"painted": images},
    )  # fmt: skip
    study = CompareStudy("0", "1", "painted", pooling=MapPooling.MAX, draws=19)
    return study.run(context).result.to_dict()


@pytest.mark.long
def test_one_two_and_four_processes_find_the_same_also_after_a_kill(tmp_path: Path) -> None:
    found = all_find_the_same("experiments.test_comparison:shared", tmp_path, "1@4")
    assert found["images"] == 47


def test_the_function_takes_opened_networks_and_goes_on(tmp_path: Path) -> None:
    order, images = [3, 0, 7, 2, 6, 1, 4, 5], colours(40)
    two = model(small_net()), model(permuted(order, list(range(6))))  # of one name
    options = {"draws": 19, "device": "cpu", "out": tmp_path / "out"}
    found = convscope.compare(*two, images, **options)
    assert found.layers[0].moved and found.model != found.other
    read = images.read
    again = convscope.compare(*two, images, **options, resume=True)
    assert again.to_dict() == found.to_dict() and images.read == read
    with pytest.raises(FolderInUse, match="least"):
        convscope.compare(*two, images, **options, resume=True, least=0.7)
    with pytest.raises(FolderInUse, match="other_network"):
        convscope.compare(two[0], two[0], images, **options, resume=True)


def test_atlases_are_of_the_networks_that_are_compared(tmp_path: Path) -> None:
    place, net = build(tmp_path / "atlas"), model(small_net())
    with pytest.raises(BadOption, match="belong together"):
        convscope.compare(net, net, colours(8), atlas=place)
    with pytest.raises(BadOption, match=r"--atlas .* is an atlas of other weights"):
        convscope.compare(net, net, colours(8), atlas=place, other_atlas=place)


# ---- the numbers --------------------------------------------------------------------------------


def naive_cka(one: np.ndarray, other: np.ndarray) -> float:
    """From the products of all pairs of images, as Song et al. 2012 write it."""

    def hsic(k: np.ndarray, other_k: np.ndarray) -> float:
        n, ones = len(k), np.ones(len(k))
        k, other_k = k - np.diag(np.diag(k)), other_k - np.diag(np.diag(other_k))
        sums = (ones @ k @ ones) * (ones @ other_k @ ones) / ((n - 1) * (n - 2))
        mixed = 2 / (n - 2) * (ones @ k @ other_k @ ones)
        return (np.trace(k @ other_k) + sums - mixed) / (n * (n - 3))

    k, other_k = one @ one.T, other @ other.T
    return hsic(k, other_k) / np.sqrt(hsic(k, k) * hsic(other_k, other_k))


def test_cka_is_that_of_the_images_products() -> None:
    one = dice(1).normal(size=(30, 7)) + 3
    other = np.maximum(one @ dice(2).normal(size=(7, 5)), 0)
    assert cka(one, other) == pytest.approx(naive_cka(one, other), abs=1e-12)
    assert cka(other, one) == pytest.approx(cka(one, other), abs=1e-12)


def test_cka_of_a_rotated_layer_is_1_and_of_unrelated_ones_0_however_many_maps() -> None:
    one = dice(1).normal(size=(60, 9))
    rotation = np.linalg.qr(dice(2).normal(size=(9, 9)))[0]
    assert cka(one, 5 * one @ rotation + 2) == pytest.approx(1)
    many = [dice(seed).normal(size=(60, 500)) for seed in (3, 4)]
    assert abs(cka(*many) or 1) < 0.05
    assert cka(one, np.ones((60, 3))) is None


def test_correlations_are_numpys_and_0_with_a_silent_map() -> None:
    one, other = dice(1).normal(size=(20, 3)), dice(2).normal(size=(20, 4))
    assert np.allclose(map_correlations(one, other), np.corrcoef(one.T, other.T)[:3, 3:])
    one[:, 1] = 1e4 + 1e-5 * one[:, 1]  # rounding is no answer
    assert silent_maps(one).tolist() == [False, True, False]
    assert not map_correlations(one, other)[1].any()


def test_the_match_is_the_best_of_all() -> None:
    alike = dice().normal(size=(4, 6))
    best = max(permutations(range(6), 4), key=lambda order: alike[range(4), order].sum())
    assert assigned(alike) == tuple(enumerate(best))


@pytest.mark.parametrize("make", [dice(1).normal, dice(1).standard_exponential])
def test_chance_is_exceeded_by_unrelated_layers_in_one_of_twenty(make: Callable[..., Any]) -> None:
    exceeded = []
    for seed in range(200):
        one, other = make(size=(20, 3)), make(size=(20, 2))
        level = chance_level(one, other, 19, dice(seed))
        exceeded.append(map_correlations(one, other).max() > level)
    assert 0.01 < np.mean(exceeded) < 0.10  # 0.05, with three standard errors of 0.015


def test_a_network_whose_class_says_nothing_is_called_by_what_was_asked_for() -> None:
    running = Running(device=Device.CPU)
    opened = replace(model(small_net(0)), spec="mynet:build", title="Sequential")
    assert session_of(opened, running).title() == "mynet:build"
    assert session_of(replace(opened, title="ResNet"), running).title() == "ResNet"
