"""What a browser makes of the atlas page, opened from a file. Skipped where there is none."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from convscope.atlas.store import open_atlas
from report_browser import CHROMIUM, browse, probed

MAPS, TOP, DEAD, EMPTY_FROM = 34, 9, 33, 6  # of the atlas in conftest.py

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")


def shown(dom: str) -> str:
    """The name of the view that is on the screen."""
    found = re.search(r'<html[^>]* data-view="(\w+)"', dom)
    assert found, "the scripts did not run to the end"
    return found[1]


def text_of(dom: str, identity: str) -> str:
    found = re.search(rf'id="{identity}"[^>]*>([^<]*)<', dom)
    assert found
    return found[1]


def numbers_on_wall(dom: str) -> list[int]:
    return [int(n) for n in re.findall(r'<a data-channel="(\d+)"', dom)]


def test_the_overview_opens_from_a_file(atlas: Path, tmp_path: Path) -> None:
    dom = browse(atlas / "index.html", "", tmp_path)
    assert shown(dom) == "overview"
    assert 'src="data/' not in dom  # a layer's numbers come when the layer is asked for
    for name in ("conv1", "conv2"):
        assert f'<section class="rung" aria-label="{name}">' in dom
        assert f'<a href="#/{name}" aria-label="{name}: {MAPS} maps, sees 7 × 7 px"><title>' in dom
    strips = re.findall(r'<div class="strip"[^>]*>(.*?)</div>', dom)
    assert [strip.count("<a href=") for strip in strips] == [6, 6]
    assert not re.search(r"https?://(?!www\.w3\.org)", dom)


def test_a_layers_address_opens_its_wall_with_sorting_and_search(
    atlas: Path, tmp_path: Path
) -> None:
    dom = browse(
        atlas / "index.html", "#/conv1?sort=strongest&show=projections&find=3,30-40", tmp_path
    )
    assert shown(dom) == "layer"
    assert text_of(dom, "layer-title") == "conv1"
    value = open_atlas(atlas).layers["conv1"].value
    by_value = sorted([3, 30, 31, 32], key=lambda n: -float(value[n, 0]))
    assert numbers_on_wall(dom) == [*by_value, DEAD]  # the dead map comes last
    assert text_of(dom, "tally") == "5 of 34 maps"
    assert 'data-show="projections"' in dom
    assert dom.count('class="filter"') == MAPS


def test_an_old_address_of_both_kinds_opens_the_wall(atlas: Path, tmp_path: Path) -> None:
    dom = browse(atlas / "index.html", "#/conv1?show=both", tmp_path)
    assert shown(dom) == "layer"
    assert 'data-show="patches"' in dom


def test_a_wall_is_searched_by_class_and_image(atlas: Path, tmp_path: Path) -> None:
    dom = browse(atlas / "index.html", "#/conv1?find=DOG", tmp_path)
    assert text_of(dom, "tally") == f"{MAPS} maps"  # image 1 is among every map's strongest
    dom = browse(atlas / "index.html", "#/conv1?find=animals/7.jpg", tmp_path / "again")
    assert numbers_on_wall(dom) == list(range(1, MAPS))  # map 0 has six images only


def test_a_maps_address_opens_its_patches_and_the_chosen_one_in_every_kind(
    atlas: Path, tmp_path: Path
) -> None:
    dom = browse(atlas / "index.html", "#/conv2/0", tmp_path)
    assert shown(dom) == "map"
    assert text_of(dom, "map-title") == "conv2.relu/0"
    assert len(re.findall(r'aria-label="Patch \d: cat', dom)) == EMPTY_FROM - 1
    assert len(re.findall(r'aria-label="Patch \d: empty', dom)) == TOP - EMPTY_FROM
    found = open_atlas(atlas).layers["conv2"]
    unit = f"conv2.relu/0@{found.row[0, 0]},{found.column[0, 0]}"
    command = f"convscope project zfnet-small@net.safetensors photos#animals/0.jpg {unit}"
    assert text_of(dom, "command") == f"{command} --out projection.png"
    assert "--sheet: url(&quot;blob:" in dom  # its own pictures, and no sheet of others
    assert 'src="data/' not in dom
    assert "best-patch" not in dom
    assert re.findall(r'<figure data-kind="(\w+)"', dom) == ["patch", "projection"]
    assert "strip.webp&quot;)" not in dom  # the overview's pictures are not asked for
    assert re.search('<div class="trust" id="trust" hidden', dom)


def test_the_address_tells_the_rank(atlas: Path, tmp_path: Path) -> None:
    dom = browse(atlas / "index.html", "#/conv2/1?rank=2", tmp_path)
    assert text_of(dom, "chosen-title") == "Rank 2 · dog"
    assert "a dog'\\''s.jpg" in text_of(dom, "command")
    dom = browse(atlas / "index.html", "#/conv2/1?rank=99", tmp_path / "again")
    assert text_of(dom, "chosen-title") == "Rank 1 · cat"


def test_what_is_not_the_units_own_is_said_before_its_pictures(
    checked: Path, tmp_path: Path
) -> None:
    opened = open_atlas(checked)
    dom = browse(checked / "index.html", "#/conv1/2", tmp_path)
    assert shown(dom) == "map"
    assert opened.trust("conv1", 2).sentence in text_of(dom, "warning-text")
    assert dom.index('id="warning"') < dom.index('id="bench"')
    assert not re.search('id="warning" hidden', dom)
    assert "0.05</b> [0.01, 0.09]" in dom
    found = opened.layers["conv1"]
    place = f"conv1.relu/2@{found.row[2, 0]},{found.column[2, 0]}"
    assert f"--unit {place} --contrast" in text_of(dom, "contrast-command")
    assert "No name: the best class, “cat”, has AUC 0.75" in dom


def test_what_is_its_own_is_said_beside_them(checked: Path, tmp_path: Path) -> None:
    dom = browse(checked / "index.html", "#/conv1/1", tmp_path)
    assert open_atlas(checked).trust("conv1", 1).sentence == text_of(dom, "sentence")
    assert re.search('id="warning" hidden', dom)
    assert re.findall(r'<figure data-kind="(\w+)"', dom) == ["spotlight", "patch", "projection"]
    assert "It tells “cat” from the other classes: AUC 0.75" in dom
    assert 'href="#/conv1/3"' in dom  # the nearest map
    assert "What feeds it" in dom


KEYS_OF_A_MAP = """
const keys = [" ", " ", "p", "p", "ArrowRight", "ArrowRight", "ArrowRight"];
const seen = [];
document.addEventListener("convscope:view", function once() {
  document.removeEventListener("convscope:view", once);
  const event = (key) => new KeyboardEvent("keydown", { key, bubbles: true });
  const press = (key) => document.body.dispatchEvent(event(key));
  const next = () => {
    seen.push(`${location.hash}|${document.getElementById("plate").dataset.kind}`);
    if (keys.length === 0) document.documentElement.dataset.probe = seen.join(" ");
    else if (keys.length > 3) press(keys.shift());
    else while (keys.length) press(keys.shift()); // faster than the page draws
    if (document.documentElement.dataset.probe === undefined) setTimeout(next, 60);
  };
  setTimeout(next, 60);
});
"""


def test_space_shows_the_patches_p_the_projections_and_held_keys_lose_no_step(
    checked: Path, tmp_path: Path
) -> None:
    assert probed(checked, KEYS_OF_A_MAP, "#/conv1/4", tmp_path) == [
        "#/conv1/4|spotlight",
        "#/conv1/4?show=patches|patch",
        "#/conv1/4|spotlight",
        "#/conv1/4?show=projections|projection",
        "#/conv1/4|spotlight",
        "#/conv1/7|spotlight",
    ]


@pytest.mark.parametrize("place", ["#/conv9/1", "#/conv1/34", "#/%E0%A4%A"])
def test_an_address_that_leads_nowhere_says_so(atlas: Path, tmp_path: Path, place: str) -> None:
    assert shown(browse(atlas / "index.html", place, tmp_path)) == "lost"


def test_hostile_names_run_nothing_in_a_browser(
    hostile: Path, hostile_name: str, tmp_path: Path
) -> None:
    layer = "".join(f"%{byte:02X}" for byte in hostile_name.encode())
    dom = browse(hostile / "index.html", f"#/{layer}/1", tmp_path)
    assert shown(dom) == "map"
    assert "<img" not in dom
    assert "&lt;img src=x onerror=alert(1)&gt;" in text_of(dom, "map-title")
    quoted = text_of(dom, "command")
    assert quoted.startswith("convscope project '&lt;/script&gt;")  # a shell runs nothing either
    assert "'\\''" in quoted


PROBE = """
const seen = [];
const keys = ["Enter!", "j", "ArrowRight", "k", "3", "Escape", "v", "]", "[", "Escape", "?"];
document.addEventListener("convscope:view", function once() {
  document.removeEventListener("convscope:view", once);
  const next = () => {
    const active = document.activeElement;
    seen.push(`${location.hash}|${active?.dataset?.channel ?? ""}|${convscope.shown.rank ?? ""}`);
    const key = keys.shift();
    if (key === undefined) {
      const help = document.getElementById("help").open;
      document.documentElement.dataset.probe = [...seen, `help ${help}`].join(" ");
      return;
    }
    if (key === "Enter!") document.querySelector(".cell").click();
    else active.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
    setTimeout(next, 60);
  };
  setTimeout(next, 60);
});
"""


def test_the_keyboard_walks_through_maps_and_layers(atlas: Path, tmp_path: Path) -> None:
    assert probed(atlas, PROBE, "#/conv1?find=2-9", tmp_path) == [
        "#/conv1?find=2-9||",
        "#/conv1/2?find=2-9||0",  # the first cell was opened
        "#/conv1/3?find=2-9||0",  # j: the next of those that were looked for
        "#/conv1/4?find=2-9||0",
        "#/conv1/3?find=2-9||0",
        "#/conv1/3?find=2-9&rank=3||2",  # 3: the third activation
        "#/conv1?find=2-9|3|2",  # Esc: the wall, where the reader was
        "#/conv1?show=projections&find=2-9|3|2",
        "#/conv2?show=projections||2",
        "#/conv1?show=projections||2",
        "#/||2",
        "#/||2",
        "help",
        "true",
    ]
