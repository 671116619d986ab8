"""Several classes an image: each class is a colour channel that is bright, or is not told."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from convscope.errors import BadData, FolderInUse
from convscope.experiments.transfer.multilabel import transfer_several
from convscope.experiments.transfer.reading import LayerReader
from convscope.experiments.transfer.scores import average_precision, average_precisions
from convscope.images.duplicates import Duplicate
from experiments.painted import Painted, opened, xor_model

CLASSES = ("red", "green", "luck", "rare")


def channels(count: int, *, seed: int = 0) -> Painted:
    """red and green show in their channels; luck in none; rare in two images."""
    dice = np.random.default_rng(seed)
    shows = (dice.random((count, 3)) < 0.4).astype(int)
    levels = 60 + 130 * shows[:, :2] + dice.integers(-20, 21, (count, 2))
    colours = [(int(r), int(g), 90) for r, g in levels]
    truth = [(*map(int, row), int(i < 2)) for i, row in enumerate(shows)]
    return Painted(colours, truth, classes=CLASSES)


def reader() -> LayerReader:
    model = xor_model()
    return LayerReader(model, opened(model), pooling="mean")


def test_classes_that_features_hold_are_found_and_luck_is_not() -> None:
    found = transfer_several(reader(), channels(80), layers=["1"], repeats=2)
    scores = {each.name: each for each in found.layers[0].classes}
    assert scores["red"].precision == pytest.approx(1)
    assert scores["green"].precision == pytest.approx(1)
    assert scores["luck"].precision < scores["luck"].chance + 0.25
    assert found.left_out == ("rare",)
    layer = found.layers[0]
    assert layer.low <= layer.mean <= layer.high
    json.dumps(found.to_dict(), allow_nan=False)


def test_a_test_set_is_scored_by_classifiers_of_all_other_images() -> None:
    found = transfer_several(reader(), channels(60), layers=["1"], test=channels(40, seed=5))
    assert (found.parts, found.repeats, found.test_images) == (0, 0, 40)
    assert found.layers[0].classes[0].precision == pytest.approx(1)


def test_what_nobody_says_does_not_count() -> None:
    images = channels(60)
    truth = [(-1, *images.targets(i)[1:]) if i % 3 == 0 else images.targets(i) for i in range(60)]
    colours = [images._colours[i] for i in range(60)]
    hidden = Painted(colours, truth, classes=CLASSES)
    red = transfer_several(reader(), hidden, layers=["1"], repeats=1).layers[0].classes[0]
    assert red.precision == pytest.approx(1)
    assert red.images == sum(t[0] == 1 for t in truth)


def test_without_a_class_that_is_shown_often_enough_there_is_nothing_to_measure() -> None:
    with pytest.raises(BadData, match="no class is shown by 100"):
        transfer_several(reader(), channels(30), layers=["1"], least=100)


def pairs(*indices: int) -> list[Duplicate]:
    return [Duplicate(index, f"{index:04d}", 0, "x", 1.0, False) for index in indices]


def test_duplicates_are_in_no_test_and_change_nothing_else() -> None:
    liars = (3, 7, 11, 15)  # told the other way round, so that they cost precision
    honest = channels(60)
    truth = [
        (1 - red, *rest) if index in liars else (red, *rest)
        for index, (red, *rest) in enumerate(honest._truth)
    ]
    images = Painted(honest._colours, truth, classes=CLASSES)
    for test in (None, images):
        learned = images if test is None else channels(60, seed=4)
        kept, dropped = (
            transfer_several(
                reader(), learned, layers=["1"], repeats=1, test=test,
                duplicates=pairs(*liars), drop_duplicates=drop,
            )
            for drop in (False, True)
        )  # fmt: skip
        assert kept.layers[0].classes[0].precision < 1
        assert dropped.layers[0].classes[0].precision == pytest.approx(1)
        assert (kept.test_images, dropped.test_images) == (60, 56)
        assert dropped.dropped and len(dropped.duplicates or ()) == 4


def test_other_duplicates_are_another_study(tmp_path: Path) -> None:
    how = {"layers": ["1"], "repeats": 1, "out": tmp_path / "s", "drop_duplicates": True}
    transfer_several(reader(), channels(60), duplicates=pairs(1), **how)
    with pytest.raises(FolderInUse, match="dropped is"):
        transfer_several(reader(), channels(60), duplicates=pairs(2), resume=True, **how)


def test_unreadable_tests_are_named_and_not_counted() -> None:
    tests = channels(40, seed=5)
    broken = Painted(tests._colours, tests._truth, classes=CLASSES, broken=(2, 3))
    found = transfer_several(reader(), channels(60), layers=["1"], test=broken)
    assert found.skipped == ("0002", "0003") and found.test_images == 38


def test_the_precision_of_a_draw_is_that_of_its_images() -> None:
    """With images of one score, those that do not count, and draws without any of the class."""
    dice = np.random.default_rng(0)
    scores, truth = dice.integers(0, 6, 12) / 4, dice.integers(-1, 2, 12)
    drawn = [dice.integers(0, 12, 12) for _ in range(50)] + [np.flatnonzero(truth < 1)]
    times = np.stack([np.bincount(each, minlength=12) for each in drawn])
    alone = [average_precision(scores[each], truth[each]) for each in drawn]
    assert np.isnan(alone[-1])
    np.testing.assert_allclose(average_precisions(scores, truth, times), alone, rtol=1e-12)
