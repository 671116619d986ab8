"""Occlusion over several images: scored right where the network's eyes are known."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from convscope.distributed import Ranks
from convscope.errors import BadData, BadImage, FolderInUse
from convscope.experiments.correctly_classified import (
    ChosenImage,
    correctly_classified,
    truth_of,
)
from convscope.experiments.sensitivity.pointing_game import HARDLY, agreement, on_object, point
from convscope.experiments.sensitivity.result import OcclusionStudy, compare_networks
from convscope.experiments.sensitivity.sweeps import sensitivity
from convscope.geometry.box import Box
from convscope.images.datasets import open_images
from convscope.images.image_set import Content
from convscope.images.parts import Marked
from convscope.methods.occluder import Occluder
from convscope.methods.occlusion import occlude
from convscope.network.network import Network
from convscope.progress import Progress
from work_together import all_find_the_same

from .looking import (
    SIDE,
    Drawn,
    Stopped,
    channel_means,
    network_of,
    network_reading,
    stop_at,
    unit_preprocess,
)

OBJECT = Box(3, 12, 11, 20)  # of each picture


def eyes_on(box: Box) -> Network:
    """Class 0 is brightness in a box, class 1 is nothing."""
    weight = torch.zeros(2, 3, SIDE, SIDE)
    weight[0, :, box.top : box.bottom, box.left : box.right] = 0.02
    return network_reading(weight)


def pictures(count: int) -> Drawn:
    """Bright all over, all of class 0."""
    dice = np.random.default_rng(0)
    shape = (SIDE, SIDE, 3)
    made = [dice.integers(150, 256, shape, dtype=np.uint8) for _ in range(count)]
    return Drawn(made, [0] * count, ("thing", "nothing"))


def in_box(index: int) -> np.ndarray:
    mask = np.zeros((SIDE, SIDE), bool)
    mask[OBJECT.top : OBJECT.bottom, OBJECT.left : OBJECT.right] = True
    return mask


def study(network: Network, images: Drawn, **settings) -> OcclusionStudy:
    chosen = [ChosenImage(index, 0, True) for index in range(len(images))]
    return sensitivity(
        network, images, unit_preprocess(), chosen, truth=in_box, occluder=Occluder(4, 2),
        fill=0.0, among=3, workers=0, **settings,
    )  # fmt: skip


def test_a_network_that_looks_at_the_object_is_found_to() -> None:
    found = study(eyes_on(OBJECT), pictures(5))
    assert found.probability is not None
    rate = found.probability.pointing
    assert rate.hits == rate.count == 5
    assert rate.p == pytest.approx(rate.expected**5)
    assert found.probability.detection.mean > 0.95
    difference = found.probability.difference
    assert difference.low is not None and difference.low > 0
    assert difference.mean == pytest.approx(
        found.probability.inside.mean - found.probability.outside.mean
    )
    covered = found.covered()
    assert covered["object"].mean == pytest.approx(0.5)  # nothing is left to go by
    assert covered["ground"].mean == pytest.approx(covered["nothing"].mean)


def test_a_network_that_looks_at_the_ground_is_exposed() -> None:
    beside = study(eyes_on(Box(14, 1, 22, 9)), pictures(6))
    assert beside.probability is not None and beside.probability.pointing.hits == 0
    assert beside.probability.detection.mean < 0.5
    assert beside.covered()["object"].mean == pytest.approx(beside.covered()["nothing"].mean)
    on = study(eyes_on(OBJECT), pictures(6))
    compared = compare_networks(on, beside)
    assert compared is not None and compared.better == 6
    assert compared.difference.low is not None and compared.difference.low > 0.4
    assert compared.p == pytest.approx(2 / 2**6)


def test_studies_of_different_images_are_not_compared() -> None:
    network = eyes_on(OBJECT)
    with pytest.raises(BadData, match="different images"):
        compare_networks(study(network, pictures(2)), study(network, pictures(3)))


def test_chance_is_the_share_of_positions_whose_centre_is_on_the_object() -> None:
    (row,) = study(eyes_on(OBJECT), pictures(1)).rows
    assert row.probability is not None
    on = []
    for top in range(0, SIDE, 2):
        for left in range(0, SIDE, 2):
            bottom, right = min(top + 4, SIDE), min(left + 4, SIDE)
            on.append(bool(in_box(0)[(top + bottom) // 2, (left + right) // 2]))
    assert on_object(in_box(0), row.maps).ravel().tolist() == on
    assert row.probability.chance == pytest.approx(np.mean(on))
    fall = row.maps.base_probability - row.maps.probability.double().numpy().ravel()
    assert row.probability.inside == pytest.approx(fall[on].mean())
    assert row.probability.outside == pytest.approx(fall[~np.array(on)].mean())


def test_a_map_that_is_the_same_everywhere_detects_nothing() -> None:
    on = np.zeros((4, 4), bool)
    on[1, 1] = True
    found = point(torch.full((4, 4), 0.5), 0.5, on)
    assert found.detection == 0.5 and found.inside == found.outside == found.most == 0
    assert not found.hit and found.chance == 1 / 16


def sure(box: Box, gain: float) -> Network:
    """Class 0 by brightness in a box, so surely that float32 rounds its probability to 1."""
    weight = torch.zeros(2, 3, SIDE, SIDE)
    weight[0, :, box.top : box.bottom, box.left : box.right] = gain
    return network_reading(weight)


def test_a_probability_that_is_rounded_to_1_is_scored_by_its_log_odds_and_marked() -> None:
    found = study(sure(OBJECT, 0.4), pictures(3))
    for row in found.rows:
        maps = row.maps
        assert maps.base_probability == 1 and float(maps.probability.min()) == 1
        assert 17 < float(maps.log_odds.min()) < maps.base_log_odds  # 1 - 4e-8 is 1 in float32
        assert row.probability is not None and row.probability.hit
        assert row.probability.detection > 0.95 and row.probability.most == 0
        assert row.hardly_falls
    assert found.hardly == 3 and found.to_dict()["hardly_falls"] == 3


def test_a_probability_that_falls_by_more_than_a_twentieth_of_itself_is_not_marked() -> None:
    found = study(sure(OBJECT, 0.01), pictures(2))
    assert found.hardly == 0
    for row in found.rows:
        lowest = float(row.maps.probability.min())
        assert row.fallen == pytest.approx(1 - lowest / row.maps.base_probability)
        assert row.fallen > HARDLY
        p = row.maps.probability.double()
        assert torch.allclose(row.maps.log_odds, (p / (1 - p)).log(), atol=1e-3)


def test_what_falls_nowhere_is_no_hit_even_if_its_first_position_is_on_the_object() -> None:
    on = np.zeros((3, 3), bool)
    on[0, 0] = True
    assert not point(torch.full((3, 3), 0.5), 0.5, on).hit
    values = torch.full((3, 3), 0.5)
    values[0, 0] = 0.4
    assert point(values, 0.5, on).hit


def test_one_image_has_scores_but_no_interval() -> None:
    found = study(eyes_on(OBJECT), pictures(1))
    assert found.probability is not None
    area = found.probability.detection
    assert area.mean > 0.95 and area.low is None and area.high is None


def same(first: OcclusionStudy, second: OcclusionStudy) -> bool:
    """To the bit: numbers and maps."""
    assert json.dumps(first.to_dict()) == json.dumps(second.to_dict())
    for a, b in zip(first.rows, second.rows, strict=True):
        for name in ("probability", "log_odds", "label", "activity", "projection", "image", "fill"):
            assert torch.equal(getattr(a.maps, name), getattr(b.maps, name))
        for one, other in zip(a.elsewhere, b.elsewhere, strict=True):
            assert torch.equal(one.projection, other.projection) and one.box == other.box
        assert (a.maps.unit, a.maps.box) == (b.maps.unit, b.maps.box)
    return True


def test_an_interrupted_study_goes_on_and_ends_with_the_same_result(tmp_path, monkeypatch) -> None:
    network, images = eyes_on(OBJECT), pictures(4)
    whole = study(network, images)
    with pytest.raises(Stopped):
        study(network, images, out=tmp_path / "s", progress=stop_at("images", 2))
    swept = []

    def counted(network, image, *given, **how):
        swept.append(how["target"])
        return occlude(network, image, *given, **how)

    monkeypatch.setattr("convscope.experiments.sensitivity.sweeps.occlude", counted)
    resumed = study(network, images, out=tmp_path / "s", resume=True)
    assert len(swept) == 2  # the first two images are not swept again
    assert same(whole, resumed)
    assert same(whole, study(network, images, out=tmp_path / "s", resume=True))
    assert len(swept) == 2


class Broken(Drawn):
    """The last of these pictures cannot be read."""

    def content(self, index: int) -> Content:
        if index == len(self) - 1:
            raise BadImage(f"{self.name(index)}: is broken")
        return super().content(index)


def broken() -> Broken:
    whole = pictures(5)
    return Broken(whole.pictures, whole.labels, whole.classes)


def prepare() -> None:
    """Export the network once for all processes."""
    eyes_on(OBJECT)


def shared(folder: Path, ranks: Ranks, progress: Progress) -> dict[str, Any]:
    """A study as one of several processes; the folders of the others stay empty."""
    chosen = [ChosenImage(index, 0, True) for index in range(4)]
    found = sensitivity(
        eyes_on(OBJECT), broken(), unit_preprocess(), chosen, truth=in_box, fill=0.0,
        occluder=Occluder(4, 2), workers=0, out=folder if ranks.first else folder / "others",
        resume=True, ranks=ranks, progress=progress,
    )  # fmt: skip
    assert found.skipped == ("4.png",)
    return found.to_dict()


def test_one_two_and_four_processes_find_the_same_also_after_a_kill(tmp_path: Path) -> None:
    all_find_the_same("experiments.test_sensitivity:shared", tmp_path, "1@4")


def test_images_that_cannot_be_read_are_named_in_the_selection_and_in_the_search() -> None:
    images, network = broken(), eyes_on(OBJECT)
    selection = correctly_classified([(network, unit_preprocess())], images, 9)
    assert len(selection.chosen) == 4 and selection.passed == 1
    assert selection.unreadable == ("4.png",)
    found = sensitivity(
        network, images, unit_preprocess(), selection.chosen, occluder=Occluder(12, 12), workers=0
    )
    assert found.skipped == ("4.png",)


def test_a_study_with_other_settings_is_not_gone_on_with(tmp_path) -> None:
    network, images = eyes_on(OBJECT), pictures(2)
    study(network, images, out=tmp_path / "s")
    with pytest.raises(FolderInUse, match="--resume"):
        study(network, images, out=tmp_path / "s")
    with pytest.raises(FolderInUse, match="seed is 0 there, 1 now"):
        study(network, images, out=tmp_path / "s", resume=True, seed=1)
    with pytest.raises(FolderInUse, match=r"the images \(DATA\) are others than there"):
        study(network, pictures(1), out=tmp_path / "s", resume=True)
    with pytest.raises(FolderInUse, match="network is"):
        study(sure(OBJECT, 0.3), images, out=tmp_path / "s", resume=True)


def test_the_activity_of_a_map_falls_where_its_projection_is() -> None:
    (row,) = study(eyes_on(OBJECT), pictures(1)).rows
    maps = row.maps
    energy = (maps.projection**2).sum(0)
    under = [float(energy[b.top : b.bottom, b.left : b.right].sum())
             for b in maps.occluder.boxes(SIDE, SIDE)]  # fmt: skip
    lowest = under[int(maps.activity.argmin())]
    found = agreement(maps)
    below = np.mean([value < lowest for value in under])
    same = np.mean([value == lowest for value in under])
    assert found.percentile == pytest.approx(below + same / 2)
    assert -1 <= found.correlation <= 1


def test_a_map_is_shown_in_the_images_that_excite_it_most_besides() -> None:
    images = Drawn([np.full((SIDE, SIDE, 3), level, np.uint8) for level in (90, 250, 60, 200)])
    network = network_of(channel_means)
    chosen = [ChosenImage(1, 0, False), ChosenImage(2, 0, False)]
    found = sensitivity(
        network, images, unit_preprocess(), chosen, occluder=Occluder(12, 12), others=2, workers=0
    )
    names = [[other.name for other in row.elsewhere] for row in found.rows]
    assert names == [["3.png", "0.png"], ["1.png", "3.png"]]
    assert found.rows[0].elsewhere[0].activation == pytest.approx(200 / 255)
    assert found.probability is None and compare_networks(found, found) is None
    assert json.loads(json.dumps(found.to_dict()))["probability_map"] is None


def test_only_images_that_every_network_names_correctly_are_chosen() -> None:
    red, green = np.zeros((2, SIDE, SIDE, 3), np.uint8)
    red[..., 0] = green[..., 1] = 255
    images = Drawn([red, green] * 4, [0, 0, 1, 1, 0, 1, 0, 1], ("red", "green", "blue"))
    plain = (network_of(channel_means), unit_preprocess())
    selection = correctly_classified([plain, plain], images, 99, classes=images.classes)
    chosen, passed = selection.chosen, selection.passed
    assert {one.index for one in chosen} == {0, 3, 4, 5, 6, 7} - {
        i for i in range(8) if images.labels[i] != i % 2
    }
    assert passed == 8 - len(chosen) and all(one.known for one in chosen)
    unlabelled = Drawn([red, green])
    chosen = correctly_classified([plain], unlabelled, 9).chosen
    assert {(one.index, one.target, one.known) for one in chosen} == {(0, 0, False), (1, 1, False)}
    with pytest.raises(BadData, match="not one is named correctly"):
        correctly_classified([plain], Drawn([red], [2], ("red", "green", "blue")), 1)


def test_the_truth_is_a_scene_s_mask_or_a_marked_box() -> None:
    scenes = open_images("scenes:val:2", size=32)
    truth = truth_of(scenes)
    assert truth is not None
    known = truth(1)
    assert known is not None and np.array_equal(known, scenes.scene(1).mask)
    images = pictures(2)
    truth = truth_of(images, [Marked(0, {}, (), (3.0, 12.0, 11.0, 20.0))])
    assert truth is not None and truth(1) is None
    assert np.array_equal(truth(0), in_box(0))  # type: ignore[arg-type]
    assert truth_of(images) is None


def test_a_study_without_images_is_refused() -> None:
    with pytest.raises(BadData, match="no image was chosen"):
        sensitivity(eyes_on(OBJECT), pictures(1), unit_preprocess(), [])
