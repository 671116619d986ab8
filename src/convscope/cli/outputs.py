"""Where results go: checked before the work begins, written whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from convscope.errors import BadOption
from convscope.store.npz import npz_bytes

__all__ = [
    "check_output",
    "write_arrays",
    "write_file",
]


def check_output(path: Path, suffixes: tuple[str, ...], *, option: str = "--out") -> Path:
    """Refuse a path that cannot be written to, before the work begins; nothing is left there.

    Args:
        path: of the file to be written.
        suffixes: the endings that are allowed, such as ".png".
        option: that names it.

    Returns:
        The path.

    Raises:
        BadOption: another ending, a folder, or a place that cannot be written to.
    """
    allowed = " or ".join(suffixes)
    if path.suffix.lower() not in suffixes:
        found = f"ends with {path.suffix!r}" if path.suffix else "has no ending"
        raise BadOption(f"{option} {path} {found}: it must end with {allowed}")
    if path.is_dir():
        raise BadOption(f"{option} {path} is a folder: give a file that ends with {allowed}")
    there = next(parent for parent in path.absolute().parents if parent.exists())
    if not there.is_dir():
        raise BadOption(f"{option} {path}: {there} is a file, so nothing can be written below it")
    try:  # permissions do not tell: to root all is allowed, also where nothing can be written
        with TemporaryFile(dir=there):
            return path
    except OSError as error:
        words = error.strerror or str(error)
        raise BadOption(
            f"{option} {path}: {there} cannot be written to ({words.lower()}); give another place"
        ) from None


def write_file(path: Path, content: bytes) -> None:
    """Write a file, and the folders above it; a crash leaves the old file or the new one."""
    from convscope.store.atomic import replace_file

    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, content)


def write_arrays(path: Path, arrays: Mapping[str, Any], record: Mapping[str, Any]) -> None:
    """Write arrays to a .npz file.

    Args:
        path: of the file.
        arrays: by name.
        record: what was used, JSON-able; it goes with them as the JSON text `about`.
    """
    write_file(path, npz_bytes({"about": json.dumps(record), **arrays}))
