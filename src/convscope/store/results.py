"""Results by name, a file for each, so that interrupted work goes on where it was.

study.json            the settings that the results depend on
pieces/NAME.json      a JSON-able result
pieces/NAME.npz       a result of arrays
checksums.json        SHA-256 of each of these files, by which a damaged one is told

A checksum is written before its file, so a kill between the two leaves a result that is made anew.
Studies that were begun before there were checksums are gone on with all the same.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar
from urllib.parse import quote

from convscope.errors import BadData, BadInput, FolderInUse
from convscope.store.atomic import remove_leftovers, replace_file, write_json
from convscope.store.differences import first_difference
from convscope.store.lock import LOCK, check_unused, claimed, held
from convscope.store.npz import npz_bytes
from convscope.text import error_words

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

STUDY, FOLDER, CHECKSUMS = "study.json", "pieces", "checksums.json"
BEGINNING = {STUDY, FOLDER, LOCK}
VERSION = "convscope"  # the setting that names the program's version

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
        self._checksums: dict[str, str] = {}
        self._resumed = resume
        if self.folder is None:
            return
        self._wanted = json.loads(json.dumps(dict(settings)))
        check_unused(self.folder, resume=resume)
        if self.folder.is_dir() and any(map(_is_work, self.folder.iterdir())):
            self._check(self._wanted)
            if (self.folder / FOLDER).is_dir():
                return
        with claimed(self.folder):  # two that begin at once must not each write settings
            if (self.folder / STUDY).exists():
                self._check(self._wanted)
            else:
                write_json(self.folder / STUDY, self._wanted)
            (self.folder / FOLDER).mkdir(parents=True, exist_ok=True)

    def __enter__(self) -> Self:
        if self.folder is not None:
            busy = f"another process is at work in {self.folder}: wait for it, or stop it first"
            self._stack.enter_context(held(self.folder / LOCK, busy))
            self._check(self._wanted)
            remove_leftovers(self.folder)
            self._checksums = self._read_checksums(self.folder / CHECKSUMS)
        self._entered = True
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._entered = False
        if kind is not None and issubclass(kind, BadInput) and not self._resumed:
            self._remove_beginning()
        self._stack.close()

    def _remove_beginning(self) -> None:
        """Leave nothing of a study that was refused before its first result: the next may begin."""
        if self.folder is not None and {entry.name for entry in self.folder.iterdir()} <= BEGINNING:
            with suppress(OSError):  # the pieces are no longer empty
                (self.folder / FOLDER).rmdir()
                (self.folder / STUDY).unlink(missing_ok=True)

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
        return self._kept(self._path(name, "json"), make, _read_record, _record_bytes)

    def arrays(self, name: str, make: Callable[[], Arrays]) -> Arrays:
        """Return a result of arrays: read it, bit for bit, if it is there, else make and write it.

        Args:
            name: The result's name, any text.
            make: Computes the arrays.

        Raises:
            BadData: The file that is there cannot be read.
        """
        return self._kept(self._path(name, "npz"), make, _read_arrays, _arrays_bytes)

    def _kept(
        self,
        path: Path | None,
        make: Callable[[], Kept],
        read: Callable[[bytes], Kept],
        write: Callable[[Kept], bytes],
    ) -> Kept:
        """What a file holds, which is made and written if it is not there."""
        self._check_entered()
        if path is None:
            return make()
        try:
            content = path.read_bytes()
            known = self._checksums.get(path.name)
            if known not in (None, hashlib.sha256(content).hexdigest()):
                raise ValueError("its bytes are not those that were written (SHA-256)")
            return read(content)
        except FileNotFoundError:
            made = make()
            self._write(path, write(made))
            return made
        except Exception as error:  # damaged bytes raise whatever they like, in json, zlib or NumPy
            line = error_words(error)
            raise BadData(f"{path} cannot be read ({line}): remove it, and resume") from None

    def _write(self, path: Path, content: bytes) -> None:
        """Write a file, and its checksum before it."""
        assert self.folder is not None
        self._checksums[path.name] = hashlib.sha256(content).hexdigest()
        replace_file(self.folder / CHECKSUMS, _record_bytes({"files": self._checksums}))
        replace_file(path, content)

    @staticmethod
    def _read_checksums(path: Path) -> dict[str, str]:
        """The checksums by the names of files; none of a study that is older than they are."""
        try:
            files = json.loads(path.read_bytes())["files"]
            if not all(isinstance(value, str) for value in files.values()):
                raise ValueError("a checksum is no text")
            return dict(files)
        except FileNotFoundError:
            return {}
        except Exception as error:
            line = error_words(error)
            raise BadData(f"{path} cannot be read ({line}): remove it, and resume") from None

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
        except (OSError, ValueError, RecursionError):
            raise FolderInUse(f"{self.folder} holds no study to go on with: give another") from None
        if isinstance(stored, dict):  # what a version of the program began, the next goes on with
            stored, wanted = ({**one, VERSION: None} for one in (stored, wanted))
        if differing := first_difference(stored, wanted, sentences=SENTENCES):
            raise FolderInUse(
                f"{self.folder} is a study with other settings: {differing}; give a new folder"
            )


def _is_work(entry: Path) -> bool:
    """Whether this is more than what a beginning leaves that failed or was killed."""
    if entry.name == LOCK or (entry.name.startswith(f".{STUDY}.") and entry.suffix == ".tmp"):
        return False
    return entry.name != FOLDER or not entry.is_dir() or any(entry.iterdir())


def _read_record(content: bytes) -> Record:
    return dict(json.loads(content))


def _record_bytes(record: Mapping[str, Any]) -> bytes:
    return json.dumps(record, indent=1).encode()


def _read_arrays(content: bytes) -> Arrays:
    import numpy as np

    with np.load(io.BytesIO(content), allow_pickle=False) as stored:
        return {key: stored[key] for key in stored.files}


def _arrays_bytes(arrays: Arrays) -> bytes:
    return npz_bytes(arrays, compressed=True)
