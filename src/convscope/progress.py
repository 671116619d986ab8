"""Progress: the function that a long computation calls to tell how far it is."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from convscope.display import in_notebook

__all__ = ["Progress", "bars", "counted_as", "named", "scaled", "silent"]

Progress = Callable[[str, int, int], None]
"""Called with (what, done, total) whenever there is progress, such as ("images", 3, 1000)."""


def named(progress: Progress | None, name: str) -> Progress | None:
    """Add a name to what a progress function reports, such as "conv5: images".

    Args:
        progress: The function to call; None if nobody listens.
        name: What stands before each report, and a colon.

    Returns:
        A progress function, or None if `progress` is None.
    """
    if progress is None:
        return None
    return lambda what, done, total: progress(f"{name}: {what}", done, total)


def counted_as(progress: Progress | None, what: str) -> Progress | None:
    """Replace what a progress function reports that is counted.

    Args:
        progress: The function to call; None if nobody listens.
        what: What is counted, such as "networks".

    Returns:
        A progress function, or None if `progress` is None.
    """
    if progress is None:
        return None
    return lambda _, done, total: progress(what, done, total)


def scaled(progress: Progress | None, whole: int) -> Progress | None:
    """Convert the counts that a progress function reports into another unit.

    Args:
        progress: The function to call; None if nobody listens.
        whole: The total in the new unit, such as images in place of batches.

    Returns:
        A progress function that reports `whole` as the total, or None if `progress` is None.
    """
    if progress is None:
        return None
    return lambda what, done, total: progress(what, done * whole // max(1, total), whole)


def silent(what: str, done: int, total: int) -> None:
    """Report progress to nobody."""


@contextmanager
def bars(shown: bool = True) -> Iterator[Progress]:
    """Show progress as bars within a `with` statement, one for each thing that is counted.

    They are tqdm's: widgets in a notebook, lines in a terminal. Where nobody watches, as in a file
    or a pipe, there are none.

    Args:
        shown: False shows none anywhere.

    Yields:
        A progress function.

    Example:
        >>> with bars() as progress:
        ...     progress("images", 1, 10)
    """
    if not (shown and (in_notebook() or sys.stderr.isatty())):
        yield silent
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that ipywidgets is missing: the bar is text then
        from tqdm.auto import tqdm

    drawn: dict[str, Any] = {}

    def advance(what: str, done: int, total: int) -> None:
        if what not in drawn:
            drawn[what] = tqdm(desc=what, initial=done, total=total)
        bar = drawn[what]
        bar.total = total
        bar.update(done - bar.n)

    try:
        yield advance
    finally:
        for bar in drawn.values():
            bar.close()
