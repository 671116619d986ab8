"""The explorer's page in a real browser: what a person does, and what they see then."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from convscope.experiments.options import Reading, Running
from convscope.explorer.desk import open_desk
from convscope.explorer.opening import opening
from convscope.explorer.serving import Server, Serving
from explorer.net_of_tests import CLASSES, SIDE, picture
from explorer.serving_here import in_a_thread

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
playwright = pytest.importorskip("playwright.sync_api")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium is installed here")

HERE = Path(__file__).parent
HOSTILE = 'z"><img src=x onerror=document.title=1>.png'
LAYERS = ["relu1", "pool1", "relu2", "pool2", "relu3", "fc"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """DATA, class names of which one would like to be markup, and something like an atlas."""
    folder = tmp_path_factory.mktemp("explored")
    for number, name in enumerate(["0.png", "1.png", HOSTILE]):
        (folder / "data" / "a").mkdir(parents=True, exist_ok=True)
        picture(number).save(folder / "data" / "a" / name)
    (folder / "classes.txt").write_text("\n".join(CLASSES))
    return folder


@pytest.fixture(scope="module")
def serving(folder: Path) -> Iterator[Serving]:
    reading = Reading(input=f"3x{SIDE}x{SIDE}", preprocess="unit", classes=folder / "classes.txt")
    words = opening("net_of_tests:build", str(folder / "data"), reading, Running())
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(sys, "path", [str(HERE), *sys.path])
        yield Serving(words, token="token-of-tests", start=in_a_thread(open_desk))


@pytest.fixture(scope="module")
def server(serving: Serving) -> Iterator[Server]:
    server = Server(serving)
    yield server
    server.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as started:
        options = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        options += ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
        browser = started.chromium.launch(executable_path=CHROMIUM, args=options)
        yield browser
        browser.close()


@pytest.fixture
def context(browser: Any) -> Iterator[Any]:
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    context.set_default_timeout(60_000)
    yield context
    context.close()


@pytest.fixture
def tab(context: Any, server: Server) -> Iterator[Callable[[str], Any]]:
    """Opens the page at a place; whatever it complains of fails the test."""
    wrong: list[str] = []

    def opened(place: str = "", at: Server = server) -> Any:
        page = context.new_page()
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
        page.goto(at.address + place)
        page.wait_for_selector("html[data-state=ready]")
        return page

    opened.wrong = wrong  # type: ignore[attr-defined]
    yield opened
    assert not wrong


def drop(page: Any, content: bytes, name: str = "dropped.png") -> None:
    """Drop a file on the page, as the system's file manager does."""
    page.evaluate(
        """([bytes, name]) => {
          const transfer = new DataTransfer();
          transfer.items.add(new File([new Uint8Array(bytes)], name, { type: "image/png" }));
          const options = { dataTransfer: transfer, bubbles: true, cancelable: true };
          for (const kind of ["dragenter", "dragover", "drop"]) {
            document.body.dispatchEvent(new DragEvent(kind, options));
          }
        }""",
        [list(content), name],
    )


def png(seed: int) -> bytes:
    content = BytesIO()
    picture(seed).save(content, "png")
    return content.getvalue()


def bars(page: Any) -> dict[str, str]:
    rows = page.locator(".bar-live").all()
    return {
        row.locator(".bar-name").text_content(): row.locator(".bar-value").text_content()
        for row in rows
    }


def opened_unit(page: Any, unit: str) -> None:
    """Wait until a unit's projection is there."""
    page.wait_for_selector(f"#command:has-text('{unit}')", state="attached")


def test_a_dropped_image_lights_every_layer_up_and_a_click_asks_about_a_unit(tab: Any) -> None:
    page = tab()
    assert [row.get_attribute("data-layer") for row in page.locator(".layer-row").all()] == LAYERS
    drop(page, png(7))
    page.wait_for_selector(".bar-live")
    for layer in LAYERS:
        maps = page.locator(f".layer-row[data-layer={layer}] .map canvas")
        lit = maps.first.evaluate(
            "one => Math.max(...one.getContext('2d').getImageData(0,0,one.width,one.height).data"
            ".filter((_, at) => at % 4 == 0))"
        )
        assert maps.count() > 0 and lit > 200, layer
    assert set(bars(page)) == set(CLASSES)
    page.locator(".layer-row[data-layer=relu3] .map").first.click()
    opened_unit(page, "relu3/")
    assert re.search(r"#/k[0-9a-f]+/relu3/\d$", page.url)
    assert page.locator("[data-picture=projection] canvas").evaluate("one => one.width") > 1
    assert "deconvnet" in page.locator("[data-picture=projection]").text_content()
    page.select_option("#rules", "guided")
    page.wait_for_selector("#command:has-text('--rules guided')")
    page.locator("#unit-map").click(position={"x": 3, "y": 3})
    opened_unit(page, "@0,0")
    assert page.url.endswith("@0,0?rules=guided")


def test_an_occluder_that_is_dragged_moves_the_bars_and_the_unit(tab: Any) -> None:
    page = tab("#/d1/relu2/3")
    opened_unit(page, "relu2/3@")
    before = bars(page)
    page.locator("#size").evaluate("(one) => { one.value = 16; }")
    page.check("#occlude")
    page.wait_for_selector("#activity .meter-live")
    box, stage = page.locator("#occluder").bounding_box(), page.locator("#stage").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    for share in (0.4, 0.2, 0.05):
        page.mouse.move(stage["x"] + share * stage["width"], stage["y"] + share * stage["height"])
        page.wait_for_timeout(100)
    page.mouse.up()
    page.wait_for_selector("#occluder[aria-label^='Occluder at row 0, column 0']")
    page.wait_for_selector(".bar-live .track.moved")
    assert bars(page) != before
    assert re.search(r"box=0%2C0%2C\d+%2C\d+", page.url)
    page.keyboard.press("x")  # the unit goes while the box stays
    page.wait_for_selector("#answer-note:has-text('Without one unit')")
    page.wait_for_selector(".meter-live .numeric:has-text('0 of ')")
    assert page.locator("#occlude").is_checked()
    page.keyboard.press("x")
    page.wait_for_selector("#without", state="hidden")
    page.uncheck("#occlude")
    page.wait_for_selector("#answer-note:empty", state="attached")
    assert bars(page) == before


def test_a_deep_link_shows_what_it_says_and_back_goes_back(tab: Any) -> None:
    place = "#/d0/relu3/2@3,4?rules=gradient&target=1&veil=spotlight&without=relu2%2F3"
    page = tab(place)
    opened_unit(page, "relu3/2@3,4")
    assert "gradient" in page.locator("#command").text_content()
    assert page.locator("#rules").input_value() == "gradient"
    assert page.locator(".bar-live[aria-pressed=true] .bar-name").text_content() == CLASSES[1]
    assert page.locator("#without .chip").text_content().startswith("relu2/3 ×")
    page.wait_for_selector("#answer-note:has-text('Without one unit')")
    assert page.locator("[data-veil=spotlight] input").is_checked()
    page.locator("[data-image=d1]").click()
    page.wait_for_selector("#picture[aria-label*='1.png']")
    page.go_back()
    page.wait_for_selector("#picture[aria-label*='0.png']")
    assert page.url.endswith(place)


def test_a_photograph_is_looked_at_like_any_image(tab: Any) -> None:
    page = tab("#/d0")
    page.wait_for_selector(".bar-live")
    page.click("[data-do=webcam]")
    page.wait_for_selector("#shoot:enabled")
    page.click("#shoot")
    page.wait_for_selector("#picture[aria-label*='camera.png']")
    assert re.search(r"#/k[0-9a-f]+$", page.url)
    assert page.locator("#camera").get_attribute("open") is None
    assert page.locator("#video").evaluate("one => one.srcObject") is None  # it is off again
    colours = page.locator("#picture").evaluate(
        "one => new Set(one.getContext('2d').getImageData(0,0,one.width,one.height).data).size"
    )
    assert colours > 10


COPIED = """async (bytes) => {
  const picture = new Blob([new Uint8Array(bytes)], { type: "image/png" });
  await navigator.clipboard.write([new ClipboardItem({ "image/png": picture })]);
}"""


def test_an_empty_clipboard_is_said_where_it_is_seen_and_a_picture_in_it_is_taken(
    context: Any, tab: Any
) -> None:
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = tab()
    page.evaluate("navigator.clipboard.writeText('no picture')")
    page.click("[data-do=paste]")
    page.wait_for_selector("#stage-note:has-text('The clipboard holds no picture')")
    page.evaluate(COPIED, list(png(5)))
    page.click("[data-do=paste]")
    page.wait_for_selector("#picture[aria-label*='pasted.png']")


def test_what_sticks_beside_the_layers_stays_below_the_top_to_the_pages_end(tab: Any) -> None:
    page = tab("#/d0/relu2/3")
    opened_unit(page, "relu2/3@")
    page.evaluate("document.getElementById('layers').style.minHeight = '3000px'")
    page.evaluate("scrollTo(0, document.documentElement.scrollHeight)")
    page.wait_for_timeout(100)
    below = page.locator(".top").bounding_box()
    for pane in (".look", ".unit-panel"):
        assert page.locator(pane).bounding_box()["y"] >= below["y"] + below["height"], pane


NOWHERE = [
    "#/d99", "#/kffff", "#/d0/relu9/1", "#/d0/relu3/77", "#/%%%/x", "#/d0/relu3/1@99,99",
    "#/d0?box=1,2&target=-1&rules=none",
]  # fmt: skip


def test_links_to_what_is_not_there_say_so_and_the_page_goes_on(tab: Any) -> None:
    page = tab()
    for place in NOWHERE:
        page.evaluate("(place) => { location.hash = place; }", place)
        page.wait_for_timeout(50)
        page.locator("[data-image=d1]").click()
        page.wait_for_selector("#picture[aria-label*='1.png']")
        assert bars(page)


def test_it_works_by_the_keyboard_alone(tab: Any) -> None:
    page = tab("#/d0")
    page.wait_for_selector(".bar-live")
    before = bars(page)
    page.keyboard.press("l")
    for key in ("ArrowRight", "ArrowDown", "ArrowDown", "Enter"):
        page.keyboard.press(key)
    opened_unit(page, "relu2/")
    page.keyboard.press("u")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowLeft")
    page.wait_for_timeout(50)
    assert "@" in page.url
    page.keyboard.press("x")
    page.wait_for_selector("#answer-note:has-text('Without one unit')")
    page.keyboard.press("x")
    page.wait_for_selector("#without", state="hidden")
    page.keyboard.press("o")
    first = page.locator("#occluder").get_attribute("aria-label")
    page.keyboard.press("Shift+ArrowLeft")
    page.wait_for_selector("#answer-note:not(:empty)")
    assert page.locator("#occluder").get_attribute("aria-label") != first
    page.keyboard.press("o")
    page.wait_for_selector("#answer-note:empty", state="attached")
    assert bars(page) == before
    page.keyboard.press("g")
    page.wait_for_selector("#command:has-text('--rules gradient')")
    page.keyboard.press("?")
    page.wait_for_selector("#help[open]")
    page.keyboard.press("Escape")
    page.keyboard.press("p")
    page.wait_for_selector("#report-button:has-text('Report 1')")


def test_the_maps_of_fig_6_fill_and_can_be_stopped(tab: Any) -> None:
    page = tab("#/d0/relu2/3?box=0,0,16,16")  # an occluder of this size, so that it is quick
    opened_unit(page, "relu2/3@")
    page.click("#sweep")
    page.wait_for_selector(".legend")
    page.wait_for_selector("#sweep:has-text('Occlude everywhere')")
    assert "places" not in page.locator(".legend").text_content()  # all of them are known
    chips = page.locator("#stage-note .chip").all_text_contents()
    assert chips == ["class", "log-odds", "unit", "most probable"]
    page.locator("#stage-note .chip", has_text="unit").click()
    assert "relu2/3" in page.locator(".legend").text_content()
    page.click("#sweep")
    page.click("#sweep")
    page.wait_for_selector("#sweep:has-text('Occlude everywhere')")


def test_two_tabs_do_not_mix(tab: Any) -> None:
    one, two = tab("#/d0/relu2/3"), tab("#/d1/relu3/1")
    opened_unit(one, "relu2/3@")
    opened_unit(two, "relu3/1@")
    one.check("#occlude")
    one.wait_for_selector("#activity .meter-live")
    assert two.locator("#occluder").is_hidden()
    assert "1.png" in two.locator("#picture").get_attribute("aria-label")
    assert bars(one) != bars(two)


def test_names_are_text_and_never_markup(tab: Any, folder: Path, tmp_path: Path) -> None:
    page = tab("#/d2")
    page.wait_for_selector(".bar-live")
    assert HOSTILE in page.locator("#picture").get_attribute("aria-label")
    assert CLASSES[2] in bars(page)
    drop(page, png(8), name=HOSTILE)
    page.wait_for_selector("#thumbs .thumb")
    page.locator(".map").first.click()
    opened_unit(page, "relu1/")
    page.keyboard.press("p")
    page.click("#report-button")
    with page.expect_download() as download:
        page.click("#save")
    download.value.save_as(tmp_path / "report.html")
    report = page.context.new_page()
    asked: list[str] = []
    report.on("request", lambda request: asked.append(request.url))
    report.goto((tmp_path / "report.html").as_uri())
    assert report.locator("main section img").count() >= 5
    assert all(report.locator("img").evaluate_all("all => all.map((one) => one.naturalWidth > 0)"))
    assert HOSTILE in report.locator("body").text_content()
    assert {url.split(":")[0] for url in asked} <= {"file", "data"}
    assert report.locator("script").count() == 0
    for each in (page, report):
        assert each.title() != "1"


def test_the_report_says_all_that_was_done_to_the_image(tab: Any, tmp_path: Path) -> None:
    page = tab("#/d0/relu2/3?box=0,0,16,16&target=1&without=relu2%2F3")
    opened_unit(page, "relu2/3@")
    page.wait_for_selector("#answer-note:has-text('Without one unit')")
    page.click("#target-picture")
    page.wait_for_selector(f"#stage-note:has-text('Lit by what {CLASSES[1]} rests on')")
    page.keyboard.press("p")
    page.set_viewport_size({"width": 390, "height": 800})
    page.click("#report-button")
    away = page.locator("#findings .button").bounding_box()
    assert away["x"] + away["width"] < 390
    with page.expect_download() as download:
        page.click("#save")
    download.value.save_as(tmp_path / "report.html")
    page.keyboard.press("Escape")
    report = page.context.new_page()
    report.goto((tmp_path / "report.html").as_uri())
    words = report.locator("main section").text_content()
    assert "Occluder (top, left, bottom, right): 0, 0, 16, 16" in words
    assert "Without relu2/3 (zero in their place)" in words
    assert f"lit by what {CLASSES[1]} rests on, by deconvnet, with the occluder" in words
    report.set_viewport_size({"width": 390, "height": 800})
    assert report.locator("h1").evaluate("one => parseFloat(getComputedStyle(one).fontSize)") < 30
    page.click("#sweep")
    page.wait_for_selector(".legend:has-text('with every unit')")
    page.locator("#without .chip").click()  # it is put in again: nothing is to be said
    page.wait_for_selector(".legend:not(:has-text('with every unit'))")


def test_what_is_no_image_is_said_and_the_page_goes_on(tab: Any) -> None:
    page = tab("#/d0")
    page.wait_for_selector(".bar-live")
    drop(page, b"nonsense", name="notes.txt")
    page.wait_for_selector("#stage-note:has-text('notes.txt')")
    assert "0.png" in page.locator("#picture").get_attribute("aria-label")
    tab.wrong.clear()  # the browser logs the refusal, 422


def test_a_server_that_ends_is_said_and_one_that_comes_again_is_gone_on_with(
    context: Any, serving: Serving
) -> None:
    first = Server(serving)
    port = int(first.address.split(":")[2].split("/")[0])
    page = context.new_page()
    page.goto(first.address)
    page.wait_for_selector("html[data-state=ready]")
    drop(page, png(4), "earlier.png")
    page.wait_for_selector("#picture[aria-label*='earlier.png']")
    drop(page, png(3))
    page.wait_for_selector("#picture[aria-label*='dropped.png']")
    before, place = bars(page), page.url
    first.close()
    page.wait_for_selector("#state:has-text('The server does not answer')")
    second = Server(replace(serving, port=port))
    try:
        page.wait_for_selector("html[data-state=ready]")
        page.wait_for_selector("#desk:not([aria-busy])")
        page.locator(".layer-row[data-layer=relu3] .map").first.click()
        opened_unit(page, "relu3/")
        assert bars(page) == before  # the dropped image was given to it again
        assert page.url.startswith(place)
        page.locator("#thumbs [title='earlier.png']").click()  # and so is one that was not shown
        page.wait_for_selector("#picture[aria-label*='earlier.png']")
        page.wait_for_selector("#desk:not([aria-busy])")
        assert "again" not in page.locator("#stage-note").text_content()
    finally:
        second.close()


def test_without_the_token_or_under_another_name_there_is_no_page(
    context: Any, server: Server
) -> None:
    page = context.new_page()
    wrong = server.address.replace("token-of-tests", "guess")
    assert page.goto(wrong).status == 403
    assert page.locator("canvas").count() == 0
    other = context.request.get(server.address, headers={"host": "evil.example"})
    assert other.status == 421
