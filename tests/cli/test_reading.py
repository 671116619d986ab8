"""What a verb says of the network that it reads, and the names that a user gives."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from convscope.atlas.manifest import ModelRecord
from convscope.atlas.store import open_atlas
from convscope.report.page import project_command

from .conftest import OPTIONS

HEADS = """
import torch
from torch import nn


class Heads(nn.Module):
    def __init__(self):
        super().__init__()
        self.add_module("conv1/7x7_s2", nn.Conv2d(3, 8, 7, 2))
        self.pool = nn.MaxPool2d(3, 2)
        self.gender, self.age = nn.Linear(8, 2), nn.Linear(8, 7)

    def forward(self, x):
        x = self.pool(torch.relu(self.get_submodule("conv1/7x7_s2")(x))).mean((2, 3))
        return {"gender": self.gender(x), "age": self.age(x)}
"""
MODEL = ("heads:Heads", *OPTIONS)


@pytest.fixture
def heads(place: Path) -> Path:
    (place / "heads.py").write_text(HEADS)
    return place


def test_several_outputs_are_said_and_another_is_chosen(heads, convscope):
    said = convscope("layers", *MODEL)
    assert said.code == 0
    assert "it returns 2 outputs, gender (gender), age (age): gender is taken" in said.out
    assert "--output" in said.out
    answer = convscope(
        "occlude", *MODEL, "dog.jpg", "--output", "age", "--target", "6", "--out", "o.png", "--json"
    )
    assert answer.code == 0, answer.err
    assert json.loads(answer.out)["output"] == "age"
    assert "age is taken for its answer" in answer.err
    wrong = convscope("layers", *MODEL, "--output", "colour")
    assert wrong.code == 2 and wrong.err.count("\n") == 1 and "gender, age" in wrong.err


def test_an_atlas_records_the_output_that_was_chosen_and_its_page_asks_for_it(heads, convscope):
    for asked, chosen in (((), "gender"), (("--output", "1"), "age")):
        answer = convscope("atlas", *MODEL, "photos", "--top", "1", *asked, "--out", chosen)
        assert answer.code == 0, answer.err
        manifest = open_atlas(heads / chosen).manifest
        assert manifest.model.output == chosen
        options = project_command(manifest)["options"]
        assert ["--output", chosen] in [options[i : i + 2] for i in range(len(options))]
        assert f">{chosen}</dd>" in (heads / chosen / "index.html").read_text()
    other = convscope("atlas", *MODEL, "photos", "--top", "1", "--out", "age", "--resume")
    assert other.code == 2 and "output is 'age' there, 'gender' now" in other.err


def test_an_atlas_of_a_network_with_one_output_says_nothing_of_it(heads, convscope):
    record = {"spec": "m", "weights_sha256": None, "random_weights": True, "parameters": 1}
    older = ModelRecord.model_validate({**record, "classes": None})
    assert older.output is None
    assert json.loads(older.model_dump_json()) == {**record, "classes": None}
    assert ModelRecord.model_validate_json(older.model_dump_json()) == older


def test_a_unit_of_a_layer_with_a_slash_is_projected(heads, convscope):
    answer = convscope(
        "project", *MODEL, "dog.jpg", "conv1/7x7_s2/3@4,5", "--out", "p.npz", "--json"
    )
    assert answer.code == 0, answer.err
    assert json.loads(answer.out)["units"][0]["unit"] == "conv1/7x7_s2/3@4,5"
    answer = convscope("occlude", *MODEL, "dog.jpg", "--layer", "conv1/7x7_s2", "--out", "o.png")
    assert answer.code == 0, answer.err


VERBS = {
    "layers": (),
    "project": ("dog.jpg", "0/1", "--out", "p.png"),
    "atlas": ("photos", "--out", "out"),
    "occlude": ("dog.jpg", "--out", "out.png"),
    "diagnose": ("--out", "out"),
    "invariance": ("photos", "--out", "out"),
    "sensitivity": ("photos", "--out", "out"),
    "correspond": ("photos", "--parts", "parts.json", "--out", "out"),
    "transfer": ("photos", "--out", "out"),
    "probe": ("photos", "--out", "out"),
}


@pytest.mark.parametrize("names", [3, 5])
@pytest.mark.parametrize("verb", VERBS)
def test_too_few_or_too_many_class_names_are_refused_in_one_line(
    verb: str, names: int, place, convscope
):
    (place / "names.txt").write_text("\n".join(f"class {i}" for i in range(names)))
    (place / "parts.json").write_text("{}")
    answer = convscope(verb, "mynet:build", *OPTIONS, "--classes", "names.txt", *VERBS[verb])
    assert answer.code == 2
    assert answer.err.count("\n") == 1
    assert f"{names} class names" in answer.err and "output '7' tells 4 classes" in answer.err
    assert not (place / "out").exists()


def test_one_score_may_have_the_names_of_both_classes(place, convscope):
    (place / "one.py").write_text(
        "from torch import nn\n"
        "def build(): return nn.Sequential(nn.Conv2d(3, 1, 5), nn.AdaptiveAvgPool2d(1),"
        " nn.Flatten())\n"
    )
    (place / "names.txt").write_text("no\nyes\n")
    answer = convscope("layers", "one:build", *OPTIONS, "--classes", "names.txt")
    assert answer.code == 0, answer.err


def test_where_pictures_do_not_depend_on_the_image_is_said(heads, convscope):
    conv = "conv1/7x7_s2"
    said = "are the same for every image, but for their strength"
    answer = convscope("layers", *MODEL)
    assert f"those of {conv}, relu {said}" in answer.out
    assert "rectifies the signal at relu; follows the switches of max_pool" in answer.out
    answer = convscope("project", *MODEL, "dog.jpg", f"{conv}/3", "gender/1", "--out", "p.png")
    assert answer.code == 0 and f"those of {conv} {said}" in answer.out
    answer = convscope("project", *MODEL, "dog.jpg", "gender/1", "--out", "p.png")
    assert answer.code == 0 and said not in answer.out
    answer = convscope(
        "project", *MODEL, "dog.jpg", f"{conv}/3", "--rules", "guided", "--out", "p.png"
    )
    assert answer.code == 0
    answer = convscope("atlas", *MODEL, "photos", "--out", "atlas")
    assert answer.code == 0 and f"those of relu {said}" in answer.out
    page = (heads / "atlas" / "index.html").read_text()
    assert "Projections of all layers here do not depend on the image at all" in page
    assert '"image_dependent": false' in (heads / "atlas" / "manifest.json").read_text()
    answer = convscope("atlas", *MODEL, "photos", "--rules", "gradient", "--out", "other")
    assert answer.code == 0 and said not in answer.out
