"""`convscope visualize`: optimised pictures on the command line and from Python."""

from __future__ import annotations

import json

import numpy as np
import pytest

import convscope as library
from convscope.methods.ascent.loop import AscentSettings

from .conftest import OPTIONS

MODEL = ("mynet:build@mynet.safetensors", *OPTIONS)
FAST = ("--steps", "4", "--size", "9", *OPTIONS)


def test_units_a_layer_and_a_class_are_written_as_arrays(place, convscope) -> None:
    answer = convscope(
        "visualize",
        MODEL[0],
        "4/3",
        "0",
        "class:2",
        *FAST,
        "--data",
        "photos",
        "--out",
        "v.npz",
        "--json",
    )
    assert answer.code == 0, answer.err
    record = json.loads(answer.out)
    arrays = np.load("v.npz")
    assert record["units"][0]["unit"] == "4/3" and len(record["units"]) == 1 + 8 + 1
    assert arrays["picture"].shape == (10, 3, 9, 9) and arrays["rgb"].shape == (10, 9, 9, 3)
    assert arrays["rgb"].dtype == np.uint8 and arrays["units"][-1] == "7/2"
    assert arrays["activation"].shape == arrays["best_image_activation"].shape == (10,)
    values = []
    for number in range(4):
        pictured = convscope(
            "project", MODEL[0], f"photos#{number}", "4/3", *OPTIONS, "--out", "p.npz"
        )
        assert pictured.code == 0
        values.append(float(np.load("p.npz")["activation"][0]))
    assert float(arrays["best_image_activation"][0]) == pytest.approx(max(values), rel=1e-4)


def test_a_figure_and_the_same_from_python(place, convscope) -> None:
    answer = convscope("visualize", MODEL[0], "4/3", *FAST, "--out", "v.png", "--json")
    [told] = json.loads(answer.out)["units"]
    assert (place / "v.png").stat().st_size > 1000
    model = library.open_model(MODEL[0], input="3x96x96", preprocess="unit")
    [found] = library.visualize(
        model, "4/3", settings=AscentSettings(steps=4, size=(9, 9)), device="cpu"
    )
    assert found.to_dict() == told and found.rgb.shape == (9, 9, 3)


def test_pictures_of_layers_that_see_different_sizes_stand_in_one_array(place, convscope) -> None:
    answer = convscope(
        "visualize", MODEL[0], "0/1", "4/3", "--steps", "2", *OPTIONS, "--out", "v.npz"
    )
    arrays = np.load("v.npz")
    (small, _), (large, _) = arrays["size"]
    assert answer.code == 0 and small == 5 < large == arrays["rgb"].shape[1]
    assert arrays["rgb"][0, 0, 0].tolist() == [128] * 3


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["4/99"], "feature maps 0 to 15"),
        (["4/3@1,2"], "without a position"),
        (["dog"], "no unit, no layer"),
        (["4/3", "--method", "maco"], "maco keeps the magnitudes"),
    ],
)
def test_what_cannot_be_is_refused_in_a_line(place, convscope, words, complaint) -> None:
    answer = convscope("visualize", MODEL[0], *words, *FAST, "--out", "v.png")
    assert answer.code == 2 and complaint in answer.err and not (place / "v.png").exists()


def test_maco_takes_the_magnitudes_of_ones_own_images(place, convscope) -> None:
    answer = convscope(
        "visualize",
        MODEL[0],
        "4/3",
        *FAST,
        "--method",
        "maco",
        "--data",
        "photos",
        "--out",
        "v.npz",
    )
    assert answer.code == 0 and np.isfinite(np.load("v.npz")["picture"]).all()
