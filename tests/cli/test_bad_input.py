"""Bad input: exit code 2, one line that names culprit and remedy, and nothing left behind."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import warm

from .conftest import OPTIONS

MODEL = "mynet:build@mynet.safetensors"
PROJECT = ("project", MODEL, "dog.jpg")
OUT = (*OPTIONS, "--out", "x.npz")
PLAIN = ("--out", "x.npz")
ATLAS = (*OPTIONS, "--out", "new/atlas")


@pytest.fixture
def broken(place: Path) -> Path:
    """The working folder, with what a user may get wrong lying in it."""
    (place / "torn.jpg").write_bytes((place / "dog.jpg").read_bytes()[:300])
    (place / "letter.jpg").write_text("Dear Sir or Madam")
    (place / "empty").mkdir()
    (place / "used").mkdir()
    (place / "used" / "thesis.txt").write_text("mine")
    (place / "names.txt").write_text("cat\ndog\ncar\nship\n")
    weights = load_file("mynet.safetensors")
    save_file({**weights, "3.weight": torch.zeros(16, 8, 1, 1)}, "other.safetensors")
    save_file({**weights, "3.bias": torch.full((16,), torch.nan)}, "nan.safetensors")
    whole = (place / "mynet.safetensors").read_bytes()
    (place / "cut.safetensors").write_bytes(whole[: len(whole) // 2])
    (place / "explodes.py").write_text("def build():\n    raise RuntimeError('no such backbone')\n")
    return place


def files(place: Path) -> set[str]:
    return {
        path.relative_to(place).as_posix()
        for path in place.rglob("*")
        if "__pycache__" not in path.parts
    }


CASES = {
    # models
    "a model's name with a slip": (("layers", "zfnett"), ["zfnett", "zfnet"]),
    "no such model at all": (("layers", "transformer-xl"), ["transformer-xl", "MODEL"]),
    "a run that is not there": (("layers", "run:nowhere"), ["nowhere"]),
    "a module that is not there": (("layers", "yournet:build", *OPTIONS), ["yournet"]),
    "a function that is not there": (("layers", "mynet:biuld", *OPTIONS), ["biuld", "build"]),
    "a factory that fails": (("layers", "explodes:build", *OPTIONS), ["no such backbone"]),
    # weights
    "weights that are not there": (("layers", "mynet:build@no.pt", *OPTIONS), ["no.pt"]),
    "weights of another network": (
        ("layers", "mynet:build@other.safetensors", *OPTIONS),
        ["other.safetensors", "3.weight", "16x8x3x3"],
    ),
    "weights with NaN": (
        ("layers", "mynet:build@nan.safetensors", *OPTIONS),
        ["nan.safetensors", "NaN", "3.bias"],
    ),
    "weights cut short": (("layers", "mynet:build@cut.safetensors", *OPTIONS), ["cut.safetensors"]),
    "no weights after the @": (("layers", "mynet:build@", *OPTIONS), ["@"]),
    # how it is fed
    "nobody says how it is fed": (("layers", MODEL), ["--input", "--preprocess"]),
    "an input without channels": (("layers", MODEL, "--input", "96x96"), ["96x96", "3x224x224"]),
    "an input that is too small": (
        ("layers", MODEL, "--input", "3x4x4", "--preprocess", "unit"),
        ["3x4x4", "input"],
    ),
    "an unknown preprocessing": (
        ("layers", MODEL, "--input", "3x96x96", "--preprocess", "magic"),
        ["magic", "imagenet"],
    ),
    "an image of another size, not to be fitted": (
        (*PROJECT, "3/1", *OUT, "--fit", "none"),
        ["dog.jpg", "130×110", "96×96", "crop"],
    ),
    "a file of class names that is not there": (
        ("layers", MODEL, *OPTIONS, "--classes", "no.txt"),
        ["no.txt"],
    ),
    # units
    "a layer with a slip": ((*PROJECT, "33/1", *OUT), ["33", "did you mean 3"]),
    "a feature map beyond the last": ((*PROJECT, "3/99", *OUT), ["3/99", "0 to 15"]),
    "a position beyond the grid": ((*PROJECT, "3/1@40,2", *OUT), ["3/1@40,2", "rows 0 to 19"]),
    "a unit without a channel": ((*PROJECT, "3", *OUT), ["'3'", "layer/channel"]),
    # images
    "an image that is not there": (("project", MODEL, "cat.jpg", "3/1", *OUT), ["cat.jpg"]),
    "an image that is torn": (("project", MODEL, "torn.jpg", "3/1", *OUT), ["torn.jpg", "corrupt"]),
    "an image that is a letter": (("occlude", MODEL, "letter.jpg", *OUT), ["letter.jpg", "JPEG"]),
    "an image that is a folder": (("occlude", MODEL, "photos", *OUT), ["photos", "folder"]),
    "an image that its set does not have": (
        ("occlude", MODEL, "photos#9.png", *OUT),
        ["9.png", "photos", "0 to 3"],
    ),
    "a number beyond the set": (("occlude", MODEL, "photos#4", *OUT), ["'4'", "0 to 3"]),
    # data sets
    "a data set that is not there": (("atlas", MODEL, "fotos", *ATLAS), ["fotos"]),
    "an empty folder": (("atlas", MODEL, "empty", *ATLAS), ["empty", "no images"]),
    "a split that scenes do not have": (
        ("atlas", MODEL, "scenes:dev", *ATLAS),
        ["dev", "train", "val"],
    ),
    # where results go
    "an ending that is no figure": (
        (*PROJECT, "3/1", *OPTIONS, "--out", "x.gif"),
        ["x.gif", ".png", ".npz"],
    ),
    "no file of saliency's": (
        ("saliency", MODEL, "dog.jpg", *OPTIONS, "--out", "map.jpg"),
        [".png", ".npz"],
    ),
    "a layer without maps": (
        ("saliency", MODEL, "dog.jpg", *OUT, "--method", "grad-cam", "--layer", "7"),
        ["7 is 4", "no maps"],
    ),
    "no noise": (
        ("saliency", MODEL, "dog.jpg", *OUT, "--method", "smooth", "--noise", "0"),
        ["noise 0"],
    ),
    "no such class of saliency's": (
        ("saliency", MODEL, "dog.jpg", *OUT, "--target", "9"),
        ["classes 0 to 3"],
    ),
    "no file of curvature's": (
        ("curvature", MODEL, "3/1", *OPTIONS, "--out", "map.jpg"),
        [".png", ".npz"],
    ),
    "a position of an optimised picture": (
        ("curvature", MODEL, "3/1@2,2", *OUT),
        ["3/1@2,2", "--image"],
    ),
    "a feature map that does not bend": (("curvature", MODEL, "3/99", *OUT), ["3/99", "0 to 15"]),
    "no step": (("curvature", MODEL, "3/1", *OUT, "--step", "0"), ["step 0"]),
    "too few samples": (
        ("curvature", MODEL, "3/1", *OUT, "--steps", "1", "--samples", "40"),
        ["40 samples", "196 or more"],
    ),
    "no file of invert's": (
        ("invert", MODEL, "dog.jpg", *OPTIONS, "--out", "map.jpg"),
        [".png", ".npz"],
    ),
    "no layer to invert": (
        ("invert", MODEL, "dog.jpg", *OUT, "--layers", "33"),
        ["33", "did you mean 3"],
    ),
    "a weight that is none": (
        ("invert", MODEL, "dog.jpg", *OUT, "--variation", "inf"),
        ["variation inf", "0 or more"],
    ),
    "no distance between one image": (
        ("invert", MODEL, "dog.jpg", *OUT, "--layers", "3", "--data", "photos:1"),
        ["photos:1", "two"],
    ),
    "no ending": (("occlude", MODEL, "dog.jpg", *OPTIONS, "--out", "maps"), [".png", ".npz"]),
    "a folder in place of a file": (
        (*PROJECT, "3/1", *OPTIONS, "--out", "folder.png"),
        ["folder.png", "folder"],
    ),
    "a file in place of a folder": (
        (*PROJECT, "3/1", *OPTIONS, "--out", "dog.jpg/x.png"),
        ["dog.jpg", "file"],
    ),
    "an atlas into a folder in use": (
        ("atlas", MODEL, "photos", *OPTIONS, "--out", "used"),
        ["used", "thesis.txt", "empty"],
    ),
    "an atlas into a file": (("atlas", MODEL, "photos", *OPTIONS, "--out", "dog.jpg"), ["dog.jpg"]),
    "a demo into a folder in use": (("demo", "--out", "used"), ["used", "--out"]),
    "a run into a folder in use": (
        ("train", "--arch", "zfnet-small", "--data", "scenes:train:12", "--out", "used"),
        ["used", "folder"],
    ),
    # choices
    "an atlas of a layer that is not there": (
        ("atlas", MODEL, "photos", *ATLAS, "--layers", "0,conv9"),
        ["conv9"],
    ),
    "names of units that are none": (
        ("atlas", MODEL, "photos", *ATLAS, "--names", "names.txt"),
        ["names.txt", "units"],
    ),
    "a diagnosis that is none": (
        ("atlas", MODEL, "photos", *ATLAS, "--diagnosis", "used"),
        ["used", "convscope diagnose"],
    ),
    "names that are not there": (
        ("atlas", MODEL, "photos", *ATLAS, "--names", "nowhere.json"),
        ["nowhere.json"],
    ),
    "an atlas of no layer": (("atlas", MODEL, "photos", *ATLAS, "--layers", ","), ["--layers"]),
    "a class without a name": (
        ("occlude", MODEL, "dog.jpg", *OUT, "--target", "dog"),
        ["dog", "--classes"],
    ),
    "a class with a slip": (
        ("occlude", MODEL, "dog.jpg", *OUT, "--classes", "names.txt", "--target", "shpi"),
        ["shpi", "ship"],
    ),
    "a class that is like none": (
        ("occlude", MODEL, "dog.jpg", *OUT, "--classes", "names.txt", "--target", "xyzzy"),
        ["xyzzy", "a name, such as cat, dog, car", "0 to 3"],
    ),
    "a class beyond the last": (
        ("occlude", MODEL, "dog.jpg", *OUT, "--target", "4"),
        ["4", "0 to 3"],
    ),
    "a layer and a unit": (
        ("occlude", MODEL, "dog.jpg", *OUT, "--layer", "3", "--unit", "3/1"),
        ["--layer", "--unit"],
    ),
    "a colour that is none": (
        ("occlude", MODEL, "dog.jpg", *OUT, "--fill", "mauve"),
        ["mauve", "grey"],
    ),
    "a level beyond white": (("occlude", MODEL, "dog.jpg", *OUT, "--fill", "0,0,256"), ["0..255"]),
    "an architecture with a slip": (
        ("train", "--arch", "zfnet-smal", "--data", "scenes", "--out", "run"),
        ["zfnet-smal", "zfnet-small"],
    ),
    "images without labels to learn from": (
        ("train", "--arch", "zfnet-small", "--data", "photos", "--val", "photos", "--out", "run"),
        ["photos", "label"],
    ),
    "a learning rate below zero": (
        (
            *("train", "--arch", "zfnet-small", "--data", "scenes:train:12"),
            *("--learning-rate", "-1", "--out", "run"),
        ),
        ["learning_rate", "above 0"],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_it_is_refused_in_one_line_and_nothing_is_left(case, broken, convscope):
    arguments, words = CASES[case]
    (broken / "folder.png").mkdir()
    before = files(broken)
    answer = convscope(*arguments)
    assert answer.code == 2, answer.err
    assert answer.err.startswith("convscope: ") and answer.err.count("\n") == 1
    for word in words:
        assert word in answer.err
    assert files(broken) == before


@pytest.mark.skipif(find_spec("torchvision") is None, reason="torchvision is not installed")
@pytest.mark.filterwarnings("ignore:torchvision's compiled operators")
def test_a_network_that_torchvision_does_not_have_is_refused_with_the_nearest(broken, convscope):
    answer = convscope("layers", "torchvision:resnet19")
    assert answer.code == 2
    assert "resnet19" in answer.err.splitlines()[-1] and "resnet18" in answer.err.splitlines()[-1]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_gpu_that_is_not_there_is_refused_before_anything_is_opened(broken, convscope):
    answer = convscope("layers", "nonsense", "--device", "cuda")
    assert answer.code == 2 and "--device cpu" in answer.err


def test_an_older_result_survives_a_failure(broken, convscope):
    (broken / "x.npz").write_bytes(b"older")
    assert convscope("project", MODEL, "torn.jpg", "3/1", *OUT).code == 2
    assert (broken / "x.npz").read_bytes() == b"older"


def test_a_folder_that_nothing_could_be_read_from_leaves_no_atlas(broken, convscope):
    (broken / "torn").mkdir()
    (broken / "torn.jpg").rename(broken / "torn" / "torn.jpg")
    before = files(broken)
    answer = convscope("atlas", MODEL, "torn", *OPTIONS, "--out", "new")
    assert answer.code == 2 and "torn.jpg" in answer.err.splitlines()[-1]
    assert files(broken) == before


@pytest.mark.slow
@pytest.mark.parametrize("case", ["a model's name with a slip", "weights with NaN"])
def test_the_same_holds_for_a_real_process(case, broken):
    arguments, words = CASES[case]
    answer = warm.run("-m", "convscope", *arguments)
    assert answer.returncode == 2
    assert answer.stderr.count("\n") == 1 and all(word in answer.stderr for word in words)
