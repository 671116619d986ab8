"""Answers: what a network says of an image, as the bars that a person looks at."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from convscope.errors import BadInput
from convscope.methods.classes import Head
from convscope.methods.numbers import widened
from convscope.methods.targets import class_shares
from convscope.network.network import Network
from convscope.network.task import Task

__all__ = ["Answer", "Bar", "Reader", "finite"]


def finite(value: float | None) -> float | None:
    """A number for JSON, which knows neither NaN nor infinity."""
    return None if value is None or not math.isfinite(value) else value


@dataclass(frozen=True)
class Bar:
    """One number of the answer.

    Attributes:
        index: Of the class, channel or value.
        name: What it is called.
        value: The number.
        base: The same for the image as it is.
        log_odds: log p/(1-p) of a class, which still moves where p is rounded to 1; else None.
    """

    index: int
    name: str
    value: float
    base: float
    log_odds: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Convert to a JSON-able dictionary."""
        return {
            "index": self.index, "name": self.name, "value": finite(self.value),
            "base": finite(self.base), "log_odds": finite(self.log_odds),
        }  # fmt: skip


@dataclass(frozen=True)
class Answer:
    """What the network says of an image, or of a changed one.

    Attributes:
        quantity: What a bar's value is: "probability", "value", or "share of the map" at which a
            class of maps is predicted.
        bars: The highest of the image as it is, the highest of the changed one, and the target; of
            values, the first.
        top: The index of the highest now; None of values.
        note: Why there are no bars; None where there are.
    """

    quantity: str
    bars: tuple[Bar, ...]
    top: int | None
    note: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Convert to a JSON-able dictionary."""
        bars = [bar.to_dict() for bar in self.bars]
        return {"quantity": self.quantity, "top": self.top, "note": self.note, "bars": bars}


class Reader:
    """Reads a network's output as bars, whatever its answer is.

    Args:
        network: The network.
        name: Of a class or value, by its index.
        bars: How many, of the highest.
    """

    def __init__(self, network: Network, name: Callable[[int], str], bars: int) -> None:
        self.name, self.count = name, bars
        self.note: str | None = None
        self.head: Head | None = None
        self._network = network
        layer = network.layer(network.output)
        if network.task is Task.REGRESS:
            self.quantity = "mean value" if len(layer.shape) == 3 else "value"
        elif len(layer.shape) == 3 and layer.grid != (1, 1):
            self.quantity = "share of the map"
        else:
            self.quantity = "probability"
            try:
                self.head = Head.of(network)
            except BadInput as error:
                self.quantity, self.note = "nothing", str(error)

    @property
    def ranked(self) -> bool:
        """Whether the numbers are of classes, so that the highest come first."""
        return self._network.task is not Task.REGRESS

    def read(self, output: Tensor, base: Tensor, watched: Sequence[int] = ()) -> Answer:
        """Make the bars.

        Args:
            output: What the network answers to the changed image.
            base: What it answers to the image as it is.
            watched: Classes that are shown however low they are.

        Shape:
            output, base: (1, ...), as the network returns them.
        """
        if self.note is not None:
            return Answer(self.quantity, (), None, self.note)
        now, before = self._numbers(output), self._numbers(base)
        top = int(now.argmax()) if self.ranked else None
        chosen = self._chosen(now, before, watched)
        bars = tuple(
            Bar(i, self.name(i), float(now[i]), float(before[i]), self._log_odds(output, i))
            for i in chosen
        )
        return Answer(self.quantity, bars, top)

    def _chosen(self, now: Tensor, before: Tensor, watched: Sequence[int]) -> list[int]:
        inside = [index for index in watched if index < len(now)]
        if not self.ranked:
            return list(dict.fromkeys([*range(min(len(now), max(10, self.count))), *inside]))
        highest = before.argsort(descending=True, stable=True)[: self.count].tolist()
        if self.quantity == "share of the map":
            highest = [index for index in highest if before[index] > 0]
        return list(dict.fromkeys([*highest, int(now.argmax()), *inside]))

    def _numbers(self, output: Tensor) -> Tensor:
        """(K,), one for each class or value."""
        output = widened(output.detach().cpu())
        if self.head is not None:
            return self.head.probabilities(self.head.vectors(output))[0]
        if self.quantity == "share of the map":
            shares = class_shares(self._network, output[0])
            assert shares is not None
            return shares
        values = output[0]
        return values.flatten(1).mean(1) if values.dim() == 3 else values.reshape(-1)

    def _log_odds(self, output: Tensor, index: int) -> float | None:
        if self.head is None:
            return None
        return float(self.head.log_odds(self.head.vectors(widened(output.cpu())), index)[0])
