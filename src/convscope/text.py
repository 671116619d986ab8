"""Text of the command line: option values into Python values, and rows into aligned columns."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from typing import Any, overload

from convscope.errors import BadOption

__all__ = [
    "counted",
    "error_words",
    "first_name",
    "is_number",
    "printable",
    "some_maps",
    "split_integers",
    "split_names",
    "table",
]

LONGEST = 500  # letters of what another library says
BLANKS = "\N{NO-BREAK SPACE}\N{NARROW NO-BREAK SPACE}"  # macOS writes both into names of files


def printable(text: str, keep: str = "") -> str:
    """Escape what a terminal would obey, such as control characters and marks of direction.

    Names of files, layers and classes, and the words of other libraries, are strangers' text. Line
    breaks and bytes that are not UTF-8 are escaped too. Blanks that do not break a line stay.

    Args:
        text: What is to be shown.
        keep: Control characters that stay as they are.

    Example:
        >>> printable("dog\\x1b[2J")
        'dog\\\\x1b[2J'
    """
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() or c in keep or c in BLANKS else c.encode("unicode_escape").decode()
        for c in text
    )


def error_words(error: BaseException) -> str:
    """What another library's exception says, on one line and no longer than a person reads.

    It may quote a stranger's file: a header that is one word of 100,000 letters.

    Args:
        error: The exception.

    Example:
        >>> error_words(ValueError("two\\n  lines"))
        'two lines'
    """
    words = " ".join(str(error).split()) or type(error).__name__
    return words if len(words) <= LONGEST else f"{words[:LONGEST]} …"


def some_maps(maps: Sequence[int], count: int) -> str:
    """Some of a layer's maps, by their numbers.

    Args:
        maps: Their numbers.
        count: How many maps the layer has.

    Example:
        >>> some_maps([4, 7, 9], 32)
        '3 of 32 maps (4, 7, 9)'
    """
    shown = ", ".join(map(str, maps[:8])) + (" …" if len(maps) > 8 else "")
    return f"{len(maps)} of {count} maps ({shown})"


@overload
def split_names(words: str, option: str) -> tuple[str, ...]: ...
@overload
def split_names(words: str | None, option: str) -> tuple[str, ...] | None: ...
def split_names(words: str | None, option: str) -> tuple[str, ...] | None:
    """Split a comma-separated list of names; a name with a comma in it stands in double quotes.

    Args:
        words: The value of the option; None, which stays None, where it was not given.
        option: The option's name, for the error message.

    Raises:
        BadOption: There is no name in it.

    Example:
        >>> split_names("conv1, conv5", "--layers")
        ('conv1', 'conv5')
    """
    if words is None:
        return None
    try:
        fields = next(csv.reader([words], skipinitialspace=True), [])
    except csv.Error:  # a line break outside of quotes, a name without end
        fields = []
    names = tuple(name.strip() for name in fields if name.strip())
    if not names:
        raise BadOption(f"{option} {words!r} names nothing: give names, a comma between them")
    return names


def split_integers(words: str, option: str, least: int = 1) -> tuple[int, ...]:
    """Split a comma-separated list of whole numbers.

    Args:
        words: The value of the option.
        option: The option's name, for the error message.
        least: The smallest number that is allowed.

    Raises:
        BadOption: There is something else in it, or a number below `least`.

    Example:
        >>> split_integers("1,5,15", "--per-class")
        (1, 5, 15)
    """
    parts = [part.strip() for part in words.split(",") if part.strip()]
    if not parts or not all(is_number(part) and int(part) >= least for part in parts):
        raise BadOption(
            f"{option} {words!r}: give whole numbers, {least} at least, a comma between them"
        )
    return tuple(int(part) for part in parts)


def is_number(words: str, most: int = 10**18) -> bool:
    """Whether words are a whole number in digits, 0 or more, and no larger than another.

    Python's own `int` raises where there are more than 4,300 digits.
    """
    return words.isdecimal() and len(words) < 20 and int(words) <= most


def first_name(names: str) -> str:
    """The first of a class's names, as ImageNet has them: "koala, koala bear" is "koala".

    A name that begins with a comma is left as it is.
    """
    return " ".join(names.split(",")[0].split()) or names


def counted(number: int, noun: str) -> str:
    """A number with its noun, such as "1 layer" and "1,200 layers"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def table(head: Sequence[str], rows: Sequence[Sequence[Any]], *, left: bool = False) -> list[str]:
    """Format rows as lines of aligned columns.

    Args:
        head: The titles of the columns.
        rows: The cells, as many in a row as there are titles.
        left: Align every column to the left; else only the first one, and the others to the right.

    Example:
        >>> table(("layer", "maps"), [("conv1", 96), ("conv2", 256)])
        ['layer  maps', 'conv1    96', 'conv2   256']
    """
    cells = [list(map(str, row)) for row in (head, *rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(head))]
    return [
        "  ".join(
            cell.ljust(width) if left or i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    ]
