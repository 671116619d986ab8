"""Real photographs, where CONVSCOPE_DATA names them: they all open, and whole passes agree."""

from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from convscope.images.classes import read_classes
from convscope.images.datasets import batches, open_images
from convscope.images.preprocess import Preprocess

REPOSITORY = Path(__file__).parents[2]
DATA = Path(os.environ.get("CONVSCOPE_DATA", REPOSITORY.parent / "shared" / "data"))
SAMPLES = DATA / "imagenet_1000_samples_256.zip"

pytestmark = [
    pytest.mark.real_data,
    pytest.mark.skipif(
        not SAMPLES.is_file(), reason=f"no {SAMPLES.name} in CONVSCOPE_DATA ({DATA})"
    ),
]


@pytest.mark.parametrize(
    ("name", "count", "classes"),
    [
        ("imagenet_1000_samples_256.zip", 1000, None),
        ("tiny_imagenet20_64px.zip", 11_000, 20),
        ("tiny_imagenet20_64px.zip/val", 1000, 20),
        ("caltech101_40_per_class_144px.zip", 4009, 102),
        ("cifar10_lossless_webp.zip", 600, None),
        ("coco60_multilabel.zip", 60, None),
        ("cat_parts24.zip", 24, None),
    ],
)
def test_every_zip_opens_with_its_images_and_classes(
    name: str, count: int, classes: int | None
) -> None:
    images = open_images(DATA / name)
    assert len(images) == count
    assert (None if images.classes is None else len(images.classes)) == classes
    assert images.picture(count - 1).mode == "RGB"


def test_a_pass_over_the_samples_skips_nothing_and_agrees_with_pillow() -> None:
    images, preprocess = open_images(SAMPLES), Preprocess((3, 224, 224))
    wanted = range(0, 1000, 7)
    found = list(batches(images, preprocess, batch_size=32, workers=2, indices=wanted))
    assert sum(map(len, found)) == len(wanted)
    assert not any(batch.skipped or batch.converted for batch in found)
    tensors = torch.cat([batch.tensors for batch in found])
    with zipfile.ZipFile(SAMPLES) as archive:
        for place, index in list(enumerate(wanted))[::10]:
            picture = Image.open(io.BytesIO(archive.read(images.name(index)))).convert("RGB")
            assert torch.equal(preprocess.tensor(picture), tensors[place])


def test_what_the_network_sees_is_within_a_rounding_of_the_picture() -> None:
    images, preprocess = open_images(SAMPLES), Preprocess((3, 224, 224))
    picture = images.picture(207)
    shown = preprocess.to_uint8(preprocess.tensor(picture))
    np.testing.assert_array_equal(shown, np.asarray(preprocess.picture(picture)))


def test_the_thousand_names_of_imagenet_are_read() -> None:
    names = read_classes(DATA / "imagenet_classes.json")
    assert len(names) == 1000
    assert names[0] == "tench, Tinca tinca"
    assert names[207] == "golden retriever"
