"""Stripes that a stride of 4 cannot tell apart, and a stride of 2 can."""

from __future__ import annotations

import numpy as np
from PIL import Image

from convscope.images.files import Decoded
from convscope.images.image_set import Content, ImageSet

SIDE = 32
SLOW, FAST = 1 / 16, 3 / 16  # cycles per pixel: sampled at every fourth, FAST is SLOW backwards


class Stripes(ImageSet):
    """Slanted stripes, steep in every second image, of any phase and contrast.

    Steep and flat have the wave vectors (SLOW, FAST) and (FAST, SLOW): at every fourth pixel both
    are the same wave, (SLOW, -SLOW), so that whoever looks there is right in half of all cases.
    """

    def __init__(self, count: int, *, seed: int) -> None:
        super().__init__(f"stripes, {count} of seed {seed}", ("flat", "steep"))
        dice = np.random.default_rng(seed)
        self._phase = dice.uniform(0, 2 * np.pi, count)
        self._contrast = dice.uniform(40, 120, count)

    def __len__(self) -> int:
        return len(self._phase)

    def name(self, index: int) -> str:
        return f"{index:04d}"

    def label(self, index: int) -> int:
        return index % 2

    def content(self, index: int) -> Content:
        waves = (SLOW, FAST) if self.label(index) else (FAST, SLOW)
        rows, columns = np.mgrid[:SIDE, :SIDE]
        turn = 2 * np.pi * (waves[0] * rows + waves[1] * columns) + self._phase[index]
        grey = np.round(127.5 + self._contrast[index] * np.cos(turn)).astype(np.uint8)

        def decode() -> Decoded:
            return Decoded(Image.fromarray(grey).convert("RGB"))

        return Content(grey.tobytes(), decode)
