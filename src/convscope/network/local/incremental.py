"""Recompute only what a changed box of pixels touches, exactly.

One image, many variants of it that each differ from it inside one box (an occluder at the nodes of
a grid). The unchanged activations, the *base*, are computed once. Then, step by step, each variant
carries a window: an interval per axis outside which its activations equal the base
(`Window.affected`). A step gathers the input that its window needs (`Window.need`) from the base
and from the windows below, and runs on that patch. Recomputing unchanged values is harmless, so
variants with nearly equal windows are grouped (`grouping.py`) and each group is one batch.

Everything is held channels last, (P, h, w, C), so that a patch is copied in long runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from math import prod

import torch
from torch import Tensor

from convscope.network.from_export import INPUT
from convscope.network.graph import Graph
from convscope.network.local.fusion import Step
from convscope.network.local.grouping import BoxGrid, Side, runs
from convscope.network.local.patches import Base, copy_windows, overlap, overlay
from convscope.network.local.plan import Plan
from convscope.network.node import Node
from convscope.network.ops.fused import dense
from convscope.network.place import Corner, Place

__all__ = ["BoxGrid", "IncrementalSweep", "Work"]

MEMORY = 48 * 2**20
"""Bytes that the patches of one step may take: larger ones fall out of the caches."""


@dataclass
class Work:
    """Multiply-adds of convolutions and dense layers: run, strictly needed, and by brute force."""

    executed: int = 0
    exact: int = 0
    full: int = 0


@dataclass(eq=False)
class _Group:
    """One batch of variants: a side (group of boxes) per axis, and their windows so far."""

    rows: Side
    columns: Side
    windows: dict[str, Tensor]  # step -> (P, h, w, C)
    whole: dict[str, Tensor]  # step -> (P, *shape), for steps that do not run on windows

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.rows.members), len(self.columns.members)

    def __len__(self) -> int:
        return self.shape[0] * self.shape[1]

    def needs(self, step: Step, index: int) -> list[tuple[Tensor, int]]:
        """Along rows and columns: where the patches that a step reads begin, and their size."""
        sides = (self.rows, self.columns)
        return [
            side.need(step, index, reach)
            for side, reach in zip(sides, step.head.reaches[index], strict=True)
        ]

    def place(self, step: Step) -> Place:
        """Where a step's windows lie, and the patches that it reads."""
        needs = [self.needs(step, i) for i in range(len(step.inputs))]
        return Place(
            self._corners(self.rows.first[step.name], self.columns.first[step.name]),
            (self.rows.size[step.name], self.columns.size[step.name]),
            tuple(self._corners(rows[0], columns[0]) for rows, columns in needs),
            tuple((rows[1], columns[1]) for rows, columns in needs),
        )

    def _corners(self, rows: Tensor, columns: Tensor) -> Corner:
        """Of every variant, rows by rows."""
        return rows.repeat_interleave(len(columns)), columns.repeat(len(rows))

    def clear(self) -> None:
        self.windows.clear()
        self.whole.clear()


class IncrementalSweep:
    """Runs a network on every variant of an image at the cost of what changes.

    Args:
        network: The network.
        boxes: The boxes that change, one for each variant.
        outputs: Layers whose values are wanted for every variant.
        sums: Channels whose feature maps are wanted, summed over positions, by layer.
        points: The positions (row, column) at which all channels of a layer are wanted, by layer; a
            layer has either sums or points.
    """

    def __init__(
        self,
        network: Graph,
        boxes: BoxGrid,
        outputs: Iterable[str] = (),
        sums: Mapping[str, Sequence[int]] | None = None,
        points: Mapping[str, Sequence[tuple[int, int]]] | None = None,
    ) -> None:
        self._prepare(Plan(network, outputs, sums, points), boxes)

    @classmethod
    def planned(cls, plan: Plan, boxes: BoxGrid) -> IncrementalSweep:
        """The same for boxes of a network that was planned before.

        Args:
            plan: The steps, and what is wanted.
            boxes: The boxes that change, one for each variant.
        """
        made = cls.__new__(cls)
        made._prepare(plan, boxes)
        return made

    def _prepare(self, plan: Plan, boxes: BoxGrid) -> None:
        self.plan = plan
        self.boxes = boxes
        self.axes = (plan.axis(0, boxes.rows), plan.axis(1, boxes.columns))
        self.groups = list(self._groups())

    @torch.no_grad()
    def run(
        self,
        image: Tensor,
        change: Tensor,
        progress: Callable[[int], None] | None = None,
        *,
        base: Base | None = None,
        pause: Callable[[], None] | None = None,
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Compute the wanted values and sums for every variant.

        Args:
            image: The image.
            change: What a variant shows inside its box.
            progress: Is called with the number of variants just done.
            base: The image's own activations, where they are known already (`Base.of`).
            pause: Is called between any two steps; what it raises ends the run.

        Returns:
            The values of `outputs`; and the `sums`, or what is at the `points`, by layer.

        Shape:
            image, change: (C, H, W). Values: (R, K, *shape). Sums: (R, K, channels). Points:
            (R, K, points, channels).
            (R, K) is boxes.shape.
        """
        plan = self.plan
        base = Base.of(plan.network, plan.windowed, image) if base is None else base
        counts = self.boxes.shape
        values: dict[str, Tensor] = {}
        read = {n: image.new_empty(*counts, len(c)) for n, c in plan.sums.items()}
        for name, positions in plan.points.items():
            every = plan.network.layer(name).channels
            read[name] = image.new_empty(*counts, len(positions), every)
        for group in self.groups:
            self._advance(group, base, change, pause or _go_on)
            where = (group.rows.members[:, None], group.columns.members[None, :])
            for name in self._frontier():
                value = self._whole(group, base, name).unflatten(0, group.shape)
                if len(self.groups) == 1:  # its members are all variants, in order
                    values[name] = value
                    continue
                if name not in values:
                    values[name] = value.new_empty(*counts, *value.shape[2:])
                    if value.dim() == 5:  # keep the channels last
                        values[name] = values[name].permute(0, 1, 3, 4, 2).contiguous()
                        values[name] = values[name].permute(0, 1, 4, 2, 3)
                values[name][where] = value
            for name, channels in plan.sums.items():
                read[name][where] = self._sum(group, base, name, channels)
            for name, positions in plan.points.items():
                for number, position in enumerate(positions):
                    read[name][..., number, :][where] = self._at(group, base, name, position)
            group.clear()
            if progress is not None:
                progress(len(group))
        for step in plan.ending:
            values[step.name] = self._run_tail(step, values, base)
        return {name: values[name] for name in plan.outputs}, read

    # -- one group

    def _groups(self) -> Iterable[_Group]:
        rows, columns = self.plan.sides(self.boxes)
        channels = {INPUT: self.plan.network.input_shape[0]}
        channels.update({step.name: step.shape[0] for step in self.plan.windowed})
        whole = max((prod(step.shape) for step in self.plan.middle), default=1)
        for side in rows:
            for across in columns:
                windows = (c * side.size[n] * across.size[n] for n, c in channels.items())
                fit = MEMORY // (4 * max(whole, *windows) * len(across.members))
                for part in side.split(max(1, fit)):
                    yield _Group(part, across, {}, {})

    def _advance(
        self, group: _Group, base: Base, change: Tensor, pause: Callable[[], None]
    ) -> None:
        group.windows[INPUT] = _variants(group, base.rows[INPUT], change)
        for step in self.plan.windowed:
            pause()
            patches = [self._gather(group, base, step, i) for i in range(len(step.inputs))]
            patches = [patch.permute(0, 3, 1, 2) for patch in patches]
            if step.head.placed:
                result = step.run(*patches, place=group.place(step))
            else:
                result = step.run(*patches)
            group.windows[step.name] = step.without(result).permute(0, 2, 3, 1)
        for step in self.plan.middle:
            pause()
            inputs = [self._whole(group, base, name) for name in step.inputs]
            group.whole[step.name] = step.full(*inputs)

    def _gather(self, group: _Group, base: Base, step: Step, index: int) -> Tensor:
        """The input patch (P, h, w, C) that a step's window needs, border included."""
        below = step.inputs[index]
        sides = (group.rows, group.columns)
        needs = group.needs(step, index)
        if all(side.holds(below, need) for side, need in zip(sides, needs, strict=True)):
            return group.windows[below]
        size = (needs[0][1], needs[1][1])
        padded, pads = base.padded(step, index)
        around = [
            side.plan(("base", step.name, index), partial(runs, first + pad))
            for side, (first, _), pad in zip(sides, needs, pads, strict=True)
        ]
        inside = [
            side.plan(("window", step.name, index), partial(overlap, side, below, first, extent))
            for side, (first, extent) in zip(sides, needs, strict=True)
        ]
        patch = padded.new_empty(*group.shape, *size, padded.shape[-1])
        copy_windows(patch, padded, *around)
        overlay(patch, group.windows[below].unflatten(0, group.shape), *inside)
        return patch.flatten(0, 1)

    def _whole(self, group: _Group, base: Base, name: str) -> Tensor:
        """Full maps (P, C, H, W) of a step for every variant of the group."""
        if name in group.whole:
            return group.whole[name]
        values = base.rows[name]
        patch = values.expand(*group.shape, *values.shape).clone()
        window = group.windows[name].unflatten(0, group.shape)
        inside = [
            side.plan(("whole", name), partial(overlap, side, name, side.members * 0, extent))
            for side, extent in zip((group.rows, group.columns), values.shape, strict=False)
        ]
        overlay(patch, window, *inside)
        group.whole[name] = patch.flatten(0, 1).permute(0, 3, 1, 2)
        return group.whole[name]

    def _sum(self, group: _Group, base: Base, name: str, channels: list[int]) -> Tensor:
        """Feature maps summed over positions, (rows, columns, channels)."""
        if name in group.whole:
            maps = group.whole[name][:, channels].flatten(1).unflatten(1, (len(channels), -1))
            return maps.sum(-1).unflatten(0, group.shape)
        new = group.windows[name][..., channels].sum((1, 2)).unflatten(0, group.shape)
        total, old = base.window_sums(name, channels, group.rows, group.columns)
        return total + (new - old).to(new.dtype)

    def _at(self, group: _Group, base: Base, name: str, position: tuple[int, int]) -> Tensor:
        """All channels of a layer at one position of its grid, (rows, columns, C)."""
        if name not in group.windows:
            value = self._whole(group, base, name)
            value = value[..., position[0], position[1]] if value.dim() == 4 else value
            return value.unflatten(0, group.shape)
        inside, indices = [], []
        for side, index in zip((group.rows, group.columns), position, strict=True):
            offset = index - side.first[name]
            inside.append((offset >= 0) & (offset < side.size[name]))
            indices.append(offset.clamp(0, side.size[name] - 1))
        down, across = indices
        windows = group.windows[name].unflatten(0, group.shape)
        members = torch.arange(len(down))[:, None], torch.arange(len(across))[None, :]
        new = windows[(*members, down[:, None], across[None, :])]
        changed = (inside[0][:, None] & inside[1][None, :])[..., None].to(new.device)
        return torch.where(changed, new, base.rows[name][position])

    # -- the dense end, once for all variants

    def _frontier(self) -> list[str]:
        """Steps that the tail, or the caller, reads from the groups."""
        plan = self.plan
        read = [name for name in plan.outputs if name not in plan.tail]
        for step in plan.ending:
            read += [plan.from_grid[step.name]] if step.name in plan.from_grid else step.inputs
        return [name for name in dict.fromkeys(read) if name not in plan.tail]

    def _run_tail(self, step: Step, values: dict[str, Tensor], base: Base) -> Tensor:
        if step.name in self.plan.from_grid:
            found = self._dense_on_windows(step, values[self.plan.from_grid[step.name]], base)
            return step.without(found.flatten(0, 1)).unflatten(0, self.boxes.shape)
        inputs = (values[name].flatten(0, 1) for name in step.inputs)
        return step.full(*inputs).unflatten(0, self.boxes.shape)

    def _dense_on_windows(self, step: Step, maps: Tensor, base: Base) -> Tensor:
        """The first dense layer: base + W[:, window] (new - base), one map row at a time."""
        name = self.plan.from_grid[step.name]
        old = base.rows[name]  # (H, W, C)
        new = maps.permute(0, 1, 3, 4, 2)  # (R, K, H, W, C)
        weight = step.head.derived(f"rows of {old.shape}", partial(_rows_of, grid=old.shape))
        bias = step.head.tensors.get("bias")
        whole = partial(dense, old.reshape(1, -1), weight.flatten(0, 2).t(), bias)
        result = base.derived(step.head.name, whole).expand(*self.boxes.shape, -1).clone()
        rows, columns = self.axes
        spans: dict[tuple[int, int], list[int]] = {}
        for member, span in enumerate(zip(columns.low[name], columns.high[name], strict=True)):
            spans.setdefault((int(span[0]), int(span[1])), []).append(member)
        for y in range(old.shape[0]):
            touched = (rows.low[name] <= y) & (y < rows.high[name])
            inside = torch.from_numpy(touched.nonzero()[0])
            for (left, right), members in spans.items():
                if right <= left or len(inside) == 0:
                    continue
                where = (inside[:, None], torch.tensor(members)[None, :])
                change = new[..., y, left:right, :][where] - old[y, left:right]
                change = change.flatten(0, 1).flatten(1)
                part = dense(change, weight[y, left:right].flatten(0, 1).t(), None)
                result[where] += part.unflatten(0, (len(inside), len(members)))
        return result

    @cached_property
    def work(self) -> Work:
        """What the planned groups cost, against the exactly affected intervals and brute force."""
        work, count = Work(), self.boxes.shape[0] * self.boxes.shape[1]
        rows, columns = self.axes
        from_grid = self.plan.from_grid
        for step in self.plan.steps:
            cost = self.plan.costs[step.name]
            on_map = from_grid.get(step.name, step.name if step.windowed else None)
            work.full += cost * count
            if on_map is None:
                work.exact += cost * count
                work.executed += cost * count
                continue
            area = rows.extent[on_map] * columns.extent[on_map]
            exact = int(rows.length(on_map).sum() * columns.length(on_map).sum())
            work.exact += cost * exact // area
            if step.name in from_grid:
                work.executed += cost * exact // area
            else:
                run = sum(
                    len(g) * g.rows.size[on_map] * g.columns.size[on_map] for g in self.groups
                )
                work.executed += cost * run // area
        return work


def _variants(group: _Group, image: Tensor, change: Tensor) -> Tensor:
    """The window of the image itself: `change` inside each variant's box, the image around it."""
    size = (group.rows.size[INPUT], group.columns.size[INPUT])
    sides = (group.rows, group.columns)
    corners = [runs(side.first[INPUT]) for side in sides]
    patch, inside = (image.new_empty(*group.shape, *size, image.shape[-1]) for _ in range(2))
    copy_windows(patch, image, *corners)
    copy_windows(inside, change.permute(1, 2, 0).contiguous(), *corners)
    rows, columns = (side.inside(INPUT).to(image.device) for side in sides)
    mask = rows[:, None, :, None, None] & columns[None, :, None, :, None]
    return torch.where(mask, inside, patch).flatten(0, 1)


def _go_on() -> None:
    """Pause for nobody."""


def _rows_of(node: Node, grid: Sequence[int]) -> Tensor:
    """A dense layer's weights (O, C*H*W), laid out so that a window of map rows is one block."""
    height, width, channels = grid
    last = node.tensors["weight"].detach().unflatten(1, (channels, height, width))
    # (H, W, C, O); in two steps, which is faster
    last = last.contiguous(memory_format=torch.channels_last).permute(0, 2, 3, 1)
    return last.flatten(1).t().contiguous().view(height, width, channels, -1)
