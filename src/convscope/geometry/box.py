"""A box of pixels: half-open, in (row, column) order."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Box"]


@dataclass(frozen=True, order=True)
class Box:
    """Half-open rectangle (top, left, bottom, right): rows top..bottom-1, columns left..right-1.

    A receptive field may reach beyond the image, so coordinates may be negative or past its edge.
    """

    top: int
    left: int
    bottom: int
    right: int

    @property
    def height(self) -> int:
        return max(0, self.bottom - self.top)

    @property
    def width(self) -> int:
        return max(0, self.right - self.left)

    @property
    def empty(self) -> bool:
        return self.height == 0 or self.width == 0

    def intersect(self, other: Box) -> Box:
        """The part that both boxes share (possibly empty)."""
        return Box(
            max(self.top, other.top),
            max(self.left, other.left),
            min(self.bottom, other.bottom),
            min(self.right, other.right),
        )

    def hull(self, other: Box) -> Box:
        """The smallest box that holds both."""
        return Box(
            min(self.top, other.top),
            min(self.left, other.left),
            max(self.bottom, other.bottom),
            max(self.right, other.right),
        )

    def clip(self, height: int, width: int) -> Box:
        """The part inside an image of that size."""
        return self.intersect(Box(0, 0, height, width))

    def as_tuple(self) -> tuple[int, int, int, int]:
        return (self.top, self.left, self.bottom, self.right)
