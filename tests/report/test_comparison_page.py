"""Two networks compared, as a page beside their atlases."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote

import pytest
from PIL import Image

from convscope.experiments.comparison.result import Comparison, LayerMatch
from convscope.report.comparison_page import ALONE, PAIRS, SEAM, SIDE, TILES, write_comparison_page
from report.conftest import DEAD, HOSTILE, MAPS, build

KEPT = MAPS - 10  # of which all but map 1 moved by one


def match_of(layer: str) -> LayerMatch:
    """Maps 1 to 24: map 1 kept, the others moved by one, the nearest first; 0 and 25 ff. lost."""
    partner = [None, 1, *(i + 1 for i in range(2, KEPT + 1)), *[None] * (MAPS - KEPT - 1)]
    r = [None if other is None else 0.99 - i / 100 for i, other in enumerate(partner)]
    return LayerMatch(
        layer,
        layer,
        tuple(partner),
        tuple(r),
        0.3,
        0.5,
        (MAPS, MAPS),
        ((DEAD,), (DEAD,)),
        0.7,
        None,
    )


@pytest.fixture
def found(tmp_path: Path) -> Comparison:
    places = build(tmp_path / "first one"), build(tmp_path / "second")
    layers = (match_of("conv1"), match_of("conv9"))  # the atlases lack conv9
    return Comparison(
        "a", "b", "photos", 90, "mean", layers, ((0.7, 0.1), (0.1, 0.7)), (), (), places
    )


def written(found: Comparison, folder: Path) -> str:
    page = write_comparison_page(found, folder)
    assert page == folder / "index.html"
    return page.read_text(encoding="utf-8")


def test_pairs_and_single_maps_stand_side_by_side(found: Comparison, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    page = written(found, folder)
    assert f"{2 * KEPT} of {2 * MAPS} maps have one that answers alike" in page
    assert f"1 maps kept, {KEPT - 1} moved to another number" in page
    assert f"In both: {PAIRS} of {KEPT}" in page and "CKA 0.70" in page
    rows = re.findall(r'<th scope="row">([^<]+)(?:<br><span>r ([^<]+))?', page)
    assert rows[:2] == [("1", "0.98"), ("2 → 3", "0.97")]
    lost = [n for n in range(MAPS) if n not in range(1, KEPT + 1) and n != DEAD]
    assert [name for name, _ in rows[PAIRS : PAIRS + ALONE]] == [str(n) for n in lost[:ALONE]]
    conv1 = page[: page.index("<h2>conv9")]
    assert conv1.count("<img") == 2 * PAIRS + ALONE + min(ALONE, len(found.layers[0].new))
    assert page.count("<img") == conv1.count("<img")


def test_pictures_and_links_lead_to_what_is_there(found: Comparison, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    page = written(found, folder)
    for file in re.findall(r'<img src="([^"]+)"', page):
        with Image.open(folder / file) as strip:
            assert strip.size == (TILES * (SIDE + SEAM) - SEAM, SIDE)
    links = re.findall(r'<td><a href="([^"#]+)#/([^/"]+)/(\d+)"', page)
    assert {(folder / unquote(place)).resolve().parent.name for place, *_ in links} == {
        "first one",
        "second",
    }
    assert {layer for _, layer, _ in links} == {"conv1"}
    assert (folder / "page" / "comparison.css").exists()


def test_the_same_comparison_gives_the_same_page(found: Comparison, tmp_path: Path) -> None:
    one, other = (tmp_path / name / "out" for name in ("x", "y"))
    assert written(found, one) == written(found, other)


def test_names_cannot_speak_to_the_page(found: Comparison, tmp_path: Path) -> None:
    hostile = replace(
        found, model=HOSTILE, data=HOSTILE, layers=(replace(found.layers[0], layer=HOSTILE),)
    )
    page = written(hostile, tmp_path / "out")
    assert "<img src=x" not in page and "<script" not in page and "&lt;img" in page


def test_without_atlases_there_is_no_page(found: Comparison, tmp_path: Path) -> None:
    assert write_comparison_page(replace(found, atlases=None), tmp_path / "out") is None
    assert not (tmp_path / "out").exists()
    assert "atlases" not in found.to_dict()
