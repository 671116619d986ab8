"""Mistakes and labels whose reason was planted, and honest nulls where nothing was."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import convscope
from convscope.distributed import Ranks
from convscope.errors import BadData, FolderInUse
from convscope.experiments.mistakes.confident import cross_validated, dealt_parts, doubts_of
from convscope.experiments.mistakes.nearest import nearest
from convscope.experiments.mistakes.study import ErrorsStudy
from convscope.experiments.mistakes.telling import roc_areas, telling_maps
from convscope.experiments.options import Device, Running
from convscope.experiments.session import session_of
from convscope.experiments.study import Context
from convscope.images.datasets import open_images
from convscope.images.duplicates import duplicate_pairs
from convscope.images.fitting import Fit
from convscope.images.preprocess import Preprocess
from convscope.images.scaling import Scaling
from convscope.models.weights import module_sha256
from convscope.models.zoo import Model
from convscope.progress import Progress
from convscope.report.errors_page import write_errors_page
from convscope.scan.features import Features
from convscope.stats import roc_auc
from experiments.painted import SIDE, Painted
from work_together import all_find_the_same

OBJECT, GROUND = 0, 1  # the maps that see red and green


def dice(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def grounds(count: int = 240, *, tied: float = 0.75, broken: tuple[int, ...] = ()) -> Painted:
    """Red is the class (odd: bright), green the ground, bright as often with odd as `tied` says."""
    draw = dice(1)
    odd = np.arange(count) % 2
    bright = np.where(draw.random(count) < tied, odd, 1 - odd)
    red = 70 + 110 * odd + draw.integers(-25, 26, count)
    green = 60 + 130 * bright + draw.integers(-25, 26, count)
    blue = draw.integers(0, 256, count)
    colours = [(int(r), int(g), int(b)) for r, g, b in zip(red, green, blue, strict=True)]
    return Painted(colours, odd.tolist(), broken=broken)


def fooled(trust: float = 4.0) -> Model:
    """A network that sees red, green and blue, and believes green `trust` times as much as red."""
    net = nn.Sequential(
        nn.Conv2d(3, 3, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2)
    )
    with torch.no_grad():
        net[0].weight.copy_(torch.eye(3)[:, :, None, None])
        net[0].bias.zero_()
        net[4].weight.copy_(torch.tensor([[0.0, 0, 0], [1.0, trust, 0]]))
        net[4].bias.copy_(torch.tensor([0.0, -0.49 - 0.49 * trust]))
    seen = Preprocess((3, SIDE, SIDE), Scaling.UNIT, Fit.STRETCH)
    return Model(net.eval(), seen, "fooled", module_sha256(net), False, ("even", "odd"))


def find(model: Model, images: Painted, **options: Any) -> Any:
    return convscope.find_errors(model, images, draws=199, device="cpu", **options)


# ---- the maps that tell -------------------------------------------------------------------------


def test_a_spurious_ground_is_named_and_confirmed_by_taking_it_away() -> None:
    images = grounds()
    found = find(fooled(), images)
    away = [(images._colours[i][GROUND] > 125) != images.label(i) for i in range(240)]
    assert found.judge == "the network" and found.wrong == sum(away)  # it sees the ground alone
    told = {(each.label, each.unit): each for each in found.telling}
    assert set(told) == {("even", f"1/{GROUND}"), ("odd", f"1/{GROUND}")}
    even, odd = told["even", f"1/{GROUND}"], told["odd", f"1/{GROUND}"]
    assert even.more and even.area > 0.95 and even.mistaken_for == "odd"
    assert not odd.more and odd.area < 0.05
    # without green the score is red's alone less the threshold: always even
    assert even.removal.mended == even.removal.mistakes > 5 and even.removal.confirmed
    assert odd.removal.broken == odd.removal.right > 5 and odd.removal.confirmed
    assert all(images._colours[i][GROUND] > 125 for i in even.in_mistakes)


def test_nothing_is_claimed_where_mistakes_have_no_reason() -> None:
    claims = 0
    for seed in range(100):
        draw = dice(seed)
        values = draw.normal(size=(120, 30)).astype(np.float32)
        labels = np.arange(120) % 3
        found = telling_maps(values, labels, draw.random(120) < 0.4, draws=99, seed=seed)
        claims += any(told.corrected < 0.05 for told in found)
    assert claims <= 11  # 4 are expected; as many or more come in less than one of 1,000 trials


def test_a_planted_map_is_found_among_many_and_judged_by_images_that_did_not_choose_it() -> None:
    draw = dice(3)
    values = draw.normal(size=(80, 200)).astype(np.float32)
    wrong = draw.random(80) < 0.4
    values[wrong, 17] += 2.5
    told = telling_maps(values, np.zeros(80, np.int64), wrong, draws=199)[0]
    assert told.map == 17 and told.more and told.corrected == 1 / 200
    assert told.area == pytest.approx(roc_auc(values[told.judged, 17], wrong[told.judged]))
    assert told.low < told.area < told.high and 35 <= len(told.judged) <= 45
    assert not telling_maps(values, np.zeros(80, np.int64), np.arange(80) < 7)  # too few mistakes


def test_areas_are_those_of_the_roc_curve() -> None:
    values, wrong = dice().integers(0, 4, (30, 5)).astype(float), dice(1).random(30) < 0.3
    expected = [roc_auc(values[:, column], wrong) for column in range(5)]
    np.testing.assert_allclose(roc_areas(values, wrong), expected)


# ---- labels -------------------------------------------------------------------------------------


def naive_joint(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Northcutt et al. 2021, equation 1, loop by loop."""
    count, classes = probabilities.shape
    thresholds = [
        np.mean([probabilities[i, c] for i in range(count) if labels[i] == c])
        for c in range(classes)
    ]
    joint = np.zeros((classes, classes), int)
    for i in range(count):
        there = [c for c in range(classes) if probabilities[i, c] >= thresholds[c]]
        if there:
            joint[labels[i], max(there, key=lambda c: probabilities[i, c])] += 1
    return joint


def test_the_confident_joint_is_the_papers() -> None:
    labels = np.arange(90) % 3
    probabilities = dice().dirichlet([0.7, 0.7, 0.7], 90)
    found = doubts_of(probabilities, labels)
    joint = naive_joint(probabilities, labels)
    np.testing.assert_array_equal(found.joint, joint)
    scaled = joint / joint.sum(1, keepdims=True) * 30
    assert found.share == pytest.approx(1 - np.trace(scaled) / 90)
    ranked = found.ranked(labels)
    assert len(ranked) == joint.sum() - np.trace(joint)
    margins = [
        probabilities[i, labels[i]]
        - max(p for c, p in enumerate(probabilities[i]) if c != labels[i])
        for i in ranked
    ]
    assert margins == sorted(margins)


def test_an_image_is_judged_by_what_did_not_learn_from_it() -> None:
    labels = dice(5).integers(0, 2, 60)  # without any reason: no one can know them
    features = Features("f", "mean", dice(6).normal(size=(60, 80)).astype(np.float32))
    found = cross_validated(features, np.arange(60), labels)
    np.testing.assert_allclose(found.sum(1), 1)
    assert 0.3 < (found.argmax(1) == labels).mean() < 0.7
    for part in dealt_parts(labels, 5, 0):
        assert abs(labels[part].sum() - labels.sum() / 5) <= 1


def test_planted_wrong_labels_are_found_and_none_where_none_is_wrong() -> None:
    images, planted = grounds(200), (3, 10, 44, 77, 81, 120, 133, 150, 168, 199)
    honest = find(fooled(), images)
    assert len(honest.doubts) <= 2  # red alone tells the classes, whatever the network believes
    truth = [images.label(i) for i in range(200)]
    for index in planted:
        truth[index] = 1 - truth[index]
    found = find(fooled(), Painted(images._colours, truth))
    listed = {doubt.index for doubt in found.doubts}
    # half of the images are below their class's mean probability, so not all can be listed
    assert len(listed & set(planted)) >= 5 and len(listed - set(planted)) <= 2
    assert found.noise == pytest.approx(0.05, abs=0.03) and found.agreed > 0.9
    assert found.warning == ""
    poor = replace(found, agreed=0.3)
    assert "not to be relied on" in poor.warning and poor.warning in "\n".join(poor.words())
    first = found.doubts[0]
    assert {first.label, first.suggested} == {"even", "odd"} and first.probability < 0.5
    # the network is fooled by grounds, so its loss alone puts other images first
    losses = sorted(found.doubts, key=lambda doubt: -doubt.loss)
    assert [doubt.index for doubt in losses] != [doubt.index for doubt in found.doubts]


# ---- neighbours and duplicates ------------------------------------------------------------------


def test_the_nearest_are_those_of_the_largest_cosine(monkeypatch: pytest.MonkeyPatch) -> None:
    from convscope.experiments.mistakes import nearest as module

    values = dice().normal(size=(25, 6)).astype(np.float32)
    monkeypatch.setattr(module, "BLOCK", 4 * 25 * 7)  # seven rows at once
    found = nearest(values, 4)
    unit = values.astype(float) / np.linalg.norm(values.astype(float), axis=1, keepdims=True)
    cosines = unit @ unit.T
    np.fill_diagonal(cosines, -2)
    np.testing.assert_array_equal(found.rows, np.argsort(-cosines, axis=1)[:, :4])
    np.testing.assert_allclose(found.cosines, -np.sort(-cosines, axis=1)[:, :4], atol=1e-6)
    labels = np.arange(25) % 2
    expected = [np.mean(labels[found.rows[i]] == labels[i]) for i in range(25)]
    np.testing.assert_allclose(found.agreement(labels), expected)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two classes, a photograph of the one lying mirrored and smaller in the other, too."""
    for number in range(8):
        noise = dice(number).integers(0, 255, (6, 6, 3), dtype=np.uint8)
        picture = Image.fromarray(noise).resize((72, 72), Image.Resampling.BICUBIC)
        place = tmp_path / "set" / "ab"[number % 2]
        place.mkdir(parents=True, exist_ok=True)
        picture.save(place / f"{number}.png")
        if number == 0:
            copy = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT).resize((60, 60))
            (tmp_path / "set" / "b").mkdir()
            copy.save(tmp_path / "set" / "b" / "copy.png")
            (tmp_path / "val").mkdir()
            picture.resize((64, 64)).save(tmp_path / "val" / "seen.png")
    return tmp_path


def test_one_picture_under_two_labels_or_in_both_splits_is_named(photos: Path) -> None:
    (pair,) = duplicate_pairs(open_images(photos / "set"))
    assert (pair.name, pair.other_name, pair.mirrored) == ("a/0.png", "b/copy.png", True)
    model = convscope.open_model("zfnet-small")
    found = convscope.errors(
        model, str(photos / "set"), against=str(photos / "val"), layers="conv1", draws=99,
        device="cpu",
    )  # fmt: skip
    within, *across = [pair for pair in found.pairs if pair.correlation is not None]
    assert (within.label, within.other_label, within.conflicting) == ("a", "b", True)
    assert within.mirrored and not within.across and found.same == 1
    assert [pair.name for pair in across] == ["a/0.png", "b/copy.png"]
    assert all(pair.across and pair.other_name == "seen.png" for pair in across)
    assert found.judge == "the probe"  # the network has 12 other classes


# ---- the study ----------------------------------------------------------------------------------


def test_it_goes_on_and_its_page_and_lists_hold_what_was_found(tmp_path: Path) -> None:
    truth = [(i % 2) ^ (i == 30) for i in range(120)]
    images = Painted(grounds(120)._colours, truth, broken=(7,))
    model, out = fooled(), tmp_path / "out"
    found = find(model, images, out=out, shown=3)
    assert "skipped 0007: is broken" in " ".join(found.warnings())
    read = images.read
    again = find(model, images, out=out, shown=3, resume=True)
    assert json.dumps(again.to_dict()) == json.dumps(found.to_dict()) and images.read == read
    with pytest.raises(FolderInUse, match="labels"):
        find(model, grounds(120, broken=(7,)), out=out, shown=3, resume=True)
    page = write_errors_page(found, out).read_text()
    assert "default-src 'none'" in page and "<script" not in page and "://" not in page
    assert found.doubts[0].name == "0030" and "0030" in page and 'href="doubts.csv"' in page
    assert [each.index for each in found.placed] == [i for i in range(120) if i != 7]
    assert page.count("<circle c") >= 119 and 'href="#image-30"' in page
    groups = [[each for each in found.placed if each.label == name] for name in found.classes]
    centres = [np.mean([(each.x, each.y) for each in group], 0) for group in groups]
    spread = np.mean([np.std([(e.x, e.y) for e in group], 0) for group in groups])
    assert np.abs(centres[0] - centres[1]).max() > spread  # classes of unlike features lie apart
    for index in found.pictures:
        assert (out / "page" / "pictures" / f"{index:06d}.webp").is_file()
    rows = list(csv.DictReader(io.StringIO((out / "doubts.csv").read_text())))
    assert [row["name"] for row in rows] == [doubt.name for doubt in found.doubts]
    assert any("maps tell mistakes" in line for line in found.words())


def shared(folder: Path, ranks: Ranks, progress: Progress) -> dict[str, Any]:
    """A study as one of several processes; the folders of the others stay empty."""
    running = Running(batch_size=8, device=Device.CPU)
    context = Context(
        folder if ranks.first else folder / "others", running, True, progress, ranks,
        opened={"net": session_of(fooled(), running)}, sets={"painted": grounds(96, broken=(5,))},
    )  # fmt: skip
    return ErrorsStudy("net", "painted", draws=99).run(context).result.to_dict()


@pytest.mark.long
@pytest.mark.slow
def test_one_two_and_four_processes_find_the_same_also_after_a_kill(tmp_path: Path) -> None:
    found = all_find_the_same("experiments.test_mistakes:shared", tmp_path, "1@3")
    assert found["images"] == 95


@pytest.mark.parametrize(
    ("images", "said"),
    [
        (Painted([(1, 2, 3)] * 4, [0] * 4), "all labels are of one class"),
        (Painted([(1, 2, 3)] * 4, [(1, 0)] * 4), "several classes each"),
        (Painted([(1, 2, 3)] * 4, [None] * 4), "no image has a label"),
        (Painted([(1, 2, 3)] * 2, [0, 1], classes=("a", "b")), "no two classes have 3 images"),
        (Painted([(1, 2, 3)] * 4, [0, 1, 0, 1], broken=(0, 1, 2, 3)), "no image can be read"),
    ],
)
def test_what_cannot_be_judged_is_refused_by_name(images: Painted, said: str) -> None:
    with pytest.raises(BadData, match=said):
        find(fooled(), images)
