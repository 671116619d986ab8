"""Networks that are made of PyTorch's own layers, one after another, are exported once a process.

`torch.export` takes a tenth of a second or more, and hundreds of tests open the same few
architectures. What is exported of a sequence depends on its layers' settings and the forms of its
tensors alone, so that it serves another one with the same: with its own tensors put in. Any other
module is exported each time.
"""

from __future__ import annotations

from collections.abc import Hashable
from functools import wraps
from types import SimpleNamespace
from typing import Any

import torch
from torch import nn

from convscope.network import from_export


def export_once() -> None:
    """From now on, in this process."""
    whole, known = from_export.export, {}

    @wraps(whole)
    def export(module: nn.Module, input_shape: tuple[int, int, int]) -> Any:
        key = _key(module, input_shape)
        if key is None:
            return whole(module, input_shape)
        if key not in known:
            program = whole(module, input_shape)
            if program.constants or set(program.state_dict) != set(_tensors(module)):
                return program
            known[key] = {
                "graph": program.graph,
                "graph_signature": program.graph_signature,
                "call_spec": program.call_spec,
            }
        return SimpleNamespace(**known[key], constants={}, state_dict=_tensors(module))

    from_export.export = export


def _key(module: nn.Module, input_shape: tuple[int, int, int]) -> Hashable | None:
    """What the export depends on; None of a module that is more than a sequence of layers."""
    parts, tensors = [], _tensors(module)
    if not isinstance(module, nn.Sequential):
        return None
    for name, part in module.named_modules(remove_duplicate=False):
        kind = type(part)
        stock = kind.__module__.startswith("torch.nn.modules.")
        if kind.forward is not nn.Sequential.forward and not stock:
            return None
        if "forward" in vars(part) or part._forward_hooks or part._forward_pre_hooks:
            return None
        given = {k: v for k, v in vars(part).items() if k[0] != "_" and k != "training"}
        parts.append((name, kind, part._parameters.keys(), repr(given)))
    forms = [(n, t.shape, t.dtype, t.device, t.stride(), type(t)) for n, t in tensors.items()]
    ids = [id(tensor) for tensor in tensors.values()]
    shared = [ids.index(each) for each in ids]
    mixed = torch.get_default_dtype(), torch.are_deterministic_algorithms_enabled()
    return repr((input_shape, parts, forms, shared, mixed))


def _tensors(module: nn.Module) -> dict[str, torch.Tensor]:
    """Parameters and buffers by the names that an export gives them, as they are."""
    named = dict(module.named_parameters(remove_duplicate=False))
    return {**named, **dict(module.named_buffers(remove_duplicate=False))}
