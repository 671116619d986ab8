"""The atlas page: what is written, and what names may do to it."""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import load_file, save_file

from convscope.atlas.folder import sheet_path, write_images, write_manifest
from convscope.atlas.manifest import SkippedRecord
from convscope.atlas.store import open_atlas
from convscope.errors import BadInput
from convscope.report.embedded_data import lean, resource
from convscope.report.page import OWN_FILES, SCRIPTS, page_summary, write_page
from convscope.report.page_evidence import BARS, few_bars
from convscope.report.page_overview import LayerChoice, NetworkStrip, lead_unit
from convscope.report.page_pictures import COLUMNS, sheet_plan
from convscope.report.page_tables import ShownImages, similar_order, wall_table
from convscope.report.page_words import project_command, title_of

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
    places = [folder / "index.html", *folder.glob("page/**/*"), *folder.glob("data/**/*")]
    return {str(p.relative_to(folder)): p.read_bytes() for p in places if p.is_file()}


def handed(folder: Path, place: str) -> Any:
    """What the script at a place hands over."""
    named, table = arguments((folder / f"{place}.js").read_bytes())
    assert named == place
    return table


def cell_of(folder: Path, slug: str, channel: int, number: int) -> NDArray[np.uint8]:
    """A picture of a unit, from its script."""
    sheet = base64.b64decode(handed(folder, f"data/units/{slug}/{channel}")["sheet"])
    with Image.open(io.BytesIO(sheet)) as file:
        pixels = np.asarray(file.convert("RGB"))
    side = pixels.shape[1] // COLUMNS
    top, left = (side * at for at in divmod(number, COLUMNS))
    return pixels[top : top + side, left : left + side]


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
        "page/lead.webp",
        "page/chosen.js",
        "page/images.js",
        *(f"page/images/{index}.js" for index in range(TOP)),
        *(f"data/slug{layer}.js" for layer in range(2)),
        *(f"data/units/slug{layer}/{channel}.js" for layer in range(2) for channel in range(MAPS)),
    }
    assert write_page(atlas) == atlas / "index.html"
    assert written(atlas) == before


def test_every_file_that_the_page_names_is_there(atlas: Path) -> None:
    elements = Elements((atlas / "index.html").read_text()).found
    named = [attrs["src"] for tag, attrs in elements if tag == "script"]
    named += [attrs["href"] for tag, attrs in elements if attrs.get("rel") == "stylesheet"]
    assert len(named) == len(SCRIPTS) + 1
    assert all((atlas / str(name)).is_file() for name in named)


def test_a_layers_script_holds_what_its_wall_sorts_and_finds_by(atlas: Path) -> None:
    opened = open_atlas(atlas)
    table = handed(atlas, "data/slug0")
    record = opened.manifest.layers[0]
    assert table == wall_table(opened, record, ShownImages(opened))
    expected = opened.layers["conv1"]
    assert table["value"] == [pytest.approx(float(v), rel=1e-4) for v in expected.value[:, 0]]
    assert table["image"][EMPTY_FROM:TOP] == [-1] * (TOP - EMPTY_FROM)
    assert table["images"][1] == ["a dog's.jpg", "dog"]
    assert table["active"] == expected.active.tolist()


def test_a_units_script_holds_its_activations_with_empty_ranks_as_null(atlas: Path) -> None:
    expected = open_atlas(atlas).layers["conv1"]
    unit = handed(atlas, "data/units/slug0/0")
    assert unit["ranks"][EMPTY_FROM:] == [None] * (TOP - EMPTY_FROM)
    for rank, (value, row, column, box, image, name, label) in enumerate(
        unit["ranks"][:EMPTY_FROM]
    ):
        assert value == pytest.approx(float(expected.value[0, rank]), rel=1e-4)
        assert [row, column] == [int(expected.row[0, rank]), int(expected.column[0, rank])]
        assert box == expected.box[0, rank].tolist()
        assert image == int(expected.image[0, rank])
        assert [name, label] == (
            ["a dog's.jpg", "dog"] if image == 1 else [f"animals/{image}.jpg", "cat"]
        )
    best = expected.value[:, 0]
    for channel in range(MAPS):
        place = 1 + sum(float(other) > float(best[channel]) for other in best)
        assert handed(atlas, f"data/units/slug0/{channel}")["place"] == place


def test_an_images_script_lists_the_units_that_have_it_among_their_strongest(atlas: Path) -> None:
    assert handed(atlas, "page/images")[1] == [1, "a dog's.jpg", "dog"]
    told = handed(atlas, "page/images/7")["units"]
    tables = open_atlas(atlas).layers
    expected = [
        (number, channel)
        for number, layer in enumerate(("conv1", "conv2"))
        for channel in range(MAPS)
        if any((tables[layer].image[channel] == 7) & (tables[layer].value[channel] > 0))
    ]
    assert (0, 0) not in expected and (0, 1) in expected  # map 0 has six images
    assert sorted((layer, c) for layer, c, *_ in told) == expected
    table = tables["conv2"]
    layer, channel, rank, value, box = told[-1]
    assert (layer, int(table.image[channel, rank])) == (1, 7)
    assert value == pytest.approx(float(table.value[channel, rank]), rel=1e-4)
    assert box == table.box[channel, rank].tolist()


def test_an_image_lists_no_unit_that_it_does_not_excite(atlas: Path, tmp_path: Path) -> None:
    folder = tmp_path / "atlas"
    shutil.copytree(atlas, folder)
    tables = load_file(folder / "tables.safetensors")
    tables["conv2/value"] = torch.where(
        tables["conv2/image"] >= 7, torch.zeros(()), tables["conv2/value"]
    )
    save_file(tables, folder / "tables.safetensors")
    (folder / "checksums.json").unlink()
    write_page(folder)
    before, after = (handed(at, "page/images/7")["units"] for at in (atlas, folder))
    assert after and after == [unit for unit in before if unit[0] == 0]


def test_images_that_win_nowhere_are_left_out_of_the_scripts(atlas: Path, tmp_path: Path) -> None:
    folder = tmp_path / "atlas"
    shutil.copytree(atlas, folder)
    opened = open_atlas(folder)
    write_images(folder, [*opened.images, *opened.images])
    data = opened.manifest.data.model_copy(update={"count": 2 * len(opened.images)})
    write_manifest(folder, opened.manifest.model_copy(update={"data": data}))
    write_page(folder)
    assert (folder / "data/slug0.js").read_bytes() == (atlas / "data/slug0.js").read_bytes()


def test_an_unfinished_atlas_gets_no_page(build_folder: Build, tmp_path: Path) -> None:
    folder = build_folder(tmp_path / "atlas", complete=False)
    with pytest.raises(BadInput, match="unfinished"):
        write_page(folder)
    assert not (folder / "index.html").exists()


def test_the_page_tells_what_was_left_out(build_folder: Build, tmp_path: Path) -> None:
    skipped = (SkippedRecord(name="torn.jpg", reason="truncated"),)
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
    manifest = open_atlas(build_folder(tmp_path / "atlas")).manifest
    assert project_command(manifest)["options"] == []
    made = manifest.model.model_copy(update={"spec": "mine.nets:make"})
    told = project_command(manifest.model_copy(update={"model": made, "rules": "guided"}))
    words = "--rules guided --input 3x16x16 --preprocess unit --fit crop"
    assert told["options"] == words.split()


def test_the_summary_holds_layers_but_no_numbers_of_maps(atlas: Path) -> None:
    manifest = open_atlas(atlas).manifest
    summary = page_summary(manifest)
    [told] = arguments((atlas / "page/data.js").read_bytes())
    assert told == json.loads(json.dumps({**told, **summary}))  # type: ignore[dict-item]
    assert [layer["name"] for layer in summary["layers"]] == ["conv1", "conv2"]
    assert summary["sheets"] == {"best": 40, "optimised": 100, "columns": 10}
    assert summary["unit"] == {"columns": COLUMNS, **sheet_plan(manifest)}


# ---- what an atlas knows beside pictures --------------------------------------------------------


def test_a_plain_atlas_has_neither_trust_nor_statistics(atlas: Path) -> None:
    unit = handed(atlas, "data/units/slug0/1")
    assert unit["trust"] is None
    assert unit["responses"] is None
    assert unit["nearest"] == unit["input"] == unit["output"] == []
    assert page_summary(open_atlas(atlas).manifest)["kinds"] == {
        "patches": "patch",
        "projections": "projection",
    }


def test_the_spotlight_comes_first(checked: Path) -> None:
    [summary] = arguments((checked / "page/data.js").read_bytes())
    assert list(summary["kinds"]) == ["spotlights", "patches", "projections"]
    assert summary["specific"] == 0.2


def test_trust_is_told_as_the_atlas_tells_it(checked: Path) -> None:
    opened = open_atlas(checked)
    assert handed(checked, "data/units/slug0/0")["trust"] == [None]
    [[sentence, place, specific, own, disc, contrast]] = handed(checked, "data/units/slug0/2")[
        "trust"
    ]
    assert contrast == opened.contrast_strength("conv1", 2) == 0.25
    assert handed(checked, "data/units/slug0/1")["trust"][0][5] is None
    assert handed(checked, "data/units/slug0/1")["relevant"] == []
    assert sentence == opened.trust("conv1", 2).sentence
    assert (place, specific, own, disc) == (
        [0.5, 0.4, 0.6],
        [0.05, 0.01, 0.09],
        [0.5, None, None],
        0.3,
    )
    wall = handed(checked, "data/slug0")
    assert wall["specific"][:3] == [None, 0.9, 0.05]


def test_responses_are_told_in_few_bars_with_names_and_without_what_is_missing(
    checked: Path,
) -> None:
    unit = handed(checked, "data/units/slug1/0")
    told = unit["responses"]
    assert told["histogram"] == [1.5, 0.5, [4, 0, 2, 3]]  # empty ends are left out
    assert told["examples"] == [[1.5, "a dog's.jpg", "dog"], None]
    assert told["classes"] == [["cat", 2], ["dog", 1]]
    assert told["named"] == ["cat", 0.75, 0.5]
    assert unit["nearest"] == [[3, 0.5]]
    assert unit["input"] == [["conv1", 2, -0.25]]
    assert unit["output"] == []


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


def test_the_sheets_of_the_wall_hold_the_strongest_pictures(checked: Path) -> None:
    opened = open_atlas(checked)
    record = opened.record("conv1")
    for kind in opened.kinds:
        with Image.open(sheet_path(checked, "slug0", f"best-{kind}", 0)) as file:
            sheet = np.asarray(file.convert("RGB"))
        left, top = 3 * record.tile, 2 * record.tile  # map 23, in a row of ten
        found = sheet[top : top + record.tile, left : left + record.tile]
        assert np.array_equal(found, np.asarray(getattr(opened, kind)("conv1", 23, 0)))
    with Image.open(sheet_path(checked, "slug0", "strip")) as strip:
        assert strip.size == (6 * 96, 96)


def test_a_units_sheet_holds_its_pictures_in_every_kind_and_those_of_its_relatives(
    checked: Path,
) -> None:
    opened = open_atlas(checked)
    plan = sheet_plan(opened.manifest)
    assert list(plan)[:3] == ["spotlight", "patch", "projection"]
    for kind in opened.kinds:
        for rank in (0, 5):
            found = cell_of(checked, "slug1", 33, plan[kind] + rank)
            assert np.array_equal(found, np.asarray(getattr(opened, kind)("conv2", 33, rank)))
    nearest = cell_of(checked, "slug1", 4, plan["nearest"])
    assert np.array_equal(nearest, np.asarray(opened.spotlight("conv2", 3, 0)))
    below = cell_of(checked, "slug1", 4, plan["input"])
    assert np.array_equal(below, np.asarray(opened.spotlight("conv1", 2, 0)))


def test_maps_that_tell_a_class_stand_for_a_layer_then_those_of_their_own(checked: Path) -> None:
    opened = open_atlas(checked)
    choice = LayerChoice(opened, opened.record("conv1"))
    assert choice.name_of(2) is None  # chance explains it
    assert choice.name_of(3) == "cat"
    # all others tell "cat" equally well: the most specific first, then the most often active
    assert choice.most_selective[:3] == [1, 0, 3]


def test_the_overview_begins_with_a_unit_whose_picture_can_be_trusted(
    checked: Path, atlas: Path
) -> None:
    opened = open_atlas(checked)
    choices = {one.name: LayerChoice(opened, one) for one in opened.manifest.layers}
    lead = lead_unit(opened, choices)
    assert lead is not None
    assert lead.channel == 1  # of the two checked maps the one that is specific
    assert lead.kinds == ("patch", "spotlight", "projection")
    assert "“cat”: 8 of its 9 strongest images" in lead.sentence
    assert "75 times in 100" in lead.sentence
    assert f">{lead.record.activation}/1</a>" in (checked / "index.html").read_text()
    plain = open_atlas(atlas)
    unlabelled = {one.name: LayerChoice(plain, one) for one in plain.manifest.layers}
    assert lead_unit(plain, unlabelled) is not None


def test_without_classes_the_overview_begins_with_a_picture_of_one_piece_that_is_the_units_own(
    checked: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = open_atlas(checked)
    monkeypatch.setattr(LayerChoice, "name_of", lambda self, channel: None)
    choices = {one.name: LayerChoice(opened, one) for one in opened.manifest.layers}
    lead = lead_unit(opened, choices)
    assert lead is not None and lead.channel == 1
    trust = opened.trust(lead.record.name, 1)
    assert trust is not None and trust.place is not None
    lost = f"it loses {100 * trust.place.own:.0f} % of that"
    assert f"Covered where it is lit, {lost}" in lead.sentence
    choice = choices[lead.record.name]
    height, width = opened.manifest.input_shape[-2:]
    top, left, bottom, right = opened.layers[lead.record.name].box[1, 0].tolist()
    inside = torch.zeros(height + 200, width + 200)
    inside[100 : 100 + height, 100 : 100 + width] = 1
    seen = inside[100 + top : 100 + bottom, 100 + left : 100 + right]
    assert choice.inside(1) == pytest.approx(float(seen.mean()))


def test_similar_maps_follow_each_other() -> None:
    nearest = [[[3, 0.9], [1, 0.5]], [], [[0, 0.4]], [[0, 0.9], [2, 0.8]]]
    assert similar_order(nearest) == [0, 3, 2, 1]


def test_branches_of_a_network_lie_above_each_other(checked: Path) -> None:
    first, _ = open_atlas(checked).manifest.layers
    layers = [
        first.model_copy(update={"name": name, "reads": reads, "channels": maps})
        for name, reads, maps in [
            ("stem", (), 16),
            ("left", ("stem",), 64),
            ("right", ("stem",), 4),
            ("join", ("left", "right"), 64),
        ]
    ]
    strip = NetworkStrip.of(layers, (3, 16, 16))
    stem, left, right, join = strip.bars
    assert stem["left"] < left["left"] == right["left"] < join["left"]
    assert left["top"] + left["height"] < right["top"]
    assert len(strip.lines) == 4
    # as high as the square root of the maps: 6 for none, 72 for the most
    assert [bar["bar"][3] for bar in strip.bars] == [39.0, 72.0, 22.5, 72.0]
    old = NetworkStrip.of([one.model_copy(update={"reads": None}) for one in layers], (3, 16, 16))
    assert len(old.lines) == 3  # of an older atlas: one after the other
    assert len({bar["left"] for bar in old.bars}) == 4


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
    for place in [hostile / "page/data.js", *hostile.glob("data/**/*.js")]:
        script = place.read_bytes()
        assert script.isascii()
        assert not set(b"<>&") & set(script)
        assert arguments(script)
    assert handed(hostile, "data/slug0")["images"][0] == [hostile_name, hostile_name]


def test_the_page_asks_nothing_of_the_network(atlas: Path) -> None:
    for name, content in written(atlas).items():
        if name.endswith(".webp"):
            continue
        text = content.decode().replace("http://www.w3.org/2000/svg", "")  # a name, no address
        text = re.sub(r'"sheet":"[^"]*"', "", text)  # pixels
        allowed = r"\"lead\.webp|\"\$\{"
        assert not re.search(rf"https?:|\bwss?:|//[a-z]|@import|url\((?!{allowed})", text), name


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


def test_what_is_handed_over_of_a_style_sheet_has_no_comments_and_the_same_rules() -> None:
    own = resource("atlas.css").decode()
    handed = lean("atlas.css").decode()
    assert "/*" not in handed and len(handed) < 0.9 * len(own)
    without = re.sub(r"/\*.*?\*/", "", own, flags=re.DOTALL)
    assert re.sub(r"\s", "", handed) == re.sub(r"\s", "", without)
    assert 'content:"← "' in handed and "calc(-1 * var(--gutter))" in handed
    assert ".place.last + .place.last{" in handed and ".segments :checked + span{" in handed
