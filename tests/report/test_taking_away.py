"""What a reader takes away from an atlas's page: stars, names, a picture, its address."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from convscope.atlas.names import read_unit_names

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
playwright = pytest.importorskip("playwright.sync_api")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium is installed here")

HOSTILE = '</script><img src=x onerror=document.title=1> "dogs" \u202e'


@pytest.fixture(scope="module")
def page(atlas: Path) -> Iterator[Any]:
    """A unit's page, from its file; what it complains of fails the module."""
    wrong: list[str] = []
    with playwright.sync_playwright() as started:
        options = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        browser = started.chromium.launch(executable_path=CHROMIUM, args=options)
        page = browser.new_page(
            viewport={"width": 1440, "height": 900},
            permissions=["clipboard-read", "clipboard-write"],
        )
        page.set_default_timeout(60_000)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.goto((atlas / "index.html").as_uri() + "#/conv1/3")
        page.wait_for_selector("html[data-view=map]")
        yield page
        browser.close()
    assert not wrong


def test_a_star_and_a_name_are_kept_and_exported(page: Any, atlas: Path, tmp_path: Path) -> None:
    unit = page.locator("#map-title").text_content().strip()
    page.click("#star")
    page.fill("#name", HOSTILE)
    page.keyboard.press("Enter")
    page.reload()
    page.wait_for_selector("#star[aria-pressed=true]")
    assert page.locator("#name").input_value() == HOSTILE and page.title() != "1"
    page.goto((atlas / "index.html").as_uri() + "#/")
    page.wait_for_selector("#starred-units a")
    assert HOSTILE in page.locator("#starred-units").text_content()
    with page.expect_download() as download:
        page.click("[data-do=names]")
    file = tmp_path / "names.json"
    download.value.save_as(file)
    assert json.loads(file.read_text()) == {"units": {unit: {"name": HOSTILE, "star": True}}}
    assert list(read_unit_names(file).units) == [unit]  # as convscope atlas --names takes it in
    page.goto((atlas / "index.html").as_uri() + "#/conv1/3")
    page.wait_for_selector("#star[aria-pressed=true]")


def test_a_units_page_prints_on_one_sheet(page: Any, checked: Path) -> None:
    page.goto((checked / "index.html").as_uri() + "#/conv1/2")
    page.wait_for_selector("html[data-view=map]")
    printed = page.pdf(prefer_css_page_size=True)
    assert len(re.findall(rb"/Type\s*/Page\b", printed)) == 1
    page.go_back()
    page.wait_for_selector("#star[aria-pressed=true]")


def test_the_pictures_are_saved_with_their_caption(page: Any, tmp_path: Path) -> None:
    with page.expect_download() as download:
        page.click("#take [data-do=save]")
    assert download.value.suggested_filename == "conv1.relu-3.png"
    download.value.save_as(tmp_path / "unit.png")
    with Image.open(tmp_path / "unit.png") as picture:
        assert picture.format == "PNG" and picture.width == 3 * 224 + 4 * 6
        pixels = picture.convert("RGB")
        caption = pixels.crop((0, pixels.height - 84, pixels.width, pixels.height))
        assert len(pixels.getcolors(1 << 24)) > 50 and len(caption.getcolors(1 << 24)) > 5


def test_its_address_its_command_and_a_sentence_are_copied(page: Any) -> None:
    for action, words in [
        ("link", "index.html#/conv1/3"), ("copy-command", "convscope project "),
        ("cite", "Zeiler and Fergus 2014"),
    ]:  # fmt: skip
        page.click(f"#take [data-do={action}]")
        page.wait_for_function(
            "async words => (await navigator.clipboard.readText()).includes(words)", arg=words
        )


def test_without_a_clipboard_the_words_are_there_to_be_selected(page: Any) -> None:
    page.evaluate("() => { navigator.clipboard.writeText = () => Promise.reject(new Error()); }")
    for action, words in [("link", "index.html#/conv1/3"), ("cite", "Zeiler and Fergus 2014")]:
        page.evaluate("() => { document.getElementById('cited').hidden = true; }")
        page.click(f"#take [data-do={action}]")
        # the words stay selected; that the button says so may be over when a busy machine looks
        page.wait_for_function("words => String(getSelection()).includes(words)", arg=words)
