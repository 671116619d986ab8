"""Studies that are interrupted and go on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load, save

from convscope.errors import BadData, FolderInUse
from convscope.store.fingerprint import array_fingerprint
from convscope.store.lock import LOCK
from convscope.store.npz import npz_bytes
from convscope.store.results import ResultStore
from convscope.store.sealed import metadata_of, sealed


def made(log: list[str], name: str, value: float) -> dict[str, float]:
    log.append(name)
    return {"value": value}


def test_a_resumed_study_makes_only_what_is_missing(tmp_path: Path) -> None:
    log: list[str] = []
    with ResultStore(tmp_path / "s", {"seed": 1}) as first:
        assert first.record("a/b", lambda: made(log, "a", 0.5)) == {"value": 0.5}
    with ResultStore(tmp_path / "s", {"seed": 1}, resume=True) as again:
        assert again.record("a/b", lambda: made(log, "a", 9.0)) == {"value": 0.5}
        assert again.record("c", lambda: made(log, "c", 2.0)) == {"value": 2.0}
    assert log == ["a", "c"]


def test_a_piece_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with ResultStore(tmp_path, {}) as results:
        with pytest.raises(ZeroDivisionError):
            results.record("a", lambda: {"value": 1 / 0})
        assert results.record("a", lambda: {"value": 1}) == {"value": 1}


def test_a_folder_in_use_is_refused(tmp_path: Path) -> None:
    ResultStore(tmp_path, {"seed": 1, "folds": 5})
    with pytest.raises(FolderInUse, match="--resume"):
        ResultStore(tmp_path, {"seed": 1, "folds": 5})
    with pytest.raises(FolderInUse, match="seed is 1 there, 2 now"):
        ResultStore(tmp_path, {"seed": 2, "folds": 5}, resume=True)


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"x")
    with pytest.raises(FolderInUse, match="no study"):
        ResultStore(tmp_path, {}, resume=True)


def test_a_damaged_piece_is_named(tmp_path: Path) -> None:
    with ResultStore(tmp_path, {}) as results:
        (tmp_path / "pieces" / "a.json").write_text("{")
        with pytest.raises(BadData, match=r"a\.json"):
            results.record("a", dict)


def test_arrays_are_read_as_they_were_written_to_the_bit(tmp_path: Path) -> None:
    log: list[str] = []
    written = {
        "a": np.array([[0.1, np.nan, -0.0]]),
        "b": np.float32([1 / 3]),
        "c": np.array("conv5/1@2,3"),
        "d": np.zeros((0, 3), np.uint8),
        "e": np.array(1e-300),
    }

    def make() -> dict:
        log.append("made")
        return written

    with ResultStore(tmp_path, {}) as results:
        results.arrays("x/y", make)
    with ResultStore(tmp_path, {}, resume=True) as results:
        found = results.arrays("x/y", make)
    assert log == ["made"]
    assert list(found) == list(written)
    for name, value in written.items():
        assert (found[name].dtype, found[name].shape) == (value.dtype, value.shape)
        assert found[name].tobytes() == value.tobytes()


def test_arrays_of_objects_are_refused() -> None:
    with pytest.raises(TypeError, match="b holds objects"):
        npz_bytes({"a": np.ones(2), "b": np.array([{}], dtype=object)})


def test_damaged_arrays_are_named(tmp_path: Path) -> None:
    with ResultStore(tmp_path, {}) as results:
        for content in (b"", b"PK\x03\x04 cut off", b"no zip"):
            (tmp_path / "pieces" / "a.npz").write_bytes(content)
            with pytest.raises(BadData, match=r"a\.npz"):
                results.arrays("a", dict)


def test_a_fingerprint_tells_values_types_and_shapes_apart() -> None:
    given = [np.zeros(4), np.zeros(4, np.float32), np.zeros((2, 2)), np.ones(4)]
    assert len({array_fingerprint([each]) for each in given}) == 4
    assert (
        array_fingerprint(given) == array_fingerprint(iter(given)) != array_fingerprint(given[::-1])
    )


def test_without_a_folder_nothing_is_kept() -> None:
    log: list[str] = []
    with ResultStore(None, {}) as results:
        results.record("a", lambda: made(log, "a", 1.0))
        results.record("a", lambda: made(log, "a", 1.0))
    assert log == ["a", "a"]


@pytest.mark.parametrize("kept", [True, False])
def test_outside_its_with_statement_a_store_cannot_be_used(tmp_path: Path, kept: bool) -> None:
    store = ResultStore(tmp_path / "s" if kept else None, {})

    def refused() -> None:
        for use in (store.record, store.arrays):
            with pytest.raises(RuntimeError, match="with"):
                use("a", dict)
        with pytest.raises(RuntimeError, match="with"):
            store.has("a")

    refused()
    with store:
        assert not store.has("a")
    refused()


@pytest.mark.parametrize(
    ("there", "now", "line"),
    [
        (
            {"recipe": {"epochs": 3, "learning_rate": 0.01}},
            {"recipe": {"epochs": 3, "learning_rate": 0.02}},
            r"settings: recipe\.learning_rate is 0\.01 there, 0\.02 now;",
        ),
        (
            {"maps": [{"a": 1}, {"a": 2}]},
            {"maps": [{"a": 1}, {"a": 3}]},
            r"maps\[1\]\.a is 2 there",
        ),
        ({"maps": [1]}, {"maps": [1, 2]}, "maps has 1 entries there, 2 now"),
        ({"data": "6f" * 32}, {"data": "7a" * 32}, "settings: the images .DATA. are others than"),
        ({"data": "6f" * 32, "seed": 0}, {"data": "6f" * 32, "seed": 1}, "seed is 0 there, 1 now"),
    ],
)
def test_the_first_value_that_differs_is_named_and_nothing_else(
    tmp_path: Path, there: dict[str, Any], now: dict[str, Any], line: str
):
    ResultStore(tmp_path / "study", there)
    with pytest.raises(FolderInUse, match=line) as refused:
        ResultStore(tmp_path / "study", now, resume=True)
    assert len(str(refused.value)) < len(str(tmp_path)) + 110


def test_a_study_in_use_is_refused_and_free_again_at_the_end(tmp_path: Path) -> None:
    with ResultStore(tmp_path / "s", {}) as first:
        second = ResultStore(tmp_path / "s", {}, resume=True)
        with pytest.raises(FolderInUse, match="another process is at work in"), second:
            pass
        first.record("a", lambda: {"value": 1})
    with ResultStore(tmp_path / "s", {}, resume=True) as third:
        assert third.has("a") and not third.has("b")
    names = ["checksums.json", "pieces", "study.json"]
    assert sorted(each.name for each in (tmp_path / "s").iterdir()) == names


def test_a_study_that_failed_as_it_began_is_begun_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        with pytest.raises(OSError, match="No space left"):
            ResultStore(tmp_path / "s", {"seed": 1})
    (tmp_path / "s" / "pieces").mkdir(parents=True)
    (tmp_path / "s" / ".study.json.7.tmp").write_text("{")  # as a kill leaves them
    with ResultStore(tmp_path / "s", {"seed": 2}, resume=True) as store:
        assert store.record("a", lambda: {"value": 1.5}) == {"value": 1.5}
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes").write_text("mine")
    with pytest.raises(FolderInUse, match="holds no study"):
        ResultStore(tmp_path / "mine", {"seed": 2}, resume=True)


DAMAGED = {
    "a value": lambda data: data.replace(b"1.5", b"2.5"),
    "nested 100,000 deep": lambda data: b"[" * 100_000,
    "a list": lambda data: b"[1]",
    "nothing": lambda data: b"",
}


@pytest.mark.parametrize("how", DAMAGED)
def test_a_result_with_other_bytes_is_not_believed(how: str, tmp_path: Path) -> None:
    with ResultStore(tmp_path, {}) as store:
        store.record("a", lambda: {"value": 1.5})
    path = tmp_path / "pieces" / "a.json"
    path.write_bytes(DAMAGED[how](path.read_bytes()))
    with ResultStore(tmp_path, {}, resume=True) as store:
        with pytest.raises(BadData, match=r"a\.json cannot be read .*not those that were written"):
            store.record("a", dict)
        path.unlink()
        assert store.record("a", lambda: {"value": 1.5}) == {"value": 1.5}


@pytest.mark.parametrize("content", ["[" * 100_000, "[]", "{", '{"files": {"a.json": 1}}'])
def test_damaged_checksums_are_named(content: str, tmp_path: Path) -> None:
    with ResultStore(tmp_path, {}) as store:
        store.record("a", lambda: {"value": 1.5})
    (tmp_path / "checksums.json").write_text(content)
    with (
        pytest.raises(BadData, match=r"checksums\.json cannot be read"),
        ResultStore(tmp_path, {}, resume=True),
    ):
        pass


def test_a_study_without_checksums_is_gone_on_with(tmp_path: Path) -> None:
    with ResultStore(tmp_path, {}) as store:
        store.record("a", lambda: {"value": 1.5})
    (tmp_path / "checksums.json").unlink()
    with ResultStore(tmp_path, {}, resume=True) as store:
        assert store.record("a", dict) == {"value": 1.5}


def test_a_byte_that_was_changed_in_a_sealed_file_is_told(tmp_path: Path) -> None:
    content = sealed(save({"a": torch.arange(3.0)}, {"x": 'é"', "y": "2"}))
    assert metadata_of(content) == {"x": 'é"', "y": "2"}
    assert load(content)["a"].tolist() == [0, 1, 2]
    entry = content.index(b"sha256")
    for place in set(range(len(content))) - set(range(entry, entry + 6)):
        changed = bytearray(content)
        changed[place] ^= 1
        with pytest.raises(ValueError):
            metadata_of(bytes(changed))
    assert metadata_of(save({"a": torch.ones(1)}, {"old": "1"})) == {"old": "1"}


def test_half_written_files_of_a_killed_process_are_removed(tmp_path: Path) -> None:
    halves = ("pieces/.a.npz.77.tmp", ".checksums.json.77.tmp", "cards/.result.json.77.tmp")
    others = ("nested/.b.json.78.tmp", ".notes.tmp")  # of who may be at work there; not ours
    with ResultStore(tmp_path, {}):
        (tmp_path / "nested").mkdir()
    (tmp_path / "nested" / LOCK).touch()
    (tmp_path / "cards").mkdir()
    for name in (*halves, *others):
        (tmp_path / name).write_bytes(b"half")
    with ResultStore(tmp_path, {}, resume=True) as results:
        assert not results.has("a")
    assert not any((tmp_path / name).exists() for name in halves)
    assert all((tmp_path / name).exists() for name in others)


def test_a_study_that_is_refused_before_its_first_result_leaves_nothing(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(BadData, match="no such box"), ResultStore(out, {"boxes": "wrong"}):
        raise BadData("no such box")
    assert not any(out.iterdir())
    with pytest.raises(BadData), ResultStore(out, {"boxes": "right"}) as store:  # others may begin
        store.record("a", lambda: {"value": 1.5})
        raise BadData("the second image")
    with ResultStore(out, {"boxes": "right"}, resume=True) as store:
        assert store.record("a", dict) == {"value": 1.5}
    with pytest.raises(BadData), ResultStore(out, {"boxes": "right"}, resume=True):
        raise BadData("again")
    assert (out / "study.json").is_file()
