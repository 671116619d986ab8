"""What is said where."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from convscope.cli.screen import Screen, _Lines


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_words_go_to_stdout_without_json(capsys):
    screen = Screen()
    screen.say("hello")
    screen.result({"a": 1})
    assert capsys.readouterr() == ("hello\n", "")


def test_with_json_stdout_holds_the_result_alone(capsys):
    screen = Screen(as_json=True)
    screen.facts({"model": "zfnet", "input": "3x72x72"})
    screen.warn("careful")
    screen.result([{"a": 1}])
    out, err = capsys.readouterr()
    assert json.loads(out) == [{"a": 1}]
    assert err == "model  zfnet\ninput  3x72x72\nconvscope: careful\n"


def test_facts_stand_below_each_other(capsys):
    screen = Screen()
    screen.facts({"weights": "a"})
    screen.facts({"images": "b"})
    assert capsys.readouterr().out == "weights  a\nimages   b\n"


def test_a_strangers_name_cannot_speak_to_the_terminal(capsys):
    name = "conv\x1b[2Jone"
    Screen().say(f"{name}\n  twice")
    Screen().warn(name)
    out, err = capsys.readouterr()
    assert out == "conv\\x1b[2Jone\n  twice\n"
    assert err == "convscope: conv\\x1b[2Jone\n"
    progress = _Lines(stream := io.StringIO())
    progress(name, 0, 1)
    progress(name, 1, 1)
    assert stream.getvalue().startswith("conv\\x1b[2Jone: 1 of 1")


def test_plain_progress_says_a_line_every_ten_seconds_and_the_end():
    clock, out = Clock(), io.StringIO()
    lines = _Lines(out, clock)
    for second in range(26):
        clock.now = float(second)
        lines("images", second * 4, 1000)
    clock.now = 30.0
    lines("images", 1000, 1000)
    assert out.getvalue().splitlines() == [
        "images: 40 of 1000, 4/s, 4:00 left",
        "images: 80 of 1000, 4/s, 3:50 left",
        "images: 1000 of 1000, 33.3/s",
    ]


def test_plain_progress_says_a_line_every_tenth_if_that_comes_first():
    clock, out = Clock(), io.StringIO()
    lines = _Lines(out, clock)
    for tenth in range(11):
        clock.now = 2.0 * tenth
        lines("epoch 1", tenth * 10, 100)
    assert len(out.getvalue().splitlines()) == 10


def test_a_new_phase_counts_anew():
    clock, out = Clock(), io.StringIO()
    lines = _Lines(out, clock)
    lines("images", 0, 4)
    clock.now = 1.0
    lines("images", 4, 4)
    lines("projections", 0, 2)
    clock.now = 2.0
    lines("projections", 2, 2)
    lines("projections", 2, 2)
    assert out.getvalue().splitlines() == [
        "images: 4 of 4, 4/s",
        "projections: 2 of 2, 2/s",
    ]


def test_without_a_terminal_progress_goes_to_stderr(capsys):
    with Screen().progress() as progress:
        progress("images", 5, 5)
    assert capsys.readouterr() == ("", "images: 5 of 5\n")


def interrupted(screen: Screen, kept: Path | None) -> None:
    with pytest.raises(KeyboardInterrupt), screen.progress(kept):
        raise KeyboardInterrupt


def test_an_interruption_says_where_the_work_so_far_is_kept(capsys, tmp_path: Path):
    interrupted(Screen(), tmp_path)
    said = f"convscope: what was done so far is kept in {tmp_path}: go on with --resume\n"
    assert capsys.readouterr() == ("", said)


def test_an_interruption_promises_nothing_where_nothing_is_kept(capsys, tmp_path: Path):
    interrupted(Screen(), None)
    interrupted(Screen(), tmp_path / "not there yet")
    interrupted(Screen(silent=True), tmp_path)
    assert capsys.readouterr() == ("", "")
