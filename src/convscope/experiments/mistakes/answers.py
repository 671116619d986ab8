"""The observer of a network's answers: each image's most probable class, and its label's loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from convscope.images.batches import Batch
from convscope.methods.classes import Head
from convscope.methods.removal import class_losses
from convscope.network.network import Network
from convscope.scan.observer import Observer

__all__ = ["AnswerObserver"]


class AnswerObserver(Observer):
    """Keeps what the network says of every image.

    Args:
        network: on the device that is used; it tells classes.
        labels: the class of each image of the set, -1 where it has none.

    Attributes:
        predicted: (N,) int64, the most probable class; -1 where the image was not seen.
        loss: (N,) float64, of the label, in nats; NaN where there is none.

    Raises:
        BadInput: the network ends in no score per class.
    """

    key = "answers/"

    def __init__(self, network: Network, labels: Tensor) -> None:
        self.network, self.labels, self.head = network, labels, Head.of(network)
        self.predicted = torch.full((len(labels),), -1)
        self.loss = torch.full((len(labels),), torch.nan, dtype=torch.float64)
        self._part: list[tuple[Tensor, ...]] = []

    @property
    def layers(self) -> Sequence[str]:
        return (self.network.output,)

    def see(self, layer: str, value: Tensor, batch: Batch) -> None:
        predicted = self.head.labels(self.head.vectors(value)).cpu()
        labels, losses = self.labels[batch.indices], class_losses(self.network, value).cpu()
        own = losses.gather(1, labels.clamp(min=0)[:, None])[:, 0]
        self._part.append((batch.indices, predicted, own.where(labels >= 0, torch.nan)))

    def part(self) -> list[tuple[Tensor, ...]]:
        part, self._part = self._part, []
        return part

    def take(self, parts: Sequence[Any]) -> None:
        for indices, predicted, loss in (batch for part in parts for batch in part):
            self.predicted[indices], self.loss[indices] = predicted, loss

    def state(self) -> Mapping[str, Tensor]:
        return {"predicted": self.predicted, "loss": self.loss}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        self.predicted, self.loss = state["predicted"].clone(), state["loss"].clone()
