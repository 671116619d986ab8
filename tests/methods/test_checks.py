"""The trust strip on units of which the truth is known."""

from __future__ import annotations

import statistics

import pytest
import torch
from torch import nn

from convscope.methods.checks import CheckSettings, check
from convscope.methods.masking import centred_disc, place_score, shifted, strongest_places
from convscope.methods.own_block import own_block, with_block_redrawn
from convscope.methods.project import project
from convscope.methods.rules import DECONVNET, GRADIENT
from convscope.network.network import Network, open_network
from convscope.network.unit import Unit

SHAPE = (3, 32, 32)
UPPER_LEFT, LOWER_RIGHT, TWIN, DEAF = range(4)


def detectors() -> nn.Sequential:
    """Units that see 16 x 16 pixels: two look at a corner of it each, one is another's twin, and
    one does not look at its input at all."""
    module = nn.Sequential(nn.Conv2d(3, 4, 16, stride=8), nn.ReLU())
    with torch.no_grad():
        module[0].weight.zero_()
        module[0].weight[UPPER_LEFT, :, 1:6, 1:6] = 0.1
        module[0].weight[LOWER_RIGHT, :, 10:15, 10:15] = 0.1
        module[0].weight[TWIN] = module[0].weight[UPPER_LEFT]
        module[0].bias.copy_(torch.tensor([-0.5, -0.5, -0.5, 2.0]))
    return module


def scene() -> torch.Tensor:
    """Dim noise, with what the two detectors look for where the unit at (1, 1) sees it."""
    image = 0.05 * torch.rand(SHAPE, generator=torch.Generator().manual_seed(0))
    image[:, 9:14, 9:14] = 1.0
    image[:, 18:23, 18:23] = 1.0
    return image


def with_units(*channels: int) -> Network:
    """A network of some of the detectors."""
    module = detectors()
    module[0].weight = nn.Parameter(module[0].weight[list(channels)])
    module[0].bias = nn.Parameter(module[0].bias[list(channels)])
    module[0].out_channels = len(channels)
    return open_network(module, SHAPE)


def test_a_hand_built_detector_passes_all_three() -> None:
    network = with_units(UPPER_LEFT, LOWER_RIGHT)
    [trust] = check(network.trace(scene()), "1/0@1,1")
    assert trust.in_place and trust.is_specific
    assert trust.place is not None and trust.specific is not None
    assert trust.place.own == pytest.approx(1.0, abs=0.2)
    assert trust.place.above.mean > 0.4 and trust.place.p == pytest.approx(1 / 21, abs=0.15)
    assert trust.specific.mean > 1.0  # the other corner: pictures that have nothing in common
    assert trust.own_weights is not None and trust.own_weights.mean > 0.5
    assert trust.twin is None and trust.sentence.startswith("It marks where")


def test_two_units_built_identical_are_not_specific() -> None:
    for network in (with_units(UPPER_LEFT, TWIN), with_units(UPPER_LEFT, LOWER_RIGHT, TWIN)):
        [trust] = check(network.trace(scene()), "1/0@1,1")
        assert trust.specific is not None and trust.specific.mean == pytest.approx(0, abs=1e-6)
        assert not trust.is_specific and trust.twin is not None
        assert "very same picture" in trust.sentence


def test_a_twin_is_found_beyond_the_strongest_units_of_the_place() -> None:
    module = detectors()
    with torch.no_grad():
        module[0].bias[LOWER_RIGHT] = 50.0  # others are stronger, whatever they see
        module[0].bias[DEAF] = 60.0
    network = open_network(module, SHAPE)
    [trust] = check(
        network.trace(scene()), "1/0@1,1", settings=CheckSettings(shifts=2, neighbours=2)
    )
    assert [other.channel for other in trust.neighbours] == [DEAF, LOWER_RIGHT]
    assert trust.twin is not None and trust.twin.channel == TWIN
    assert trust.specific is not None and trust.specific.mean == 0


def test_a_unit_that_ignores_its_input_fails_place() -> None:
    network = with_units(UPPER_LEFT, DEAF)
    [trust] = check(network.trace(scene()), "1/1@1,1")
    assert trust.activation == pytest.approx(2.0)
    assert trust.place is not None and trust.place.above.mean == pytest.approx(0)
    assert not trust.in_place and "do not trust it" in trust.sentence


def test_a_unit_at_zero_says_so() -> None:
    network = with_units(UPPER_LEFT, LOWER_RIGHT)
    [trust] = check(network.trace(torch.zeros(SHAPE)), "1/0@1,1")
    assert trust.place is None and trust.specific is None and not trust.in_place
    assert "not above zero" in trust.sentence
    assert trust.to_dict()["place"] is None


def test_masks_that_point_nowhere_are_at_chance() -> None:
    network = with_units(UPPER_LEFT, LOWER_RIGHT)
    generator = torch.Generator().manual_seed(5)
    unit, image = Unit("1", 0, 1, 1), scene()
    anywhere = torch.zeros(16, 16, dtype=torch.bool)
    anywhere[:7, :7] = True
    found = [
        place_score(network, image, unit, mask, shifts=20, generator=generator)
        for mask in shifted(anywhere, 150, generator)
    ]
    above = [one.above.mean for one in found if one is not None]
    error = statistics.stdev(above) / len(above) ** 0.5
    assert abs(statistics.fmean(above)) < 3 * error
    assert statistics.fmean(one.p <= 0.1 for one in found if one is not None) < 0.2


def test_a_place_is_the_same_in_windows_and_on_whole_images(monkeypatch) -> None:
    network = with_units(UPPER_LEFT, LOWER_RIGHT)
    found = []
    for worth in (0.0, 1.1):
        monkeypatch.setattr("convscope.methods.masking.WORTH_WINDOWS", worth)
        [trust] = check(network.trace(scene()), "1/0@0,1")
        found.append(trust.place)
    assert found[0] == found[1]


def test_masks_cover_the_strongest_places_and_discs_as_many() -> None:
    field = torch.zeros(3, 10, 10)
    field[:, 2:4, 6:9] = torch.tensor([-5.0, 4.0, 5.0])
    mask = strongest_places(field, share=0.06)
    assert int(mask.sum()) == 6 and bool(mask[2:4, 6:9].all())
    disc = centred_disc(mask, (4.5, 4.5))
    assert int(disc.sum()) == 6 and bool(disc[4:6, 4:6].all())
    copies = shifted(mask, 9, torch.Generator().manual_seed(0))
    assert copies.shape == (9, 10, 10) and not any(torch.equal(copy, mask) for copy in copies)
    assert copies.flatten(1).sum(1).tolist() == [6] * 9


def test_the_same_question_has_the_same_answer_whatever_else_is_asked() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 8, 3), nn.ReLU()
    )
    network = open_network(module, SHAPE)
    images = torch.rand(2, *SHAPE)
    units, rows = ["1/2", "4/3", "4/5", "1/0"], [0, 1, 0, 1]
    settings = CheckSettings(shifts=5)
    together = check(network.trace(images), units, GRADIENT, images=rows, settings=settings)
    for unit, row, one in zip(units, rows, together, strict=True):
        [alone] = check(network.trace(images), unit, GRADIENT, images=row, settings=settings)
        for key, value in one.to_dict().items():
            number = isinstance(value, float)
            assert alone.to_dict()[key] == (pytest.approx(value, abs=1e-5) if number else value)


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(x + self.conv2(torch.relu(self.conv1(x))))


def test_a_unit_near_the_edge_is_checked_in_what_it_sees(monkeypatch) -> None:
    """Also where its projection is computed over the whole image, as those of deep units are."""
    monkeypatch.setattr("convscope.methods.descent.WORTH_WINDOWS", 0.0)
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(3, 4, 25, padding=12), nn.ReLU())
    network = open_network(module, SHAPE)
    trace = network.trace(torch.rand(1, *SHAPE))
    units = ["1/0@0,31", "1/1@31,31", "1/2@4,0"]
    shown = project(trace, units)
    assert [place.as_tuple() for place in shown.places] == [(0, 0, 32, 32)] * 3
    for index, unit in enumerate(units):
        seen = shown.seen(index)
        part = shown.projection[index][:, seen.top : seen.bottom, seen.left : seen.right]
        assert torch.equal(shown.seen_picture(index), part) and part.shape[1] < 32
        assert torch.count_nonzero(part) == torch.count_nonzero(shown.projection[index])
        [trust] = check(trace, unit, settings=CheckSettings(shifts=3))
        assert trust.place is None or trust.place.own <= 2


def test_a_block_is_the_units_module_but_not_the_networks_list_of_layers() -> None:
    module = nn.Sequential()
    module.stem = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
    module.features = nn.Sequential(Block(), Block(), nn.Conv2d(4, 2, 1))
    network = open_network(module, SHAPE)
    top = network.activation("features.0.conv1")
    assert own_block(network, top) == ("features.0.conv1",)
    assert own_block(network, "features.1.conv2") == ("features.1.conv1", "features.1.conv2")
    assert own_block(network, "features.2") == ("features.2",)
    assert own_block(network, "stem.1") == ("stem.0",)
    drawn = with_block_redrawn(network, "features.1.conv2", torch.Generator().manual_seed(0))
    assert drawn is not None
    for name, node in network.nodes.items():
        same = all(torch.equal(t, drawn.nodes[name].tensors[k]) for k, t in node.tensors.items())
        assert same == (name not in ("features.1.conv1", "features.1.conv2"))


def test_a_network_drawn_anew_runs_again_only_what_changed() -> None:
    module = nn.Sequential(Block(), nn.MaxPool2d(2), nn.Conv2d(4, 2, 1), nn.ReLU())
    network = open_network(nn.Sequential(nn.Conv2d(3, 4, 1), *module), SHAPE)
    trace = network.trace(torch.rand(1, *SHAPE))
    drawn = network.with_tensors({"3": {"weight": torch.ones(2, 4, 1, 1)}})
    other = trace.under(drawn, ["3"])
    assert other["2"] is trace["2"]
    expected = drawn.values(trace["input"], ["4"])["4"]
    assert torch.equal(other["4"], expected) and not torch.equal(other["4"], trace["4"])


def test_deconvnet_pictures_of_a_deep_random_network_are_hardly_specific() -> None:
    torch.manual_seed(0)
    layers: list[nn.Module] = [nn.Conv2d(3, 16, 3, padding=1), nn.ReLU()]
    for _ in range(4):
        layers += [nn.Conv2d(16, 16, 3, padding=1), nn.ReLU()]
    network = open_network(nn.Sequential(*layers), SHAPE)
    trace = network.trace(torch.rand(1, *SHAPE))
    channel = int(trace["9"][0].flatten(1).amax(1).argmax())
    settings = CheckSettings(shifts=2)
    strips = [
        check(trace, f"9/{channel}", rules, settings=settings)[0] for rules in (DECONVNET, GRADIENT)
    ]
    specific = [strip.specific.mean for strip in strips if strip.specific is not None]
    assert specific[0] < 0.75 * specific[1]
