"""The classes of the rendered scenes: how each is drawn and stands, which ground is its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from convscope.scenes import creatures, things
from convscope.scenes import transfer_subjects as transfer
from convscope.scenes.canvas import Parts, Pen
from convscope.scenes.rng import Rng


@dataclass(frozen=True)
class Subject:
    """How a class of objects is drawn.

    Attributes:
        draw: Draws the object with a pen, and returns its named points.
        context: The kind of ground that `SceneSpec.context` ties it to.
        lean: The largest turn from upright, radians.
        scale: The smallest and the largest unit of the object, as shares of the picture's side.
        mirrors: Whether it may face the other way (not what has a left and a right, or reads).
    """

    draw: Callable[[Pen, Rng], Parts]
    context: str
    lean: float = 0.25
    scale: tuple[float, float] = (0.27, 0.44)
    mirrors: bool = True


SUBJECTS = {
    "dog": Subject(creatures.dog, "grass", mirrors=False),
    "person": Subject(creatures.person, "brick", lean=0.15, mirrors=False),
    "car": Subject(things.car, "stone", lean=0.15),
    "bird": Subject(creatures.bird, "sky"),
    "flower": Subject(creatures.flower, "leaves", lean=0.45),
    "sign": Subject(things.sign, "mesh", mirrors=False),
    "house": Subject(things.house, "sand", lean=0.12, mirrors=False),
    "fish": Subject(creatures.fish, "waves", lean=0.5),
    "cup": Subject(things.cup, "wood"),
    "butterfly": Subject(creatures.butterfly, "noise", lean=0.9, mirrors=False),
    "ball": Subject(things.ball, "tiles", lean=3.14, scale=(0.22, 0.42)),
    "keyboard": Subject(things.keyboard, "stripes", lean=0.5, scale=(0.32, 0.46), mirrors=False),
}
TRANSFER_SUBJECTS = {
    "cat": Subject(transfer.cat, "grass", mirrors=False),
    "tree": Subject(transfer.tree, "sky", lean=0.12),
    "mushroom": Subject(transfer.mushroom, "leaves"),
    "apple": Subject(transfer.apple, "wood"),
    "clock": Subject(transfer.clock, "brick", mirrors=False),
    "boat": Subject(transfer.boat, "waves"),
    "umbrella": Subject(transfer.umbrella, "sand", lean=0.5),
    "bicycle": Subject(transfer.bicycle, "stone", lean=0.15),
}
CLASSES = tuple(SUBJECTS)
TRANSFER_CLASSES = tuple(TRANSFER_SUBJECTS)
EVERY_SUBJECT = SUBJECTS | TRANSFER_SUBJECTS
CONTEXT = {name: subject.context for name, subject in EVERY_SUBJECT.items()}
