"""Options' words to values, and values to columns of words."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from typing import Any

from convscope.errors import BadOption

__all__ = ["listed", "numbers", "table"]


def listed(words: str, option: str) -> tuple[str, ...]:
    """("conv1", "conv5") of "conv1,conv5"; a name with a comma in it stands in double quotes.

    Raises  BadOption: there is nothing in it.
    """
    fields = next(csv.reader([words], skipinitialspace=True), [])
    names = tuple(name.strip() for name in fields if name.strip())
    if not names:
        raise BadOption(f"{option} {words!r} names nothing: give names, a comma between them")
    return names


def numbers(words: str, option: str, least: int = 1) -> tuple[int, ...]:
    """(1, 5, 15) of "1,5,15".   Raises  BadOption: something else, or a number below `least`."""
    parts = [part.strip() for part in words.split(",") if part.strip()]
    if not parts or not all(part.isdecimal() and int(part) >= least for part in parts):
        raise BadOption(
            f"{option} {words!r}: give whole numbers, {least} at least, a comma between them"
        )
    return tuple(int(part) for part in parts)


def table(head: Sequence[str], rows: Sequence[Sequence[Any]], *, left: bool = False) -> list[str]:
    """Lines of columns, the first to the left, the others to the right, or to the `left` too."""
    cells = [list(map(str, row)) for row in (head, *rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(head))]
    return [
        "  ".join(
            cell.ljust(width) if left or i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    ]
