"""What pictures are worth, where that is known."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import fmean
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from convscope.experiments.correctly_classified import ChosenImage
from convscope.experiments.sanity import measuring, planted
from convscope.experiments.sanity.likeness import (
    STEPS,
    redrawn_likeness,
    redrawn_steps,
    unit_likeness,
)
from convscope.experiments.sanity.measuring import LookedAt, sanity
from convscope.experiments.sanity.pointing import Mark, PointingMethod, marks
from convscope.experiments.sanity.result import LayerPictures
from convscope.images.fitting import Fit
from convscope.images.preprocess import Preprocess
from convscope.images.scaling import Scaling
from convscope.network.network import Network, open_network
from convscope.store.results import ResultStore
from experiments.painted import Painted

SHAPE = (3, 20, 20)


def random() -> torch.Generator:
    return torch.Generator().manual_seed(0)


# ---- pointing -----------------------------------------------------------------------------------


def test_a_mark_hits_a_mask_and_chance_is_its_share_of_the_places() -> None:
    mask = np.zeros((4, 4), bool)
    mask[1, 1:3] = True
    assert Mark(1, 2, (0, 1), (1, 2, 3)).hit(mask)
    assert not Mark(2, 2, (0, 1), (1, 2, 3)).hit(mask)
    assert Mark(1, 2, (0, 1), (1, 2, 3)).chance(mask) == pytest.approx(2 / 6)


@pytest.fixture(scope="module")
def bright() -> Network:
    """Class 0 is how much of the picture is bright; a second unit sees as much and does nothing."""
    module = nn.Sequential(
        nn.Conv2d(3, 2, 5), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 2)
    )
    with torch.no_grad():
        module[0].weight.fill_(1 / 75)
        module[0].bias.zero_()
        module[0].weight[1] = 1e-3
        module[4].weight.copy_(torch.tensor([[5.0, 0.0], [0.0, 0.0]]))
        module[4].bias.zero_()
    return open_network(module, SHAPE)


def test_every_kind_of_picture_marks_the_only_bright_spot(bright: Network) -> None:
    image = torch.zeros(SHAPE)
    image[:, 12:17, 3:8] = 1.0
    mask = image[0].numpy() > 0
    found = marks(bright, image, 0, "1", fill=0.0)
    assert set(found) == set(PointingMethod)
    for kind in (PointingMethod.OCCLUSION, PointingMethod.SPOTLIGHT, PointingMethod.CENTRE):
        assert found[kind].hit(mask), kind
    assert (found[PointingMethod.CENTRE].row, found[PointingMethod.CENTRE].column) == (14, 5)
    assert found[PointingMethod.OCCLUSION].chance(mask) < 0.2
    assert found[PointingMethod.DECONVNET].chance(mask) == 1.0  # its field is the spot


# ---- likeness -----------------------------------------------------------------------------------


def test_units_built_identical_are_alike_and_a_spot_elsewhere_is_not() -> None:
    def alike(*weights: torch.Tensor) -> float:
        module = nn.Sequential(
            nn.Conv2d(3, len(weights), 20), nn.ReLU(), nn.Flatten(), nn.Linear(len(weights), 2)
        )
        with torch.no_grad():
            module[0].weight.copy_(torch.stack(list(weights)))
            module[0].bias.fill_(0.1)
            module[3].weight.zero_()
            module[3].weight[0, 0] = 1.0
        trace = open_network(module, SHAPE).trace(torch.rand(SHAPE, generator=random()))
        found = unit_likeness(trace, "1", 0, random())
        assert found["unit"] == "1/0@0,0"
        assert set(found["alike"].values()) == {found["alike"]["gradient"]}  # nothing to decide
        assert found["above"]["gradient"] is not None
        return float(found["alike"]["gradient"])

    left, right = torch.zeros(2, *SHAPE)
    left[:, 2:8, 2:8], right[:, 12:18, 12:18] = 0.1, 0.1
    assert alike(left, left) == pytest.approx(1)
    assert alike(left, right) == pytest.approx(-36 / (400 - 36), abs=1e-5)


def layered(*widths: int) -> nn.Sequential:
    torch.manual_seed(1)
    layers: list[nn.Module] = []
    before = 3
    for width in widths:
        layers += [nn.Conv2d(before, width, 3, padding=1), nn.ReLU()]
        before = width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(16 * before, 3))


def test_layers_are_drawn_anew_from_the_top_down_in_a_few_steps() -> None:
    network = open_network(layered(4, 5), SHAPE)
    assert redrawn_steps(network) == [("6",), ("2",), ("0",)]
    deep = redrawn_steps(open_network(layered(*[2] * 12), SHAPE))
    assert len(deep) <= STEPS and [len(step) for step in deep] == [2] * 6 + [1]
    assert deep[0] == ("26", "22") and deep[-1] == ("0",)


def test_a_layer_whose_weights_are_equal_is_drawn_as_it_was_and_then_nothing_is_left() -> None:
    module = layered(6, 6)
    with torch.no_grad():
        module[2].weight.fill_(0.05)  # without spread: what is drawn is the same
    network = open_network(module, SHAPE)
    trace = network.trace(torch.rand(SHAPE, generator=random()))
    same = redrawn_likeness(trace, 1, [("2",)], random())
    assert all(values == [pytest.approx(1, abs=1e-6)] for values in same.values())
    changed = redrawn_likeness(trace, 1, [("2",), ("6",), ("0",)], random())
    for values in changed.values():
        assert len(values) == 3 and values[0] == pytest.approx(1, abs=1e-6) and abs(values[2]) < 0.7
    assert redrawn_likeness(trace, 1, [("2",), ("6",), ("0",)], random()) == changed


# ---- planted ------------------------------------------------------------------------------------


def counts(found: tuple[planted.Planted, ...]) -> list[tuple[int, int]]:
    return [(each.found, each.count) for each in found]


def test_planted_detectors_twins_and_deaf_units_are_told() -> None:
    assert counts(planted.planted_detectors(3, seed=5)) == [(3, 3)] * 3


def test_planted_grounds_are_exposed_and_only_where_the_ground_is_read(monkeypatch: Any) -> None:
    assert counts(planted.planted_grounds(1, seed=5)) == [(1, 1)] * (len(PointingMethod) - 1)
    reader = planted._reader
    monkeypatch.setattr(planted, "_reader", lambda network, colours, _: reader(network, colours, 0))
    assert counts(planted.planted_grounds(1, seed=5)) == [(0, 1)] * (len(PointingMethod) - 1)


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fewer images and permutations."""
    for name, value in (("IMAGES", 240), ("DRAWS", 100)):
        monkeypatch.setattr(planted, name, value)
    yield


def test_planted_classes_are_found_and_random_labels_are_silent(few: None) -> None:
    classes, labels = planted.planted_classes(seed=3)
    assert (classes.found, classes.count) == (12, 12)
    assert labels.count == 20 and labels.found >= 17  # 19 expected


def test_classes_that_rest_on_no_unit_are_not_found(few: None, monkeypatch: Any) -> None:
    monkeypatch.setattr(planted, "LOUD", 0.0)
    monkeypatch.setattr(planted, "RANDOM_LABELS", 0)
    assert planted.planted_classes(seed=3)[0].found <= 3  # one of 24 units, by chance


# ---- the study ----------------------------------------------------------------------------------


def test_images_are_measured_once_and_what_is_not_known_is_left_out(monkeypatch: Any) -> None:
    monkeypatch.setattr(measuring, "_planted", lambda *_: ())
    module = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.ReLU(),
        nn.Flatten(), nn.Linear(64, 2),
    )  # fmt: skip
    torch.manual_seed(0)
    network = open_network(module.eval(), (3, 8, 8))
    images = Painted([(200, 40, 60), (20, 180, 90), (90, 90, 220)], [0, 1, 0])
    truth = np.zeros((8, 8), bool)
    truth[2:6, 2:6] = True
    looked_at = LookedAt(
        images, [ChosenImage(0, 0, True), ChosenImage(2, 1, False)],
        Preprocess((3, 8, 8), Scaling.UNIT, Fit.STRETCH), lambda index: truth if index else None,
    )  # fmt: skip
    with ResultStore(None, {}) as results:
        found = sanity(network, looked_at, ["0", "2"], results)
    assert found.images == 2
    assert {each.rate.count for each in found.pointing} == {1}  # of the other nobody knows
    assert [layer.layer for layer in found.layers] == ["0", "2"]
    assert found.redrawn.steps == (("5",), ("2",), ("0",))
    assert all(len(values) == 2 for values in found.redrawn.likeness.values())
    means = found.redrawn.by_image("guided")
    assert means[0] == pytest.approx(fmean(found.redrawn.likeness["guided"][0]))
    assert found.to_dict()["images"] == 2 and "layer" in "\n".join(found.words())
    looked_at = LookedAt(images, looked_at.chosen, looked_at.preprocess)
    with ResultStore(None, {}) as results:
        found = sanity(network, looked_at, ["0", "2"], results)
    assert not found.pointing and "nobody says" in found.words()[0]


def test_the_lead_over_the_disc_is_taken_image_by_image() -> None:
    layer = LayerPictures("a", ("a/0",) * 3, {}, {"m": (0.5, None, 0.25)}, {"m": (0.25, 0.5, 0.5)})
    assert layer.over_disc("m") == (0.25, None, -0.25)


def test_what_was_found_alike_is_said_in_one_line() -> None:
    found = [planted.Planted("grounds", 2, 2, kind) for kind in ("a", "b")]
    found += [planted.Planted("grounds", 1, 2, "c"), planted.Planted("units", 3, 3)]
    made = measuring.Sanity(0, (), (), measuring.Redrawn((), {}), tuple(found))
    assert made.planted_words() == [
        "2 of 2 grounds by a, b", "1 of 2 grounds by c", "3 of 3 units",
    ]  # fmt: skip
