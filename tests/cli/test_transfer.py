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
        *("--scratch", "zfnet-small", "--scratch-epochs", "2", "--out", "t", "--json"),
    )
    assert answer.code == 0, answer.err
    points = json.loads(answer.out)["points"]
    assert [point["classifier"] for point in points] == ["softmax", "scratch"]
    assert 0 <= points[1]["mean"] <= 1


@pytest.mark.parametrize("verb", ["transfer", "probe"])
def test_an_interrupted_study_says_how_to_go_on(verb, sorted_photos, convscope, monkeypatch):
    def interrupt(*_: object, **__: object) -> None:
        Path("study").mkdir()
        raise KeyboardInterrupt

    module = {"transfer": "study.transfer", "probe": "layers.probe"}[verb]
    monkeypatch.setattr(f"convscope.experiments.transfer.{module}", interrupt)
    answer = convscope(verb, MODEL, "sorted", *OPTIONS, "--out", "study")
    assert answer.code == 130
    assert "what was done so far is kept in study: go on with --resume" in answer.err
