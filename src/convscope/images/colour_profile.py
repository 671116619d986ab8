"""Colour profiles (ICC): what a file says of its colours, which is told and not applied.

Networks learn from pictures whose profiles their readers ignored, as torchvision, OpenCV and Keras
do; a picture whose colours were converted would be another one than they were shown. So the numbers
stay, and a profile other than sRGB's is named.
"""

from __future__ import annotations

import struct

__all__ = ["profile_note"]

MOST_TAGS = 200
LONGEST = 60  # characters of a name
SRGB = ("srgb", "iec61966", "iec 61966")


def profile_note(profile: object) -> tuple[str, ...]:
    """Note a colour profile that is not sRGB's.

    Args:
        profile: Pillow's `icc_profile`, bytes, or None.

    Example:
        >>> profile_note(None)
        ()
    """
    if not isinstance(profile, bytes) or len(profile) < 132:
        return ()
    name = _description(profile)
    if any(word in name.lower() for word in SRGB):
        return ()
    called = f" {name!r}" if name else ""
    return (f"colour profile{called} not applied",)


def _description(profile: bytes) -> str:
    """The name that a profile gives itself, "" where it cannot be read (ICC.1:2022, 9.2.41)."""
    try:
        (count,) = struct.unpack_from(">I", profile, 128)
        for number in range(min(count, MOST_TAGS)):
            tag, offset, size = struct.unpack_from(">4sII", profile, 132 + 12 * number)
            if tag == b"desc":
                return _text(profile[offset : offset + size])
    except (struct.error, UnicodeDecodeError):
        pass
    return ""


def _text(content: bytes) -> str:
    if content[:4] == b"desc":  # version 2: ASCII
        (length,) = struct.unpack_from(">I", content, 8)
        text = content[12 : 12 + length].decode("latin-1")
    elif content[:4] == b"mluc":  # version 4: UTF-16, the first language
        length, offset = struct.unpack_from(">II", content, 20)
        text = content[offset : offset + length].decode("utf-16-be")
    else:
        return ""
    printable = "".join(letter for letter in text if letter.isprintable())
    return printable.strip()[:LONGEST]
