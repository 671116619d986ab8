"""Checksums of what waits in an unfinished atlas: a file of them beside each file of places.

A tile, or a picture's numbers, has its place in a file, and its checksum the same place in the file
beside it. Work that was begun by a version without them goes on without.
"""

from __future__ import annotations

import os
import zlib
from pathlib import Path
from types import TracebackType
from typing import IO

import numpy as np
from numpy.typing import NDArray

from convscope.errors import FolderInUse
from convscope.store.atomic import replace_file

__all__ = ["SealedFile", "check_seals", "damaged_work"]

SEALED = 1 << 32  # is added to a CRC-32, so that a place without a seal is 0


class SealedFile:
    """A file of places of one size, each with a checksum beside it. Used in a `with` statement.

    Args:
        path: Of the file; it is made if it is not there.
        content: What it holds at first.
    """

    def __init__(self, path: Path, content: bytes = b"") -> None:
        seals = _beside(path)
        if not path.exists():
            replace_file(seals, b"")
            replace_file(path, content)
        self._file = path.open("r+b")
        self._seals = seals.open("r+b") if seals.exists() else None

    def __enter__(self) -> SealedFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: object, trace: TracebackType | None
    ) -> None:
        for file in self._both():
            file.close()

    def write(self, place: int, content: bytes) -> None:
        """Write what belongs at a place, and its checksum."""
        self._file.seek(place * len(content))
        self._file.write(content)
        if self._seals is not None:
            self._seals.seek(8 * place)
            self._seals.write(_seal(content).to_bytes(8, "little"))

    def flush(self) -> None:
        """Make sure that everything written is on the disk."""
        for file in self._both():
            file.flush()
            os.fsync(file.fileno())

    def _both(self) -> list[IO[bytes]]:
        return [self._file] if self._seals is None else [self._file, self._seals]


def check_seals(
    path: Path, contents: NDArray[np.generic], written: NDArray[np.bool_], first: int = 0
) -> None:
    """Compare what stands at some places of a `SealedFile` with the checksums.

    Args:
        path: Of the file.
        contents: Of the places, a row each.
        written: Which of them must have been written.
        first: The number of the first place.

    Raises:
        FolderInUse: They are others; what to do is said.

    Shape:
        contents: (P, ...). written: (P,).
    """
    seals = _beside(path)
    if not seals.exists():
        return  # of an older version
    known = np.zeros(len(contents), np.uint64)
    with seals.open("rb") as file:
        file.seek(8 * first)
        read = file.read(8 * len(contents))
    known[: len(read) // 8] = np.frombuffer(read[: len(read) // 8 * 8], "<u8")
    for content, seal, needed in zip(contents, known.tolist(), written.tolist(), strict=True):
        if needed if not seal else seal != _seal(content.tobytes()):
            raise damaged_work(path, "it is not what was written")


def damaged_work(path: Path, what: str) -> FolderInUse:
    """What is said of a damaged file of an unfinished atlas.

    Args:
        path: Of the file.
        what: Is wrong with it.
    """
    return FolderInUse(
        f"{path} is damaged: {what}; delete the atlas's folder to begin anew, or give another "
        "folder"
    )


def _seal(content: bytes) -> int:
    return SEALED | zlib.crc32(content)


def _beside(path: Path) -> Path:
    return path.with_name(f"{path.name}.seals")
