"""`occlude` on networks whose answer is no vector of scores: what it says, draws and writes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import convscope as cs

NETWORKS = """
import torch
from torch import nn


class Segments(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.head = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 3, 3, padding=1)

    def forward(self, x):
        maps = self.head(self.conv(x).relu())
        return {"out": 40 * (maps - maps.mean((2, 3), keepdim=True)), "pooled": maps.mean((2, 3))}


class Sure(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 4, 5, stride=3)

    def forward(self, x):
        scores = self.conv(x).relu().mean((2, 3))
        return 40 * scores + torch.tensor([30.0, 0.0, 0.0, 0.0])
"""
OPTIONS = ("--input", "3x24x24", "--preprocess", "unit", "--size", "6", "--stride", "6")


@pytest.fixture
def nets(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delitem(__import__("sys").modules, "nets", raising=False)
    (place / "nets.py").write_text(NETWORKS)
    (place / "names.txt").write_text("background\nroad\nsky\n")
    return place


def test_maps_of_classes_are_watched_by_name_and_never_the_background_by_default(nets, convscope):
    ask = ("occlude", "nets:Segments", "dog.jpg", *OPTIONS, "--classes", "names.txt")
    answer = convscope(*ask, "--out", "maps.npz", "--json")
    found = json.loads(answer.out)
    assert found["target_name"] in ("road", "sky") and found["quantity"] == "mean logit"
    assert "probability" not in found and found["where"].startswith("where it is predicted")
    with np.load(nets / "maps.npz") as arrays:
        assert arrays["value"].shape == (4, 4) and arrays["predicted"].shape == (24, 24)
        assert found["lowest_value"] == pytest.approx(float(arrays["value"].min()))
        assert found["value"] == pytest.approx(float(arrays["base_value"]))
        assert set(np.unique(arrays["predicted"])) == {0, 1, 2}
        assert str(arrays["quantity"]) == "mean logit" and "probability" not in arrays
    answer = convscope(*ask, "--target", "sky@3,20", "--out", "sky.png")
    assert answer.code == 0 and "sky: logit at row 3, column 20" in answer.out
    assert "maps 3x24x24: a class at each position" in answer.out
    assert "out is taken for its answer" in answer.out.replace("\n", " ")
    with Image.open(nets / "sky.png") as figure:
        assert figure.width > 1500 and json.loads(figure.text["about"])["output"] == "mul"


def test_an_output_and_a_task_are_chosen_and_said(nets, convscope):
    ask = ("occlude", "nets:Segments", "dog.jpg", *OPTIONS, "--output", "1")
    answer = convscope(*ask, "--task", "regress", "--target", "2", "--out", "v.npz", "--json")
    found = json.loads(answer.out)
    assert (found["quantity"], found["task"], found["target"]) == ("value", "regress", 2)
    assert "probability" not in found
    answer = convscope(*ask, "--out", "p.npz", "--json")
    found = json.loads(answer.out)
    assert found["quantity"] in ("probability", "log-odds") and found["probability"] < 1
    assert "task" not in found
    for options, words in (
        (("--target", "3"), "classes 0 to 2"),
        (("--target", "1@0,0"), "has no positions"),
        (("--task", "regress", "--target", "3"), "values 0 to 2"),
        (("--task", "segment"), "'segment' is not one of"),
        (("--classes", "photos/0.png"), ""),
    ):
        answer = convscope(*ask, *options, "--out", "no.png")
        assert answer.code == 2 and words in answer.err.replace("\n", " ")
    assert not (nets / "no.png").exists()


def test_a_network_that_is_sure_is_shown_in_log_odds(nets, convscope):
    ask = ("occlude", "nets:Sure", "dog.jpg", *OPTIONS)
    answer = convscope(*ask, "--out", "sure.png", "--json")
    found = json.loads(answer.out)
    assert found["probability"] == 1 and found["quantity"] == "log-odds"
    assert 20 < found["lowest_value"] < found["value"] + 1e-9 < 40
    answer = convscope(*ask, "--out", "sure.npz")
    assert answer.code == 0 and "its log-odds are drawn" in answer.out


def test_other_verbs_say_that_they_want_classes(nets, convscope):
    for options in (("--task", "regress", "--output", "pooled"), ()):
        answer = convscope(
            "invariance", "nets:Segments", "dog.jpg", *OPTIONS[:4], *options, "--out", "inv"
        )
        assert answer.code == 2 and len(answer.err.strip().splitlines()) < 12
        assert "classif" in answer.err.replace("\n", " ")


def test_from_python_a_target_is_words_or_a_function(nets):
    model = cs.open_model("nets:Segments", input="3x24x24", preprocess="unit", output="out")
    by_words = cs.occlude(model, "dog.jpg", size=6, stride=6, target="2@3,20")
    by_function = cs.occlude(
        model, "dog.jpg", size=6, stride=6, target=cs.Target(lambda maps: maps[2, 3, 20])
    )
    assert (by_words.value - by_function.value).abs().max() < 1e-5
    assert (by_words.quantity, by_function.quantity) == ("logit", "value")
