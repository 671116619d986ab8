"""How far a long computation is, as it says so itself: a function that is called on the way."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["Progress", "named", "scaled", "silent"]

Progress = Callable[[str, int, int], None]
"""Called with (what, done, total) whenever there is progress, such as ("images", 3, 1000)."""


def named(progress: Progress | None, name: str) -> Progress | None:
    """Progress that says what it is of, such as "conv5: images"."""
    if progress is None:
        return None
    return lambda what, done, total: progress(f"{name}: {what}", done, total)


def scaled(progress: Progress | None, whole: int) -> Progress | None:
    """Progress that counts in other units: `whole` of them in all, the same number in each."""
    if progress is None:
        return None
    return lambda what, done, total: progress(what, done * whole // max(1, total), whole)


def silent(what: str, done: int, total: int) -> None:
    """Progress that nobody is shown."""
