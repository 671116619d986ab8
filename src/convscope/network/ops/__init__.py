"""The op table: what Convscope knows about each operation of a network.

An entry (`Op`) says, once, which ATen overloads spell an operation, how its settings are read,
which inputs each output reads (a `Field` per input), how it is computed, and how a signal crosses
it downward, over whole maps and on windows. An operation outside the table is refused by name
(`errors.UnsupportedOp`).

To add an operation, write an entry in the file of its family; receptive fields, traces, projections
and incremental occlusion then follow. CONTRIBUTING.md shows one.
"""

from __future__ import annotations

from typing import Any

from convscope.network.node import Op
from convscope.network.ops.activations import ACTIVATIONS
from convscope.network.ops.attention import ATTENTION
from convscope.network.ops.copying import COPY, COPYING
from convscope.network.ops.elementwise import ELEMENTWISE
from convscope.network.ops.filters import FILTERS
from convscope.network.ops.joining import JOINING
from convscope.network.ops.normalising import LRN, NORMALISING
from convscope.network.ops.padding import PADDING
from convscope.network.ops.picking import PICKING
from convscope.network.ops.pooling import POOLING
from convscope.network.ops.products import PRODUCTS
from convscope.network.ops.reducing import REDUCING
from convscope.network.ops.resampling import RESAMPLING
from convscope.network.ops.shaping import SHAPING
from convscope.network.ops.spreading import SPREADING
from convscope.network.ops.whole_maps import WHOLE_MAPS
from convscope.network.ops.writing import WRITING

__all__ = ["COPY", "LRN", "OPS", "op_of"]

OPS: tuple[Op, ...] = (
    *FILTERS,
    *NORMALISING,
    *POOLING,
    *RESAMPLING,
    *SPREADING,
    *REDUCING,
    *JOINING,
    *PRODUCTS,
    *SHAPING,
    *PADDING,
    *PICKING,
    *COPYING,
    *WHOLE_MAPS,
    *WRITING,
    *ACTIVATIONS,
    *ELEMENTWISE,
    *ATTENTION,
)
_BY_ATEN = {overload: op for op in OPS for overload in op.aten}


def op_of(overload: Any) -> Op | None:
    """The table's entry for an ATen overload, or None."""
    return _BY_ATEN.get(overload)
