"""`convscope ablate` and `convscope ensemble`, from words to files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

DATA = ("--data", "scenes:train:32", "--val", "scenes:val:20", "--device", "cpu")
TINY = ("--arch", "alexnet-small", *DATA, "--epochs", "1", "--workers", "1")


def is_png(path: Path) -> bool:
    with Image.open(path) as picture:
        return picture.format == "PNG"


def test_an_ablation_and_an_ensemble_of_what_it_trained(place: Path, convscope):
    (place / "rows.txt").write_text("no middle: -3 -4\n")
    arguments = ("ablate", *TINY, "--variants", "rows.txt", "--variant", "thin: 6,7=8")
    answer = convscope(*arguments, "--seeds", "2", "--out", "a")
    assert answer.code == 0, answer.err
    assert "no middle" in answer.out and "AlexNet 41.8" in answer.out and "thin" in answer.out
    result = json.loads((place / "a" / "result.json").read_text())
    assert [row["name"] for row in result["rows"]] == ["none", "no middle", "thin"]
    assert all(len(row["trainings"]) == 2 for row in result["rows"])
    assert is_png(place / "a" / "ablation.png")
    again = convscope(*arguments, "--seeds", "2", "--out", "a")
    assert again.code == 2 and "--resume" in again.err
    resumed = convscope(*arguments, "--seeds", "2", "--out", "a", "--resume", "--json")
    assert json.loads(resumed.out)["rows"] == result["rows"]

    runs = sorted(str(path) for path in Path("a/runs").iterdir())
    assert len(runs) == 6 and "a/runs/alexnet-small_seed=0" in runs
    ask = ("ensemble", *runs[:3], "--data", "scenes:val:20", "--device", "cpu", "--workers", "1")
    answer = convscope(*ask, "--out", "e")
    assert answer.code == 0, answer.err
    assert "average of 3" in answer.out
    found = json.loads((place / "e" / "result.json").read_text())
    assert len(found["scorings"]) == 1 and found["images"] == 20
    assert found["paper"]["ZFNet, 1 net"] == [38.4, 16.5, None]
    assert is_png(place / "e" / "ensemble.png")
    assert convscope(*ask, "--out", "e").code == 2
    ten = convscope(*ask, "--out", "t", "--crops", "10")
    assert ten.code == 2 and "whole pictures" in ten.err


def test_random_networks_say_so(place: Path, convscope):
    answer = convscope(
        "ensemble", "mynet:build@mynet.safetensors", "zfnet-small", "--data", "scenes:val:8",
        "--out", "r", "--device", "cpu",
    )  # fmt: skip
    assert answer.code == 2 and len(answer.err.strip().splitlines()) == 1  # mynet: how is it fed?
    answer = convscope(
        "ensemble", "zfnet-small", "alexnet-small", "--data", "scenes:val:8", "--workers", "1",
        "--out", "r", "--device", "cpu", "--json",
    )  # fmt: skip
    assert answer.code == 0, answer.err
    assert "zfnet-small has random weights" in answer.err
    assert json.loads(answer.out)["random_weights"] == ["zfnet-small", "alexnet-small"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--variant", "x: -2"), "layer 2"),
        (("--variant", "x: maybe"), "'maybe' is no change"),
        (("--variants", "nothing.txt"), "nothing.txt"),
        (("--arch", "zfnett"), "zfnet"),
        (("--variant", "x: 3=96"), "the same network"),
    ],
)
def test_bad_input_is_one_line(arguments: tuple[str, ...], words: str, place: Path, convscope):
    answer = convscope("ablate", *TINY, *arguments, "--out", "bad")
    assert answer.code == 2
    assert words in answer.err and len(answer.err.strip().splitlines()) == 1
    assert not (place / "bad").exists()
