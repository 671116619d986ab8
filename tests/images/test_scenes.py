"""The rendered scenes: deterministic, balanced, true to what they say about themselves."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from convscope.errors import BadOption
from convscope.scenes.render import (
    BACKGROUNDS,
    CLASSES,
    CONTEXT,
    RECIPE,
    SPLIT_SIZES,
    TRANSFER_CLASSES,
    Scene,
    SceneSpec,
    Split,
    render,
    render_many,
)

EVERY_CLASS = [("train", i, name) for i, name in enumerate(CLASSES)] + [
    ("transfer", i, name) for i, name in enumerate(TRANSFER_CLASSES)
]
every_class = pytest.mark.parametrize(
    ("split", "label", "name"), EVERY_CLASS, ids=[name for *_, name in EVERY_CLASS]
)


def scenes_of(split: str, label: int, count: int, size: int) -> list[Scene]:
    spec = SceneSpec(split, size=size)
    return [render(spec, label + i * len(spec.classes)) for i in range(count)]


def digest(scene: Scene) -> str:
    return hashlib.sha256(scene.pixels.tobytes()).hexdigest()


def test_the_pictures_are_these_as_long_as_the_recipe_is_this():
    """Whoever changes a drawing raises RECIPE, and records the new digest here."""
    total = hashlib.sha256()
    for split in Split:
        pixels, _ = render_many(SceneSpec(split, size=40, context=0.5), range(24))
        total.update(pixels.tobytes())
    assert (RECIPE, total.hexdigest()[:16]) == (1, "f7767b2560443956")


def test_a_scene_depends_on_its_spec_and_index_and_on_nothing_before_it():
    spec = SceneSpec("train", seed=3)
    first = render(spec, 17)
    np.random.default_rng(0).random(5)
    render(spec, 4)
    assert np.array_equal(first.pixels, render(spec, 17).pixels)
    assert not np.array_equal(first.pixels, render(SceneSpec("train", seed=4), 17).pixels)


def test_no_two_scenes_of_a_seed_are_alike_within_or_across_splits():
    digests = [
        digest(render(SceneSpec(split, size=32), index)) for split in Split for index in range(60)
    ]
    assert len(set(digests)) == 4 * 60


def test_there_are_enough_classes_and_transfer_shares_none():
    assert len(CLASSES) >= 12
    assert len(TRANSFER_CLASSES) >= 5
    assert not set(CLASSES) & set(TRANSFER_CLASSES)
    assert set(SPLIT_SIZES) == set(Split)


@pytest.mark.parametrize("split", ["train", "val", "transfer", "multi"])
def test_the_labels_are_balanced(split):
    spec = SceneSpec(split, size=16)
    rounds = 2 * len(spec.classes)
    labels = [render(spec, i).label for i in range(rounds)]
    assert sorted(labels) == sorted([*range(len(spec.classes))] * 2)


@every_class
@pytest.mark.parametrize("size", [16, 32, 72, 256])
def test_every_class_renders_at_every_size(split, label, name, size):
    scene = render(SceneSpec(split, size=size, seed=5), label)  # a warning would be an error
    assert scene.classes[scene.label] == name
    assert scene.pixels.shape == (size, size, 3)
    assert scene.pixels.dtype == np.uint8
    assert scene.mask.shape == (size, size)
    assert scene.pixels.std() > 5
    assert 0.02 < scene.mask.mean() < 0.9


@every_class
def test_the_named_parts_lie_on_the_object(split, label, name):
    scenes = scenes_of(split, label, count=6, size=144)
    parts = [part for scene in scenes for part in scene.parts.values()]
    assert len(parts) >= len(scenes)
    assert np.mean([part.visible for part in parts]) > 0.8  # some hide behind a leaf
    for scene in scenes:
        for part in scene.parts.values():
            inside = 0 <= part.row < 144 and 0 <= part.column < 144
            on_mask = inside and scene.mask[int(part.row), int(part.column)]
            assert part.visible == on_mask


@every_class
def test_the_box_is_the_tightest_around_the_mask(split, label, name):
    for scene in scenes_of(split, label, count=2, size=48):
        box, mask = scene.box, scene.mask
        inside = mask[box.top : box.bottom, box.left : box.right]
        assert inside.sum() == mask.sum()
        assert inside[0].any() and inside[-1].any()
        assert inside[:, 0].any() and inside[:, -1].any()


@pytest.mark.parametrize(("split", "label"), [("train", 0), ("train", 1), ("transfer", 0)])
def test_a_face_has_its_eyes_left_and_right_above_the_nose_and_they_are_darker(split, label):
    for scene in scenes_of(split, label, count=8, size=144):
        left, right, nose = (scene.parts[p] for p in ("left eye", "right eye", "nose"))
        assert left.column < right.column
        assert nose.row > (left.row + right.row) / 2
        grey = scene.pixels.mean(axis=2)
        face = np.median(grey[scene.mask])
        for eye in (left, right):
            if eye.visible:
                r, c = int(eye.row), int(eye.column)
                assert grey[r - 2 : r + 3, c - 2 : c + 3].min() < face


@every_class
def test_another_size_is_the_same_composition(split, label, name):
    small, large = (render(SceneSpec(split, size=s), label) for s in (64, 192))
    reduced = large.mask.reshape(64, 3, 64, 3).mean(axis=(1, 3)) > 0.5
    overlap = (small.mask & reduced).sum() / (small.mask | reduced).sum()
    assert overlap > (0.55 if name == "bicycle" else 0.85)  # thin tubes fall between the pixels
    pixels = large.pixels.reshape(64, 3, 64, 3, 3).mean(axis=(1, 3))
    assert np.abs(pixels - small.pixels).mean() < 12
    assert small.background == large.background
    for part, place in small.parts.items():
        assert large.parts[part].row == pytest.approx(3 * place.row)
        assert large.parts[part].column == pytest.approx(3 * place.column)


def test_context_one_ties_every_label_to_its_own_ground():
    scenes = [render(SceneSpec("train", size=16, context=1.0), i) for i in range(48)]
    assert all(s.background == CONTEXT[CLASSES[s.label]] for s in scenes)
    assert len({CONTEXT[name] for name in CLASSES}) == len(CLASSES)  # one ground, one class


def test_context_zero_leaves_ground_and_label_independent():
    count = 480
    scenes = [render(SceneSpec("train", size=16), i) for i in range(count)]
    tied = sum(s.background == CONTEXT[CLASSES[s.label]] for s in scenes)
    expected = count / len(BACKGROUNDS)
    assert abs(tied - expected) < 4 * expected**0.5
    assert {s.background for s in scenes} == set(BACKGROUNDS)


def test_context_is_the_share_of_pictures_with_their_own_ground():
    count = 300
    scenes = [render(SceneSpec("train", size=16, context=0.6), i) for i in range(count)]
    tied = np.mean([s.background == CONTEXT[CLASSES[s.label]] for s in scenes])
    expected = 0.6 + 0.4 / len(BACKGROUNDS)
    assert abs(tied - expected) < 4 * (0.25 / count) ** 0.5


def test_context_changes_the_ground_and_leaves_the_object_as_it_is():
    changed = 0
    for index in range(12):
        free, tied = (render(SceneSpec("train", context=c), index) for c in (0.0, 1.0))
        assert np.array_equal(free.mask, tied.mask)
        assert free.parts == tied.parts
        difference = np.abs(free.pixels.astype(int) - tied.pixels).max(axis=2)
        assert np.median(difference[free.mask]) == 0
        if free.background != tied.background:
            changed += 1
            assert np.median(difference[~free.mask]) > 4
    assert changed > 6


def test_multi_shows_one_to_three_objects_and_its_labels_say_which():
    counts = set()
    for index in range(48):
        scene = render(SceneSpec("multi", size=64), index)
        present = {o.label for o in scene.objects}
        assert len(present) == len(scene.objects)  # all of different classes
        assert scene.labels == tuple(int(i in present) for i in range(len(CLASSES)))
        assert scene.label == index % len(CLASSES)
        owners = np.sum([o.mask for o in scene.objects], axis=0)
        assert owners.max() == 1  # a pixel shows one object
        assert all(o.mask.any() for o in scene.objects)
        counts.add(len(scene.objects))
    assert counts == {1, 2, 3}


def test_the_other_splits_show_one_object():
    for split in ("train", "val", "transfer"):
        scene = render(SceneSpec(split, size=32), 7)
        assert len(scene.objects) == 1
        assert sum(scene.labels) == 1 and scene.labels[scene.label] == 1


def test_render_many_is_render_again_and_again():
    spec = SceneSpec("val", size=24)
    pixels, labels = render_many(spec, [5, 2, 2, 40])
    assert labels.tolist() == [5, 2, 2, 40 % len(CLASSES)]
    for got, index in zip(pixels, [5, 2, 2, 40], strict=True):
        assert np.array_equal(got, render(spec, index).pixels)
    _, hot = render_many(SceneSpec("multi", size=24), range(3))
    assert hot.shape == (3, len(CLASSES))
    none, no_labels = render_many(spec, [])
    assert none.shape == (0, 24, 24, 3) and no_labels.shape == (0,)


def test_two_processes_render_what_one_renders():
    spec = SceneSpec("train", size=16)
    alone, together = (render_many(spec, range(450), workers=w) for w in (1, 2))
    assert np.array_equal(alone[0], together[0])
    assert np.array_equal(alone[1], together[1])


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"split": "test"}, "train, val, transfer, multi"),
        ({"size": 8}, "16..2048"),
        ({"seed": -1}, "0 or more"),
        ({"context": 1.5}, "0..1"),
    ],
)
def test_a_wrong_spec_is_refused_and_told_what_is_allowed(wrong, named):
    with pytest.raises(BadOption, match=named):
        SceneSpec(**wrong)


def test_a_negative_index_is_refused():
    with pytest.raises(BadOption, match="start at 0"):
        render(SceneSpec(), -1)
