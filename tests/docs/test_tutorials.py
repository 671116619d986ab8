"""The tutorials and the gallery do what they say: every command and every line of Python runs.

On the golden files' small networks, with few images and little training. What the pages print is of
the demo's network; `docs/record.py` puts it there.
"""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from convscope.cli import main
from golden.keeping import unpack
from golden.places import KEPT, inside
from golden.tiny import tiny

DOCS = Path(__file__).parents[2] / "docs"
PAGES = [
    *sorted((DOCS / "tutorials").glob("*.md")),
    DOCS / "how-to" / "ci.md",
    DOCS / "gallery.md",
]
BLOCK = re.compile(r"^```(console|python)\n(.*?)^```", flags=re.DOTALL | re.MULTILINE)
SOURCE = re.compile(r"<!-- from (\S+?)(?:#\S+)? -->")
FEWER = {
    "train": ["--epochs", "1", "--set", "keep_epochs=0"],
    "compare": ["--draws", "19"],
    "evolve": ["--maps", "2", "--measured", "2"],
    "sensitivity": ["--count", "2", "--size", "12", "--stride", "12"],
    "occlude": ["--size", "12", "--stride", "12"],
    "transfer": ["--per-class", "1", "--folds", "2"],
    "probe": ["--layers", "fc6,fc7", "--per-class", "1", "--folds", "2"],
    "check": ["--shifts", "2", "--draws", "1"],
    "visualize": ["--steps", "2", "--size", "12"],
    "sanity": ["--count", "2"],
    "invariance": ["--count", "2", "--steps", "2", "--layers", "conv3,fc7"],
    "correspond": ["--count", "2", "--places", "2"],
    "errors": ["--draws", "99"],
    "pictures": ["--steps", "2"],
    "localize": ["--count", "2", "--tune", "2"],
    "ablate": ["--epochs", "1", "--seeds", "1"],
    "adaptive": ["--count", "4", "--epochs", "1", "--steps", "2", "--size", "32", "--maps", "2,4"],
}


def fewer(text: str) -> str:
    """The same with as many scenes as a test can look at, and of six maps the second."""
    text = re.sub(r"scenes:(train|val):\d+", r"scenes:\1:96", text)
    text = re.sub(r"scenes:transfer:\d+", "scenes:transfer:48", text)
    return re.sub(r"(conv\d\W{1,3}(?:channel=)?)\d+\b", r"\g<1>1", text)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder as `convscope demo` leaves it, and the other networks of the pages."""
    folder = tmp_path_factory.mktemp("tutorials")
    demo = unpack(KEPT / "train", folder / "runs" / "demo" / "zfnet")
    shutil.copy(demo / "epoch-0001.safetensors", demo / "epoch-0003.safetensors")
    shutil.copytree(demo, folder / "runs" / "spurious")
    unpack(KEPT / "train-other", folder / "runs" / "alexnet")
    atlas = "atlas run:runs/demo/zfnet scenes:val:24 --layers conv5 --check 1 --out runs/demo/atlas"
    with tiny(), inside(folder):
        assert main(atlas.split()) == 0
        yield folder


def run(line: str) -> None:
    verb, *words = shlex.split(fewer(line))
    if verb == "train":  # the network that it makes is there, and has learned for longer
        words = [re.sub(r"^runs/", "trained/", word) for word in words]
    assert main([verb, *words, *FEWER.get(verb, [])]) == 0, line


@pytest.mark.long
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_what_a_page_shows_runs_and_makes_its_pictures(page: Path, place: Path) -> None:
    text = page.read_text(encoding="utf-8")
    names: dict[str, Any] = {"__name__": page.stem}
    blocks = BLOCK.findall(text)
    assert blocks
    for kind, block in blocks:
        if kind == "python":
            exec(compile(fewer(block), page.name, "exec"), names)
            continue
        for line in re.findall(r"^\$ convscope (.*)", block, flags=re.MULTILINE):
            run(line)
    for source in SOURCE.findall(text):
        if source.startswith("runs/demo/pictures/"):  # the demo's own; tests/cli/test_demo.py
            continue
        assert (place / source).exists(), f"{page.name}: {source}"
