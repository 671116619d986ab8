"""An exported program as a module, so that a `.pt2` file is opened like any other network."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.export.graph_signature import InputKind
from torch.utils._pytree import tree_unflatten

__all__ = ["ExportedModule"]


class ExportedModule(nn.Module):
    """The module that was exported, with its parameters under their names.

    Args:
        program: what torch.export made.

    Attributes:
        program: the same.

    Shape:
        (N, C, H, W) -> what the exported module returned.
    """

    def __init__(self, program: Any) -> None:
        super().__init__()
        self.program = program
        for name, tensor in program.state_dict.items():
            path, _, last = name.rpartition(".")
            owner = _submodule(self, path)
            if isinstance(tensor, nn.Parameter):
                owner.register_parameter(last, tensor)
            else:
                owner.register_buffer(last, tensor)

    def input_shape(self) -> tuple[int, ...] | None:
        """(N, C, H, W) of the images it was exported for, 0 where any number will do.

        None where it takes something else than one batch of images.
        """
        names = self.program.graph_signature.user_inputs
        nodes = [node for node in self.program.graph.nodes if node.name in names]
        if len(names) != 1 or len(nodes) != 1 or not isinstance(nodes[0].meta.get("val"), Tensor):
            return None
        return tuple(n if type(n) is int else 0 for n in nodes[0].meta["val"].shape)

    def forward(self, images: Tensor) -> Any:
        """Run the program."""
        held = {**self.program.constants, **self.program.state_dict}
        values = [
            images if spec.kind is InputKind.USER_INPUT else held[spec.target]
            for spec in self.program.graph_signature.input_specs
        ]
        with torch.no_grad():
            returned = self.program.graph_module(*values)
        count = len(self.program.graph_signature.user_outputs)
        return tree_unflatten(list(returned)[-count:], self.program.call_spec.out_spec)


def _submodule(module: nn.Module, path: str) -> nn.Module:
    """The submodule of that name, made where there is none."""
    for name in path.split(".") if path else ():
        if name not in module._modules:
            module.add_module(name, nn.Module())
        module = module.get_submodule(name)
    return module
