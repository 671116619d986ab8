"""Regions of an image, and their features: pooled from maps that all regions share.

The network is run once on an image. A region's features are the maxima of each map over the cells
of a GRID laid over the region (as SPP and RoI pooling have it). A position of the maps belongs to
a cell where the middle of its receptive field lies, which the network's windows tell exactly; a
cell that holds no middle takes the position whose middle is nearest to its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from convscope.errors import BadOption
from convscope.geometry.window import Window
from convscope.network.network import Network

__all__ = ["GRID", "RegionPooling", "sliding_windows"]

GRID = 2
SHARES = (0.25, 0.35, 0.5, 0.7, 0.95)  # of the image's sides: of a window's
ASPECTS = (0.5, 1.0, 2.0)  # height by width
STEP = 0.25  # of a window's side, at most

Boxes = NDArray[np.float64]


def sliding_windows(
    size: tuple[int, int],
    shares: Sequence[float] = SHARES,
    aspects: Sequence[float] = ASPECTS,
    step: float = STEP,
) -> Boxes:
    """Lay windows of several sizes and shapes over an image, evenly from edge to edge.

    Args:
        size: (height, width) of the image, pixels.
        shares: The sides of the windows, the geometric mean of both, as shares of the image's.
        aspects: Height by width, against the image's own.
        step: From one window to the next at most, a share of its side.

    Returns:
        (top, left, bottom, right) of each, the whole image first.

    Shape:
        size: 2 numbers. The result: (N, 4).

    Example:
        >>> sliding_windows((8, 8), shares=[0.5], aspects=[1.0], step=1.0).tolist()[1]
        [0.0, 0.0, 4.0, 4.0]
    """
    found = [(0.0, 0.0, float(size[0]), float(size[1]))]
    for share in shares:
        for aspect in aspects:
            sides = [
                min(1.0, share * factor) * extent
                for factor, extent in zip((aspect**0.5, aspect**-0.5), size, strict=True)
            ]
            tops, lefts = (
                _starts(side, extent, step) for side, extent in zip(sides, size, strict=True)
            )
            found += [(t, le, t + sides[0], le + sides[1]) for t in tops for le in lefts]
    return np.array(found)


def _starts(side: float, extent: float, step: float) -> list[float]:
    room = extent - side
    count = int(np.ceil(room / (step * side))) + 1 if room > 1e-9 else 1
    starts: list[float] = np.linspace(0, room, count).tolist()
    return starts


@dataclass(frozen=True, eq=False)
class RegionPooling:
    """From a layer's maps to the features of regions of the image.

    Attributes:
        rows: The middle of each row's receptive field, in pixels of the input.
        columns: Of each column's, likewise.
        grid: Cells along a side.

    Shape:
        rows: (h,). columns: (w,).
    """

    rows: NDArray[np.float64]
    columns: NDArray[np.float64]
    grid: int = GRID

    @classmethod
    def of(cls, network: Network, layer: str, grid: int = GRID) -> RegionPooling:
        """The pooling of a layer's maps.

        Raises:
            BadOption: It has no feature maps, or their positions see all of the image.
            NoSuchLayer: There is none of that name.
        """
        found = network.layer(layer)
        windows = found.field.axes
        if len(found.shape) != 3 or any(window.is_whole for window in windows):
            raise BadOption(
                f"layer {layer}: its values have no places in the image; name a layer of feature "
                "maps whose positions see a part of it"
            )
        rows, columns = (
            _middles(window, count) for window, count in zip(windows, found.shape[1:], strict=True)
        )
        return cls(rows, columns, grid)

    def __call__(self, maps: NDArray[np.float32], boxes: Boxes) -> NDArray[np.float32]:
        """Pool the features of some regions.

        Args:
            maps: Of one image.
            boxes: (top, left, bottom, right), in pixels of the input.

        Returns:
            Cell by cell, in reading order, the maximum of each map.

        Shape:
            maps: (C, h, w). boxes: (N, 4). The result: (N, grid * grid * C).
        """
        downs = self._cells(self.rows, boxes[:, 0], boxes[:, 2])
        acrosses = self._cells(self.columns, boxes[:, 1], boxes[:, 3])
        known: dict[tuple[int, int, int, int], NDArray[np.float32]] = {}

        def cell(rows: tuple[int, int], columns: tuple[int, int]) -> NDArray[np.float32]:
            key = (*rows, *columns)
            if key not in known:
                known[key] = maps[:, rows[0] : rows[1], columns[0] : columns[1]].max((1, 2))
            return known[key]

        pooled = [
            np.concatenate([cell(rows, columns) for rows in down for columns in across])
            for down, across in zip(downs, acrosses, strict=True)
        ]
        if not pooled:
            return np.zeros((0, self.grid**2 * len(maps)), np.float32)
        return np.stack(pooled)

    def _cells(
        self, middles: NDArray[np.float64], firsts: NDArray[np.float64], ends: NDArray[np.float64]
    ) -> list[list[tuple[int, int]]]:
        """For each region the intervals of positions, half-open, of its cells along an axis."""
        edges = np.linspace(firsts, ends, self.grid + 1)  # (grid + 1, N)
        starts = np.searchsorted(middles, edges[:-1])
        stops = np.searchsorted(middles, edges[1:])
        nearest = np.abs(middles[:, None, None] - (edges[:-1] + edges[1:]) / 2).argmin(0)
        empty = stops <= starts
        starts = np.where(empty, nearest, starts)
        stops = np.where(empty, nearest + 1, stops)
        return [
            list(zip(first, stop, strict=True))
            for first, stop in zip(starts.T.tolist(), stops.T.tolist(), strict=True)
        ]


def _middles(window: Window, count: int) -> NDArray[np.float64]:
    """The middle of what each position along an axis reads."""
    firsts = np.array([float(window.start + i * window.stride) for i in range(count)])
    return firsts + window.size / 2
