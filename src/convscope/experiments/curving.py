"""How units bend around their optima, from the words of the command line."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from convscope.display import Pictured
from convscope.errors import NoSuchUnit
from convscope.experiments.session import Session
from convscope.progress import Progress, silent

if TYPE_CHECKING:
    from torch import Tensor

    from convscope.images.preprocess import Preprocess
    from convscope.methods.ascent.parametrisations import Canvas
    from convscope.methods.curvature import Curvature, CurvatureSettings
    from convscope.network.unit import Unit

__all__ = ["CurvedUnit", "curve_units"]


@dataclass(frozen=True, eq=False)
class CurvedUnit(Pictured):
    """How one unit bends around a picture, with the pictures as they are shown.

    Attributes:
        found: the numbers.
        start: uint8 (h, w, 3), the picture that it starts from.
        strips: uint8 (D, F, h, w, 3), the frames of each direction's walk.
        image: the name of the image that the picture was cut from; None of an optimised picture.
    """

    found: Curvature
    start: NDArray[np.uint8]
    strips: NDArray[np.uint8]
    image: str | None

    def to_dict(self) -> dict[str, Any]:
        """Convert to a JSON-able dictionary, without the pictures."""
        return {**self.found.to_dict(), "image": self.image}


def curve_units(
    session: Session,
    words: Iterable[str],
    settings: CurvatureSettings,
    image: tuple[str, Tensor] | None = None,
    progress: Progress = silent,
) -> list[CurvedUnit]:
    """Measure how units bend around their optimised pictures, or around their part of an image.

    Args:
        session: The network.
        words: Units; with a position only where there is an image.
        settings: How.
        image: What it is called, and preprocessed (C, H, W).
        progress: Is called with (what, done, total).

    Raises:
        NoSuchLayer, NoSuchUnit: There is none, or a position without an image.
        BadOption, BadInput, NonFinite: As `methods.curvature`.
    """
    from convscope.methods.ascent.showing import canvas_of
    from convscope.methods.curvature import curvature, curvatures

    network, preprocess = session.network, session.model.preprocess
    canvas = canvas_of(network, preprocess)
    units = list(dict.fromkeys(network.unit(word) for word in words))
    if image is not None:
        name, tensor = image
        found = [
            curvature(network, tensor, unit, canvas, settings, progress=progress) for unit in units
        ]
        return [_shown(one, canvas, preprocess, name) for one in found]
    for unit in units:
        if unit.position is not None:
            raise NoSuchUnit(f"{unit}: an optimised picture has no position; give --image")
    by_unit: dict[Unit, Curvature] = {}
    for layer in dict.fromkeys(unit.layer for unit in units):
        mine = [unit for unit in units if unit.layer == layer]
        channels = [unit.channel for unit in mine]
        several = curvatures(network, layer, channels, canvas, settings, progress=progress)
        by_unit.update(zip(mine, several, strict=True))
    return [_shown(by_unit[unit], canvas, preprocess, None) for unit in units]


def _shown(
    found: Curvature, canvas: Canvas, preprocess: Preprocess, image: str | None
) -> CurvedUnit:
    import torch

    middle = [extent // 2 for extent in canvas.shape[1:]]
    low, high = (  # one colour for all pixels: a frame may reach beyond the image
        planes[:, middle[0], middle[1]][:, None, None].cpu() for planes in (canvas.low, canvas.high)
    )

    def pixels(pictures: Tensor) -> NDArray[np.uint8]:
        shares = preprocess.rgb((pictures - low) / (high - low)).clamp(0, 1)
        return (255 * shares).round().to(torch.uint8).movedim(-3, -1).numpy()

    strips = torch.stack([one.frames for one in found.directions])
    return CurvedUnit(found, pixels(found.picture), pixels(strips), image)
