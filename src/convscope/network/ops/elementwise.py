"""Op table: functions of single numbers, from one list of their ATen names.

Each is computed by torch and differentiated by autograd, whatever its arguments are: values of the
network, stored tensors, numbers. What a method does at them follows from the list they stand in.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from convscope.network.node import Op
from convscope.network.ops.shared import (
    arguments,
    aten,
    broadcast,
    calling,
    derivative,
    elementwise_first,
    no_signal,
    same_everywhere,
)

__all__ = ["ELEMENTWISE", "RECTIFIERS", "overloads"]

RECTIFIERS = ("celu", "prelu", "rrelu", "selu", "softplus", "threshold")
"""Activations that let positive values pass: a method decides, as it does at a relu."""
ACTIVATIONS = ("hardshrink", "log_sigmoid", "softshrink")
"""Activations that do not. At these, and at all the following, every method takes the
derivative."""
FUNCTIONS = (
    "abs", "acos", "acosh", "addcdiv", "addcmul", "asin", "asinh", "atan", "atan2", "atanh",
    "clamp", "clamp_max", "clamp_min", "copysign", "cos", "cosh", "deg2rad", "digamma", "erf",
    "erfc", "erfinv", "exp", "exp2", "expm1", "float_power", "fmax", "fmin", "frac", "hypot", "i0",
    "lerp", "lgamma", "log", "log10", "log1p", "log2", "logaddexp", "logaddexp2", "logit",
    "masked_fill", "maximum", "minimum", "nan_to_num", "neg", "positive", "pow", "rad2deg",
    "reciprocal", "rsqrt", "sgn", "sin", "sinc", "sinh", "special_entr",
    "special_erfcx", "special_i0e", "special_log_ndtr", "special_ndtr", "special_xlog1py", "sqrt",
    "square", "tan",
    "where", "xlogy",
)  # fmt: skip
STEPS = ("ceil", "fix", "floor", "floor_divide", "heaviside", "round", "sign", "trunc")
"""Constant but for jumps: nothing goes down."""
MASKS = (
    "bitwise_and", "bitwise_not", "bitwise_or", "bitwise_xor", "eq", "ge", "gt", "isfinite",
    "isinf", "isnan", "le", "logical_and", "logical_not", "logical_or", "logical_xor", "lt", "ne",
    "signbit",
)  # fmt: skip
"""Yes or no: nothing goes down. In place they would be numbers, so they are not read so."""
OTHER_NAMES = {
    "absolute": "abs", "arccos": "acos", "arcsin": "asin", "arctan": "atan", "clip": "clamp",
    "greater": "gt", "greater_equal": "ge", "less": "lt", "less_equal": "le",
    "negative": "neg", "not_equal": "ne", "special_erf": "erf", "special_erfc": "erfc",
    "special_exp2": "exp2", "special_expm1": "expm1",
    "special_log1p": "log1p", "special_logit": "logit", "special_round": "round",
    "special_sinc": "sinc", "special_xlogy": "xlogy",
}  # fmt: skip
"""A second name of ATen -> the first, which is the kind."""


def overloads(name: str) -> Iterator[tuple[Any, tuple[Any, ...]]]:
    """Each way to call an ATen operation that makes one new tensor, and what else spells it: the
    same call in place."""
    in_place = {_signature(twin): twin for twin in _all(f"{name}_")}
    for overload in _all(name):
        schema = overload._schema
        if [str(result.type) for result in schema.returns] == ["Tensor"] and not schema.is_mutable:
            twin = in_place.get(_signature(overload))
            yield overload, (overload,) if twin is None else (overload, twin)


def _all(name: str) -> Iterator[Any]:
    packet = getattr(aten, name, None)
    return (getattr(packet, which) for which in (packet.overloads() if packet else ()))


def _signature(overload: Any) -> tuple[tuple[str, str], ...]:
    return tuple((each.name, str(each.type)) for each in overload._schema.arguments)


def _read(bound: dict[str, Any]) -> dict[str, Any]:
    if bound.get("training"):
        raise NotImplementedError("draws at random at test time too (say training=self.training)")
    return arguments(bound)


def _rows(names: Iterable[str], **what: Any) -> Iterator[Op]:
    kinds = {name: name for name in names}
    kinds.update({other: kind for other, kind in OTHER_NAMES.items() if kind in kinds})
    for name, kind in kinds.items():
        for overload, spellings in overloads(name):
            yield Op(kind, spellings, calling(overload), field=broadcast, read=_read, **what)


def _of_two(name: str) -> Op:
    """max(a, b) and min(a, b), the greater and the smaller of two values."""
    overload = getattr(aten, name).other
    kind = {"max": "maximum", "min": "minimum"}[name]
    return Op(kind, (overload,), calling(overload), derivative, broadcast, _read)


_DERIVATIVE: dict[str, Any] = {"adjoint": derivative, "adjoint_looks": lambda node: True}

ELEMENTWISE: tuple[Op, ...] = tuple(
    replace(
        op,
        pointwise=True,
        elementwise=True,
        windowable=same_everywhere if op.kind != "prelu" else lambda node: True,
        channels_first=elementwise_first if op.kind != "prelu" else None,
        spells=not op.activation or op.kind in ("celu", "threshold"),
    )
    for op in (
        *_rows(RECTIFIERS, activation=True),
        *_rows(ACTIVATIONS, activation=True, **_DERIVATIVE),
        *_rows(FUNCTIONS, **_DERIVATIVE),
        *(replace(_of_two(name), **_DERIVATIVE) for name in ("max", "min")),
        *_rows(STEPS, adjoint=no_signal),
        *(replace(row, aten=row.aten[:1]) for row in _rows(MASKS, adjoint=no_signal)),
    )
)
