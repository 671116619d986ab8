"""Folders that are new, used, or gone on with."""

from __future__ import annotations

from pathlib import Path

import pytest

from convscope.errors import FolderInUse
from convscope.store.lock import check_unused, held


def test_a_folder_that_is_new_or_empty_is_free_and_is_not_made(tmp_path: Path):
    assert check_unused(tmp_path) == tmp_path
    check_unused(tmp_path / "new" / "one", resume=False)
    assert not any(tmp_path.iterdir())


def test_a_used_folder_is_refused_and_offered_to_who_can_resume(tmp_path: Path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(FolderInUse, match=r"is not empty: give a new folder$"):
        check_unused(tmp_path)
    with pytest.raises(FolderInUse, match=r"new folder, or --resume to go on with what is there$"):
        check_unused(tmp_path, resume=False)
    assert check_unused(tmp_path, resume=True) == tmp_path


def test_a_file_is_no_folder_also_to_who_resumes(tmp_path: Path):
    (tmp_path / "dog.jpg").write_bytes(b"")
    with pytest.raises(FolderInUse, match="is a file"):
        check_unused(tmp_path / "dog.jpg", resume=True)


def test_the_second_comer_is_refused_and_the_lock_goes_with_its_holder(tmp_path: Path):
    with held(tmp_path / "lock", "busy"):
        with (
            pytest.raises(FolderInUse, match="wait for it"),
            held(tmp_path / "lock", "wait for it"),
        ):
            pass
        assert (tmp_path / "lock").exists()
    assert not (tmp_path / "lock").exists()
    with held(tmp_path / "lock", "busy"):
        pass


def test_a_lock_file_that_a_killed_process_left_holds_nobody_up(tmp_path: Path):
    (tmp_path / "lock").touch()
    with held(tmp_path / "lock", "busy"):
        pass
