"""A disk that is full or cannot be written to is said in a line with the file and what to do."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from convscope.cli.app import main
from convscope.cli.outputs import check_output
from convscope.store.atomic import replace_file

from .test_one_at_a_time import commands


@pytest.mark.parametrize(("verb", "words", "resumes"), commands(), ids=lambda one: str(one)[:20])
def test_a_folder_that_cannot_be_written_to_is_told_before_images_are_read(
    verb, words, resumes, tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch
):
    def mkdir(path: Path, *given: object, **more: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    def opened(*given: object, **more: object) -> None:
        raise AssertionError("images were opened")

    monkeypatch.setattr(Path, "mkdir", mkdir)
    monkeypatch.setattr("convscope.images.datasets.open_images", opened)
    code = main([verb, *words, "--out", str(tmp_path / "out")])
    said = capsys.readouterr().err
    assert code == 1
    assert said == (
        f"convscope: {tmp_path / 'out'}: read-only file system: give a place that can be written "
        "to\n"
    )


FILES = {
    "project": ["zfnet-small", "scenes:val:4#1", "conv3/2"],
    "saliency": ["zfnet-small", "scenes:val:4#1"],
    "occlude": ["zfnet-small", "scenes:val:4#1"],
    "visualize": ["zfnet-small", "conv3/2", "--data", "scenes:val:4"],
    "curvature": ["zfnet-small", "conv3/2"],
    "invert": ["zfnet-small", "scenes:val:4#1", "--layers", "conv3"],
    "features": ["zfnet-small", "scenes:val:4", "--layers", "conv3"],
}
"""The verbs that write a file."""


@pytest.mark.skipif(not Path("/proc/1").is_dir(), reason="there is no /proc")
@pytest.mark.parametrize("verb", FILES)
def test_a_file_that_cannot_be_written_is_told_before_images_are_read_to_root_too(
    verb: str, tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    def opened(*given: object, **more: object) -> None:
        raise AssertionError("images were opened")

    monkeypatch.setattr("convscope.images.datasets.open_images", opened)
    for place in ("/proc/1", "/proc/1/there"):  # where root has every permission, and no file
        path = Path(place) / "out.npz"
        assert main([verb, *FILES[verb], "--device", "cpu", "--out", str(path)]) == 2
        line = capsys.readouterr().err.splitlines()[-1]
        assert line.startswith(f"convscope: --out {path}: /proc/1 cannot be written to (")
    assert not list(tmp_path.iterdir())


def test_looking_whether_a_place_can_be_written_to_leaves_nothing(tmp_path: Path) -> None:
    assert check_output(tmp_path / "a.png", (".png",)) == tmp_path / "a.png"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EROFS, errno.EDQUOT])
def test_a_write_that_fails_names_the_file_and_leaves_the_old_one(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = tmp_path / "result.json"
    path.write_text("old")

    def fails(_: int) -> None:
        raise OSError(number, os.strerror(number))  # as a write to a file does: it has no name

    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(OSError, match=os.strerror(number)) as found:
        replace_file(path, b"new")
    assert found.value.filename == str(path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_told_with_the_file_and_the_remedy(
    tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch
):
    def fails(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fails)
    out = tmp_path / "out"
    words = ["invariance", "zfnet-small", "scenes:val:4", "--count", "1", "--device", "cpu"]
    assert main([*words, "--out", str(out)]) == 1
    said = capsys.readouterr().err.splitlines()[-1]
    assert said == (
        f"convscope: {out / 'study.json'}: no space left on device: free some space, then give "
        "the same command again, with --resume if it has that"
    )


def test_a_closed_output_is_no_fault(capsys, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("sys.stdout", None)
    assert main(["--version"]) == 0
    assert capsys.readouterr().err == ""
