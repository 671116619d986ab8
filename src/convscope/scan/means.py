"""An observer of means over images, the same to the bit for any number of processes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

import torch
from torch import Tensor

from convscope.images.batches import Batch
from convscope.scan.observer import Observer

__all__ = ["Means", "OrderedSums"]

Measure = Callable[[Tensor], Tensor]
"""From a layer's values, (n, C, H, W) or (n, C), to what is measured of each image, (n, D)."""


class OrderedSums:
    """Sums of float64 tensors by name, added up in the order of the batches.

    Floating-point addition depends on its order. So what each batch adds is kept apart until the
    first process has the sums of all processes, and puts them in order.

    Attributes:
        total: the sums so far, by name.
    """

    def __init__(self) -> None:
        self.total: dict[str, Tensor] = {}
        self._waiting: list[tuple[int, dict[str, Tensor]]] = []

    def add(self, number: int, sums: Mapping[str, Tensor]) -> None:
        """Add what one batch gave.

        Args:
            number: of the batch.
            sums: by name, on any device.
        """
        own = {name: value.detach().to("cpu", torch.float64) for name, value in sums.items()}
        self._waiting.append((number, own))

    def part(self) -> list[tuple[int, dict[str, Tensor]]]:
        """What was added since the last call, as (number of the batch, sums)."""
        part, self._waiting = self._waiting, []
        return part

    def take(self, parts: Sequence[list[tuple[int, dict[str, Tensor]]]]) -> None:
        """Add the parts of all processes to the total."""
        of_batches = [batch for part in parts for batch in part]
        for _, sums in sorted(of_batches, key=lambda batch: batch[0]):
            for name, value in sums.items():
                self.total[name] = self.total[name] + value if name in self.total else value


class Means(Observer):
    """The mean over all images of what is measured of some layers.

    Args:
        measures: layer -> what is measured of its values.
        key: begins the names of its tensors in a checkpoint.

    Example:
        >>> means = Means({"relu1": lambda maps: (maps == 0).double().mean((1, 2, 3))[:, None]})
        >>> Scan(network, images, preprocess).run(means)
        >>> means["relu1"]  # the share of its values that are zero
        tensor([0.4637], dtype=torch.float64)
    """

    def __init__(self, measures: Mapping[str, Measure], *, key: str = "means/") -> None:
        self.measures, self.key = dict(measures), key
        self._sums = OrderedSums()
        self._now: dict[str, Tensor] = {}

    @property
    def layers(self) -> Collection[str]:
        return self.measures

    @property
    def images(self) -> int:
        """How many images were seen."""
        return int(self._sums.total["images"]) if self._sums.total else 0

    def __getitem__(self, layer: str) -> Tensor:
        """The mean of a layer's measure over all images, float64 (D,)."""
        return self._sums.total[f"layer {layer}"] / self.images

    def see(self, layer: str, value: Tensor, batch: Batch) -> None:
        self._now[f"layer {layer}"] = self.measures[layer](value).double().sum(0)

    def end(self, batch: Batch, number: int) -> None:
        self._sums.add(number, {"images": torch.tensor(len(batch)), **self._now})
        self._now = {}

    def part(self) -> list[tuple[int, dict[str, Tensor]]]:
        return self._sums.part()

    def take(self, parts: Sequence[list[tuple[int, dict[str, Tensor]]]]) -> None:
        self._sums.take(parts)

    def state(self) -> Mapping[str, Tensor]:
        return self._sums.total

    def restore(self, state: Mapping[str, Tensor]) -> None:
        self._sums.total = dict(state)
