"""Two atlases side by side on the page: what is written, and what a browser makes of it."""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from convscope.atlas.compared import Compared, ComparedLayer, write_compared
from convscope.atlas.store import Atlas, open_atlas
from convscope.report.page import write_page
from report.conftest import DEAD, HOSTILE, MAPS, TOP, build
from report_browser import CHROMIUM, browse

needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")


def match() -> ComparedLayer:
    """Map 1 is kept, 2 is the other's 3, 4 its 5 below the level; all others have none."""
    partner: list[int | None] = [None] * MAPS
    r: list[float | None] = [None] * MAPS
    for own, its, value in ((1, 1, 0.8), (2, 3, 0.9), (4, 5, 0.4)):
        partner[own], r[own] = its, value
    return ComparedLayer(
        layer="conv2",
        number=0,
        level=0.5,
        partner=tuple(partner),
        correlation=tuple(r),
        maps=MAPS,
        cka=0.75,
    )


def give(atlas: Atlas, other: str | None) -> None:
    """Take a comparison of conv1 with the other network's conv2 into an atlas."""
    weights = atlas.manifest.model.weights_sha256
    found = Compared(
        weights_sha256=weights,
        other=HOSTILE,
        data="photos",
        layers={"conv1": match()},
        atlas=other,
    )
    write_compared(atlas, (found, found))


@pytest.fixture(scope="module")
def beside(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An atlas that was given a comparison with another one. Not to be changed: copy it."""
    place = tmp_path_factory.mktemp("beside")
    folder = build(place / "atlas")
    build(place / "other")
    give(open_atlas(folder), "../other")
    return write_page(folder).parent


def handed(folder: Path, place: str) -> Any:
    text = (folder / f"{place}.js").read_text()
    named, table = json.loads("[" + text.removeprefix("convscope.receive(")[:-3] + "]")
    assert named == place
    return table


def test_the_other_networks_maps_lie_beside_the_own_ones(beside: Path) -> None:
    other = open_atlas(beside.parent / "other")
    table = handed(beside, "data/compared/slug0")
    assert table["partner"][:3] == [None, 1, 3] and table["correlation"][2] == 0.9
    assert (table["activation"], table["maps"], table["dead"]) == ("conv2.relu", MAPS, [DEAD])
    unit = handed(beside, "data/compared/slug0/3")
    values = other.layers["conv2"].value[3].tolist()
    assert [rank[0] for rank in unit["ranks"]] == pytest.approx(values, rel=1e-4)
    assert [rank[5] for rank in unit["ranks"]] == [one.name for one in other.images[:TOP]]


def test_its_pictures_are_the_other_atlass(beside: Path) -> None:
    other = open_atlas(beside.parent / "other")
    side = other.record("conv2").tile
    sheet = base64.b64decode(handed(beside, "data/compared/slug0/33")["sheet"])
    pixels = np.asarray(Image.open(io.BytesIO(sheet)).convert("RGB"))
    expected = np.asarray(other.patch("conv2", 33, 4))
    assert pixels.shape == (3 * side, 3 * side, 3)
    assert (pixels[side : 2 * side, side : 2 * side] == expected).all()
    with Image.open(beside / "sheets" / "slug0" / "compared-000.webp") as best:
        cell = np.asarray(best.convert("RGB"))[side : 2 * side, 2 * side : 3 * side]
    assert (cell == np.asarray(other.patch("conv2", 12, 0))).all()


def test_without_the_other_atlas_the_numbers_are_told_and_old_pictures_go(
    beside: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(beside, tmp_path / "alone"))  # the other atlas lies elsewhere
    write_page(folder)
    assert handed(folder, "data/compared/slug0")["coarse"] is None
    assert (
        not list(folder.glob("sheets/*/compared-*"))
        and not (folder / "data/compared/slug0/3.js").exists()
    )
    (folder / "comparison.json").unlink()
    index = write_page(folder)
    assert not (folder / "data/compared").exists() and "#/compare" not in index.read_text()


def test_an_atlas_of_another_layer_gives_no_pictures(tmp_path: Path) -> None:
    folder = build(tmp_path / "atlas")
    build(tmp_path / "other", names=("conv1", "conv9"))
    give(open_atlas(folder), "../other")
    write_page(folder)
    table = handed(folder, "data/compared/slug0")
    assert (table["activation"], table["coarse"]) == ("conv2", None)


@needs_browser
def test_matched_maps_stand_side_by_side(beside: Path, tmp_path: Path) -> None:
    dom = browse(beside / "index.html", "#/compare", tmp_path)
    assert 'data-view="compare"' in dom
    found = re.findall(r'class="cell pair" href="([^"]*)".*?<b>([^<]*)</b> <i>([^<]*)</i>', dom)
    assert found[:3] == [
        ("#/compare/conv1/2", "2 → 3", "r 0.90"),
        ("#/compare/conv1/1", "1", "r 0.80"),
        ("#/compare/conv1/0", "0", ""),
    ]
    assert [own for href, own, _ in found[2:MAPS]] == [
        str(n) for n in range(MAPS) if n not in (1, 2)
    ]
    its = [own for href, own, _ in found[MAPS:]]
    assert its == [str(n) for n in range(MAPS) if n not in (1, 3, DEAD)]
    assert found[-1][0] == "../other/index.html#/conv2/32"
    assert "compared-000.webp" in dom and "CKA 0.75" in dom


@needs_browser
def test_a_pair_shows_both_with_the_images_that_they_share(beside: Path, tmp_path: Path) -> None:
    dom = browse(beside / "index.html", "#/compare/conv1/2", tmp_path)
    assert 'id="compare-title" tabindex="-1">conv1.relu/2 → 3<' in dom
    assert f"{TOP} of the {TOP} images are among the strongest of both" in dom
    assert len(re.findall(r'data-image="', dom)) == 2 * TOP
    assert "<img src=x" not in dom  # the other network's name is text
    dom = browse(beside / "index.html", "#/conv1/2", tmp_path / "again")
    assert 'href="#/compare/conv1/2">side by side</a>' in dom


@needs_browser
@pytest.mark.parametrize("place", ["#/compare/conv2", "#/compare/conv1/99", "#/compare/conv1/x"])
def test_what_was_not_compared_is_said_to_be_missing(
    beside: Path, tmp_path: Path, place: str
) -> None:
    assert 'data-view="lost"' in browse(beside / "index.html", place, tmp_path)


@needs_browser
def test_a_pair_leads_to_the_pairs_beside_it_in_the_layers_order(
    beside: Path, tmp_path: Path
) -> None:
    def ways(place: str, profile: str) -> tuple[str | None, str, str | None]:
        dom = browse(beside / "index.html", place, tmp_path / profile, width=390)
        links = re.findall(r'<a[^>]*id="compare-(?:previous|next)"[^>]*>', dom)
        before, after = (re.findall('href="([^"]*)"', link) or [None] for link in links)
        told = re.search(r'id="compare-place">([^<]*)<', dom)
        assert told
        return before[0], told[1], after[0]

    last = f"#/compare/conv1/{MAPS - 1}"
    assert ways("#/compare/conv1/2", "first") == (None, f"1 of {MAPS}", "#/compare/conv1/1")
    assert ways("#/compare/conv1/1", "second") == (
        "#/compare/conv1/2", f"2 of {MAPS}", "#/compare/conv1/0",
    )  # fmt: skip
    assert ways(last, "last")[1:] == (f"{MAPS} of {MAPS}", None)
    dom = browse(beside / "index.html", "#/compare/conv1", tmp_path / "layer")
    assert 'id="compare-turn" hidden' in dom
