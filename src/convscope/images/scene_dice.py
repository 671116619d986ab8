"""Dice and colours of the rendered scenes: every random choice is a draw from these."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from typing import TypeVar

import numpy as np

T = TypeVar("T")
Colour = tuple[float, float, float]  # red, green, blue, each 0..1 (sRGB)

BLACK: Colour = (0.07, 0.06, 0.07)
WHITE: Colour = (0.97, 0.97, 0.95)


class Dice:
    """Draws that depend on the key only: the same numbers on every machine, as Python floats."""

    def __init__(self, *key: int) -> None:
        self._draw = np.random.Generator(np.random.PCG64(np.random.SeedSequence(key))).random

    def between(self, low: float, high: float) -> float:
        return low + (high - low) * float(self._draw())

    def whole(self, low: int, high: int) -> int:
        """An integer, low..high, both included."""
        return low + int((high - low + 1) * float(self._draw()))

    def chance(self, probability: float) -> bool:
        return float(self._draw()) < probability

    def pick(self, choices: Sequence[T]) -> T:
        return choices[int(len(choices) * float(self._draw()))]

    def some(self, choices: Sequence[T], count: int) -> list[T]:
        """`count` different ones of the choices, in random order."""
        left = list(choices)
        return [left.pop(int(len(left) * float(self._draw()))) for _ in range(count)]

    def vivid(self) -> Colour:
        """Any hue, saturated."""
        return hsv(self.between(0, 1), self.between(0.50, 0.88), self.between(0.50, 0.94))

    def any_colour(self) -> Colour:
        """Any colour: vivid, pale, dark or grey."""
        return hsv(self.between(0, 1), self.between(0.0, 0.85), self.between(0.25, 0.95))

    def near(self, colour: Colour, by: float) -> Colour:
        """A colour at most `by` from this one in each channel."""
        r, g, b = (min(max(c + self.between(-by, by), 0.02), 0.98) for c in colour)
        return r, g, b


def hsv(hue: float, saturation: float, value: float) -> Colour:
    """The colour of that hue (0..1, any whole turn), saturation (0..1) and value (0..1)."""
    return colorsys.hsv_to_rgb(hue % 1, saturation, value)


def darker(colour: Colour, by: float) -> Colour:
    """The colour with the share `by` of its light taken away; negative `by` mixes in white."""
    if by >= 0:
        r, g, b = (c * (1 - by) for c in colour)
    else:
        r, g, b = (c - (1 - c) * by for c in colour)
    return r, g, b
