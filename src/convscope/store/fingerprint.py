"""Fingerprints: SHA-256, hex, of what a result depends on. Equal values have equal fingerprints."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["array_fingerprint", "file_fingerprint", "text_fingerprint"]


def text_fingerprint(text: str) -> str:
    """Return the SHA-256, hex, of a text, encoded as UTF-8."""
    return hashlib.sha256(text.encode()).hexdigest()


def file_fingerprint(path: Path) -> str:
    """Return the SHA-256, hex, of a file's bytes, which are read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def array_fingerprint(arrays: Iterable[NDArray[Any]]) -> str:
    """Return a short SHA-256 over arrays, with their types and shapes, in order.

    Returns:
        The first 16 hex digits: what the settings of a study hold in place of the arrays.
    """
    import numpy as np

    whole = hashlib.sha256()
    for array in arrays:
        whole.update(f"{array.dtype} {array.shape}\n".encode())
        whole.update(np.ascontiguousarray(array).tobytes())
    return whole.hexdigest()[:16]
