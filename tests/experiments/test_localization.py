"""Boxes of maps, where it is known by construction where the object is."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import convscope
from convscope.distributed import Ranks
from convscope.errors import BadData, BadOption, FolderInUse
from convscope.experiments.localization.asked import MappedClass
from convscope.experiments.localization.localizing import Seen, chosen_threshold, mean_box, scored
from convscope.experiments.localization.maps import THRESHOLDS, largest_part, map_boxes
from convscope.experiments.localization.marked_images import (
    MarkedImage,
    boxes_fingerprint,
    draw_images,
    lacking_classes,
    place_boxes,
)
from convscope.experiments.localization.result import CENTRED, WHOLE, Localization
from convscope.experiments.localization.study import LocalizeStudy
from convscope.experiments.options import Device, Running
from convscope.experiments.session import session_of
from convscope.experiments.study import Context
from convscope.geometry.box import Box
from convscope.images.fitting import Fit
from convscope.images.marked_boxes import BoxedImages, MarkedBox
from convscope.images.preprocess import Preprocess
from convscope.images.scaling import Scaling
from convscope.progress import Progress
from experiments.squares import SIDE, Squares, colour_model
from work_together import all_find_the_same

ALL = "occlusion,spotlight,contrastive,grad-cam,gradient"


def localize(images: Squares, folder: Path, **options: Any) -> Localization:
    path = folder / "boxes.csv"
    path.write_text("\n".join(images.rows()))
    how = {"count": 16, "tune": 8, "method": "occlusion", "device": "cpu", **options}
    return convscope.localize(colour_model(), images, **{"boxes": path, **how})


# ---- a network that sees the square, and nothing else ------------------------------------------


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Localization:
    return localize(Squares(30), tmp_path_factory.mktemp("squares"), method=ALL)


def test_the_maps_of_a_colours_detector_find_its_square(found: Localization) -> None:
    assert (found.images, found.tuned, found.layer) == (16, 8, "1")
    for method in ("occlusion", "grad-cam"):  # whose maps are of all of the square
        row = found.score(method)
        assert row.iou.mean > 0.7 and row.accuracy.hits == row.accuracy.count == 16
        assert row.better and row.p is not None and row.p < 0.001
    assert found.score("grad-cam").iou.mean == pytest.approx(1)  # its map is the square itself
    assert "better than the centred box" in found.verdict()


def test_maps_of_one_unit_find_no_more_than_it_sees(found: Localization) -> None:
    """A unit here sees a single pixel: its spotlight cannot be the square."""
    for method in ("spotlight", "contrastive"):
        assert found.score(method).iou.mean < 0.05
        assert not found.score(method).better


def test_the_centred_box_and_the_whole_image_are_what_they_are_called(found: Localization) -> None:
    images = Squares(30)
    share = [np.prod(images.sides[i]) / SIDE**2 for i in range(30)]
    assert min(share) < found.score(WHOLE).iou.mean < max(share)
    assert 0 < found.score(CENTRED).iou.mean < 0.6
    assert found.score(CENTRED).lead is None and found.score(WHOLE).threshold is None
    assert min(found.centred) >= 7 and max(found.centred) < 13


def test_the_first_images_are_kept_with_their_maps(found: Localization) -> None:
    assert len(found.examples) == 4
    example, images = found.examples[0], Squares(30)
    index = int(example.name.removesuffix(".png"))
    assert (example.picture == images.pixels(index)).all()
    assert example.truth.tolist() == [list(images.box(index))]
    top, left, bottom, right = images.box(index)
    assert example.maps["grad-cam"].shape == (SIDE, SIDE)
    assert (example.maps["grad-cam"][top:bottom, left:right] == 255).all()


def test_a_map_of_the_other_class_does_not_find_the_square(tmp_path: Path) -> None:
    images = Squares(12)
    swapped = [
        line.replace("red", "x").replace("green", "red").replace("x", "green")
        for line in images.rows()
    ]
    (tmp_path / "swapped.csv").write_text("\n".join(swapped))
    options = {"method": "grad-cam", "boxes": tmp_path / "swapped.csv"}
    asked = localize(images, tmp_path, **options)
    assert asked.score("grad-cam").iou.mean == 0  # nothing in it is of that colour
    assert "no map localises better" in asked.verdict()
    predicted = localize(images, tmp_path, **options, of="predicted")
    assert predicted.score("grad-cam").iou.mean == pytest.approx(1)


# ---- what is chosen on what ---------------------------------------------------------------------


def seen(*boxes: tuple[int, list[float]]) -> Seen:
    """Images whose box at one threshold, given by number, is the marked one, and else nowhere."""
    rows = []
    for at, truth in boxes:
        found = np.zeros((len(THRESHOLDS), 4))
        found[at] = truth
        rows.append({
            "truth": np.array([truth]), "beyond": np.array(0), "boxes m": found,
        })  # fmt: skip
    return Seen(tuple(map(str, range(len(rows)))), tuple(range(len(rows))), tuple(rows), (), 0)


def test_the_threshold_is_the_tuning_images_not_that_of_those_judged() -> None:
    tuning, judged = seen((3, [0, 0, 4, 4])), seen((9, [0, 0, 4, 4]))
    at = chosen_threshold(tuning, "m", None)
    assert at == 3
    row = scored(judged, {"m": at}, np.array([1.0, 1, 5, 5]), (8, 8))[0]
    assert (row.threshold, row.iou.mean, row.accuracy.hits) == (THRESHOLDS[3], 0.0, 0)
    assert THRESHOLDS[chosen_threshold(tuning, "m", 0.41)] == pytest.approx(0.4)


def test_the_verdict_names_the_whole_image_where_that_is_better_than_the_centred_box() -> None:
    """Objects of nearly all of the image: neither a map nor the centred box of others does it."""
    judged = seen(*[(0, [0, 0, 8, 6 + i % 2]) for i in range(6)])
    for at, said in ((1, "no map localises better than the whole image"), (0, "and better than")):
        rows = scored(judged, {"m": at}, np.array([2.0, 2, 6, 6]), (8, 8))
        found = Localization("marked", "1", 6, 1, (4, 4), rows)
        assert said in found.verdict() and "whole image" in found.verdict()


def test_the_centred_box_is_the_tuning_images_mean() -> None:
    tuning = seen((0, [0, 0, 4, 6]), (0, [5, 5, 7, 7]))
    assert mean_box(tuning, (8, 10)).tolist() == [2.5, 3.0, 5.5, 7.0]  # 3 high, 4 wide


def test_a_map_at_random_scores_what_its_area_gives_by_chance() -> None:
    """A box of 6 by 9 anywhere: its mean overlap is that over all of its places."""
    truth, dice = np.array([4.0, 3.0, 12.0, 13.0]), np.random.default_rng(0)
    places = [(t, le) for t in range(SIDE - 5) for le in range(SIDE - 8)]

    def over(top: int, left: int) -> float:
        down = max(0, min(top + 6, 12) - max(top, 4))
        across = max(0, min(left + 9, 13) - max(left, 3))
        return down * across / (54 + 80 - down * across)

    every = [over(*place) for place in places]
    rows = []
    for _ in range(600):
        top, left = places[int(dice.integers(len(places)))]
        values = np.zeros((SIDE, SIDE))
        values[top : top + 6, left : left + 9] = dice.random((6, 9)) + 1.5
        rows.append({"truth": truth[None], "boxes m": map_boxes(values)})
    found = Seen(("",) * 600, (0,) * 600, tuple(rows), (), 0).overlaps_of("m")[:, 9]
    error = float(np.std(every)) / np.sqrt(600)
    assert abs(found.mean() - np.mean(every)) < 4 * error


def test_the_largest_part_is_connected_by_sides() -> None:
    mask = np.zeros((6, 6), bool)
    mask[0, :3], mask[1, 3], mask[3:5, 4:6] = True, True, True  # 3, diagonal to 1; 4
    assert largest_part(mask) == Box(3, 4, 5, 6)
    assert largest_part(np.zeros((3, 3), bool)).empty
    boxes = map_boxes(np.array([[0.0, 1.0, 0.2], [0, 0.5, 0]]), (0.1, 0.4, 0.9))
    assert boxes.tolist() == [[0, 1, 2, 3], [0, 1, 2, 2], [0, 1, 1, 2]]
    assert not map_boxes(np.zeros((3, 3))).any()


# ---- boxes in the network's input ---------------------------------------------------------------


def test_boxes_go_where_the_picture_goes() -> None:
    stretched = Preprocess((3, 20, 20), Scaling.UNIT, Fit.STRETCH)
    placed = place_boxes([MarkedBox(0, (5, 10, 10, 40))], stretched, (40, 10), "a")
    assert placed.edges.tolist() == [[10, 5, 20, 20]] and placed.beyond == 0
    cropped = Preprocess((3, 14, 14), Scaling.UNIT, Fit.CROP)  # to 16, of which the middle 14
    boxes = [MarkedBox(0, (0, 0, 8, 8)), MarkedBox(0, (0, 0, 0.5, 0.5))]
    placed = place_boxes(boxes, cropped, (16, 16), "a")
    assert placed.edges.tolist() == [[0, 0, 7, 7]] and placed.seen.tolist() == [True, False]


def test_a_box_beyond_the_picture_is_cut_and_counted_and_one_outside_refused(
    tmp_path: Path,
) -> None:
    images = Squares(9)
    lines = images.rows()
    lines[1:] = [line.rpartition(",")[0] + ",99" for line in lines[1:]]
    (tmp_path / "cut.csv").write_text("\n".join(lines))
    found = localize(images, tmp_path, boxes=tmp_path / "cut.csv", tune=3)
    assert found.beyond == found.images + found.tuned == 9
    assert found.warnings() == ["9 boxes reach beyond their pictures, and were cut"]
    lines[1:] = [f"{images.name(i)},red,99,0,120,9" for i in range(9)]
    (tmp_path / "out.csv").write_text("\n".join(lines))
    with pytest.raises(BadData, match=r"\.png: the box from \(99, 0\) to .* outside the picture"):
        localize(images, tmp_path, boxes=tmp_path / "out.csv")


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    found = localize(Squares(9, broken=(0, 4, 7)), tmp_path, tune=3)
    assert found.images + found.tuned == 6 and len(found.unread) == 3
    assert found.warnings()[0].startswith("skipped 000") and "is broken" in found.warnings()[0]
    with pytest.raises(BadData, match=r"none of 6 images .* such as .* is broken"):
        localize(Squares(9, broken=range(9)), tmp_path, tune=3)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"method": "magic"}, BadOption, "--method magic: it is occlusion, spotlight"),
        ({"of": "none"}, BadOption, "marked, predicted"),
        ({"layer": "3"}, BadOption, "layer 3 .* no maps"),
        ({"boxes": None}, BadData, "holds none of boxes.csv"),
    ],
)
def test_what_cannot_be_asked_is_refused(
    tmp_path: Path, options: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        localize(Squares(6), tmp_path, **options)


def test_a_network_of_other_classes_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "b.csv").write_text("\n".join(Squares(6).rows()))
    model = colour_model()
    other = type(model)(
        model.module, model.preprocess, "other", model.weights_sha256, False, ("cat", "dog")
    )
    with pytest.raises(BadData, match=r"theirs are red; green, the network's are cat; dog\. "):
        convscope.localize(other, Squares(6), boxes=tmp_path / "b.csv", device="cpu")
    with pytest.raises(BadData, match="only one image"):
        localize(Squares(1), tmp_path)


def test_classes_that_the_network_lacks_are_said_and_their_objects_left_out() -> None:
    boxes = {i: (MarkedBox(i % 3, (0.0, 0.0, 8.0, 8.0)),) for i in range(9)}
    boxed, images = BoxedImages(boxes, ("red", "crimson, deep", "green")), Squares(9)
    assert lacking_classes(boxed, [0, 1, 2]) == ""
    words = lacking_classes(boxed, [0, None, 2])
    assert words.startswith("1 of the boxes' 3 classes") and words.endswith(": crimson, deep")
    drawn = draw_images(images, boxed, [0, None, 2], MappedClass.MARKED, most=9, seed=0)
    assert sorted(each.index for each in drawn) == [0, 2, 3, 5, 6, 8]


# ---- going on, and together ---------------------------------------------------------------------


def test_it_goes_on_and_refuses_other_boxes(tmp_path: Path) -> None:
    images, out = Squares(9), tmp_path / "out"
    first = localize(images, tmp_path, out=out, tune=3)
    read = images.read
    again = localize(images, tmp_path, out=out, tune=3, resume=True)
    assert again.to_dict() == first.to_dict()
    assert images.read == read + len(again.examples)  # for the figure alone
    assert [e.name for e in again.examples] == [e.name for e in first.examples]
    with pytest.raises(FolderInUse, match="truth"):
        (tmp_path / "other.csv").write_text("\n".join(Squares(9, seed=1).rows()))
        localize(images, tmp_path, out=out, tune=3, resume=True, boxes=tmp_path / "other.csv")


def test_studies_that_were_begun_know_their_boxes_whatever_the_classes_are_called() -> None:
    """The words are those of a repr of 0.1, whose SHA-256 stands in studies."""
    one = (MarkedBox(1, (2.0, 0.5, 17.0, 21.25)),)
    two = (MarkedBox(0, (-1.0, 4.0, 9.0, 12.0)), MarkedBox(0, (0.0, 1e-05, 30.0, 1e16), True))
    words = (
        "[Subject(index=3, target=1, boxes=(MarkedBox(label=1, edges=(2.0, 0.5, 17.0, 21.25), "
        "difficult=False),)), Subject(index=8, target=None, boxes=(MarkedBox(label=0, "
        "edges=(-1.0, 4.0, 9.0, 12.0), difficult=False), MarkedBox(label=0, "
        "edges=(0.0, 1e-05, 30.0, 1e+16), difficult=True)))]"
    )
    found = boxes_fingerprint([MarkedImage(3, 1, one), MarkedImage(8, None, two)])
    assert found == hashlib.sha256(words.encode()).hexdigest()[:16] == "b5528a714525b873"


def shared(folder: Path, ranks: Ranks, progress: Progress) -> dict[str, Any]:
    """A study as one of several processes; the folders of the others stay empty."""
    running, images = Running(device=Device.CPU), Squares(12, broken=(3,))
    boxes = folder.parent / f"{folder.name}-{ranks.rank}.csv"
    boxes.write_text("\n".join(images.rows()))
    context = Context(
        folder if ranks.first else folder / "others", running, True, progress, ranks,
        opened={"m": session_of(colour_model(), running)}, sets={"squares": images},
    )  # fmt: skip
    study = LocalizeStudy("m", "squares", method=ALL, boxes=boxes, count=8, tune=3)
    return study.run(context).result.to_dict()


@pytest.mark.long
@pytest.mark.slow
def test_one_two_and_four_processes_find_the_same_also_after_a_kill(tmp_path: Path) -> None:
    found = all_find_the_same("experiments.test_localization:shared", tmp_path, "1@4")
    assert found["images"] + found["tuned"] + len(found["unread"]) == 11


def test_the_spotlight_lies_within_what_its_unit_sees() -> None:
    """Units that see 9 pixels each: what is lit lies in the field of the unit that counts most."""
    from convscope.experiments.localization.maps import MapMethod, Question

    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 4, 9), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)
    ).eval()
    network = convscope.open_network(net, (3, SIDE, SIDE))
    asked = Question(network, torch.rand(3, SIDE, SIDE), 0, "1", 0.0)
    for method in (MapMethod.SPOTLIGHT, MapMethod.CONTRASTIVE):
        field = network.layer("1").field.box(asked.unit.position or (0, 0))
        inside = asked.map(method)[field.top : field.bottom, field.left : field.right]
        assert float(inside.sum()) == pytest.approx(float(asked.map(method).sum()))
        assert float(inside.max()) > 0
