"""What `make dist` builds: complete, and usable outside of this folder."""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import tomllib
import venv
from pathlib import Path

import numpy
import pytest
import yaml

from convscope.version import __version__
from package import check_wheel

ROOT = Path(__file__).parents[2]
ABOUT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """(sdist, wheel), the wheel made from the sdist."""
    folder = tmp_path_factory.mktemp("dist")
    words = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (sdist,), (wheel,) = folder.glob("*.tar.gz"), folder.glob("*.whl")
    return sdist, wheel


@pytest.fixture(scope="module")
def place(built, tmp_path_factory):
    """An environment with the wheel alone; the libraries are those that this suite runs with."""
    folder = tmp_path_factory.mktemp("elsewhere")
    venv.create(folder / "env", with_pip=False)
    (site,) = (folder / "env/lib").glob("python*/site-packages")
    words = ["install", "--quiet", "--no-deps", "--no-index", str(built[1])]
    pip = [sys.executable, "-m", "pip", "--python", str(folder / "env/bin/python")]
    subprocess.run([*pip, *words], check=True, cwd=folder)
    # a line of a .pth file adds a folder, but runs none of that folder's own .pth files
    (site / "libraries.pth").write_text(f"{Path(numpy.__file__).parents[1]}\n")
    work = folder / "work"
    work.mkdir()
    return check_wheel.Place(folder / "env/bin/python", work)


def test_the_wheel_holds_every_file_of_the_package(built):
    assert check_wheel.missing_files(built[1]) == []


def test_a_file_that_the_wheel_lacks_is_named(built, tmp_path):
    (tmp_path / "convscope").mkdir()
    (tmp_path / "convscope/lost.css").touch()
    assert check_wheel.missing_files(built[1], tmp_path / "convscope") == ["convscope/lost.css"]


def test_the_sdist_holds_what_the_two_words_of_a_fresh_clone_need(built):
    with tarfile.open(built[0]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"Makefile", "constraints.txt", "tests/conftest.py", "docs/cli.md"} <= names


@pytest.mark.long
def test_the_installed_program_is_the_wheels(place, built):
    assert check_wheel.check_program(place, built[1]) == f"convscope {__version__}"


@pytest.mark.long
def test_the_installed_program_reads_a_network_and_makes_a_page(place):
    assert "layers of zfnet-small" in check_wheel.check_layers(place)
    assert check_wheel.check_atlas(place).startswith("atlas/index.html")


@pytest.mark.parametrize(
    ("page", "said"),
    [
        ("<p>", "lacks its script"),
        ('<script defer src="page/script.js"></script>', "names page/script.js"),
    ],
)
def test_a_page_that_lacks_a_file_is_found(page, said, tmp_path):
    (tmp_path / "index.html").write_text(page)
    with pytest.raises(check_wheel.Failed, match=said):
        check_wheel.check_page(tmp_path)


@pytest.mark.long
def test_the_installed_explorer_serves_its_page(place, monkeypatch):
    monkeypatch.setattr(check_wheel, "has_explorer", lambda _: True)
    assert check_wheel.check_explorer(place).startswith("explore serves its page")


def test_what_is_said_of_the_versions_agrees():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == __version__


def test_the_lowest_versions_are_those_that_are_allowed():
    allowed = [*ABOUT["dependencies"]]
    for extra in ("zoo", "tensorboard", "explore"):
        allowed += ABOUT["optional-dependencies"][extra]
    floors = dict(one.lower().split(">=") for one in allowed)
    lines = (ROOT / "tests/package/lowest.txt").read_text().splitlines()
    lowest = dict(line.split("==") for line in lines if not line.startswith("#"))
    assert lowest.keys() == floors.keys()
    for name, version in lowest.items():
        assert re.fullmatch(re.escape(floors[name]) + r"(\.0)*", version), name
