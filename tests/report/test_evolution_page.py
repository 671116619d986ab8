"""The page of feature evolution: what is written, and what a browser makes of it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from convscope.experiments.evolution.result import MapEvolution
from convscope.report.evolution_page import page_data, write_evolution_page
from evolved import EPOCHS, evolution, layer, lead
from report_browser import CHROMIUM, browse, probed

HOSTILE = "</script><img src=x onerror=alert(1)>\"'&`${}\u2028"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a page. Not to be changed: copy it."""
    return write_evolution_page(evolution(), tmp_path_factory.mktemp("evolution")).parent


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page in which everything that may be a name is an attack."""
    leads = tuple(lead(epoch, 3, name=HOSTILE) for epoch in EPOCHS)
    grey = np.full((len(EPOCHS), 7, 7, 3), 128, np.uint8)
    row = MapEvolution(0, leads, grey, grey, {"projection": 1, "image": 1, "filter": 1})
    found = evolution(
        layers=(layer(HOSTILE, (7, 7), (1,), rows=(row,)),),
        run=HOSTILE, data=HOSTILE, architecture=HOSTILE, skipped=((HOSTILE, HOSTILE),),
        status="running",
    )  # fmt: skip
    return write_evolution_page(found, tmp_path_factory.mktemp("hostile")).parent


def written(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def given(folder: Path) -> dict[str, object]:
    """What the data script hands over; fails if it is more than one call."""
    call = re.fullmatch(rb"convscope\.start\((.*)\);\n", (folder / "page/data.js").read_bytes())
    assert call
    return json.loads(call[1])


# ---- what is written ----------------------------------------------------------------------------


def test_the_sheets_hold_each_map_in_its_row_and_each_epoch_in_its_column(page: Path) -> None:
    found = evolution()
    for at, each in enumerate(found.layers):
        with Image.open(page / f"sheets/{at:02d}/projections.webp") as opened:
            sheet = np.asarray(opened.convert("RGB"))
        cell = each.cell
        assert sheet.shape == (2 * cell, len(EPOCHS) * cell, 3)
        for row, evolved in enumerate(each.rows):
            for column in range(len(EPOCHS)):
                place = sheet[row * cell : (row + 1) * cell, column * cell : (column + 1) * cell]
                tile = evolved.projections[column].repeat(cell // each.window[0], 0)
                tile = tile.repeat(cell // each.window[1], 1)
                if each.window == (7, 7):  # enlarged, and stored without loss
                    assert np.array_equal(place, tile)


def test_the_script_gets_the_leads_and_twice_gives_the_same_bytes(page: Path) -> None:
    found = given(page)
    assert found == page_data(evolution())
    maps = found["layers"][0]["maps"]
    assert [each["changed"] for each in maps[0]["leads"]] == [False, True, False]
    dead = "dead: above zero in no image"
    assert [each["empty"] for each in maps[1]["leads"]] == ["", dead, ""]
    before = written(page)
    write_evolution_page(evolution(), page)
    assert written(page) == before


def test_the_page_says_when_each_layer_settles_and_what_is_dead(page: Path) -> None:
    text = (page / "index.html").read_text(encoding="utf-8")
    assert (
        "Half of the 6 measured maps look as at the end from epoch 1 (quartiles 0 to 1) on" in text
    )
    assert "Dead at the end, above zero in no image, and not drawn: 2 maps (3, 11)." in text
    assert (
        "By projection, lower layers converge first; by their own filters, lower" in text
        and "random weights" in text
    )
    assert "training is not complete" not in text


def test_the_page_needs_nothing_from_elsewhere(page: Path) -> None:
    text = (page / "index.html").read_text(encoding="utf-8")
    assert not re.search(r"https?://", text) and "style=" not in text
    assert not re.search(r"<script>|onclick|onload", text)
    for name in re.findall(r'(?:src|href)="([^"#:]+)"', text):
        assert (page / name).is_file()


def test_names_are_data(hostile: Path) -> None:
    text = (hostile / "index.html").read_text(encoding="utf-8")
    assert "<img" not in text and "The training is not complete" in text
    script = (hostile / "page/data.js").read_bytes()
    assert (
        b"<" not in script and given(hostile)["layers"][0]["maps"][0]["leads"][0]["name"] == HOSTILE
    )


# ---- what a browser makes of it -----------------------------------------------------------------

in_browser = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")


def shown_epoch(dom: str) -> str:
    found = re.search(r'<html[^>]* data-epoch="(\d+)"', dom)
    assert found, "the scripts did not run to the end"
    return found[1]


@in_browser
def test_the_page_opens_from_a_file_at_the_end_of_training(page: Path, tmp_path: Path) -> None:
    dom = browse(page / "index.html", "", tmp_path)
    assert shown_epoch(dom) == "5"
    assert dom.count('class="frame-button') == 2 * 2 * len(EPOCHS)
    assert dom.count('<p class="image" title="cat, photos/8.png">') == 2
    assert "url(&quot;sheets/01/projections.webp&quot;)" in dom


@in_browser
def test_an_address_opens_an_epoch_with_its_marks(page: Path, tmp_path: Path) -> None:
    dom = browse(page / "index.html", "#epoch=1", tmp_path)
    assert shown_epoch(dom) == "1"
    assert dom.count('<div class="pair changed">') == 2
    assert dom.count("<b>Another image than before. </b>") == 2
    assert dom.count('<p class="image" title="dead: above zero in no image">') == 2
    assert "activation 2.5" in dom
    assert "The feature is as at the end since epoch 1." in dom  # the second map of conv1
    assert "The feature settles at epoch 5." in dom  # both of conv2


@in_browser
def test_hostile_names_run_nothing_in_a_browser(hostile: Path, tmp_path: Path) -> None:
    dom = browse(hostile / "index.html", "#epoch=0", tmp_path)
    assert shown_epoch(dom) == "0"
    assert "<img" not in dom and "&lt;img src=x onerror=alert(1)&gt;" in dom


PROBE = """
const seen = [];
const keys = ["ArrowLeft", "ArrowLeft", "ArrowLeft", "End", "Home", "ArrowRight"];
keys.push("slide", "film", "t", "p");
document.addEventListener("convscope:epoch", function once() {
  document.removeEventListener("convscope:epoch", once);
  const root = document.documentElement;
  const next = () => {
    seen.push(`${location.hash}${root.dataset.epoch}`);
    const key = keys.shift();
    const slider = document.getElementById("epoch");
    if (key === undefined) {
      const playing = document.getElementById("play").getAttribute("aria-pressed");
      setTimeout(() => {
        seen.push(`${playing} ${root.dataset.epoch} ${root.dataset.theme}`);
        root.dataset.probe = seen.join(" ");
      }, 2500);
      return;
    }
    if (key === "slide") {
      slider.value = "0";
      slider.dispatchEvent(new Event("input", { bubbles: true }));
    } else if (key === "film") document.querySelectorAll(".frame-button")[2].click();
    else slider.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
    setTimeout(next, 50);
  };
  setTimeout(next, 50);
});
"""


@in_browser
def test_keys_slider_film_and_play_move_through_the_epochs(page: Path, tmp_path: Path) -> None:
    assert probed(page, PROBE, "", tmp_path) == [
        "5",
        "#epoch=11",
        "#epoch=00",
        "#epoch=00",  # there is nothing before
        "#epoch=55",
        "#epoch=00",
        "#epoch=11",
        "#epoch=00",  # the slider was drawn to the left
        "#epoch=55",  # the third picture of the film
        "#epoch=55",  # t
        "#epoch=00",  # p, at the end: from the start
        "true",
        "5",
        "dark",  # the browser's system is light
    ]
