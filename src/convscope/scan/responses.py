"""The observer of how feature maps respond to all images, not to the strongest alone.

Of each map and image one number is looked at: the map's maximum. Counts do not depend on an order;
means are added up in the order of the batches.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
import torch
from torch import Tensor

from convscope.images.batches import Batch
from convscope.network.network import Network
from convscope.scan.histogram import Histogram, merge_histograms
from convscope.scan.means import OrderedSums
from convscope.scan.observer import Observer
from convscope.scan.strongest import as_maps

__all__ = ["TOP_IMAGES", "Responses", "sample_of"]

TOP_IMAGES = 50
"""Images whose classes are told of each map."""
SAMPLE_VALUES = 2**25
"""How many maxima are kept one by one: of all images, or of as many as that allows."""


def sample_of(images: int, maps: int) -> list[int]:
    """The images of which every map's maximum is kept: all, or a part drawn without looking.

    Args:
        images: how many there are.
        maps: of all layers together.

    Returns:
        Their indices, in their order.
    """
    size = max(64, SAMPLE_VALUES // max(1, maps))
    if size >= images:
        return list(range(images))
    return sorted(np.random.default_rng(0).permutation(images)[:size].tolist())


@dataclass(eq=False)
class _Counted:
    """What merges in any order, of a layer's C maps.

    Attributes:
        histogram: of the images' maxima.
        value: float32 (C, T), the strongest maxima, descending; -inf where there are fewer images.
        image: int64 (C, T), whose they are; -1 where there are fewer.
        positive: int64 (C,), how many values were above zero.
        positions: int64 (), how many values a map had, over all images.
    """

    histogram: Histogram
    value: Tensor
    image: Tensor
    positive: Tensor
    positions: Tensor

    @classmethod
    def empty(cls, channels: int) -> _Counted:
        """Nothing seen."""
        return cls(
            Histogram.empty(channels),
            torch.full((channels, TOP_IMAGES), -torch.inf),
            torch.full((channels, TOP_IMAGES), -1),
            torch.zeros(channels, dtype=torch.int64),
            torch.zeros((), dtype=torch.int64),
        )

    def merged(self, other: _Counted) -> _Counted:
        """Both together."""
        value = torch.cat([self.value, other.value], 1)
        image = torch.cat([self.image, other.image], 1)
        # stable sorts, last key first: the larger value, of equals the first image
        order = image.argsort(dim=1, stable=True)
        value, image = value.gather(1, order), image.gather(1, order)
        order = value.argsort(dim=1, descending=True, stable=True)
        value, image = value.gather(1, order), image.gather(1, order)
        return _Counted(
            merge_histograms(self.histogram, other.histogram),
            value[:, :TOP_IMAGES],
            image[:, :TOP_IMAGES],
            self.positive + other.positive,
            self.positions + other.positions,
        )

    def tensors(self) -> dict[str, Tensor]:
        """All of it by name."""
        rest = {name: getattr(self, name) for name in ("value", "image", "positive", "positions")}
        return {**self.histogram.tensors(), **rest}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> _Counted:
        """What `tensors` described."""
        rest = (tensors[name].clone() for name in ("value", "image", "positive", "positions"))
        return cls(Histogram.from_tensors(tensors), *rest)


class Responses(Observer):
    """Observes each map's maximum in every image, and how much of the map is above zero.

    NaN and infinity do not count; nor does a map in an image in which it has nothing else.

    Args:
        network: on the device that is used.
        activations: layer -> the layer whose value is its activation.
        sample: images of which every map's maximum is kept, ascending.

    Attributes:
        counted: what merges in any order, by layer.
        sampled: float32 (S, C) by layer, the maxima in the images of the sample; NaN where an
            image cannot be read, or the map's maximum is not finite.
    """

    key = "responses/"

    def __init__(
        self, network: Network, activations: Mapping[str, str], sample: Sequence[int]
    ) -> None:
        self.activations, self.sample = dict(activations), torch.tensor(list(sample))
        self._channels = {
            layer: network.layer(activation).channels for layer, activation in activations.items()
        }
        self.counted = {layer: _Counted.empty(n) for layer, n in self._channels.items()}
        self.sampled = {
            layer: torch.full((len(self.sample), n), torch.nan)
            for layer, n in self._channels.items()
        }
        self.image_bytes = 4 * sum(self._channels.values())
        self._rows: list[tuple[str, Tensor, Tensor]] = []
        self._sums = OrderedSums()
        self._now: dict[str, Tensor] = {}

    @property
    def layers(self) -> Collection[str]:
        return dict.fromkeys(self.activations.values())

    def mean(self, layer: str) -> Tensor:
        """Each map's mean over all positions of all images, float64 (C,)."""
        total = self._sums.total.get(layer, torch.zeros(self._channels[layer]).double())
        return total / self.counted[layer].positions.clamp(min=1)

    def see(self, layer: str, value: Tensor, batch: Batch) -> None:
        maps = as_maps(value)
        peak = _finite_peak(maps)
        positive = (maps > 0).sum((0, 2, 3)).cpu()
        total = maps.sum((2, 3)).double().sum(0).cpu()
        for name in (name for name, at in self.activations.items() if at == layer):
            counted = self._seen(peak, batch.indices)
            counted.positive += positive
            counted.positions += len(maps) * maps[0, 0].numel()
            self.counted[name] = self.counted[name].merged(counted)
            self._keep(name, peak, batch.indices)
            self._now[name] = total

    def _seen(self, peak: Tensor, indices: Tensor) -> _Counted:
        """What one batch counts, but for the positions."""
        counted = _Counted.empty(peak.shape[1])
        counted.histogram.add(peak)
        known = ~peak.isnan()
        counted.value = peak.masked_fill(~known, -torch.inf).T
        counted.image = torch.where(known, indices[:, None], -1).T
        return counted

    def _keep(self, layer: str, peak: Tensor, indices: Tensor) -> None:
        """Remember the maxima of images of the sample."""
        rows = torch.searchsorted(self.sample, indices)
        kept = self.sample[rows.clamp(max=len(self.sample) - 1)] == indices
        if kept.any():
            self._rows.append((layer, rows[kept], peak[kept]))

    def end(self, batch: Batch, number: int) -> None:
        self._sums.add(number, self._now)
        self._now = {}

    def part(self) -> tuple[object, ...]:
        part = (self.counted, self._rows, self._sums.part())
        self.counted = {layer: _Counted.empty(n) for layer, n in self._channels.items()}
        self._rows = []
        return part

    def take(self, parts: Sequence[tuple[object, ...]]) -> None:
        counted, rows, sums = zip(*parts, strict=True)
        for layer in self.counted:
            self.counted[layer] = reduce(_Counted.merged, (part[layer] for part in counted))
        for layer, at, peak in (row for some in rows for row in some):
            self.sampled[layer][at] = peak
        self._sums.take(sums)

    def state(self) -> dict[str, Tensor]:
        found = {}
        for number, layer in enumerate(self.activations):
            tensors = {**self.counted[layer].tensors(), "sampled": self.sampled[layer]}
            if layer in self._sums.total:
                tensors["total"] = self._sums.total[layer]
            found.update({f"{number}/{name}": tensor for name, tensor in tensors.items()})
        return found

    def restore(self, state: Mapping[str, Tensor]) -> None:
        for number, layer in enumerate(self.activations):
            own = {
                name.removeprefix(f"{number}/"): tensor
                for name, tensor in state.items()
                if name.startswith(f"{number}/")
            }
            self.counted[layer] = _Counted.from_tensors(own)
            self.sampled[layer] = own["sampled"].clone()
            if "total" in own:
                self._sums.total[layer] = own["total"]


def _finite_peak(maps: Tensor) -> Tensor:
    """(N, C) float32, each map's largest finite value; NaN where it has none."""
    peak = maps.amax((2, 3))
    if not bool(peak.isfinite().all()):
        peak = maps.masked_fill(~maps.isfinite(), -torch.inf).amax((2, 3))
    peak = (peak.float() + 0.0).cpu()  # -0.0 is 0.0
    return peak.masked_fill(~peak.isfinite(), torch.nan)
