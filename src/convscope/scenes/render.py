"""Rendered scenes: labelled pictures with known truth, drawn from (split, seed, index).

A scene is one object (in `multi`, one to three) before a textured ground, with decoration that
means nothing. For each object the mask, the box, the named parts and the kind of ground are
known, so whatever a method claims about a picture can be scored. Nothing is stored: the same
(split, seed, index, size) is the same picture, on every machine (drawing uses only arithmetic that
IEEE 754 and Pillow's integers fix); another size is the same composition in other pixels.

    scene = render(SceneSpec("train", size=72), 0)
    scene.pixels, scene.label, scene.mask, scene.parts["left eye"]
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from multiprocessing import get_context

import numpy as np
from numpy.typing import NDArray

from convscope.errors import BadOption
from convscope.geometry.box import Box
from convscope.scenes.backgrounds import KINDS, background
from convscope.scenes.canvas import Light, Pen, Pose, SceneCanvas, noise, quantised
from convscope.scenes.rng import Rng
from convscope.scenes.shapes import Point
from convscope.scenes.subjects import CLASSES, CONTEXT, EVERY_SUBJECT, TRANSFER_CLASSES
from convscope.scenes.things import distractor

__all__ = [
    "BACKGROUNDS",
    "CLASSES",
    "CONTEXT",
    "RECIPE",
    "SPLIT_SIZES",
    "TRANSFER_CLASSES",
    "Part",
    "Scene",
    "SceneObject",
    "SceneSpec",
    "Split",
    "render",
    "render_many",
]

RECIPE = 1  # goes up whenever any picture changes: it is part of a scene's identity
BACKGROUNDS = KINDS


class Split(StrEnum):
    """A set of scenes that shares no picture with the others."""

    TRAIN = "train"
    VAL = "val"
    TRANSFER = "transfer"
    MULTI = "multi"


# how many scenes a split has unless another number is asked for; any index can be rendered
SPLIT_SIZES = {Split.TRAIN: 6000, Split.VAL: 1200, Split.TRANSFER: 1000, Split.MULTI: 1000}

CHUNK = 200  # pictures a process draws between two hand-overs

# where 2 or 3 objects stand: (row, column) of the centres and the unit, as shares of the side
PLACES = {
    2: ((0.34, 0.29, 0.26), (0.64, 0.71, 0.26)),
    3: ((0.28, 0.27, 0.22), (0.33, 0.75, 0.22), (0.74, 0.50, 0.23)),
}


@dataclass(frozen=True)
class SceneSpec:
    """Which scenes to render.

    Attributes:
        split: The set of scenes.
        size: The picture's side, pixels.
        seed: Another seed gives other scenes.
        context: The probability, 0..1, that a picture takes its class's own ground (CONTEXT)
            instead of a random one: a spurious hint at the label. 0 makes ground and label
            independent. In `multi` it is the first object's ground.

    Raises:
        BadOption: The split is unknown, the side outside 16..2048, the seed negative, or the
            context outside 0..1.
    """

    split: Split | str = Split.TRAIN
    size: int = 72
    seed: int = 0
    context: float = 0.0

    def __post_init__(self) -> None:
        if self.split not in list(Split):
            names = ", ".join(Split)
            raise BadOption(f"no split {self.split!r} of scenes: the splits are {names}")
        if not 16 <= self.size <= 2048:
            raise BadOption(f"scenes of {self.size} pixels: the side must be 16..2048")
        if self.seed < 0:
            raise BadOption(f"seed {self.seed} is negative: take a seed of 0 or more")
        if not 0 <= self.context <= 1:
            raise BadOption(f"context {self.context} is not a probability: it must be 0..1")
        object.__setattr__(self, "split", Split(self.split))

    @property
    def classes(self) -> tuple[str, ...]:
        """The names behind this split's labels."""
        return TRANSFER_CLASSES if self.split is Split.TRANSFER else CLASSES


@dataclass(frozen=True)
class Part:
    """A named part of an object.

    Attributes:
        row: Of its place, pixels; a pixel (r, c) covers r..r+1, c..c+1.
        column: Of its place, pixels.
        visible: False where it lies outside the picture or behind something else.
    """

    row: float
    column: float
    visible: bool


@dataclass(frozen=True, eq=False)
class SceneObject:
    """One labelled object of a scene.

    Attributes:
        label: The index of its class.
        mask: bool (H, W), its visible pixels.
        box: The smallest box that holds the mask, pixels.
        parts: Its named parts.
    """

    label: int
    mask: NDArray[np.bool_]
    box: Box
    parts: dict[str, Part]


@dataclass(frozen=True, eq=False)
class Scene:
    """A picture and the truth about it.

    Attributes:
        pixels: uint8 (H, W, 3), RGB.
        objects: The labelled objects, from the back to the front; one, except in `multi`.
        classes: The names behind the labels.
        background: The kind of the ground, one of BACKGROUNDS.
    """

    pixels: NDArray[np.uint8]
    objects: tuple[SceneObject, ...]
    classes: tuple[str, ...]
    background: str

    @property
    def label(self) -> int:
        """The first object's label."""
        return self.objects[0].label

    @property
    def labels(self) -> tuple[int, ...]:
        """Multi-hot over the classes: 1 where the class is in the picture."""
        present = {o.label for o in self.objects}
        return tuple(int(i in present) for i in range(len(self.classes)))

    @property
    def mask(self) -> NDArray[np.bool_]:
        """The first object's mask, bool (H, W)."""
        return self.objects[0].mask

    @property
    def box(self) -> Box:
        """The first object's box, in pixels."""
        return self.objects[0].box

    @property
    def parts(self) -> dict[str, Part]:
        """The first object's named parts."""
        return self.objects[0].parts


def render(spec: SceneSpec, index: int) -> Scene:
    """Render the scene of an index.

    Labels go round: the first object's is `index % len(spec.classes)`.

    Args:
        spec: Which scenes.
        index: From 0; it may exceed the split's usual number.

    Raises:
        BadOption: The index is negative.

    Example:
        >>> scene = render(SceneSpec("val", size=32), 0)
        >>> scene.pixels.shape, scene.classes[scene.label]
        ((32, 32, 3), 'dog')
    """
    if index < 0:
        raise BadOption(f"scene {index}: indices start at 0")
    key = (RECIPE, spec.seed, list(Split).index(Split(spec.split)), index)
    # one stream for each concern: another ground leaves the objects as they are
    layout, ground = Rng(*key, 0), Rng(*key, 1)
    labels = _labels(spec, index, layout)
    light = _light(layout)
    kind = _ground(spec, labels[0], ground)
    texture = noise(spec.size, layout)
    canvas = SceneCanvas(background(kind, spec.size, ground, light), texture, light)
    for _ in range(layout.whole(1, 5)):
        _decorate(canvas, layout)
    places = _places(spec, labels, layout)
    drawn = [
        _draw(canvas, spec, label, pose, owner, Rng(*key, 2 + owner))
        for owner, (label, pose) in enumerate(zip(labels, places, strict=True))
    ]
    if layout.chance(0.4):
        _decorate(canvas, layout)
    objects = tuple(
        _known(canvas, label, owner, parts)
        for owner, (label, parts) in enumerate(zip(labels, drawn, strict=True))
    )
    return Scene(_developed(canvas, ground), objects, spec.classes, kind)


def render_many(
    spec: SceneSpec, indices: Iterable[int], *, workers: int = 1
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Render the scenes of some indices, in their order.

    The result is the same for any number of workers.

    Args:
        spec: Which scenes.
        indices: Of the scenes.
        workers: More than one starts that many processes (drawing holds the interpreter's lock, so
            threads would not help); a script that asks for them needs the usual
            `if __name__ == "__main__":`.

    Returns:
        Pictures uint8 (N, H, W, 3), and labels int64 (N,); in `multi` these are multi-hot,
        (N, classes).
    """
    chosen = list(indices)
    if workers <= 1 or len(chosen) < 2 * CHUNK:
        return _rendered(spec, chosen)
    chunks = [chosen[i : i + CHUNK] for i in range(0, len(chosen), CHUNK)]
    with ProcessPoolExecutor(min(workers, len(chunks)), get_context("spawn")) as pool:
        pieces = list(pool.map(partial(_rendered, spec), chunks))
    return np.concatenate([p[0] for p in pieces]), np.concatenate([p[1] for p in pieces])


def _rendered(
    spec: SceneSpec, indices: Sequence[int]
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    multi = spec.split is Split.MULTI
    pixels = np.empty((len(indices), spec.size, spec.size, 3), dtype=np.uint8)
    labels = np.empty((len(indices), len(spec.classes)) if multi else len(indices), dtype=np.int64)
    for i, index in enumerate(indices):
        scene = render(spec, index)
        pixels[i], labels[i] = scene.pixels, scene.labels if multi else scene.label
    return pixels, labels


def _labels(spec: SceneSpec, index: int, dice: Rng) -> list[int]:
    first = index % len(spec.classes)
    if spec.split is not Split.MULTI:
        return [first]
    others = [label for label in range(len(spec.classes)) if label != first]
    return [first, *dice.some(others, dice.whole(0, 2))]


def _ground(spec: SceneSpec, label: int, dice: Rng) -> str:
    tied, free = dice.between(0, 1) < spec.context, dice.pick(BACKGROUNDS)
    return CONTEXT[spec.classes[label]] if tied else free


def _light(dice: Rng) -> Light:
    """Draw a light from above, from the left or the right."""
    angle = dice.between(-1.1, 1.1)
    return Light(
        x=math.sin(angle),
        y=-math.cos(angle),
        strength=dice.between(0.55, 1.05),
        shadow=dice.between(0.20, 0.50),
    )


def _places(spec: SceneSpec, labels: Sequence[int], dice: Rng) -> list[Pose]:
    """Draw where each object stands, in pixels."""
    subjects = [EVERY_SUBJECT[spec.classes[label]] for label in labels]
    mirrored = dice.chance(0.5)
    poses = []
    for i, subject in enumerate(subjects):
        scale = dice.between(*subject.scale)
        row, column = dice.between(0.39, 0.61), dice.between(0.39, 0.61)
        if len(labels) > 1:
            down, right, unit = PLACES[len(labels)][i]
            row, column = down + 0.4 * (row - 0.5), right + 0.4 * (column - 0.5)
            column, scale = (1 - column if mirrored else column), unit * scale / 0.40
        lean = dice.between(-subject.lean, subject.lean)
        side = spec.size
        faces_left = dice.chance(0.5) and subject.mirrors
        poses.append(Pose(row * side, column * side, scale * side, lean, faces_left))
    return poses


def _draw(
    canvas: SceneCanvas, spec: SceneSpec, label: int, pose: Pose, owner: int, dice: Rng
) -> dict[str, Point]:
    """Draw one object, and return where its named parts are, as (row, column) in pixels."""
    pen = Pen(canvas, pose)
    subject = EVERY_SUBJECT[spec.classes[label]]
    parts = subject.draw(pen, dice)
    canvas.lay(pen, owner)
    return {name: pose.pixel(point) for name, point in parts.items()}


def _decorate(canvas: SceneCanvas, dice: Rng) -> None:
    """Draw a small distractor, nearer the border than the middle."""
    side = canvas.size
    around, reach = dice.between(0, 2 * math.pi), dice.between(0.34, 0.60)
    row, column = 0.5 + reach * math.sin(around), 0.5 + reach * math.cos(around)
    scale, turn = dice.between(0.05, 0.11), dice.between(0, 2 * math.pi)
    pen = Pen(canvas, Pose(row * side, column * side, scale * side, turn))
    distractor(pen, dice)
    canvas.lay(pen)


def _known(canvas: SceneCanvas, label: int, owner: int, places: dict[str, Point]) -> SceneObject:
    """Return the truth about one object, read off who owns which pixel."""
    mask = canvas.owner == owner
    parts = {
        name: Part(row, column, _shows(mask, row, column)) for name, (row, column) in places.items()
    }
    return SceneObject(label, mask, _frame(mask), parts)


def _frame(mask: NDArray[np.bool_]) -> Box:
    """Return the smallest box that holds the mask."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):  # wholly behind others
        return Box(0, 0, 0, 0)
    return Box(int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1)


def _shows(mask: NDArray[np.bool_], row: float, column: float) -> bool:
    inside = 0 <= row < mask.shape[0] and 0 <= column < mask.shape[1]
    return inside and bool(mask[int(row), int(column)])


def _developed(canvas: SceneCanvas, dice: Rng) -> NDArray[np.uint8]:
    """Render the picture as a camera might, bytes (H, W, 3): exposure, contrast, colour, grain."""
    exposure, contrast = dice.between(0.92, 1.24), dice.between(0.75, 1.10)
    warmth, fade = dice.between(-0.08, 0.08), dice.between(-0.1, 0.4)
    grain = dice.between(0.0, 0.06)
    pixels = canvas.pixels + noise(canvas.size, dice, share=1.0) * grain
    grey = pixels[0] * 0.30 + pixels[1] * 0.59 + pixels[2] * 0.11
    pixels = pixels + (grey - pixels) * fade
    gains = [contrast * exposure * g for g in (1 + warmth, 1.0, 1 - warmth)]
    pixels = pixels * np.array(gains, dtype=np.float32)[:, None, None] + 0.45 * (1 - contrast)
    return np.ascontiguousarray(quantised(pixels).transpose(1, 2, 0))
