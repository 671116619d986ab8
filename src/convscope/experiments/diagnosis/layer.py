"""The measures of one convolutional layer, together."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean

from convscope.experiments.diagnosis.filters import Spectrum, Strength, Twins
from convscope.experiments.diagnosis.responses import Activity
from convscope.record import Record

__all__ = ["LayerDiagnosis", "StrideAliasing"]


@dataclass(frozen=True)
class StrideAliasing(Record):
    """How much of a strided layer's answer its stride folds over.

    Attributes:
        by_map: of each map, 0 to 1; None for one that is NaN or infinite.
        measured: on images; else worked out from the filters for images of power 1/f².
    """

    also = ("mean",)

    by_map: tuple[float | None, ...]
    measured: bool

    @property
    def mean(self) -> float:
        """Over the maps that have one."""
        return fmean(share for share in self.by_map if share is not None)


@dataclass(frozen=True)
class LayerDiagnosis(Record):
    """All measures of one convolutional layer.

    Attributes:
        name: of the convolution.
        activation: the layer whose value was looked at.
        shape: (C, H, W) of the convolution's output.
        kernel, stride: of the filters, (rows, columns).
        first: whether it looks at the pixels.
        unsteadiness: mean over the maps of what `responses.unsteadiness` finds, 0 to 1; None
            without images, on small grids, and at stride 1.
        strength, twins: of the filters.
        spectrum: of the filters that look at the pixels.
        folding: of a strided layer; without images only where `first`.
        activity: None without images.
    """

    name: str
    activation: str
    shape: tuple[int, int, int]
    kernel: tuple[int, int]
    stride: tuple[int, int]
    first: bool
    unsteadiness: float | None
    strength: Strength
    twins: Twins
    spectrum: Spectrum | None
    folding: StrideAliasing | None
    activity: Activity | None
