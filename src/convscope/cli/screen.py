"""What a verb prints, and where: results on stdout, progress on stderr.

With --json, stdout holds the machine-readable result alone, and all words go to stderr.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from convscope.progress import Progress, silent
from convscope.record import json_text
from convscope.text import printable

__all__ = ["Screen"]

EVERY_SECONDS, EVERY_SHARE = 10.0, 0.1  # between plain lines of progress; the first to pass counts
AT_LEAST_SECONDS = 1.0  # between two plain lines


class Screen:
    """Prints what a verb has to say: words for a person, and JSON for a program.

    Args:
        as_json: stdout holds the JSON result alone, and words go to stderr.
        silent: print nothing, as all processes but the first do.
    """

    def __init__(self, as_json: bool = False, *, silent: bool = False) -> None:
        self.as_json, self.silent = as_json, silent
        self.names = 0  # letters of the longest name of a fact

    def say(self, *lines: str) -> None:
        """Print lines for a person."""
        for line in () if self.silent else lines:
            shown = printable(line, keep="\n")
            print(shown, file=sys.stderr if self.as_json else sys.stdout, flush=True)

    def facts(self, facts: dict[str, str]) -> None:
        """Print names and values in two columns, below those printed before: what is used."""
        self.names = max([self.names, *map(len, facts)])
        self.say(*(f"{name.ljust(self.names)}  {value}" for name, value in facts.items()))

    def warn(self, line: str) -> None:
        """Print what a person must know before believing the result, on stderr."""
        if not self.silent:
            sys.stderr.write(f"convscope: {printable(line)}\n")

    def result(self, value: Any) -> None:
        """Print the result for a program, JSON-able, where one asked for it."""
        if self.as_json and not self.silent:
            print(json_text(value), flush=True)

    @contextmanager
    def progress(self, kept: Path | None = None) -> Iterator[Progress]:
        """Show progress within a `with` statement.

        On a terminal it is a bar with rate and time left, elsewhere plain lines.

        Args:
            kept: a folder where interrupted work can be resumed; the person is told so.

        Yields:
            A function to call with (what is counted, how many are done, how many there are); what
            is counted may change on the way.
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
            self.printed_at, self.printed = now, done
        due = now - self.printed_at >= EVERY_SECONDS or (
            done - self.printed >= EVERY_SHARE * total and now - self.printed_at >= AT_LEAST_SECONDS
        )
        end = done >= total and not self.finished
        if not (due or end):
            return
        self.printed_at, self.printed, self.finished = now, done, done >= total
        print(printable(self._line(done, total, now - self.began)), file=self.out, flush=True)

    def _line(self, done: int, total: int, seconds: float) -> str:
        line = f"{self.what}: {done} of {total}"
        rate = (done - self.first) / seconds if seconds > 0 else 0.0
        if rate == 0:
            return line
        left = "" if done >= total else f", {_duration((total - done) / rate)} left"
        return f"{line}, {rate:.3g}/s{left}"


@contextmanager
def _bar() -> Iterator[Progress]:
    """Progress as a bar on a terminal, with rate and time left."""
    from rich import progress as shown
    from rich.console import Console
    from rich.text import Text

    class Rate(shown.ProgressColumn):
        """A column of the bar: how many are done a second."""

        def render(self, task: shown.Task) -> Text:
            speed = task.finished_speed or task.speed
            return Text("" if not speed else f"{speed:.3g}/s", style="progress.data.speed")

    columns = (
        shown.TextColumn("{task.description}", markup=False),
        shown.BarColumn(),
        shown.MofNCompleteColumn(),
        Rate(),
        shown.TimeRemainingColumn(),
    )
    tasks: dict[str, Any] = {}
    with shown.Progress(*columns, console=Console(stderr=True)) as bar:

        def advance(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(printable(what), completed=done, total=total)
            bar.update(tasks[what], completed=done, total=total)

        yield advance


def _duration(seconds: float) -> str:
    """83 -> 1:23."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
