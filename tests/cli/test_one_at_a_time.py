"""A folder that another process writes is left alone: the second comer gets one line."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import get_type_hints

import pytest
import typer

from convscope.cli.app import main
from convscope.errors import FolderInUse
from convscope.experiments.registry import STUDIES
from convscope.experiments.study import Study
from convscope.store.lock import LOCK, claimed, held
from convscope.store.results import ResultStore

MORE = {
    "ablate": ["--arch", "zfnet-small", "--data", "scenes"],
    "ensemble": ["--data", "scenes:val:4"],
    "train": ["--arch", "zfnet-small", "--data", "scenes"],
    "remove_units": ["--units", "conv1/0"],
}
"""Options that a verb cannot do without."""


def arguments(study: type[Study]) -> list[str]:
    """Arguments with which a verb gets as far as its folder."""
    hints = get_type_hints(study, include_extras=True)
    words = []
    for field in dataclasses.fields(study):
        declared = getattr(hints[field.name], "__metadata__", (None,))
        if any(isinstance(one, typer.models.ArgumentInfo) for one in declared):
            words.append("scenes:val:4" if field.name in ("data", "images") else "zfnet-small")
    return words + MORE.get(study.verb, [])


def commands() -> list[tuple[str, list[str], bool]]:
    found = [
        (study.verb, arguments(study), study.resume_help is not None)
        for study in STUDIES
    ]  # fmt: skip
    return [*found, ("demo", ["--quick"], False)]


@pytest.mark.parametrize(("verb", "words", "resumes"), commands(), ids=lambda one: str(one)[:20])
def test_the_second_comer_gets_one_line(verb, words, resumes, tmp_path: Path, capsys):
    out = tmp_path / "out"
    out.mkdir()
    with held(out / LOCK, "ours"):
        for more in ([], ["--resume"]) if resumes else ([],):
            code = main([verb, *words, "--out", str(out), *more])
            said = capsys.readouterr().err
            assert code == 2, said
            assert said == (
                f"convscope: another process is at work in {out}: wait for it, or stop it first\n"
            )
        assert [path.name for path in out.iterdir()] == [LOCK]


def test_who_holds_a_folder_may_hold_it_again_and_others_may_not(tmp_path: Path):
    with claimed(tmp_path / "new" / "one"):
        with claimed(tmp_path / "new" / "one"), held(tmp_path / "new" / "one" / LOCK, "busy"):
            pass
        assert (tmp_path / "new" / "one" / LOCK).exists()
    assert not any(tmp_path.iterdir())


def test_two_studies_that_begin_at_once_do_not_mix_their_settings(tmp_path: Path):
    first = ResultStore(tmp_path, {"seed": 1}, resume=True)
    with pytest.raises(FolderInUse, match="seed is 1 there, 2 now"):
        ResultStore(tmp_path, {"seed": 2}, resume=True)
    with first as store:
        assert store.record("a", lambda: {"b": 1}) == {"b": 1}


def test_a_store_whose_settings_were_changed_before_it_was_held_is_refused(tmp_path: Path):
    store = ResultStore(tmp_path, {"seed": 1}, resume=True)
    (tmp_path / "study.json").write_text('{"seed": 2}')
    with pytest.raises(FolderInUse, match="seed is 2 there, 1 now"), store:
        pass


@pytest.mark.parametrize("more", [[], ["--resume"]], ids=["new", "resume"])
def test_the_second_to_make_a_file_of_features_gets_one_line(more, tmp_path: Path, capsys):
    out, work = tmp_path / "f.npz", tmp_path / "f.npz.work"
    work.mkdir()
    words = ["features", "zfnet-small", "scenes:val:2", "--layers", "conv1", "--device", "cpu"]
    with held(work / LOCK, "ours"):
        assert main([*words, "--out", str(out), *more]) == 2
        assert capsys.readouterr().err.splitlines()[-1] == (
            f"convscope: another process is at work in {work}: wait for it, or stop it first"
        )
    assert not out.exists()
