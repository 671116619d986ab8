"""`convscope check`: the trust strip on the command line and as a function."""

from __future__ import annotations

import json

import pytest

import convscope as library
from convscope.methods.checks import CheckSettings

from .conftest import OPTIONS

MODEL = ("mynet:build@mynet.safetensors", *OPTIONS)
NUMBERS = {"unit", "activation", "place", "place_low", "place_high", "disc", "specific"}


def test_units_of_one_image_and_the_same_from_python(place, convscope) -> None:
    units = ("4/1", "1/3@5,6")
    answer = convscope("check", MODEL[0], "dog.jpg", *units, *OPTIONS, "--json", "--shifts", "4")
    record = json.loads(answer.out)
    assert answer.code == 0 and record["rules"] == "deconvnet"
    first, second = record["units"]
    assert NUMBERS | {"own_weights"} <= first.keys()
    assert first["unit"].startswith("4/1@") and second["unit"] == "1/3@5,6"
    assert first["image"] == "dog.jpg" and first["sentence"].endswith(".")
    model = library.open_model(MODEL[0], input="3x96x96", preprocess="unit")
    settings = CheckSettings(shifts=4)
    again = library.check(model, "dog.jpg", units, settings=settings, device="cpu")
    assert [one.to_dict() for one in again] == record["units"]


def test_of_a_set_each_unit_is_seen_in_its_strongest_image(place, convscope) -> None:
    answer = convscope(
        "check", *MODEL[:1], "photos", "4/1", *OPTIONS, "--rules", "gradient", "--json"
    )
    [unit] = json.loads(answer.out)["units"]
    strengths = {}
    for name in ("0.png", "1.png", "2.png", "3.png"):
        alone = convscope("check", MODEL[0], f"photos/{name}", "4/1", *OPTIONS, "--json")
        strengths[name] = json.loads(alone.out)["units"][0]["activation"]
    best = max(strengths, key=strengths.get)
    assert unit["image"] == best and unit["activation"] == pytest.approx(strengths[best])


def test_a_person_reads_numbers_and_a_sentence(place, convscope) -> None:
    answer = convscope("check", *MODEL[:1], "dog.jpg", "4/1", *OPTIONS)
    assert "place" in answer.out and "other units of the position" in answer.out


def test_a_position_belongs_to_one_image(place, convscope) -> None:
    answer = convscope("check", *MODEL[:1], "photos", "4/1@2,3", *OPTIONS)
    assert answer.code == 2 and "a position belongs to one image" in answer.err
