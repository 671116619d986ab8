"""Boxes of pixels, half-open and in (row, column) order."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Box"]


@dataclass(frozen=True, order=True)
class Box:
    """A half-open rectangle: rows top..bottom-1 and columns left..right-1.

    A receptive field may reach beyond the image, so coordinates may be negative or past its edge.

    Attributes:
        top: The first row.
        left: The first column.
        bottom: The row after the last.
        right: The column after the last.

    Example:
        >>> Box(0, 0, 4, 4).intersect(Box(2, 1, 6, 3))
        Box(top=2, left=1, bottom=4, right=3)
    """

    top: int
    left: int
    bottom: int
    right: int

    @property
    def height(self) -> int:
        """The number of rows; 0 where `bottom` is not beyond `top`."""
        return max(0, self.bottom - self.top)

    @property
    def width(self) -> int:
        """The number of columns; 0 where `right` is not beyond `left`."""
        return max(0, self.right - self.left)

    @property
    def empty(self) -> bool:
        """Whether the box holds no pixel."""
        return self.height == 0 or self.width == 0

    def seen_from(self, origin: Box) -> Box:
        """Return the same box, counted from the top left of another one."""
        rows, columns = origin.top, origin.left
        return Box(self.top - rows, self.left - columns, self.bottom - rows, self.right - columns)

    def intersect(self, other: Box) -> Box:
        """Return the part that both boxes share, which may be empty."""
        return Box(
            max(self.top, other.top),
            max(self.left, other.left),
            min(self.bottom, other.bottom),
            min(self.right, other.right),
        )

    def hull(self, other: Box) -> Box:
        """Return the smallest box that holds both."""
        return Box(
            min(self.top, other.top),
            min(self.left, other.left),
            max(self.bottom, other.bottom),
            max(self.right, other.right),
        )

    def clip(self, height: int, width: int) -> Box:
        """Return the part inside an image of `height` rows and `width` columns."""
        return self.intersect(Box(0, 0, height, width))

    def as_tuple(self) -> tuple[int, int, int, int]:
        """Return (top, left, bottom, right)."""
        return (self.top, self.left, self.bottom, self.right)
