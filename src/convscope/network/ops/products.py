"""Op table: products of values that sum over axes, such as attention."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from convscope.network.node import Op
from convscope.network.ops.shared import arguments, aten, calling, derivative, is_value, whole

__all__ = ["PRODUCTS"]


def _read_einsum(bound: dict[str, Any]) -> dict[str, Any]:
    """The batch must go through: the first letter of each value and of the result, and no other."""
    equation = bound["equation"].replace(" ", "").replace("...", "@")
    operands, _, result = equation.partition("->")
    letters = [
        letter
        for letter, tensor in zip(operands.split(","), bound["tensors"], strict=True)
        if is_value(tensor)
    ]
    first = {text[:1] for text in (*letters, result)}
    if len(first) != 1 or first == {""} or any(first <= set(text[1:]) for text in letters):
        raise NotImplementedError("mixes the images of a batch, or does not say that it does not")
    return arguments(bound)


def _rows(kind: str, *overloads: Any, read: Any = arguments) -> Iterator[Op]:
    for overload in overloads:
        forward = calling(overload)
        yield Op(
            kind, (overload,), forward, derivative, whole, read, adjoint_looks=lambda node: True
        )


PRODUCTS: tuple[Op, ...] = (
    *_rows("matmul", aten.matmul.default, aten.bmm.default),
    *_rows("baddbmm", aten.baddbmm.default),
    *_rows("einsum", aten.einsum.default, read=_read_einsum),
)
