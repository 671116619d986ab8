"""The atlas page: what is written, and what names may do to it."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from convscope.atlas import store
from convscope.errors import BadInput
from convscope.report.page import (
    OWN_FILES,
    layer_arrays,
    page_summary,
    project_command,
    title_of,
    write_page,
)
from convscope.report.page_evidence import BARS, few_bars
from convscope.report.page_sheets import strip_maps

MAPS, TOP, EMPTY_FROM = 34, 9, 6  # of the atlas in conftest.py: map 0 has six activations

Build = Callable[..., Path]


class Elements(HTMLParser):
    """Every element of a page with its attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def written(folder: Path) -> dict[str, bytes]:
    places = [folder / "index.html", *folder.glob("page/*"), *folder.glob("data/*")]
    return {str(place.relative_to(folder)): place.read_bytes() for place in places}


def arguments(script: bytes) -> list[object]:
    """What a data script hands over; fails if it is more than one call."""
    call = re.fullmatch(rb"convscope\.(start|receive)\((.*)\);\n", script)
    assert call
    found = json.loads(b"[" + call[2] + b"]")
    assert isinstance(found, list)
    return found


# ---- what is written ------------------------------------------------------------------------


def test_the_page_lies_in_the_atlas_folder_and_twice_gives_the_same_bytes(atlas: Path) -> None:
    before = written(atlas)
    assert set(before) == {
        "index.html",
        *(f"page/{name}" for name in OWN_FILES),
        "page/data.js",
        "data/slug0.js",
        "data/slug1.js",
    }
    assert write_page(atlas) == atlas / "index.html"
    assert written(atlas) == before


def test_every_file_that_the_page_names_is_there(atlas: Path) -> None:
    elements = Elements((atlas / "index.html").read_text()).found
    named = [attrs["src"] for tag, attrs in elements if tag == "script"]
    named += [attrs["href"] for tag, attrs in elements if attrs.get("rel") == "stylesheet"]
    named += [attrs["data-sheet"] for tag, attrs in elements if "data-sheet" in attrs]
    assert len(named) == 7 + 1 + 2
    assert all((atlas / str(name)).is_file() for name in named)


def test_a_layers_script_holds_its_table_with_empty_ranks_as_null(atlas: Path) -> None:
    slug, table = arguments((atlas / "data" / "slug0.js").read_bytes())
    opened = store.open_atlas(atlas)
    assert slug == "slug0"
    assert table == layer_arrays(opened, opened.manifest.layers[0])
    expected = opened.layers["conv1"]
    assert table["value"][:TOP] == [
        *(pytest.approx(float(v), rel=1e-4) for v in expected.value[0, :EMPTY_FROM]),
        *([None] * (TOP - EMPTY_FROM)),
    ]
    assert table["image"][EMPTY_FROM:TOP] == [-1] * (TOP - EMPTY_FROM)
    assert table["images"][1] == ["a dog's.jpg", "dog"]
    assert torch.equal(torch.tensor(table["box"]).reshape(MAPS, TOP, 4), expected.box)


def test_images_that_win_nowhere_are_left_out_of_the_scripts(atlas: Path, tmp_path: Path) -> None:
    folder = tmp_path / "atlas"
    shutil.copytree(atlas, folder)
    opened = store.open_atlas(folder)
    store.write_images(folder, [*opened.images, *opened.images])
    write_page(folder)
    assert (folder / "data/slug0.js").read_bytes() == (atlas / "data/slug0.js").read_bytes()


def test_an_unfinished_atlas_gets_no_page(build_folder: Build, tmp_path: Path) -> None:
    folder = build_folder(tmp_path / "atlas", complete=False)
    with pytest.raises(BadInput, match="unfinished"):
        write_page(folder)
    assert not (folder / "index.html").exists()


def test_the_page_tells_what_was_left_out(build_folder: Build, tmp_path: Path) -> None:
    skipped = (store.SkippedRecord(name="torn.jpg", reason="truncated"),)
    text = write_page(build_folder(tmp_path / "atlas", skipped=skipped)).read_text()
    assert "torn.jpg" in text
    assert "truncated" in text
    assert "1 file could not be read" in text
    assert "met in conv1 (3)" in text
    assert "2 of the 68 feature maps were never above zero: conv1 (1), conv2 (1)." in text


def test_only_random_weights_get_a_warning(atlas: Path, hostile: Path) -> None:
    assert "Random weights." not in (atlas / "index.html").read_text()
    assert "Random weights." in (hostile / "index.html").read_text()


@pytest.mark.parametrize(
    ("spec", "title"),
    [
        ("zfnet", "zfnet"),
        ("torchvision:squeezenet1_1@weights/a.safetensors", "squeezenet1_1"),
        ("run:runs/demo/", "demo"),
        ("mine.nets:make", "make"),
        ("@", "@"),
    ],
)
def test_the_title_is_the_models_own_name(spec: str, title: str) -> None:
    assert title_of(spec) == title


def test_the_command_says_how_a_factorys_model_wants_its_images(
    build_folder: Build, tmp_path: Path
) -> None:
    manifest = store.open_atlas(build_folder(tmp_path / "atlas")).manifest
    assert project_command(manifest)["options"] == []
    made = manifest.model.model_copy(update={"spec": "mine.nets:make"})
    told = project_command(manifest.model_copy(update={"model": made, "rules": "guided"}))
    words = "--rules guided --input 3x16x16 --preprocess unit --fit crop"
    assert told["options"] == words.split()


def test_the_summary_holds_layers_but_no_numbers_of_maps(atlas: Path) -> None:
    manifest = store.open_atlas(atlas).manifest
    summary = page_summary(manifest)
    assert arguments((atlas / "page/data.js").read_bytes()) == [
        json.loads(json.dumps({**summary, "optimised": []}))
    ]
    assert [layer["name"] for layer in summary["layers"]] == ["conv1", "conv2"]
    assert summary["sheets"] == {"maps": 32, "wall": 100, "columns": 10, "thumbnail": 32}


# ---- what an atlas knows beside pictures --------------------------------------------------------


def test_a_plain_atlas_has_neither_trust_nor_statistics(atlas: Path) -> None:
    _, table = arguments((atlas / "data" / "slug0.js").read_bytes())
    assert table["trust"] is None
    assert table["responses"] is None
    assert page_summary(store.open_atlas(atlas).manifest)["kinds"] == {
        "patches": "patch",
        "projections": "projection",
    }


def test_the_spotlight_comes_first(checked: Path) -> None:
    [summary] = arguments((checked / "page/data.js").read_bytes())
    assert list(summary["kinds"]) == ["spotlights", "patches", "projections"]
    assert summary["specific"] == 0.2


def test_trust_is_told_as_the_atlas_tells_it(checked: Path) -> None:
    _, table = arguments((checked / "data" / "slug0.js").read_bytes())
    opened = store.open_atlas(checked)
    told = table["trust"]
    assert told["check"] == 1
    assert told["pictures"][0] is None
    at, place, specific, own, disc = told["pictures"][2]
    assert told["sentences"][at] == opened.trust("conv1", 2).sentence
    assert (place, specific, own, disc) == (
        [0.5, 0.4, 0.6],
        [0.05, 0.01, 0.09],
        [0.5, None, None],
        0.3,
    )


def test_responses_are_told_in_few_bars_with_names_and_without_what_is_missing(
    checked: Path,
) -> None:
    _, table = arguments((checked / "data" / "slug1.js").read_bytes())
    told = table["responses"]
    assert told["histogram"][0] == [1.5, 0.5, [4, 0, 2, 3]]  # empty ends are left out
    assert told["examples"][0] == [[1.5, "a dog's.jpg", "dog"], None]
    assert told["classes"][0] == [["cat", 2], ["dog", 1]]
    assert told["named"][1] == ["cat", 0.75, 0.5]
    assert told["nearest"][0] == [[3, 0.5]]


def test_joined_bars_keep_every_count() -> None:
    draws = torch.Generator().manual_seed(3)
    counts = torch.randint(0, 9, (1, 256), generator=draws)
    counts[0, :3], counts[0, 200:] = 0, 0
    counts[0, 3], counts[0, 199] = 1, 1
    low, width = torch.tensor([-2.0]), torch.tensor([0.25])
    start, wide, bars = few_bars({"histogram": counts, "low": low, "width": width}, 0)
    assert len(bars) <= BARS
    assert sum(bars) == int(counts.sum())
    assert start == -2.0 + 3 * 0.25
    naive = [0] * len(bars)
    for at, count in enumerate(counts[0].tolist()):
        if count:
            naive[int((low.item() + at * 0.25 - start) // wide)] += count
    assert bars == naive


def test_the_sheets_of_the_page_hold_the_strongest_pictures(checked: Path) -> None:
    opened = store.open_atlas(checked)
    record = opened.record("conv1")
    for kind in opened.kinds:
        with Image.open(store.sheet_path(checked, "slug0", f"best-{kind}", 0)) as file:
            sheet = np.asarray(file.convert("RGB"))
        left, top = 3 * record.tile, 2 * record.tile  # map 23, in a row of ten
        found = sheet[top : top + record.tile, left : left + record.tile]
        assert np.array_equal(found, np.asarray(getattr(opened, kind)("conv1", 23, 0)))
    assert strip_maps(opened, record)[:3] == [1, 2, 0]  # the most specific, then by number
    with Image.open(store.sheet_path(checked, "slug0", "strip")) as strip:
        assert strip.size == (960, 192)


# ---- what names may do ----------------------------------------------------------------------


def test_names_stay_text_whatever_they_hold(hostile: Path, hostile_name: str) -> None:
    elements = Elements((hostile / "index.html").read_text()).found
    assert "img" not in {tag for tag, _ in elements}
    assert all("src" in attrs for tag, attrs in elements if tag == "script")
    attributes = {name for _, attrs in elements for name in attrs}
    assert not {name for name in attributes if name.startswith("on")}
    assert "style" not in attributes
    places = [attrs for _, attrs in elements if "data-layer" in attrs]
    assert [attrs["data-layer"] for attrs in places] == ["conv1", hostile_name]


def test_data_scripts_hold_nothing_that_could_end_a_script(
    hostile: Path, hostile_name: str
) -> None:
    for place in [hostile / "page/data.js", *hostile.glob("data/*.js")]:
        script = place.read_bytes()
        assert script.isascii()
        assert not set(b"<>&") & set(script)
        assert arguments(script)
    _, table = arguments((hostile / "data/slug0.js").read_bytes())
    assert table["images"][0] == [hostile_name, hostile_name]  # type: ignore[index]


def test_the_page_asks_nothing_of_the_network(atlas: Path) -> None:
    for name, content in written(atlas).items():
        text = content.decode().replace("http://www.w3.org/2000/svg", "")  # a name, no address
        assert not re.search(r"https?:|\bwss?:|//[a-z]|@import|url\((?!\"sheets|\"\$\{)", text), (
            name
        )


def test_the_security_policy_allows_only_files_beside_the_page(atlas: Path) -> None:
    elements = Elements((atlas / "index.html").read_text()).found
    [policy] = [attrs["content"] for _, attrs in elements if "http-equiv" in attrs]
    assert policy is not None
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert rules["script-src"] == "'self' file:"
    assert "unsafe" not in policy


def test_the_scripts_never_make_markup_of_text(atlas: Path) -> None:
    for place in atlas.glob("page/*.js"):
        forbidden = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|Function\("
        assert not re.search(forbidden, place.read_text()), place.name
