"""A unit: the frozen address of one number in a network, `layer/channel[@row,column]`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from convscope.errors import NoSuchUnit

__all__ = ["Unit"]

_TEXT = re.compile(  # a layer's name may hold / and @ itself: the address is at the end
    r"(?P<layer>.+)/(?P<channel>\d{1,18})(@(?P<row>\d{1,18}),(?P<column>\d{1,18}))?",
    re.ASCII | re.DOTALL,
)


@dataclass(frozen=True, order=True)
class Unit:
    """The address of one unit, or of one feature map if it has no position.

    A unit without a position stands for its feature map's strongest one in the image at hand.

    Attributes:
        layer: name of the layer.
        channel: number of the feature map, from 0.
        row: of the position on the layer's grid (not in pixels); None without a position.
        column: of the position on the layer's grid; None without a position.

    Raises:
        NoSuchUnit: a row without a column, or a column without a row.

    Example:
        >>> Unit.parse("conv5/128@6,6")
        Unit(layer='conv5', channel=128, row=6, column=6)
    """

    layer: str
    channel: int
    row: int | None = None
    column: int | None = None

    def __post_init__(self) -> None:
        if (self.row is None) != (self.column is None):
            raise NoSuchUnit(
                f"unit {self.layer}/{self.channel} with row {self.row} and column {self.column}: "
                "give both, or neither for its strongest position"
            )

    @property
    def position(self) -> tuple[int, int] | None:
        """(row, column) on the layer's grid; None for the strongest one."""
        if self.row is None or self.column is None:
            return None
        return self.row, self.column

    @classmethod
    def parse(cls, text: Unit | str | tuple[str, int] | tuple[str, int, int, int]) -> Unit:
        """Make a unit of its text form, of a tuple, or of a unit, which is itself.

        Args:
            text: `layer/channel`, `layer/channel@row,column`, or a tuple of the same parts.

        Raises:
            NoSuchUnit: the text is of another form.

        Example:
            >>> str(Unit.parse(("conv5", 128)))
            'conv5/128'
        """
        if isinstance(text, Unit):
            return text
        if isinstance(text, tuple) and len(text) in (2, 4):
            layer, *numbers = text
            return cls(str(layer), *(int(number) for number in numbers))
        match = _TEXT.fullmatch(text.strip()) if isinstance(text, str) else None
        if match is None:
            raise NoSuchUnit(
                f"{text!r} is not a unit: write layer/channel (its strongest position) or "
                "layer/channel@row,column, for example conv5/128@6,6"
            )
        row, column = match["row"], match["column"]
        return cls(
            match["layer"],
            int(match["channel"]),
            None if row is None else int(row),
            None if column is None else int(column),
        )

    def at(self, row: int, column: int) -> Unit:
        """The unit of the same feature map at a position of the layer's grid."""
        return Unit(self.layer, self.channel, row, column)

    def __str__(self) -> str:
        where = "" if self.position is None else f"@{self.row},{self.column}"
        return f"{self.layer}/{self.channel}{where}"
