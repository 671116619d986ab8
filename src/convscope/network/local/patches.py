"""Patches: the unchanged activations of one image, and windows copied out of and into them.

Everything is held channels last. Where the corners of many windows form an arithmetic run, all of
them are one strided copy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from convscope.geometry.table import windows_below
from convscope.network.from_export import INPUT
from convscope.network.graph import Graph
from convscope.network.local.fusion import Step
from convscope.network.local.grouping import Side, WindowRun, runs

__all__ = ["Base", "copy_windows", "overlap", "overlay"]


class Base:
    """The unchanged activations of one image, and what is derived from them once.

    Args:
        values: Gives a layer's values, or the image under "input", by name; it is asked once.

    Shape:
        values: (1, C, H, W) each.
    """

    def __init__(self, values: Callable[[str], Tensor]) -> None:
        self.rows: Mapping[str, Tensor] = _Rows(values)  # layer -> (H, W, C)
        self._padded: dict[tuple[str, int], tuple[Tensor, tuple[int, int]]] = {}
        self._bordered: dict[object, Tensor] = {}  # shared by all that read them so
        self._derived: dict[str, Tensor] = {}

    @classmethod
    def of(cls, network: Graph, steps: Sequence[Step], image: Tensor) -> Base:
        """Run an image through the network.

        Args:
            network: The network.
            steps: Those that will run on windows.
            image: The image, preprocessed.

        Shape:
            image: (C, H, W).
        """
        batch = network.check_images(image).contiguous(memory_format=torch.channels_last)
        names = {name for step in steps for name in (step.name, *step.inputs)} - {INPUT}
        values = {**network.values(batch, names), INPUT: batch}
        base = cls(values.pop)
        for name in list(values):
            base.rows[name]
        return base

    def tensors(self) -> list[Tensor]:
        """All that it holds."""
        return [*self.rows.values(), *self._bordered.values(), *self._derived.values()]

    def derived(self, key: str, make: Callable[[], Tensor]) -> Tensor:
        """What `make` works out of these activations, once."""
        if key not in self._derived:
            self._derived[key] = make()
        return self._derived[key]

    def padded(self, step: Step, index: int) -> tuple[Tensor, tuple[int, int]]:
        """What a step reads as its input, border included, and how far it was padded."""
        key = (step.head.name, index)
        if key not in self._padded:
            values = self.rows[step.inputs[index]]
            (top, bottom), (left, right) = _pads(step, index, values)
            if any((top, bottom, left, right)):
                border = step.head.op.border
                same = (step.inputs[index], top, bottom, left, right, border)
                if same not in self._bordered:
                    self._bordered[same] = torch.nn.functional.pad(
                        values, (0, 0, left, right, top, bottom), value=border
                    )
                values = self._bordered[same]
            self._padded[key] = values, (top, left)
        return self._padded[key]

    def window_sums(
        self, name: str, channels: list[int], rows: Side, columns: Side
    ) -> tuple[Tensor, Tensor]:
        """Sums over the whole map, and over each variant's window, in float64."""
        values = self.rows[name][..., channels].double()
        integral = values.new_zeros(values.shape[0] + 1, values.shape[1] + 1, len(channels))
        integral[1:, 1:] = values.cumsum(0).cumsum(1)
        top, left = rows.first[name], columns.first[name]
        bottom, right = top + rows.size[name], left + columns.size[name]
        old = (
            integral[bottom][:, right]
            - integral[top][:, right]
            - integral[bottom][:, left]
            + integral[top][:, left]
        )
        return self.rows[name][..., channels].sum((0, 1)), old


def _pads(step: Step, index: int, values: Tensor) -> list[tuple[int, int]]:
    """How far a step reads beyond its input (H, W, C): before and after, along each axis."""
    pads = []
    for axis, reach in enumerate(step.head.reaches[index]):
        low, size = windows_below(reach, np.zeros(1, np.int64), step.grid[axis])
        first, last = int(low[0]), int(low[0]) + size
        pads.append((max(0, -first), max(0, last - values.shape[axis])))
    return pads


class _Rows(dict[str, Tensor]):
    """A layer's values, (H, W, C), by name: laid out when first asked for."""

    def __init__(self, values: Callable[[str], Tensor]) -> None:
        super().__init__()
        self._values = values

    def __missing__(self, name: str) -> Tensor:
        self[name] = self._values(name)[0].permute(1, 2, 0).contiguous()
        return self[name]


# --- copying in runs ------------------------------------------------------------------------------


def copy_windows(
    patch: Tensor, source: Tensor, down: Sequence[WindowRun], across: Sequence[WindowRun]
) -> None:
    """Copy a window of the source for each variant, one strided copy per arithmetic run.

    Args:
        patch: The memory to copy to: patch[i, j] starts at row top[i], column left[j].
        source: The map to copy from.
        down: The runs of the top rows.
        across: The runs of the left columns.
    """
    y, x = source.stride(0), source.stride(1)
    for rows in down:
        for columns in across:
            part = patch[rows.slice, columns.slice]
            part.copy_(
                source.as_strided(
                    part.shape,
                    (rows.step[0] * y, columns.step[0] * x, y, x, 1),
                    source.storage_offset() + rows.first[0] * y + columns.first[0] * x,
                )
            )


def overlay(
    patch: Tensor, window: Tensor, down: Sequence[WindowRun], across: Sequence[WindowRun]
) -> None:
    """Put each variant's window of a step into its patch.

    Args:
        patch: The memory to copy to.
        window: The windows.
        down: The runs of `overlap` along the rows.
        across: The runs of `overlap` along the columns.

    Shape:
        window: (R, K, h, w, C).
    """
    for rows in down:
        for columns in across:
            height, width = rows.first[2], columns.first[2]
            if height <= 0 or width <= 0:
                continue
            target = patch[rows.slice, columns.slice]
            source = window[rows.slice, columns.slice]
            shape = (*target.shape[:2], height, width, patch.shape[-1])
            _moving(target, shape, rows, columns, 1).copy_(_moving(source, shape, rows, columns, 0))


def overlap(side: Side, name: str, origin: Tensor, extent: int) -> list[WindowRun]:
    """Find where each variant's window of a step lies in its patch, in runs.

    A run holds where the common part starts in the window, where in the patch, and its length.

    Args:
        side: The windows along one axis.
        name: The step.
        origin: Where each patch starts in the step's map.
        extent: How long the patches are.
    """
    first = side.first[name]
    low = torch.maximum(first, origin)
    high = torch.minimum(first + side.size[name], origin + extent)
    return runs(low - first, low - origin, high - low)


def _moving(
    values: Tensor, shape: tuple[int, ...], rows: WindowRun, columns: WindowRun, which: int
) -> Tensor:
    """A view whose corner moves with the variant: rows.first + i * rows.step, and so across."""
    strides = list(values.stride())
    offset = values.storage_offset()
    offset += rows.first[which] * strides[2] + columns.first[which] * strides[3]
    strides[0] += rows.step[which] * strides[2]
    strides[1] += columns.step[which] * strides[3]
    return values.as_strided(shape, strides, offset)
