"""`convscope evolve`, over a run that was written by hand, and the page that `train` leaves."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from grown import EPOCHS, SETTLED, write_pictures, write_run


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """A run and its images."""
    place = tmp_path_factory.mktemp("grown")
    return str(write_run(place / "run")), str(write_pictures(place / "pictures"))


def test_evolve_leaves_a_page_a_figure_and_the_numbers(grown, convscope, tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = ("evolve", *grown, "--out", str(out), "--layers", "conv1,conv2", "--maps", "3")
    answer = convscope(*arguments)
    assert answer.code == 0 and f"Open {out}/index.html" in answer.out
    assert "not the set it was trained on" in answer.out and "random weights" in answer.out
    rows = [line.split() for line in answer.out.splitlines() if line.startswith("conv")]
    assert rows[0][:4] == ["conv1", "8", "1", "2"] and rows[1][3] == "3"  # dead, and the medians
    result = json.loads((out / "result.json").read_text())
    assert result["epochs"] == list(EPOCHS)
    convergence = result["layers"][0]["convergence"]["projection"]
    assert dict(zip(result["layers"][0]["measured"], convergence["epochs"], strict=True)) == SETTLED
    with Image.open(out / "evolution.png") as figure:
        assert min(figure.size) > 800
        assert json.loads(figure.text["about"])["recipe"]["epochs"] == 3
    again = convscope(*arguments)
    assert again.code == 2 and "not empty" in again.err
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    assert convscope(*arguments, "--resume").code == 0
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


def test_evolve_json_is_the_result_and_nothing_else(grown, convscope, tmp_path: Path) -> None:
    answer = convscope(
        "evolve", f"run:{grown[0]}", grown[1], "--out", str(tmp_path / "o"), "--layers", "conv1",
        "--epochs", "0,3", "--measured", "2", "--maps", "1", "--json",
    )  # fmt: skip
    result = json.loads(answer.out)
    assert result["epochs"] == [0, 3] and len(result["layers"][0]["maps"]) == 1
    assert result["lower_layers_first"]["projection"]["rho"] is None  # of one layer
    assert Path(result["page"]).is_file()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--epochs", "0,x"), "whole numbers"),
        (("--epochs", "0,9"), "kept 0, 1, 2, 3"),
        (("--layers", ","), "names nothing"),
        (("--layers", "conv7"), "no layer 'conv7'"),
        (("--threshold", "2"), "threshold"),
    ],
)
def test_what_cannot_be_done_is_one_line(grown, convscope, tmp_path: Path, options, words) -> None:
    answer = convscope("evolve", *grown, "--out", str(tmp_path / "out"), *options)
    assert answer.code == 2 and words in answer.err.splitlines()[-1]
    assert not (tmp_path / "out").exists()


def test_a_folder_without_a_run_is_refused(convscope, tmp_path: Path) -> None:
    answer = convscope("evolve", str(tmp_path), "scenes:val:3", "--out", str(tmp_path / "out"))
    assert answer.code == 2 and "convscope train" in answer.err


def test_a_training_leaves_its_page(convscope, tmp_path: Path) -> None:
    run = tmp_path / "run"
    answer = convscope(
        "train", "--arch", "zfnet-small", "--data", "scenes:train:24", "--val", "scenes:val:12",
        "--epochs", "1", "--out", str(run), "--workers", "1",
    )  # fmt: skip
    assert answer.code == 0 and f"Open {run}/index.html" in answer.out
    assert "1 of 1 epochs over 24 images" in (run / "index.html").read_text(encoding="utf-8")


def test_a_training_that_diverges_leaves_its_page_too(convscope, tmp_path: Path) -> None:
    run = tmp_path / "run"
    answer = convscope(
        "train", "--arch", "zfnet-small", "--data", "scenes:train:96", "--val", "scenes:val:12",
        "--epochs", "3", "--learning-rate", "1e12", "--set", "radius=none", "--out", str(run),
        "--workers", "1", "--batch-size", "8",
    )  # fmt: skip
    assert answer.code == 1 and "loss is" in answer.err
    assert "<strong>Diverged.</strong>" in (run / "index.html").read_text(encoding="utf-8")
