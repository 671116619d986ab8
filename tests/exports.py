"""Networks of the same classes and settings are exported once in a process.

`torch.export` takes a tenth of a second or more, and hundreds of tests open the same few
architectures. What is exported of a module depends on the classes and settings of its parts and on
the forms of its tensors alone, so that it serves another one with the same: with its own tensors
put in. A module that holds anything else, such as tensors of its own, is exported each time. Of
each export, sympy solves the same inequalities for the size of the batch: those are solved once.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from functools import cache, wraps
from types import FunctionType, SimpleNamespace
from typing import Any

import torch
from sympy import Symbol
from sympy.solvers import inequalities
from torch import nn

from convscope.network import from_export

EMPTY = set(vars(nn.Module()))
"""What every module has beside its settings."""


def export_once() -> None:
    """From now on, in this process."""
    real, known = from_export.export, {}
    inequalities.reduce_inequalities = _solving_once(inequalities.reduce_inequalities)

    @wraps(real)
    def export(module: nn.Module, input_shape: tuple[int, int, int]) -> Any:
        key = _key(module, input_shape)
        if key is None:
            return real(module, input_shape)
        if key not in known:
            program = real(module, input_shape)
            if program.constants or set(program.state_dict) != set(_tensors(module)):
                return program
            known[key] = {
                "graph": program.graph,
                "graph_signature": program.graph_signature,
                "call_spec": program.call_spec,
            }
        return SimpleNamespace(**known[key], constants={}, state_dict=_tensors(module))

    from_export.export = export


def _solving_once(real: Callable[..., Any]) -> Callable[..., Any]:
    """The same, of a set of inequalities in one unknown as torch asks."""
    solved = cache(real)

    @wraps(real)
    def solve(given: Any, symbols: Any = ()) -> Any:
        if isinstance(given, set) and isinstance(symbols, Symbol):
            return solved(frozenset(given), symbols)
        return real(given, symbols)

    return solve


def _key(module: nn.Module, input_shape: tuple[int, int, int]) -> Hashable | None:
    """What the export depends on; None of a module that has more than classes and settings."""
    parts, tensors = [], _tensors(module)
    modules = dict(module.named_modules(remove_duplicate=False))
    for name, part in modules.items():
        kind = type(part)
        stock = kind.__module__.startswith("torch.nn.modules.")
        given = {key: value for key, value in vars(part).items() if key not in EMPTY}
        sequence = kind.forward is nn.Sequential.forward  # which reads nothing but its parts
        settings = "" if sequence else repr(given) if stock else _settings(given)
        hooked = part._forward_hooks or part._forward_pre_hooks or "forward" in given
        if hooked or settings is None:
            return None
        parts.append((name, kind, kind.forward, tuple(part._parameters), settings))
    forms = [(n, t.shape, t.dtype, t.device, t.stride(), type(t)) for n, t in tensors.items()]
    shared = _shared(tensors.values()), _shared(modules.values())
    mixed = torch.get_default_dtype(), torch.are_deterministic_algorithms_enabled()
    return input_shape, tuple(parts), repr((forms, shared, mixed))


def _settings(value: Any) -> Hashable | None:
    """What tells one setting from another; None if it is no number, word, class or code."""
    if isinstance(value, dict):
        return _settings(list(value.items()))
    if isinstance(value, (tuple, list)):
        each = tuple(map(_settings, value))
        return None if None in each else (type(value), each)
    if isinstance(value, FunctionType):
        more = value.__closure__ or value.__defaults__ or value.__kwdefaults__
        return None if more else (value.__module__, value.__code__)
    if isinstance(value, type):
        return value
    return repr(value) if type(value) in (int, float, str, bool, type(None)) else None


def _shared(values: Iterable[object]) -> list[int]:
    """The place of each, or of the first that is the same."""
    ids = [id(each) for each in values]
    return [ids.index(each) for each in ids]


def _tensors(module: nn.Module) -> dict[str, torch.Tensor]:
    """Parameters and buffers by the names that an export gives them, as they are."""
    named = dict(module.named_parameters(remove_duplicate=False))
    return {**named, **dict(module.named_buffers(remove_duplicate=False))}
