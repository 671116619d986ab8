"""Histograms of many feature maps that widen as they need, the same in whatever order values come.

Bins are 2^e wide and begin at multiples of that, so two bins of one width make one of the next.
Which width a map ends with follows from its smallest and largest value alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["BINS", "Histogram", "merge_histograms"]

LOG_BINS = 8
BINS = 2**LOG_BINS
"""Of each map; at least half of them lie below its largest value."""
SMALLEST = -30
"""Values below 2^-30 share the narrowest range."""


@dataclass(eq=False)
class Histogram:
    """How often values fell into each of B bins, for each of C feature maps.

    Attributes:
        counts: int64 (C, B).
        reach: int64 (C,), the exponent r: all values of the map lie between -2^r and 2^r.
        signed: bool (C,), whether one was below zero: half of the bins are below zero then.

    Example:
        >>> histogram = Histogram.empty(1)
        >>> histogram.add(torch.tensor([[0.5], [3.0]]))
        >>> float(histogram.width[0]), histogram.counts[0].nonzero().flatten().tolist()
        (0.015625, [32, 192])
    """

    counts: Tensor
    reach: Tensor
    signed: Tensor

    @classmethod
    def empty(cls, channels: int) -> Histogram:
        """A histogram of so many maps that has seen nothing."""
        return cls(
            torch.zeros(channels, BINS, dtype=torch.int64),
            torch.full((channels,), SMALLEST),
            torch.zeros(channels, dtype=torch.bool),
        )

    @property
    def width(self) -> Tensor:
        """float64 (C,), of a bin."""
        return 2.0 ** (self.reach - LOG_BINS + self.signed).double()

    @property
    def low(self) -> Tensor:
        """float64 (C,), where the first bin begins."""
        return -self._zero * self.width

    @property
    def _zero(self) -> Tensor:
        """int64 (C,), the bin that begins at zero."""
        return self.signed * (BINS // 2)

    def add(self, values: Tensor) -> None:
        """Count a value of each map; NaN and infinity are left out.

        Shape:
            values: (N, C).
        """
        values = values.double()
        finite = values.isfinite()
        known = values.masked_fill(~finite, 0.0)
        largest = known.abs().amax(0) if len(known) else known.new_zeros(known.shape[1])
        reach = torch.frexp(largest)[1].long().masked_fill(largest == 0, SMALLEST)
        self._widen(torch.maximum(self.reach, reach), self.signed | (known < 0).any(0))
        bins = (known / self.width).floor().long() + self._zero
        self.counts.scatter_add_(1, bins.T, finite.long().T)

    def _widen(self, reach: Tensor, signed: Tensor) -> None:
        """Join bins until they hold a wider range."""
        changed = (reach != self.reach) | (signed != self.signed)
        if not changed.any():
            return
        joined = reach - self.reach + signed.long() - self.signed.long()
        joined = joined.clamp(max=62)  # as many bins are one by far; 2**63 is no int64
        below = torch.arange(BINS) - self._zero[:, None]
        zero = signed.long() * (BINS // 2)
        bins = below.div(2 ** joined[:, None], rounding_mode="floor") + zero[:, None]
        bins = bins.clamp(0, BINS - 1)  # only empty ones lie outside
        self.counts = torch.zeros_like(self.counts).scatter_add_(1, bins, self.counts)
        self.reach, self.signed = reach, signed

    def tensors(self) -> dict[str, Tensor]:
        """The histogram as named tensors; `from_tensors` is the inverse."""
        return {"counts": self.counts, "reach": self.reach, "signed": self.signed}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> Histogram:
        """The histogram that `tensors` described."""
        return cls(*(tensors[name].clone() for name in ("counts", "reach", "signed")))


def merge_histograms(a: Histogram, b: Histogram) -> Histogram:
    """Put two histograms of the same maps together; commutative and associative."""
    reach, signed = torch.maximum(a.reach, b.reach), a.signed | b.signed
    parts = [Histogram.from_tensors(one.tensors()) for one in (a, b)]
    for one in parts:
        one._widen(reach, signed)
    return Histogram(parts[0].counts + parts[1].counts, reach, signed)
