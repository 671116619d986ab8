"""Results by name, a file for each, so that interrupted work goes on where it was.

study.json            the settings that the results depend on
pieces/NAME.json      a JSON-able result
pieces/NAME.npz       a result of arrays
"""

from __future__ import annotations

import io
import json
import os
import zipfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar
from urllib.parse import quote

from convscope.errors import BadData, FolderInUse
from convscope.store.atomic import remove_leftovers, replace_file, write_json
from convscope.store.differences import first_difference
from convscope.store.lock import LOCK, check_unused, claimed, held

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["FOLDER", "Arrays", "Record", "ResultStore"]

SENTENCES = {
    "data": "the images (DATA) are others than there",
    "images": "the images (DATA) are others than there",
    "test": "the test images are others than there",
    "validation": "the validation images are others than there",
}
"""What to say where settings differ whose values are fingerprints."""

STUDY, FOLDER = "study.json", "pieces"

Record = dict[str, Any]
"""A JSON-able result."""
Arrays = dict[str, "NDArray[Any]"]
"""A result of numbers or text, by name."""
Kept = TypeVar("Kept", Record, Arrays)


class ResultStore:
    """The results of one study: those that are there already, and a place for those to come.

    It is used in a `with` statement, which holds the folder so that no second process writes there.

    Args:
        folder: The study's folder; None keeps nothing, for a study that is not to be resumed.
        settings: Everything that the results depend on, JSON-able.
        resume: Go on with a study of the same settings.

    Raises:
        FolderInUse: The folder holds something and `resume` was not asked for; it holds a study of
            other settings, the first difference named; or another process is at work in it.

    Example:
        with ResultStore("study", {"seed": 0}, resume=True) as store:
            table = store.record("table", compute_table)
    """

    def __init__(
        self,
        folder: str | os.PathLike[str] | None,
        settings: Mapping[str, Any],
        *,
        resume: bool = False,
    ) -> None:
        self.folder = None if folder is None else Path(folder)
        self._stack, self._entered = ExitStack(), False
        if self.folder is None:
            return
        self._wanted = json.loads(json.dumps(dict(settings)))
        check_unused(self.folder, resume=resume)
        if self.folder.is_dir() and any(entry.name != LOCK for entry in self.folder.iterdir()):
            self._check(self._wanted)
            if (self.folder / FOLDER).is_dir():
                return
        with claimed(self.folder):  # two that begin at once must not each write settings
            (self.folder / FOLDER).mkdir(parents=True, exist_ok=True)
            if (self.folder / STUDY).exists():
                self._check(self._wanted)
            write_json(self.folder / STUDY, self._wanted)

    def __enter__(self) -> Self:
        if self.folder is not None:
            busy = f"another process is at work in {self.folder}: wait for it, or stop it first"
            self._stack.enter_context(held(self.folder / LOCK, busy))
            self._check(self._wanted)
            remove_leftovers(self.folder / FOLDER)
        self._entered = True
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._entered = False
        self._stack.close()

    def has(self, name: str) -> bool:
        """Whether the result of that name is there."""
        self._check_entered()
        paths = (self._path(name, ending) for ending in ("json", "npz"))
        return any(path is not None and path.exists() for path in paths)

    def record(self, name: str, make: Callable[[], Record]) -> Record:
        """Return a JSON-able result: read it if it is there, else make and write it.

        Args:
            name: The result's name, any text.
            make: Computes the result.

        Raises:
            BadData: The file that is there cannot be read.
        """
        return self._kept(self._path(name, "json"), make, _read_record, write_json)

    def arrays(self, name: str, make: Callable[[], Arrays]) -> Arrays:
        """Return a result of arrays: read it, bit for bit, if it is there, else make and write it.

        Args:
            name: The result's name, any text.
            make: Computes the arrays.

        Raises:
            BadData: The file that is there cannot be read.
        """
        return self._kept(self._path(name, "npz"), make, _read_arrays, _write_arrays)

    def _kept(
        self,
        path: Path | None,
        make: Callable[[], Kept],
        read: Callable[[Path], Kept],
        write: Callable[[Path, Kept], None],
    ) -> Kept:
        """What a file holds, which is made and written if it is not there."""
        self._check_entered()
        if path is None:
            return make()
        try:
            return read(path)
        except FileNotFoundError:
            made = make()
            write(path, made)
            return made
        except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise BadData(f"{path} cannot be read ({error}): remove it, and resume") from None

    def _path(self, name: str, ending: str) -> Path | None:
        if self.folder is None:
            return None
        return self.folder / FOLDER / f"{quote(name, safe=' ,=@')}.{ending}"

    def _check_entered(self) -> None:
        if not self._entered:
            raise RuntimeError("a ResultStore is used inside its `with` statement only")

    def _check(self, wanted: Record) -> None:
        """Raise FolderInUse unless the folder holds a study of these settings."""
        assert self.folder is not None
        try:
            stored = json.loads((self.folder / STUDY).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            raise FolderInUse(f"{self.folder} holds no study to go on with: give another") from None
        if differing := first_difference(stored, wanted, sentences=SENTENCES):
            raise FolderInUse(
                f"{self.folder} is a study with other settings: {differing}; give a new folder"
            )


def _read_record(path: Path) -> Record:
    return dict(json.loads(path.read_text(encoding="utf-8")))


def _read_arrays(path: Path) -> Arrays:
    import numpy as np

    with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as stored:
        return {key: stored[key] for key in stored.files}


def _write_arrays(path: Path, arrays: Arrays) -> None:
    import numpy as np

    content = io.BytesIO()
    np.savez_compressed(content, allow_pickle=False, **arrays)
    replace_file(path, content.getvalue())
