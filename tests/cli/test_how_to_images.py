"""The how-to of images does what it says: its three recipes, and its lines of Python."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import convscope
from convscope.images.preprocess import Preprocess, choose_preprocess
from convscope.images.raster import Raster
from images.tiffs import written_tiff

TEXT = (Path(__file__).parents[2] / "docs" / "how-to" / "images.md").read_text(encoding="utf-8")
KERAS, MEDICAL, MULTISPECTRAL = re.findall(r"```yaml\n(.*?)```", TEXT, flags=re.DOTALL)
(PYTHON,) = re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL)

LANDCOVER = """
from torch import nn

def build():
    return nn.Sequential(nn.Conv2d(4, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(2 * 62 * 62, 2))
"""


def recipe(folder: Path, text: str, shape: str) -> Preprocess:
    (folder / "mine.yaml").write_text(text)
    return choose_preprocess(str(folder / "mine.yaml"), shape)


def test_the_keras_recipe_is_keras_caffe_mode(tmp_path: Path) -> None:
    pixels = np.array([[[10, 20, 30], [255, 0, 128]]], np.uint8)
    found = recipe(tmp_path, KERAS, "3x1x2").tensor(Image.fromarray(pixels))
    flipped = pixels[..., ::-1].astype(np.float32)  # as keras.applications' preprocess_input
    flipped[..., 0] -= np.float32(103.939)
    flipped[..., 1] -= np.float32(116.779)
    flipped[..., 2] -= np.float32(123.68)
    assert np.array_equal(found.numpy(), np.moveaxis(flipped, 2, 0))


def test_the_medical_recipe_takes_hounsfield_units(tmp_path: Path) -> None:
    preprocess = recipe(tmp_path, MEDICAL, "1x2x2")
    np.save(tmp_path / "slice.npy", np.array([[-1000, -300], [400, 3000]], np.int16))
    picture = convscope.open_images(tmp_path).picture_as(0, preprocess.form)
    expected = torch.tensor([[[-2.0, 0.0], [2.0, 2.0]]])  # (0, 0.5, 1, 1) − 0.5, over 0.25
    assert torch.equal(preprocess.tensor(picture), expected)
    assert preprocess.shown(picture)[..., 0].tolist() == [[0, 128], [255, 255]]


def test_the_multispectral_recipe_takes_reflectances(tmp_path: Path) -> None:
    preprocess = recipe(tmp_path, MULTISPECTRAL, "4x1x2")
    bands = np.array([[[1354, 1118, 1042, 2300], [1599, 785, 10000, 0]]], np.uint16)
    (tmp_path / "tile.tif").write_bytes(written_tiff(bands, colours=1))
    picture = convscope.open_images(tmp_path).picture_as(0, preprocess.form)
    found = preprocess.tensor(picture).numpy()[:, 0]
    mean, std = [1354, 1118, 1042, 2300], [245, 333, 395, 680]
    expected = (bands[0].astype(float) - mean) / std
    assert np.allclose(found.T, expected, atol=1e-5)
    assert expected[1, 0] == 1
    shown = np.rint(bands[0][:, [2, 1, 0]] / 10_000 * 255)
    assert np.array_equal(preprocess.shown(picture)[0], shown)


def test_the_lines_of_python_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "landcover.py").write_text(LANDCOVER)
    (tmp_path / "sentinel.yaml").write_text(MULTISPECTRAL)
    (tmp_path / "tiles").mkdir()
    bands = np.random.default_rng(0).integers(0, 10_000, (64, 64, 4), np.uint16)
    np.save(tmp_path / "tiles" / "1.npy", bands)
    names: dict = {"convscope": convscope}
    exec(PYTHON, names)
    sys.modules.pop("landcover")
    assert names["tensor"].shape == (4, 64, 64)
    assert names["shown"].shape == (64, 64, 3)
    assert isinstance(names["picture"], Raster)
