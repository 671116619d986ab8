"""Names out of files that strangers wrote, before they become paths. The paths are ours.

A folder that was downloaded may say anything: a layer called `../../X`, a folder that is a link to
another one. Nothing is read or written outside the folder that a user named.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from convscope.errors import BadInput

__all__ = ["check_inside", "is_file_name"]

SAFE = re.compile(r"[A-Za-z0-9_~-][A-Za-z0-9_.~-]{0,200}")


def is_file_name(name: str) -> bool:
    """Whether a name can be that of a file or folder of ours: no path, not hidden, and ASCII.

    Example:
        >>> is_file_name("conv1"), is_file_name("../conv1")
        (True, False)
    """
    return SAFE.fullmatch(name) is not None


def check_inside(folder: Path, places: Iterable[str]) -> None:
    """Refuse a folder in which one of these places is a link that leads out of it.

    Args:
        folder: That a user named.
        places: Below it, relative; those that are not there are no matter.

    Raises:
        BadInput: One leads out.
    """
    inside = folder.resolve()
    for place in places:
        if not (folder / place).resolve().is_relative_to(inside):
            raise BadInput(
                f"{folder / place} is a link that leads out of {folder}: remove it, or copy what "
                "it leads to"
            )
