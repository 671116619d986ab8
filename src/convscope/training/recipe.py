"""How a network is trained, as a value: every number of it, and where the number comes from."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from enum import StrEnum
from typing import Any

from convscope.errors import BadOption
from convscope.network.architectures import Initialisation

__all__ = ["PAPER", "RECIPES", "SMALL", "Recipe", "Schedule", "recipe_named"]


class Schedule(StrEnum):
    """How the learning rate falls."""

    PLATEAU = "plateau"  # divided whenever the validation accuracy stops rising (paper §3, by hand)
    COSINE = "cosine"  # half a cosine down to 0: no plateau to wait for in a short training


@dataclass(frozen=True)
class Recipe:
    """Stochastic gradient descent as in the paper; the defaults are the paper's where it says.

    batch_size : images per step; learning_rate : at the start, per step on the batch's mean loss
    patience : epochs without a better validation accuracy before the rate is divided by `anneal`
    radius : convolutional filters of a larger RMS are scaled back to it; None: never
    crops : random crops of larger pictures, as 224×224 of 256×256; flips : left-right, at random
    keep_epochs : after which the weights are kept; 0 is before the first step. The last always is.

    Raises  BadOption: a number outside its range.
    """

    epochs: int = 70  # paper §3
    batch_size: int = 128  # paper §3
    learning_rate: float = 1e-2  # paper §3
    momentum: float = 0.9  # paper §3
    weight_decay: float = 5e-4  # not in the paper; Krizhevsky et al. 2012, §5
    schedule: Schedule = Schedule.PLATEAU  # paper §3: by hand when the validation error plateaus
    anneal: float = 10.0  # not in the paper; Krizhevsky et al. 2012, §5
    patience: int = 3  # ours
    radius: float | None = 1e-1  # paper §3
    initialisation: Initialisation = Initialisation.PAPER  # paper §3
    crops: bool = True  # paper §3
    flips: bool = True  # paper §3
    keep_epochs: tuple[int, ...] = (1, 2, 5, 10, 20, 30, 40, 64)  # paper Fig. 4
    seed: int = 0

    def __post_init__(self) -> None:
        positive = {
            "epochs": self.epochs,
            "batch_size": self.batch_size,
            "learning_rate": self.learning_rate,
            "patience": self.patience,
            "radius": 1 if self.radius is None else self.radius,
        }
        for name, value in positive.items():
            if not (math.isfinite(value) and value > 0):
                raise BadOption(f"recipe: {name} is {value}; it must be above 0")
        if not 0 <= self.momentum < 1:
            raise BadOption(f"recipe: momentum is {self.momentum}; it must be in 0..1, below 1")
        if not (math.isfinite(self.weight_decay) and self.weight_decay >= 0):
            raise BadOption(f"recipe: weight_decay is {self.weight_decay}; it must be 0 or more")
        if not self.anneal > 1:
            raise BadOption(f"recipe: anneal is {self.anneal}; it must be above 1")

    def rate(self, step: int, steps: int, accuracies: Sequence[float]) -> float:
        """The learning rate of a step, from nothing but what came before it.

        step : of `steps` in the whole training, from 0
        accuracies : validation accuracy after each finished epoch
        """
        if self.schedule is Schedule.COSINE:
            return self.learning_rate * (1 + math.cos(math.pi * step / steps)) / 2
        return self.learning_rate / self.anneal ** self._plateaus(accuracies)

    def _plateaus(self, accuracies: Sequence[float]) -> int:
        best, waited, plateaus = -1.0, 0, 0
        for accuracy in accuracies:
            best, waited = (accuracy, 0) if accuracy > best else (best, waited + 1)
            if waited == self.patience:
                plateaus, waited = plateaus + 1, 0
        return plateaus

    def keeps(self, epoch: int) -> bool:
        """Whether the weights after that epoch stay on disk."""
        return epoch in self.keep_epochs or epoch == self.epochs

    def to_dict(self) -> dict[str, Any]:
        """For JSON; `from_dict` is its inverse."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Recipe:
        """Raises  TypeError, ValueError: not what `to_dict` wrote."""
        fields = dict(values)
        fields["schedule"] = Schedule(fields["schedule"])
        fields["initialisation"] = Initialisation(fields["initialisation"])
        fields["keep_epochs"] = tuple(fields["keep_epochs"])
        return cls(**fields)


PAPER = Recipe()

# Ours, for the small networks on 6,000 rendered scenes of 72 pixels. Tried: rates of 0.003 to 0.03
# (0.015 and more sometimes kill every unit), weight decays of 5e-4 to 3e-2.
SMALL = Recipe(
    epochs=10,
    batch_size=64,
    weight_decay=1.5e-2,  # in 940 steps the paper's 5e-4 leaves the noise of the start in the
    # filters: the same accuracy, but projections of layers 4 and 5 that nobody can read
    schedule=Schedule.COSINE,
    initialisation=Initialisation.HE,  # N(0, 0.01²) leaves narrow layers without a signal
    crops=False,  # scenes are drawn at the input's size, each with its own place and scale
    flips=False,  # signs are read in one direction
    keep_epochs=(0, 1, 2, 3, 5, 7, 10),
)

RECIPES = {"paper": PAPER, "small": SMALL}


def recipe_named(name: str) -> Recipe:
    """Raises  BadOption: no recipe of that name."""
    if name not in RECIPES:
        near = get_close_matches(name, RECIPES, n=1) or list(RECIPES)
        raise BadOption(f"no recipe is called '{name}': give {' or '.join(near)}")
    return RECIPES[name]
