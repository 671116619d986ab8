"""A file that one process holds at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from convscope.errors import FolderInUse

try:
    import fcntl
except ImportError:  # pragma: no cover - Windows has no flock; two processes are not told apart
    fcntl = None  # type: ignore[assignment]

__all__ = ["held"]


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
