"""Folders that were begun when crop was the default go on with it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from torch import nn

from convscope.experiments.begun import as_begun
from convscope.experiments.options import Reading
from convscope.experiments.session import Session
from convscope.experiments.study import Context
from convscope.images.fitting import Fit
from convscope.images.preprocess import Preprocess
from convscope.models.zoo import Model

CROP = {"shape": [3, 8, 8], "scaling": "unit", "fit": "crop"}
RECORDS = {
    "study.json": {"study": "invariance", "preprocess": CROP},
    "manifest.json": {"preprocess": {"text": "…", "settings": CROP}},
    "work/plan.json": {"preprocess": {"text": "…", "settings": CROP}},
}


def model(fit: Fit = Fit.AUTO) -> Model:
    preprocess = Preprocess((3, 8, 8), fit=fit)
    return Model(nn.Identity(), preprocess, "mine:build", None, False, None)


def begun(folder: Path, name: str, record: object) -> Path:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(json.dumps(record))
    return folder


@pytest.mark.parametrize("name", RECORDS)
def test_what_was_begun_with_crop_goes_on_with_crop_and_says_so(tmp_path: Path, name: str) -> None:
    found = as_begun(model(), begun(tmp_path, name, RECORDS[name]), None)
    assert found.preprocess == Preprocess((3, 8, 8), fit=Fit.CROP)
    assert found.notes == (f"fit crop, as {tmp_path} was begun",)


@pytest.mark.parametrize("fit", ["auto", "stretch"])
def test_else_the_default_stays(tmp_path: Path, fit: str) -> None:
    record = {"preprocess": CROP | {"fit": fit}}
    assert as_begun(model(), begun(tmp_path, "study.json", record), None).preprocess.fit is Fit.AUTO
    assert as_begun(model(), tmp_path / "new", None).preprocess.fit is Fit.AUTO


def test_what_the_user_or_the_weights_say_counts(tmp_path: Path) -> None:
    folder = begun(tmp_path, "study.json", RECORDS["study.json"])
    assert as_begun(model(), folder, "auto").preprocess.fit is Fit.AUTO
    assert as_begun(model(Fit.STRETCH), folder, None).preprocess.fit is Fit.STRETCH


def test_a_record_that_is_none_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "study.json").write_text("[1, ")
    assert as_begun(model(), tmp_path, None).preprocess.fit is Fit.AUTO


def test_what_was_left_out_of_a_set_is_said_by_every_verb(tmp_path: Path) -> None:
    (tmp_path / "clip.mp4").write_bytes(b"x")
    (tmp_path / "a.png").write_bytes(b"x")
    told: list[str] = []
    Context(warn=told.append).images(str(tmp_path), size=8)
    opened = Session(model(), None, None, 0)  # type: ignore[arg-type]
    Context(opened={"m": opened}, warn=told.append).session("m", Reading()).images(str(tmp_path))
    assert len(told) == 2
    assert all(line.startswith("left out clip.mp4: is a video") for line in told)
