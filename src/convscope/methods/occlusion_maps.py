"""What occlusion sensitivity finds in one image: maps by the occluder's position."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from convscope.display import Brief, Pictured
from convscope.errors import BadInput
from convscope.geometry.box import Box
from convscope.methods.occluder import Occluder
from convscope.methods.sweep import Rounding
from convscope.methods.targets import Watched
from convscope.network.legend import Legend
from convscope.network.unit import Unit

__all__ = ["ClassMaps", "OcclusionMaps", "TargetMaps"]

SURE = 0.1
"""Probabilities that fill less than this share of the scale from 0 to the highest of them are one
colour to the eye: the network is sure, and log-odds are shown instead."""
NOTHING = 0.01
"""Log-odds that differ by less tell nothing apart either."""


@dataclass(frozen=True, eq=False)
class ClassMaps(Brief):
    """What a network that classifies answers at R x C positions of the occluder.

    Attributes:
        target: The class that is watched.
        probability: Of that class.
        log_odds: log p/(1-p) of that class. It still tells positions apart where p is rounded to 1.
        label: The most probable class.
        base_probabilities: Of every class, for the image without the occluder.
        base_log_odds: Of the target, for the image without the occluder.

    Shape:
        probability: (R, C). log_odds: (R, C), float64. label: (R, C), int64.
        base_probabilities: (classes,).
    """

    target: int
    probability: Tensor
    log_odds: Tensor
    label: Tensor
    base_probabilities: Tensor
    base_log_odds: float

    @property
    def sure(self) -> bool:
        """Whether the probability is nearly the same at all positions, and the log-odds are not.

        "Nearly": all within a tenth of the highest; log-odds differ from 0.01 on.
        """
        shares = [*self._ends(self.probability), float(self.base_probabilities[self.target])]
        odds = [*self._ends(self.log_odds), self.base_log_odds]
        flat = max(shares) - min(shares) < SURE * max(shares)
        return flat and max(odds) - min(odds) >= NOTHING

    @staticmethod
    def _ends(values: Tensor) -> tuple[float, float]:
        return float(values.min()), float(values.max())


@dataclass(frozen=True, eq=False)
class TargetMaps(Brief):
    """A target's value at R x C positions of the occluder.

    Attributes:
        values: The value at every position.
        base_value: The value for the image without the occluder.
        watched: The target, and what is known of it.

    Shape:
        values: (R, C).
    """

    values: Tensor
    base_value: float
    watched: Watched


@dataclass(frozen=True, eq=False)
class OcclusionMaps(Pictured):
    """The numbers of the paper's Fig. 6 for one image, at R x C positions of the occluder.

    Attributes:
        answer: What the network answers: of a class, or the value of a target. `probability`,
            `log_odds`, `label` and `target` are the class's; `value` and `base_value` are there for
            both, and `quantity` says what they are.
        activity: The feature map of `unit`, summed over its positions.
        rows: Top of the occluder, in image pixels.
        columns: Left side of the occluder, in image pixels.
        unit: The strongest unit of the map that is watched, in the image without the occluder.
        projection: That unit's projection, in the scale of the preprocessed image, signed.
        activation: The unit's value.
        box: Its receptive field, in image pixels, not clipped to the image.
        base_activity: Of the map, for the image without the occluder.
        image: The image, preprocessed.
        fill: What the occluder shows, preprocessed.
        rounding: What was lost by fewer bits; None in float32.
        legend: How figures show the image and name its class.

    Shape:
        activity: (R, C). rows: (R,), int64. columns: (C,), int64.
        projection, image, fill: (3, H, W).

    Source:
        Zeiler & Fergus 2014, Fig. 6.
    """

    answer: ClassMaps | TargetMaps
    activity: Tensor
    rows: Tensor
    columns: Tensor
    unit: Unit
    projection: Tensor
    activation: float
    box: Box
    base_activity: float
    image: Tensor
    fill: Tensor
    occluder: Occluder
    rounding: Rounding | None = None
    legend: Legend = field(default_factory=Legend, repr=False)

    def __repr__(self) -> str:
        rows, columns = self.value.shape
        found = f"{self.quantity} {self.base_value:.4g}, down to {float(self.value.min()):.4g}"
        return f"<OcclusionMaps {rows}x{columns}, occluder {self.occluder}: {found}>"

    # -- of both kinds of answer

    @property
    def quantity(self) -> str:
        """What `value` is: "probability", "log-odds" where the network is sure, "mean logit" ..."""
        if isinstance(self.answer, TargetMaps):
            return self.answer.watched.target.quantity
        return "log-odds" if self.answer.sure else "probability"

    @property
    def value(self) -> Tensor:
        """(R, C), what the figure shows of the target."""
        if isinstance(self.answer, TargetMaps):
            return self.answer.values
        return self.answer.log_odds if self.answer.sure else self.answer.probability

    @property
    def base_value(self) -> float:
        """The same for the image as it is."""
        if isinstance(self.answer, TargetMaps):
            return self.answer.base_value
        return self.base_log_odds if self.answer.sure else self.base_probability

    @property
    def score(self) -> Tensor:
        """(R, C), what tells positions apart best: the log-odds of a class, a target's value."""
        return self.value if isinstance(self.answer, TargetMaps) else self.answer.log_odds

    @property
    def target_index(self) -> int | None:
        """The class, channel or number that is watched; None for a function of the output."""
        if isinstance(self.answer, TargetMaps):
            return self.answer.watched.index
        return self.answer.target

    # -- of classes

    @property
    def classes(self) -> ClassMaps:
        """The maps of the class.

        Raises:
            BadInput: It is a target's value that was watched.
        """
        if isinstance(self.answer, TargetMaps):
            raise BadInput(
                f"these maps hold the {self.quantity} of {self.answer.watched.target.name}, not "
                "probabilities of classes: look at their value"
            )
        return self.answer

    @property
    def target(self) -> int:
        """The class that is watched."""
        return self.classes.target

    @property
    def probability(self) -> Tensor:
        """(R, C), of the target."""
        return self.classes.probability

    @property
    def log_odds(self) -> Tensor:
        """(R, C) float64, of the target."""
        return self.classes.log_odds

    @property
    def label(self) -> Tensor:
        """(R, C) int64, the most probable class."""
        return self.classes.label

    @property
    def base_probabilities(self) -> Tensor:
        """(classes,), in the image as it is."""
        return self.classes.base_probabilities

    @property
    def base_log_odds(self) -> float:
        """Of the target, in the image as it is."""
        return self.classes.base_log_odds

    @property
    def base_probability(self) -> float:
        """Of the target, in the image as it is."""
        return float(self.base_probabilities[self.target])

    @property
    def base_label(self) -> int:
        """The most probable class of the image as it is."""
        return int(self.base_probabilities.argmax())

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Convert to named arrays, as the maps are saved: `np.savez(path, **maps.arrays())`.

        Returns:
            The map activity (R, C); rows (R,) and columns (C,); unit, as text; size, (h, w) of the
            occluder; base_activity of the image without the occluder; and of the answer

            - of a class: probability, log_odds and label (R, C); target; base_probability,
              base_log_odds and base_label;
            - of a target: value (R, C); base_value; quantity and target, as text; and predicted
              (h, w), the class at each position of the output's maps for the image without the
              occluder, if it has classes.
        """
        return {
            **self._answer_arrays(),
            "activity": self.activity.numpy(),
            "rows": self.rows.numpy(),
            "columns": self.columns.numpy(),
            "unit": np.array(str(self.unit)),
            "size": np.array(self.occluder.size, dtype=np.int64),
            "base_activity": np.array(self.base_activity),
        }

    def _answer_arrays(self) -> dict[str, NDArray[Any]]:
        if isinstance(self.answer, TargetMaps):
            watched = self.answer.watched
            predicted = watched.predicted
            return {
                "value": self.value.numpy(),
                "base_value": np.array(self.base_value),
                "quantity": np.array(self.quantity),
                "target": np.array(watched.target.name),
                **({} if predicted is None else {"predicted": predicted.cpu().numpy()}),
            }
        return {
            "probability": self.probability.numpy(),
            "log_odds": self.log_odds.numpy(),
            "label": self.label.numpy(),
            "target": np.array(self.target, dtype=np.int64),
            "base_probability": np.array(self.base_probability),
            "base_log_odds": np.array(self.base_log_odds),
            "base_label": np.array(self.base_label, dtype=np.int64),
        }
