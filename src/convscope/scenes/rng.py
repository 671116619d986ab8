"""Random numbers and colours of the rendered scenes: every random choice is a draw from these."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from typing import TypeVar

import numpy as np

T = TypeVar("T")
Colour = tuple[float, float, float]  # red, green, blue, each 0..1 (sRGB)

BLACK: Colour = (0.07, 0.06, 0.07)
WHITE: Colour = (0.97, 0.97, 0.95)


class Rng:
    """A random generator whose draws depend on its key only, as Python floats, on every machine.

    Args:
        *key: Whole numbers of 0 or more.
    """

    def __init__(self, *key: int) -> None:
        self._draw = np.random.Generator(np.random.PCG64(np.random.SeedSequence(key))).random

    def between(self, low: float, high: float) -> float:
        """Draw a number, low <= number < high."""
        return low + (high - low) * float(self._draw())

    def whole(self, low: int, high: int) -> int:
        """Draw a whole number, low..high, both included."""
        return low + int((high - low + 1) * float(self._draw()))

    def chance(self, probability: float) -> bool:
        """Draw True with that probability."""
        return float(self._draw()) < probability

    def pick(self, choices: Sequence[T]) -> T:
        """Draw one of the choices."""
        return choices[int(len(choices) * float(self._draw()))]

    def some(self, choices: Sequence[T], count: int) -> list[T]:
        """Draw `count` different ones of the choices, in random order."""
        left = list(choices)
        return [left.pop(int(len(left) * float(self._draw()))) for _ in range(count)]

    def vivid(self) -> Colour:
        """Draw a saturated colour of any hue."""
        return hsv(self.between(0, 1), self.between(0.50, 0.88), self.between(0.50, 0.94))

    def any_colour(self) -> Colour:
        """Draw any colour: vivid, pale, dark or grey."""
        return hsv(self.between(0, 1), self.between(0.0, 0.85), self.between(0.25, 0.95))

    def near(self, colour: Colour, by: float) -> Colour:
        """Draw a colour at most `by` from this one in each channel."""
        r, g, b = (min(max(c + self.between(-by, by), 0.02), 0.98) for c in colour)
        return r, g, b


def hsv(hue: float, saturation: float, value: float) -> Colour:
    """Return the colour of a hue (0..1, modulo 1), a saturation (0..1) and a value (0..1)."""
    return colorsys.hsv_to_rgb(hue % 1, saturation, value)


def darker(colour: Colour, by: float) -> Colour:
    """Take the share `by` of a colour's light away; negative `by` mixes in white."""
    if by >= 0:
        r, g, b = (c * (1 - by) for c in colour)
    else:
        r, g, b = (c - (1 - c) * by for c in colour)
    return r, g, b
