"""Tensors in a file that says itself whether it is whole: safetensors with a checksum within.

The entry "sha256" of its metadata is the SHA-256 of all of the file's bytes, with zeros in place of
the entry itself.
"""

from __future__ import annotations

import hashlib
import json

__all__ = ["metadata_of", "sealed"]

SEAL, EMPTY = "sha256", "0" * 64


def sealed(content: bytes) -> bytes:
    """A safetensors file with its checksum in it.

    Args:
        content: the file's bytes without one.

    Returns:
        The bytes with one; the same for the same tensors and metadata.
    """
    end = _end_of_header(content)
    header = json.loads(content[8:end])
    entries = {**header.pop("__metadata__", {}), SEAL: EMPTY}
    ordered = {"__metadata__": dict(sorted(entries.items())), **header}
    text = json.dumps(ordered, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # the numbers begin at a multiple of 8 bytes
    whole = len(text).to_bytes(8, "little") + text + content[end:]
    return _with(whole, EMPTY, hashlib.sha256(whole).hexdigest())


def metadata_of(content: bytes) -> dict[str, str]:
    """The metadata of such a file, when all of its bytes are those that were written.

    A file without a checksum, as earlier versions wrote, is believed.

    Args:
        content: of the file.

    Raises:
        ValueError: The bytes are others, or no safetensors file.
    """
    try:
        header = json.loads(content[8 : _end_of_header(content)])
        metadata = dict(header["__metadata__"])
        seal = metadata.pop(SEAL, None)
    except (KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"its header is damaged: {error}") from None
    if seal is None:
        return metadata
    whole = _with(content, str(seal), EMPTY)
    if hashlib.sha256(whole).hexdigest() != seal:
        raise ValueError("its bytes are not those that were written (SHA-256)")
    return metadata


def _with(content: bytes, old: str, new: str) -> bytes:
    """The file with another checksum in its header."""
    end = _end_of_header(content)
    entry = f'"{SEAL}":"%s"'
    return content[:end].replace((entry % old).encode(), (entry % new).encode()) + content[end:]


def _end_of_header(content: bytes) -> int:
    return 8 + int.from_bytes(content[:8], "little")
