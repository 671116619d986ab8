"""A row of the campaign: one attack, tried again and again, each time from a seed.

A trial is a function of a seed and of an empty folder of its own. It returns None where the program
kept its promise, else what it did instead. An exception is a failure too. Each trial runs in a fork
of this process, so that one that hangs, dies or takes memory harms no other.
"""

from __future__ import annotations

import json
import math
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

Trial = Callable[[int, Path], str | None]


@dataclass(frozen=True)
class Row:
    """One row of the table.

    Attributes:
        name: of one word or two, for the command line.
        attack: what is done.
        must: what the program must do.
        count: how many trials a whole campaign has.
        trial: one of them.
        prepare: makes what all trials share, once, before any of them is forked.
        seconds: after which a trial counts as one that hangs.
        memory: the most that a trial may take beyond what it began with, MB; None where it is not
            measured.
        least: the trials of the short form.
    """

    name: str
    attack: str
    must: str
    count: int
    trial: Trial
    prepare: Callable[[], object] | None = None
    seconds: int = 120
    memory: int | None = None
    least: int = 3


@dataclass(frozen=True)
class Outcome:
    """What came of a row.

    Attributes:
        row: that was run.
        ran: how many trials.
        failures: (seed, what was seen) of those that failed.
        seconds: of processor time, of this process and of all that it forked.
    """

    row: Row
    ran: int
    failures: tuple[tuple[int, str], ...]
    seconds: float


def run_row(
    row: Row, count: int, seed: int, *, seconds: float = math.inf, progress: bool = False
) -> Outcome:
    """Run some trials of a row, with the seeds that follow a first one.

    Args:
        row: to be run.
        count: how many trials.
        seed: of the first.
        seconds: after which no further trial begins.
        progress: print each failure as it comes.
    """
    before, end = _processor_time(), time.monotonic() + seconds
    if row.prepare is not None:
        row.prepare()
    failures, ran = [], 0
    for number in range(seed, seed + count):
        if time.monotonic() > end:
            break
        ran += 1
        said = in_a_fork(row, number)
        if said is not None:
            failures.append((number, said))
            if progress:
                print(f"{row.name} --seed {number} --count 1: {said}", file=sys.stderr, flush=True)
    return Outcome(row, ran, tuple(failures), _processor_time() - before)


def in_a_fork(row: Row, seed: int) -> str | None:
    """Run one trial in a process of its own; what is wrong, or None."""
    read, write = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    with tempfile.TemporaryDirectory(prefix="campaign-") as folder:
        child = os.fork()
        if not child:
            os.close(read)
            os.setpgid(0, 0)
            signal.alarm(row.seconds)  # its default action ends the process
            _report(row, seed, Path(folder), write)
        os.close(write)
        with os.fdopen(read, "rb") as pipe:
            said = pipe.read()
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        with suppress(ProcessLookupError):  # what it started, if it left anything running
            os.killpg(child, signal.SIGKILL)
        shutil.rmtree(folder, ignore_errors=True)
        Path(folder).mkdir(exist_ok=True)
    if code == -signal.SIGALRM:
        return f"hung for {row.seconds} s"
    if code or not said:
        return f"the process ended with {code}"
    found = json.loads(said)
    taken = found["memory"]
    if found["wrong"] is None and row.memory is not None and taken > row.memory:
        return f"took {taken:.0f} MB, more than {row.memory}"
    wrong: str | None = found["wrong"]
    return wrong


def _report(row: Row, seed: int, folder: Path, write: int) -> None:
    """Run a trial in this process, say what came of it, and end."""
    wrong: str | None
    before = _most_memory()
    try:
        wrong = row.trial(seed, folder)
    except BaseException as error:
        frames = traceback.extract_tb(error.__traceback__)
        where = " < ".join(f"{Path(f.filename).name}:{f.lineno}" for f in frames[:-6:-1])
        wrong = f"{type(error).__name__}: {' '.join(str(error).split())[:300]} ({where})"
    os.write(
        write, json.dumps({"wrong": wrong, "memory": _most_memory() - before}).encode()[:60_000]
    )
    os._exit(0)


def _most_memory() -> float:
    """The most memory that this process has had, MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _processor_time() -> float:
    return sum(
        sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )


def markdown(outcomes: Sequence[Outcome]) -> str:
    """The outcomes as a table."""
    lines = ["| what | must | trials | failures | CPU s |", "|---|---|--:|--:|--:|"]
    for one in outcomes:
        lines.append(
            f"| {one.row.attack} | {one.row.must} | {one.ran:,} | {len(one.failures)} | "
            f"{one.seconds:.0f} |"
        )
    return "\n".join(lines)


def today() -> str:
    """The date, as 2026-01-31."""
    return time.strftime("%Y-%m-%d")
