"""The paper's Table 2 as `ablate` makes it: a row per variant, its errors, and what they show."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from convscope.experiments.ablation.claims import JudgedClaim
from convscope.experiments.ablation.variants import PaperRow, Variant
from convscope.experiments.number_words import spread_words
from convscope.experiments.published import NAMES
from convscope.experiments.study import Result
from convscope.experiments.training_runner import Training, mean_and_spread
from convscope.models.architectures import Architecture
from convscope.record import Record
from convscope.stats import MeansContrast
from convscope.text import table
from convscope.training.recipe import Recipe

__all__ = ["Ablation", "VariantRow"]

AT_CHANCE = 0.02  # share of the images by which training must beat the most frequent class
ERRORS = ("train_error", "error", "top5_error", "crops_error", "crops_top5_error")


@dataclass(frozen=True)
class VariantRow:
    """A row of the table.

    Attributes:
        variant: what is changed, and what that is called.
        architecture: the changed network.
        parameters: its weights and biases.
        trainings: one for each seed but those that diverged.
        diverged: (seed, why) of those.
        effect: on the validation error, less the whole network's; None where either has no
            training.
        paper: the paper's row, where it is one of the paper's.
    """

    variant: Variant
    architecture: Architecture
    parameters: int
    trainings: tuple[Training, ...]
    diverged: tuple[tuple[int, str], ...]
    effect: MeansContrast | None
    paper: PaperRow | None

    def values(self, field: str) -> list[float]:
        """A field of `Training` over the seeds, where it is known."""
        found = (getattr(training, field) for training in self.trainings)
        return [value for value in found if value is not None]

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {
            **self.variant.to_dict(),
            "architecture": self.architecture.to_dict(),
            "parameters": self.parameters,
            **{field: mean_and_spread(self.values(field)) for field in (*ERRORS, "seconds")},
            "effect": None if self.effect is None else self.effect.to_dict(),
            "trainings": [training.to_dict() for training in self.trainings],
            "diverged": [{"seed": seed, "why": why} for seed, why in self.diverged],
            "paper": self._paper(),
        }

    def _paper(self) -> dict[str, Any] | None:
        if self.paper is None:
            return None
        network, errors = self.paper.beside(self.architecture.name)
        found = (errors.train, errors.top1, errors.top5)
        return {"network": network, **dict(zip(ERRORS, found, strict=False))}


@dataclass(frozen=True)
class Ablation(Record, Result):
    """What `ablate` found.

    Attributes:
        architecture: the whole network.
        recipe: that all learned by, from the first seed.
        seeds: a training of each network from each.
        data, validation: the images, as they are called.
        images: how many, to learn from and to test on.
        chance: error of always saying the most frequent class of the training images.
        rows: the whole network first.
        claims: what the paper says of its Table 2, put to these figures.
    """

    also = ("at_chance",)

    architecture: Architecture
    recipe: Recipe
    seeds: tuple[int, ...]
    data: str
    validation: str
    images: tuple[int, int]
    chance: float
    rows: tuple[VariantRow, ...]
    claims: tuple[JudgedClaim, ...]

    @property
    def at_chance(self) -> tuple[tuple[str, int], ...]:
        """(variant, seed) of the networks that learned nothing: no better than guessing."""
        return tuple(
            (row.variant.name, training.seed)
            for row in self.rows
            for training in row.trainings
            if training.train_error > self.chance - AT_CHANCE
        )

    def words(self) -> list[str]:
        """A line per variant; errors as mean ± standard deviation over the seeds, %."""
        crops = any(row.values("crops_error") for row in self.rows)
        fields = ["train_error", "error", "top5_error", *(["crops_error"] if crops else [])]
        head = ["variant", "train", "val", "top-5", *(["10 crops"] if crops else []), "effect"]
        head += ["parameters", "paper: train", "val", "top-5"]
        rows = [
            [row.variant.name, *(spread_words(row.values(field)) for field in fields), *_more(row)]
            for row in self.rows
        ]
        counted = f"{len(self.seeds)} seeds" if len(self.seeds) > 1 else "one seed"
        chance = f"guessing {100 * self.chance:.1f}"
        return [
            f"errors, %, mean ± standard deviation over {counted}; {chance}",
            *table(head, rows),
            "",
            *(line for claim in self.claims for line in claim.lines()),
        ]

    def warnings(self) -> list[str]:
        """The trainings that diverged, and those that learned nothing."""
        return [*self._diverged()] + [
            f"{name}, seed {seed}, learned nothing: no better than guessing"
            for name, seed in self.at_chance
        ]

    def _diverged(self) -> Iterator[str]:
        for row in self.rows:
            for seed, why in row.diverged:
                yield f"{row.variant.name}, seed {seed}, diverged and does not count: {why}"


def _more(row: VariantRow) -> list[str]:
    """The cells after the errors: effect in points, size, the paper's errors."""
    paper = ["", "", ""]
    if row.paper is not None:
        column, errors = row.paper.beside(row.architecture.name)
        paper = [f"{NAMES[column]} {errors[0]}", f"{errors[1]}", f"{errors[2]}"]
    return [
        "" if row.effect is None else f"{100 * row.effect.value:+.1f}",
        f"{row.parameters:,}",
        *paper,
    ]
