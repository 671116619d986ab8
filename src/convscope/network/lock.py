"""What work has to itself: a file that one process holds at a time, a folder that is new."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from convscope.errors import FolderInUse

try:
    import fcntl
except ImportError:  # pragma: no cover - Windows has no flock; two processes are not told apart
    fcntl = None  # type: ignore[assignment]

__all__ = ["check_unused", "held"]


@contextmanager
def held(path: Path, refusal: str) -> Iterator[None]:
    """Hold a lock file; the system lets go of it when the process ends, however it ends.

    Raises  FolderInUse: `refusal`, where another process holds it.
    """
    with path.open("a") as file:
        if fcntl is not None:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise FolderInUse(refusal) from None
        yield


def check_unused(folder: str | os.PathLike[str], *, resume: bool | None = None) -> Path:
    """A folder that is new or empty, or whose work goes on; nothing is made yet.

    resume : whether it goes on; None is work that cannot be resumed

    Raises  FolderInUse: the folder holds something, which is never overwritten.
    """
    path = Path(folder)
    if path.exists() and not path.is_dir():
        raise FolderInUse(f"{folder} is a file: give a new folder")
    if not resume and path.is_dir() and any(path.iterdir()):
        how = "" if resume is None else ", or --resume to go on with what is there"
        raise FolderInUse(f"{folder} is not empty: give a new folder{how}")
    return path
