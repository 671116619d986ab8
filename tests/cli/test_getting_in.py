"""On the command line: whose weights are read, what a network is called, what to give instead."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from convscope.atlas.store import open_atlas
from convscope.report.page import atlas_page_words, project_command

from .conftest import OPTIONS

CLASS = """

class Finder(nn.Sequential):
    def __init__(self):
        super().__init__(*build())


def make():
    return Finder()
"""


@pytest.fixture
def two(place: Path) -> Path:
    """A checkpoint with the weights and their moving average."""
    with Path("mynet.py").open("a") as file:
        file.write(CLASS)
    weights = load_file("mynet.safetensors")
    average = {key: tensor * 0.5 for key, tensor in weights.items()}
    torch.save({"net": weights, "ema": average, "epoch": 3}, "two.pt")
    return place


def test_a_key_chooses_whose_weights_and_the_atlas_says_so(two: Path, convscope):
    asked = convscope("layers", "mynet:make@two.pt", *OPTIONS)
    assert asked.code == 2 and asked.err.count("\n") == 1
    assert "choose with --weights-key, such as --weights-key net" in asked.err
    model = ("mynet:make@two.pt", *OPTIONS, "--weights-key", "ema")
    said = convscope("layers", *model)
    assert said.code == 0, said.err
    assert "read from 'ema' in the file" in said.out
    answer = convscope("atlas", *model, "photos", "--top", "1", "--layers", "3", "--out", "atlas")
    assert answer.code == 0, answer.err
    manifest = open_atlas(two / "atlas").manifest
    assert manifest.model.weights_key == "ema" and manifest.model.title == "Finder"
    assert atlas_page_words(manifest)["title"] == "Finder"
    assert "--weights-key ema" in " ".join(project_command(manifest)["options"])
    figure = convscope(
        "project", "mynet:make@two.pt", "dog.jpg", "3/1", *OPTIONS, "--weights-key", "net",
        "--out", "x.npz", "--json",
    )  # fmt: skip
    assert json.loads(figure.out)["weights_key"] == "net"
    assert json.loads(figure.out)["weights_sha256"] != manifest.model.weights_sha256


def test_a_key_without_a_file_is_refused(place: Path, convscope):
    answer = convscope("layers", "mynet:build", *OPTIONS, "--weights-key", "ema")
    assert answer.code == 2 and "mynet:build has no weights file" in answer.err


def test_an_input_that_is_too_small_names_the_layer(place: Path, convscope):
    answer = convscope("layers", "mynet:build", "--input", "3x10x10", "--preprocess", "unit")
    assert answer.code == 2 and answer.err.count("\n") == 1
    assert "the map becomes empty at layer '3' (Conv2d), which gets 8x1x1" in answer.err
    assert "give a larger --input" in answer.err


def test_an_input_of_another_size_than_a_dense_layer_takes_names_it(place: Path, convscope):
    Path("dense.py").write_text(
        "from torch import nn\n"
        "net = nn.Sequential(nn.Conv2d(3, 2, 3), nn.Flatten(), nn.Linear(2 * 30 * 30, 4))\n"
    )
    answer = convscope("layers", "dense:net", "--input", "3x16x16", "--preprocess", "unit")
    assert answer.code == 2 and answer.err.count("\n") == 1
    assert "layer '2' (Linear) takes 1800 numbers, which gets 392: it was made for" in answer.err


@pytest.mark.skipif(find_spec("timm") is None, reason="timm is not installed")
@pytest.mark.filterwarnings("ignore:torchvision's compiled operators")
@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("resnet18", "did you mean torchvision:resnet18 or timm:resnet18?"),
        ("convnext_atto", "did you mean timm:convnext_atto?"),
        ("resnt18", "torchvision:resnet18 or timm:resnet18?"),
    ],
)
def test_a_librarys_network_without_its_library_is_offered_with_it(convscope, name: str, near: str):
    answer = convscope("layers", name)
    assert answer.code == 2 and near in answer.err.splitlines()[-1]
