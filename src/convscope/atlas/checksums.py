"""Checksums of an atlas's files: checksums.json, by which a damaged file is told from a whole one.

    {"files": {"tables.safetensors": "SHA-256 in hex", "sheets/conv1/patch-000.webp": "..."}}

It names what the atlas was built of. That of manifest.json is taken without the seconds that were
spent, so that the same atlas always has the same checksums. The page is made of these files and can
be made again; names and a diagnosis are a person's to change: they are not in it. Atlases that were
made before there were checksums have no such file, and are read all the same.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from pydantic import ValidationError

from convscope.atlas.manifest import StoredRecord
from convscope.errors import BadInput
from convscope.store.atomic import replace_file
from convscope.store.fingerprint import file_fingerprint
from convscope.text import error_words

__all__ = ["CHECKSUMS", "Checksums", "read_checksums", "write_checksums"]

CHECKSUMS = "checksums.json"


class Checksums(StoredRecord):
    """SHA-256, hex, by the path below the atlas's folder.

    Attributes:
        files: path with slashes -> checksum.
    """

    files: dict[str, str]

    def check(self, folder: Path, path: Path, content: bytes) -> None:
        """Compare a file's bytes with what was written.

        Args:
            folder: of the atlas.
            path: of the file.
            content: its bytes.

        Raises:
            ValueError: they are others.
        """
        known = self.files.get(path.relative_to(folder).as_posix())
        if known is not None and _digest(path, content) != known:
            raise ValueError("its bytes are not those that were written (SHA-256)")


def read_checksums(folder: Path) -> Checksums | None:
    """The checksums of an atlas; None of one that was made before there were any.

    Raises:
        BadInput: the file is damaged.
    """
    path = folder / CHECKSUMS
    try:
        return Checksums.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        line = error_words(error)
        raise BadInput(
            f"the atlas is damaged at {path}: {line}; make it again, or delete this file to open "
            "it without checksums"
        ) from None


def write_checksums(
    folder: Path, paths: Iterable[Path], contents: Mapping[Path, bytes] | None = None
) -> None:
    """Add files of an atlas to its checksums.

    Args:
        folder: of the atlas.
        paths: files that are there.
        contents: files that will be there, with their bytes.
    """
    earlier = read_checksums(folder)
    found = {} if earlier is None else dict(earlier.files)
    for path in paths:
        found[path.relative_to(folder).as_posix()] = file_fingerprint(path)
    for path, content in (contents or {}).items():
        found[path.relative_to(folder).as_posix()] = _digest(path, content)
    record = Checksums(files=dict(sorted(found.items())))
    replace_file(folder / CHECKSUMS, record.model_dump_json(indent=0).encode())


def _digest(path: Path, content: bytes) -> str:
    """SHA-256, hex, of a file's bytes; of the manifest's values, but for the seconds.

    Raises:
        ValueError: the manifest is no JSON.
    """
    if path.name == "manifest.json":
        values = json.loads(content)
        kept = {key: value for key, value in values.items() if not key.startswith("seconds")}
        content = json.dumps(kept, sort_keys=True).encode()
    return hashlib.sha256(content).hexdigest()
