"""What each axis of a value lists: images, channels, rows, columns, or tokens of a grid.

A transformer flattens its grid into tokens, cuts it into windows, splits channels into heads, and
puts all of that together again. Here each axis is a number written in digits: an axis of 16 tokens
is (rows of 4, columns of 4), one of windows is the leading digits of rows and of columns. A reshape
deals the digits out to other axes, a permutation moves the axes. Where the digits of rows and
columns have come together again, a value has a grid.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from math import prod
from typing import Any

import torch
from torch import Tensor

__all__ = ["Axis", "Digit", "Grid", "axes_by_node", "grid_of", "is_batch"]

aten = torch.ops.aten

IMAGES, CHANNELS, ROWS, COLUMNS = "images", "channels", "rows", "columns"
_unknown = count()


@dataclass(frozen=True)
class Digit:
    """A part of an index: `size` values, each `step` apart in what is listed."""

    what: str
    step: int
    size: int


@dataclass(frozen=True)
class Axis:
    """The digits of an axis, the leading one first, and tokens of no place around them.

    Attributes:
        digits: Its parts, the leading one first.
        before: How many class tokens and the like stand before those of the grid.
        after: How many stand after them.
    """

    digits: tuple[Digit, ...] = ()
    before: int = 0
    after: int = 0

    @classmethod
    def of(cls, what: str, size: int) -> Axis:
        return cls((Digit(what, 1, size),)) if size > 1 or what == IMAGES else cls()

    @classmethod
    def unknown(cls, size: int) -> Axis:
        return cls.of(f"?{next(_unknown)}", size)

    @property
    def size(self) -> int:
        return self.before + prod(digit.size for digit in self.digits) + self.after

    @property
    def what(self) -> str | None:
        """What all of it lists; None where it is several things, or nothing."""
        kinds = {digit.what for digit in self.digits}
        return kinds.pop() if len(kinds) == 1 and not (self.before or self.after) else None

    @property
    def known(self) -> bool:
        return not any(digit.what.startswith("?") for digit in self.digits)

    def resized(self, size: int) -> Axis:
        """The same axis with another number of places: cropped, padded, pooled, weighed anew."""
        if size == self.size:
            return self
        return Axis.of(self.what, size) if self.what and self.known else Axis.unknown(size)


Axes = tuple[Axis, ...]


@dataclass(frozen=True)
class Grid:
    """Where a value has its channels and its positions.

    Attributes:
        order: The axes of (channels, rows, columns), or of (channels, tokens); the batch is axis 0.
        rows: Of the grid.
        columns: Of the grid.
        before: How many tokens of no place are ahead of it.
    """

    order: tuple[int, ...]
    rows: int
    columns: int
    before: int = 0

    @property
    def plain(self) -> bool:
        """Whether it is (C, rows, columns) as it is."""
        return self.order == (1, 2, 3)

    def __repr__(self) -> str:
        """The words that identities of networks hash: they stay, whatever is renamed."""
        size = f"rows={self.rows}, columns={self.columns}"
        return f"Grid(order={self.order}, {size}, before={self.before})"


def image_axes(shape: Sequence[int]) -> Axes:
    """Of the images (N, C, H, W)."""
    return tuple(
        Axis.of(what, n) for what, n in zip((IMAGES, CHANNELS, ROWS, COLUMNS), shape, strict=True)
    )


def is_batch(axis: Axis) -> bool:
    """Whether an axis lists the images, and nothing else."""
    return axis.what == IMAGES and len(axis.digits) == 1


def grid_of(axes: Axes | None) -> Grid | None:
    """The grid of a value (N, ...); None where it has none."""
    if axes is None or not is_batch(axes[0]):
        return None
    rest = [(i, axis) for i, axis in enumerate(axes) if i and axis.size > 1]
    places = {axis.what: i for i, axis in rest if axis.what}
    listed = [axis for _, axis in rest if axis.what and not _in_order(axis)]
    if listed or CHANNELS not in places:
        return None
    if len(rest) == 3 and len(axes) == 4 and {ROWS, COLUMNS} <= places.keys():
        r, c = places[ROWS], places[COLUMNS]
        return Grid((places[CHANNELS], r, c), axes[r].size, axes[c].size)
    if len(rest) == 2 and len(axes) == 3:
        ((tokens, axis),) = [(i, axis) for i, axis in rest if i != places[CHANNELS]]
        if [d.what for d in axis.digits] == [ROWS, COLUMNS] and _in_order(axis):
            rows, columns = (digit.size for digit in axis.digits)
            return Grid((places[CHANNELS], tokens), rows, columns, axis.before)
    return None


def _in_order(axis: Axis) -> bool:
    """Whether rows and columns are there once each. Of neighbours that were merged into channels
    the leading digit is left: a coarser grid."""
    kinds = [digit.what for digit in axis.digits]
    return axis.what == CHANNELS or len(set(kinds)) == len(kinds)


# --- how operations move them ---------------------------------------------------------------------


def axes_of(fx: Any, known: Mapping[Any, Axes]) -> Axes | None:
    """The axes of a graph node's value, from those of what it reads; None if it reads no images."""
    target, args, shape = fx.target, list(fx.args), _sizes(fx.meta["val"])
    if target is operator.getitem:
        return _piece(fx, known, shape)
    operands = [node for node in fx.all_input_nodes if node in known]
    if not operands:
        return None
    first = known[operands[0]]
    found = None
    if target in RULES:
        found = RULES[target](args, known, shape)
    if found is None and prod(a.size for a in first) == prod(shape) and target in RESHAPES:
        found = _reshaped(first, shape)
    if found is None and len(operands) > 1:
        found = _joined([known[node] for node in operands], shape)
    if found is None and len(first) == len(shape):
        found = tuple(axis.resized(n) for axis, n in zip(first, shape, strict=True))
    if found is None or tuple(axis.size for axis in found) != shape:
        found = tuple(map(Axis.unknown, shape))
    return found


def _sizes(value: Any) -> tuple[int, ...]:
    return tuple(n if isinstance(n, int) else int(n.node.hint) for n in value.shape)


def _piece(fx: Any, known: Mapping[Any, Axes], shape: tuple[int, ...]) -> Axes | None:
    """One of the values that unbind, split and chunk return."""
    source = fx.args[0]
    operands = [node for node in source.all_input_nodes if node in known]
    if not operands:
        return None
    whole = known[operands[0]]
    if source.target is aten.unbind.int:
        axis = (source.args[1] if len(source.args) > 1 else 0) % len(whole)
        return whole[:axis] + whole[axis + 1 :]
    if len(whole) != len(shape):
        return tuple(map(Axis.unknown, shape))
    return tuple(axis.resized(n) for axis, n in zip(whole, shape, strict=True))


def _reshaped(axes: Axes, shape: tuple[int, ...]) -> Axes:
    """Deal the digits out, block by block of axes that hold the same values."""
    found: list[Axis] = []
    ours, theirs = list(axes), list(shape)
    while ours or theirs:
        block = [ours.pop(0)] if ours else []
        sizes = [theirs.pop(0)] if theirs else []
        while (have := prod(axis.size for axis in block)) != (want := prod(sizes)):
            if have < want:
                block.append(ours.pop(0))
            else:
                sizes.append(theirs.pop(0))
        found += _dealt(block, sizes)
    return tuple(found)


def _dealt(block: list[Axis], sizes: list[int]) -> list[Axis]:
    big = [axis for axis in block if axis.size > 1]
    if len(big) == 1 and sum(n > 1 for n in sizes) == 1:  # one axis, perhaps beside ones
        return [big[0] if n > 1 else Axis() for n in sizes]
    if any(axis.before or axis.after for axis in big):
        return [Axis.unknown(n) for n in sizes]
    digits = [digit for axis in block for digit in axis.digits]
    found = []
    for size in sizes:
        mine: list[Digit] = []
        while size > 1 and digits:
            digit = digits.pop(0)
            if size % digit.size == 0:
                mine.append(digit)
                size //= digit.size
            elif digit.size % size == 0:
                left = digit.size // size
                mine.append(Digit(digit.what, digit.step * left, size))
                digits.insert(0, Digit(digit.what, digit.step, left))
                size = 1
            else:
                return [Axis.unknown(n) for n in sizes]
        found.append(Axis(tuple(_merged(mine))))
    return found


def _merged(digits: Iterable[Digit]) -> list[Digit]:
    found: list[Digit] = []
    for digit in digits:
        last = found[-1] if found else None
        if last and last.what == digit.what and last.step == digit.step * digit.size:
            found[-1] = Digit(digit.what, digit.step, last.size * digit.size)
        else:
            found.append(digit)
    return found


def _joined(each: Sequence[Axes], shape: tuple[int, ...]) -> Axes | None:
    """Values that are spread out over each other: of each axis, who says what it lists."""
    found = []
    for i, n in enumerate(reversed(shape), 1):
        here = [axes[-i] for axes in each if len(axes) >= i and axes[-i].size == n]
        if not here:
            return None
        found.append(max(here, key=lambda axis: axis.known and bool(axis.digits)))
    return tuple(reversed(found))


Rule = Callable[[list[Any], Mapping[Any, Axes], tuple[int, ...]], "Axes | None"]


def _permute(args: list[Any], known: Mapping[Any, Axes], shape: tuple[int, ...]) -> Axes:
    return tuple(known[args[0]][i] for i in args[1])


def _transpose(args: list[Any], known: Mapping[Any, Axes], shape: tuple[int, ...]) -> Axes:
    axes = list(known[args[0]])
    axes[args[1]], axes[args[2]] = axes[args[2]], axes[args[1]]
    return tuple(axes)


def _turned(args: list[Any], known: Mapping[Any, Axes], shape: tuple[int, ...]) -> Axes:
    axes = known[args[0]]
    return (*axes[:-2], axes[-1], axes[-2])


def _select(args: list[Any], known: Mapping[Any, Axes], shape: tuple[int, ...]) -> Axes | None:
    axes = known[args[0]]
    at = args[1] % len(axes)
    return axes[:at] + axes[at + 1 :]


def _slice(args: list[Any], known: Mapping[Any, Axes], shape: tuple[int, ...]) -> Axes | None:
    """Class tokens may be cut off, and the grid's tokens be left."""
    _, at, start, _, *_ = [*args, 0, 0, None][: max(4, len(args))]
    axes = list(known[args[0]])
    axis = axes[at]
    if start == axis.before and shape[at] == axis.size - axis.before - axis.after and axis.before:
        axes[at] = Axis(axis.digits)
        return tuple(axes)
    return None


def _cat(args: list[Any], known: Mapping[Any, Axes], shape: tuple[int, ...]) -> Axes | None:
    parts, at = args[0], args[1] if len(args) > 1 else 0
    of_grid = [
        i
        for i, part in enumerate(parts)
        if part in known and [d.what for d in known[part][at].digits] == [ROWS, COLUMNS]
    ]
    if len(of_grid) != 1:
        return None
    sizes = [_sizes(part.meta["val"])[at] for part in parts]
    axes = list(known[parts[of_grid[0]]])
    axis = axes[at]
    before, after = sum(sizes[: of_grid[0]]), sum(sizes[of_grid[0] + 1 :])
    axes[at] = Axis(axis.digits, before + axis.before, axis.after + after)
    return tuple(axes)


def _roll(args: list[Any], known: Mapping[Any, Axes], shape: tuple[int, ...]) -> Axes | None:
    """Rows that were shifted around are called otherwise until they are shifted back."""
    axes = list(known[args[0]])
    for shift, at in zip(args[1], args[2] if len(args) > 2 else (), strict=False):
        axis = axes[at]
        if axis.what is None or len(axis.digits) != 1:
            return None
        name, _, before = axis.what.partition("+")
        total = (int(before or 0) + shift) % axis.size
        axes[at] = Axis.of(f"{name}+{total}" if total else name, axis.size)
    return tuple(axes)


def _linear(args: list[Any], known: Mapping[Any, Axes], shape: tuple[int, ...]) -> Axes | None:
    """Channels from channels, and from what is mixed with them, such as neighbours that are merged;
    what mixes tokens alone makes nothing that is known."""
    axes = known.get(args[0])
    if axes is None:
        return None
    if not axes[-1].known or any(digit.what == CHANNELS for digit in axes[-1].digits):
        return (*axes[:-1], Axis.of(CHANNELS, shape[-1]))
    return (*axes[:-1], Axis.unknown(shape[-1]))


def _matmul(args: list[Any], known: Mapping[Any, Axes], shape: tuple[int, ...]) -> Axes | None:
    first, second = (known.get(arg) for arg in args[:2])
    if first is None or second is None or len(first) < 2 or len(second) < 2:
        return _linear(args, known, shape) if second is None and first else None
    longer = first if len(first) >= len(second) else second
    return (*longer[:-2], first[-2], second[-1])


def _attention(args: list[Any], known: Mapping[Any, Axes], shape: tuple[int, ...]) -> Axes | None:
    query, value = known.get(args[0]), known.get(args[2])
    return None if query is None or value is None else (*query[:-1], value[-1])


def _einsum(args: list[Any], known: Mapping[Any, Axes], shape: tuple[int, ...]) -> Axes | None:
    inputs, arrow, output = args[0].replace(" ", "").partition("->")
    if not arrow or "." in args[0]:
        return None
    letters: dict[str, Axis] = {}
    for word, part in zip(inputs.split(","), args[1], strict=True):
        for letter, axis in zip(word, known.get(part, ()), strict=False):
            letters.setdefault(letter, axis)
    return tuple(
        letters.get(letter) or Axis.unknown(n) for letter, n in zip(output, shape, strict=True)
    )


def _reduced(args: list[Any], known: Mapping[Any, Axes], shape: tuple[int, ...]) -> Axes | None:
    axes = known.get(args[0])
    if axes is None or len(args) < 2 or args[1] is None or len(axes) == len(shape):
        return (
            None
            if axes is None
            else tuple(
                axis if axis.size == n else Axis() for axis, n in zip(axes, shape, strict=False)
            )
        )
    over = {i % len(axes) for i in (args[1] if isinstance(args[1], (list, tuple)) else [args[1]])}
    return tuple(axis for i, axis in enumerate(axes) if i not in over)


RULES: dict[Any, Rule] = {
    aten.permute.default: _permute,
    aten.transpose.int: _transpose,
    aten.mT.default: _turned,
    aten.t.default: _turned,
    aten.select.int: _select,
    aten.slice.Tensor: _slice,
    aten.cat.default: _cat,
    aten.roll.default: _roll,
    aten.linear.default: _linear,
    aten.matmul.default: _matmul,
    aten.bmm.default: _matmul,
    aten.scaled_dot_product_attention.default: _attention,
    aten.einsum.default: _einsum,
    **dict.fromkeys(
        (aten.mean.dim, aten.sum.dim_IntList, aten.amax.default, aten.var.dim, aten.var.correction,
         aten.linalg_vector_norm.default), _reduced,
    ),
}  # fmt: skip
RESHAPES = frozenset(
    (aten.view.default, aten.reshape.default, aten.flatten.using_ints, aten.unflatten.int,
     aten.squeeze.dim, aten.squeeze.dims, aten.squeeze.default, aten.unsqueeze.default,
     aten._unsafe_view.default, aten.reshape_as.default, aten.view_as.default)
)  # fmt: skip


def axes_by_node(graph: Any, image: Any) -> dict[Any, Axes]:
    """The axes of every value of an exported graph that depends on the images."""
    known: dict[Any, Axes] = {image: image_axes(_sizes(image.meta["val"]))}
    for fx in graph.nodes:
        if fx.op == "call_function" and isinstance(fx.meta.get("val"), Tensor):
            axes = axes_of(fx, known)
            if axes is not None:
                known[fx] = axes
    return known
