"""The demo, a very small one: whole, repeatable, and taken up where it was left."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import pytest

from golden.tiny import tiny

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", autouse=True)
def small() -> Iterator[None]:
    """A network of few maps, few images, one epoch."""
    with tiny():
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished demo."""
    from convscope.cli import main

    out = tmp_path_factory.mktemp("demo") / "runs" / "demo"
    assert main(["demo", "--quick", "--out", str(out), "--workers", "1"]) == 0
    return out


def test_everything_that_the_page_shows_is_there(folder):
    page = (folder / "index.html").read_text(encoding="utf-8")
    places = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert {"atlas/index.html", "pictures/maps.png", "tour.css"} <= set(places)
    for place in places:
        assert place == "data:," or (folder / unquote(place)).is_file(), place


def test_the_page_asks_nothing_of_any_server(folder):
    for name in ("index.html", "tour.css"):
        assert not re.search(r"https?:|//[a-z]", (folder / name).read_text(encoding="utf-8"))


def test_nothing_half_written_is_left(folder):
    names = [path.name for path in folder.rglob("*")]
    assert not [name for name in names if name.endswith((".tmp", ".part"))]
    assert "work" not in names


def test_a_finished_demo_is_shown_again_and_not_made_again(folder, convscope):
    before = (folder / "demo.json").read_bytes()
    answer = convscope("demo", "--quick", "--out", str(folder))
    assert answer.code == 0 and "finished demo" in answer.out
    assert (folder / "demo.json").read_bytes() == before


def test_its_facts_are_to_be_had_as_json(folder, convscope):
    facts = json.loads(convscope("demo", "--quick", "--out", str(folder), "--json").out)
    assert facts["page"].endswith("index.html") and len(facts["history"]) == 1


def test_a_demo_of_another_size_is_refused(folder, convscope):
    answer = convscope("demo", "--out", str(folder))
    assert answer.code == 2 and "another" in answer.err and answer.err.count("\n") == 1


def test_an_interrupted_demo_keeps_what_was_done(folder, tmp_path, convscope):
    again = tmp_path / "again"
    shutil.copytree(folder, again)
    record = json.loads((again / "demo.json").read_text())
    (again / "demo.json").write_text(json.dumps({**record, "finished": False}))
    weights = (again / "zfnet" / "weights.safetensors").read_bytes()
    shutil.rmtree(again / "pictures")
    (again / "index.html").unlink()
    answer = convscope("demo", "--quick", "--out", str(again))
    assert answer.code == 0 and "trained already" in answer.out
    assert (again / "index.html").is_file() and (again / "pictures" / "maps.png").is_file()
    assert (again / "zfnet" / "weights.safetensors").read_bytes() == weights
