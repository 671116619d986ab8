"""Classes planted on units: each class's score reads one feature map, and which one is known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from convscope.errors import BadImage
from convscope.experiments.removal.result import Removal
from convscope.experiments.removal.study import Put, RemoveUnitsStudy
from convscope.experiments.session import Session
from convscope.experiments.study import Context
from convscope.images.image_set import Content
from convscope.models.weights import module_sha256
from convscope.models.zoo import Model
from experiments.looking import Drawn, unit_preprocess

SIDE = CLASSES = 12
UNITS = 16
NAMES = tuple(f"row {number}" for number in range(CLASSES))
READS = (7, 2, 15, 0, 9, 4, 11, 13, 1, 6, 14, 3)
"""For each class the unit that its score reads; 5, 8, 10 and 12 are read by none."""


class Rows(Drawn):
    """Noise with one row that is bright: its number is the image's class."""

    def __init__(self, each: int, *, broken: Sequence[int] = (), dealt: int | None = None) -> None:
        """`each` images of a class; dealt : a seed by which labels say nothing of the images."""
        dice = np.random.default_rng(5)
        pictures = dice.integers(0, 120, (each * CLASSES, SIDE, SIDE, 3), dtype=np.uint8)
        labels = [number % CLASSES for number in range(len(pictures))]
        for picture, label in zip(pictures, labels, strict=True):
            picture[label] += np.uint8(100)
        if dealt is not None:
            labels = np.random.default_rng(dealt).permutation(labels).tolist()
        super().__init__(list(pictures), labels, NAMES, f"rows {each} {dealt}")
        self.broken = set(broken)

    def content(self, index: int) -> Content:
        if index in self.broken:
            raise BadImage(f"{self.name(index)}: is broken")
        return super().content(index)


def planted_model() -> Model:
    """Layer 1: unit READS[k] sees row k. Layer 3: the score of class k reads that unit alone."""
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(3, UNITS, SIDE), nn.ReLU(), nn.Flatten(), nn.Linear(UNITS, CLASSES)
    )
    with torch.no_grad():
        module[0].weight.normal_(0, 0.002)
        module[0].bias.zero_()
        module[3].weight.zero_()
        module[3].bias.zero_()
        for known, unit in enumerate(READS):
            module[0].weight[unit, :, known] += 1 / SIDE
            module[3].weight[known, unit] += 2.0
    preprocess = unit_preprocess(SIDE)
    return Model(module.eval(), preprocess, "planted", module_sha256(module), False, NAMES)


def random_model() -> Model:
    """Of the same layers, where every unit speaks for or against every class."""
    torch.manual_seed(1)
    module = nn.Sequential(
        nn.Conv2d(3, UNITS, SIDE), nn.ReLU(), nn.Flatten(), nn.Linear(UNITS, CLASSES)
    )
    with torch.no_grad():
        module[0].bias.fill_(0.5)
        module[3].weight.normal_()
    preprocess = unit_preprocess(SIDE)
    return Model(module.eval(), preprocess, "planted", module_sha256(module), False, NAMES)


def session_of(model: Model) -> Session:
    return Session(model, model.network(), torch.device("cpu"), 0)


def removed(
    images: Drawn, session: Session, units: Sequence[str] = ("1",), *,
    count: int | None = None, to: Put = Put.ZERO, draws: int = 199, **how: Any,
) -> Removal:  # fmt: skip
    """The study's result; count : of the images; how : the context it runs in."""
    study = RemoveUnitsStudy(
        "planted", images.spec, list(units), to=to, images=count, draws=draws
    )  # fmt: skip
    context = Context(opened={"planted": session}, sets={images.spec: images}, **how)
    return study.run(context).of(Removal)
