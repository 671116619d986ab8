"""`convscope curvature`: how units bend, on the command line and from Python."""

from __future__ import annotations

import json

import numpy as np

import convscope as library
from convscope.methods.ascent.loop import AscentSettings

from .conftest import OPTIONS

MODEL = "mynet:build@mynet.safetensors"
FAST = ("--samples", "200", "--directions", "2", "--steps", "3", "--seed", "4", *OPTIONS)


def test_arrays_of_units_of_several_sizes_and_the_same_from_python(place, convscope) -> None:
    words = ("curvature", MODEL, "0/3", "3/7", *FAST, "--out", "c.npz", "--json")
    answer = convscope(*words)
    assert answer.code == 0, answer.err
    told = json.loads(answer.out)
    first = (place / "c.npz").read_bytes()
    assert convscope(*words).code == 0 and (place / "c.npz").read_bytes() == first
    model = library.open_model(MODEL, input="3x96x96", preprocess="unit")
    found = library.curvature(
        model, ["0/3", "3/7"], device="cpu", samples=200, directions=2, seed=4,
        ascent=AscentSettings(steps=3, seed=4),
    )  # fmt: skip
    assert told["units"] == json.loads(json.dumps([one.to_dict() for one in found]))
    with np.load("c.npz") as arrays:
        assert list(arrays["units"]) == ["0/3", "3/7"]
        assert arrays["size"].tolist() == [[5, 5], [17, 17]]
        assert arrays["strip"].shape == (2, 4, 7, 17, 17, 3) and arrays["walk"].shape == (2, 7)
        assert arrays["most"].tolist() == [[True, True, False, False]] * 2
        for number, one in enumerate(found):
            height, width = arrays["size"][number]
            np.testing.assert_array_equal(
                arrays["strip"][number, :, :, :height, :width], one.strips
            )
            kept = [each.curvature for each in one.found.directions]
            np.testing.assert_array_equal(arrays["curvature"][number], kept)
            assert one.found.activation == arrays["activation"][number]
        assert np.isnan(arrays["picture"][0, :, 5:]).all()
        assert json.loads(str(arrays["about"]))["units"] == told["units"]


def test_a_figure_of_what_a_unit_sees_of_an_image(place, convscope) -> None:
    answer = convscope("curvature", MODEL, "3/7", *FAST, "--image", "dog.jpg", "--out", "c.png")
    assert answer.code == 0 and (place / "c.png").stat().st_size > 1000
    assert "3/7@" in answer.out and "in dog.jpg" in answer.out and "halves agree" in answer.out
