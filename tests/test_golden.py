"""What was made before opens, goes on or is refused as before, and is made the same again.

The golden files are in tests/golden/kept; tests/golden/make.py makes them.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
from collections.abc import Iterator, Sequence
from fnmatch import fnmatch
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
import torch
from PIL import Image

import convscope
from convscope.errors import BadInput
from golden.commands import COMMANDS, PAGE, Command
from golden.keeping import (
    EXACT,
    ROUNDED,
    TRAINED,
    differences,
    files,
    layout,
    read_arrays,
    said_in,
    unlike,
    unpack,
)
from golden.places import KEPT, Answer, inside, run, written
from golden.surface import networks, options

BY_NAME = {command.name: command for command in COMMANDS}
MADE_AGAIN = {".png", ".html", ".css", ".js", ".webp", ".csv"}  # figures, pages and lists
SAID = {"result.json", "study.json", "run.json", "recipe.yaml"}  # rewritten as they were
PLACE = {"train": "run", "train-other": "other"}


def each(
    *commands: Command, failing: dict[str, str] | None = None, long: Sequence[str] = ()
) -> pytest.MarkDecorator:
    """A test of each of these commands.

    Args:
        commands: The commands.
        failing: Known faults, by the command's name.
        long: Names of those whose test is among the longest.
    """
    marks = {command.name: [pytest.mark.slow] * command.slow for command in commands}
    for name in long:
        marks[name].append(pytest.mark.long)
    for name, reason in (failing or {}).items():
        marks[name].append(pytest.mark.xfail(strict=True, reason=reason))
    return pytest.mark.parametrize(
        "command",
        [pytest.param(one, id=one.name, marks=marks[one.name]) for one in commands],
    )


LACKING = {"sensitivity-against"}  # its pieces are too large to be kept
FINISHED = each(
    *(command for command in COMMANDS if command.changed[1] and command.name not in LACKING)
)
RESUMED = each(*(command for command in COMMANDS if command.changed[1]))
INTERRUPTED = each(*(command for command in COMMANDS if command.stops), long=["paper"])


@pytest.fixture
def place(tmp_path: Path):
    """An empty folder that one is in."""
    with inside(tmp_path / "place"):
        yield tmp_path / "place"


@pytest.fixture
def original(tmp_path: Path):
    """Unpacks what was kept of a command, to be looked at."""
    return lambda command: unpack(KEPT / command.name, tmp_path / "original" / command.out)


def provide(place: Path, needs: tuple[str, ...]) -> None:
    """What a command reads, as it was when the golden files were made."""
    runs = {out: name for name, out in PLACE.items()}
    for name in needs:
        if name in runs:
            unpack(KEPT / runs[name], place / name)
            continue
        inputs = KEPT.parent if name == "factory.py" else KEPT / "inputs"
        copy = shutil.copytree if (inputs / name).is_dir() else shutil.copy
        copy(inputs / name, place / name)


def stand_in(command: Command, out: Path) -> None:
    """Blank pictures for those of the paper's figures that are not kept: its page asks their size.
    """  # fmt: skip
    if command.verb == "paper":
        for name in json.loads((KEPT / command.name / "files.json").read_text()):
            if name.endswith(".png"):
                (out / name).parent.mkdir(parents=True, exist_ok=True)
                Image.new("RGB", (8, 8)).save(out / name)


def tolerance(command: Command):
    return TRAINED if command.trains else ROUNDED


def spoken(command: Command, answer: Answer, original: Path, *apart: str) -> list[str]:
    """In what an answer differs from the kept one; `apart` are keys that need not be alike."""
    code, told = said_in(KEPT / command.name, original)
    assert answer.code == code, answer.err
    found = json.loads(answer.out)
    for key in apart:
        told.pop(key), found.pop(key)
    return list(unlike(found, told, tolerance(command), "json"))


def dead_links(out: Path) -> Iterator[str]:
    """What the written pages link or show, and is not there."""
    for page in out.rglob("*.html"):
        for link in re.findall(r'\b(?:href|src)="([^"#:$]+)"', page.read_text(encoding="utf-8")):
            if not (page.parent / unquote(link)).exists():
                yield f"{page.relative_to(out)}: {link}"


# ---- the same commands --------------------------------------------------------------------------


@each(*COMMANDS)
def test_the_same_command_writes_the_same_files_and_says_the_same(command, place, original) -> None:
    provide(place, command.needs)
    answer = run(command.words)
    if not command.out:
        told = json.loads((KEPT / command.name / "said.json").read_text())
        assert answer.code == told["code"] == 0
        assert not list(unlike(json.loads(answer.out), told["json"], ROUNDED))
        return
    kept = original(command)
    assert spoken(command, answer, kept) == []
    case = KEPT / command.name
    assert differences(place / command.out, case, kept, tolerance(command)) == []
    assert list(dead_links(place / command.out)) == []


# ---- what was begun before ----------------------------------------------------------------------


@INTERRUPTED
def test_an_interrupted_one_goes_on_to_the_same_end(command, place, original) -> None:
    provide(place, command.needs)
    out = unpack(KEPT / f"{command.name}-interrupted", place / command.out)
    if command.verb == "paper":  # the last stage reads the atlas's tables, which are not kept
        shutil.rmtree(out / "fig2")
        (out / "pieces/fig2.json").unlink()
    stand_in(command, out)
    before = {name: (out / name).stat() for name in files(out)}
    answer = run([*command.words, *command.resume])
    kept = original(command)
    assert spoken(command, answer, kept) == []
    untouched = [
        name
        for name in set(files(out)) & set(before)
        if (out / name).stat().st_mtime_ns == before[name].st_mtime_ns
    ]
    if command.verb != "atlas":  # what an atlas had done lies in a folder that is removed
        assert set(untouched) - SAID, "everything was done again"
    found = differences(out, KEPT / command.name, kept, tolerance(command))
    listed = json.loads((KEPT / command.name / "files.json").read_text())
    dropped = {name for name in listed if not command.keeps(name, interrupted=True)}
    if command.packed:  # nor are the pages of the stages that were done
        dropped |= {name for name in listed if Path(name).suffix in MADE_AGAIN}
    assert [line for line in found if line.removesuffix(" is missing") not in dropped] == []


@FINISHED
def test_a_finished_one_is_resumed_without_doing_anything_again(
    command, place, monkeypatch
) -> None:
    provide(place, command.needs)
    out = unpack(KEPT / command.name, place / command.out)

    stand_in(command, out)

    def learn(*_: object, **__: object) -> None:
        raise AssertionError("something is trained again")

    monkeypatch.setattr(torch.Tensor, "backward", learn)
    told: list[str] = []
    with written(told.append):
        answer = run([*command.words, *command.resume])
    assert spoken(command, answer, out, *(["already"] if command.verb == "train" else [])) == []
    again = {Path(file).relative_to(command.out).as_posix() for file in told}
    if command.verb == "atlas":
        again -= {name for name in again if any(fnmatch(name, page) for page in PAGE)}
        assert not [name for name in again if name.endswith(".webp")]  # sheets are its result
    worked = {name for name in again if Path(name).suffix not in MADE_AGAIN}
    worked -= {"pieces/pictures.npz", "pieces/map.npz", "checksums.json"}  # of errors: not kept
    assert {Path(name).name for name in worked} - SAID == set()
    kept = unpack(KEPT / command.name, place / "original")
    for name in worked:
        new, old = out / name, kept / name
        assert new.read_bytes() == old.read_bytes() or name == "result.json", name
    if not command.slow:
        there = set(files(out))
        listed = json.loads((KEPT / command.name / "files.json").read_text())
        drawn = {name for name in listed if Path(name).suffix in {".png", ".html"}}
        assert drawn <= there
        for name in drawn:
            assert layout(out / name) == listed[name], name


@RESUMED
def test_resuming_by_another_option_is_refused_and_the_option_named(command, place) -> None:
    provide(place, command.needs)
    out = unpack(KEPT / command.name, place / command.out)
    before = {name: (out / name).read_bytes() for name in files(out)}
    answer = run([*command.words_changed(), *command.resume])
    assert answer.code == 2, answer.err
    line = answer.err.strip().splitlines()[-1]
    assert line.startswith("convscope: ") and command.changed[1] in line, line
    assert {name: (out / name).read_bytes() for name in files(out)} == before


@each(*(BY_NAME[name] for name in ("train", "atlas", "evolve", "ensemble", "transfer", "probe")))
def test_a_folder_in_use_is_refused_without_resume(command, place) -> None:
    provide(place, command.needs)
    unpack(KEPT / command.name, place / command.out)
    answer = run(command.words)
    assert answer.code == 2
    line = answer.err.strip().splitlines()[-1]
    assert "a finished" in line or ("not empty" in line and "--resume" in line)


# ---- opened from Python -------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["atlas", "atlas-mine"])
def test_an_atlas_opens_with_its_tables_and_pictures(name: str, place: Path) -> None:
    atlas = convscope.open_atlas(unpack(KEPT / name, place / "atlas"))
    arrays, _ = read_arrays(place / "atlas" / "tables.safetensors")
    for record in atlas.manifest.layers:
        table = atlas.layers[record.name]
        for part in ("value", "image", "row", "column", "box"):
            stored = arrays[f"{record.name}/{part}"]
            assert np.array_equal(np.asarray(getattr(table, part)), stored), part
        assert atlas.patch(record.name, 0, 0).size == atlas.projection(record.name, 0, 0).size
    skipped = [each.name for each in atlas.manifest.skipped]
    assert skipped == (["dogs/broken.png"] if name == "atlas-mine" else [])


def test_an_interrupted_atlas_says_how_to_go_on(place: Path) -> None:
    unpack(KEPT / "atlas-interrupted", place / "atlas")
    with pytest.raises(BadInput, match="--resume"):
        convscope.open_atlas(place / "atlas")


def test_an_interrupted_training_is_no_network_yet_but_its_features_can_be_watched(
    place: Path,
) -> None:
    unpack(KEPT / "train-interrupted", place / "run")
    with pytest.raises(BadInput, match=r"not finished.*run/epoch-0001\.safetensors"):
        convscope.open_model("run:run")
    line = "evolve run scenes:train:6 --layers conv1 --maps 1 --measured 2 --out grown --json"
    answer = run(shlex.split(line))
    assert answer.code == 0, answer.err
    found = json.loads(answer.out)
    assert (found["epochs"], found["status"]) == ([0, 1], "running")


# ---- the surface --------------------------------------------------------------------------------


def test_networks_are_printed_and_answer_as_they_did(place: Path) -> None:
    provide(place, ("run", "factory.py", "net.safetensors"))
    kept = json.loads((KEPT / "surface.json").read_text(encoding="utf-8"))["networks"]
    found = networks()
    assert found.keys() == kept.keys()
    for spec, told in kept.items():
        assert found[spec]["print"] == told["print"]
        assert list(unlike(found[spec]["scores"], told["scores"], ROUNDED)) == []


def test_no_verb_and_no_option_has_gone() -> None:
    kept = json.loads((KEPT / "surface.json").read_text(encoding="utf-8"))["options"]
    found = options()
    assert kept.keys() <= found.keys()
    assert {verb: set(names) - set(found[verb]) for verb, names in kept.items()} == {
        verb: set() for verb in kept
    }


def test_every_verb_has_a_golden_file() -> None:
    leave_nothing = {"explore", "verify"}  # one serves, one reads a finished atlas
    assert {command.verb for command in COMMANDS} == set(options()) - {""} - leave_nothing


def test_no_public_name_has_gone() -> None:
    kept = json.loads((KEPT / "surface.json").read_text(encoding="utf-8"))["names"]
    assert len(kept) == 29
    assert set(kept) <= set(convscope.__all__)
    for name in kept:
        assert getattr(convscope, name) is not None


def test_the_golden_files_are_small_and_name_no_place_of_the_machine_they_were_made_on() -> None:
    kept = [path for path in KEPT.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in kept) < 1_000_000
    for path in kept:
        if path.suffix in {".json", ".jsonl", ".yaml"}:
            assert not re.search(r'"/|/tmp/|/home/|/root/', path.read_text(encoding="utf-8")), path


# ---- that differences are found ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("new", "old", "alike"),
    [
        ({"a": 1}, {"a": 2}, False),
        ({"a": 1}, {"a": 1.0}, False),
        ({"a": 1}, {"b": 1}, False),
        ({"a": 1.0}, {"a": 1.0 + 1e-7}, True),
        ({"a": 1.0}, {"a": 1.001}, False),
        ({"a": float("nan")}, {"a": 1.0}, False),
        ({"seconds": 1.0}, {"seconds": 9.0}, True),
        ({"seconds": "1"}, {"seconds": 9.0}, False),
        ({"a": "0.12 of 3"}, {"a": "0.13 of 3"}, True),
        ({"a": "0.12 of 3"}, {"a": "0.14 of 3"}, False),
        ({"a": "0.12 of 3"}, {"a": "0.12 of 4"}, False),
        ({"a": "0.12 of 3"}, {"a": "0.12 in 3"}, False),
        ({"a": [1, 2]}, {"a": [1]}, False),
    ],
)
def test_what_differs_by_more_than_rounding_is_found(new, old, alike: bool) -> None:
    assert (list(unlike(new, old, ROUNDED)) == []) is alike
    assert alike is False or list(unlike(old, old, EXACT)) == []


def test_a_changed_number_in_a_file_is_found_and_a_file_more_or_less(place: Path, original) -> None:
    command = BY_NAME["ensemble"]
    kept, case = original(command), KEPT / "ensemble"
    out = unpack(case, place / "ensemble")
    name = next(name for name in files(out) if name.endswith(".npz"))
    arrays, _ = read_arrays(out / name)
    key = next(key for key, value in arrays.items() if value.dtype.kind == "f")
    arrays[key].flat[0] += 1e-3
    np.savez(out / name, **arrays)
    (out / "more.txt").write_text("more")
    found = differences(out, case, kept, ROUNDED)
    assert [line for line in found if line.startswith(f"{name}:{key}: 1 of")]
    assert "more.txt is new" in found and "ensemble.png is missing" in found
