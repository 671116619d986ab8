"""What an atlas's page costs, in a real browser, against its budgets.

    python -m venv .pages && .pages/bin/pip install playwright axe-playwright-python
    .pages/bin/python benchmarks/page_budget.py atlas --browser /usr/bin/chromium

Prints a table; ends with 1 where a budget is broken. Bytes are those of the files that a view asks
for, text as gzip would send it. Times are the browser's own (`PerformanceObserver`); they mean
something on idle cores only. Without axe-playwright-python, which brings axe-core, the page is not
checked for accessibility, and the table says so.
"""

from __future__ import annotations

import argparse
import gzip
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from playwright.sync_api import Page, sync_playwright

DESK, HAND = (1440, 900), (390, 844)
SCHEMES = ("light", "dark")
MAPS = 2048  # of the widest wall
UNITS = 100  # that are opened one after the other
KEYS = ["ArrowRight", "p", "p", "Space", "2", "ArrowLeft"]  # on a unit's page, in turn
TEXT = {".html", ".css", ".js"}
NUMBERS = {"data", "images", "chosen"}  # scripts of the page that hold an atlas's own

PROBES = Path(__file__).with_suffix(".js").read_text().partition("*/")[2].strip()


@dataclass(frozen=True)
class Row:
    """A line of the table; `most` is the budget."""

    what: str
    found: float
    most: float
    unit: str
    more: str = ""

    @property
    def kept(self) -> bool:
        return self.found <= self.most

    def line(self) -> str:
        found = f"{self.found:,.3g}" if self.found < 1000 else f"{self.found:,.0f}"
        state = "ok" if self.kept else "OVER"
        return f"{self.what:44} {found:>8} {self.unit:6} <= {self.most:<6g} {state:5} {self.more}"


class Asked:
    """What a page asks for.

    Args:
        page: of the browser.
    """

    def __init__(self, page: Page) -> None:
        self.addresses: list[str] = []
        page.on("request", lambda request: self.addresses.append(request.url))

    def sizes(self) -> tuple[float, float]:
        """KB of all files, and of the same with text as gzip sends it."""
        whole = sent = 0
        for address in dict.fromkeys(self.addresses):
            parts = urlsplit(address)
            if parts.scheme != "file":
                continue
            content = Path(unquote(parts.path)).read_bytes()
            whole += len(content)
            text = Path(parts.path).suffix in TEXT
            sent += len(gzip.compress(content)) if text else len(content)
        return whole / 1024, sent / 1024

    def external(self) -> list[str]:
        """Addresses that lie outside the folder."""
        return [
            one for one in self.addresses if urlsplit(one).scheme not in ("file", "data", "blob")
        ]


class Browser:
    """A browser that looks at one atlas.

    Args:
        browser: of Playwright.
        folder: of the atlas.
    """

    def __init__(self, browser: Any, folder: Path) -> None:
        self.browser = browser
        self.index = (folder / "index.html").resolve().as_uri()

    @contextmanager
    def at(
        self, place: str, size: tuple[int, int] = DESK, scheme: str = "light"
    ) -> Iterator[tuple[Page, Asked]]:
        """The page at a place, drawn."""
        context = self.browser.new_context(
            viewport={"width": size[0], "height": size[1]}, color_scheme=scheme
        )
        page = context.new_page()
        page.add_init_script(f"{PROBES}.observe()")
        asked = Asked(page)
        page.goto(self.index + place)
        page.wait_for_function("document.documentElement.dataset.view")
        page.wait_for_timeout(700)
        yield page, asked
        context.close()


def places(page: Page) -> dict[str, str]:
    """One address for each view of an atlas."""
    layer, image = page.evaluate(f"{PROBES}.places()")
    layer, image = quote(layer, safe=""), quote(image, safe="")
    compared = page.evaluate("convscope.atlas.compared?.layers[0]")
    pair = f"#/compare/{quote(compared, safe='')}" if compared else ""
    return {
        "overview": "",
        "search": "#/?find=1",
        "wall": f"#/{layer}",
        "unit": f"#/{layer}/0",
        "image": f"#/image/{image}",
        "diagnosis": "#/diagnosis",
        **({"comparison": "#/compare", "pair": f"{pair}/0"} if compared else {}),
    }


def measure_loading(browser: Browser, folder: Path, where: dict[str, str]) -> list[Row]:
    """What the views ask for, and how they come."""
    own = [*(folder / "page").glob("*.js"), folder / "page" / "atlas.css"]
    shell = sum(len(gzip.compress(one.read_bytes())) for one in own if one.stem not in NUMBERS)
    rows = [Row("script and css, gzip", shell / 1024, 35, "KB")]
    external: list[str] = []
    budgets = {"overview": ("first view, 1440 px", 300), "unit": ("unit by its address", 150)}
    for name, (what, most) in budgets.items():
        with browser.at(where[name]) as (page, asked):
            whole, sent = asked.sizes()
            rows.append(Row(what, sent, most, "KB", "text as gzip sends it"))
            rows.append(Row(f"{what}, as files", whole, most, "KB"))
            seen = page.evaluate("seen")
            rows.append(Row(f"LCP, {name}", seen["lcp"], 500, "ms"))
            rows.append(Row(f"CLS, {name}", seen["cls"], 0, ""))
            external += asked.external()
    return [*rows, Row("requests to elsewhere", len(external), 0, "")]


def measure_using(browser: Browser, where: dict[str, str]) -> list[Row]:
    """How the page answers, and what it holds in memory."""
    rows = []
    with browser.at(where["unit"]) as (page, _):
        devtools = page.context.new_cdp_session(page)
        devtools.send("Performance.enable")

        def heap() -> float:
            devtools.send("HeapProfiler.collectGarbage")
            metrics = devtools.send("Performance.getMetrics")["metrics"]
            return next(one["value"] for one in metrics if one["name"] == "JSHeapUsedSize") / 2**20

        for key in KEYS * 3:
            page.keyboard.press(key)
            page.wait_for_timeout(60)
        events = sorted(page.evaluate("seen.events")) or [0]
        rows.append(Row("INP, unit, p98", events[int(0.98 * (len(events) - 1))], 100, "ms"))
        before = heap()
        for at in range(UNITS):
            page.keyboard.press("ArrowRight" if at % 60 < 30 else "ArrowLeft")
            page.wait_for_timeout(30)
        page.wait_for_timeout(300)
        rows.append(Row(f"heap after {UNITS} units", heap() - before, 2, "MB"))
    with browser.at(where["overview"]) as (page, _):
        page.evaluate(f"{PROBES}.widen({MAPS})")
        page.wait_for_timeout(800)
        most = 0
        for _step in range(12):
            page.mouse.wheel(0, 3000)
            page.wait_for_timeout(60)
            most = max(most, page.evaluate("document.querySelectorAll('*').length"))
        rows.append(Row(f"elements at {MAPS} maps", most, 3000, ""))
    return rows


def measure_reading(browser: Browser, where: dict[str, str], axe: str | None) -> list[Row]:
    """Accessibility, size of text and of targets, on every view."""
    counts = {"axe violations": 0, "text below 12 px": 0, "targets below 24 px": 0}
    told: dict[str, list[str]] = {name: [] for name in counts}

    def note(what: str, where: str, found: list[str]) -> None:
        counts[what] += len(found)
        told[what] += [f"{where}: {', '.join(found)}"] if found else []

    for name, place in where.items():
        for size in (DESK, HAND):
            for scheme in SCHEMES:
                with browser.at(place, size, scheme) as (page, _):
                    there = f"{name} {size[0]} {scheme}"
                    note("text below 12 px", there, page.evaluate(f"{PROBES}.smallText()"))
                    note("targets below 24 px", there, page.evaluate(f"{PROBES}.smallTargets()"))
                    if axe is not None:
                        page.evaluate(axe)
                        found = page.evaluate("axe.run()")["violations"]
                        note(
                            "axe violations",
                            there,
                            [f"{one['id']} ({one['nodes'][0]['html'][:90]})" for one in found],
                        )
    if axe is None:
        del counts["axe violations"]
        print("axe-core is not there: install axe-playwright-python for it")
    return [Row(what, count, 0, "", " | ".join(told[what][:4])) for what, count in counts.items()]


def axe_core() -> str | None:
    """The source of axe-core, of a package that brings it; None without."""
    try:
        import axe_playwright_python
    except ImportError:
        return None
    return (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text()


def main() -> int:
    """Measure, print the table, and say whether all budgets are kept."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("atlas", type=Path, help="folder of an atlas with its page")
    parser.add_argument("--browser", help="program of a Chromium; default: Playwright's own")
    asked = parser.parse_args()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=asked.browser, args=["--no-sandbox", "--disable-gpu"]
        )
        looking = Browser(browser, asked.atlas)
        with looking.at("") as (page, _):
            where = places(page)
        steps: list[Callable[[], list[Row]]] = [
            lambda: measure_loading(looking, asked.atlas, where),
            lambda: measure_using(looking, where),
            lambda: measure_reading(looking, where, axe_core()),
        ]
        rows = [row for step in steps for row in step()]
        browser.close()
    print(*(row.line() for row in rows), sep="\n")
    return 0 if all(row.kept for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
