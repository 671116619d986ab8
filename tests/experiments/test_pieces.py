"""Studies that are interrupted and go on."""

from __future__ import annotations

from pathlib import Path

import pytest

from convscope.errors import BadData, FolderInUse
from convscope.experiments.pieces import Pieces


def made(log: list[str], name: str, value: float) -> dict[str, float]:
    log.append(name)
    return {"value": value}


def test_a_resumed_study_makes_only_what_is_missing(tmp_path: Path) -> None:
    log: list[str] = []
    first = Pieces(tmp_path / "s", {"seed": 1})
    assert first.get("a/b", lambda: made(log, "a", 0.5)) == {"value": 0.5}
    again = Pieces(tmp_path / "s", {"seed": 1}, resume=True)
    assert again.get("a/b", lambda: made(log, "a", 9.0)) == {"value": 0.5}
    assert again.get("c", lambda: made(log, "c", 2.0)) == {"value": 2.0}
    assert log == ["a", "c"]


def test_a_piece_that_fails_leaves_nothing(tmp_path: Path) -> None:
    pieces = Pieces(tmp_path, {})
    with pytest.raises(ZeroDivisionError):
        pieces.get("a", lambda: {"value": 1 / 0})
    assert pieces.get("a", lambda: {"value": 1}) == {"value": 1}


def test_a_folder_in_use_is_refused(tmp_path: Path) -> None:
    Pieces(tmp_path, {"seed": 1, "folds": 5})
    with pytest.raises(FolderInUse, match="--resume"):
        Pieces(tmp_path, {"seed": 1, "folds": 5})
    with pytest.raises(FolderInUse, match="seed is 1 there, 2 now"):
        Pieces(tmp_path, {"seed": 2, "folds": 5}, resume=True)


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"x")
    with pytest.raises(FolderInUse, match="no study"):
        Pieces(tmp_path, {}, resume=True)


def test_a_damaged_piece_is_named(tmp_path: Path) -> None:
    pieces = Pieces(tmp_path, {})
    (tmp_path / "pieces" / "a.json").write_text("{")
    with pytest.raises(BadData, match=r"a\.json"):
        pieces.get("a", dict)


def test_without_a_folder_nothing_is_kept() -> None:
    log: list[str] = []
    pieces = Pieces(None, {})
    pieces.get("a", lambda: made(log, "a", 1.0))
    pieces.get("a", lambda: made(log, "a", 1.0))
    assert log == ["a", "a"]
