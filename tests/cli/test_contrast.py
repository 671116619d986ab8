"""`occlude --contrast` on the command line and as a function."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from PIL import Image

import convscope as library
from convscope.methods.contrastive import contrastive_occlusion
from convscope.methods.occluder import Occluder

from .conftest import OPTIONS

ASK = ("occlude", "mynet:build@mynet.safetensors", "dog.jpg", *OPTIONS)


def test_maps_figure_and_numbers_are_those_of_the_function(place, convscope) -> None:
    box = ("--size", "5", "--stride", "4", "--fill", "mean")
    answer = convscope(*ASK, "--unit", "4/3", "--contrast", *box, "--out", "own.npz", "--json")
    told = json.loads(answer.out)
    model = library.open_model(ASK[1], input="3x96x96", preprocess="unit")
    image = model.preprocess.tensor(Image.open("dog.jpg"))
    found = contrastive_occlusion(model.network(), image, "4/3", Occluder(5, 4), fill=0.0)
    with np.load("own.npz") as arrays:
        for name, values in found.arrays().items():
            assert np.array_equal(arrays[name], values), name
    assert {key: told[key] for key in found.to_dict()} == found.to_dict()
    again = library.contrast(model, "dog.jpg", "4/3", size=5, stride=4, fill="mean", device="cpu")
    assert again.to_dict() == found.to_dict()
    answer = convscope(*ASK, "--unit", "4/3", "--contrast", *box, "--out", "own.png")
    assert answer.code == 0 and "its own most of all" in answer.out
    said = re.search(r"the unit (lose|gain)s (\d+)%, its neighbours (lose|gain) (\d+)%", answer.out)
    assert said is not None
    signed = [int(said[i + 1]) * (1 if said[i] == "lose" else -1) for i in (1, 3)]
    i, j = found.strongest
    assert signed == [
        round(100 * float(drop[i, j])) for drop in (found.drop, found.neighbours_drop)
    ]
    with Image.open("own.png") as figure:
        assert min(figure.size) > 500


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((), "--contrast: give --unit"),
        (("--unit", "4/3", "--target", "1"), "--target"),
        (("--unit", "4/3", "--method", "full"), "--method"),
        (("--unit", "4/3", "--precision", "bfloat16"), "--precision"),
        (("--unit", "4/3", "--size", "50"), "a box of 50 pixels"),
        (("--unit", "4/99"), "feature maps 0 to 15"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(place, convscope, options, words) -> None:
    answer = convscope(*ASK, *options, "--contrast", "--out", "own.png")
    assert answer.code == 2 and words in answer.err
    assert answer.err.strip().splitlines()[-1].startswith("convscope: ")
    assert not (place / "own.png").exists()
