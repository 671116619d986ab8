"""A tiny network, tiny pictures, and what they are put into."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from convscope.atlas.build import build_atlas
from convscope.images.datasets import open_images
from convscope.images.preprocess import Preprocess
from convscope.models.zoo import Model

SIDE = 24


def tiny_module(seed: int = 0) -> nn.Sequential:
    """Three convolutions on 24 x 24 pictures: fields of 3, 9 and 19 pixels."""
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, 2, ceil_mode=True),
        nn.Conv2d(4, 6, 3, padding=1, bias=False),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 5, 3, padding=1),
        nn.Flatten(),
        nn.Linear(5 * 6 * 6, 3),
    ).eval()


def tiny_model(module: nn.Module | None = None, scaling: str = "imagenet") -> Model:
    return Model(
        module=module or tiny_module(),
        preprocess=Preprocess((3, SIDE, SIDE), scaling, "none"),
        spec="tiny",
        weights_sha256=None,
        random_weights=True,
        classes=("a", "b", "c"),
    )


def write_pictures(folder: Path, count: int, seed: int = 0) -> Path:
    """Pictures of smooth blobs in two class folders, lossless."""
    random = np.random.default_rng(seed)
    for number in range(count):
        coarse = random.integers(0, 256, (6, 6, 3), dtype=np.uint8)
        picture = Image.fromarray(coarse).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
        path = folder / ("cat" if number % 2 else "dog") / f"{number:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture.save(path)
    return folder


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 22 pictures of 24 x 24 pixels."""
    return write_pictures(tmp_path_factory.mktemp("pictures"), 22)


@pytest.fixture(scope="session")
def tiny() -> SimpleNamespace:
    """`module(seed)` and `model(module, scaling)`, made anew at each call."""
    return SimpleNamespace(module=tiny_module, model=tiny_model)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, pictures: Path, tiny: SimpleNamespace):
    """The folder of an atlas of two layers, which no test changes."""
    folder = tmp_path_factory.mktemp("finished") / "atlas"
    build_atlas(tiny.model(), open_images(pictures), folder, layers=["0", "3"], top=3)
    return folder
