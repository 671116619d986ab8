"""Near-duplicates: planted copies are found, other pictures are not."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from convscope.images.datasets import open_images
from convscope.images.duplicates import near_duplicates, thumbnails

COUNT = 40


@cache
def scene(index: int) -> Image.Image:
    images = open_images("scenes:train:200", size=128)
    return images.picture(index)


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures that a network was trained on."""
    folder = tmp_path_factory.mktemp("known")
    for index in range(COUNT):
        scene(index).save(folder / f"{index:02}.png")
    return folder


def recompressed(picture: Image.Image) -> Image.Image:
    content = io.BytesIO()
    picture.save(content, "JPEG", quality=35)
    return Image.open(io.BytesIO(content.getvalue())).convert("RGB")


def cropped(picture: Image.Image) -> Image.Image:
    width, height = picture.size
    cut = (0.05 * width, 0.02 * height, 0.97 * width, 0.94 * height)
    return picture.crop(tuple(round(edge) for edge in cut))  # type: ignore[arg-type]


COPIES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "equal": lambda picture: picture,
    "smaller": lambda picture: picture.resize((61, 61), Image.Resampling.BICUBIC),
    "stretched": lambda picture: picture.resize((200, 150)),
    "recompressed": recompressed,
    "cropped": cropped,
    "mirrored": ImageOps.mirror,
    "brighter": lambda picture: picture.point(lambda level: int(level * 0.85 + 20)),
    "mirrored, cropped, recompressed": lambda p: recompressed(cropped(ImageOps.mirror(p))),
    "uncropped": lambda picture: picture,
}


@pytest.mark.parametrize("change", COPIES)
def test_planted_copies_are_found_each_with_its_origin(
    change: str, known: Path, tmp_path: Path
) -> None:
    planted = (3, 11, 17, 24, 38)
    for index in planted:
        COPIES[change](scene(index)).save(tmp_path / f"{index:02}.png")
    others = known
    if change == "uncropped":  # the picture that was known is the one that was cut
        others = tmp_path / "known"
        others.mkdir()
        for index in planted:
            cropped(scene(index)).save(others / f"{index:02}.png")
    found = near_duplicates(open_images(tmp_path), open_images(others))
    mine = [pair for pair in found if "/" not in pair.name]
    assert [pair.name for pair in mine] == [f"{index:02}.png" for index in planted]
    assert all(Path(pair.other_name).name == pair.name for pair in mine)
    assert all(pair.mirrored == ("mirrored" in change) for pair in mine)
    assert all(pair.correlation >= 0.98 for pair in mine)


def test_other_pictures_of_the_same_classes_are_not_taken_for_copies(
    known: Path, tmp_path: Path
) -> None:
    for index in range(100, 100 + COUNT):
        scene(index).save(tmp_path / f"{index}.png")
    assert near_duplicates(open_images(tmp_path), open_images(known)) == ()


def test_pictures_without_structure_and_broken_ones_are_counted_and_never_named(
    tmp_path: Path,
) -> None:
    Image.new("RGB", (30, 30), (10, 20, 30)).save(tmp_path / "flat.png")
    (tmp_path / "broken.png").write_bytes(b"x")
    images = open_images(tmp_path)
    small = thumbnails(images, workers=0)
    assert (len(small), small.flat, small.unread) == (0, 1, 1)
    assert near_duplicates(images, images) == ()


def test_the_number_of_threads_changes_nothing(known: Path) -> None:
    images = open_images(known)
    np.testing.assert_array_equal(
        thumbnails(images, workers=1).pixels, thumbnails(images, workers=3).pixels
    )
