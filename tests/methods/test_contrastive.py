"""Contrastive occlusion: the unit's fall less its neighbours', against brute force."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from convscope.errors import BadInput, BadOption
from convscope.geometry.box import Box
from convscope.methods.contrastive import contrastive_occlusion, contrasts, fitting_box
from convscope.methods.occluder import Occluder
from convscope.network.network import Network, open_network

SHAPE = (3, 24, 26)


@pytest.fixture(scope="module")
def network() -> Network:
    torch.manual_seed(3)
    module = nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(6, 12, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(12 * 12 * 13, 5),
    )  # fmt: skip
    return open_network(module.double(), SHAPE)


@pytest.fixture(scope="module")
def image() -> torch.Tensor:
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def test_it_is_what_brute_force_gives(network: Network, image: torch.Tensor) -> None:
    found = contrastive_occlusion(network, image, "4/2", Occluder(3, 2), fill=0.25)
    row, column = found.unit.position or (0, 0)
    before = network.values(image[None], ["4"])["4"][0, :, row, column]
    others = [c for c in before.argsort(descending=True).tolist() if c != 2 and before[c] > 0][:8]
    assert [unit.channel for unit in found.neighbours] == others
    assert found.activation == pytest.approx(float(before[2]))
    for i, top in enumerate(found.rows.tolist()):
        for j, left in enumerate(found.columns.tolist()):
            covered = image.clone()
            bottom, right = min(top + 3, found.field.bottom), min(left + 3, found.field.right)
            covered[:, top:bottom, left:right] = 0.25
            after = network.values(covered[None], ["4"])["4"][0, :, row, column]
            drop = 1 - after / before
            expected = float(drop[2] - drop[others].mean())
            assert float(found.contrast[i, j]) == pytest.approx(expected, abs=1e-9)


def test_a_dense_unit_is_seen_over_the_whole_image(network: Network, image: torch.Tensor) -> None:
    positive = int(network.values(image[None], ["6"])["6"][0].argmax())
    found = contrastive_occlusion(network, image, f"6/{positive}", fill=0.0)
    assert (found.field.height, found.field.width) == SHAPE[1:]
    assert found.contrast.shape == (len(found.rows), len(found.columns))


def test_two_units_that_are_one_have_no_contrast(image: torch.Tensor) -> None:
    module = nn.Sequential(nn.Conv2d(3, 2, 5), nn.ReLU()).double()
    with torch.no_grad():
        module[0].weight[1] = module[0].weight[0]
        module[0].bias.fill_(1.0)
    found = contrastive_occlusion(open_network(module, SHAPE), image, "1/0", fill=0.0)
    assert float(found.drop.abs().max()) > 0.1
    assert float(found.contrast.abs().max()) < 1e-12


def test_a_unit_with_a_twin_has_nothing_of_its_own_though_others_lose_less(
    image: torch.Tensor,
) -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 5), nn.ReLU()).double()
    with torch.no_grad():
        module[0].weight[1] = 2 * module[0].weight[0]  # a twin may be stronger
        module[0].bias.copy_(torch.tensor([1.0, 2.0, 9.0, 9.0]))
        module[0].weight[2:] *= 0.1
    network = open_network(module, SHAPE)
    found = contrastive_occlusion(network, image, "1/0", fill=0.0)
    assert float(found.contrast.max()) > 0.05
    row, column = found.unit.position or (0, 0)
    assert str(found.twin) == f"1/1@{row},{column}" == found.to_dict()["twin"]
    assert float(found.light().max()) == 0
    assert contrastive_occlusion(network, image, "1/2", fill=0.0).twin is None


def test_what_cannot_fall_is_refused(network: Network, image: torch.Tensor) -> None:
    values = network.values(image[None], ["4"])["4"][0]
    silent = (values == 0).nonzero()[0].tolist()
    with pytest.raises(BadInput, match="only what is above zero can fall"):
        contrastive_occlusion(
            network, image, "4/{}@{},{}".format(*silent), Occluder(3, 3), fill=0.0
        )


def test_a_pixel_has_the_mean_over_the_boxes_that_cover_it(
    network: Network, image: torch.Tensor
) -> None:
    for occluder in (Occluder(3, 2), Occluder((2, 1), (2, 3)), Occluder(1, 4)):
        found = contrastive_occlusion(network, image, "4/2", occluder, fill=0.0)
        spread = found.over_pixels(found.contrast)
        assert spread.shape == (found.seen.height, found.seen.width)
        rows, columns = found.contrast.shape
        boxes = [(i, j, found.box(i, j)) for i in range(rows) for j in range(columns)]
        for row in range(found.seen.height):
            for column in range(found.seen.width):
                y, x = row + found.seen.top, column + found.seen.left
                over = [
                    float(found.contrast[i, j])
                    for i, j, box in boxes
                    if box.top <= y < box.bottom and box.left <= x < box.right
                ]
                if over:
                    expected = sum(over) / len(over)
                    assert float(spread[row, column]) == pytest.approx(expected, abs=1e-9)
        assert spread.isfinite().all()


def test_the_strongest_place_is_in_the_record(network: Network, image: torch.Tensor) -> None:
    found = contrastive_occlusion(network, image, "4/2", Occluder(3, 2), fill=0.0)
    i, j = found.strongest
    told = found.to_dict()["strongest"]
    assert told["contrast"] == float(found.contrast.max()) == float(found.contrast[i, j])
    assert told["contrast"] == pytest.approx(told["drop"] - told["neighbours_drop"])
    assert (told["row"], told["column"]) == (found.box(i, j).top, found.box(i, j).left)


def test_a_box_is_fitted_into_what_the_unit_sees() -> None:
    seen = Box(0, 4, 30, 18)
    assert fitting_box(seen) == Occluder((4, 2), (2, 1))
    assert fitting_box(seen, 6) == Occluder(6, 3)
    assert fitting_box(seen, 6, 5) == Occluder(6, 5)
    with pytest.raises(BadOption, match="30×14"):
        fitting_box(seen, 15)


def test_many_units_together_have_what_brute_force_gives(
    network: Network, image: torch.Tensor
) -> None:
    images = torch.stack([image, image.flip(2)])
    trace = network.trace(images)
    wanted = (("4/2", 0), ("4/5", 1), ("1/3", 0), ("4/7", 1), ("4/9", 1))
    units = [trace.strongest(network.unit(name), row) for name, row in wanted]
    units.append(network.unit(f"6/{int(trace['6'][1].argmax())}"))
    rows = [*(row for _, row in wanted), 1]
    found = contrasts(trace, units, rows, fill=0.25)
    for unit, row, one in zip(units, rows, found, strict=True):
        assert one is not None and one.unit == unit
        at = unit.position or ()
        before = trace[unit.layer][row][(slice(None), *at)]
        others = [other.channel for other in one.neighbours]
        for i in range(len(one.rows)):
            for j in range(len(one.columns)):
                box, covered = one.box(i, j), images[row].clone()
                covered[:, box.top : box.bottom, box.left : box.right] = 0.25
                after = network.values(covered[None], [unit.layer])[unit.layer][0]
                drop = 1 - after[(slice(None), *at)] / before
                expected = float(drop[unit.channel] - drop[others].mean())
                assert float(one.contrast[i, j]) == pytest.approx(expected, abs=1e-9)
        light = one.light()
        assert light.shape == (one.seen.height, one.seen.width)
        assert float(light.min()) >= 0 and float(light.max()) == pytest.approx(1.0)
    assert len({one.occluder.size for one in found if one}) > 1  # small fields have boxes of theirs


def test_of_many_units_those_that_cannot_fall_have_none(
    network: Network, image: torch.Tensor
) -> None:
    trace = network.trace(image)
    channel, row, column = (trace["4"][0] == 0).nonzero()[0].tolist()
    silent = network.unit(f"4/{channel}@{row},{column}")
    assert contrasts(trace, [silent], [0], fill=0.0) == [None]
