"""Δ, against loops, and on networks for which it is known."""

from __future__ import annotations

import json
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from convscope.distributed import Ranks
from convscope.errors import BadData, BadOption, FolderInUse
from convscope.experiments.correspondence.aligned_parts import AlignedParts, align_parts
from convscope.experiments.correspondence.sign_distance import _changes as changes
from convscope.experiments.correspondence.sign_distance import (
    correspond,
    hamming,
    maps_and_features,
)
from convscope.images.datasets import open_images
from convscope.images.fitting import Fit
from convscope.images.parts import Marked, marked_images
from convscope.images.placing import placing
from convscope.images.preprocess import Preprocess
from convscope.images.scaling import Scaling
from convscope.progress import Progress
from experiments.painted import Painted
from work_together import all_find_the_same

from .looking import (
    SIDE,
    Drawn,
    Stopped,
    channel_means,
    network_of,
    network_reading,
    noise,
    stop_at,
    unit_preprocess,
)


def test_the_hamming_distance_is_that_of_a_loop() -> None:
    signs = torch.randint(-1, 2, (5, 40), generator=torch.Generator().manual_seed(0))
    signs[0] = 0
    whole, among = hamming(signs.to(torch.int8))
    rows = signs.tolist()
    for i, a in enumerate(rows):
        for j, b in enumerate(rows):
            differ = sum(x != y for x, y in zip(a, b, strict=True))
            either = sum(x != 0 or y != 0 for x, y in zip(a, b, strict=True))
            assert whole[i, j] == pytest.approx(differ / 40)
            assert among[i, j] == pytest.approx(differ / either if either else 0.0)


def test_the_values_are_compared_in_pieces_without_a_difference(monkeypatch) -> None:
    signs = torch.randint(-1, 2, (4, 33)).to(torch.int8)
    expected = hamming(signs)
    monkeypatch.setattr("convscope.experiments.correspondence.sign_distance.CHUNK", 7)
    for found, known in zip(hamming(signs), expected, strict=True):
        assert torch.allclose(found, known)


def faces(pictures: np.ndarray, points: dict[str, tuple[tuple[float, float], ...]]) -> AlignedParts:
    """Pictures uint8 (N, H, W, 3) as they are."""
    return AlignedParts(
        names=tuple(map(str, range(len(pictures)))),
        images=unit_preprocess(pictures.shape[1]).tensors(pictures),
        pixels=pictures,
        points=points,
        crop=None,
        left_out=(),
    )


def test_a_part_that_changes_all_pictures_alike_has_no_distance() -> None:
    pictures = np.full((4, SIDE, SIDE, 3), 255, np.uint8)
    pictures[:, 12:] = noise(4, SIDE - 12, SIDE, 3)
    network = network_of(channel_means)
    here = ((6.0, 6.0),) * 4
    found = correspond(
        network, faces(pictures, {"lamp": here}), fill=0.0, layers=["conv"], size=5, draws=50
    )
    lamp = found.table["conv"]["lamp"]
    assert lamp.delta == lamp.low == lamp.high == lamp.among == 0
    assert lamp.changed == pytest.approx(25 / SIDE**2)
    assert found.random["conv"].delta > 0 and lamp.p_own < 0.05
    assert [box.as_tuple() for box in found.boxes["lamp"]] == [(4, 4, 9, 9)] * 4


def test_signs_that_have_nothing_to_do_with_each_other_differ_in_half() -> None:
    torch.manual_seed(0)
    weight = torch.randn(2000, 3, SIDE, SIDE)
    pictures = noise(6, SIDE, SIDE, 3)
    network = network_reading(weight)
    spots = tuple((4.0 + 3 * i, 4.0 + 3 * i) for i in range(6))
    found = correspond(
        network, faces(pictures, {"spot": spots}), fill=0.0, layers=[network.output], size=2,
        draws=50,
    )  # fmt: skip
    spot = found.table[network.output]["spot"]
    assert spot.delta == pytest.approx(0.5, abs=0.03) and spot.changed == 1
    assert spot.p_own > 0.05


def test_delta_is_the_papers_formula_over_its_number_of_pairs() -> None:
    pictures = noise(4, SIDE, SIDE, 3)
    network = network_of(channel_means)
    spots = ((5.0, 7.0), (8.0, 8.0), (12.0, 6.0), (9.0, 15.0))
    given = faces(pictures, {"spot": spots})
    found = correspond(network, given, fill=0.3, layers=["conv"], size=4, places=5, draws=9)
    signs = []
    for image, (row, column) in zip(given.images.numpy(), spots, strict=True):
        covered = image.copy()
        top, left = round(row - 2), round(column - 2)
        covered[:, top : top + 4, left : left + 4] = 0.3
        signs.append(np.sign(image - covered).ravel())
    pairs = [np.mean(a != b) for i, a in enumerate(signs) for j, b in enumerate(signs) if i != j]
    spot = found.table["conv"]["spot"]
    assert spot.delta == pytest.approx(np.mean(pairs))
    assert spot.changed == pytest.approx(np.mean([np.mean(s != 0) for s in signs]))
    without = [np.mean([a != b for i, a in enumerate(signs) for j, b in enumerate(signs)
                        if i != j and gone not in (i, j)]) for gone in range(4)]  # fmt: skip
    assert spot.without == pytest.approx(without)
    half = 3.182446 * np.sqrt(3 / 4 * ((np.array(without) - np.mean(without)) ** 2).sum())  # t(3)
    assert (spot.low, spot.high) == pytest.approx((spot.delta - half, spot.delta + half))
    assert found.random["conv"].draws == 9 and found.same["conv"].draws == 5
    assert len(found.random["conv"].without) == 4
    assert json.loads(json.dumps(found.to_dict()))["layers"]["conv"]["parts"]["spot"]["delta"]


def test_the_same_seed_gives_the_same_study_and_another_gives_other_places() -> None:
    pictures = noise(3, SIDE, SIDE, 3)
    network = network_of(channel_means)
    given = faces(pictures, {"spot": ((9.0, 9.0),) * 3})

    def study(seed: int) -> dict:
        found = correspond(network, given, fill=0.0, layers=["conv"], draws=20, seed=seed)
        return found.to_dict()["layers"]["conv"]

    assert study(1) == study(1) and study(1)["random"] != study(2)["random"]
    assert study(1)["parts"]["spot"]["delta"] == study(2)["parts"]["spot"]["delta"]


def test_a_pair_of_pictures_has_no_spread_and_no_interval() -> None:
    network = network_of(channel_means)
    two = faces(noise(2, SIDE, SIDE, 3), {"spot": ((9.0, 9.0),) * 2})
    spot = correspond(network, two, fill=0.0, layers=["conv"], draws=9).table["conv"]["spot"]
    assert (spot.deviation, spot.low, spot.high, spot.without) == (None, None, None, ())


def test_an_interrupted_study_goes_on_and_ends_with_the_same_result(tmp_path, monkeypatch) -> None:
    network = network_of(channel_means)
    given = faces(noise(4, SIDE, SIDE, 3), {"spot": ((9.0, 9.0), (4.0, 5.0)) * 2})
    how = {"fill": 0.0, "layers": ["conv", network.output], "draws": 20, "places": 5}
    whole = correspond(network, given, **how)
    with pytest.raises(Stopped):
        correspond(network, given, **how, out=tmp_path, progress=stop_at("pictures", 3))
    done = []

    def counted(*given):
        done.append(given)
        return changes(*given)

    monkeypatch.setattr("convscope.experiments.correspondence.sign_distance._changes", counted)
    found = correspond(network, given, **how, out=tmp_path, resume=True)
    assert len(done) == 1
    assert found.to_dict() == whole.to_dict()
    for name in whole.layers:
        assert found.table[name]["spot"] == whole.table[name]["spot"]
    with pytest.raises(FolderInUse, match="--resume"):
        correspond(network, given, **how, out=tmp_path)
    with pytest.raises(FolderInUse, match="places is 5 there, 6 now"):
        correspond(network, given, **{**how, "places": 6}, out=tmp_path, resume=True)
    with pytest.raises(FolderInUse, match="fill is"):
        correspond(network, given, **{**how, "fill": 0.5}, out=tmp_path, resume=True)


def prepare() -> None:
    """Export the network once for all processes."""
    network_of(channel_means)


def shared(folder: Path, ranks: Ranks, progress: Progress) -> dict[str, Any]:
    """A study as one of several processes; the folders of the others stay empty."""
    given = faces(noise(5, SIDE, SIDE, 3), {"spot": ((9.0, 9.0), (4.0, 5.0), (7.0, 8.0)) * 2})
    given = replace(given, points={"spot": given.points["spot"][:5]})
    network = network_of(channel_means)
    found = correspond(
        network, given, fill=0.0, layers=["conv", network.output], draws=20, places=5,
        out=folder if ranks.first else folder / "others", resume=True, ranks=ranks,
        progress=progress,
    )  # fmt: skip
    return {**found.to_dict(), "without": [a["spot"].without for a in found.table.values()]}


@pytest.mark.long
def test_one_two_and_four_processes_find_the_same_also_after_a_kill(tmp_path: Path) -> None:
    all_find_the_same("experiments.test_correspondence:shared", tmp_path, "1@2")


def test_the_memory_that_signs_would_take_is_limited(monkeypatch) -> None:
    monkeypatch.setattr("convscope.experiments.correspondence.sign_distance.MEMORY", 100)
    two = faces(noise(2, SIDE, SIDE, 3), {"spot": ((9.0, 9.0),) * 2})
    with pytest.raises(BadOption, match=r"2 pictures with 25 covers .* 1,728 values"):
        correspond(network_of(channel_means), two, fill=0.0, layers=["conv"])


def test_what_cannot_be_compared_is_refused() -> None:
    network = network_of(channel_means)
    one = faces(noise(1, SIDE, SIDE, 3), {"spot": ((9.0, 9.0),)})
    with pytest.raises(BadData, match="2 or more"):
        correspond(network, one, fill=0.0, layers=["conv"])
    two = faces(noise(2, SIDE, SIDE, 3), {"spot": ((9.0, 9.0),) * 2})
    with pytest.raises(BadOption, match="must fit"):
        correspond(network, two, fill=0.0, layers=["conv"], size=99)
    with pytest.raises(BadOption, match="2 places"):
        correspond(network, two, fill=0.0, layers=["conv"], places=1)


def test_the_layers_are_the_last_maps_and_what_tells_the_classes() -> None:
    from convscope.models.architectures import ARCHITECTURES, build
    from convscope.network.network import open_network

    small = ARCHITECTURES["zfnet-small"]
    network = open_network(build(small, seed=0), small.input_shape)
    assert maps_and_features(network) == ("pool5", "relu7")


# Where the parts are


@pytest.mark.parametrize("fit", list(Fit))
@pytest.mark.parametrize("size", [(31, 57), (90, 40), (24, 24), (33, 33)])
def test_a_picture_is_placed_as_preprocessing_places_it(fit: Fit, size: tuple[int, int]) -> None:
    height, width = size
    preprocess = Preprocess((3, 24, 20), Scaling.UNIT, fit)
    if fit is Fit.NONE:
        height, width = 24, 20
    picture = Image.fromarray(noise(height, width, 3))
    place = placing(preprocess, height, width)
    resized = picture.resize(place.resized[::-1], Image.Resampling.BILINEAR)
    cut = resized.crop((place.left, place.top, place.left + 20, place.top + 24))
    assert np.array_equal(np.asarray(cut), np.asarray(preprocess.picture(picture)))


def test_a_marked_point_is_carried_to_where_its_pixel_goes() -> None:
    pixels = np.zeros((300, 500, 3), np.uint8)
    pixels[140:150, 280:290] = 255
    preprocess = Preprocess((3, 112, 112), Scaling.UNIT, Fit.CROP)
    place = placing(preprocess, 300, 500)
    seen = np.asarray(preprocess.picture(Image.fromarray(pixels)))[..., 0].astype(float)
    middle = np.array([(seen.sum(1) * (np.arange(112) + 0.5)).sum() / seen.sum(),
                       (seen.sum(0) * (np.arange(112) + 0.5)).sum() / seen.sum()])  # fmt: skip
    assert np.allclose(place.point(145, 285), middle, atol=0.3)
    mask = place.mask(pixels[..., 0] > 0)
    assert mask[seen > 254].all() and not mask[seen == 0].any()


def test_the_cut_around_an_object_puts_its_box_in_the_middle() -> None:
    pixels = np.full((60, 80, 3), 200, np.uint8)
    pixels[30, 20] = pixels[30, 40] = 0
    mark = Marked(0, {"left": (30.5, 20.5), "right": (30.5, 40.5)}, ("left", "right"),
                  (20.0, 20.0, 40.0, 40.0))  # fmt: skip
    images = Drawn([pixels, pixels])
    marks = [mark, Marked(1, mark.points, mark.names, mark.box)]
    found = align_parts(images, marks, unit_preprocess(40), crop=2.0)
    assert found.points["left"] == ((20.5, 10.5),) * 2
    assert found.points["right"] == ((20.5, 30.5),) * 2
    assert (found.pixels[0, 20, 10] < 10).all() and (found.pixels[0, 20, 30] < 10).all()
    wide = align_parts(images, marks, unit_preprocess(40), crop=6.0)
    assert (wide.pixels[0, 0, 0] == 128).all()  # outside the picture


def test_pictures_that_hide_a_part_are_left_out_and_named() -> None:
    images = Drawn([noise(40, 40, 3, seed=i) for i in range(4)])
    both, one = {"a": (9.0, 9.0), "b": (20.0, 20.0)}, {"a": (9.0, 9.0)}
    marks = [
        Marked(i, one if i == 2 else both, ("a", "b"), (0.0, 0.0, 40.0, 40.0)) for i in range(4)
    ]
    found = align_parts(images, marks, unit_preprocess())
    assert found.names == ("0.png", "1.png", "3.png") and found.left_out == ("2.png",)
    assert len(align_parts(images, marks, unit_preprocess(), parts=["a"]).names) == 4
    assert len(align_parts(images, marks, unit_preprocess(), count=2).names) == 2
    with pytest.raises(BadOption, match="no part 'c': those marked are a, b"):
        align_parts(images, marks, unit_preprocess(), parts=["c"])
    with pytest.raises(BadData, match="b is seen in 1: leave parts out with --points"):
        align_parts(images, marks[1:3], unit_preprocess())
    with pytest.raises(BadData, match="2 are needed: mark the parts in more pictures"):
        align_parts(images, marks[:1], unit_preprocess())


def test_pictures_that_cannot_be_read_are_left_out_and_named_as_such() -> None:
    images = Painted([(9, 9, 9)] * 4, [0] * 4, classes=("thing",), broken=[1])
    marks = [Marked(i, {"a": (3.0, 3.0)}, ("a",), (0.0, 0.0, 9.0, 9.0)) for i in range(4)]
    found = align_parts(images, marks, unit_preprocess())
    assert found.names == ("0000", "0002", "0003")
    assert found.left_out == found.unreadable == ("0001",)


def test_scenes_know_their_parts() -> None:
    images = open_images("scenes:val:40", size=48)
    dogs = marked_images(images)
    assert [mark.index for mark in dogs] == [0, 12, 24, 36]
    assert dogs[0].names == ("left eye", "right eye", "nose")
    people = marked_images(images, subject="person")
    assert "mouth" in people[0].names
    with pytest.raises(BadOption, match="class 'dragon'"):
        marked_images(images, subject="dragon")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of two photographs, and the same as photos.zip."""
    (tmp_path / "photos").mkdir()
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        for name in ("a.png", "b.png"):
            path = tmp_path / "photos" / name
            Image.fromarray(noise(30, 40, 3)).save(path)
            archive.write(path, name)
        archive.writestr(
            "index.json",
            json.dumps([{"file": "a.png", "points": {"eye": [10, 20], "ear": [-5, 3]}}]),
        )
    return tmp_path


def test_marks_lie_with_the_images_in_either_form(photos: Path) -> None:
    (mark,) = marked_images(open_images(photos / "photos.zip"))
    assert mark.points == {"eye": (20.0, 10.0)} and mark.names == ("eye", "ear")
    (photos / "photos" / "parts.json").write_text(
        json.dumps({"b.png": {"eye": [10, 20], "box": [0, 5, 30, 25]}})
    )
    (mark,) = marked_images(open_images(photos / "photos"))
    assert mark.index == 1 and mark.box == (5.0, 0.0, 25.0, 30.0)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "not JSON"),
        ('[{"file": "a.png"}]', "no marked points"),
        ('{"z.png": {"eye": [1, 2]}}', "z.png is not among"),
        ('{"a.png": {"eye": [1]}}', r"\[1\] is not \[x, y\]"),
        ('{"a.png": {"eye": [1, 2], "box": [1, 2]}}', "left, top, right, bottom"),
        ('{"a.png": {}}', "no points"),
        ('{"a.png": {"eye": [100, 2]}}', "outside the picture"),
    ],
)
def test_marks_of_another_form_are_refused(photos: Path, text: str, words: str) -> None:
    (photos / "marks.json").write_text(text)
    with pytest.raises(BadData, match=words):
        marked_images(open_images(photos / "photos"), photos / "marks.json")


def test_a_set_without_marks_says_what_is_missing(photos: Path) -> None:
    with pytest.raises(BadData, match="--parts FILE"):
        marked_images(open_images(photos / "photos"))


def test_a_spec_of_scenes_says_how_strongly_the_ground_is_tied_to_the_label() -> None:
    from convscope.scenes.render import CONTEXT

    tied = open_images("scenes:val:24:context=1", size=32)
    grounds = [tied.scene(i).background for i in range(24)]
    assert grounds == [CONTEXT[tied.classes[i % 12]] for i in range(24)]
    assert open_images("scenes:context=0.5").recipe.context == 0.5
    with pytest.raises(BadData, match="context 'much'"):
        open_images("scenes:val:context=much")
    with pytest.raises(BadOption, match=r"0\.\.1"):
        open_images("scenes:val:context=2")
