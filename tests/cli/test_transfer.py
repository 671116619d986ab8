"""`convscope transfer` and `convscope probe`, from words to files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from .conftest import OPTIONS

MODEL = "mynet:build@mynet.safetensors"


@pytest.fixture
def sorted_photos(place: Path) -> Path:
    """place/sorted: two classes that differ in colour, 12 images each."""
    dice = np.random.default_rng(1)
    for number in range(24):
        name = ("blue", "red")[number % 2]
        (place / "sorted" / name).mkdir(parents=True, exist_ok=True)
        noise = dice.integers(0, 60, (8, 10, 3), dtype=np.uint8)
        noise[..., 0 if name == "red" else 2] += 190
        Image.fromarray(noise).resize((100, 96)).save(place / "sorted" / name / f"{number}.png")
    return place


def test_transfer_writes_a_curve_and_tells_it(sorted_photos: Path, convscope) -> None:
    arguments = ("transfer", MODEL, "sorted", *OPTIONS, "--per-class", "2,6", "--folds", "2")
    answer = convscope(*arguments, "--classifier", "both", "--out", "t", "--against", "photos")
    assert answer.code == 0, answer.err
    assert "images per class" in answer.out
    assert "0 near-duplicates of photos" in answer.out
    result = json.loads((sorted_photos / "t" / "result.json").read_text())
    assert [p["per_class"] for p in result["points"]] == [2, 6, 2, 6]
    assert result["points"][1]["mean"] == 1.0
    assert (sorted_photos / "t" / "transfer.png").read_bytes()[:4] == b"\x89PNG"
    again = convscope(*arguments, "--classifier", "both", "--out", "t")
    assert again.code == 2 and "--resume" in again.err


def test_probe_writes_a_depth_curve_and_json(sorted_photos: Path, convscope) -> None:
    answer = convscope(
        *("probe", MODEL, "sorted", *OPTIONS, "--per-class", "5", "--folds", "2"),
        *("--solver", "torch", "--out", "p", "--json"),
    )
    assert answer.code == 0, answer.err
    result = json.loads(answer.out)
    assert [layer["name"] for layer in result["layers"]] == ["1", "4"]
    assert set(result["points"]) == {"softmax", "svm"}
    assert (sorted_photos / "p" / "probe.png").exists()


def test_images_with_several_classes_are_scored_by_average_precision(
    place: Path, convscope
) -> None:
    answer = convscope(
        *("transfer", MODEL, "scenes:multi:30", *OPTIONS, "--folds", "2", "--out", "m")
    )
    assert answer.code == 0, answer.err
    assert "mean average precision" in answer.out
    assert (place / "m" / "transfer.png").exists()


@pytest.mark.parametrize("verb", ["transfer", "probe"])
def test_near_duplicates_are_searched_for_in_images_with_several_classes(
    verb: str, place: Path, convscope
) -> None:
    answer = convscope(
        *(verb, MODEL, "scenes:multi:30", *OPTIONS, "--against", "scenes:multi:30"),
        *("--folds", "2", "--out", "m", "--json"),
    )
    assert answer.code == 0, answer.err
    found = json.loads(answer.out)
    assert len(found["duplicates"]) == 30 and not found["dropped"]


def test_probe_reports_near_duplicates_and_leaves_them_out(sorted_photos: Path, convscope) -> None:
    (sorted_photos / "learned").mkdir()
    twin = sorted_photos / "sorted" / "red" / "1.png"
    (sorted_photos / "learned" / "twin.png").write_bytes(twin.read_bytes())
    answer = convscope(
        *("probe", MODEL, "sorted", *OPTIONS, "--per-class", "5", "--folds", "1", "--out", "p"),
        *("--against", "learned", "--drop-duplicates", "--classifier", "softmax"),
    )
    assert answer.code == 0, answer.err
    assert "1 near-duplicates of learned, left out of the tests\n  red/1.png is twin.png" in (
        answer.out
    )
    assert json.loads((sorted_photos / "p" / "result.json").read_text())["test_images"] == 13


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("transfer", "--per-class", "3"), "--per-class: for images of one class each"),
        (("transfer", "--classifier", "svm", "--test-per-class", "5"),
         "--classifier and --test-per-class: for"),
        (("transfer", "--scratch", "zfnet-small"), "--scratch: for"),
        (("probe", "--per-class", "3"), "--per-class: for"),
        (("probe", "--classifier", "svm"), "--classifier: for"),
        (("probe", "--folds", "1"), "2 parts or more"),
        (("transfer", "--test", "scenes:multi:20", "--folds", "3"), "--folds: images with several"),
        (("probe", "--drop", "disc"), "several classes"),
        (("probe", "--drop-duplicates"), "--against"),
    ],
)  # fmt: skip
def test_options_for_one_class_an_image_are_refused_for_several(
    arguments: tuple[str, ...], words: str, place: Path, convscope
) -> None:
    verb, *others = arguments
    answer = convscope(verb, MODEL, "scenes:multi:20", *OPTIONS, *others, "--out", "bad")
    assert answer.code == 2
    assert words in answer.err and len(answer.err.strip().splitlines()) == 1
    assert not Path("bad").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--per-class", "few"), "--per-class"),
        (("--per-class", "50"), "--drop"),
        (("--layer", "nine"), "no layer"),
        (("--pooling", "median"), "grid2"),
        (("--drop", "green"), "green"),
        (("--drop-duplicates",), "--against"),
        (("--scratch", "zfnett"), "zfnet"),
        (("--scratch-epochs", "5"), "--scratch what"),
        (("--scratch", "zfnet-small", "--scratch-recipe", "larg"), "no recipe"),
    ],
)
def test_bad_input_is_one_line(
    arguments: tuple[str, ...], words: str, sorted_photos: Path, convscope
) -> None:
    answer = convscope("transfer", MODEL, "sorted", *OPTIONS, *arguments, "--out", "bad")
    assert answer.code == 2
    assert words in answer.err and len(answer.err.strip().splitlines()) == 1


def test_a_network_from_scratch_learns_from_the_same_images(sorted_photos: Path, convscope) -> None:
    answer = convscope(
        *("transfer", MODEL, "sorted", *OPTIONS, "--per-class", "6", "--folds", "1"),
        *("--scratch", "zfnet-small", "--scratch-epochs", "15", "--out", "t", "--json"),
    )
    assert answer.code == 0, answer.err
    assert "zfnet-small: 15 epochs, batches of 16" in answer.err
    found = json.loads(answer.out)
    assert [point["classifier"] for point in found["points"]] == ["softmax", "scratch"]
    assert found["points"][1]["mean"] == 1.0
    learned = found["scratch"]["recipe"]
    assert learned["flips"] and learned["crops"]  # photographs, as `train` would have it


def test_a_recipe_from_scratch_may_be_given(sorted_photos: Path, convscope) -> None:
    Path("mine.yaml").write_text("batch_size: 5\nepochs: 2\ndropout: 0.2\nschedule: plateau\n")
    answer = convscope(
        *("transfer", MODEL, "sorted", *OPTIONS, "--per-class", "6", "--folds", "1"),
        *("--scratch", "zfnet-small", "--scratch-recipe", "mine.yaml", "--out", "t", "--json"),
    )
    assert answer.code == 0, answer.err
    learned = json.loads(answer.out)["scratch"]["recipe"]
    assert (learned["batch_size"], learned["epochs"], learned["dropout"]) == (5, 2, 0.2)
    assert learned["schedule"] == "cosine"


@pytest.mark.parametrize("verb", ["transfer", "probe"])
def test_an_interrupted_study_says_how_to_go_on(verb, sorted_photos, convscope, monkeypatch):
    def interrupt(*_: object, **__: object) -> None:
        Path("study").mkdir(exist_ok=True)
        raise KeyboardInterrupt

    module = {"transfer": "learning_curve.transfer", "probe": "layers.probe"}[verb]
    monkeypatch.setattr(f"convscope.experiments.transfer.{module}", interrupt)
    answer = convscope(verb, MODEL, "sorted", *OPTIONS, "--out", "study")
    assert answer.code == 130, answer.err
    assert "what was done so far is kept in study: go on with --resume" in answer.err
