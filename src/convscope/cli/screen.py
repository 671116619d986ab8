"""What a verb says, and where: results on stdout, progress on stderr.

With --json, stdout holds the machine-readable result alone, and all words go to stderr.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from convscope.progress import Progress, silent

__all__ = ["Screen"]

EVERY_SECONDS, EVERY_SHARE = 10.0, 0.1  # a plain line of progress, whichever comes first
AT_LEAST_SECONDS = 1.0  # between two plain lines


class Screen:
    """Talks to the person, and to the program if `as_json`; not at all if `silent`."""

    def __init__(self, as_json: bool = False, *, silent: bool = False) -> None:
        self.as_json, self.silent = as_json, silent

    def say(self, *lines: str) -> None:
        """Words for a person."""
        for line in () if self.silent else lines:
            print(line, file=sys.stderr if self.as_json else sys.stdout, flush=True)

    def facts(self, facts: dict[str, str]) -> None:
        """Words in two columns: what was used."""
        width = max(map(len, facts), default=0)
        self.say(*(f"{name.ljust(width)}  {value}" for name, value in facts.items()))

    def warn(self, line: str) -> None:
        """Something that a person must know before believing the result."""
        if not self.silent:
            sys.stderr.write(f"convscope: {line}\n")

    def result(self, value: Any) -> None:
        """The result for a program; a person is told with `say`."""
        if self.as_json and not self.silent:
            print(json.dumps(value, indent=1, allow_nan=False), flush=True)

    @contextmanager
    def progress(self, kept: Path | None = None) -> Iterator[Progress]:
        """A function to call with (what is counted, done, total); the first may change on the way.

        A bar with rate and time left on a terminal, plain lines elsewhere.

        kept : a folder where work that is interrupted can be resumed; the person is told so
        """
        try:
            with self._shown() as advance:
                yield advance
        except KeyboardInterrupt:
            if kept is not None and kept.exists():
                self.warn(f"what was done so far is kept in {kept}: go on with --resume")
            raise

    @contextmanager
    def _shown(self) -> Iterator[Progress]:
        if self.silent:
            yield silent
        elif sys.stderr.isatty():
            with _bar() as advance:
                yield advance
        else:
            yield _Lines(sys.stderr)


class _Lines:
    """Progress as plain lines: about every ten seconds or every tenth, and the end."""

    def __init__(self, out: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self.out, self.clock = out, clock
        self.what = ""
        self.finished = False

    def __call__(self, what: str, done: int, total: int) -> None:
        now = self.clock()
        if what != self.what:
            self.what, self.finished = what, False
            self.began, self.first = now, done
            self.said_at, self.said = now, done
        due = now - self.said_at >= EVERY_SECONDS or (
            done - self.said >= EVERY_SHARE * total and now - self.said_at >= AT_LEAST_SECONDS
        )
        end = done >= total and not self.finished
        if not (due or end):
            return
        self.said_at, self.said, self.finished = now, done, done >= total
        print(self._line(done, total, now - self.began), file=self.out, flush=True)

    def _line(self, done: int, total: int, seconds: float) -> str:
        line = f"{self.what}: {done} of {total}"
        rate = (done - self.first) / seconds if seconds > 0 else 0.0
        if rate == 0:
            return line
        left = "" if done >= total else f", {_duration((total - done) / rate)} left"
        return f"{line}, {rate:.3g}/s{left}"


@contextmanager
def _bar() -> Iterator[Progress]:
    from rich import progress as shown
    from rich.console import Console
    from rich.text import Text

    class Rate(shown.ProgressColumn):
        """How many a second."""

        def render(self, task: shown.Task) -> Text:
            speed = task.finished_speed or task.speed
            return Text("" if not speed else f"{speed:.3g}/s", style="progress.data.speed")

    columns = (
        shown.TextColumn("{task.description}"),
        shown.BarColumn(),
        shown.MofNCompleteColumn(),
        Rate(),
        shown.TimeRemainingColumn(),
    )
    tasks: dict[str, Any] = {}
    with shown.Progress(*columns, console=Console(stderr=True)) as bar:

        def advance(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what, completed=done, total=total)
            bar.update(tasks[what], completed=done, total=total)

        yield advance


def _duration(seconds: float) -> str:
    """83 -> 1:23."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
