"""Op table: many values to one, along some axes: sums, extremes, deviations, norms."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from torch import Tensor

from convscope.geometry.window import Field
from convscope.network.node import Node, Op
from convscope.network.ops.shared import (
    across,
    arguments,
    aten,
    axes_first,
    calling,
    derivative,
    linear_adjoint,
    linear_adjoint_on_window,
    no_signal,
)

__all__ = ["REDUCING"]


def _read(bound: dict[str, Any]) -> dict[str, Any]:
    """axes : those that are reduced, the batch counted."""
    rank, axes = bound["self"].meta["val"].dim(), bound.pop("dim")
    axes = (axes,) if isinstance(axes, int) else axes or range(rank)
    axes = tuple(sorted(axis % rank for axis in axes))
    if 0 in axes:
        raise NotImplementedError("mixes the images of a batch")
    return {**arguments(bound), "axes": axes}


def _forward(overload: Any) -> Callable[[Node, Tensor], Tensor]:
    call = calling(overload)
    one = any(a.name == "dim" and str(a.type) in ONE_AXIS for a in overload._schema.arguments)

    def forward(node: Node, value: Tensor) -> Tensor:
        axes = node.settings["axes"]
        return call(node, value, dim=axes[0] if one else axes)

    return forward


def _field(node: Node, index: int) -> Field:
    return across(node, index, node.settings["axes"])


def _by_position(node: Node) -> bool:
    """Whether it reduces channels alone."""
    return _field(node, 0) == Field()


def _rows(kind: str, *overloads: Any, **what: Any) -> Iterator[Op]:
    for overload in overloads:
        forward = _forward(overload)
        yield Op(
            kind, (overload,), forward, field=_field, read=_read, channels_first=axes_first, **what
        )


def _linear(kind: str, *overloads: Any) -> Iterator[Op]:
    for row in _rows(kind, *overloads, adjoint=linear_adjoint, windowable=_by_position):
        on_windows: dict[str, Any] = {
            "on_window": row.forward,
            "adjoint_on_window": linear_adjoint_on_window,
        }
        yield replace(row, stays_inside=True, **on_windows)


ONE_AXIS = ("int", "Optional[int]")
_CURVED: dict[str, Any] = {
    "adjoint": derivative,
    "adjoint_looks": lambda node: True,
    "pointwise": True,
}

REDUCING: tuple[Op, ...] = (
    *_linear("sum", aten.sum.dim_IntList),
    *_linear("cumsum", aten.cumsum.default),
    *_rows("amax", aten.amax.default, aten.max.dim, **_CURVED),
    *_rows("amin", aten.amin.default, aten.min.dim, **_CURVED),
    *_rows("var", aten.var.dim, aten.var.correction, **_CURVED),
    *_rows("std", aten.std.dim, aten.std.correction, **_CURVED),
    *_rows("var_mean", aten.var_mean.dim, aten.var_mean.correction, **_CURVED),
    *_rows("std_mean", aten.std_mean.dim, aten.std_mean.correction, **_CURVED),
    *_rows("logsumexp", aten.logsumexp.default, **_CURVED),
    *_rows("prod", aten.prod.dim_int, **_CURVED),
    *_rows("norm", aten.linalg_vector_norm.default, aten.norm.ScalarOpt_dim, **_CURVED),
    *_rows("argmax", aten.argmax.default, adjoint=no_signal, pointwise=True),
    *_rows("argmin", aten.argmin.default, adjoint=no_signal, pointwise=True),
)
