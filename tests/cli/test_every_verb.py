"""Every verb on networks of one number and of narrow numbers: none ends in a traceback.

The numbers themselves are tested in tests/methods/.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from PIL import Image

from convscope.experiments.registry import STUDIES
from convscope.images.fitting import Fit
from convscope.images.preprocess import Preprocess
from convscope.images.scaling import Scaling
from convscope.models.weights import write_weights

FACTORIES = """
import torch
from torch import nn


class Binary(nn.Module):
    def __init__(self, end=None, outputs=1):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.relu, self.pool = nn.Conv2d(3, 4, 5, 2), nn.ReLU(), nn.MaxPool2d(2)
        self.fc, self.end = nn.Linear(144, outputs), end

    def forward(self, x):
        logit = self.fc(self.pool(self.relu(self.conv(x))).flatten(1))
        return logit if self.end is None else self.end(logit)


class Squeeze(nn.Module):
    def forward(self, x):
        return x.squeeze(1)


def one_logit():
    return Binary()


def one_number():
    return Binary(Squeeze())


def one_sigmoid():
    return Binary(nn.Sigmoid())


def narrow():
    return Binary(outputs=2).bfloat16()
"""
MODELS = ("one_logit", "one_number", "one_sigmoid")
FED = ("--input", "3x28x28", "--preprocess", "unit")
FEW = ("--per-class", "2", "--folds", "2")
VERBS = {
    "project": ("two/cat/0.png", "conv/0", "--out", "out.png"),
    "project, npz": ("two/cat/0.png", "conv/0", "--rules", "guided", "--out", "out.npz"),
    "occlude": ("two/cat/0.png", "--target", "1", "--out", "out.png"),
    "occlude, npz": ("two/cat/0.png", "--precision", "bfloat16", "--out", "out.npz"),
    "atlas": ("two", "--top", "2", "--out", "out"),
    "diagnose": ("--data", "two", "--out", "out"),
    "sensitivity": ("two", "--count", "2", "--out", "out"),
    "invariance": ("two", "--count", "2", "--out", "out"),
    "correspond": ("scenes:val", "--count", "2", "--places", "2", "--out", "out"),
    "transfer": ("two", *FEW, "--out", "out"),
    "transfer, its number": ("two", *FEW, "--layer", "TOP", "--out", "out"),
    "probe": ("two", *FEW, "--out", "out"),
}


@pytest.fixture(scope="module")
def binary(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModuleType]:
    """The factories' module, one for all tests: a class is exported once (tests/exports.py)."""
    folder = tmp_path_factory.mktemp("factories")
    (folder / "binary.py").write_text(FACTORIES)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        patch.delitem(sys.modules, "binary", raising=False)
        module = import_module("binary")
    yield module
    sys.modules.pop("binary", None)


@pytest.fixture
def desk(binary: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with binary.py and two/, a folder of images for each of two classes."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setitem(sys.modules, "binary", binary)
    Path("binary.py").write_text(FACTORIES)
    dice = np.random.default_rng(0)
    for name in ("cat", "dog"):
        Path("two", name).mkdir(parents=True)
        for number in range(4):
            noise = dice.integers(0, 255, (7, 7, 3), dtype=np.uint8)
            Image.fromarray(noise).resize((28, 28)).save(f"two/{name}/{number}.png")
    return tmp_path


@pytest.mark.parametrize("model", [*MODELS, "narrow"])
@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_answers(desk, convscope, model, verb) -> None:
    top = "fc" if model in ("one_logit", "narrow") else "end"
    options = [top if option == "TOP" else option for option in VERBS[verb]]
    said = convscope(verb.partition(",")[0], f"binary:{model}", *options, *FED)
    assert said.code == 0, said.err
    assert "Traceback" not in said.err
    assert next(Path().glob("out*")).exists()


def test_networks_that_do_not_say_how_they_are_fed_are_averaged(desk, convscope) -> None:
    models = ("binary:one_logit", "binary:one_sigmoid")
    said = convscope("ensemble", *models, "--data", "two", "--out", "out")
    assert said.code == 2 and "give --input" in said.err
    said = convscope("ensemble", *models, "--data", "two", *FED, "--out", "out")
    assert said.code == 0, said.err
    assert set(json.loads(Path("out/result.json").read_text())["about"]["networks"]) == set(models)


def test_a_verb_that_takes_a_model_takes_how_it_is_fed() -> None:
    for study in STUDIES:
        takes = [str(each) for each in study.__annotations__.values()]
        if any("MODEL" in each or each == "ModelArgument" for each in takes):
            assert "Reading" in takes, study.verb


@pytest.mark.parametrize("model", MODELS)
def test_what_cannot_be_looked_at_is_refused_in_one_line(desk, convscope, model) -> None:
    for target in ("2", "cat"):
        options = ("--target", target, "--out", "o.png", *FED)
        said = convscope("occlude", f"binary:{model}", "two/cat/0.png", *options)
        assert said.code == 2
        assert said.err.splitlines()[-1].startswith("convscope: --target")
    said = convscope("layers", f"binary:{model}", *FED)
    assert said.code == 0 and " 1 " in said.out.splitlines()[-1]
    top = "fc" if model == "one_logit" else "end"
    tried = [
        ("project", "two/cat/0.png", f"{top}/1", "--out", "o.png"),
        ("project", "two/cat/0.png", f"{top}/0", "--out", "o.png"),
        ("occlude", "two/cat/0.png", "--layer", top, "--out", "o.png"),
        ("atlas", "two", "--layers", top, "--out", "o"),
        ("invariance", "two", "--layers", top, "--count", "2", "--out", "i"),
    ]
    for verb, *options in tried:
        said = convscope(verb, f"binary:{model}", *options, *FED)
        assert said.code in (0, 2), (verb, options, said.err)
        assert said.code == 0 or said.err.splitlines()[-1].startswith("convscope: ")


def test_a_narrow_network_s_study_goes_on(desk, convscope) -> None:
    command = ("sensitivity", "binary:narrow", "two", "--count", "2", "--out", "out", *FED)
    assert convscope(*command).code == 0
    whole = {file.name: file.read_bytes() for file in Path("out").glob("*.json")}
    assert convscope(*command, "--resume").code == 0
    assert whole == {file.name: file.read_bytes() for file in Path("out").glob("*.json")}


def test_the_two_classes_are_named(desk, convscope) -> None:
    """0 and 1 by two names; by one name, class 1, and the other is what is not."""
    chances = {}
    for number, names in enumerate((("dog", "cat"), ("cat",))):
        Path(f"{number}.txt").write_text("\n".join(names))
        for target in ("cat", "dog" if number == 0 else "not cat"):
            said = convscope(
                "occlude", "binary:one_logit", "two/cat/0.png", "--target", target, "--json",
                "--classes", f"{number}.txt", "--out", f"{number}.png", *FED,
            )  # fmt: skip
            assert said.code == 0, said.err
            found = json.loads(said.out)
            assert found["target_name"] == target
            assert found["target"] == (1 if target == "cat" else 0)
            chances[number, found["target"]] = found["probability"]
    assert chances[0, 0] + chances[0, 1] == pytest.approx(1)
    assert chances[0, 1] == chances[1, 1]
    Path("three.txt").write_text("a\nb\nc")
    said = convscope(
        "occlude", "binary:one_logit", "two/cat/0.png", "--classes", "three.txt",
        "--out", "o.png", *FED,
    )  # fmt: skip
    assert said.code == 2
    assert "3 class names" in said.err and "tells 2 classes" in said.err


def test_two_binary_networks_are_compared_and_averaged(desk, convscope) -> None:
    said = convscope(
        "sensitivity", "binary:one_logit", "two", "--against", "binary:one_number",
        "--count", "1", "--out", "pair", *FED,
    )  # fmt: skip
    assert said.code == 0, said.err
    unit = Preprocess((3, 28, 28), Scaling.UNIT, Fit.STRETCH)
    specs = []
    for model in ("one_logit", "one_number"):
        module = getattr(__import__("binary"), model)()
        if model == "one_number":
            torch.nn.init.zeros_(module.fc.weight)
        path = f"{model}.safetensors"
        write_weights(path, module.state_dict(), {"preprocess": json.dumps(unit.to_dict())})
        specs.append(f"binary:{model}@{path}")
    said = convscope("ensemble", *specs, "--data", "two", "--crops", "1", "--out", "ens", "--json")
    assert said.code == 0, said.err
    found = json.loads(said.out)["scorings"][0]
    assert set(found["singles"]) == set(specs)
    assert found["singles"][specs[1]]["error"] == 0.5  # one answer for all


def test_a_network_is_not_trained_on_one_class(desk, convscope) -> None:
    lines = ["file,label", *(f"{number}.png,cat" for number in range(4))]
    Path("two/cat/index.csv").write_text("\n".join(lines))
    data = ("--data", "index:two/cat", "--val", "index:two/cat")
    said = convscope("train", "--arch", "zfnet-small", *data, "--out", "run")
    assert said.code == 2
    assert "all of one class" in said.err
    assert not Path("run").exists()
