"""The demo's front page, and the plate of feature maps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from convscope.report.demo_page import contact_figure, write_tour
from convscope.report.style import tiled

EPOCH = {"epoch": 1, "loss": 0.5, "accuracy": 0.25, "val_accuracy": 0.9683}
LAYER = {"name": "conv1", "shape": [32, 34, 34], "receptive_field": [7, 7], "stride": [2, 2]}


def facts(**changes: Any) -> dict[str, Any]:
    known: dict[str, Any] = {
        "convscope": "1.2.3",
        "model": "run:demo/zfnet",
        "weights_sha256": "ab" * 32,
        "history": [EPOCH],
        "occlusion": [],
        "scenes": 6000,
        "looked_at": 1200,
        "classes": ("dog", "cup"),
        "layers": [LAYER],
        "maps": 352,
        "input": (3, 72, 72),
        "parameters": 581068,
        "atlas": "atlas/index.html",
        "pictures": "pictures",
    }
    return {**known, **changes}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A demo's folder with its pictures, one wider than the page's column."""
    (tmp_path / "pictures").mkdir()
    for name, width in (("scenes", 2000), ("maps", 400), ("projections", 400)):
        Image.new("RGB", (width, 200)).save(tmp_path / "pictures" / f"{name}.png")
    return tmp_path


def test_pictures_are_shown_in_one_scale_and_a_broad_one_may_leave_the_column(folder: Path):
    page = write_tour(folder, facts()).read_text(encoding="utf-8")
    broad, plain = page.split('<figure class="wide')[1:3]
    assert broad.startswith(' broad">') and 'width="1160" height="116"' in broad
    assert plain.startswith('">') and 'width="232" height="116"' in plain


def test_numbers_are_said_as_a_person_would(folder: Path):
    page = write_tour(folder, facts()).read_text(encoding="utf-8")
    assert "581,068 parameters" in page and "96.8 % of 1,200 scenes" in page


def test_names_are_data_and_not_markup(folder: Path):
    page = write_tour(folder, facts(classes=('"><script>alert(1)</script>',))).read_text()
    assert "<script" not in page and "&lt;script&gt;" in page


def test_nothing_is_said_about_occlusion_where_no_scene_was_recognised(folder: Path):
    assert "rests on" not in write_tour(folder, facts()).read_text(encoding="utf-8")


def test_a_fact_that_is_missing_is_an_error_and_leaves_no_page(folder: Path):
    known = facts()
    del known["maps"]
    with pytest.raises(Exception, match="maps"):
        write_tour(folder, known)
    assert not (folder / "index.html").exists()


def test_a_contact_sheet_has_a_row_for_every_twelve_pictures():
    pictures = [Image.new("RGB", (8, 8))] * 13
    one = contact_figure(pictures[:12], ["x"] * 12).get_size_inches()
    two = contact_figure(pictures, ["x"] * 13).get_size_inches()
    assert two[0] == one[0] and two[1] > 1.8 * one[1]


def test_a_block_holds_its_tiles_in_reading_order_with_a_seam_between():
    tiles = [np.full((1, 2, 3), value, np.uint8) for value in (10, 20, 30)]
    w = 255
    expected = [
        [10, 10, w, w, w, 20, 20],
        [w, w, w, w, w, w, w],
        [w, w, w, w, w, w, w],
        [w, w, w, w, w, w, w],
        [30, 30, w, w, w, w, w],
    ]
    assert tiled(tiles, seam=3)[..., 0].tolist() == expected
