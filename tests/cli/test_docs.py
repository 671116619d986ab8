"""The documents tell the truth: the reference is fresh, and the README's snippets run."""

from __future__ import annotations

import re
import shlex
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

import warm
from golden.tiny import tiny

from .conftest import NETWORK

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
START = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
PYTHON = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
START_PYTHON = re.findall(r"```python\n(.*?)```", START, flags=re.DOTALL)


def commands(text: str) -> list[list[str]]:
    """The words of each command in a page's console blocks, without the program's name."""
    return [
        shlex.split(line.removeprefix("$ "))[1:]
        for block in re.findall(r"```console\n(.*?)```", text, flags=re.DOTALL)
        for line in block.splitlines()
        if line.startswith("$ convscope")
    ]


COMMANDS = commands(README)
OWN = [command for command in COMMANDS if "mynet" in command[1]]
START_ONLY = [command for command in commands(START) if command not in OWN]
EXPERIMENTS = re.findall(r"^convscope .*", README, flags=re.MULTILINE)
FOREIGN = [command for command in COMMANDS if "mynet" not in command[1]]


@pytest.mark.slow
def test_the_reference_of_the_command_line_is_what_help_prints():
    """If not: `make docs`."""
    checked = warm.run(ROOT / "docs" / "reference.py", "--check")
    assert checked.returncode == 0, checked.stderr


def test_every_link_of_the_documents_leads_somewhere():
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "docs" / "architecture.md"):
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_every_word_of_the_readme_is_a_word_of_the_makefile():
    words = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    for page in ("README.md", "CONTRIBUTING.md"):
        text = (ROOT / page).read_text(encoding="utf-8")
        said = re.findall(r"(?:`|^    )make ([a-z-]+)", text, flags=re.MULTILINE)
        assert said and set(said) <= words


def test_the_own_network_of_both_first_pages_is_the_one_that_is_tried_here(place):
    assert PYTHON[0].strip() == START_PYTHON[0].strip() == NETWORK.strip()


def test_the_readme_s_python_runs(place):
    assert len(PYTHON) == 2
    exec(compile(PYTHON[1], "README.md", "exec"), {})
    assert (place / "atlas-python" / "manifest.json").exists()


def test_the_python_of_the_site_s_first_page_runs(place, monkeypatch):
    monkeypatch.syspath_prepend(place)  # as where Python is started in the folder
    assert len(START_PYTHON) == 2
    exec(compile(START_PYTHON[1], "index.md", "exec"), {})
    assert Path("units.png").exists() and Path("where-python.png").exists()


@pytest.mark.parametrize("command", OWN, ids=lambda command: command[0])
def test_the_readme_s_commands_on_one_s_own_network_run(command, place, convscope):
    assert convscope(*command).code == 0


@pytest.mark.parametrize("command", START_ONLY, ids=lambda command: command[0])
def test_what_the_site_s_first_page_has_besides_runs(command, place, convscope):
    assert "mynet" in command[1]
    assert convscope(*command).code == 0


@pytest.mark.slow
@pytest.mark.skipif(find_spec("torchvision") is None, reason="torchvision is not installed")
@pytest.mark.filterwarnings("ignore:torchvision's compiled operators")
def test_the_readme_s_commands_on_a_network_of_torchvision_run(place, convscope):
    from convscope.images.torchvision_import import import_torchvision

    torch.manual_seed(0)
    torch.save(import_torchvision().models.resnet18(weights=None).state_dict(), "resnet18.pth")
    fewer = {
        "layers": (),
        "atlas": ("--layers", "conv1", "--top", "1", "--plain"),
        "project": (),
        "check": ("--shifts", "2", "--draws", "1"),
        "occlude": ("--stride", "64"),
        "visualize": ("--steps", "1"),
    }
    assert {command[0] for command in FOREIGN} == set(fewer)
    for command in FOREIGN:
        assert convscope(*command, *fewer[command[0]]).code == 0


@pytest.mark.slow
def test_the_readme_s_experiments_run(place, convscope):
    """With fewer images, fewer maps and less training."""
    fewer = {
        "train": ("--val", "scenes:val:36", "--epochs", "1", "--set", "keep_epochs=0"),
        "evolve": ("--layers", "conv1", "--maps", "2"),
        "diagnose": (),
        "transfer": ("--layer", "pool5", "--per-class", "2", "--folds", "2"),
    }
    small = {
        "scenes": "scenes:train:96",
        "scenes:train:2000": "scenes:train:48",
        "scenes:val": "scenes:val:36",
        "scenes:transfer": "scenes:transfer:64",
    }
    commands = [shlex.split(line)[1:] for line in EXPERIMENTS]
    commands = [words for words in commands if words[0] != "explore"]  # serves until it is ended
    assert {verb for verb, *_ in commands} == set(fewer)
    with tiny():
        for verb, *words in commands:
            given = [small.get(word, word) for word in words]
            assert convscope(verb, *given, *fewer[verb]).code == 0
