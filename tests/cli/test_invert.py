"""`convscope invert`: what layers keep, on the command line and from Python."""

from __future__ import annotations

import json

import numpy as np

import convscope as library

from .conftest import OPTIONS

MODEL = "mynet:build@mynet.safetensors"


def test_arrays_the_same_from_python_and_from_a_view(place, convscope) -> None:
    words = ("--layers", "0,3", "--steps", "4", "--data", "photos", "--seed", "5", *OPTIONS)
    answer = convscope("invert", MODEL, "dog.jpg", *words, "--out", "i.npz", "--json")
    assert answer.code == 0, answer.err
    told = json.loads(answer.out)
    model = library.open_model(MODEL, input="3x96x96", preprocess="unit")
    options = {"data": "photos", "steps": 4, "seed": 5}
    found = library.invert(model, "dog.jpg", ["0", "3"], device="cpu", **options)
    again = library.open(model, device="cpu").look("dog.jpg").invert(["0", "3"], **options)
    with np.load("i.npz") as arrays:
        for one in (found, again):
            for name, values in one.arrays().items():
                np.testing.assert_array_equal(arrays[name], values, name)
        assert arrays["picture"].shape == (2, 3, 96, 96) and arrays["rgb"].shape == (2, 96, 96, 3)
        assert arrays["image_rgb"].dtype == np.uint8 and arrays["loss"].shape == (2, 4)
        about = json.loads(str(arrays["about"]))
    assert about["layers"] == told["layers"] == found.to_dict()["layers"]
    assert told["error_is_a_share_of"].startswith("the mean distance") and told["images"] == 4


def test_every_convolution_by_default_and_a_figure(place, convscope) -> None:
    answer = convscope("invert", MODEL, "dog.jpg", *OPTIONS, "--steps", "2", "--out", "i.png")
    assert answer.code == 0 and (place / "i.png").stat().st_size > 1000
    rows = [line.split() for line in answer.out.splitlines() if " error " in line]
    assert [row[0] for row in rows if row[0].isdigit()] == ["0", "3"]
    assert "a share of the norm of the image's features" in answer.out


def test_the_methods_on_offer_are_those_of_the_library() -> None:
    from convscope.cli.invert import InversionMethodName
    from convscope.methods.inversion import InversionMethod

    assert [name.value for name in InversionMethodName] == [str(one) for one in InversionMethod]
