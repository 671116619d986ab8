"""Recipes: how a network is trained, as a value; every number, and where the number comes from."""

# ruff: noqa: RUF009 - `_from` makes a field, which ruff cannot see

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from difflib import get_close_matches
from enum import StrEnum
from typing import Any, TypeVar

from convscope.errors import BadOption
from convscope.models.architectures import Initialisation
from convscope.store.differences import first_difference

__all__ = [
    "PAPER",
    "PHOTOS",
    "REASONS",
    "RECIPES",
    "SMALL",
    "SOURCES",
    "Precision",
    "Recipe",
    "Schedule",
    "recipe_named",
]

T = TypeVar("T")


class Schedule(StrEnum):
    """How the learning rate falls during a training."""

    PLATEAU = "plateau"  # divided whenever the validation accuracy stops rising (paper §3, by hand)
    COSINE = "cosine"  # half a cosine down to 0: no plateau to wait for in a short training
    STEPS = "steps"  # divided after chosen epochs


class Precision(StrEnum):
    """The number format of the forward and backward pass."""

    FP32 = "fp32"
    BF16 = "bf16"


def _from(source: str, value: T) -> T:
    """Declare a field by the source of its default and the default."""
    return field(default=value, metadata={"source": source})


@dataclass(frozen=True)
class Recipe:
    """The settings of a training by stochastic gradient descent as in the paper.

    SOURCES says where each default comes from.

    Attributes:
        epochs: How often every picture is seen.
        batch_size: Images per step, of all processes together.
        learning_rate: At the start, per step on the batch's mean loss.
        momentum: The share of the last update that the next one keeps.
        weight_decay: The share of each weight that is added to its gradient.
        schedule: How the learning rate falls.
        anneal: What the rate is divided by.
        patience: Epochs without a better validation accuracy before that division.
        drops: Epochs after which the rate is divided by `anneal`, for the schedule `steps`.
        radius: Convolutional filters of a larger RMS are scaled back to it; None: never.
        dropout: The share of layers 6 and 7 left out; None: the architecture's own.
        initialisation: How the weights are drawn at the start.
        crops: Pictures are resized to 256/224 of the input's size, random crops of them are learned
            from, and the final test averages 10 crops. Else they are stretched to the input's size.
        flips: Pictures are mirrored left to right, at random.
        precision: The number format of the passes; `notes` says what each changes.
        channels_last: Feature maps lie in memory with the channels innermost; see `notes`.
        compile: The network is compiled by torch.compile; see `notes`.
        keep_epochs: Epochs after which the weights are kept; 0 is before the first step. The last
            epoch's always are.
        seed: Of everything random: initial weights, order, crops, flips, dropout.
        pretrain: Epochs that each layer but the last learns for before the labels come in, bottom
            up, to rebuild what arrives at it (pretraining.py); 0: none.
        corruption: The share of that input which is set to 0 meanwhile.
        pretrain_rate: The learning rate of these epochs, of Adam; it falls by a cosine.

    Raises:
        BadOption: A number is outside its range.
    """

    epochs: int = _from("paper §3", 70)
    batch_size: int = _from("paper §3", 128)
    learning_rate: float = _from("paper §3", 1e-2)
    momentum: float = _from("paper §3", 0.9)
    weight_decay: float = _from("not in the paper; Krizhevsky et al. 2012, §5", 5e-4)
    schedule: Schedule = _from(
        "paper §3: by hand when the validation error plateaus", Schedule.PLATEAU
    )
    anneal: float = _from("not in the paper; Krizhevsky et al. 2012, §5", 10.0)
    patience: int = _from("ours", 3)
    drops: tuple[int, ...] = _from("ours; read by schedule steps only", (30, 50, 60))
    radius: float | None = _from("paper §3", 1e-1)
    dropout: float | None = _from("the architecture's own: 0.5 in layers 6 and 7, paper §3", None)
    initialisation: Initialisation = _from("paper §3", Initialisation.PAPER)
    crops: bool = _from("paper §3", True)
    flips: bool = _from("paper §3", True)
    precision: Precision = _from("ours", Precision.FP32)
    channels_last: bool = _from("ours", True)
    compile: bool = _from("ours", False)
    keep_epochs: tuple[int, ...] = _from("paper Fig. 4", (1, 2, 5, 10, 20, 30, 40, 64))
    seed: int = _from("ours", 0)
    pretrain: int = _from("none in the paper; Bengio et al. 2007", 0)
    corruption: float = _from("Vincent et al. 2008, whose shares are 0.1 to 0.4", 0.25)
    pretrain_rate: float = _from("ours", 1e-3)

    def __post_init__(self) -> None:
        positive = {
            "epochs": self.epochs,
            "batch_size": self.batch_size,
            "learning_rate": self.learning_rate,
            "patience": self.patience,
            "radius": 1 if self.radius is None else self.radius,
            "pretrain_rate": self.pretrain_rate,
        }
        for name, value in positive.items():
            if not (math.isfinite(value) and value > 0):
                raise BadOption(f"recipe: {name} is {value}; it must be above 0")
        shares = {
            "momentum": self.momentum,
            "dropout": self.dropout or 0.0,
            "corruption": self.corruption,
        }
        for name, value in shares.items():
            if not 0 <= value < 1:
                raise BadOption(f"recipe: {name} is {value}; it must be in 0..1, below 1")
        if not (math.isfinite(self.weight_decay) and self.weight_decay >= 0):
            raise BadOption(f"recipe: weight_decay is {self.weight_decay}; it must be 0 or more")
        if self.pretrain < 0:
            raise BadOption(f"recipe: pretrain is {self.pretrain}; it must be 0 or more")
        if not (math.isfinite(self.anneal) and self.anneal > 1):
            raise BadOption(f"recipe: anneal is {self.anneal}; it must be above 1")

    def rate(self, step: int, steps: int, accuracies: Sequence[float]) -> float:
        """Compute the learning rate of a step, from nothing but what came before it.

        Args:
            step: The step in the whole training, from 0.
            steps: How many steps the training has.
            accuracies: The validation accuracy after each finished epoch.
        """
        if self.schedule is Schedule.COSINE:
            return self.learning_rate * (1 + math.cos(math.pi * step / steps)) / 2
        if self.schedule is Schedule.STEPS:
            divided = sum(drop <= step * self.epochs // steps for drop in self.drops)
        else:
            divided = self._plateaus(accuracies)
        return self.learning_rate / self.anneal**divided

    def _plateaus(self, accuracies: Sequence[float]) -> int:
        """Count how often the accuracy has stopped rising for `patience` epochs."""
        best, waited, plateaus = -1.0, 0, 0
        for accuracy in accuracies:
            best, waited = (accuracy, 0) if accuracy > best else (best, waited + 1)
            if waited == self.patience:
                plateaus, waited = plateaus + 1, 0
        return plateaus

    def keeps(self, epoch: int) -> bool:
        """Whether the weights after that epoch stay on disk."""
        pretrained = epoch == 0 and self.pretrain > 0
        return epoch in self.keep_epochs or epoch == self.epochs or pretrained

    def notes(self) -> tuple[str, ...]:
        """Describe what the chosen ways of computing change, a sentence each."""
        sentences = []
        if self.precision is Precision.BF16:
            sentences.append(
                "precision bf16: convolutions and dense layers multiply in bfloat16 (8 significant "
                "bits) while learning; weights, updates, the loss and validation stay in float32"
            )
        if not self.channels_last:
            sentences.append(
                "channels_last false: feature maps lie plane by plane in memory; the same numbers "
                "but for the order of sums"
            )
        if self.compile:
            sentences.append(
                "compile true: torch.compile fuses the pass while learning; the same numbers but "
                "for the order of sums, after a first step that takes longer"
            )
        return tuple(sentences)

    def difference(self, other: Recipe) -> str | None:
        """Name the first field that differs; None where none does.

        Args:
            other: The recipe that is asked for; this one is the one that is there.
        """
        return first_difference(asdict(self), asdict(other))

    def to_dict(self) -> dict[str, Any]:
        """Convert to a JSON-able dictionary; `from_dict` is the inverse.

        Without pre-training nothing is said of it, so that such a recipe is the same as before
        there was any: in files of weights, and where a study goes on.
        """
        values = asdict(self)
        return values if self.pretrain else {k: v for k, v in values.items() if k not in _PRETRAIN}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Recipe:
        """Convert from what `to_dict` returned.

        Raises:
            TypeError, ValueError, KeyError: It is not what `to_dict` returned.
        """
        settings = dict(values)
        settings["schedule"] = Schedule(settings["schedule"])
        settings["initialisation"] = Initialisation(settings["initialisation"])
        settings["precision"] = Precision(settings.get("precision", Precision.FP32))
        settings["drops"] = tuple(settings.get("drops", ()))
        settings["keep_epochs"] = tuple(settings["keep_epochs"])
        return cls(**settings)


_PRETRAIN = ("pretrain", "corruption", "pretrain_rate")

SOURCES: Mapping[str, str] = {each.name: each.metadata["source"] for each in fields(Recipe)}
"""Where the default of each field comes from."""

PAPER = Recipe()

# Ours, for the small networks on 6,000 rendered scenes of 72 pixels. Tried: rates of 0.003 to 0.03
# (0.015 and more sometimes kill every unit), weight decays of 5e-4 to 3e-2.
SMALL = Recipe(
    epochs=10,
    batch_size=64,
    weight_decay=1.5e-2,
    schedule=Schedule.COSINE,
    initialisation=Initialisation.HE,
    crops=False,
    flips=False,
    keep_epochs=(0, 1, 2, 3, 5, 7, 10),
)

# Ours, for the small networks on about 10,000 photographs of 64 pixels.
PHOTOS = Recipe(
    epochs=40,
    batch_size=64,
    weight_decay=5e-3,
    schedule=Schedule.COSINE,
    initialisation=Initialisation.HE,
    keep_epochs=(0, 1, 2, 5, 10, 20, 30, 40),
)

RECIPES = {"paper": PAPER, "small": SMALL, "photos": PHOTOS}

_SHORT = {
    "schedule": "ours: no plateau to wait for in a short training",
    "initialisation": "ours: N(0, 0.01²) leaves narrow layers without a signal",
}
REASONS: Mapping[str, Mapping[str, str]] = {
    "paper": {},
    "small": {
        **_SHORT,
        "epochs": "ours: minutes on 2 cores",
        "batch_size": "ours: more steps an epoch",
        "weight_decay": "ours: in 940 steps the paper's 5e-4 leaves the noise of the start in the "
        "filters; the same accuracy, but projections of layers 4 and 5 that nobody can read",
        "crops": "ours: scenes are drawn at the input's size, each with its own place and scale",
        "flips": "ours: signs are read in one direction",
        "keep_epochs": "ours: as Fig. 4, in a tenth of the epochs",
    },
    "photos": {
        **_SHORT,
        "epochs": "ours: about an hour on 2 cores",
        "batch_size": "ours: more steps an epoch",
        "weight_decay": "ours: between the paper's and that of recipe small, as are the steps",
        "keep_epochs": "paper Fig. 4, as far as it goes, and the start",
    },
}
"""Why a recipe departs from the paper's, by recipe and field."""


def recipe_named(name: str) -> Recipe:
    """Return the recipe of a name in RECIPES.

    Raises:
        BadOption: There is no recipe of that name.

    Example:
        >>> recipe_named("small").epochs
        10
    """
    if name not in RECIPES:
        near = get_close_matches(name, RECIPES, n=1) or list(RECIPES)
        raise BadOption(f"no recipe is called '{name}': give {' or '.join(near)}")
    return RECIPES[name]
