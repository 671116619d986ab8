"""The short form of every row of the campaign, and what runs them."""

from __future__ import annotations

from pathlib import Path

import pytest

import warm
from campaign.row import Outcome, Row, in_a_fork, markdown, run_row
from campaign.run import rows


@pytest.fixture(scope="module")
def short() -> tuple[str, str]:
    """What the short form of all rows says, in a process that has not learned: such may fork."""
    done = warm.run(Path(__file__).with_name("run.py"), "--short")
    return done.stdout, done.stderr


@pytest.mark.parametrize(
    "row", [row for row in rows().values() if row.least], ids=lambda row: row.name
)
def test_the_first_trials_of_each_row_fail_in_none(row: Row, short: tuple[str, str]) -> None:
    table, errors = short
    assert [line for line in errors.splitlines() if line.startswith(f"{row.name} --seed")] == []
    assert f"| {row.attack} | {row.must} | {row.least} | 0 |" in table, errors


def trial(seed: int, folder: Path) -> str | None:
    (folder / "mine").write_text("x")
    if seed == 1:
        raise ZeroDivisionError("a fault")
    if seed == 2:
        import os

        os._exit(7)
    if seed == 3:
        import time

        time.sleep(60)
    return "wrong" if seed == 4 else None


def test_what_fails_dies_or_hangs_is_a_failure() -> None:
    row = Row("x", "x is done", "nothing happens", 5, trial, seconds=1)
    outcome = run_row(row, 5, 0)
    assert [seed for seed, _ in outcome.failures] == [1, 2, 3, 4]
    words = [said for _, said in outcome.failures]
    assert words[0].startswith("ZeroDivisionError: a fault (test_campaign.py:")
    assert words[1:] == ["the process ended with 7", "hung for 1 s", "wrong"]
    assert in_a_fork(row, 0) is None
    table = markdown([Outcome(row, 5, outcome.failures, 1.0)])
    assert table.splitlines()[-1] == "| x is done | nothing happens | 5 | 4 | 1 |"
