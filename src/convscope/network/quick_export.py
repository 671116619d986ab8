"""torch.export in little more than half the time, of the same graph.

With a batch of any size, torch works out the shape of a rectifier or of a batch norm by running its
Python decomposition over symbols, and writes Python code for every graph that it goes through. Both
are spared here, by settings of torch's own that are not public: where a torch lacks one, it is left
as it is.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["quick_export"]

aten = torch.ops.aten

SMALL = 40
"""Modules: in a network of more, operations recur, and it pays to keep what torch works out of the
shapes of each; in a smaller one keeping takes a sixth of the time."""
POINTWISE = (
    aten.relu.default, aten.sigmoid.default, aten.tanh.default, aten.silu.default,
    aten.gelu.default, aten.hardtanh.default, aten.hardswish.default, aten.hardsigmoid.default,
    aten.leaky_relu.default, aten.elu.default,
)  # fmt: skip
"""Functions of single numbers: the result has the shape and the type of what they are given."""
IN_PLACE = (
    aten.relu_.default, aten.sigmoid_.default, aten.silu_.default, aten.hardtanh_.default,
    aten.hardswish_.default, aten.hardsigmoid_.default, aten.leaky_relu_.default, aten.elu_.default,
)  # fmt: skip
"""The same, written over what they are given."""
FORMS = (torch.contiguous_format, torch.channels_last)

_ONE = threading.RLock()
"""The settings are the whole process's: one thread at a time."""


@contextmanager
def quick_export(module: nn.Module) -> Iterator[None]:
    """What torch.export does inside takes less time.

    Args:
        module: What is exported.
    """
    small = sum(1 for _ in module.modules()) <= SMALL
    with _ONE, ExitStack() as settings:
        with suppress(ImportError, AttributeError):
            from torch.fx._lazy_graph_module import _use_lazy_graph_module

            settings.enter_context(_use_lazy_graph_module(True))
        with suppress(ImportError, AttributeError):
            from torch._dynamo import config

            if small:
                settings.enter_context(config.patch(fake_tensor_cache_enabled=False))
        with suppress(ImportError, AttributeError):
            settings.enter_context(_quick_shapes())
        yield


@contextmanager
def _quick_shapes() -> Iterator[None]:
    """The shapes of these are said at once, and those of what else looks unusual as before."""
    from torch._subclasses.fake_impls import get_fast_op_impls

    table: dict[Any, Callable[..., Any]] = get_fast_op_impls()
    quick = {
        **{op: _else_taken_apart(op, _of_pointwise) for op in POINTWISE},
        **dict.fromkeys(IN_PLACE, lambda mode, x, *args, **named: x),
        aten._native_batch_norm_legit_no_training.default: _else_taken_apart(
            aten._native_batch_norm_legit_no_training.default, _of_batch_norm
        ),
        aten.addmm.default: _else_taken_apart(aten.addmm.default, _of_dense),
    }
    new = {op: rule for op, rule in quick.items() if op not in table}
    table.update(new)
    try:
        yield
    finally:
        for op in new:
            table.pop(op, None)


def _else_taken_apart(op: Any, rule: Callable[..., Any]) -> Callable[..., Any]:
    """The rule; torch's own decomposition where the rule does not know."""
    from torch._decomp import decomposition_table

    def shape(mode: Any, *args: Any, **named: Any) -> Any:
        found = rule(mode, *args, **named)
        if found is not None:
            return found
        with mode:
            return decomposition_table[op](*args, **named)

    return shape


def _of_pointwise(mode: Any, x: Tensor, *args: Any, **named: Any) -> Any:
    return _like(mode, x) if x.is_floating_point() else None


def _of_batch_norm(mode: Any, x: Tensor, *args: Any, **named: Any) -> Any:
    """The result, and the image's own statistics, which are empty at test time."""
    found = _like(mode, x) if x.dtype in (torch.float32, torch.float64) else None
    return None if found is None else (found, *(_fake(mode, x, (0,), (1,)) for _ in range(2)))


def _of_dense(mode: Any, bias: Tensor, x: Tensor, weight: Tensor, **named: Any) -> Any:
    fits = not named and bias.shape == weight.shape[1:] and x.shape[1:] == weight.shape[:1]
    alike = bias.dtype == x.dtype == weight.dtype and bias.device == x.device == weight.device
    if not (fits and alike):
        return None
    shape = x.shape[0], weight.shape[1]
    return _fake(mode, x, shape, (shape[1], 1))


def _like(mode: Any, x: Tensor) -> Any:
    """One that lies in memory as x does, where there is one way to tell that."""
    from torch._prims_common import is_contiguous_for_memory_format_or_false as lies

    plain = sum(lies(x, memory_format=form) for form in FORMS) == 1
    return _fake(mode, x, x.shape, x.stride()) if plain else None


def _fake(mode: Any, x: Tensor, shape: Any, strides: Any) -> Any:
    from torch._subclasses.fake_tensor import FakeTensor

    empty = torch.empty_strided(shape, strides, dtype=x.dtype, device="meta")
    return FakeTensor(mode, empty, device=x.device)
