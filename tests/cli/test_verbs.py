"""Each verb does what it says, on a small network."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from .conftest import OPTIONS

MODEL = ("mynet:build@mynet.safetensors", *OPTIONS)


def test_layers_prints_a_table_and_what_was_used(place, convscope):
    answer = convscope("layers", *MODEL)
    assert answer.code == 0 and answer.err == ""
    rows = [line.split() for line in answer.out.splitlines() if "exact" in line]
    assert ["3", "conv", "16x20x20", "17", "4", "0", "exact"] in rows
    assert "mynet:build@mynet.safetensors" in answer.out and "3×96×96" in answer.out


def test_layers_json_is_a_list_of_objects_and_nothing_else(place, convscope):
    answer = convscope("layers", *MODEL, "--json")
    rows = json.loads(answer.out)
    wanted = {"name", "kind", "shape", "receptive_field", "stride", "status"}
    assert all(wanted <= row.keys() for row in rows)
    assert rows[0]["name"] == "0" and rows[0]["receptive_field"] == [5, 5]
    assert "mynet" in answer.err


def test_random_weights_are_said(place, convscope):
    answer = convscope("layers", "zfnet-small", "--seed", "3")
    assert "random, seed 3: this network was never trained" in answer.out
    assert "random" in convscope("layers", "zfnet-small", "--json").err


def test_project_writes_arrays_that_the_library_gives_too(place, convscope):
    answer = convscope(
        "project", *MODEL[:1], "dog.jpg", "3/7", "0/2@5,6", *OPTIONS, "--out", "a/b.npz"
    )
    assert answer.code == 0
    import convscope as library

    model = library.open_model(MODEL[0], input="3x96x96", preprocess="unit")
    network = library.open_network(model.module, model.input_shape)
    with Image.open("dog.jpg") as dog:
        image = model.preprocess.tensor(dog)
    expected = library.project(network.trace(image), ["3/7", "0/2@5,6"])
    with np.load("a/b.npz") as found:
        np.testing.assert_array_equal(found["projection"], expected.projection.numpy())
        np.testing.assert_array_equal(found["activation"], expected.activation.numpy())
        np.testing.assert_array_equal(found["box"], expected.box.numpy())
        assert list(found["units"]) == [str(unit) for unit in expected.units]
        about = json.loads(str(found["about"]))
    assert about["model"] == MODEL[0] and about["weights_sha256"] == model.weights_sha256
    assert about["preprocess"]["scaling"] == "unit" and about["image"] == "dog.jpg"


def test_project_draws_a_figure_that_says_what_was_used(place, convscope):
    answer = convscope("project", MODEL[0], "photos#2", "3/1", *OPTIONS, "--out", "f.png", "--json")
    assert json.loads(answer.out)["units"][0]["unit"].startswith("3/1@")
    with Image.open("f.png") as figure:
        assert min(figure.size) > 300
        assert json.loads(figure.text["about"])["image"] == "2.png"


@pytest.mark.parametrize("rules", ["deconvnet", "gradient", "guided"])
def test_the_rules_on_offer_are_those_of_the_library(rules, place, convscope):
    from convscope.experiments.options import RulesName
    from convscope.methods.rules import RULES

    assert {name.value for name in RulesName} == set(RULES)
    answer = convscope(
        "project",
        MODEL[0],
        "dog.jpg",
        "3/1",
        *OPTIONS,
        "--rules",
        rules,
        "--out",
        "x.npz",
        "--json",
    )
    assert json.loads(answer.out)["rules"] == rules


def test_the_other_names_on_offer_are_those_of_the_library():
    from convscope.cli.occlude import SweepMethodName
    from convscope.experiments.options import FitName
    from convscope.images.fitting import Fit
    from convscope.methods.occlusion import Method

    assert [str(name) for name in FitName] == [str(fit) for fit in Fit]
    assert {name.value for name in SweepMethodName} == {method.value for method in Method}


def test_occlude_writes_the_maps(place, convscope):
    answer = convscope(
        "occlude", MODEL[0], "dog.jpg", *OPTIONS, "--size", "40", "--stride", "30", "--target", "2",
        "--out", "maps.npz", "--json",
    )  # fmt: skip
    result = json.loads(answer.out)
    with np.load("maps.npz") as found:
        assert (
            found["probability"].shape == found["label"].shape == found["activity"].shape == (4, 4)
        )
        assert found["rows"].tolist() == found["columns"].tolist() == [0, 30, 60, 90]
        assert found["target"] == 2 and str(found["unit"]) == result["unit"]
        assert result["lowest_probability"] == pytest.approx(found["probability"].min())


def test_occlude_watches_a_class_by_name(place, convscope):
    (place / "names.txt").write_text("cat\ndog, hound\ncar\nship\n")
    shared = ("occlude", MODEL[0], "dog.jpg", *OPTIONS, "--size", "48", "--stride", "48")
    answer = convscope(
        *shared, "--classes", "names.txt", "--target", "Hound", "--out", "m.png", "--json"
    )
    assert json.loads(answer.out)["target"] == 1
    with Image.open("m.png") as figure:
        assert figure.size[0] > 1000


@pytest.mark.parametrize(
    ("words", "colour"),
    [("grey", 128 / 255), ("black", 0.0), ("white", 1.0), ("51", 0.2), ("mean", 0.0)],
)
def test_a_fill_is_a_colour_in_the_network_s_own_units(words, colour, place):
    from convscope.cli.occlude import read_fill
    from convscope.experiments.options import Reading, Running
    from convscope.experiments.session import open_session

    reading = Reading(input="3x96x96", preprocess="unit")
    fill = read_fill(words, open_session(MODEL[0], reading, Running()))
    assert np.allclose(np.asarray(fill), colour, atol=1e-6)


def test_atlas_makes_a_folder_with_a_page(place, convscope):
    from convscope import open_atlas

    answer = convscope(
        "atlas", MODEL[0], "photos", *OPTIONS, "--top", "3", "--layers", "3", "--out", "at"
    )
    assert answer.code == 0 and "Open at/index.html" in answer.out
    assert (place / "at" / "index.html").exists()
    atlas = open_atlas("at")
    assert atlas.layers["3"].value.shape == (16, 3)


def test_an_atlas_names_what_it_skipped(place, convscope):
    (place / "photos" / "torn.png").write_bytes((place / "photos" / "1.png").read_bytes()[:200])
    answer = convscope(
        "atlas", MODEL[0], "photos", *OPTIONS, "--layers", "0", "--out", "at", "--json"
    )
    (skipped,) = json.loads(answer.out)["skipped"]
    assert skipped["name"] == "torn.png" and "torn.png" in answer.err


def test_a_finished_atlas_is_left_alone_unless_resumed(place, convscope):
    command = ("atlas", MODEL[0], "photos", *OPTIONS, "--layers", "0", "--out", "at")
    assert convscope(*command).code == 0
    before = (place / "at" / "tables.safetensors").read_bytes()
    refused = convscope(*command)
    assert refused.code == 2 and "at" in refused.err and refused.err.count("\n") == 1
    assert convscope(*command, "--resume").code == 0
    assert (place / "at" / "tables.safetensors").read_bytes() == before


def test_train_leaves_a_run_that_every_verb_opens(place, convscope):
    answer = convscope(
        "train", "--arch", "zfnet-small", "--data", "scenes:train:24", "--val", "scenes:val:12",
        "--epochs", "1", "--out", "run", "--workers", "1", "--json",
    )  # fmt: skip
    result = json.loads(answer.out)
    assert len(result["history"]) == 1 and result["recipe"]["epochs"] == 1
    answer = convscope(
        "occlude",
        "run:run",
        "scenes:val#3",
        "--size",
        "36",
        "--stride",
        "36",
        "--out",
        "o.npz",
        "--json",
    )
    from convscope.scenes.render import CLASSES

    assert json.loads(answer.out)["target_name"] in CLASSES


def test_train_finds_the_validation_images_beside_the_training_images(place, convscope):
    for split in ("train", "val"):
        for name in ("a", "b"):
            folder = place / "data" / split / name
            folder.mkdir(parents=True)
            (folder / "1.png").write_bytes((place / "photos" / "1.png").read_bytes())
    shared = ("--arch", "zfnet-small", "--epochs", "1", "--batch-size", "2")
    answer = convscope("train", *shared, "--data", "data", "--out", "run")
    assert answer.code == 0 and "data/val: 2" in answer.out
    answer = convscope("train", *shared, "--data", "data/train", "--out", "run2")
    assert answer.code == 2 and "--val" in answer.err and not (place / "run2").exists()
