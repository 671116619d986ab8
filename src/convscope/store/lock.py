"""Exclusive use of a folder: a lock that one process holds, and a check that it is new."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from convscope.errors import FolderInUse

try:
    import fcntl
except ImportError:  # pragma: no cover - Windows has no flock; two processes are not told apart
    fcntl = None  # type: ignore[assignment]

__all__ = ["LOCK", "check_unused", "claimed", "held"]

LOCK = ".lock"
"""The name of the lock file in a folder that is being written."""

_ours: dict[Path, tuple[int, int]] = {}  # lock file -> the process and thread that claimed it


@contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Hold a folder while the `with` block runs, from the first file to the last page.

    The folder is made if need be; one that was made and stayed empty is removed again. What is
    called in the block may claim or hold the same folder once more.

    Args:
        folder: That is written to.

    Raises:
        FolderInUse: Another process is at work in it, or it is a file.
    """
    if folder.exists() and not folder.is_dir():
        raise FolderInUse(f"{folder} is a file: give a new folder")
    path = folder.resolve() / LOCK
    if path in _ours and _ours[path] == _who():
        yield
        return
    new = [parent for parent in (folder, *folder.parents) if not parent.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    busy = f"another process is at work in {folder}: wait for it, or stop it first"
    try:
        with held(path, busy):
            _ours[path] = _who()
            try:
                yield
            finally:
                del _ours[path]
    finally:
        with suppress(OSError):  # it is not empty
            for parent in new:
                parent.rmdir()


def _who() -> tuple[int, int]:
    return os.getpid(), threading.get_ident()


@contextmanager
def held(path: Path, refusal: str) -> Iterator[None]:
    """Hold a lock file while the `with` block runs, and remove it at the end.

    The system releases the lock when the process ends, however it ends.

    Args:
        path: The lock file; its folder must exist.
        refusal: The message of the error if another process holds it.

    Raises:
        FolderInUse: Another process holds the lock.
    """
    if _ours.get(path.parent.resolve() / path.name) == _who():
        yield
        return
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
    """Whether the open file is the one that now lies at the path."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def check_unused(folder: str | os.PathLike[str], *, resume: bool | None = None) -> Path:
    """Check that work may be kept in a folder: it is new, empty, or to be resumed. Makes nothing.

    Args:
        folder: Where work is to be kept.
        resume: Whether earlier work in it goes on; None for work that cannot be resumed.

    Returns:
        The folder's path.

    Raises:
        FolderInUse: The folder holds something, which is never overwritten, or is a file.
    """
    path = Path(folder)
    if path.exists() and not path.is_dir():
        raise FolderInUse(f"{folder} is a file: give a new folder")
    if not resume and path.is_dir() and any(entry.name != LOCK for entry in path.iterdir()):
        how = "" if resume is None else ", or --resume to go on with what is there"
        raise FolderInUse(f"{folder} is not empty: give a new folder{how}")
    return path
