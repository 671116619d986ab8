"""What a unit, or a number of the answer, sees in an image: projection, spotlight, contrast."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from convscope.errors import BadInput
from convscope.geometry.box import Box
from convscope.images.pictures import grey_scaled
from convscope.live.answers import finite
from convscope.live.engine import Engine
from convscope.live.kept_images import Activations, KeptImage
from convscope.methods.contrastive import ContrastiveMap, ContrastQuestion, fitting_box
from convscope.methods.project import project, project_target
from convscope.methods.rules import Rules
from convscope.methods.spotlight import light, spotlight
from convscope.methods.targets import Target
from convscope.network.local.incremental import IncrementalSweep
from convscope.network.unit import Unit

__all__ = [
    "Projected",
    "UnitContrast",
    "contrast_unit",
    "project_answer",
    "project_unit",
    "question_of",
]

CLIP = 0.002
"""Share of a projection's values, the largest, that is cut off: a few would hide all others."""


@dataclass(frozen=True, eq=False)
class Projected:
    """A projection, as pictures of what lies in the image of the unit's receptive field.

    Attributes:
        unit: With its position; None where a target was projected.
        target: What was projected, in words; None where it was a unit.
        value: What the unit, or the target, is in this image.
        rules: The name of the rules.
        box: The unit's receptive field in image pixels, not clipped.
        seen: What of it lies in the image: the pictures show that.
        share: `value` by the highest that the atlas knows; None where it knows none.
        picture: The projection, zero in grey.
        spotlight: The image, lit where the projection has its energy.
        light: How bright each pixel of the whole image is lit.
        projection: The numbers, in the scale of the preprocessed image.

    Shape:
        picture, spotlight: (h, w, 3) uint8, of `seen`. light: (H, W) uint8.
        projection: (C, h, w), of `seen`.
    """

    unit: Unit | None
    target: str | None
    value: float
    rules: str
    box: Box
    seen: Box
    share: float | None
    picture: NDArray[np.uint8]
    spotlight: NDArray[np.uint8]
    light: NDArray[np.uint8]
    projection: Tensor

    def to_dict(self) -> dict[str, Any]:
        """Convert to a JSON-able dictionary, without the pictures."""
        return {
            "unit": None if self.unit is None else str(self.unit),
            "layer": None if self.unit is None else self.unit.layer,
            "target": self.target, "value": finite(self.value), "rules": self.rules,
            "box": list(self.box.as_tuple()), "seen": list(self.seen.as_tuple()),
            "share": finite(self.share),
        }  # fmt: skip


def project_unit(
    engine: Engine, image: KeptImage, activations: Activations, unit: Unit, rules: Rules
) -> Projected:
    """Project a unit; one without a position stands for its map's strongest one.

    Raises:
        NoSuchLayer, NoSuchUnit: There is no such unit.
        BadInput: It sees nothing of the image.
        NonFinite: It is NaN or infinite.
    """
    found = project(activations.trace, unit, rules)
    seen = found.seen(0)
    if seen.empty:
        raise BadInput(f"{found.units[0]} sees nothing of the image, only what is around it")
    value = float(found.activation[0])
    highest = engine.highest(unit.layer)
    share = None if highest is None else value / float(highest[unit.channel])
    return _shown(
        engine, image, found.seen_picture(0),
        partial(
            Projected, found.units[0], None, value, rules.name,
            Box(*(int(side) for side in found.box[0])), seen, share,
        ),
        seen,
    )  # fmt: skip


def project_answer(
    engine: Engine, image: KeptImage, activations: Activations, target: Target, rules: Rules
) -> Projected:
    """Project a number of the answer over the whole image.

    Raises:
        BadOption: It is no number, or has no derivative.
        NonFinite: It is NaN or infinite.
    """
    found = project_target(activations.trace, target, rules)
    whole = Box(0, 0, *engine.network.input_shape[-2:])
    return _shown(
        engine, image, found.projection[0],
        partial(
            Projected, None, target.name, float(found.value[0]), rules.name, whole, whole, None
        ),
        whole,
    )  # fmt: skip


def _shown(
    engine: Engine, image: KeptImage, field: Tensor, make: Callable[..., Projected], seen: Box
) -> Projected:
    """The pictures of a projection that lies in a box of the image."""
    field = field.cpu()
    rows, columns = slice(seen.top, seen.bottom), slice(seen.left, seen.right)
    patch = torch.from_numpy(image.picture[rows, columns])
    bright = np.zeros(image.picture.shape[:2], np.uint8)
    bright[rows, columns] = (255 * light(field[None])[0]).round().to(torch.uint8).numpy()
    return make(
        picture=grey_scaled(engine.preprocess.rgb(field), CLIP),
        spotlight=spotlight(patch[None], field[None])[0].numpy(),
        light=bright,
        projection=field,
    )


@dataclass(frozen=True, eq=False)
class UnitContrast:
    """Which part of the image is one unit's own.

    Attributes:
        map: What the unit and its neighbours lose, by the place of a box.
        light: The positive contrast over the whole image, the highest 255.

    Shape:
        light: (H, W) uint8.
    """

    map: ContrastiveMap
    light: NDArray[np.uint8]

    def to_dict(self) -> dict[str, Any]:
        """Convert to a JSON-able dictionary, the maps included."""
        maps = {
            name: [[finite(value) for value in row] for row in values.tolist()]
            for name, values in (
                ("contrast", self.map.contrast),
                ("drop", self.map.drop),
                ("neighbours_drop", self.map.neighbours_drop),
            )
        }
        return {
            **self.map.to_dict(), **maps, "seen": list(self.map.seen.as_tuple()),
            "rows": self.map.rows.tolist(), "columns": self.map.columns.tolist(),
        }  # fmt: skip


def contrast_unit(
    engine: Engine,
    activations: Activations,
    question: ContrastQuestion,
    fill: Tensor,
    pause: Callable[[], None],
) -> UnitContrast:
    """Answer a contrastive question from the activations that are there.

    Args:
        engine: The network and its surroundings.
        activations: Of the image that the question is about.
        question: The unit, its neighbours, and the boxes.
        fill: What the box shows.
        pause: Is called between the steps.
    """
    plan = engine.planned((), points=question.points)
    sweep = IncrementalSweep.planned(plan, question.boxes)
    _, covered = sweep.run(fill, fill, base=activations.base, pause=pause)
    found = question.answer(covered)
    over = found.over_pixels(found.contrast).clamp(min=0).nan_to_num(0.0)
    if found.twin is not None:
        over = torch.zeros_like(over)
    over = over / over.max().clamp(min=torch.finfo(torch.float64).tiny)
    bright = np.zeros(engine.network.input_shape[-2:], np.uint8)
    seen = found.seen
    bright[seen.top : seen.bottom, seen.left : seen.right] = (255 * over).round().numpy()
    return UnitContrast(found, bright)


def question_of(
    activations: Activations, unit: Unit, size: int | None, stride: int | None
) -> ContrastQuestion:
    """Ask about one unit, with a box of a size, or the one that fits what it sees.

    Raises:
        BadInput: The unit, or all its neighbours, are not above zero; or it sees nothing.
        BadOption: The box is larger than what the unit sees.
    """
    fitting = partial(fitting_box, size=size, stride=stride)
    return ContrastQuestion.of(activations.trace, unit, fitting)
