"""A scan that is stopped, by an exception or by kill -9, and gone on with."""

from __future__ import annotations

import contextlib
import json
import shutil
from pathlib import Path

import pytest
import torch

import warm
from convscope.atlas import build as scan
from convscope.atlas import render as depict
from convscope.atlas.build import build_atlas
from convscope.atlas.verify import verify
from convscope.errors import BadInput, ConvscopeError, FolderInUse
from convscope.images.datasets import open_images
from convscope.methods.rules import GUIDED
from convscope.scan import engine
from folders import content

SCRIPT = Path(__file__).with_name("scan_until_killed.py")


class Stop(Exception):
    """Stands for whatever ends a process."""


@contextlib.contextmanager
def committing_often():
    """Checkpoints after every batch, a group of tiles for each layer, one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "CHECKPOINT_SECONDS", 0.0)
        patch.setattr(depict, "CHECKPOINT_SECONDS", 0.0)
        patch.setattr(depict, "TILE_BYTES", 1)
        patch.setattr(depict, "TRACE_BYTES", 2**17)
        yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def commit_at_every_step():
    with committing_often():
        yield


def scanned(tiny, pictures: Path, out: Path, **options):
    return build_atlas(tiny.model(), open_images(pictures), out, batch_size=4, **options)


@pytest.fixture(scope="module")
def whole(tmp_path_factory, tiny, pictures):
    """The uninterrupted atlas: its files, and what was told of its progress."""
    told: list[tuple[str, int, int]] = []
    folder = tmp_path_factory.mktemp("whole") / "atlas"
    with committing_often():
        scanned(tiny, pictures, folder, progress=lambda *report: told.append(report))
    return content(folder), told


def stop_at(moment: int):
    calls = 0

    def progress(phase: str, done: int, total: int) -> None:
        nonlocal calls
        calls += 1
        if calls == moment:
            raise Stop

    return progress


def test_stopped_at_every_step_in_turn_it_ends_with_the_same_bytes(tiny, pictures, tmp_path, whole):
    expected, told = whole
    out, stops = tmp_path / "a", 0
    while True:
        try:
            scanned(tiny, pictures, out, resume=stops > 0, progress=stop_at(3))
        except Stop:
            stops += 1
            assert stops < 3 * len(told)
        else:
            break
    assert stops > len(told) // 3
    assert content(out) == expected


@pytest.mark.slow
def test_kill_9_at_several_moments_ends_with_the_same_bytes(tiny, pictures, tmp_path, whole):
    out = tmp_path / "a"
    conftest = Path(__file__).with_name("conftest.py")
    scans = warm.start(SCRIPT, conftest, pictures, out)

    def run(moment: int, when: str) -> int:
        print(moment, when, file=scans.stdin, flush=True)
        return int(scans.stdout.readline())

    for moment, when in [(1, "before"), (3, "after"), (8, "before"), (27, "after")]:
        assert run(moment, when) == -9
        with pytest.raises(BadInput, match="no atlas in" if moment == 1 else "unfinished"):
            scan.open_atlas(out)
    assert run(0, "never") == 0
    scans.communicate()
    assert scans.wait() == 0
    assert content(out) == whole[0]


def stopped_when(some: str, tiny, pictures: Path, out: Path) -> Path:
    """An atlas that was stopped when some of its images or layers were drawn."""
    for moment in range(6, 60, 2):
        with committing_often(), contextlib.suppress(Stop):
            scanned(tiny, pictures, out, progress=stop_at(moment), resume=out.exists())
        drawn = out / "work" / "drawn.json"
        if drawn.is_file() and json.loads(drawn.read_bytes())[some] > 0:
            return out
    raise AssertionError(f"no {some} were ever drawn")


@pytest.fixture(scope="module")
def waiting(tmp_path_factory, tiny, pictures):
    """An atlas that was stopped when tiles and trust numbers waited for their sheets."""
    return stopped_when("images", tiny, pictures, tmp_path_factory.mktemp("waiting") / "a")


@pytest.fixture(scope="module")
def half(tmp_path_factory, tiny, pictures):
    """An atlas that was stopped when the sheets of its first layers were written."""
    return stopped_when("layers", tiny, pictures, tmp_path_factory.mktemp("half") / "a")


@pytest.mark.parametrize("what", ["tiles/*.patch", "tiles/*.spotlight", "trust/*.trust"])
def test_a_waiting_tile_or_number_that_was_damaged_is_refused(
    tiny, pictures, tmp_path, waiting, what
):
    out = shutil.copytree(waiting, tmp_path / "a")
    path = max((out / "work").glob(what), key=lambda one: one.stat().st_size)
    data = bytearray(path.read_bytes())
    at = next(place for place in range(40, len(data)) if data[place] not in (0, 0xC0, 0x7F))
    data[at] ^= 1
    path.write_bytes(data)
    with pytest.raises(FolderInUse, match=f"{path.name} is damaged: it is not what was written"):
        scanned(tiny, pictures, out, resume=True)


def test_waiting_tiles_of_a_version_without_checksums_go_on(
    tiny, pictures, tmp_path, waiting, whole
):
    out = shutil.copytree(waiting, tmp_path / "a")
    for path in (out / "work").glob("t*/*.seals"):
        path.unlink()
    scanned(tiny, pictures, out, resume=True)
    assert content(out) == whole[0]


@pytest.mark.parametrize("how", ["flipped", "gone"])
def test_a_finished_sheet_of_an_unfinished_atlas_that_was_damaged_is_refused(
    tiny, pictures, tmp_path, half, how: str
):
    out = shutil.copytree(half, tmp_path / "a")
    path = min((out / "sheets").rglob("projection-*.webp"))
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data) if how == "flipped" else path.unlink()
    with pytest.raises(FolderInUse, match=f"{path.name} is damaged: .* begin anew"):
        scanned(tiny, pictures, out, resume=True)


def test_a_sheet_that_is_damaged_before_its_atlas_is_finished_is_not_believed_then(
    tiny, pictures, tmp_path, monkeypatch
):
    finished = scan.write_manifest

    def damaging(folder: Path, manifest):
        sheet = min((folder / "sheets").rglob("projection-*.webp"))
        sheet.write_bytes(sheet.read_bytes()[:-1] + b"?")
        finished(folder, manifest)

    monkeypatch.setattr(scan, "write_manifest", damaging)
    scanned(tiny, pictures, tmp_path / "a")
    [found] = verify(tmp_path / "a").damaged
    assert "projection-" in found.name and "not those that were written" in found.reason


def test_finished_sheets_of_a_version_without_checksums_go_on(
    tiny, pictures, tmp_path, half, whole
):
    out = shutil.copytree(half, tmp_path / "a")
    (out / "checksums.json").unlink()
    scanned(tiny, pictures, out, resume=True)
    assert content(out) == whole[0]


def test_an_unfinished_atlas_is_not_overwritten_and_both_ways_out_are_named(
    tiny, pictures, tmp_path
):
    out = tmp_path / "a"
    with pytest.raises(Stop):
        scanned(tiny, pictures, out, progress=stop_at(3))
    before = content(out)
    with pytest.raises(FolderInUse, match="unfinished atlas; go on with --resume, or delete"):
        scanned(tiny, pictures, out)
    assert content(out) == before


def test_a_finished_atlas_is_not_overwritten_and_a_resume_of_it_does_nothing(
    tiny, pictures, tmp_path
):
    out = tmp_path / "a"
    scanned(tiny, pictures, out, layers=["0"])
    before = content(out)
    with pytest.raises(FolderInUse, match="a finished atlas; look at it as it is, or delete"):
        scanned(tiny, pictures, out, layers=["0"])
    atlas = scanned(tiny, pictures, out, layers=["0"], resume=True)
    assert list(atlas.layers) == ["0"]
    assert content(out) == before


@pytest.mark.parametrize("finished", [False, True])
@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("top", "top is 9 there, 5 now"),
        ("layers", "layers is '0' there, '3' now"),
        ("rules", "rules is 'deconvnet' there, 'guided' now"),
        ("model", "the model's weights is"),
        ("images", "the number of images is 22 there, 12 now; the images' identity is"),
        ("preprocess", "preprocess is"),
    ],
)
def test_a_resume_with_something_else_is_refused_and_says_what_differs(
    tiny, pictures, tmp_path, change, words, finished
):
    out = tmp_path / "a"
    try:
        scanned(tiny, pictures, out, layers=["0"], progress=None if finished else stop_at(3))
    except Stop:
        assert not finished
    before = content(out)
    model = {
        "model": lambda: tiny.model(tiny.module(seed=1)),
        "preprocess": lambda: tiny.model(scaling="unit"),
    }.get(change, tiny.model)()
    images = open_images("scenes:val:12" if change == "images" else pictures, size=24)
    options = {
        "top": {"top": 5},
        "rules": {"rules": GUIDED},
        "layers": {"layers": ["3"]},
    }.get(change, {})
    with pytest.raises(FolderInUse, match=words):
        build_atlas(model, images, out, **{"layers": ["0"], **options}, resume=True)
    assert content(out) == before


def test_batch_size_and_workers_may_change_on_resume(tiny, pictures, tmp_path, whole):
    out = tmp_path / "a"
    with pytest.raises(Stop):
        scanned(tiny, pictures, out, progress=stop_at(3))
    build_atlas(tiny.model(), open_images(pictures), out, batch_size=3, workers=0, resume=True)
    reference = scanned(tiny, pictures, tmp_path / "b")
    resumed = scan.open_atlas(out)
    for name, table in reference.layers.items():
        torch.testing.assert_close(resumed.layers[name].value, table.value, rtol=1e-5, atol=1e-6)


def test_a_folder_that_holds_something_else_is_refused_and_untouched(tiny, pictures, tmp_path):
    out = tmp_path / "mine"
    (out / "work").mkdir(parents=True)
    (out / "thesis.txt").write_text("years of it")
    (out / "work" / "notes").write_text("more")
    for resume in (False, True):
        with pytest.raises(FolderInUse, match=r"holds thesis\.txt, work, which no atlas put there"):
            scanned(tiny, pictures, out, resume=resume)
    assert len(content(out)) == 2
    with pytest.raises(FolderInUse, match="is a file"):
        scanned(tiny, pictures, out / "thesis.txt")


def test_an_empty_folder_may_be_used(tiny, pictures, tmp_path):
    assert scanned(tiny, pictures, tmp_path, layers=["0"]).manifest.complete


def test_two_processes_do_not_work_in_one_folder(tiny, pictures, tmp_path):
    out = tmp_path / "a"

    def intrude(phase: str, done: int, total: int) -> None:
        with pytest.raises(FolderInUse, match="another process is at work"):
            scanned(tiny, pictures, out, layers=["0"], resume=True)
        raise Stop

    with pytest.raises(Stop):
        scanned(tiny, pictures, out, layers=["0"], progress=intrude)


def test_a_full_disk_is_said_and_the_scan_goes_on_later(
    tiny, pictures, tmp_path, whole, monkeypatch
):
    out = tmp_path / "a"

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(depict.TileFiles, "flush", full)
        with pytest.raises(BadInput, match=r"no space is left on the disk of .* --resume"):
            scanned(tiny, pictures, out)
    scanned(tiny, pictures, out, resume=True)
    assert content(out) == whole[0]


def test_an_image_that_vanishes_between_the_passes_is_named(tiny, tmp_path):
    from PIL import Image

    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(4):
        Image.new("RGB", (24, 24), (40 * number, 99, 7)).save(folder / f"{number}.png")

    def vanish(phase: str, done: int, total: int) -> None:
        if phase == "images" and done == total:
            (folder / "2.png").unlink(missing_ok=True)

    with pytest.raises(ConvscopeError, match=r"2\.png was read before and cannot be read now"):
        scanned(tiny, folder, tmp_path / "a", progress=vanish)
    assert (tmp_path / "a" / "work" / "state.safetensors").exists()
