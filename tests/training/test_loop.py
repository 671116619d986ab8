"""Training learns, can be repeated to the bit, and leaves a run that opens again."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from convscope.errors import BadData, BadModel, FolderInUse, NonFinite
from convscope.execution import Execution
from convscope.images.datasets import open_images
from convscope.images.fitting import Fit, middle
from convscope.images.preprocess import Preprocess
from convscope.models.architectures import ARCHITECTURES
from convscope.models.weights import read_weights
from convscope.models.zoo import open_model
from convscope.training import pictures
from convscope.training.checkpoint import RunStatus, read_run
from convscope.training.loader import Loader
from convscope.training.loop import load_training_data, renormalise, train, train_on
from convscope.training.pictures import load_pictures, mean_picture, view_of
from convscope.training.recipe import SMALL

TINY = (
    replace(ARCHITECTURES["zfnet-small"], input_size=32, dropout=0.1)
    .with_maps(dict.fromkeys(range(1, 6), 8))
    .with_units(16)
)
BRIEF = replace(SMALL, epochs=2, batch_size=8, keep_epochs=(0, 1))


def striped(folder: Path, count: int, size: tuple[int, int] = (32, 32), seed: int = 0) -> Path:
    """A folder per class: upright stripes, and lying ones."""
    dice = np.random.default_rng(seed)
    for name in ("lying", "upright"):
        (folder / name).mkdir(parents=True)
        for index in range(count):
            wave = 60 * np.sin(np.arange(max(size)) * 0.9 + dice.uniform(0, 6))
            stripes = np.broadcast_to(wave[: size[1]], size) if name == "upright" else None
            stripes = np.broadcast_to(wave[: size[0], None], size) if stripes is None else stripes
            pixels = 128 + stripes[..., None] + dice.normal(0, 20, (*size, 3))
            picture = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
            picture.save(folder / name / f"{index:03d}.png")
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> tuple[Path, Path]:
    root = tmp_path_factory.mktemp("stripes")
    return striped(root / "train", 24), striped(root / "val", 8, seed=1)


@pytest.fixture(scope="module")
def lesson(folders):
    return load_training_data(TINY, *(open_images(str(folder)) for folder in folders), BRIEF)


def test_a_network_learns_what_is_there_to_learn(lesson, tmp_path: Path):
    recipe = replace(BRIEF, epochs=12, learning_rate=0.005)
    history = train_on(TINY, lesson, recipe, tmp_path / "run").history
    assert history[-1].val_accuracy == 1.0
    assert history[-1].loss < 0.6 * history[0].loss
    assert all(each.val_top5 == 1.0 for each in history)  # of two classes


def test_the_run_opens_again_with_the_accuracy_that_it_states(folders, tmp_path: Path):
    train_set, val_set = (open_images(str(folder)) for folder in folders)
    result = train(TINY, (train_set, val_set), replace(BRIEF, epochs=4), tmp_path / "run")
    model = open_model(f"run:{tmp_path}/run")
    assert model.classes == ("lying", "upright")
    assert not model.module.training
    images = torch.stack([model.preprocess.tensor(val_set.picture(i)) for i in range(len(val_set))])
    labels = torch.tensor([val_set.label(i) for i in range(len(val_set))])
    with torch.inference_mode():
        right = (model.module(images).argmax(1) == labels).float().mean().item()
    assert right == pytest.approx(result.history[-1].val_accuracy)


def test_the_same_seed_gives_the_same_bytes_and_leaves_the_callers_generator_alone(
    lesson, tmp_path: Path
):
    torch.manual_seed(1)
    before = torch.get_rng_state()
    recipes = [BRIEF, BRIEF, replace(BRIEF, seed=1)]
    results = [
        train_on(TINY, lesson, recipe, tmp_path / str(index))
        for index, recipe in enumerate(recipes)
    ]
    assert torch.equal(torch.get_rng_state(), before)
    first, again, other = (result.weights.read_bytes() for result in results)
    assert first == again != other


def test_the_folder_holds_what_the_recipe_keeps_and_says_what_it_is(lesson, tmp_path: Path):
    out = tmp_path / "run"
    result = train_on(TINY, lesson, BRIEF, out)
    assert sorted(path.name for path in out.iterdir()) == [
        "epoch-0000.safetensors",
        "epoch-0001.safetensors",
        "epoch-0002.safetensors",
        "metrics.jsonl",
        "recipe.yaml",
        "run.json",
        "weights.safetensors",
    ]
    run = read_run(out)
    assert run.status is RunStatus.FINISHED
    assert run.architecture == TINY.with_classes(2)
    assert run.recipe == BRIEF
    assert run.history == result.history
    assert run.data["count"] == 48 and run.data["skipped"] == 0
    assert [kept.epoch for kept in run.checkpoints] == [0, 1, 2]
    for kept in run.checkpoints:
        weights = read_weights(out / kept.file)
        assert weights.sha256 == kept.sha256
        assert weights.metadata["epoch"] == str(kept.epoch)
    lines = (out / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [asdict(epoch) for epoch in result.history]
    last = read_weights(out / "epoch-0002.safetensors").tensors
    final = read_weights(result.weights).tensors
    assert all(torch.equal(last[key], tensor) for key, tensor in final.items())


def test_the_stored_mean_is_the_mean_of_the_training_images_alone(folders, lesson):
    images = open_images(str(folders[0]))
    pixels = np.stack([np.asarray(images.picture(i), np.float64) for i in range(len(images))])
    expected = pixels.mean(axis=0).transpose(2, 0, 1)
    np.testing.assert_allclose(lesson.preprocess.per_pixel_mean, expected, rtol=1e-6)
    assert lesson.preprocess.fit is Fit.STRETCH


def test_a_loss_that_is_no_number_stops_the_training_and_names_the_step(lesson, tmp_path: Path):
    wild = replace(BRIEF, learning_rate=1e20, radius=None)
    with pytest.raises(NonFinite, match=r"the loss is \w+ at step \d+ \(epoch 1, learning rate"):
        train_on(TINY, lesson, wild, tmp_path / "run")
    assert read_run(tmp_path / "run").status is RunStatus.DIVERGED
    with pytest.raises(BadModel, match=r"open its last checkpoint as MODEL@.*epoch-0000"):
        open_model(f"run:{tmp_path}/run")


def naive_renormalise(weight: torch.Tensor, radius: float) -> tuple[torch.Tensor, int]:
    """The paper's §3 by hand: filter by filter."""
    scaled, count = weight.clone(), 0
    for index, values in enumerate(weight):
        rms = math.sqrt(sum(value**2 for value in values.flatten().tolist()) / values.numel())
        if rms > radius:
            scaled[index] = values * (radius / rms)
            count += 1
    return scaled, count


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_renormalisation_is_the_papers_filter_by_filter(layout: torch.memory_format):
    generator = torch.Generator().manual_seed(0)
    scales = torch.linspace(0.01, 0.3, 12)[:, None, None, None]
    filters = [
        (scales * torch.randn(12, 3, size, size, generator=generator)).to(memory_format=layout)
        for size in (7, 5)
    ]
    expected = [naive_renormalise(weight.double(), 0.1) for weight in filters]
    touched = renormalise(filters, 0.1)
    assert touched.item() == sum(count for _, count in expected) > 0
    for weight, (wanted, _) in zip(filters, expected, strict=True):
        torch.testing.assert_close(weight, wanted.float(), rtol=1e-5, atol=1e-7)


def test_filters_inside_the_radius_are_not_touched_at_all():
    weight = torch.full((2, 1, 2, 2), 0.1)
    assert renormalise([weight], 0.2).item() == 0
    assert torch.equal(weight, torch.full((2, 1, 2, 2), 0.1))


def test_no_filter_leaves_the_radius_during_training(lesson, tmp_path: Path):
    recipe = replace(BRIEF, radius=0.02)
    result = train_on(TINY, lesson, recipe, tmp_path / "run")
    assert result.history[0].renormalised > 0  # later ones may have nothing left to scale back
    for name, weight in read_weights(result.weights).tensors.items():
        if name.startswith("conv") and name.endswith("weight"):
            assert weight.pow(2).mean(dim=(1, 2, 3)).sqrt().max() <= 0.02 * (1 + 1e-5)


def test_crops_and_flips_are_windows_of_the_mean_subtracted_picture(tmp_path: Path):
    train_set = open_images(str(striped(tmp_path / "train", 3, size=(40, 52))))
    recipe = replace(BRIEF, crops=True, flips=True)
    lesson = load_training_data(TINY, train_set, train_set, recipe)
    side = round(32 / 0.875)
    assert lesson.pictures.pixels.shape == (6, side, side, 3)
    assert lesson.preprocess.fit is Fit.CROP
    feed, chosen = Loader(lesson, recipe, torch.device("cpu")), torch.arange(6).repeat(8)
    batch = feed.batch(chosen, epoch=1, place=0)
    images = feed.images(batch)
    assert torch.equal(batch.labels, lesson.pictures.labels[chosen])
    whole = (lesson.pictures.pixels.float() - lesson.mean).permute(0, 3, 1, 2)
    seen = set()
    for image, index in zip(images, chosen.tolist(), strict=True):
        windows = {
            (top, left, flip): window.flip(2) if flip else window
            for top in range(side - 31)
            for left in range(side - 31)
            for flip in (False, True)
            for window in [whole[index, :, top : top + 32, left : left + 32]]
        }
        found = [place for place, window in windows.items() if torch.equal(window, image)]
        assert found
        seen.update(found)
    assert len(seen) > 20


def test_the_mean_of_a_cropping_recipe_is_the_middle_of_the_larger_one(tmp_path: Path):
    images = open_images(str(striped(tmp_path / "train", 3, size=(37, 37))))
    lesson = load_training_data(TINY, images, images, replace(BRIEF, crops=True))
    middle = lesson.mean[2:34, 2:34].permute(2, 0, 1).numpy()
    np.testing.assert_array_equal(lesson.preprocess.per_pixel_mean, middle)


def test_training_sees_the_smallest_side_resized_and_the_centre_cut_out():
    gradient = np.broadcast_to(np.arange(192, dtype=np.uint8)[None, :, None], (96, 192, 3))
    view, side = view_of(Preprocess((3, 42, 42)))
    seen = np.asarray(view(Image.fromarray(np.ascontiguousarray(gradient))))
    assert seen.shape == (48, 48, 3) and side == 48  # 42 of 48 as 224 of 256
    np.testing.assert_allclose(seen[0, :, 0], np.arange(48.5, 144, 2), atol=1)


@given(st.integers(8, 90), st.integers(5, 300), st.integers(5, 300))
def test_the_middle_of_what_training_holds_is_what_the_network_will_see(size, width, height):
    dice = np.random.default_rng(width * height)
    picture = Image.fromarray(dice.integers(0, 256, (height, width, 3), dtype=np.uint8))
    preprocess = Preprocess((3, size, size), fit=Fit.CROP)
    view, side = view_of(preprocess)
    start = middle(side, size)
    held = np.asarray(view(picture))
    assert held.shape == (side, side, 3)
    expected = np.asarray(preprocess.picture(picture))
    np.testing.assert_array_equal(held[start : start + size, start : start + size], expected)


def test_scenes_are_the_same_pictures_for_any_number_of_workers():
    images = open_images("scenes:train:450", size=16)
    view = Preprocess((3, 16, 16), fit=Fit.STRETCH).picture
    one, two = (load_pictures(images, view, 16, workers=workers) for workers in (0, 2))
    assert torch.equal(one.pixels, two.pixels)
    assert torch.equal(one.labels, two.labels)
    assert one.identity == two.identity


def test_the_mean_picture_is_exact():
    pixels = torch.randint(0, 256, (700, 4, 5, 3), generator=torch.Generator().manual_seed(0))
    expected = pixels.double().mean(0).float()
    assert torch.equal(mean_picture(pixels.to(torch.uint8)), expected)


def test_progress_counts_every_image_of_every_epoch(lesson, tmp_path: Path):
    told: list[tuple[str, int, int]] = []
    train_on(
        TINY,
        lesson,
        BRIEF,
        tmp_path / "run",
        how=Execution(progress=lambda *words: told.append(words)),
    )
    first = [done for what, done, _ in told if what.startswith("epoch 1 of 2")]
    assert first == list(range(0, 49, 8))
    assert all(total == 48 for _, _, total in told)
    assert any(what.startswith("epoch 2 of 2, validation accuracy ") for what, _, _ in told)


def test_corrupt_images_are_skipped_and_counted(tmp_path: Path):
    striped(tmp_path / "train", 4)
    (tmp_path / "train/lying/broken.png").write_bytes(b"\x89PNG\r\n\x1a\n cut")
    images = open_images(str(tmp_path / "train"))
    result = train(TINY, (images, images), replace(BRIEF, epochs=1), tmp_path / "run")
    assert read_run(result.folder).data["skipped"] == 1
    assert read_run(result.folder).data["count"] == 8


def test_bad_data_is_refused_before_anything_is_trained(folders, tmp_path: Path, monkeypatch):
    stripes = open_images(str(folders[0]))
    with pytest.raises(BadData, match="no label for every image"):
        several = open_images("scenes:multi:4", size=32)
        train(TINY, (several, several), BRIEF, tmp_path / "a")
    with pytest.raises(BadData, match=r"2 classes \(lying, upright\), but .* 12 classes"):
        train(TINY, (stripes, open_images("scenes:val:4", size=32)), BRIEF, tmp_path / "b")
    monkeypatch.setattr(pictures, "MEMORY_SHARE", 0.0)
    with pytest.raises(BadData, match="GiB"):
        train(TINY, (stripes, stripes), BRIEF, tmp_path / "c")


def test_a_folder_that_holds_something_is_never_overwritten(folders, lesson, tmp_path: Path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run/thesis.txt").write_text("years of work")
    stripes = open_images(str(folders[0]))
    for start in (
        lambda: train(TINY, (stripes, stripes), BRIEF, tmp_path / "run"),
        lambda: train_on(TINY, lesson, BRIEF, tmp_path / "run/thesis.txt"),
    ):
        with pytest.raises(FolderInUse):
            start()
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize("content", [None, "{", "[]", '{"schema_version": 99}'])
def test_a_folder_without_a_readable_run_is_named(tmp_path: Path, content: str | None):
    if content is not None:
        (tmp_path / "run.json").write_text(content)
    with pytest.raises(BadData, match=r"run\.json"):
        read_run(tmp_path)
