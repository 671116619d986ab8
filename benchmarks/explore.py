"""The explorer in a real browser: how long a person waits, from the event to the drawn answer.

A server with the model in its own process, and a page of it in Debian's chromium. What is measured
lies between an event on the page and the frame in which its answer is drawn: a dropped JPEG until
every layer's maps are lit; a click on a map until its projection stands there; a move of the
occluder until bars and the unit's map follow; the button until the first picture of Fig. 6. Beside
it, the same question put to Captum in a process of its own, without any page (see live.py).
"""

from __future__ import annotations

import shutil
import statistics
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import measure
from playwright.sync_api import Page, sync_playwright

import live
from convscope.experiments.options import Reading, Running
from convscope.explorer.opening import opening
from convscope.explorer.serving import Server, Serving

NETWORKS = ("torchvision:resnet18", "torchvision:squeezenet1_1")
BUDGETS = {"drop": 300, "unit": 150, "move": 80, "first picture": 1000}  # ms, two idle cores
QUESTIONS = {
    "drop": "drop → every layer lit",
    "unit": "unit → projection",
    "move": "occluder's move → bars",
    "first picture": "first picture of Fig. 6",
}
HEAD = ("question", "median, ms", "95 of 100, ms", "budget, ms", "Captum, ms")

DRIVER = """async () => {
  const { state, on, go } = await import("./page/state.js");
  const heard = {};
  for (const name of ["look", "unit-known", "occluded", "veil"]) on(name, () => heard[name]?.());
  const drawn = () => new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
  const longest = { task: 0 };
  new PerformanceObserver((list) => {
    for (const { duration } of list.getEntries()) longest.task = Math.max(longest.task, duration);
  }).observe({ type: "longtask" });
  const timed = async (name, begin) => {
    const answered = new Promise((done) => { heard[name] = done; });
    const started = performance.now();
    begin();
    await answered;
    await drawn();
    return performance.now() - started;
  };
  const transfer = (bytes, name) => {
    const files = new DataTransfer();
    files.items.add(new File([new Uint8Array(bytes)], name, { type: "image/jpeg" }));
    return files;
  };
  window.driver = {
    longest,
    drop: ([bytes, name]) => timed("look", () => document.body.dispatchEvent(
      new DragEvent("drop", { dataTransfer: transfer(bytes, name), bubbles: true }))),
    unit: (share) => {
      const maps = [...document.querySelectorAll(".map:not([data-layer^=fc])")];
      return timed("unit-known", () => maps[Math.floor(share * maps.length)].click());
    },
    move: (box) => timed("occluded", () => go({ box }, { replace: true, later: true })),
    first: async () => {
      go({ box: null, veil: "picture" }, { replace: true });
      await drawn();
      const took = await timed("veil", () => document.getElementById("sweep").click());
      document.getElementById("sweep").click();
      return took;
    },
  };
}"""


def drive(page: Page, files: list[Path], rounds: int) -> dict[str, list[float]]:
    """What a person would do, some times; milliseconds for each question."""
    page.evaluate(DRIVER)
    found: dict[str, list[float]] = {name: [] for name in QUESTIONS}
    for number in range(rounds + 1):  # the first of each warms up
        content = list(files[number % len(files)].read_bytes())
        took = page.evaluate("(given) => driver.drop(given)", [content, f"{number}.jpg"])
        found["drop"].append(took)
    page.wait_for_timeout(500)
    for number in range(rounds + 1):
        share = (0.618 * number) % 1  # spread over layers and maps
        found["unit"].append(page.evaluate("(share) => driver.unit(share)", share))
        page.wait_for_timeout(300)  # what follows a projection is no part of it
    for number in range(rounds + 1):
        top, left = (37 * number) % 192, (53 * number) % 192
        box = [top, left, top + live.SIDE, left + live.SIDE]
        found["move"].append(page.evaluate("(box) => driver.move(box)", box))
    for _ in range(max(3, rounds // 8) + 1):
        found["first picture"].append(page.evaluate("() => driver.first()"))
        page.wait_for_timeout(300)
    return {name: times[1:] for name, times in found.items()}


def of_captum(spec: str, rounds: int) -> dict[str, float]:
    """The medians of Captum, by the clock, in milliseconds; what it cannot answer is left out."""
    case = live.Case.of(spec, None)
    height, width = case.live.network.input_shape[-2:]
    target = case.look.answer.top or 0
    box = case.live.box_at((height / 2, width / 2), live.SIDE).clip(height, width)
    runs: dict[str, Any] = {
        "move": lambda _: case.ablation(box, target),
        "unit": case.deconvolution(case.unit(0.5)),
        "first picture": lambda _: case.occlusion(16, target),
    }
    live.possible(runs, box)
    times = live.in_turn(runs, [box] * max(3, rounds // 4))
    return {name: 1e3 * clock.median for name, (clock, _) in times.items()}


def compare(spec: str, files: list[Path], rounds: int) -> str:
    """A section: a row for each question."""
    server = Server(Serving(opening(spec, None, Reading(), Running())))
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.set_default_timeout(120_000)
        page.goto(server.address)
        page.wait_for_selector("html[data-state=ready]")
        found = drive(page, files, rounds)
        blocked = page.evaluate("() => driver.longest.task")
        nodes = page.evaluate("() => document.querySelectorAll('*').length")
        browser.close()
    server.close()
    captum = of_captum(spec, rounds)
    rows = [
        (
            QUESTIONS[name], f"{statistics.median(times):.0f}", f"{late(times):.0f}",
            BUDGETS[name], f"{captum[name]:.0f}" if name in captum else "–",
        )
        for name, times in found.items()
    ]  # fmt: skip
    words = (
        f"The page has {nodes} nodes; the longest that anything held it up was {blocked:.0f} ms. "
        f"Captum: FeatureAblation of one box, NeuronDeconvolution of a unit of a middle layer, "
        f"Occlusion over as many places; it has nothing for a drop."
    )
    return f"{measure.table(HEAD, rows)}\n\n{words}"


def late(times: list[float]) -> float:
    """The 95th of a hundred."""
    return statistics.quantiles(times, n=20)[-1] if len(times) > 2 else max(times)


def main() -> None:
    warnings.filterwarnings("ignore")
    options = measure.parser(__doc__, rounds=40)
    options.add_argument("--networks", nargs="+", default=list(NETWORKS), metavar="MODEL")
    given = measure.read(options)
    with TemporaryDirectory() as folder:
        measure.scene_files(Path(folder), 4)
        files = sorted(Path(folder).glob("*.jpg"))
        for spec in given.networks:
            part = compare(spec, files, given.rounds)
            name = spec.removeprefix("torchvision:").partition("@")[0]
            title = f"The explorer in a browser, {name}"
            measure.report(f"explore {name}", title, part, write=not given.quick)


if __name__ == "__main__":
    main()
