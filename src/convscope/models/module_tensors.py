"""The tensors of a module that a user's own code made: which there are, and which can be used.

Convscope computes with dense tensors of plain numbers that lie in memory. What else a module may
hold, such as quantised or sparse weights, is refused by the name that the module gives it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from convscope.errors import BadModel

__all__ = ["check_tensors", "state_of"]

PLAIN = "give the network with plain dense weights"


def state_of(module: nn.Module) -> dict[str, Tensor]:
    """A module's parameters and buffers by name, without the other things that a layer may keep."""
    return {name: t for name, t in module.state_dict().items() if isinstance(t, Tensor)}


def check_tensors(spec: str, module: nn.Module) -> None:
    """Refuse tensors that have no values, and those that Convscope does not compute with.

    Args:
        spec: the module, for messages.
        module: of a user's own code.

    Raises:
        BadModel: one is on the meta device, belongs to a lazy layer that never ran, is sparse,
            quantised, nested or of a class of its own; or a weight or bias holds numbers that are
            no floating-point ones.
    """
    for name, tensor in (*module.named_parameters(), *module.named_buffers()):
        if why := _why_not(tensor) or _why_no_weight(name, tensor):
            raise BadModel(f"{spec}: {name} {why}")
    for name, value in module.state_dict().items():
        if not isinstance(value, Tensor) and "_packed_params" in name:
            layer = name.partition("._packed_params")[0]
            raise BadModel(f"{spec}: layer {layer} is quantised: give the network before that")
        if isinstance(value, Tensor) and (why := _why_not(value)):
            raise BadModel(f"{spec}: {name} {why}")


def _why_not(tensor: Tensor) -> str | None:
    """What is wrong with a tensor, and what to do; None where it is a plain one."""
    if nn.parameter.is_lazy(tensor):
        return "has no shape yet: run its lazy layer once in the factory"
    if tensor.is_meta:
        return "is on the meta device, without values: build it on cpu"
    if tensor.is_quantized:
        return "is quantised: give the network before that"
    if tensor.is_nested:
        return f"is a nested tensor: {PLAIN}"
    if tensor.layout is not torch.strided:
        return f"is sparse: {PLAIN}"
    if type(tensor).__torch_dispatch__ is not Tensor.__torch_dispatch__:
        return f"is a {type(tensor).__name__}, no plain tensor: {PLAIN}"
    return None


def _why_no_weight(name: str, tensor: Tensor) -> str | None:
    if name.rpartition(".")[2] not in ("weight", "bias") or tensor.is_floating_point():
        return None
    kind = str(tensor.dtype).removeprefix("torch.")
    return f"holds {kind} numbers, where Convscope computes with floating-point ones: {PLAIN}"
