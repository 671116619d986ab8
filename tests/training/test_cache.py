"""Pictures on disk are the pictures of memory, however often their writing was interrupted."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from convscope.errors import BadData, FolderInUse
from convscope.images.datasets import open_images
from convscope.images.fitting import Fit
from convscope.images.preprocess import Preprocess
from convscope.models.architectures import ARCHITECTURES
from convscope.training import cache as caching
from convscope.training.cache import cached_pictures
from convscope.training.loop import train_on
from convscope.training.pictures import load_pictures, mean_picture, view_of
from convscope.training.recipe import SMALL
from convscope.training.training_data import load_training_data

SEEN = Preprocess((3, 28, 28), fit=Fit.CROP)
COUNT = 20


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes of noise, and a file that is no picture."""
    dice = np.random.default_rng(0)
    for index in range(COUNT):
        place = tmp_path / "data" / ("even" if index % 2 == 0 else "odd")
        place.mkdir(parents=True, exist_ok=True)
        pixels = dice.integers(0, 256, (40, 50, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(place / f"{index:02}.png")
    (tmp_path / "data/even/broken.png").write_bytes(b"\x89PNG\r\n\x1a\n cut")
    return tmp_path / "data"


def test_the_cache_holds_what_memory_would(folder: Path, tmp_path: Path):
    held = load_pictures(open_images(str(folder)), *view_of(SEEN))
    for _ in ("written", "read again"):
        found = cached_pictures(open_images(str(folder)), SEEN, tmp_path / "cache", workers=2)
        assert torch.equal(found.pixels, held.pixels) and torch.equal(found.labels, held.labels)
        assert found.classes == held.classes and found.identity == held.identity
        assert [(s.index, s.name, s.reason) for s in found.skipped] == [
            (s.index, s.name, s.reason) for s in held.skipped
        ]
        assert found.mean is not None and torch.equal(found.mean, mean_picture(held.pixels))


def test_its_size_is_told_before_it_is_written(folder: Path, tmp_path: Path):
    told: list[tuple[str, int, int, int]] = []

    def tell(what: str, done: int, total: int) -> None:
        told.append((what, done, total, sum(p.stat().st_size for p in (tmp_path / "c").iterdir())))

    cached_pictures(open_images(str(folder)), SEEN, tmp_path / "c", progress=tell)
    what, done, total, written = told[0]
    assert (done, total, written) == (0, COUNT + 1, 0)
    assert "32x32 pixels each, 63 KiB in " in what


def test_it_is_decoded_once(folder: Path, tmp_path: Path, monkeypatch):
    cached_pictures(open_images(str(folder)), SEEN, tmp_path / "cache")
    monkeypatch.setattr(caching, "_Writer", None)
    cached_pictures(open_images(str(folder)), SEEN, tmp_path / "cache")


def test_a_changed_image_or_another_view_is_another_cache(folder: Path, tmp_path: Path):
    first = cached_pictures(open_images(str(folder)), SEEN, tmp_path / "cache")
    Image.new("RGB", (50, 40), "red").save(folder / "even/00.png")
    second = cached_pictures(open_images(str(folder)), SEEN, tmp_path / "cache")
    assert not torch.equal(first.pixels, second.pixels)
    small = replace(SEEN, shape=(3, 14, 14))
    assert (
        cached_pictures(open_images(str(folder)), small, tmp_path / "cache").pixels.shape[1] == 16
    )
    assert len(list((tmp_path / "cache").glob("*.pixels"))) == 3


@pytest.mark.parametrize("stop_after", [1, 2, 4])
def test_an_interrupted_writing_goes_on_and_ends_with_the_same_bytes(
    folder: Path, tmp_path: Path, monkeypatch, stop_after: int
):
    monkeypatch.setattr(caching, "CHUNK", 5)
    monkeypatch.setattr(caching, "COMMIT_SECONDS", -1.0)  # after every chunk
    whole = cached_pictures(open_images(str(folder)), SEEN, tmp_path / "whole")

    def kill(what: str, done: int, total: int) -> None:
        if done == 5 * stop_after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cached_pictures(open_images(str(folder)), SEEN, tmp_path / "cut", progress=kill)
    (pixels,) = (tmp_path / "cut").glob("*.pixels")
    with pixels.open("ab") as file:  # what the system had written beyond the last record
        file.write(b"half a chunk")
    told: list[int] = []
    again = cached_pictures(
        open_images(str(folder)), SEEN, tmp_path / "cut", progress=lambda w, d, t: told.append(d)
    )
    assert told[0] == 5 * stop_after
    assert torch.equal(again.pixels, whole.pixels) and again.identity == whole.identity
    assert torch.equal(again.mean, whole.mean) and again.skipped == whole.skipped
    assert sorted(p.suffix for p in (tmp_path / "cut").iterdir()) == [".json", ".pixels"]


def test_no_room_is_told_before_anything_is_written(folder: Path, tmp_path: Path, monkeypatch):
    full = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: full)
    with pytest.raises(BadData, match="63 KiB as decoded pixels, and 1e\\+03 bytes are free"):
        cached_pictures(open_images(str(folder)), SEEN, tmp_path / "cache")
    assert not list((tmp_path / "cache").glob("*.pixels"))


def test_a_file_in_place_of_the_folder_and_damage_are_named(folder: Path, tmp_path: Path):
    with pytest.raises(FolderInUse, match="is a file"):
        cached_pictures(open_images(str(folder)), SEEN, folder / "even/00.png")
    cached_pictures(open_images(str(folder)), SEEN, tmp_path / "cache")
    (pixels,) = (tmp_path / "cache").glob("*.pixels")
    os.truncate(pixels, 100)
    with pytest.raises(BadData, match="another size"):
        cached_pictures(open_images(str(folder)), SEEN, tmp_path / "cache")


def test_nothing_readable_leaves_no_cache(tmp_path: Path):
    for name in "ab":
        (tmp_path / "data" / name).mkdir(parents=True)
        (tmp_path / "data" / name / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n cut")
    with pytest.raises(BadData, match="none of its 2 images can be read"):
        cached_pictures(open_images(str(tmp_path / "data")), SEEN, tmp_path / "cache")
    assert not list((tmp_path / "cache").glob("*.pixels"))


def test_a_training_from_the_cache_ends_with_the_same_bytes(folder: Path, tmp_path: Path):
    tiny = (
        replace(ARCHITECTURES["zfnet-small"], input_size=28)
        .with_maps(dict.fromkeys(range(1, 6), 8))
        .with_units(16)
    )
    recipe = replace(SMALL, epochs=1, batch_size=4, crops=True, flips=True, keep_epochs=())
    images = open_images(str(folder))
    lessons = [
        load_training_data(tiny, images, images, recipe, cache=c) for c in (None, tmp_path / "c")
    ]
    results = [
        train_on(tiny, lesson, recipe, tmp_path / str(index))
        for index, lesson in enumerate(lessons)
    ]
    assert results[0].weights.read_bytes() == results[1].weights.read_bytes()
