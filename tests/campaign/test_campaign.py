"""The short form of every row of the campaign, and what runs them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from campaign.row import Outcome, Row, in_a_fork, markdown, run_row
from campaign.run import rows


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("name", [name for name, row in rows().items() if row.least])
def test_the_first_trials_of_each_row_fail_in_none(name: str) -> None:
    row = rows()[name]
    assert run_row(row, row.least, 0).failures == ()


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
