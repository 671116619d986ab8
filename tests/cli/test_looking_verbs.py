"""`invariance`, `correspond`, `sensitivity` and `sanity`, on a small network."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from convscope.experiments.sanity import measuring
from convscope.experiments.sanity.planted import Planted

from .conftest import OPTIONS, write_weights

MODEL = ("mynet:build@mynet.safetensors", *OPTIONS)


@pytest.fixture
def marks(place: Path) -> Path:
    """parts.json with two parts in each of the photographs, whose object is their upper left."""
    points = {"eye": [30, 40], "nose": [50, 60], "box": [10, 10, 70, 80]}
    (place / "parts.json").write_text(json.dumps({f"{i}.png": points for i in range(4)}))
    return place / "parts.json"


def test_invariance_leaves_curves_and_a_figure(place, convscope):
    answer = convscope(
        "invariance", MODEL[0], "photos", *OPTIONS, "--count", "2", "--steps", "2",
        "--layers", "0,3", "--out", "inv", "--json",
    )  # fmt: skip
    found = json.loads(answer.out)
    assert found["layers"] == ["1", "4"]  # their activations
    assert len(found["motions"]["rotation"]["probability"]) == 2
    assert found["motions"]["rotation"]["distance"][0][0][2] > 0
    assert found["pairs_of_different_images"] == 6
    stored = json.loads((place / "inv" / "result.json").read_text())
    assert stored["motions"] == found["motions"] and stored["about"]["model"] == MODEL[0]
    with Image.open(place / "inv" / "invariance.png") as figure:
        assert min(figure.size) > 900


def test_invariance_takes_single_pictures_too(place, convscope):
    answer = convscope(
        "invariance", *MODEL, "dog.jpg", "photos#1.png", "--steps", "2", "--out", "inv"
    )
    assert answer.code == 0 and "changes earlier than" in answer.out


def test_correspond_reads_marks_and_tells_each_part(place, convscope, marks):
    answer = convscope(
        "correspond", *MODEL, "photos", "--parts", "parts.json", "--places", "4", "--out", "co",
        "--json",
    )  # fmt: skip
    found = json.loads(answer.out)
    assert found["occluder"] == [13, 13] and len(found["images"]) == 4
    for layer in found["layers"].values():
        assert set(layer["parts"]) == {"eye", "nose"}
        assert 0 <= layer["parts"]["eye"]["delta"] <= 1
    assert (place / "co" / "correspondence.png").exists()
    answer = convscope(
        "correspond", *MODEL, "photos", "--parts", "parts.json", "--points", "nose", "--crop", "0",
        "--places", "4", "--out", "co2",
    )  # fmt: skip
    assert answer.code == 0 and "as the model takes them" in answer.out
    assert "random, the same in all" in answer.out


def test_sanity_says_what_pictures_are_worth_and_goes_on(place, convscope, marks, monkeypatch):
    def plants(*_: int) -> tuple[Planted, ...]:
        return (Planted("plants", 3, 4),)

    for name in ("detectors", "grounds", "classes"):
        monkeypatch.setattr(measuring, f"planted_{name}", plants)
    command = ("sanity", *MODEL, "photos", "--parts", "parts.json", "--count", "2", "--out", "w")
    answer = convscope(*command, "--json")
    assert answer.code == 0, answer.err
    found = json.loads(answer.out)
    assert found["images"] == 2 and [layer["layer"] for layer in found["layers"]] == ["0", "3"]
    assert {each["kind"] for each in found["pointing"]} >= {"spotlight", "occlusion of the class"}
    assert {path.name for path in (place / "w").iterdir()} == {
        "sanity.png", "study.json", "pieces", "result.json", "checksums.json",
    }  # fmt: skip
    whole = (place / "w" / "result.json").read_bytes()
    next((place / "w" / "pieces").glob("image*")).unlink()
    again = convscope(*command, "--resume")
    assert again.code == 0 and "3 of 4 plants" in again.out and "more than the centre" in again.out
    assert (place / "w" / "result.json").read_bytes() == whole


def test_sensitivity_scores_what_is_known_and_compares_two_networks(place, convscope, marks):
    write_weights(place / "other.safetensors", place / "mynet.py", seed=1)
    wide = ("--size", "32", "--stride", "24", "--count", "3", "--workers", "1")
    answer = convscope("sensitivity", *MODEL, "photos", *wide, "--out", "plain")
    assert answer.code == 0 and "nothing is scored; --parts says" in answer.out
    kept = {"study.json", "pieces", "result.json", "checksums.json"}
    assert {path.name for path in (place / "plain").iterdir()} == {"sensitivity.png", *kept}
    answer = convscope(
        "sensitivity", *MODEL, "photos", *wide, "--parts", "parts.json", "--out", "both",
        "--against", "mynet:build@mynet.safetensors", "--json",
    )  # fmt: skip
    found = json.loads(answer.out)
    assert [len(network["images"]) for network in found["networks"]] == [3, 3]
    assert found["compared"]["difference"]["mean"] == 0 and found["compared"]["p"] == 1
    assert {path.name for path in (place / "both").iterdir()} == {
        "sensitivity.png", "against.png", "scores.png", "against", *kept,
    }  # fmt: skip
    again = ("sensitivity", *MODEL, "photos", *wide, "--parts", "parts.json", "--out", "both")
    answer = convscope(*again, "--resume")
    assert answer.code == 2 and "--against again" in answer.err


def test_fewer_images_than_asked_for_are_said(place, convscope):
    wide = ("--size", "32", "--stride", "24", "--workers", "1")
    answer = convscope("sensitivity", *MODEL, "photos", *wide, "--count", "9", "--out", "few")
    assert answer.code == 0 and "4 of the 9 images asked for were found" in answer.err
    one = convscope(
        "sensitivity", *MODEL, "photos", *wide, "--count", "1", "--out", "one", "--json"
    )
    (network,) = json.loads(one.out)["networks"]
    assert network["activity_falls_with_projection"]["low"] is None


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("invariance", *MODEL, "photos", "photos", "--out", "new"), "one set"),
        (("invariance", *MODEL, "photos", "--layers", "nope", "--out", "new"), "nope"),
        (
            ("invariance", *MODEL, "photos", "--layers", ",", "--out", "new"),
            "--layers ',' names nothing",
        ),
        (("invariance", *MODEL, "photos", "--out", "photos"), "not empty"),
        (("correspond", *MODEL, "photos", "--out", "new"), "--parts FILE"),
        (("correspond", *MODEL, "photos", "--out", "photos"), "not empty"),
        (("correspond", *MODEL, "photos", "--size", "500", "--out", "new"), "--size 500"),
        (("correspond", *MODEL, "photos", "--class", "cat", "--out", "new"), "'cat'"),
        (("sensitivity", *MODEL, "photos", "--out", "dog.jpg"), "is a file"),
        (("sensitivity", *MODEL, "photos", "--parts", "no.json", "--out", "new"), "no.json"),
        (("sensitivity", *MODEL, "photos", "--against", "zfnet-small", "--out", "new"), "classes"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(arguments, words, place, convscope):
    answer = convscope(*arguments)
    assert answer.code == 2 and words in answer.err
    assert answer.err.strip().splitlines()[-1].startswith("convscope: ")
    assert not (place / "new").exists()


def test_random_weights_are_said_with_the_finding(place, convscope):
    answer = convscope("invariance", "zfnet-small", "scenes:val:3", "--count", "1", "--steps", "2",
                       "--out", "inv")  # fmt: skip
    assert "the weights are random" in answer.out and answer.code == 0
