"""Op table: values written into a part of others, `x[:, :3] = y`.

Such a write is read as PyTorch's own functional form of it (`network/export.py`): a new value, of
what was there before and of what is put into it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch import Tensor

from convscope.geometry.window import Field
from convscope.network.node import Node, Op, Saved
from convscope.network.ops.shared import (
    across,
    arguments,
    aten,
    broadcast,
    calling,
    differentiate,
    no_signal,
    whole,
)


def _read_part(bound: dict[str, Any]) -> dict[str, Any]:
    base = bound["self"]
    rank = (base if isinstance(base, Tensor) else base.meta["val"]).dim()
    if bound["dim"] % rank == 0 and not _is_everything(bound):
        raise NotImplementedError("writes into some of the images of a batch")
    return arguments(bound)


def _is_everything(bound: dict[str, Any]) -> bool:
    """Whether a range takes in all images, however many there are."""
    return (
        "index" not in bound
        and not bound["start"]
        and bound["step"] == 1
        and (bound["end"] is None or bound["end"] > 2**31)
    )


def _written(overload: Any) -> Any:
    """The forward of a write; a stored tensor has a row for each image, as the values have."""
    run = calling(overload)

    def forward(node: Node, *values: Tensor) -> Tensor:
        rows = {key: t.expand(len(values[0]), *t.shape[1:]) for key, t in node.tensors.items()}
        return run(replace(node, tensors=rows), *values)

    return forward


def _read_copy(bound: dict[str, Any]) -> dict[str, Any]:
    types = {(t if isinstance(t, Tensor) else t.meta["val"]).dtype
             for t in (bound["self"], bound["src"])}  # fmt: skip
    if len(types) > 1:
        raise NotImplementedError("writes over numbers of another type")
    return arguments(bound)


def _copy(node: Node, *values: Tensor) -> Tensor:
    """What is put there; of what was there before, only the shape counts."""
    part = {**node.tensors, **dict(zip(node.settings["values"], values, strict=True))}["src"]
    return part.expand(len(values[0]), *node.shape)


def _back(node: Node, signal: Tensor, saved: Saved) -> tuple[Tensor, ...]:
    """Each takes what it gave; nothing goes to what was written over."""
    grid = signal.shape[2:] if node.pointwise else None  # in windows, those of the signal
    shapes = (below[:1] + grid if grid is not None else below for below in node.below)
    at = (signal.new_zeros((len(signal), *shape)) for shape in shapes)
    return differentiate(node, signal, *at)


def _part_field(node: Node, index: int) -> Field:
    """What was there before stays where it was; the part may be put elsewhere."""
    if node.settings["values"][index] == "self":
        return Field()
    if len(node.below[index]) < len(node.shape):
        return whole(node, index)
    return across(node, index, (node.settings["dim"],))


WRITING: tuple[Op, ...] = (
    *(
        Op(str(overload).split(".")[1], (overload,), _written(overload), _back, _part_field,
           _read_part, pointwise=True, windowable=lambda node: not node.tensors)
        for overload in (aten.slice_scatter.default, aten.select_scatter.default)
    ),
    Op("copy", (aten.copy.default,), _copy, _back, broadcast, _read_copy),
    *(
        Op("fill", (overload,), calling(overload), no_signal, broadcast, arguments)
        for overload in (aten.fill.Tensor, aten.fill.Scalar, aten.zero.default)
    ),
)  # fmt: skip
