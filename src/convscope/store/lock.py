"""What work has to itself: a folder that one process holds at a time, a folder that is new."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from convscope.errors import FolderInUse

try:
    import fcntl
except ImportError:  # pragma: no cover - Windows has no flock; two processes are not told apart
    fcntl = None  # type: ignore[assignment]

__all__ = ["LOCK", "check_unused", "held"]

LOCK = ".lock"
"""The name of the lock file in a folder that is being written."""


@contextmanager
def held(path: Path, refusal: str) -> Iterator[None]:
    """Hold a lock file, and remove it at the end. The system lets go of it when the process ends,
    however it ends.

    Args:
        path: the lock file; its folder must exist.
        refusal: the message for the second comer.

    Raises:
        FolderInUse: another process holds it.
    """
    with _locked(path, refusal):
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def _locked(path: Path, refusal: str) -> IO[str]:
    while True:
        file = path.open("a")
        try:
            if fcntl is not None:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.close()
            raise FolderInUse(refusal) from None
        if _is_at(file, path):
            return file
        file.close()  # the one before removed it between our two steps


def _is_at(file: IO[str], path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def check_unused(folder: str | os.PathLike[str], *, resume: bool | None = None) -> Path:
    """A folder that is new or empty, or whose work goes on; nothing is made yet.

    Args:
        folder: where work is to be kept.
        resume: whether it goes on; None is work that cannot be resumed.

    Raises:
        FolderInUse: the folder holds something, which is never overwritten.
    """
    path = Path(folder)
    if path.exists() and not path.is_dir():
        raise FolderInUse(f"{folder} is a file: give a new folder")
    if not resume and path.is_dir() and any(path.iterdir()):
        how = "" if resume is None else ", or --resume to go on with what is there"
        raise FolderInUse(f"{folder} is not empty: give a new folder{how}")
    return path
