"""Every file of a finished atlas is read, and each one that is damaged is named."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from convscope.atlas.verify import verify
from convscope.cli.app import main
from convscope.errors import BadInput


@pytest.fixture
def folder(finished, tmp_path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(finished, tmp_path / "atlas"))


def names(folder: Path) -> list[str]:
    return [each.name for each in verify(folder).damaged]


def test_a_whole_atlas_is_said_to_be_so_in_a_line(finished: Path, capsys):
    written = [path for path in finished.rglob("*") if path.is_file()]
    written = [path for path in written if path.name not in ("checksums.json", "lock")]
    found = verify(finished)
    assert found.damaged == ()
    assert found.checksums
    assert found.files == len(written)
    assert found.sheets == len([path for path in written if path.suffix == ".webp"])
    assert main(["verify", str(finished)]) == 0
    out, err = capsys.readouterr()
    assert out.startswith(f"{finished} is whole: checksums, contents and sizes of ")
    assert (out.count("\n"), err) == (1, "")


def test_one_byte_that_has_changed_anywhere_names_its_file(folder: Path):
    for name in json.loads((folder / "checksums.json").read_bytes())["files"]:
        if name == "manifest.json":
            continue
        content = (folder / name).read_bytes()
        changed = bytearray(content)
        changed[len(content) // 2] ^= 1
        (folder / name).write_bytes(changed)
        assert names(folder) == [name]
        (folder / name).unlink()
        (found,) = verify(folder).damaged
        assert (found.name, found.reason) == (name, "it is missing")
        (folder / name).write_bytes(content)
    assert names(folder) == []


def test_another_number_in_the_manifest_is_seen_but_seconds_do_not_count(folder: Path):
    path = folder / "manifest.json"
    manifest = json.loads(path.read_bytes())
    path.write_text(json.dumps({**manifest, "seconds": 1e6}))
    assert names(folder) == []
    path.write_text(json.dumps({**manifest, "padding": "black"}))
    assert names(folder) == ["manifest.json"]


def test_the_command_names_every_damaged_file_and_fails(folder: Path, capsys):
    sheets = sorted((folder / "sheets").rglob("*.webp"))[:2]
    sheets[0].write_bytes(sheets[0].read_bytes()[:40])
    sheets[1].unlink()
    assert main(["verify", str(folder), "--json"]) == 1
    out, err = capsys.readouterr()
    assert [each["name"] for each in json.loads(out)["damaged"]] == [
        sheet.relative_to(folder).as_posix() for sheet in sheets
    ]
    assert all(f"convscope: {sheet}: " in err for sheet in sheets)
    assert "Traceback" not in err


def test_an_older_atlas_is_checked_by_its_contents_and_sizes(folder: Path, capsys):
    (folder / "checksums.json").unlink()
    assert main(["verify", str(folder)]) == 0
    assert "older version and has no checksums" in capsys.readouterr().out
    sheet = next((folder / "sheets").rglob("patch-000.webp"))
    with Image.open(sheet) as image:
        size = image.size
        content = io.BytesIO()
        image.crop((0, 0, size[0] - 1, size[1])).save(content, "WEBP")
    sheet.write_bytes(content.getvalue())
    (found,) = verify(folder).damaged
    assert found.name == sheet.relative_to(folder).as_posix()
    assert found.reason == f"it has {size[0] - 1}x{size[1]} pixels, not {size[0]}x{size[1]}"
    sheet.unlink()
    assert [each.reason for each in verify(folder).damaged] == ["it is missing"]


def test_tables_of_an_older_atlas_that_hold_something_else_are_named(folder: Path):
    (folder / "checksums.json").unlink()
    for name in ("tables.safetensors", "trust.safetensors", "statistics.safetensors"):
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[:-8])
        assert names(folder) == [name]
        (folder / name).write_bytes(content)


def test_a_name_in_checksums_that_leads_out_is_no_file_of_the_atlas(folder: Path):
    sums = json.loads((folder / "checksums.json").read_bytes())
    sums["files"]["../secret"] = "0" * 64
    (folder.parent / "secret").write_text("mine")
    (folder / "checksums.json").write_text(json.dumps(sums))
    (found,) = verify(folder).damaged
    assert (found.name, found.reason) == ("../secret", "it is no file of the atlas")


def test_where_no_finished_atlas_is_that_is_said(tmp_path: Path, folder: Path):
    with pytest.raises(BadInput, match="no atlas"):
        verify(tmp_path / "nothing")
    manifest = json.loads((folder / "manifest.json").read_bytes())
    (folder / "manifest.json").write_text(json.dumps({**manifest, "complete": False}))
    with pytest.raises(BadInput, match="unfinished"):
        verify(folder)
