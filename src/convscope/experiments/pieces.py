"""A study in pieces: each piece's result is a file, so that an interrupted study goes on.

study.json            what is studied, by which settings
pieces/KEY.json       the result of one piece, JSON
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from convscope.errors import BadData, FolderInUse
from convscope.network.lock import check_unused
from convscope.network.weights import replace_file

__all__ = ["Pieces"]

STUDY, FOLDER = "study.json", "pieces"

Values = dict[str, Any]


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
        path = self.folder / FOLDER / f"{quote(key, safe=' ,=@')}.json"
        try:
            return dict(json.loads(path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            made = make()
            replace_file(path, json.dumps(made, indent=1).encode())
            return made
        except (OSError, ValueError) as error:
            raise BadData(f"{path} cannot be read ({error}): remove it, and resume") from None

    def _check(self, wanted: Values) -> None:
        assert self.folder is not None
        try:
            found = json.loads((self.folder / STUDY).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            raise FolderInUse(f"{self.folder} holds no study to go on with: give another") from None
        for name in sorted(found.keys() | wanted.keys()):
            if found.get(name) != wanted.get(name):
                raise FolderInUse(
                    f"{self.folder} is a study with other settings: {name} is "
                    f"{found.get(name)!r} there, {wanted.get(name)!r} now; give a new folder"
                )
