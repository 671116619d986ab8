"""A small user: a folder with a network, its weights, photographs, and things gone wrong."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from convscope.cli import main

NETWORK = """
from torch import nn


def build() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 5, stride=2),
        nn.ReLU(),
        nn.MaxPool2d(3, 2),
        nn.Conv2d(8, 16, 3),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(16, 4),
    )
"""
OPTIONS = ("--input", "3x96x96", "--preprocess", "unit")


def write_weights(path: Path, factory: Path, *, seed: int = 0) -> None:
    """Weights of the network in `factory`, drawn from a seed."""
    names: dict[str, object] = {}
    exec(factory.read_text(), names)
    torch.manual_seed(seed)
    save_file(names["build"]().state_dict(), path)  # type: ignore[operator]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with mynet.py, mynet.safetensors, photos/ and dog.jpg."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))  # the folder is put on it, for mynet
    monkeypatch.delitem(sys.modules, "mynet", raising=False)
    (tmp_path / "mynet.py").write_text(NETWORK)
    write_weights(tmp_path / "mynet.safetensors", tmp_path / "mynet.py")
    (tmp_path / "photos").mkdir()
    dice = np.random.default_rng(0)
    for number in range(4):
        noise = dice.integers(0, 255, (8, 10, 3), dtype=np.uint8)
        photo = Image.fromarray(noise).resize((130, 110), Image.Resampling.BICUBIC)
        photo.save(tmp_path / "photos" / f"{number}.png")
    photo.save(tmp_path / "dog.jpg")
    return tmp_path


class Spoken:
    """What a command answered."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err


@pytest.fixture
def convscope(capsys: pytest.CaptureFixture[str]):
    """Runs a command line in this process: `convscope("layers", "zfnet")`."""

    def run(*arguments: str) -> Spoken:
        code = main(arguments)
        return Spoken(code, *capsys.readouterr())

    return run
