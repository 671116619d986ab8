"""Run what the tutorials and the gallery show, and put down what comes out.

Every `$ convscope` line of a ```console block is run, and its standard output stands below it; one
whose `--out` is there already is not. Every ```python block is run, and what it prints stands in
the ```text block behind it, where there is one. A picture with a comment `<!-- from FILE -->` below
it is made anew from that file, or from the page that it is, opened in a browser. All of it happens
in one folder, where `convscope demo` was run before.

convscope demo
python docs/record.py [--in FOLDER] docs/tutorials/*.md docs/gallery.md
"""

from __future__ import annotations

import argparse
import io
import re
import shlex
import sys
import tempfile
from contextlib import chdir, redirect_stdout
from pathlib import Path
from typing import Any

from PIL import Image

from convscope.cli import main

WIDTH, QUALITY = 1100, 78  # of a picture: pixels, and WebP's scale; all pages stay below 2 MB
SCREEN = {"width": 1280, "height": 900}
CONSOLE = re.compile(r"(?<=^```console\n).*?(?=^```$)", flags=re.DOTALL | re.MULTILINE)
PYTHON = re.compile(
    r"^```python\n(?P<code>.*?)^```$(?P<printed>\n\n```text\n.*?^```$)?",
    flags=re.DOTALL | re.MULTILINE,
)
PICTURE = re.compile(r"\]\((?P<target>[^)]+\.webp)\)\n<!-- from (?P<source>.+?) -->")


def record() -> None:
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("pages", nargs="+", type=Path)
    words.add_argument("--in", dest="folder", type=Path, default=Path())
    words.add_argument("--pictures", action="store_true", help="make only the pictures anew")
    given = words.parse_args()
    for page in given.pages:
        text = page.read_text(encoding="utf-8")
        if not given.pictures:
            text = recorded(text, given.folder)
            page.write_text(text, encoding="utf-8")
        for target, source in PICTURE.findall(text):
            take_over(given.folder, source, page.parent / target)


def recorded(text: str, folder: Path) -> str:
    """A page with what its commands and its code print today, from its top to its bottom."""
    names: dict[str, Any] = {"__name__": "tutorial"}
    parts = re.compile(f"(?:{CONSOLE.pattern})|(?:{PYTHON.pattern})", re.DOTALL | re.MULTILINE)

    def anew(found: re.Match[str]) -> str:
        if found["code"] is None:
            return console(found[0], folder)
        with chdir(folder), redirect_stdout(io.StringIO()) as printed:
            exec(compile(found["code"], "tutorial", "exec"), names)
        below = f"\n\n```text\n{printed.getvalue().rstrip()}\n```" if found["printed"] else ""
        return f"```python\n{found['code']}```{below}"

    return parts.sub(anew, text)


def console(block: str, folder: Path) -> str:
    """A block's commands, each with what it says.

    What has its `--out` already is not run again, if the page has what it said; else it is told to
    go on with it.
    """
    parts = re.findall(r"^\$ ((?:.*\\\n)*.*)\n((?:(?!\$ ).*\n)*)", block, flags=re.MULTILINE)
    lines: list[str] = []
    for command, before in parts:
        out = re.search(r"--out (\S+)", command)
        made = out is not None and (folder / out[1]).exists()
        if made and before:
            lines.append(f"$ {command}\n{before}")
            continue
        print("$", command, file=sys.stderr, flush=True)
        words = shlex.split(command)[1:]
        if made and (folder / out[1]).is_dir():
            words.append("--resume")
        with chdir(folder), redirect_stdout(io.StringIO()) as printed:
            code = main(words)
        said = "".join(f"{line.rstrip()}\n" for line in printed.getvalue().splitlines())
        lines.append(f"$ {command}\n{said}" + (f"[exit {code}]\n" if code else ""))
    return "".join(lines)


def take_over(folder: Path, source: str, target: Path) -> None:
    """A picture of the site from a figure, or from a page as a browser shows it."""
    path, _, place = source.partition("#")
    with tempfile.TemporaryDirectory() as spare:
        figure = folder / path
        if figure.suffix == ".html":
            figure = photographed(f"{figure.resolve().as_uri()}#{place}", Path(spare) / "page.png")
        with Image.open(figure) as opened:
            picture = opened.convert("RGB")
    if picture.width > WIDTH:
        size = (WIDTH, round(picture.height * WIDTH / picture.width))
        picture = picture.resize(size, Image.Resampling.LANCZOS)
    target.parent.mkdir(exist_ok=True)
    picture.save(target, quality=QUALITY, method=6)


def photographed(address: str, path: Path) -> Path:
    """A page in a browser of the usual width, by playwright and the machine's chromium."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path="/usr/bin/chromium")
        page = browser.new_page(viewport=SCREEN)
        page.goto(address)
        page.wait_for_timeout(1500)
        page.screenshot(path=path)
        browser.close()
    return path


if __name__ == "__main__":
    record()
