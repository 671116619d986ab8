"""Transfer and feature analysis where one layer tells the classes, and the one below not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from convscope.errors import BadData, BadOption, FolderInUse
from convscope.experiments.study import Context
from convscope.experiments.transfer import classifier as probe_module
from convscope.experiments.transfer.classifier import FeatureScaling, fit_probe
from convscope.experiments.transfer.folds import Protocol, draw_folds, draw_parts, labels_of
from convscope.experiments.transfer.layers import probe
from convscope.experiments.transfer.learning_curve import transfer
from convscope.experiments.transfer.linear_model import LinearProblem, Loss
from convscope.experiments.transfer.options import Measuring
from convscope.experiments.transfer.reading import LayerReader
from convscope.experiments.transfer.study import TransferStudy
from convscope.images.duplicates import Duplicate
from convscope.images.subsets import subset_images
from convscope.scan.features import Features
from experiments.painted import Painted, opened, xor_images, xor_model

BOTH = (Loss.SOFTMAX, Loss.SVM)


def reader(**how: Any) -> LayerReader:
    model = xor_model()
    return LayerReader(model, opened(model), **{"pooling": "mean", **how})


def test_the_layer_that_tells_tells_and_the_one_below_guesses() -> None:
    protocol = Protocol((20,), folds=3, classifiers=BOTH)
    found = probe(reader(), xor_images(120), protocol, layers=["1", "3"])
    for classifier in ("softmax", "svm"):
        below, above = found.points[classifier]
        assert above.mean == 1.0
        assert below.mean < 0.75
        assert found.best(classifier).layer == "3"
        assert found.rises[classifier] == 1.0
    json.dumps(found.to_dict(), allow_nan=False)


def test_a_learning_curve_rises_to_certainty() -> None:
    protocol = Protocol((1, 5, 20), folds=4, test_per_class=15)
    found = transfer(reader(), xor_images(120), protocol, layer="3")
    means = [point.mean for point in found.points]
    assert means[-1] == 1.0 and means[0] <= means[1] <= means[2]
    assert found.test_images == 30 and found.chance == 0.5
    assert found.point("softmax", 20).std == 0.0
    assert all(choice["validated"] is None for choice in found.point("softmax", 1).choices)
    json.dumps(found.to_dict(), allow_nan=False)


def test_the_same_seed_gives_the_same_result_and_another_other_folds() -> None:
    images = xor_images(80)
    runs = [
        transfer(reader(), images, Protocol((2,), folds=2, seed=seed), layer="1").points
        for seed in (0, 0, 1)
    ]
    assert runs[0] == runs[1] != runs[2]


def test_a_study_that_was_interrupted_goes_on_and_does_nothing_twice(tmp_path: Path) -> None:
    protocol, images = Protocol((2, 4), folds=2), xor_images(60)
    asked: list[str] = []

    def stop(what: str, done: int, total: int) -> None:
        asked.append(what)
        if what.startswith("classifiers") and done == 3:
            raise KeyboardInterrupt

    how = {"layer": "3", "out": tmp_path / "s"}
    with pytest.raises(KeyboardInterrupt):
        transfer(reader(cache=tmp_path / "f", progress=stop), images, protocol, **how)
    with pytest.raises(FolderInUse, match="--resume"):
        transfer(reader(cache=tmp_path / "f"), images, protocol, **how)
    resumed = transfer(reader(cache=tmp_path / "f"), images, protocol, resume=True, **how)
    assert resumed.points == transfer(reader(), images, protocol, layer="3").points


def test_unreadable_images_are_in_no_fold_and_named() -> None:
    images = xor_images(40, broken=[5, 6])
    found = transfer(reader(), images, Protocol((5,), folds=2), layer="3")
    assert found.skipped == ("0005", "0006")
    folds = draw_folds(images, Protocol((5,), folds=2), without={5, 6})
    for fold in folds:
        assert not {5, 6} & {*fold.train(5).tolist(), *fold.test.tolist()}


def test_folds_are_nested_disjoint_balanced_and_bounded() -> None:
    images = xor_images(200)
    labels = labels_of(images)
    for fold in draw_folds(images, Protocol((3, 10), folds=3, test_per_class=7)):
        few, many = set(fold.train(3).tolist()), set(fold.train(10).tolist())
        assert few < many and not many & set(fold.test.tolist())
        assert np.bincount(labels[sorted(many)]).tolist() == [10, 10]
        assert np.bincount(labels[fold.test]).tolist() == [7, 7]


def test_tests_from_another_set_leave_all_images_to_learn_from() -> None:
    learn, test = xor_images(60), xor_images(30, seed=9)
    most = int(np.bincount(labels_of(learn)).min())
    found = transfer(reader(), learn, Protocol((most,), folds=2), layer="3", test=test)
    assert found.points[0].mean == 1.0 and found.test_images == 30


def test_duplicates_are_left_out_of_the_tests_when_asked() -> None:
    images = xor_images(60)
    pairs = [Duplicate(index, images.name(index), 0, "x", 1.0, False) for index in range(0, 20)]
    kept = transfer(reader(), images, Protocol((5,), folds=1), layer="3", duplicates=pairs)
    dropped = transfer(
        reader(), images, Protocol((5,), folds=1), layer="3", duplicates=pairs, drop_duplicates=True
    )
    assert kept.test_images == 50 and dropped.test_images == 30
    assert dropped.dropped and len(dropped.duplicates or ()) == 20


def test_a_probe_leaves_duplicates_out_of_its_tests(tmp_path: Path) -> None:
    images, protocol = xor_images(60), Protocol((5,), folds=1)
    pairs = [Duplicate(index, images.name(index), 0, "x", 1.0, False) for index in range(0, 20)]
    how = {"layers": ["3"], "out": tmp_path / "s"}
    dropped = probe(reader(), images, protocol, duplicates=pairs, drop_duplicates=True, **how)
    assert dropped.test_images == 30
    assert dropped.dropped and len(dropped.duplicates or ()) == 20
    with pytest.raises(FolderInUse, match="dropped is"):
        probe(reader(), images, protocol, resume=True, **how)


def test_too_few_images_and_too_many_labels_are_bad_input() -> None:
    with pytest.raises(BadData, match=r"class (even|odd) has \d+ images.*--per-class"):
        transfer(reader(), xor_images(20), Protocol((30,)), layer="3")
    several = Painted([(0, 0, 0)] * 4, [(1, 0)] * 4)
    with pytest.raises(BadData, match="no one class"):
        transfer(reader(), several, layer="3")
    with pytest.raises(BadOption):
        Protocol(())
    with pytest.raises(BadOption):
        Protocol((1, 5), folds=0)
    with pytest.raises(BadOption, match="one number"):
        probe(reader(), xor_images(20), Protocol((1, 5)))


def test_what_is_chosen_never_depends_on_images_outside_the_training_part() -> None:
    model, images = xor_model(), xor_images(60)
    values = np.array(LayerReader(model, opened(model)).read(images, ["1"])["1"].values)
    train, labels = np.arange(30), labels_of(images)
    poisoned = values.copy()
    poisoned[30:] = 1e6
    chosen = [
        fit_probe(
            Features("1", "flatten", each), train, labels[:30], LinearProblem(Loss.SOFTMAX, 2)
        )
        for each in (values, poisoned)
    ]
    assert chosen[0].choice == chosen[1].choice
    np.testing.assert_array_equal(chosen[0].model.weights, chosen[1].model.weights)


def test_the_scaling_that_tells_is_chosen() -> None:
    dice = np.random.default_rng(0)
    labels = np.arange(90) % 3
    rows = np.eye(3)[labels] * 0.01 + dice.normal(size=(90, 3)) * 0.002
    rows = np.hstack([rows, dice.normal(size=(90, 1)) * 100]).astype(np.float32)  # drowns the rest
    found = fit_probe(
        Features("x", "flatten", rows), np.arange(90), labels, LinearProblem(Loss.SOFTMAX, 3)
    )
    assert found.choice.scaling is FeatureScaling.STANDARD


def test_more_samples_than_the_choice_is_made_on_are_all_learned_from(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(probe_module, "CHOSEN_ON", 20)
    images = xor_images(60)
    found = transfer(reader(), images, Protocol((20,), folds=1), layer="3")
    assert found.points[0].mean == 1.0


def test_parts_spread_each_class_evenly() -> None:
    dice = np.random.default_rng(0)
    targets = (dice.random((50, 4)) < (0.1, 0.2, 0.5, 0.9)).astype(np.int64)
    parts = draw_parts(targets, 5, np.random.default_rng(1))
    assert sorted(np.concatenate(parts).tolist()) == list(range(50))
    counts = np.array([targets[part].sum(0) for part in parts])
    assert (counts.max(0) - counts.min(0) <= 2).all()


def test_all_images_are_tested_on_and_each_counts_the_same_in_plain_accuracy() -> None:
    every = xor_images(120)
    labels = labels_of(every)
    few = np.flatnonzero(labels == 0)[:9].tolist()
    images = subset_images(every, sorted([*few, *np.flatnonzero(labels == 1).tolist()]))
    protocol = Protocol((4,), folds=2)
    found = transfer(reader(), images, protocol, layer="1")
    assert found.test_images == len(images) - 8
    counts = np.array([9 - 4, len(images) - 9 - 4])
    point = found.points[0]
    for fold, mean in enumerate(point.accuracies):  # a naive count of the same predictions
        rates = _rates(images, protocol, fold)
        assert mean == pytest.approx(rates.mean())
        assert point.plain[fold] == pytest.approx((rates * counts).sum() / counts.sum())
    words = "\n".join(found.words())
    assert "softmax, of all images" in words
    assert f"{found.test_images} test images a fold, all that are not learned from" in words


def _rates(images: Any, protocol: Protocol, number: int) -> np.ndarray:
    """The share of each class that a probe of that fold tells."""
    fold, labels = draw_folds(images, protocol)[number], labels_of(images)
    features = reader().both(images, None, ["1"]).learned["1"]
    train = fold.train(4)
    fitted = fit_probe(features, train, labels[train], LinearProblem(Loss.SOFTMAX, 2), seed=number)
    told = fitted.scores(features, fold.test).argmax(1) == labels[fold.test]
    return np.array([told[labels[fold.test] == each].mean() for each in (0, 1)])


def test_a_cap_on_the_tests_is_said_and_plain_accuracy_where_it_is_the_same() -> None:
    found = transfer(reader(), xor_images(120), Protocol((5,), 2, test_per_class=15), layer="3")
    words = "\n".join(found.words())
    assert "30 test images a fold, at most 15 per class" in words
    assert "the share of all test images told right is the same" in words
    assert found.points[0].plain == found.points[0].accuracies


def test_a_study_that_was_begun_with_a_cap_goes_on_with_it(tmp_path: Path) -> None:
    (tmp_path / "study.json").write_text(json.dumps({"study": "transfer", "test_per_class": 50}))
    study = TransferStudy("zfnet", "photos")
    assert study._measuring(Context(tmp_path, resume=True)).test_per_class == 50
    assert study._measuring(Context(tmp_path, resume=False)).test_per_class is None
    assert study._measuring(Context(tmp_path / "new", resume=True)).test_per_class is None
    asked = TransferStudy("zfnet", "photos", measuring=Measuring(test_per_class=7))
    assert asked._measuring(Context(tmp_path, resume=True)).test_per_class == 7
