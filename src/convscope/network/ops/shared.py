"""Pieces that several entries of the op table share."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from convscope.geometry.window import IDENTITY, Field, Window
from convscope.network.node import Node, Saved, SavedWindows, patch_size

aten = torch.ops.aten


def pair(value: Any) -> tuple[int, int]:
    """A setting given once for both axes, or once per axis."""
    if isinstance(value, int):
        return value, value
    return (value[0], value[0]) if len(value) == 1 else (value[0], value[1])


def sliding(node: Node, index: int) -> Field:
    if index > 0:
        return Field()
    s = node.settings
    return Field(
        *(
            Window.sliding(s["kernel"][a], s["stride"][a], s["padding"][a], s["dilation"][a])
            for a in (0, 1)
        )
    )


def whole(node: Node, index: int) -> Field:
    return Field.whole(node.below[index])


def broadcast(node: Node, index: int) -> Field:
    """Element by element, with axes of length 1 (a gate, an attention map) spread out."""
    below, above = node.below[index], node.shape
    if len(below) < 2 or len(above) < 2:
        return Field() if below == above else whole(node, index)
    return Field(
        *(
            IDENTITY if below[axis] == above[axis] else Window.whole(below[axis])
            for axis in (-2, -1)
        )
    )


def sum_to(node: Node, index: int, signal: Tensor) -> Tensor:
    """Undo broadcasting: sum the signal over the axes along which an input was spread out."""
    sizes = zip(node.below[index], node.shape, strict=True)
    axes = [a + 1 for a, (below, above) in enumerate(sizes) if below == 1 != above]
    return signal.sum(axes, keepdim=True) if axes else signal


def grid_axis(node: Node, axis: int, index: int = 0) -> int | None:
    """Which axis of the grid an axis of an input is, the batch counted: 0 rows, 1 columns, or
    None: channels, or whatever else comes before the rows."""
    rank = len(node.below[index]) + 1
    place = axis % rank - (rank - 2)
    return place if place >= 0 and rank > 2 else None


def across(node: Node, index: int, axes: Iterable[int]) -> Field:
    """All of some axes of an input, the batch counted; along the others, the same position."""
    mixed = {grid_axis(node, axis, index) for axis in axes} - {None}
    if mixed and len(node.shape) < len(node.below[index]):  # no grid is left
        return whole(node, index)
    reach = whole(node, index)
    return Field(*(reach.axes[a] if a in mixed else IDENTITY for a in (0, 1)))


def across_axis(node: Node, index: int) -> Field:
    """All of the axis that the node's settings name."""
    return across(node, index, (node.settings["axis"],))


def differentiate(
    node: Node, signal: Tensor, *at: Tensor, run: Callable[..., Tensor] | None = None
) -> tuple[Tensor, ...]:
    """The derivative of an operation at the point `at`, applied to the signal: one per input.

    A mask, and whatever else is no floating-point number, gets zeros.

    run : what to differentiate, by default the node's `forward`
    """
    with torch.inference_mode(False), torch.enable_grad():
        signal, *at_ = (t.clone() if t.is_inference() else t for t in (signal, *at))
        points = [t.detach().requires_grad_(t.is_floating_point()) for t in at_]
        value = (run or node.forward)(*points)
        moving = [t for t in points if t.requires_grad]
        below = iter(
            torch.autograd.grad(value, moving, signal.to(value.dtype), materialize_grads=True)
            if value.requires_grad
            else map(torch.zeros_like, moving)
        )
        return tuple(next(below) if t.requires_grad else signal.new_zeros(t.shape) for t in points)


def derivative(node: Node, signal: Tensor, saved: Saved) -> tuple[Tensor, ...]:
    """The operation's own derivative at the values of the forward pass, for each input."""
    return differentiate(node, signal, *(saved.input(i) for i in range(len(node.inputs))))


def no_signal(node: Node, signal: Tensor, saved: Saved) -> tuple[Tensor, ...]:
    """What is constant piece by piece, as a mask is, hands nothing down."""
    grid = signal.shape[2:] if node.pointwise else None  # in windows, those of the signal
    shapes = (below[:1] + grid if grid is not None else below for below in node.below)
    return tuple(signal.new_zeros((len(signal), *shape)) for shape in shapes)


def below_like(node: Node, signal: Tensor) -> Tensor:
    """Memory for the signal at a node's first input, (N, *below), not filled.

    Its channels lie innermost, as those of a forward pass do: a signal that is laid out otherwise
    than what it meets there takes several times as long.
    """
    maps = len(node.below[0]) == 3
    return torch.empty(
        (len(signal), *node.below[0]), dtype=signal.dtype, device=signal.device,
        memory_format=torch.channels_last if maps else torch.contiguous_format,
    )  # fmt: skip


def laid_out(node: Node) -> Tensor:
    """The filters as maps lie in a pass, channels innermost.

    They are kept: PyTorch would lay them out in every pass anew, which takes a tenth of ResNet-18's
    time for one image.
    """
    return node.derived("laid out", _laid_out)


def _laid_out(node: Node) -> Tensor:
    with torch.inference_mode(False):  # or autograd could not take them later
        return node.tensors["weight"].detach().contiguous(memory_format=torch.channels_last)


def linear_adjoint(node: Node, signal: Tensor, saved: Saved) -> tuple[Tensor, ...]:
    """The adjoint of an operation that is linear in its single input, whatever the point."""
    return differentiate(node, signal, below_like(node, signal).zero_())


def linear_adjoint_on_window(node: Node, signal: Tensor, saved: SavedWindows) -> tuple[Tensor, ...]:
    """The same in windows, by the operation's `on_window`."""
    size = patch_size(node, signal.shape)
    at = signal.new_zeros((signal.shape[0], node.below[0][0], *size))
    return differentiate(node, signal, at, run=node.forward_on_window)


def same(node: Node, value: Tensor) -> Tensor:
    return value


def same_adjoint(node: Node, signal: Tensor, saved: Saved) -> tuple[Tensor, ...]:
    return (signal,)


def arguments(bound: dict[str, Any]) -> dict[str, Any]:
    """A call's settings, so that `calling` can make it again: its numbers, and under "values" which
    arguments the network's values are, in order."""
    values: list[str] = []
    settings: dict[str, Any] = {}
    for key, given in bound.items():
        items = dict(_items(key, given))
        values += [place for place, item in items.items() if is_value(item)]
        if not any(is_value(item) or isinstance(item, Tensor) for item in items.values()):
            settings[key] = given
    return {**settings, "values": tuple(values)}


def calling(overload: Any) -> Callable[..., Tensor]:
    """The forward that calls an ATen overload as it was called, whatever its arguments.

    settings["item"] : of an operation with several results, which one
    """
    known = {argument.name for argument in overload._schema.arguments}

    def forward(node: Node, *values: Tensor, **changed: Any) -> Tensor:
        given = {key: value for key, value in node.settings.items() if key in known}
        tensors = {**node.tensors, **dict(zip(node.settings["values"], values, strict=True))}
        for place in sorted(tensors, key=_number):
            key, _, number = place.partition(".")
            if number:  # of a list
                given.setdefault(key, []).append(tensors[place])
            else:
                given[key] = tensors[key]
        result = overload(**given, **changed)
        return result[node.settings["item"]] if "item" in node.settings else result

    return forward


def is_value(item: Any) -> bool:
    """Whether an argument is a value that the network computes: a node of the exported graph."""
    return isinstance(item, torch.fx.Node)


def _items(key: str, given: Any) -> Iterable[tuple[str, Any]]:
    """An argument under its name, or each of a list of tensors under `name.number`."""
    if isinstance(given, (list, tuple)):
        return [(f"{key}.{i}", item) for i, item in enumerate(given)]
    return [(key, given)]


def _number(place: str) -> int:
    return int(place.partition(".")[2] or 0)


def same_everywhere(node: Node) -> bool:
    """Whether each stored tensor is the same at every position: a number, or one per channel."""
    return all(
        n == 1 or step == 0
        for tensor in node.tensors.values()
        for n, step in zip(tensor.shape[-2:], tensor.stride()[-2:], strict=True)
    )


# --- maps whose channels come last, (N, H, W, C) --------------------------------------------------

TO_FIRST = (0, 3, 1, 2)
"""Of each axis of (N, C, H, W): which one it is of (N, H, W, C)."""


def first_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """(H, W, C) as (C, H, W); anything without a grid as it is."""
    return (shape[2], shape[0], shape[1]) if len(shape) == 3 else shape


def elementwise_first(node: Node) -> Node | None:
    """`channels_first` of what is done number by number."""
    if any(len(shape) != 3 for shape in (node.shape, *node.below)):
        return None
    tensors = {key: _first(tensor) for key, tensor in node.tensors.items()}
    return replace(
        node,
        shape=first_shape(node.shape),
        below=tuple(map(first_shape, node.below)),
        tensors=tensors,
    )


def _first(tensor: Tensor) -> Tensor:
    """A view of what meets (N, H, W, C), to meet (N, C, H, W)."""
    if tensor.numel() <= 1:
        return tensor
    return tensor[(None,) * (4 - tensor.dim())].permute(TO_FIRST)


def axes_first(node: Node) -> Node | None:
    """`channels_first` of what works along the axes that its settings name."""
    rank = len(node.below[0])
    if rank != 3:
        return None
    places = [TO_FIRST.index(axis % 4) for axis in _axes(node)]
    if len(node.shape) != 3 and sorted(places) not in ([1], [2, 3]):  # which axes are left?
        return None
    key = "axes" if "axes" in node.settings else "axis"
    settings = {**node.settings, key: tuple(sorted(places)) if key == "axes" else places[0]}
    return replace(
        node,
        shape=first_shape(node.shape),
        below=tuple(map(first_shape, node.below)),
        settings=settings,
    )


def _axes(node: Node) -> tuple[int, ...]:
    s = node.settings
    return tuple(s["axes"]) if "axes" in s else (s["axis"],)
