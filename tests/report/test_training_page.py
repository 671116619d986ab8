"""The page of a training run, at any moment of it."""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from convscope.errors import BadData
from convscope.report.training_figure import exact, training_figure
from convscope.report.training_page import write_training_page
from convscope.training.checkpoint import RunStatus, read_run
from grown import EPOCHS, write_run
from report.figures_seen import words

HOSTILE = "</script><img src=x onerror=alert(1)>\"'&"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run with its page. Not to be changed: copy it."""
    return write_training_page(write_run(tmp_path_factory.mktemp("run") / "run")).parent


def rewritten(folder: Path, **changes: object) -> str:
    """The page of a run whose run.json says something else."""
    path = folder / "run.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    return write_training_page(folder).read_text(encoding="utf-8")


def test_the_page_says_what_the_run_says(finished: Path) -> None:
    page = (finished / "index.html").read_text(encoding="utf-8")
    assert "3 of 3 epochs over 8 images of 2 classes, in 3 seconds" in page
    assert (
        "Validation error 70.0 % after the last of them; the lowest, 70.0 %, after epoch 3" in page
    )
    assert "Not complete" not in page and "Diverged" not in page
    assert "<td>0.667</td><td>0.833</td><td>40.0 %</td><td>70.0 %</td>" in page  # epoch 3
    assert '<td class="code">learning_rate</td><td class="code">0.01</td><td>paper §3</td>' in page
    (png,) = re.findall(r'src="data:image/png;base64,([^"]+)"', page)
    with Image.open(io.BytesIO(base64.b64decode(png))) as curves:
        assert np.asarray(curves.convert("RGB")).std() > 5


def test_every_kept_epoch_shows_its_filters_beside_the_page(finished: Path) -> None:
    page = (finished / "index.html").read_text(encoding="utf-8")
    named = re.findall(r'<img src="([^"]+)"', page)
    kept = [f"page/filters-{epoch:04d}.webp" for epoch in EPOCHS]
    assert named[0].startswith("data:image/png") and named[1:] == kept
    for name in kept:
        with Image.open(finished / name) as sheet:
            assert sheet.size == (8 * 70 - 6, 64)  # 8 filters in a row
            assert sheet.getpixel((66, 5))[3] == 0  # between two of them the page shows
    assert "epoch 0, untrained: random weights" in page


def test_the_page_needs_nothing_from_elsewhere_and_runs_nothing(finished: Path) -> None:
    page = (finished / "index.html").read_text(encoding="utf-8")
    assert "<script" not in page and "style=" not in page
    assert "default-src 'none'" in page and not re.search(r"https?://", page)
    for name in re.findall(r'<link rel="stylesheet" href="([^"]+)"', page):
        assert (finished / name).is_file()


def test_twice_gives_the_same_bytes_and_leaves_the_run_as_it_is(finished: Path) -> None:
    before = {path: path.read_bytes() for path in finished.rglob("*") if path.is_file()}
    write_training_page(finished)
    assert {path: path.read_bytes() for path in finished.rglob("*") if path.is_file()} == before


def test_the_curves_are_those_of_the_history(finished: Path) -> None:
    loss, error, rate, filters = training_figure(read_run(finished)).axes
    assert [len(line.get_xdata()) for line in (*loss.lines, *error.lines)] == [3] * 5
    assert list(error.lines[1].get_xdata()) == [1, 2, 3]
    assert error.lines[1].get_ydata() == pytest.approx([90, 80, 70])
    assert rate.get_yscale() == "log" and loss.get_ylim()[0] == 0
    falls = rate.transData.transform([(0, value) for value in rate.lines[0].get_ydata()])[:, 1]
    assert falls[1] - falls[0] == pytest.approx(falls[2] - falls[1])  # tenfold each
    assert len(filters.patches) == 3
    assert "validation, top-5 | " in words(training_figure(read_run(finished)))


def test_a_run_that_goes_on_or_was_killed_has_a_page(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", status=RunStatus.RUNNING, last=1)
    page = write_training_page(folder).read_text(encoding="utf-8")
    assert "1 of 3 epochs" in page and "Not complete." in page and "--resume" in page
    page = rewritten(folder, history=[], checkpoints=[])
    assert "no epoch is complete yet" in page and "No epoch was kept so far" in page
    empty = words(training_figure(read_run(folder)))
    assert empty.count("nothing to show yet") == 4


def test_a_run_that_diverged_says_where(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", status=RunStatus.DIVERGED, last=2)
    page = write_training_page(folder).read_text(encoding="utf-8")
    assert "<strong>Diverged.</strong>" in page and "in epoch 3" in page
    broken = [{**vars(each), "val_loss": float("nan")} for each in read_run(folder).history]
    rewritten(folder, history=broken)
    figure = training_figure(read_run(folder))
    assert "not finite" in words(figure)
    assert np.isnan(figure.axes[0].lines[1].get_ydata()).all()


def test_a_checkpoint_that_is_gone_is_named_and_the_page_is_there(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", last=1)
    (folder / "epoch-0001.safetensors").write_bytes(b"half")
    page = write_training_page(folder).read_text(encoding="utf-8")
    assert page.count("<img") == 1 + 1 and "epoch-0001.safetensors is not a whole" in page


def test_names_are_data(finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished, tmp_path / "run")
    about = {"spec": HOSTILE, "identity": HOSTILE, "count": 1, "skipped": 1}
    page = rewritten(
        tmp_path / "run",
        classes=[HOSTILE],
        data=about,
        notes=[HOSTILE],
        versions={HOSTILE: HOSTILE},
    )
    assert page.count("<img") == 1 + len(EPOCHS) and "<script" not in page
    assert "&lt;img src=x onerror=alert(1)&gt;" in page


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadData, match=r"holds no run\.json"):
        write_training_page(tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_run_whose_filters_were_never_scaled_back_says_so(finished: Path) -> None:
    run = read_run(finished)
    flat = [replace(each, renormalised=0) for each in run.history]
    assert "0 at every epoch" in words(training_figure(replace(run, history=flat)))


@pytest.mark.parametrize(
    ("value", "said"),
    [(2.67e-7, "2.67 × 10⁻⁷"), (1e-5, "10⁻⁵"), (0.0, "0"), (12345.6, "12,346")],
)
def test_a_small_number_is_a_power_of_ten_and_a_large_one_has_no_point(value: float, said: str):
    assert exact(value) == said
