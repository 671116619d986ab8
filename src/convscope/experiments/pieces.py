"""A study in pieces: each piece's result is a file, so that an interrupted study goes on.

study.json            what is studied, by which settings
pieces/KEY.json       the result of one piece, JSON
pieces/KEY.npz        of one whose numbers are arrays
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import zipfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from convscope.errors import BadData, FolderInUse
from convscope.network.lock import check_unused
from convscope.network.weights import replace_file

__all__ = ["Pieces", "fingerprint"]

HASHED = {
    "data": "the images (DATA) are others than there",
    "validation": "the validation images are others than there",
}
"""Settings whose values are hashes, and what to say where they differ."""

STUDY, FOLDER = "study.json", "pieces"

Values = dict[str, Any]
Arrays = dict[str, NDArray[Any]]


def fingerprint(values: Iterable[NDArray[Any]]) -> str:
    """Of arrays with their types and shapes: what a study's settings say in place of them."""
    whole = hashlib.sha256()
    for value in values:
        whole.update(f"{value.dtype} {value.shape}\n".encode())
        whole.update(np.ascontiguousarray(value).tobytes())
    return whole.hexdigest()[:16]


class Pieces:
    """The pieces of one study that are there already, and a place for those to come.

    folder : None keeps nothing, for a study that is not to be resumed
    settings : JSON-able, everything that the results depend on
    resume : go on with a study of the same settings

    Raises  FolderInUse: the folder holds something and `resume` was not asked for, or it holds a
        study of other settings, the first difference named.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str] | None,
        settings: Mapping[str, Any],
        *,
        resume: bool = False,
    ) -> None:
        self.folder = None if folder is None else Path(folder)
        if self.folder is None:
            return
        wanted = json.loads(json.dumps(dict(settings)))
        check_unused(self.folder, resume=resume)
        if self.folder.is_dir() and any(self.folder.iterdir()):
            self._check(wanted)
        (self.folder / FOLDER).mkdir(parents=True, exist_ok=True)
        replace_file(self.folder / STUDY, json.dumps(wanted, indent=1).encode())

    def get(self, key: str, make: Callable[[], Values]) -> Values:
        """The piece of that name: read if it is there, else made and written. JSON-able."""
        if self.folder is None:
            return make()
        path = self._path(key, "json")
        try:
            return dict(json.loads(path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            made = make()
            replace_file(path, json.dumps(made, indent=1).encode())
            return made
        except (OSError, ValueError) as error:
            raise BadData(f"{path} cannot be read ({error}): remove it, and resume") from None

    def arrays(self, key: str, make: Callable[[], Arrays]) -> Arrays:
        """As `get`, for arrays of numbers or text: they are read as they were written, bit by bit.
        """  # fmt: skip
        if self.folder is None:
            return make()
        path = self._path(key, "npz")
        try:
            with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as found:
                return {name: found[name] for name in found.files}
        except FileNotFoundError:
            made = make()
            content = io.BytesIO()
            np.savez_compressed(content, allow_pickle=False, **made)
            replace_file(path, content.getvalue())
            return made
        except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise BadData(f"{path} cannot be read ({error}): remove it, and resume") from None

    def _path(self, key: str, ending: str) -> Path:
        assert self.folder is not None
        return self.folder / FOLDER / f"{quote(key, safe=' ,=@')}.{ending}"

    def _check(self, wanted: Values) -> None:
        assert self.folder is not None
        try:
            found = json.loads((self.folder / STUDY).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            raise FolderInUse(f"{self.folder} holds no study to go on with: give another") from None
        if found != wanted:
            raise FolderInUse(
                f"{self.folder} is a study with other settings: {_difference(found, wanted)}; "
                "give a new folder"
            )


def _difference(there: Any, now: Any, name: str = "") -> str:
    """The first value that differs, in words, named by the way to it: recipe.learning_rate."""
    if isinstance(there, dict) and isinstance(now, dict):
        keys = sorted(there.keys() | now.keys())
        key = next(key for key in keys if there.get(key) != now.get(key))
        return _difference(there.get(key), now.get(key), f"{name}.{key}" if name else key)
    if isinstance(there, list) and isinstance(now, list):
        if len(there) != len(now):
            return f"{name} has {len(there)} entries there, {len(now)} now"
        at = next(i for i, pair in enumerate(zip(there, now, strict=True)) if pair[0] != pair[1])
        return _difference(there[at], now[at], f"{name}[{at}]")
    if name in HASHED and isinstance(there, str) and isinstance(now, str):
        return HASHED[name]
    return f"{name} is {there!r} there, {now!r} now"
