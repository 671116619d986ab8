"""Activations written out: `x * torch.sigmoid(x)` is read as the silu that it computes.

A method's rules go by the kind of a node, so a spelling that stays what it is written with (a gate,
a product) would be given another picture than the activation's own module. A region of elementwise
nodes that reads one value is a function of one number, however it is written: it is told by what it
computes. Its nodes become one node of that activation's kind.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from convscope.network.node import Node, Op
from convscope.network.ops import OPS

__all__ = ["read_spellings"]

_BY_KIND = {op.kind: op for op in OPS}

LONGEST = 16
"""Nodes of the longest spelling that is looked for."""
EXACT, NEAR = 1e-7, 1e-3
"""How far a spelling may be from the activation, per 1 + |x|. One that writes 1/6 as 0.1667 is
near: it is of that kind, but its values are computed as they are written."""
NO_BEND = 1e-2
"""What is so near to x itself, per 1 + |x|, bends nowhere: `variance + eps` is no leaky_relu."""
_POINTS = torch.cat(
    [torch.linspace(-12, 12, 193), torch.tensor([-1e6, -1e3, -50.0, 50.0, 1e3, 1e6])]
).double()
_LEARNED = (0.37, 0.61)
"""Stand for a learned number: what is read must not depend on its present value."""

Function = Callable[[float], float]


@dataclass(frozen=True)
class _Row:
    """An activation that may be written out.

    Attributes:
        kind: The kind of the activation's own row in the op table.
        settings: From a function of one number to the settings that the activation would need;
            None if there are none. Whether the function is that activation is tried afterwards.
        exactly: Whether nothing is read so that is only near it, or that learned numbers change.
    """

    kind: str
    settings: Callable[[Function], dict[str, Any] | None] = lambda f: {}
    exactly: bool = False


def _beta(f: Function) -> dict[str, Any] | None:
    """x * sigmoid(beta * x) at 1 is sigmoid(beta)."""
    share = f(1.0)
    if not 0.5 < share < 1:
        return None
    beta = math.log(share / (1 - share))
    return {} if abs(beta - 1) < 1e-9 else {"beta": beta}


def _slope(f: Function) -> dict[str, Any] | None:
    slope = -f(-1.0)
    return {"slope": slope} if 0 < slope < 1 else None


def _alpha(f: Function) -> dict[str, Any] | None:
    alpha = -f(-50.0)
    return {"alpha": alpha} if alpha > 0 else None


def _ends(f: Function) -> dict[str, Any] | None:
    low, high = f(-1e6), f(1e6)
    return {"low": low, "high": high} if -1e5 < low < high < 1e5 else None


_ROWS = (
    _Row("relu", exactly=True),  # its rules and shortcuts know no other relu
    _Row("hardsigmoid"),
    _Row("hardswish"),
    _Row("gelu", lambda f: {"approximate": "none"}),
    _Row("gelu", lambda f: {"approximate": "tanh"}),
    _Row("mish"),
    _Row("silu", _beta),
    _Row("leaky_relu", _slope),
    _Row("elu", _alpha),
    _Row("hardtanh", _ends),
)


def read_spellings(
    drafts: Mapping[str, Node],
    kept: set[str],
    learned: Callable[[Tensor], bool],
    masks: Container[str] = (),
) -> dict[str, Node]:
    """Replace every activation that is written out by one node, under its last node's name.

    Args:
        drafts: The nodes by name, in order of execution.
        kept: Nodes that must stay, as outputs do.
        learned: Whether a tensor may come to hold other numbers.
        masks: Nodes whose values are no fractions: whether something holds, or whole numbers.
    """
    nodes = dict(drafts)
    readers: dict[str, set[str]] = {name: set() for name in nodes}
    for node in nodes.values():
        for below in node.inputs:
            readers.setdefault(below, set()).add(node.name)
    for root in reversed(list(nodes)):
        if root in nodes and _may_end(nodes[root].op):
            regions = _regions(nodes, root, readers, kept)
            parts, joined = _largest((r for r in regions if r[0] not in masks), learned)
            for part in parts:
                del nodes[part.name]
            if joined is not None:
                nodes[root] = joined
    return {name: nodes[name] for name in drafts if name in nodes}


def _largest(
    regions: Iterable[tuple[str, list[Node]]], learned: Callable[[Tensor], bool]
) -> tuple[list[Node], Node | None]:
    """The largest region that is an activation, and the node it becomes.

    One that takes in a whole activation below is two after each other, and stays two.
    """
    largest: tuple[list[Node], Node | None] = [], None
    for source, parts in regions:
        more = parts[: len(parts) - len(largest[0])]
        if largest[1] is not None and any(part.op.activation for part in more):
            break
        if (node := _read(source, parts, learned)) is not None:
            largest = parts, node
    return largest


def _regions(
    nodes: Mapping[str, Node], root: str, readers: Mapping[str, set[str]], kept: set[str]
) -> Iterator[tuple[str, list[Node]]]:
    """(value that is read, nodes in order): regions that end in a node, smallest first.

    Nothing else reads what lies inside of one.
    """
    place = {name: i for i, name in enumerate(nodes)}
    inside = {root}
    latest, frontier = root, set[str]()
    while len(inside) <= LONGEST:
        node = nodes[latest]
        if any(below != node.shape for below in node.below) or _spatial(node):
            return
        frontier |= set(node.inputs)
        if len(frontier) == 1:
            yield next(iter(frontier)), [nodes[n] for n in sorted(inside, key=place.__getitem__)]
        latest = max(frontier, key=lambda name: place.get(name, -1))
        if latest not in nodes or latest in kept or not _may_be_inside(nodes[latest].op):
            return
        if not readers[latest] <= inside:
            return
        frontier.remove(latest)
        inside.add(latest)


def _may_end(op: Op) -> bool:
    """Whether it may be the last operation of an activation that is written out."""
    return op.spells or op.arithmetic


def _may_be_inside(op: Op) -> bool:
    """Whether it may be any other."""
    return _may_end(op) or op.identity or (op.activation and op.elementwise)


def _spatial(node: Node) -> bool:
    """Whether it meets with stored numbers that differ along rows or columns."""
    tensors = map(_as_number, node.tensors.values())
    return len(node.shape) > 1 and any(
        t.numel() > 1 and (t.dim() < 3 or t.shape[-2:].numel() > 1) for t in tensors
    )


def _as_number(tensor: Tensor) -> Tensor:
    """A stored tensor, or the one number of one that is the same everywhere."""
    alike = all(n == 1 or step == 0 for n, step in zip(tensor.shape, tensor.stride(), strict=True))
    if tensor.numel() > 1 and alike:
        return tensor[(0,) * tensor.dim()]
    return tensor


def _read(source: str, parts: Sequence[Node], learned: Callable[[Tensor], bool]) -> Node | None:
    """The region as one node, if it computes one of the table's activations.

    One that rounds to another type of numbers on the way is computed as it is written.
    """
    tensors = {
        f"{i}.{key}": _as_number(tensor)
        for i, part in enumerate(parts)
        for key, tensor in part.tensors.items()
    }
    changing = {key: t for key, t in tensors.items() if t.numel() > 1 or learned(t)}
    run = _written(source, parts)
    fixed = {
        key: t.detach().cpu().double().reshape(()) if t.numel() else t.cpu()
        for key, t in tensors.items()
        if key not in changing
    }
    whole = replace(
        parts[-1],
        op=Op("written", (), run),
        inputs=(source,),
        below=(parts[-1].shape,),
        settings={"written": _words(parts)},
        tensors=tensors,
    )

    def at(number: float) -> Node:
        return replace(
            whole, tensors={**fixed, **{k: torch.tensor(number).double() for k in changing}}
        )

    points = torch.cat([_POINTS, _bends(parts, fixed.values())])
    variants = [at(number) for number in _LEARNED] if changing else [at(0.0)]
    rounds = any(part.op.casts and not part.settings["counts"] for part in parts)
    for tolerance in (EXACT, NEAR):
        as_written = bool(changing) or rounds or tolerance is NEAR
        for row in _ROWS:
            if as_written and row.exactly:
                continue
            limit = 0.0 if row.exactly else tolerance
            like = [node for variant in variants if (node := _like(variant, row, points, limit))]
            if len(like) == len(variants):
                op = replace(_BY_KIND[row.kind], forward=run, in_place=None)
                return replace(whole, op=op) if as_written else replace(like[0], tensors={})
    return None


def _like(node: Node, row: _Row, points: Tensor, tolerance: float) -> Node | None:
    """The activation of that row, with the settings it needs to be the same function."""
    values = node.forward(points)
    if not values.is_floating_point() or not torch.isfinite(values).all():
        return None
    if float(((values - points).abs() / (1 + points.abs())).max()) <= NO_BEND:
        return None
    settings = row.settings(lambda x: float(node.forward(torch.tensor([x]).double())))
    if settings is None:
        return None
    named = replace(node, op=_BY_KIND[row.kind], settings=settings)
    off = (named.forward(points) - values).abs() / (1 + points.abs())
    return named if float(off.max()) <= tolerance else None


def _bends(parts: Sequence[Node], stored: Iterable[Tensor]) -> Tensor:
    """Points at and beside every number that is written, where a function may bend or jump."""
    written = (value for part in parts for value in part.settings.values())
    numbers = [float(value) for value in written if isinstance(value, (int, float))]
    numbers += [float(tensor) for tensor in stored if tensor.numel() == 1]
    at = torch.tensor(numbers).double()
    return torch.cat([at * side for size in (1, 1 - 1e-3, 1 + 1e-3) for side in (size, -size)])


def _written(source: str, parts: Sequence[Node]) -> Callable[..., Tensor]:
    """The forward of one node that computes the parts one after the other."""

    def forward(node: Node, value: Tensor) -> Tensor:
        values = {source: value}
        for i, part in enumerate(parts):
            own = {key: node.tensors[f"{i}.{key}"] for key in part.tensors}
            inputs = (values[name] for name in part.inputs)
            values[part.name] = replace(part, tensors=own).forward(*inputs)
        return values[parts[-1].name]

    return forward


def _words(parts: Sequence[Node]) -> str:
    """What is written, whatever the nodes are called."""
    number = {part.name: i for i, part in enumerate(parts)}
    return "; ".join(
        f"{part.kind} {sorted(part.settings.items())} {[number.get(n, 'x') for n in part.inputs]}"
        for part in parts
    )
