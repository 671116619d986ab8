"""How messages travel: a JSON header and byte strings behind it, in one frame.

The browser and the server exchange frames over a WebSocket, the server and the model's process over
a pipe, where each frame has a ticket: a number by which its receiver is known. Pictures and maps go
as bytes beside the header, so that nobody encodes or escapes them.

    frame         header's length, 4 bytes little-endian · header, JSON · parts, one after the other
    on the pipe   ticket, 4 bytes · frame's length, 4 bytes · frame
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO

__all__ = ["HEAD", "Reply", "header_of", "pack", "posted", "take", "unpack"]

Reply = tuple[dict[str, Any], list[bytes]]
"""What a header says, and its parts."""
HEAD = struct.Struct("<II")
"""What goes before a frame on the pipe: its ticket and its length."""
_LENGTH = struct.Struct("<I")


def pack(header: Mapping[str, Any], parts: Sequence[bytes] = ()) -> bytes:
    """Put a header and its parts into a frame.

    Args:
        header: JSON-able, without NaN; `parts` is added to it, the length of each part.
        parts: Byte strings that belong to it.

    Example:
        >>> unpack(pack({"id": 1}, [b"abc"]))
        ({'id': 1, 'parts': [3]}, [b'abc'])
    """
    full = {**header, "parts": [len(part) for part in parts]}
    head = json.dumps(full, separators=(",", ":"), allow_nan=False).encode()
    return b"".join([_LENGTH.pack(len(head)), head, *parts])


def header_of(frame: bytes) -> dict[str, Any]:
    """The header of a frame, without its parts."""
    (length,) = _LENGTH.unpack_from(frame)
    header: dict[str, Any] = json.loads(frame[_LENGTH.size : _LENGTH.size + length])
    return header


def unpack(frame: bytes) -> tuple[dict[str, Any], list[bytes]]:
    """Take a frame apart: the header, and its parts."""
    (length,) = _LENGTH.unpack_from(frame)
    header, at, parts = header_of(frame), _LENGTH.size + length, []
    for size in header.get("parts", ()):
        parts.append(frame[at : at + size])
        at += size
    return header, parts


def posted(ticket: int, frame: bytes) -> bytes:
    """A frame as it goes over the pipe."""
    return HEAD.pack(ticket, len(frame)) + frame


def take(stream: BinaryIO) -> tuple[int, bytes] | None:
    """Read the next ticket and frame from a pipe; None at its end."""
    head = stream.read(HEAD.size)
    if len(head) < HEAD.size:
        return None
    ticket, length = HEAD.unpack(head)
    frame = stream.read(length)
    return (ticket, frame) if len(frame) == length else None
