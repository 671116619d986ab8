"""`remove-units` on the command line and as a function."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import convscope as library

from .conftest import OPTIONS

MODEL = "mynet:build@mynet.safetensors"


@pytest.fixture
def classes(place: Path) -> Path:
    """Four classes of four images each, one of which cannot be read."""
    dice = np.random.default_rng(1)
    for name in "abcd":
        (place / "set" / name).mkdir(parents=True)
        for number in range(4):
            noise = dice.integers(0, 255, (8, 10, 3), dtype=np.uint8)
            Image.fromarray(noise).resize((110, 100)).save(place / "set" / name / f"{number}.png")
    (place / "set" / "b" / "1.png").write_bytes(b"no picture")
    return place


def test_tables_a_figure_and_the_same_from_python(classes, convscope) -> None:
    ask = ("remove-units", MODEL, "set", "3", "1/2", *OPTIONS, "--draws", "39", "--to", "mean")
    answer = convscope(*ask, "--out", "removed", "--json")
    assert answer.code == 0, answer.err
    told = json.loads(answer.out)
    assert told["units"] == [*(f"4/{channel}" for channel in range(16)), "1/2"]
    assert told["images"] == 15 and told["left_out"] == 1
    assert [known["images"] for known in told["classes"]] == [4, 3, 4, 4]
    assert np.array(told["rise"]).shape == np.array(told["p"]).shape == (17, 4)
    with Image.open("removed/removal.png") as figure:
        assert min(figure.size) > 400
    stored = json.loads(Path("removed/result.json").read_text())
    assert stored["rise"] == told["rise"] and stored["about"]["model"] == MODEL
    again = convscope(*ask, "--out", "removed", "--resume")
    assert again.code == 0 and "15 images; feature maps set to their mean" in again.out
    model = library.open_model(MODEL, input="3x96x96", preprocess="unit")
    found = library.remove_units(
        model, "set", ["3", "1/2"], to="mean", draws=39, device="cpu"
    ).to_dict()
    assert {name: told[name] for name in found} == json.loads(json.dumps(found))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("set", "3/16"), "feature maps 0 to 15"),
        (("set", "3/1@2,2"), "leave its position out"),
        (("set", "nope"), "nope"),
        (("photos", "3/1"), "no image has a label"),
        (("set/a", "3/1"), "no image has a label"),
        (("set", "3/1", "--to", "max"), "--to"),
        (("set", "3/1", "--task", "regress"), "values"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(classes, convscope, words, said) -> None:
    answer = convscope("remove-units", MODEL, *words, *OPTIONS, "--out", "new")
    assert answer.code == 2 and said in answer.err
    assert not (classes / "new").exists()
