"""A folder to run commands in, the commands run there, and an interruption."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any
from unittest import mock

from convscope.cli import main
from golden.tiny import tiny

HERE = Path(__file__).parent
KEPT = HERE / "kept"
INTERRUPTED = 130


@dataclass(frozen=True)
class Answer:
    """What a command answered: its exit code, and what it wrote to each stream."""

    code: int
    out: str
    err: str


def run(words: Sequence[str]) -> Answer:
    """Run a command line in this process, everything in it small."""
    out, err = io.StringIO(), io.StringIO()
    with tiny(), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(words)
    return Answer(code, out.getvalue(), err.getvalue())


@contextmanager
def inside(place: Path) -> Iterator[None]:
    """Work in a folder, with its factory.py as the module of that name."""
    place.mkdir(parents=True, exist_ok=True)
    before, path = Path.cwd(), list(sys.path)
    sys.modules.pop("factory", None)
    os.chdir(place)
    try:
        yield
    finally:
        os.chdir(before)
        sys.path[:] = path
        sys.modules.pop("factory", None)


@contextmanager
def written(told: Callable[[str], None]) -> Iterator[None]:
    """Tell of each file that is put in its place: every store of ours ends with a rename."""
    real = os.replace

    def replace(source: Any, target: Any, **more: Any) -> None:
        real(source, target, **more)
        told(Path(target).as_posix())

    with mock.patch.object(os, "replace", replace):
        yield


@contextmanager
def interrupted(pattern: str) -> Iterator[None]:
    """Press Ctrl-C right after the first file of a pattern was written."""
    pressed = []

    def told(file: str) -> None:
        if fnmatch(file, pattern) and not pressed:
            pressed.append(file)
            raise KeyboardInterrupt

    with written(told):
        yield
    if not pressed:
        raise ValueError(f"no file {pattern} was written")


def remove(path: Path) -> None:
    """A file or a folder, if there is one."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
