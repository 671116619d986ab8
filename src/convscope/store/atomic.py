"""Atomic files: whole or absent, written beside their place, flushed, and renamed into it."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from convscope.store.lock import LOCK

__all__ = ["is_leftover", "remove_leftovers", "replace_file", "replacing", "write_json"]

_LEFTOVER = re.compile(r"\..+\.[0-9]+\.tmp")


def replace_file(path: Path, content: bytes) -> None:
    """Write a file so that a crash at any point leaves either the old content or the new.

    Args:
        path: The file; its folder must exist.
        content: The new bytes.
    """
    with replacing(path) as file:
        file.write(content)


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """Write a file in pieces, so that a crash leaves either the old content or the new.

    Args:
        path: The file; its folder must exist.

    Yields:
        A file to write to. At the end of the `with` block it takes the old one's place; an
        exception in the block leaves the old one.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        if error.errno is not None and error.filename in (None, str(temporary)):
            raise OSError(error.errno, error.strerror, str(path)) from error  # ours, not temporary
        raise
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if os.name == "posix":  # the new name itself must reach the disk
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def write_json(path: Path, value: Any) -> None:
    """Write a JSON-able value as a text file, atomically as `replace_file` does."""
    replace_file(path, json.dumps(value, indent=1).encode())


def is_leftover(name: str) -> bool:
    """Whether a file of this name is one that `replacing` has not finished."""
    return _LEFTOVER.fullmatch(name) is not None


def remove_leftovers(folder: Path) -> None:
    """Remove the half-written files of a process that was killed, in the folder and below it.

    A folder below that has a lock of its own is left alone: another process may be at work there,
    and who goes on with it removes what was left.
    """
    for place, below, files in os.walk(folder):
        below[:] = [name for name in below if not Path(place, name, LOCK).exists()]
        for name in files:
            if is_leftover(name):
                Path(place, name).unlink(missing_ok=True)
